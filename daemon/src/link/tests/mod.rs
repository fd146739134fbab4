//! Two owners of links in one process, on loopback, with real sockets.

mod direct;
mod long;
mod stranger;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kith_engine::{Ice, LinkEvent, LinkId, LinkPath, LinkRole, Negotiation};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{LinkReport, Links, NOISY_LOG_TARGETS, Settings};

/// Far above what anything here takes; only a hanging test runs into it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The tests' links.
const LINK: LinkId = LinkId(7);

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Offerer,
    Answerer,
}

/// One of the two.
struct Side {
    links: Links,
    reports: mpsc::Receiver<(LinkId, LinkReport)>,
}

/// Both, and the signaling between them.
struct Pair {
    offerer: Side,
    answerer: Side,
    /// All that they told each other.
    said: Vec<(Who, Negotiation)>,
}

/// What `Up` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Up {
    own: [u8; 32],
    remote: [u8; 32],
    path: LinkPath,
}

impl Side {
    fn new() -> Side {
        let (links, reports) =
            Links::new(Settings { addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], ..Settings::default() });
        Side { links, reports }
    }

    fn open(role: LinkRole) -> Side {
        let mut side = Side::new();
        side.links.open(LINK, role, Ice::default(), false);
        side
    }

    async fn report(&mut self) -> LinkReport {
        let (link, report) = timeout(PATIENCE, self.reports.recv()).await.unwrap().unwrap();
        assert_eq!(link, LINK);
        report
    }

    async fn offer(&mut self) -> String {
        match self.report().await {
            LinkReport::Event(LinkEvent::Local(Negotiation::Offer(sdp))) => sdp,
            other => panic!("{other:?} instead of an offer"),
        }
    }

    /// The next report that is not a word for the other side, nor that this machine was too busy to hear it.
    async fn happening(&mut self) -> LinkReport {
        loop {
            match self.report().await {
                LinkReport::Event(LinkEvent::Local(_) | LinkEvent::Silent | LinkEvent::Heard) => {}
                other => return other,
            }
        }
    }

    async fn down(&mut self) -> String {
        match self.happening().await {
            LinkReport::Event(LinkEvent::Down(why)) => why,
            other => panic!("{other:?} instead of Down"),
        }
    }

    /// What the other side did that it must not do.
    async fn broken(&mut self) -> String {
        match self.happening().await {
            LinkReport::Event(LinkEvent::Broken(why)) => why,
            other => panic!("{other:?} instead of Broken"),
        }
    }
}

impl Pair {
    fn open(ice: &Ice, relay_only: bool) -> Pair {
        let (mut offerer, mut answerer) = (Side::new(), Side::new());
        answerer.links.open(LINK, LinkRole::Answerer, ice.clone(), relay_only);
        offerer.links.open(LINK, LinkRole::Offerer, ice.clone(), relay_only);
        Pair { offerer, answerer, said: Vec::new() }
    }

    async fn direct() -> Pair {
        let mut pair = Pair::open(&Ice::default(), false);
        pair.up().await;
        pair
    }

    fn side(&mut self, who: Who) -> &mut Side {
        match who {
            Who::Offerer => &mut self.offerer,
            Who::Answerer => &mut self.answerer,
        }
    }

    /// The next report of either that is not a word for the other; those are passed on.
    async fn next(&mut self) -> (Who, LinkReport) {
        loop {
            let next = async {
                tokio::select! {
                    report = self.offerer.reports.recv() => (Who::Offerer, report.unwrap().1),
                    report = self.answerer.reports.recv() => (Who::Answerer, report.unwrap().1),
                }
            };
            let (who, report) = timeout(PATIENCE, next).await.unwrap();
            match report {
                LinkReport::Event(LinkEvent::Local(words)) => {
                    self.said.push((who, words.clone()));
                    let other = if who == Who::Offerer { Who::Answerer } else { Who::Offerer };
                    self.side(other).links.negotiate(LINK, words);
                }
                LinkReport::Event(LinkEvent::Silent | LinkEvent::Heard) => {}
                report => return (who, report),
            }
        }
    }

    /// Waits until both are up.
    async fn up(&mut self) -> (Up, Up) {
        let (mut offerer, mut answerer) = (None, None);
        while offerer.is_none() || answerer.is_none() {
            match self.next().await {
                (Who::Offerer, report) => offerer = Some(up_of(report)),
                (Who::Answerer, report) => answerer = Some(up_of(report)),
            }
        }
        (offerer.unwrap(), answerer.unwrap())
    }
}

fn up_of(report: LinkReport) -> Up {
    match report {
        LinkReport::Event(LinkEvent::Up { own_fingerprint: own, remote_fingerprint: remote, path }) => {
            Up { own, remote, path }
        }
        other => panic!("{other:?} instead of Up"),
    }
}

#[test]
fn every_crate_under_the_links_is_among_the_noisy_ones() {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
    let names = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    let noisy = names.filter(|name| ["rtc", "webrtc", "quinn-udp"].contains(name) || name.starts_with("rtc-"));
    let missing: Vec<String> =
        noisy.map(|name| name.replace('-', "_")).filter(|name| !NOISY_LOG_TARGETS.contains(&name.as_str())).collect();
    assert_eq!(missing, [""; 0]);
}

/// Message `number`, recognisable and `bytes` long.
fn message(number: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (number.wrapping_mul(31) ^ at ^ (at >> 8)) as u8).collect()
}

/// The p50 and the maximum.
fn p50_and_max(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() - 1])
}
