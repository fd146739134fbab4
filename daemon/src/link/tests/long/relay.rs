//! Links over a relay: Debian's coturn on loopback.

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use hmac::{Hmac, KeyInit, Mac};
use kith_engine::IceServer;
use sha1::Sha1;
use tokio::time::Instant;

use super::super::*;
use crate::link::MESSAGE_BYTES_MAX;

/// A running turnserver.
struct Coturn {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

const SECRET: &str = "the tests' secret";

impl Coturn {
    fn start() -> Coturn {
        let folder = tempfile::tempdir().unwrap();
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("turnserver")
            .args(["-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--realm=kith.test", "--no-cli"])
            .args([
                "--use-auth-secret",
                "--allow-loopback-peers",
                "--no-tls",
                "--no-dtls",
                "--no-tcp",
                "--no-tcp-relay",
            ])
            .args([format!("--static-auth-secret={SECRET}"), format!("--listening-port={port}")])
            .arg(format!("--pidfile={}", folder.path().join("pid").display()))
            .arg(format!("--db={}", folder.path().join("db").display()))
            .arg("--log-file=stdout")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("turnserver: {error}; apt-get install -y --no-install-recommends coturn"));
        let coturn = Coturn { process, port, _folder: folder };
        coturn.wait_until_it_answers();
        coturn
    }

