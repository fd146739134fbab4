//! What a server and its relay write of real devices, and what the devices' owners are shown of it.

use std::time::{Duration, Instant};

use kith_dbus::{LinkState, LoggingMode};
use kith_system_tests::{Conversation, Device, Host, Internet, Location, Logging, Messenger, Nat, Relay, Server, Site};

use super::rounds;
use crate::send_all;

/// A change is shown within this time.
const SHOWN_MAX: Duration = Duration::from_secs(1);

/// The router's address in the public network, which is what the server and the relay see of Alice.
const ROUTER: &str = "198.51.100.31";
/// Alice's own.
const LAN: &str = "203.0.113.2";

/// Whole addresses: as text, and as the bytes of a socket address.
const FULL: [&[u8]; 8] = [
    ROUTER.as_bytes(),
    LAN.as_bytes(),
    b"198.51.100.40",
    b"2001:db8:5100:beef",
    &[198, 51, 100, 31],
    &[203, 0, 113, 2],
    &[198, 51, 100, 40],
    &[0x20, 1, 0x0d, 0xb8, 0x51, 0, 0xbe, 0xef],
];

/// What mode `active` leaves of them. Alice comes by IPv4 to a socket of IPv6, so that the server sees
/// `::ffff:198.51.100.31`; Bob comes by IPv6.
const SHORTENED: [&str; 2] = ["198.51.100.0", "2001:db8:5100::"];

fn holds(traces: &[u8], what: &[u8]) -> bool {
    traces.windows(what.len()).any(|window| window == what)
}

/// Two devices that reach each other over the relay, each by its own way to the server.
struct World {
    to_bob: Conversation,
    ids: Vec<String>,
    bob: Device,
    alice: Device,
    server: Server,
    relay: Relay,
    _site: Site,
    _hosts: [Host; 2],
    _internet: Internet,
}

impl World {
    async fn new(logging: Logging) -> Self {
        let mut internet = Internet::new().unwrap();
        let relay = Relay::start(internet.public(), Internet::RELAY).await.unwrap();
        let server = Server::start_public(&internet, &relay, logging).await.unwrap();
        let mut site = internet.site(Nat::Cone).unwrap();
        let hosts = [site.device("alice").unwrap(), internet.neighbour("bob").unwrap()];
        let urls: Vec<_> = server.urls().collect();
        let location = |at: usize| Location { relay_only: true, ..Location::host(&hosts[at], &urls[at]) };
        let alice = Device::start_at("alice", &location(0)).await.unwrap();
        let bob = Device::start_at("bob", &location(1)).await.unwrap();
        let invite = alice.invite().await.unwrap();
        bob.kithctl(&["accept", "--other-server", "-"], &invite).await.unwrap();
        let messengers = [alice.messenger().await.unwrap(), bob.messenger().await.unwrap()];
        let mut ids = Vec::new();
        for messenger in &messengers {
            ids.push(messenger.client_id().await.unwrap());
        }
        let to_bob = messengers[0].conversation().await.unwrap();
        Self { to_bob, ids, bob, alice, server, relay, _site: site, _hosts: hosts, _internet: internet }
    }

    /// The devices come anew, and talk.
    async fn come_and_talk(&mut self) {
        self.bob.stop().unwrap();
        self.bob.run_again().await.unwrap();
        send_all(&mut self.to_bob, &["over the relay".to_owned()]).await;
        assert_eq!(self.to_bob.link().await.unwrap(), LinkState::Relayed);
    }

    /// They go, so that their going is in the log, too.
    fn go(&mut self) {
        self.alice.stop().unwrap();
        self.bob.stop().unwrap();
        self.server.stop().unwrap();
    }

    /// Coturn's log says that something was relayed, and not for whom.
    fn check_relay(&self) {
        let traces = self.relay.traces().unwrap();
        let text = String::from_utf8_lossy(&traces);
        assert!(text.contains("session"), "a relay that logs nothing proves nothing: {text}");
        for address in FULL {
            assert!(!holds(&traces, address), "{}: {text}", String::from_utf8_lossy(address));
        }
        self.check_ids(&traces);
    }

    fn check_ids(&self, traces: &[u8]) {
        for id in &self.ids {
            for form in [id.clone(), id.replace('-', "")] {
                assert!(!holds(traces, form.as_bytes()), "{form}: {}", String::from_utf8_lossy(traces));
            }
        }
    }
}

#[tokio::test]
async fn with_logging_disabled_neither_server_nor_relay_writes_an_address_or_an_id() {
    let mut world = World::new(Logging::Disabled).await;
    world.come_and_talk().await;
    world.go();
    let traces = world.server.traces().unwrap();
    let text = String::from_utf8_lossy(&traces);
    for address in FULL.into_iter().chain(SHORTENED.map(str::as_bytes)) {
        assert!(!holds(&traces, address), "{}: {text}", String::from_utf8_lossy(address));
    }
    world.check_ids(&traces);
    world.check_relay();
}

#[tokio::test]
async fn with_logging_active_the_server_writes_shortened_addresses_and_the_relay_none() {
    let mut world = World::new(Logging::Active).await;
    world.come_and_talk().await;
    world.go();
    let traces = world.server.traces().unwrap();
    let text = String::from_utf8_lossy(&traces);
    for address in FULL {
        assert!(!holds(&traces, address), "{}: {text}", String::from_utf8_lossy(address));
    }
    for (id, address) in world.ids.iter().zip(SHORTENED) {
        for what in ["online", "offline"] {
            assert!(text.contains(&format!("{what} {id} {address}\n")), "{what} {id} {address}: {text}");
        }
    }
    world.check_relay();
}

#[tokio::test]
async fn with_logging_in_mode_debug_the_server_writes_whole_addresses_and_the_relay_none() {
    let mut world = World::new(Logging::Debug).await;
    world.come_and_talk().await;
    world.go();
    let traces = world.server.traces().unwrap();
    let text = String::from_utf8_lossy(&traces);
    for (id, address) in world.ids.iter().zip([ROUTER.to_owned(), Internet::NEIGHBOUR_V6.to_string()]) {
        assert!(text.contains(&format!("online {id} {address}\n")), "{id} {address}: {text}");
    }
    world.check_relay();
}

#[tokio::test]
async fn a_change_of_the_servers_logging_is_shown_within_a_second_without_a_new_connection() {
    let server = Server::start(Logging::Active).await.unwrap();
    let device = Device::start("alice", &server.url()).await.unwrap();
    let messenger = device.messenger().await.unwrap();
    messenger.wait_for_logging(LoggingMode::Active).await.unwrap();
    let changes = [
        (Logging::Debug, LoggingMode::Debug),
        (Logging::Disabled, LoggingMode::Disabled),
        (Logging::Active, LoggingMode::Active),
    ];
    for _ in 0..2 * rounds() {
        for (logging, mode) in changes {
            is_shown_in_time(&server, &messenger, logging, mode).await;
        }
    }
}

async fn is_shown_in_time(server: &Server, messenger: &Messenger, logging: Logging, mode: LoggingMode) {
    let since = Instant::now();
    server.change(logging).unwrap();
    let notice = messenger.wait_for_logging(mode).await.unwrap();
    let shown = since.elapsed();
    eprintln!("{mode:?} is shown after {shown:?}");
    assert!(shown <= SHOWN_MAX, "{mode:?} is shown only after {shown:?}");
    assert_eq!(notice.text.contains("Legal basis"), mode == LoggingMode::Debug, "{notice:?}");
}
