//! What a daemon takes while nothing happens: memory, wake-ups, and room on the disk.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use kith_system_tests::{Device, Logging, Process, Programs, Server};
use kithd::link::bare::Way;
use tokio::time::sleep;

use super::bare::{ANSWERERS, Channel, Lanes};
use crate::figure::{Figure, Unit};
use crate::pair::{Pair, location};
use crate::report::Report;
use crate::task::Task;

/// Until what a device does after traffic or pairing is over.
const CALM: Duration = Duration::from_secs(3);
/// How long wake-ups are counted.
const COUNTED: Duration = Duration::from_secs(20);
/// Connections of the larger of two bare processes, each with both its ends.
const BARE_CONNECTIONS: usize = 8;
/// Contacts of one device, each a device of its own.
const PEERS: [usize; 3] = [1, 9, 33];
/// How long a bare process may take to connect.
const CONNECT_MAX: Duration = Duration::from_secs(30);

/// Size, and memory and wake-ups with one peer, before there was any traffic to speak of.
pub(super) async fn measure_idle(report: &mut Report, pair: &Pair) -> Result<()> {
    report.begin("idle, with one peer")?;
    let size = std::fs::metadata(Programs::locate()?.path("kithd"))?.len();
    report.add(Figure::new("kithd, board profile", size as f64 / 1e6, Unit::Megabytes).aiming_at(&[8.0, 6.0]))?;

    let folder = tempfile::tempdir()?;
    let none = Yardstick::start(0, folder.path()).await?;
    let one = Yardstick::start(1, folder.path()).await?;
    sleep(CALM).await;
    let daemon = Task::of(pair.alice.process().context("a running daemon")?);
    report.add(
        Figure::new("memory with one peer (RSS)", daemon.resident_megabytes()?, Unit::Megabytes)
            .beside("bare channel, both ends", one.task().resident_megabytes()?)
            .beside("no channel", none.task().resident_megabytes()?)
            .aiming_at(&[15.0, 12.0]),
    )?;

    let bare = one.task();
    let (before, bare_before) = (daemon.wake_ups(None)?, bare.wake_ups(Some(ANSWERERS))?);
    sleep(COUNTED).await;
    let (after, bare_after) = (daemon.wake_ups(None)?, bare.wake_ups(Some(ANSWERERS))?);
    let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / COUNTED.as_secs_f64();
    report.add(
        Figure::new("wake-ups with one peer", rate(before, after), Unit::PerSecond)
            .beside("bare channel", rate(bare_before, bare_after)),
    )
}

/// Memory of both ends after everything that was measured before.
pub(super) async fn measure_after_traffic(report: &mut Report, pair: &Pair) -> Result<()> {
    sleep(CALM).await;
    for (device, what) in [(&pair.alice, "sent"), (&pair.bob, "received")] {
        let megabytes = Task::of(device.process().context("a running daemon")?).resident_megabytes()?;
        report.add(Figure::new(
            format!("the same after all these messages were {what}"),
            megabytes,
            Unit::Megabytes,
        ))?;
    }
    Ok(())
}

/// Memory with more and more peers: one daemon, and as many real ones as it has contacts.
pub(super) async fn measure_peers(report: &mut Report) -> Result<()> {
    report.begin("idle, with many peers")?;
    let server = Server::start(Logging::Active).await?;
    let location = location(&server);
    let hub = Device::start_at("hub", &location).await?;
    let task = Task::of(hub.process().context("a running daemon")?);
    let (mut peers, mut resident) = (Vec::new(), Vec::new());
    for count in PEERS {
        while peers.len() < count {
            let peer = Device::start_at("peer", &location).await?;
            peer.accept(&hub.invite().await?).await?;
            peers.push(peer);
        }
        sleep(CALM).await;
        resident.push((count, task.resident_megabytes()?));
    }
    let bare = bare_kilobytes().await?;
    let (Some(first), Some(last)) = (resident.first(), resident.last()) else { return Ok(()) };
    report.add(
        Figure::new(
            format!("memory for each peer from 2 to {}", last.0),
            kilobytes_each(*first, *last),
            Unit::Kilobytes,
        )
        .beside("end of a bare channel", bare)
        .aiming_at(&[350.0]),
    )
}

/// Memory of one more end of a bare channel.
async fn bare_kilobytes() -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let few = Yardstick::start(1, folder.path()).await?;
    let many = Yardstick::start(1 + BARE_CONNECTIONS, folder.path()).await?;
    sleep(CALM).await;
    let ends = |connections: usize| 2 * connections;
    let (few, many) = (few.task().resident_megabytes()?, many.task().resident_megabytes()?);
    Ok(kilobytes_each((ends(1), few), (ends(1 + BARE_CONNECTIONS), many)))
}

fn kilobytes_each((fewer, less): (usize, f64), (more, most): (usize, f64)) -> f64 {
    (most - less) * 1e3 / more.saturating_sub(fewer) as f64
}

/// A process that has bare channels and nothing else.
struct Yardstick(Process);

impl Yardstick {
    async fn start(connections: usize, folder: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("where is this program?")?;
        let name = format!("yardstick-{connections}");
        let mut process = Process::start(&name, &program, &["yardstick", &connections.to_string()], folder)?;
        process.wait_for_line("connected", CONNECT_MAX).await?;
        Ok(Self(process))
    }

    fn task(&self) -> Task {
        Task::of(&self.0)
    }
}

/// The life of such a process: it connects, says so, and stays until it is ended.
pub(crate) async fn yardstick(connections: usize) -> Result<()> {
    let lanes = Lanes::start(Way::default())?;
    let mut channels: Vec<Channel> = Vec::new();
    for _ in 0..connections {
        channels.push(lanes.connect().await?);
    }
    writeln!(std::io::stdout(), "connected")?;
    std::future::pending::<()>().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_each_is_the_slope_between_two_counts() {
        assert_eq!(kilobytes_each((1, 10.0), (33, 18.0)), 250.0);
    }
}
