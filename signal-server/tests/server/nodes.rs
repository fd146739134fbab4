//! Several servers on a real NATS server.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kith_signal::Deadlines;
use kith_signal_protocol::{Goodbye, GoodbyeReason, Presence, RoomPresence, ToDevice, ToServer, Via};
use tempfile::{NamedTempFile, TempDir};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::devices::{Device, PATIENCE, Running};
use crate::program;

/// In which a server that was killed is gone for the others.
const KILLED_SEEN: Duration = Duration::from_secs(1);

/// A NATS server that ends with its test.
struct Nats {
    child: Child,
    port: u16,
    secret: NamedTempFile,
    folder: TempDir,
}

impl Nats {
    fn start() -> Self {
        let secret = NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "a secret that servers share\n").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (child, port) = run(folder.path(), None);
        Self { child, port, secret, folder }
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Again where it was.
    fn run(&mut self) {
        (self.child, _) = run(self.folder.path(), Some(self.port));
    }

    fn config(&self) -> String {
        format!(
            "listen = \"127.0.0.1:0\"\n\
             bus = \"nats://127.0.0.1:{}\"\n\
             bus_secret_file = \"{}\"\n\
             operations = {{ listen = \"127.0.0.1:0\" }}\n\
             logging = {{ mode = \"disabled\" }}\n",
            self.port,
            self.secret.path().display()
        )
    }

