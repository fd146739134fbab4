//! One message at a time: from `Send` on one device's bus to the signal on the other's, with both
//! disks fsynced on the way, and back to *delivered*.

use std::time::Instant;

use anyhow::Result;
use kith_system_tests::Latencies;

use super::bare::Lanes;
use crate::disk::Disk;
use crate::figure::{Figure, Unit};
use crate::pair::Pair;
use crate::report::Report;

/// Enough for a p99 that is more than the one worst case.
const MESSAGES: usize = 1_000;
/// A line of text.
const BODY_BYTES: usize = 64;
/// The record that such a message travels in.
const RECORD_BYTES: usize = 528;

/// `way` follows what is measured.
pub(super) async fn measure(report: &mut Report, pair: &mut Pair, lanes: &Lanes, way: &str) -> Result<()> {
    report.begin("messages, one at a time")?;
    let (channel, mut disk) = (lanes.answering().await?, Disk::open()?);
    let [mut arrived, mut delivered, mut round_trips, mut syncs] = [(); 4].map(|()| Latencies::default());
    let text = "x".repeat(BODY_BYTES);
    for _ in 0..MESSAGES {
        let start = Instant::now();
        let queued = pair.to_bob.send(&text).await?;
        arrived.push(pair.at_bob.next().await?.saturating_duration_since(start));
        let since_queued = pair.to_bob.wait_until_delivered(&queued).await?;
        delivered.push((queued.at + since_queued).saturating_duration_since(start));
        round_trips.push(lanes.round_trip(&channel, RECORD_BYTES).await?);
        syncs.push(disk.sync()?);
    }
    for percent in [50, 99] {
        let millis = |latencies: &Latencies| latencies.percentile(percent).as_secs_f64() * 1e3;
        for (what, latencies) in [("the other device's D-Bus", &arrived), ("*delivered*", &delivered)] {
            let name = format!("message, D-Bus to {what}{way}, p{percent}");
            report.add(
                Figure::new(name, millis(latencies), Unit::Milliseconds)
                    .beside("bare round trip", millis(&round_trips))
                    .beside("one fsync", millis(&syncs)),
            )?;
        }
    }
    Ok(())
}
