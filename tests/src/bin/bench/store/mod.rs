//! The suite of the store: what a history of any length costs, to unlock, to show, to write to and to hold.
//!
//! The same two devices that talk in the suite `device`, with more and more messages put into their stores, by the
//! store's own code, while their daemons do not run. What must not grow is shown beside the shortest history.

mod fill;
mod opening;
mod writing;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kith_system_tests::Latencies;
use tokio::time::sleep;

use crate::disk::Disk;
use crate::figure::{Figure, Unit};
use crate::pair::Pair;
use crate::report::Report;
use crate::task::Task;
use opening::Opening;
use writing::Writing;

/// Messages in the histories that are compared.
const HISTORIES: [u64; 3] = [1_000, 10_000, 100_000];
/// Rows that a screen shows.
const SCREEN_ROWS: u32 = 50;
/// Rounds of what takes less than a millisecond.
const LIST_ROUNDS: usize = 200;
/// Until what a device does after it has started is over.
const CALM: Duration = Duration::from_secs(3);

/// What was seen of one length.
struct Sample {
    messages: u64,
    opening: Opening,
    listing: Latencies,
    round_trips: Latencies,
    resident_megabytes: f64,
    writing: Writing,
}

/// Measures everything.
pub(crate) async fn run(report: &mut Report) -> Result<()> {
    let mut pair = Pair::start().await?;
    // Like the others it has just been started, and has listed a page.
    pair = pair.restarted(async |_, _| Ok(())).await?;
    list(&pair).await?;
    let empty_megabytes = resident_megabytes(&pair).await?;
    let mut samples = Vec::new();
    for messages in HISTORIES {
        report.begin(&format!("a history of {messages} messages"))?;
        let (sample, next) = Sample::take(pair, messages).await?;
        samples.push(sample);
        pair = next;
    }
    drop(pair);
    Sample::show(report, &samples, empty_megabytes)
}

impl Sample {
    async fn take(pair: Pair, messages: u64) -> Result<(Self, Pair)> {
        let mut closed = None;
        let mut pair = pair
            .restarted(async |alice, bob| {
                fill::up_to(alice, messages).await?;
                fill::up_to(bob, messages).await?;
                closed = Some(opening::of_closed(alice)?);
                Ok(())
            })
            .await?;
        let (listing, round_trips) = list(&pair).await?;
        let resident_megabytes = resident_megabytes(&pair).await?;
        let closed = closed.context("the devices were restarted")?;
        let opening = Opening::measure(&pair.alice, closed).await?;
        // Last, because it adds messages.
        let writing = Writing::measure(&mut pair).await?;
        Ok((Self { messages, opening, listing, round_trips, resident_megabytes, writing }, pair))
    }

    fn show(report: &mut Report, samples: &[Self], empty_megabytes: f64) -> Result<()> {
        let least = samples.first().context("there are histories")?;
        let millis = |latencies: &Latencies| latencies.percentile(50).as_secs_f64() * 1e3;
        // What must not grow, beside itself.
        let growing = |name: &str, of: fn(&Self) -> &Latencies, reference: &str, to: fn(&Self) -> &Latencies| {
            let figures = samples.iter().map(|sample| {
                let name = format!("{name} {} messages, p50", sample.messages);
                let figure = Figure::new(name, millis(of(sample)), Unit::Milliseconds);
                let figure = figure.beside(reference, millis(to(sample)));
                match sample.messages {
                    messages if messages == least.messages => figure,
                    _ => figure.beside(format!("of {}", least.messages), millis(of(least))),
                }
            });
            figures.collect::<Vec<_>>()
        };
        let unlocking = growing("unlocking over D-Bus,", |of| &of.opening.unlocking, "PBKDF2", |to| &to.opening.pbkdf2);
        let opening = growing("the same but for PBKDF2,", |of| &of.opening.rest, "one fsync", |to| &to.opening.syncs);
        let listing = growing("the last 50 of", |of| &of.listing, "D-Bus round trip", |to| &to.round_trips);
        for figure in unlocking.into_iter().chain(opening).chain(listing) {
            report.add(figure)?;
        }
        for sample in samples {
            sample.writing.show(report, sample.messages)?;
        }
        for sample in samples {
            let name = format!("memory with {} messages, over an empty store's", sample.messages);
            let more = Figure::new(name, sample.resident_megabytes - empty_megabytes, Unit::Megabytes);
            let more = more.beside("empty, with one peer", empty_megabytes);
            report.add(if sample.messages == HISTORIES[HISTORIES.len() - 1] {
                more.aiming_at(&[3.0])
            } else {
                more
            })?;
        }
        Ok(())
    }
}

/// Lists the newest messages over D-Bus, again and again; beside it a property is asked for, in turns.
async fn list(pair: &Pair) -> Result<(Latencies, Latencies)> {
    let (mut listing, mut round_trips) = (Latencies::default(), Latencies::default());
    let newest = pair.to_bob.newest(1).await?;
    let after = newest.first().context("a conversation")?.seq.saturating_sub(u64::from(SCREEN_ROWS));
    for _ in 0..LIST_ROUNDS {
        let start = Instant::now();
        let rows = pair.to_bob.page(after, SCREEN_ROWS).await?;
        listing.push(start.elapsed());
        ensure!(rows.len() == SCREEN_ROWS as usize || after == 0, "{} rows behind {after}", rows.len());
        let start = Instant::now();
        pair.to_bob.link().await?;
        round_trips.push(start.elapsed());
    }
    Ok((listing, round_trips))
}

async fn resident_megabytes(pair: &Pair) -> Result<f64> {
    sleep(CALM).await;
    Task::of(pair.alice.process().context("a running daemon")?).resident_megabytes()
}

/// One fsync, for what waits for one.
fn syncs(count: usize) -> Result<Latencies> {
    let (mut disk, mut syncs) = (Disk::open()?, Latencies::default());
    for _ in 0..count {
        syncs.push(disk.sync()?);
    }
    Ok(syncs)
}