    /// A server on it, as soon as it can reach others.
    async fn server(&self) -> Running {
        let server = Running::start_with(&self.config(), Deadlines::default()).await;
        linked(server.operations.unwrap(), true).await;
        server
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns when devices can be served; the port is a free one unless it is given.
fn run(folder: &Path, port: Option<u16>) -> (Child, u16) {
    let port = port.map_or("-1".to_owned(), |port| port.to_string());
    let mut child = Command::new("nats-server")
        .args(["--addr", "127.0.0.1", "--port", &port])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nats-server, of Debian's package nats-server");
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let listening = "Listening for client connections on 127.0.0.1:";
    let line = lines.by_ref().find(|line| line.contains(listening)).unwrap();
    let port = line.split_once(listening).unwrap().1.trim().parse().unwrap();
    lines.by_ref().find(|line| line.contains("Server is ready")).unwrap();
    // Read to the end, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    (child, port)
}

/// Waits until a server says that it reaches others, or that it does not.
async fn linked(operations: SocketAddr, is_linked: bool) {
    let told = if is_linked { "\r\n\r\nready\n" } else { "\r\n\r\nready, without the bus\n" };
    let found = async { while !program::ask(operations, "/readyz").await.ends_with(told) {} };
    timeout(PATIENCE, found).await.unwrap();
}

async fn befriend(a: &mut Device, b: &mut Device) {
    a.watch(b.id()).await;
    a.settle().await;
    b.watch(a.id()).await;
    sees(a, b, true).await;
    sees(b, a, true).await;
}

async fn sees(device: &mut Device, peer: &Device, online: bool) {
    assert_eq!(device.hear().await, ToDevice::Presence(Presence { peer: peer.id(), online }));
}

async fn passes(from: &mut Device, to: &mut Device, via: Via) {
    from.relay(to.id(), via, b"sealed").await;
    let relayed = to.hear_relayed().await;
    assert_eq!((relayed.from, relayed.via, relayed.payload), (from.id(), via, b"sealed".to_vec()));
}

#[tokio::test]
async fn devices_of_two_servers_pair_talk_and_meet_in_rooms() {
    let nats = Nats::start();
    let (one, two) = (nats.server().await, nats.server().await);
    let (mut a, mut b) = (Device::online(&one, 1).await, Device::online(&two, 2).await);
    let via = Via::Invite([7; 16]);
    a.say(&ToServer::OpenInvite([7; 16])).await;
    a.settle().await;
    passes(&mut b, &mut a, via).await;
    passes(&mut a, &mut b, via).await;
    befriend(&mut a, &mut b).await;
    passes(&mut a, &mut b, Via::Contact).await;
    passes(&mut b, &mut a, Via::Contact).await;
    for device in [&mut a, &mut b] {
        device.say(&ToServer::EnterRoom([8; 16])).await;
        device.settle().await;
    }
    for (device, peer) in [(&mut a, b.id()), (&mut b, identity_of(1))] {
        let met = RoomPresence { room: [8; 16], peer, present: true };
        assert_eq!(device.hear().await, ToDevice::RoomPresence(met));
    }
    passes(&mut b, &mut a, Via::Room([8; 16])).await;
    drop(b);
    let gone = [a.hear().await, a.hear().await];
    assert!(gone.iter().any(|told| matches!(told, ToDevice::Presence(Presence { online: false, .. }))), "{gone:?}");
    assert!(gone.iter().any(|told| matches!(told, ToDevice::RoomPresence(RoomPresence { present: false, .. }))));
}

fn identity_of(seed: u8) -> kith_crypto::identity::ClientId {
    crate::devices::identity(seed).client_id()
}

#[tokio::test]
async fn a_device_that_comes_to_another_server_replaces_itself_and_another_daemon_is_refused() {
    let nats = Nats::start();
    let (one, two) = (nats.server().await, nats.server().await);
    let mut stale = Device::online(&one, 1).await;
    let mut device = Device::online(&two, 1).await;
    assert_eq!(stale.hear_goodbye().await, GoodbyeReason::Replaced);
    device.settle().await;
    let mut second = Device::connect(&one, 1).await;
    let login = second.login(&one.name(), [9; 16]);
    second.say(&login).await;
    match second.hear().await {
        ToDevice::Goodbye(Goodbye { reason, retry_after_s, .. }) => {
            assert_eq!((reason, retry_after_s), (GoodbyeReason::IdentityInUse, 10));
        }
        other => panic!("no goodbye: {other:?}"),
    }
    assert_eq!(device.hear().await, ToDevice::Intruder);
}

#[tokio::test]
async fn the_devices_of_a_server_that_is_killed_are_gone_within_a_second_and_find_another() {
    let nats = Nats::start();
    let (one, two) = (program::Running::start(&nats.config()).await, nats.server().await);
    timeout(PATIENCE, async { while !one.ask("/readyz").await.ends_with("\nready\n") {} }).await.unwrap();
    let stream = TcpStream::connect(one.address).await.unwrap();
    let mut a = Device::connect_over(Box::new(stream), None, 1).await;
    a.log_in(&one.address.to_string(), [0; 16]).await;
    let mut b = Device::online(&two, 2).await;
    befriend(&mut a, &mut b).await;
    let killed = Instant::now();
    one.kill();
    sees(&mut b, &a, false).await;
    let seen = killed.elapsed();
    eprintln!("a killed server's device was seen offline after {seen:?}");
    assert!(seen <= KILLED_SEEN, "{seen:?}");
    let mut a = Device::online(&two, 1).await;
    a.watch(b.id()).await;
    sees(&mut b, &a, true).await;
}

#[tokio::test]
async fn without_nats_a_server_serves_its_own_devices_and_finds_the_others_when_it_returns() {
    let mut nats = Nats::start();
    let (one, two) = (nats.server().await, nats.server().await);
    let (mut a, mut b) = (Device::online(&one, 1).await, Device::online(&two, 2).await);
    let mut c = Device::online(&one, 3).await;
    befriend(&mut a, &mut b).await;
    befriend(&mut a, &mut c).await;
    nats.stop();
    sees(&mut a, &b, false).await;
    sees(&mut b, &a, false).await;
    linked(one.operations.unwrap(), false).await;
    passes(&mut a, &mut c, Via::Contact).await;
    let mut d = Device::online(&one, 4).await;
    d.settle().await;
    nats.run();
    sees(&mut a, &b, true).await;
    sees(&mut b, &a, true).await;
    passes(&mut a, &mut b, Via::Contact).await;
    linked(one.operations.unwrap(), true).await;
}

#[tokio::test]
async fn a_server_starts_without_nats() {
    let mut nats = Nats::start();
    nats.stop();
    let one = Running::start_with(&nats.config(), Deadlines::default()).await;
    Device::online(&one, 1).await.settle().await;
    nats.run();
    linked(one.operations.unwrap(), true).await;
}

/// Everything that NATS carries, from now on.
async fn listen(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nSUB > 1\r\nPING\r\n").await.unwrap();
    until(&mut stream, b"PONG\r\n").await;
    stream
}

async fn until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    while !heard.windows(end.len()).any(|window| window == end) {
        assert_ne!(timeout(PATIENCE, stream.read_buf(&mut heard)).await.unwrap().unwrap(), 0);
    }
    heard
}

#[tokio::test]
async fn nats_learns_neither_ids_nor_tokens_nor_payloads_and_nobody_there_can_speak_as_a_server() {
    let nats = Nats::start();
    let (one, two) = (nats.server().await, nats.server().await);
    let mut ear = listen(nats.port).await;
    let (mut a, mut b) = (Device::online(&one, 1).await, Device::online(&two, 2).await);
    befriend(&mut a, &mut b).await;
    a.say(&ToServer::EnterRoom([8; 16])).await;
    passes(&mut a, &mut b, Via::Contact).await;
    ear.write_all(b"PING\r\n").await.unwrap();
    let heard = until(&mut ear, b"PONG\r\n").await;
    let text = String::from_utf8_lossy(&heard).into_owned();
    assert!(text.contains("kith.1.device.") && text.contains("kith.1.room."), "{text}");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for secret in [a.id().as_bytes().as_slice(), b.id().as_bytes(), &[8; 16], b"sealed"] {
        assert!(!heard.windows(secret.len()).any(|window| window == secret), "{secret:?}");
        assert!(!text.contains(&hex(secret)), "{secret:?}");
    }
    let subject = text.split_whitespace().find(|word| word.starts_with("kith.1.device.")).unwrap();
    ear.write_all(format!("PUB {subject} 4\r\nkith\r\nPING\r\n").as_bytes()).await.unwrap();
    until(&mut ear, b"PONG\r\n").await;
    let refused = "kith_signal_bus_refused_total 1";
    let counted = async {
        loop {
            let counts = [
                program::ask(one.operations.unwrap(), "/metrics").await,
                program::ask(two.operations.unwrap(), "/metrics").await,
            ];
            if counts.iter().any(|metrics| metrics.contains(refused)) {
                break;
            }
        }
    };
    timeout(PATIENCE, counted).await.unwrap();
    passes(&mut b, &mut a, Via::Contact).await;
}
