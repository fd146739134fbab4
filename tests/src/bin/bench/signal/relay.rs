//! How many messages a server relays for a second of its processor's time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::subject::{Dialect, Subject};
use super::wire::Wire;
use crate::figure::{Figure, Unit};
use crate::report::Report;

/// Pairs of clients that answer each other.
const PAIRS: usize = 200;

/// Messages that a pair has under way in the second measurement.
const IN_FLIGHT: usize = 16;

/// Rounds, in each of which every server has its turn; the middle one counts.
const ROUNDS: usize = 3;

/// Before it is measured, and how long it is.
const WARM: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_secs(3);

pub(super) async fn measure(report: &mut Report) -> Result<()> {
    report.begin("messages relayed per second of processor time")?;
    let kith = Subject::start(Dialect::Kith).await?;
    let peer = Subject::start(Dialect::Peer).await?;
    let echo = Subject::start(Dialect::Echo).await?;
    let subjects = [&kith, &peer, &echo];
    let [kith_one, peer_one, echo_one] = rounds(subjects, 1).await?;
    let least = (0.55 * echo_one).max(1.7 * peer_one);
    report.add(
        Figure::new("relayed, one at a time", kith_one, Unit::PerSecond)
            .beside("TCP echo", echo_one)
            .beside("peer", peer_one)
            .aiming_at(&[least]),
    )?;
    let [kith_many, peer_many, echo_many] = rounds(subjects, IN_FLIGHT).await?;
    report.add(
        Figure::new("relayed, 16 at a time", kith_many, Unit::PerSecond)
            .beside("TCP echo", echo_many)
            .beside("peer", peer_many)
            .aiming_at(&[4.0 * peer_many]),
    )
}

async fn rounds<const N: usize>(subjects: [&Subject; N], in_flight: usize) -> Result<[f64; N]> {
    let mut rates = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (subject, rates) in subjects.iter().zip(&mut rates) {
            rates.push(round(subject, in_flight).await?);
        }
    }
    Ok(rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates.get(ROUNDS / 2).copied().unwrap_or_default()
    }))
}

/// Messages per second of the server's processor time.
async fn round(subject: &Subject, in_flight: usize) -> Result<f64> {
    let count = Arc::new(AtomicU64::new(0));
    let mut talking = JoinSet::new();
    for pair in 0..PAIRS {
        let mut one = Wire::connect(subject, 2 * pair).await?;
        if subject.dialect == Dialect::Echo {
            let message = one.message_to(&one)?;
            one.write(&message.repeat(in_flight)).await?;
            talking.spawn(answer(one, message, Arc::clone(&count)));
            continue;
        }
        let mut other = Wire::connect(subject, 2 * pair + 1).await?;
        one.befriend(&mut other).await?;
        let (there, back) = (one.message_to(&other)?, other.message_to(&one)?);
        one.write(&there.repeat(in_flight)).await?;
        talking.spawn(answer(one, there, Arc::clone(&count)));
        talking.spawn(answer(other, back, Arc::clone(&count)));
    }
    sleep(WARM).await;
    let (messages, cpu_s) = (count.load(Ordering::Relaxed), subject.cpu_s()?);
    sleep(MEASURED).await;
    let (messages, cpu_s) = (count.load(Ordering::Relaxed) - messages, subject.cpu_s()? - cpu_s);
    // None ends by itself: an error here is one of the server.
    if let Some(ended) = talking.try_join_next() {
        ended??;
    }
    talking.shutdown().await;
    Ok(messages as f64 / cpu_s)
}

/// Answers each message with one, and as many as come at once in one write.
async fn answer(mut wire: Wire, message: Vec<u8>, count: Arc<AtomicU64>) -> Result<()> {
    loop {
        let came = wire.messages(message.len()).await?;
        count.fetch_add(came as u64, Ordering::Relaxed);
        wire.write(&message.repeat(came)).await?;
    }
}
