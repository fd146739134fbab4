//! What ten thousand connections that do nothing cost, and what is left of it when they have gone.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::subject::{Dialect, Subject};
use super::wire::Wire;
use crate::figure::{Figure, Unit};
use crate::report::Report;

const CONNECTIONS: usize = 10_000;

/// Those that connect between two signs of life of the others: a second or two of the nine that a server waits for one.
const ROUND: usize = 250;

/// Until what connecting has set off is over.
const CALM: Duration = Duration::from_secs(2);

const KIB: f64 = 1.024;

/// What one server took, in kB.
struct Taken {
    each: f64,
    /// More than before the first connection, when all have gone.
    left: f64,
}

pub(super) async fn measure(report: &mut Report) -> Result<()> {
    report.begin("memory of 10,000 idle connections")?;
    let peer = taken(Dialect::Peer).await?;
    let plain = taken(Dialect::Kith).await?;
    let tls = taken(Dialect::KithOverTls).await?;
    report.add(
        Figure::new("memory of an idle connection", plain.each, Unit::Kilobytes)
            .beside("peer", peer.each)
            .aiming_at(&[0.75 * peer.each, 0.25 * peer.each]),
    )?;
    report.add(
        Figure::new("the same over TLS", tls.each, Unit::Kilobytes)
            .beside("peer, without TLS", peer.each)
            .aiming_at(&[25.0 * KIB, 12.0 * KIB]),
    )?;
    let megabytes = |kilobytes: f64| kilobytes / 1e3;
    report.add(
        Figure::new("memory after 10,000 connections have gone", megabytes(plain.left), Unit::Megabytes)
            .beside("peer", megabytes(peer.left)),
    )?;
    report.add(Figure::new("the same over TLS", megabytes(tls.left), Unit::Megabytes))
}

async fn taken(dialect: Dialect) -> Result<Taken> {
    let subject = Subject::start(dialect).await?;
    // What the first connection sets up once is not counted.
    drop(Wire::connect(&subject, CONNECTIONS).await?);
    sleep(CALM).await;
    let before = subject.resident_kb()?;
    let mut wires = Vec::with_capacity(CONNECTIONS);
    while wires.len() < CONNECTIONS {
        for wire in &mut wires {
            Wire::ping(wire).await?;
        }
        for _ in 0..ROUND {
            wires.push(Wire::connect(&subject, wires.len()).await?);
        }
    }
    sleep(CALM).await;
    let during = subject.resident_kb()?;
    drop(wires);
    sleep(CALM).await;
    let after = subject.resident_kb()?;
    Ok(Taken { each: (during - before) / CONNECTIONS as f64, left: after - before })
}
