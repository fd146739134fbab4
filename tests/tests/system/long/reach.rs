//! A network that goes and comes back: an interface that is taken down, and one that gets another address. Each test has
//! a network of its own out of network namespaces, so these need root.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kith_dbus::Presence;
use kith_system_tests::{Conversation, Device, Host, Internet, Latencies, Location, Logging, Nat, Relay, Server, Site};

use super::rounds;

/// Pairs of devices whose outages happen side by side.
const PAIRS: usize = 5;

/// How often five outages are looked at in a soak.
const SOAK_BATCHES: usize = 4;

/// Presence is never wrong for longer.
const PRESENCE_MAX: Duration = Duration::from_secs(10);

/// A bound with room for a busy machine: what is expected is about half a second.
const DELIVERED_MAX: Duration = Duration::from_secs(5);

/// What happens to the interface of one of the two.
#[derive(Clone, Copy, Debug)]
enum Outage {
    /// It is down for so long, and comes back as it was.
    Down(Duration),
    /// It gets another address in place of its own.
    Readdressed,
}

/// Pairs of devices in one local network. Programs end before hosts.
struct Lan {
    pairs: Vec<Pair>,
    _server: Server,
    _relay: Relay,
    hosts: Vec<Host>,
    site: Site,
    _internet: Internet,
}

struct Pair {
    to_bob: Conversation,
    to_alice: Conversation,
    _alice: Device,
    bob: Device,
}

impl Lan {
    async fn new(pairs: usize) -> Self {
        let mut internet = Internet::new().unwrap();
        let relay = Relay::start(internet.public(), Internet::RELAY).await.unwrap();
        let server = Server::start_public(&internet, &relay, Logging::Active).await.unwrap();
        let mut site = internet.site(Nat::Cone).unwrap();
        let hosts: Vec<Host> = (0..2 * pairs).map(|_| site.device("device").unwrap()).collect();
        let url = server.url();
        let pairs = join_all(hosts.chunks(2).map(|hosts| Pair::new(&hosts[0], &hosts[1], &url))).await;
        Self { pairs, _server: server, _relay: relay, hosts, site, _internet: internet }
    }

    /// Lets it happen to one of each pair, with messages waiting on both sides; how long each pair takes to have
    /// both delivered once the interface is back.
    async fn outage(&mut self, outage: Outage) -> Vec<Duration> {
        let Self { pairs, hosts, site, .. } = self;
        let moving: Vec<&Host> = hosts.iter().step_by(2).collect();
        match outage {
            Outage::Down(duration) => {
                moving.iter().for_each(|host| site.cut_off(host).unwrap());
                // The outage itself.
                tokio::time::sleep(duration).await;
            }
            Outage::Readdressed => moving.iter().for_each(|host| site.take_address(host).unwrap()),
        }
        let mut waiting = Vec::new();
        for (pair, host) in pairs.iter_mut().zip(moving) {
            let there = pair.to_bob.send("from the one that was away").await.unwrap();
            let back = pair.to_alice.send("to the one that was away").await.unwrap();
            match outage {
                Outage::Down(_) => site.rejoin(host).unwrap(),
                Outage::Readdressed => site.readdress(host).unwrap(),
            }
            let since = Instant::now();
            waiting.push(async move {
                let there_took = pair.to_bob.wait_until_delivered(&there).await.unwrap();
                let back_took = pair.to_alice.wait_until_delivered(&back).await.unwrap();
                (there.at + there_took).max(back.at + back_took).saturating_duration_since(since)
            });
        }
        join_all(waiting).await
    }
}

impl Pair {
    async fn new(alice: &Host, bob: &Host, url: &str) -> Self {
        let alice = Device::start_at("alice", &Location::host(alice, url)).await.unwrap();
        let bob = Device::start_at("bob", &Location::host(bob, url)).await.unwrap();
        bob.accept(&alice.invite().await.unwrap()).await.unwrap();
        let to_bob = alice.messenger().await.unwrap().conversation().await.unwrap();
        let to_alice = bob.messenger().await.unwrap().conversation().await.unwrap();
        Self { to_bob, to_alice, _alice: alice, bob }
    }
}

/// Five such outages, in a soak twenty; says how long they took, and holds them to a bound.
async fn delivered_after(outage: Outage) {
    let mut all = Vec::new();
    for _ in 0..if rounds() > 1 { SOAK_BATCHES } else { 1 } {
        all.extend(Lan::new(PAIRS).await.outage(outage).await);
    }
    all.sort_unstable();
    eprintln!("{outage:?}: delivered after {all:?}");
    let mut latencies = Latencies::default();
    all.into_iter().for_each(|took| latencies.push(took));
    assert!(latencies.percentile(100) <= DELIVERED_MAX, "{outage:?}: {latencies}");
}

/// Waits until a peer is shown so, and holds that to the bound.
async fn shown_in_time(conversation: &Conversation, presence: Presence, what: &str) {
    let took = conversation.wait_for_presence(presence).await.unwrap();
    eprintln!("{what}: {presence:?} after {took:?}");
    assert!(took <= PRESENCE_MAX, "{what}: {presence:?} after {took:?}");
}

#[tokio::test]
async fn presence_is_never_wrong_for_longer_than_ten_seconds() {
    let Lan { pairs, hosts, site, .. } = &mut Lan::new(3).await;
    let [frozen, killed, cut_off] = pairs.as_mut_slice() else { panic!("three pairs") };
    for pair in [&*frozen, &*killed, &*cut_off] {
        shown_in_time(&pair.to_bob, Presence::Online, "with a session").await;
    }
    frozen.bob.freeze().unwrap();
    killed.bob.cut_power();
    let host = &hosts[5];
    site.cut_off(host).unwrap();
    tokio::join!(
        shown_in_time(&frozen.to_bob, Presence::Offline, "a frozen daemon"),
        shown_in_time(&killed.to_bob, Presence::Offline, "a killed daemon"),
        shown_in_time(&cut_off.to_bob, Presence::Offline, "an interface that is down"),
        shown_in_time(&cut_off.to_alice, Presence::Offline, "the others, to the one whose interface is down"),
    );
    frozen.bob.thaw();
    killed.bob.run_again().await.unwrap();
    site.rejoin(host).unwrap();
    tokio::join!(
        shown_in_time(&frozen.to_bob, Presence::Online, "a daemon that goes on"),
        shown_in_time(&killed.to_bob, Presence::Online, "a daemon that runs again"),
        shown_in_time(&cut_off.to_bob, Presence::Online, "an interface that is up again"),
        shown_in_time(&cut_off.to_alice, Presence::Online, "the others, to the one whose interface is up again"),
    );
}

#[tokio::test]
async fn messages_are_delivered_soon_after_an_interface_was_down_for_three_seconds() {
    delivered_after(Outage::Down(Duration::from_secs(3))).await;
}

#[tokio::test]
async fn messages_are_delivered_soon_after_an_interface_was_down_for_a_minute() {
    delivered_after(Outage::Down(Duration::from_secs(60))).await;
}

#[tokio::test]
async fn messages_are_delivered_soon_after_an_interface_got_another_address() {
    delivered_after(Outage::Readdressed).await;
}
