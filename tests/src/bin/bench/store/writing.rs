//! What a message costs the disk, in bytes that the kernel counts for the daemon.
//!
//! These are pages of its files that have changed, each time that they are given to the disk: what the file system
//! writes for itself is not among them.

use anyhow::{Context as _, Result};
use kith_system_tests::Device;

use crate::figure::{Figure, Unit};
use crate::pair::Pair;
use crate::report::Report;
use crate::task::Task;

/// A line of text.
const BODY_BYTES: usize = 64;
/// One at a time.
const ALONE: usize = 200;
/// As many at a time as a program has `Send` calls waiting.
const IN_BURSTS: usize = 5_000;
/// The least that a file changes by.
const PAGE_BYTES: f64 = 4_096.0;

/// Kilobytes for a message, at the sender and at the receiver.
pub(super) struct Writing {
    alone: [f64; 2],
    in_bursts: [f64; 2],
}

impl Writing {
    pub(super) async fn measure(pair: &mut Pair) -> Result<Self> {
        let text = "x".repeat(BODY_BYTES);
        // The devices may have to find each other again.
        pair.send_many(BODY_BYTES, 1).await?;
        let before = written(pair)?;
        for _ in 0..ALONE {
            let queued = pair.to_bob.send(&text).await?;
            pair.at_bob.next().await?;
            pair.to_bob.wait_until_delivered(&queued).await?;
        }
        let between = written(pair)?;
        pair.send_many(BODY_BYTES, IN_BURSTS).await?;
        let after = written(pair)?;
        Ok(Self { alone: kilobytes_each(before, between, ALONE), in_bursts: kilobytes_each(between, after, IN_BURSTS) })
    }

    pub(super) fn show(&self, report: &mut Report, messages: u64) -> Result<()> {
        for (how, kilobytes) in [("one at a time", self.alone), ("in bursts", self.in_bursts)] {
            for (who, kilobytes) in ["sender", "receiver"].into_iter().zip(kilobytes) {
                let name = format!("written for a message, {how}, {who} with {messages}");
                let figure = Figure::new(name, kilobytes, Unit::Kilobytes);
                report.add(figure.beside("one page", PAGE_BYTES / 1e3))?;
            }
        }
        Ok(())
    }
}

fn written(pair: &Pair) -> Result<[u64; 2]> {
    let of = |device: &Device| Task::of(device.process().context("a running daemon")?).written_bytes();
    Ok([of(&pair.alice)?, of(&pair.bob)?])
}

fn kilobytes_each(before: [u64; 2], after: [u64; 2], messages: usize) -> [f64; 2] {
    let each = |at: usize| after[at].saturating_sub(before[at]) as f64 / 1e3 / messages as f64;
    [each(0), each(1)]
}