    /// Sends STUN binding requests (RFC 8489 §5) until one is answered.
    fn wait_until_it_answers(&self) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        socket.connect(("127.0.0.1", self.port)).unwrap();
        let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
        let since = std::time::Instant::now();
        while since.elapsed() < PATIENCE {
            let _ = socket.send(&request);
            if socket.recv(&mut [0; 512]).is_ok() {
                return;
            }
        }
        panic!("turnserver does not answer");
    }

    /// What the signaling server would hand out, made with `secret`.
    fn ice(&self, secret: &str) -> Ice {
        let expiry = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3_600;
        let username = format!("{expiry}:kith");
        let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(username.as_bytes());
        let password = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let urls = vec![format!("stun:127.0.0.1:{}", self.port), format!("turn:127.0.0.1:{}?transport=udp", self.port)];
        Ice { servers: vec![IceServer { urls, username, password }], lifetime_s: 3_600 }
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn relay_messages_pass_and_the_path_says_so() {
    let coturn = Coturn::start();
    let mut times = Vec::new();
    for _ in 0..9 {
        let since = Instant::now();
        Pair::open(&coturn.ice(SECRET), true).up().await;
        times.push(since.elapsed());
    }
    let (p50, max) = p50_and_max(times);
    eprintln!("set-up over a relay of 9: p50 {p50:?}, max {max:?}");

    let mut pair = Pair::open(&coturn.ice(SECRET), true);
    let (offerer, answerer) = pair.up().await;
    assert_eq!((offerer.own, offerer.remote), (answerer.remote, answerer.own));
    assert_eq!((offerer.path, answerer.path), (LinkPath::Relayed, LinkPath::Relayed));

    let mut times = Vec::new();
    for number in 0..200 {
        let sent = message(number, if number % 10 == 0 { MESSAGE_BYTES_MAX } else { 100 });
        let since = Instant::now();
        pair.offerer.links.transmit(LINK, sent.clone());
        let (_, LinkReport::Frame(frame)) = pair.next().await else { panic!("not a frame") };
        pair.answerer.links.transmit(LINK, frame);
        assert_eq!(pair.next().await, (Who::Offerer, LinkReport::Frame(sent)));
        times.push(since.elapsed());
    }
    let (p50, max) = p50_and_max(times);
    eprintln!("round trip over a relay: p50 {p50:?}, max {max:?}");
}

#[tokio::test]
async fn relay_only_tells_the_other_side_no_address_but_the_relays() {
    let coturn = Coturn::start();
    let mut pair = Pair::open(&coturn.ice(SECRET), true);
    pair.up().await;
    let candidates = pair.said.iter().filter_map(|(_, words)| match words {
        Negotiation::Candidate(line) if !line.is_empty() => Some(line),
        Negotiation::Candidate(_) => None,
        Negotiation::Offer(sdp) | Negotiation::Answer(sdp) => {
            assert!(!sdp.contains("127.0.0.1") && !sdp.contains("a=candidate"), "{sdp}");
            None
        }
    });
    let candidates: Vec<&String> = candidates.collect();
    assert!(!candidates.is_empty());
    for line in candidates {
        assert!(line.contains(" typ relay raddr 0.0.0.0 rport 9"), "{line}");
    }
}

#[tokio::test]
async fn relay_closing_is_noticed_at_once_too() {
    let coturn = Coturn::start();
    for closer in [Who::Offerer, Who::Answerer] {
        let mut pair = Pair::open(&coturn.ice(SECRET), true);
        pair.up().await;
        let since = Instant::now();
        pair.side(closer).links.close(LINK);
        let (who, report) = pair.next().await;
        assert_ne!(who, closer);
        assert!(matches!(report, LinkReport::Event(LinkEvent::Down(_))), "{report:?}");
        eprintln!("end noticed over a relay after {:?}", since.elapsed());
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    }
}

#[tokio::test]
async fn relay_only_on_one_side_is_relayed_for_both() {
    let coturn = Coturn::start();
    for hidden in [Who::Offerer, Who::Answerer] {
        let (mut offerer, mut answerer) = (Side::new(), Side::new());
        let ice = coturn.ice(SECRET);
        answerer.links.open(LINK, LinkRole::Answerer, ice.clone(), hidden == Who::Answerer);
        offerer.links.open(LINK, LinkRole::Offerer, ice, hidden == Who::Offerer);
        let mut pair = Pair { offerer, answerer, said: Vec::new() };
        let (offerer, answerer) = pair.up().await;
        assert_eq!((offerer.path, answerer.path), (LinkPath::Relayed, LinkPath::Relayed), "{hidden:?} hides");
    }
}

#[tokio::test]
async fn relay_refusing_this_device_brings_a_relay_only_link_down() {
    let coturn = Coturn::start();
    let mut pair = Pair::open(&coturn.ice("another secret"), true);
    let (_, report) = pair.next().await;
    let LinkReport::Event(LinkEvent::Down(why)) = report else { panic!("{report:?} instead of Down") };
    assert_eq!(why, "this link may only use a relay, and the relay refused this device or is unreachable");
}

#[tokio::test]
async fn relay_refusing_this_device_does_not_hinder_a_direct_path() {
    let coturn = Coturn::start();
    let (offerer, answerer) = Pair::open(&coturn.ice("another secret"), false).up().await;
    assert_eq!((offerer.path, answerer.path), (LinkPath::Direct, LinkPath::Direct));
}

#[tokio::test]
async fn relay_available_a_direct_path_is_preferred() {
    let coturn = Coturn::start();
    let (offerer, answerer) = Pair::open(&coturn.ice(SECRET), false).up().await;
    assert_eq!((offerer.path, answerer.path), (LinkPath::Direct, LinkPath::Direct));
}

#[tokio::test(start_paused = true)]
async fn relay_out_of_reach_brings_a_relay_only_link_down() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let urls = vec![format!("turn:{}", silent.local_addr().unwrap())];
    let servers = vec![IceServer { urls, username: "u".to_owned(), password: "p".to_owned() }];
    let mut side = Side::new();
    side.links.open(LINK, LinkRole::Offerer, Ice { servers, lifetime_s: 60 }, true);
    assert!(side.down().await.contains("refused this device or is unreachable"));
}

#[tokio::test]
async fn relay_only_without_a_relay_goes_down_at_once() {
    let mut side = Side::new();
    side.links.open(LINK, LinkRole::Offerer, Ice::default(), true);
    assert!(side.down().await.contains("offers none that can be used"));
}
