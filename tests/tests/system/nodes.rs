//! Two signaling servers on one NATS server, and a device at each.

use kith_system_tests::{Conversation, Device, Location, Logging, Nats, Server};

use crate::{numbered, received, send_all};

/// Two servers, and a paired device at each, which knows the other server, too.
struct Nodes {
    nats: Nats,
    one: Server,
    // Kept running: both devices end up at it.
    _two: Server,
    alice: Device,
    bob: Device,
    to_bob: Conversation,
    to_alice: Conversation,
}

impl Nodes {
    async fn new() -> Self {
        let nats = Nats::start().await.unwrap();
        let one = Server::start_shared(&nats, Logging::Active).await.unwrap();
        let two = Server::start_shared(&nats, Logging::Active).await.unwrap();
        let at = |first: &Server, other: &Server| Location {
            other_urls: vec![other.url()],
            ..Location::loopback(&first.url())
        };
        let alice = Device::start_at("alice", &at(&one, &two)).await.unwrap();
        let bob = Device::start_at("bob", &at(&two, &one)).await.unwrap();
        bob.accept(&alice.invite().await.unwrap()).await.unwrap();
        let to_bob = alice.messenger().await.unwrap().conversation().await.unwrap();
        let to_alice = bob.messenger().await.unwrap().conversation().await.unwrap();
        Self { nats, one, _two: two, alice, bob, to_bob, to_alice }
    }

    /// Lets the devices find each other anew, which takes the servers, and talk.
    async fn meet_again(&mut self, what: &str) -> Vec<String> {
        self.bob.cut_power();
        self.bob.run_again().await.unwrap();
        let texts = numbered(what, 3);
        send_all(&mut self.to_bob, &texts).await;
        texts
    }
}

#[tokio::test]
async fn devices_of_two_servers_pair_talk_and_find_each_other_again_after_nats_and_after_a_server_was_killed() {
    let mut nodes = Nodes::new().await;
    let back = numbered("back", 3);
    send_all(&mut nodes.to_alice, &back).await;
    assert_eq!(received(&nodes.to_bob).await, back);
    let mut expected = nodes.meet_again("at two servers").await;
    nodes.nats.cut_power();
    let without = numbered("without NATS", 3);
    send_all(&mut nodes.to_bob, &without).await;
    expected.extend(without);
    nodes.nats.run().await.unwrap();
    expected.extend(nodes.meet_again("with NATS again").await);
    // Alice's server: she goes to the other one by herself.
    nodes.one.cut_power();
    expected.extend(nodes.meet_again("at one server").await);
    assert_eq!(received(&nodes.to_alice).await, expected);
    assert!(nodes.alice.is_running());
}
