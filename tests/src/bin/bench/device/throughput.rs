//! Many messages at once: bytes and messages per second, from one bus to the other, all fsynced.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kith_system_tests::Device;

use super::bare::Lanes;
use crate::figure::{Figure, Unit};
use crate::pair::Pair;
use crate::report::Report;
use crate::task::Task;

/// Rounds of each size; the median counts.
const ROUNDS: usize = 5;

/// Body and record bytes, and messages in a round.
const SIZES: [(usize, usize, usize); 3] = [(1_024, 1_296, 2_000), (8_192, 8_464, 1_000), (12_288, 12_560, 1_000)];

/// Messages of the sustained run: seconds, not a burst that fits into queues.
const SUSTAINED_MESSAGES: usize = 20_000;
/// A line of text, and its record.
const SUSTAINED_BYTES: (usize, usize) = (64, 528);

pub(super) async fn measure(report: &mut Report, pair: &mut Pair, lanes: &Lanes) -> Result<()> {
    report.begin("messages, many at a time")?;
    let channel = lanes.answering().await?;
    for (body_bytes, record_bytes, count) in SIZES {
        let (mut kith, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let megabytes = (body_bytes * count) as f64 / 1e6;
            kith.push(megabytes / pair.send_many(body_bytes, count).await?.as_secs_f64());
            bare.push(megabytes / lanes.stream(&channel, record_bytes, count).await?.as_secs_f64());
        }
        let name = format!("throughput, messages of {} KiB", body_bytes / 1_024);
        report.add(Figure::new(name, median(kith)?, Unit::MegabytesPerSecond).beside("bare channel", median(bare)?))?;
    }
    sustained(report, pair, lanes).await
}

/// For seconds on end; what that takes of a processor does not depend on what else this machine does.
async fn sustained(report: &mut Report, pair: &mut Pair, lanes: &Lanes) -> Result<()> {
    let channel = lanes.answering().await?;
    let (body_bytes, record_bytes) = SUSTAINED_BYTES;
    let rate = |took: Duration| SUSTAINED_MESSAGES as f64 / took.as_secs_f64();
    let daemon = |device: &Device| device.process().map(Task::of).context("a running daemon");
    let (sender, receiver, here) = (daemon(&pair.alice)?, daemon(&pair.bob)?, Task::own());
    let before = (sender.processor_seconds()?, receiver.processor_seconds()?);
    let kith = rate(pair.send_many(body_bytes, SUSTAINED_MESSAGES).await?);
    let after = (sender.processor_seconds()?, receiver.processor_seconds()?);
    let bare_before = here.processor_seconds()?;
    let bare = rate(lanes.stream(&channel, record_bytes, SUSTAINED_MESSAGES).await?);
    let bare_after = here.processor_seconds()?;

    let name = format!("messages of {body_bytes} B, sustained over {SUSTAINED_MESSAGES}");
    report.add(Figure::new(name, kith, Unit::PerSecond).beside("bare channel", bare))?;
    let micros = |seconds: f64| seconds * 1e6 / SUSTAINED_MESSAGES as f64;
    for (what, seconds) in [("sender", after.0 - before.0), ("receiver", after.1 - before.1)] {
        report.add(
            Figure::new(format!("processor time for each of them, {what}"), micros(seconds), Unit::Microseconds)
                .beside("both ends of the bare channel", micros(bare_after - bare_before)),
        )?;
    }
    Ok(())
}

/// The middle one.
fn median(mut rates: Vec<f64>) -> Result<f64> {
    rates.sort_unstable_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().context("no round was made")
}
