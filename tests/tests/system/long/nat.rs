//! Devices behind routers: direct where there is a way, over the relay by itself where there is none.
//!
//! Each test has a network of its own out of network namespaces, so these need root.

use std::time::Duration;

use kith_dbus::LinkState;
use kith_system_tests::{
    Conversation, Credentials, Device, Host, Internet, Location, Logging, Nat, Relay, Server, Site,
};

use super::rounds;
use crate::{numbered, queue_all, received, send_all};

/// Two paired devices in a public network with a server and a relay. Programs end before hosts.
struct World {
    to_bob: Conversation,
    to_alice: Conversation,
    _alice: Device,
    bob: Device,
    _server: Server,
    relay: Relay,
    sites: Vec<Site>,
    _hosts: [Host; 2],
    internet: Internet,
}

impl World {
    /// Two devices behind the routers of their sites, or behind one router.
    async fn new(nats: &[Nat], relay_only: bool) -> Self {
        let mut internet = Internet::new().unwrap();
        let relay = Relay::start(internet.public(), Internet::RELAY).await.unwrap();
        let server = Server::start_public(&internet, &relay, Logging::Active).await.unwrap();
        let mut sites: Vec<Site> = nats.iter().map(|nat| internet.site(*nat).unwrap()).collect();
        let hosts = [sites[0].device("alice").unwrap(), sites[nats.len() - 1].device("bob").unwrap()];
        let location = |host| Location { relay_only, ..Location::host(host, &server.url()) };
        let alice = Device::start_at("alice", &location(&hosts[0])).await.unwrap();
        let bob = Device::start_at("bob", &location(&hosts[1])).await.unwrap();
        bob.accept(&alice.invite().await.unwrap()).await.unwrap();
        let to_bob = alice.messenger().await.unwrap().conversation().await.unwrap();
        let to_alice = bob.messenger().await.unwrap().conversation().await.unwrap();
        Self { to_bob, to_alice, _alice: alice, bob, _server: server, relay, sites, _hosts: hosts, internet }
    }

    /// Starts one device again while a message waits for it; tells how long that takes from the
    /// moment when its store is open.
    async fn first_message(&mut self) -> Duration {
        self.bob.stop().unwrap();
        let queued = self.to_bob.send("the first").await.unwrap();
        self.bob.run_again().await.unwrap();
        let open = std::time::Instant::now();
        let since_queued = self.to_bob.wait_until_delivered(&queued).await.unwrap();
        (queued.at + since_queued).saturating_duration_since(open)
    }

    async fn links(&self) -> [LinkState; 2] {
        [self.to_bob.link().await.unwrap(), self.to_alice.link().await.unwrap()]
    }
}

/// Connects in such a network as often as the tests are to repeat, and says how long it took.
async fn connects(name: &str, nats: &[Nat], relay_only: bool, expected: LinkState) {
    let mut world = World::new(nats, relay_only).await;
    assert_eq!(world.links().await, [expected; 2]);
    let mut times = Vec::new();
    for _ in 0..3 * rounds() {
        times.push(world.first_message().await);
        assert_eq!(world.links().await, [expected; 2]);
    }
    send_all(&mut world.to_bob, &numbered("there", 20)).await;
    send_all(&mut world.to_alice, &numbered("back", 20)).await;
    times.sort();
    eprintln!("{name}: {expected:?}, first message after {times:?}");
}

#[tokio::test]
async fn two_devices_on_one_lan_connect_directly() {
    connects("one LAN", &[Nat::Cone], false, LinkState::Direct).await;
}

#[tokio::test]
async fn two_devices_behind_cone_like_nats_connect_directly() {
    connects("two cone-like NATs", &[Nat::Cone, Nat::Cone], false, LinkState::Direct).await;
}

#[tokio::test]
async fn two_devices_behind_symmetric_nats_connect_over_the_relay_by_themselves() {
    connects("two symmetric NATs", &[Nat::Symmetric, Nat::Symmetric], false, LinkState::Relayed).await;
}

#[tokio::test]
async fn relay_only_devices_connect_over_the_relay_although_there_is_a_direct_path() {
    connects("one LAN, relay only", &[Nat::Cone], true, LinkState::Relayed).await;
}

#[tokio::test]
async fn a_running_link_goes_over_the_relay_when_relay_only_is_chosen_and_directly_when_it_is_not() {
    let mut world = World::new(&[Nat::Cone], false).await;
    assert_eq!(world.links().await, [LinkState::Direct; 2]);
    world.bob.kithctl(&["relay-only", "on"], "").await.unwrap();
    send_all(&mut world.to_alice, &numbered("hidden", 5)).await;
    assert_eq!(world.links().await, [LinkState::Relayed; 2]);
    // It is the device's, and holds over its configuration.
    world.first_message().await;
    assert_eq!(world.links().await, [LinkState::Relayed; 2]);
    assert_eq!(world.bob.kithctl_json(&["status"], "").await.unwrap()["relay_only"], true);
    world.bob.kithctl(&["relay-only", "off"], "").await.unwrap();
    world.to_bob.wait_for_link(LinkState::Direct).await.unwrap();
    send_all(&mut world.to_bob, &numbered("direct", 5)).await;
}

#[tokio::test]
async fn a_relay_that_refuses_the_credentials_is_what_the_user_is_told() {
    for credentials in [Credentials::OtherSecret, Credentials::Expired] {
        let mut world = World::new(&[Nat::Symmetric, Nat::Symmetric], false).await;
        world.bob.stop().unwrap();
        world.relay.run(world.internet.public(), credentials).unwrap();
        let queued = world.to_bob.send("over another relay").await.unwrap();
        let trouble = world.to_bob.next_trouble();
        let again = async {
            world.bob.run_again().await.unwrap();
        };
        let (trouble, ()) = tokio::join!(trouble, again);
        let trouble = trouble.unwrap();
        eprintln!("{credentials:?}: {trouble}");
        assert!(trouble.contains("the relay refused this device"), "{credentials:?}: {trouble}");
        // With a relay that takes them, everything goes on.
        world.relay.run(world.internet.public(), Credentials::Fit).unwrap();
        world.to_bob.wait_until_delivered(&queued).await.unwrap();
    }
}

#[tokio::test]
async fn everything_arrives_where_one_packet_in_twenty_is_lost() {
    let mut world = World::new(&[Nat::Cone, Nat::Cone], false).await;
    for site in &world.sites {
        site.lose(5).unwrap();
    }
    let texts = numbered("through the storm", 200);
    let queued = queue_all(&world.to_bob, &texts).await;
    world.to_bob.wait_until_delivered(queued.last().unwrap()).await.unwrap();
    assert_eq!(received(&world.to_alice).await, texts);
    // A session begins in that weather, too.
    world.first_message().await;
    assert_eq!(received(&world.to_alice).await.len(), texts.len() + 1);
}
