//! A server that mounts a man in the middle, with an identity of its own.

use std::sync::{Arc, Mutex};

use kith_crypto::identity::{Card, ClientId, Identity};
use kith_crypto::invite::{InviteKeys, InviteSecret};
use kith_crypto::sealed::{self, Header, PayloadKind};
use kith_crypto::version::Version;
use kith_dbus::LinkState;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::peer::Invite;
use crate::scene::{Scene, Victim};
use crate::server::{HostileServer, Passing, Rule, honest};

/// Whoever sits in the middle: real keys, but nobody's contact.
struct Middle {
    identity: Identity,
    rng: ChaCha20Rng,
}

impl Middle {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(66);
        Self { identity: Identity::generate(&mut rng), rng }
    }

    fn id(&self) -> ClientId {
        self.identity.client_id()
    }

    /// The same payload as it would be if it came from the middle.
    fn forged(&mut self, passing: &Passing, to: &Card, keys: &InviteKeys) -> Vec<u8> {
        let header = Header::peek(&passing.payload).unwrap();
        let mut out = vec![0; 20_000];
        let (own, body, rng) = (&self.identity, &b"v=0\r\na=fingerprint:sha-256 00\r\n"[..], &mut self.rng);
        let sealed = if header.kind == PayloadKind::FirstOffer {
            sealed::seal_first(own, to.identity(), keys, header, Version::OWN, body, &mut out, rng)
        } else {
            sealed::seal(own, to.identity(), header, Version::OWN, body, &mut out, rng)
        };
        out.truncate(sealed.unwrap());
        out
    }
}

/// Puts what the middle makes in the place of every payload, under the sender's name and under its own.
fn in_place_of_all(mut middle: Middle, cards: Vec<Card>, keys: InviteKeys) -> Rule {
    Box::new(move |passing, _| {
        let Some(to) = cards.iter().find(|card| card.client_id() == passing.to).cloned() else { return Vec::new() };
        let payload = middle.forged(passing, &to, &keys);
        let own_name = Passing { from: middle.id(), payload: payload.clone(), ..passing.clone() };
        vec![Passing { payload, ..passing.clone() }, own_name]
    })
}

#[tokio::test]
async fn a_server_in_the_middle_of_two_contacts_gets_no_session() {
    let mut scene = Scene::new().await;
    // Cards are public: an invite shows one.
    let mut cards = Vec::new();
    for victim in [&scene.alice, &scene.bob] {
        cards.push(Invite::read(&victim.device.invite().await.unwrap()).card);
    }
    let keys = InviteSecret::from_bytes([1; 32]).keys();
    let before = scene.server.passed().len();
    scene.server.set_rule(in_place_of_all(Middle::new(), cards, keys));
    scene.bob.lock_and_unlock().await;
    scene.server.wait_for_payload(before, |_| true).await;
    // The offer in vain ends with a sentence to whoever made it.
    let offerer = if scene.alice.id < scene.bob.id { &scene.alice } else { &scene.bob };
    offerer.troubles.wait_for(0, "the other side did not answer").await.unwrap();
    assert_eq!(scene.to_bob.link().await.unwrap(), LinkState::None);
    assert_eq!(scene.to_alice.link().await.unwrap(), LinkState::None);
    let answerer = if scene.alice.id < scene.bob.id { &scene.bob } else { &scene.alice };
    assert!(answerer.has_logged("did not open"), "{}", answerer.log());
    scene.server.set_rule(honest());
    scene.is_as_it_should_be("a server in the middle").await;
    let numbers = (scene.to_bob.safety_number().await.unwrap(), scene.to_alice.safety_number().await.unwrap());
    assert_eq!(numbers.0, numbers.1, "two people who compare find the same digits");
}

#[tokio::test]
async fn a_server_in_the_middle_of_a_pairing_pairs_with_nobody() {
    let server = HostileServer::start().await;
    let alice = Victim::start("alice", &server).await;
    let bob = Victim::start("bob", &server).await;
    let text = alice.device.invite().await.unwrap();
    let invite = Invite::read(&text);

    // Another secret than the invite's is all that a server can have.
    let middle = Middle::new();
    let (stranger, card) = (middle.id(), middle.identity.card().clone());
    let middle = Arc::new(Mutex::new(middle));
    let to = invite.card.clone();
    let keys = InviteSecret::from_bytes([2; 32]).keys();
    let rule: Rule = Box::new(move |passing, _| {
        let mut all = Vec::new();
        if passing.payload.first() == Some(&(PayloadKind::FirstOffer as u8)) {
            // Its own offer; and the real one with its card in it, under either name.
            let forged = middle.lock().unwrap().forged(passing, &to, &keys);
            let mut swapped = passing.payload.clone();
            swapped[21..151].copy_from_slice(card.as_bytes());
            for from in [stranger, passing.from] {
                all.push(Passing { from, payload: forged.clone(), ..passing.clone() });
                all.push(Passing { from, payload: swapped.clone(), ..passing.clone() });
            }
            all.push(Passing { from: stranger, ..passing.clone() });
        }
        all.push(passing.clone());
        all
    });
    server.set_rule(rule);
    bob.device.accept(&text).await.unwrap();
    assert!(server.cheats() > 0);
    assert!(alice.has_logged("did not open"), "{}", alice.log());
    let mut to_bob = alice.device.messenger().await.unwrap().conversation().await.unwrap();
    let to_alice = bob.device.messenger().await.unwrap().conversation().await.unwrap();
    assert_eq!(to_bob.peer().await.unwrap(), bob.id.to_string());
    assert_eq!(to_alice.peer().await.unwrap(), alice.id.to_string());
    assert_eq!(to_bob.safety_number().await.unwrap(), to_alice.safety_number().await.unwrap());
    let queued = to_bob.send("to the right one").await.unwrap();
    to_bob.wait_until_delivered(&queued).await.unwrap();
    alice.is_unharmed();
    bob.is_unharmed();
}
