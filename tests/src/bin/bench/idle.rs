//! The suite of a device that nobody uses: what it costs to be there, with 1, 8 and 32 peers that it has a session with.
//!
//! The device is a host of its own, so that all that passes its interface is its own: bytes are counted there, with the
//! headers of Ethernet, IP and UDP or TCP. Its peers, real daemons, are beside the server. It needs root.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kith_system_tests::{Device, Host, Internet, Location, Logging, Relay, Server};
use tokio::time::sleep;

use crate::figure::{Figure, Unit};
use crate::report::Report;
use crate::task::Task;

/// Peers with a session.
const PEERS: [usize; 3] = [1, 8, 32];
/// Until what pairing leaves behind is over, and links have become quiet.
const CALM: Duration = Duration::from_secs(15);
/// How long is counted.
const COUNTED: Duration = Duration::from_secs(60);

/// What one device took while nothing happened.
struct Idle {
    peers: usize,
    wake_ups_per_s: f64,
    kilobytes_per_min: f64,
    processor_percent: f64,
    resident_megabytes: f64,
}

/// Measures everything.
pub(crate) async fn run(report: &mut Report) -> Result<()> {
    let internet = Internet::new()?;
    let relay = Relay::start(internet.public(), Internet::RELAY).await?;
    let server = Server::start_public(&internet, &relay, Logging::Active).await?;
    let host = internet.neighbour("hub")?;
    let at = |host: &Host, address: std::net::Ipv4Addr| Location {
        log: "info".to_owned(),
        link_addresses: vec![address.to_string()],
        ..Location::host(host, &server.url())
    };
    let hub = Device::start_at("hub", &at(&host, Internet::NEIGHBOUR)).await?;
    let mut peers = Vec::new();
    let mut idle = Vec::new();
    for count in PEERS {
        report.begin(&format!("idle, with {count} peers"))?;
        while peers.len() < count {
            let peer = Device::start_at("peer", &at(internet.public(), Internet::SERVER)).await?;
            peer.accept(&hub.invite().await?).await?;
            peers.push(peer);
        }
        sleep(CALM).await;
        idle.push(Idle::of(&hub, count).await?);
    }
    for figures in &idle {
        figures.add_to(report)?;
    }
    let (Some(first), Some(last)) = (idle.first(), idle.last()) else { return Ok(()) };
    let each = (last.resident_megabytes - first.resident_megabytes) * 1e3 / (last.peers - first.peers) as f64;
    let name = format!("memory for each further peer, up to {}", last.peers);
    report.add(Figure::new(name, each, Unit::Kilobytes).aiming_at(&[350.0]))
}

impl Idle {
    async fn of(device: &Device, peers: usize) -> Result<Self> {
        let process = device.process().context("a running daemon")?;
        let (task, pid) = (Task::of(process), process.pid());
        let counts = || anyhow::Ok((task.wake_ups(None)?, passed_bytes(pid)?, task.processor_seconds()?));
        let (wake_ups, bytes, seconds) = counts()?;
        sleep(COUNTED).await;
        let (wake_ups_after, bytes_after, seconds_after) = counts()?;
        Ok(Self {
            peers,
            wake_ups_per_s: wake_ups_after.saturating_sub(wake_ups) as f64 / COUNTED.as_secs_f64(),
            kilobytes_per_min: bytes_after.saturating_sub(bytes) as f64 / 1e3 / (COUNTED.as_secs_f64() / 60.0),
            processor_percent: (seconds_after - seconds) * 100.0 / COUNTED.as_secs_f64(),
            resident_megabytes: task.resident_megabytes()?,
        })
    }

    fn add_to(&self, report: &mut Report) -> Result<()> {
        let peers = match self.peers {
            1 => "1 peer".to_owned(),
            count => format!("{count} peers"),
        };
        let name = |what: &str| format!("{what}, {peers}");
        report.add(Figure::new(name("wake-ups"), self.wake_ups_per_s, Unit::PerSecond))?;
        report.add(Figure::new(name("bytes in a minute, both ways"), self.kilobytes_per_min, Unit::Kilobytes))?;
        report.add(Figure::new(name("processor time"), self.processor_percent, Unit::Percent))?;
        report.add(Figure::new(name("memory (RSS)"), self.resident_megabytes, Unit::Megabytes))
    }
}

/// All bytes that have passed the interfaces of a process's host so far, but for loopback.
fn passed_bytes(pid: i32) -> Result<u64> {
    let file = format!("/proc/{pid}/net/dev");
    let text = std::fs::read_to_string(&file)?;
    let mut sum = 0;
    for line in text.lines() {
        let Some((name, counters)) = line.split_once(':').filter(|(name, _)| name.trim() != "lo") else { continue };
        let counter = |nth: usize| counters.split_whitespace().nth(nth).and_then(|word| word.parse::<u64>().ok());
        let (received, sent) = counter(0).zip(counter(8)).with_context(|| format!("{file}: {name}"))?;
        sum += received + sent;
    }
    Ok(sum)
}
