//! More of everything than anybody needs: it costs bounded memory, and what is honest gets through.

use kith_crypto::identity::ClientId;
use kith_crypto::sealed::{Header, PayloadKind};
use kith_crypto::wire::Frame;
use kith_engine::Via;
use kith_signal_protocol::limits::RELAY_BYTES_MAX;
use kith_signal_protocol::{IceServer, IceServers, LoggingMode, Notice, Presence, ToDevice, Via as ServerVia};

use crate::duel::Duel;
use crate::peer::Invite;
use crate::scene::Scene;
use crate::server::Passing;

/// How many frames a contact floods a session with.
const FRAMES: usize = 10_000;
/// How many messages a server floods a device with: the device takes 256 a second.
const MESSAGES: usize = 1_500;
/// How many large ones.
const LARGE: usize = 500;

/// A client id that nobody has.
fn nobody(number: u32) -> ClientId {
    let mut id = [0; 20];
    id[..4].copy_from_slice(&number.to_be_bytes());
    ClientId::from_bytes(id)
}

/// Messages that a server may send, each in its place, and how often it sends them.
fn server_floods(peer: ClientId) -> Vec<(&'static str, usize, Vec<ToDevice>)> {
    let presence = |peer, online| ToDevice::Presence(Presence { peer, online });
    let notice = |mode| ToDevice::Notice(Notice { mode, text: "n".repeat(512) });
    let urls = vec!["stun:127.0.0.1:9".to_owned(); 8];
    let server = IceServer { urls, username: "u".repeat(512), password: "p".repeat(512) };
    vec![
        ("presence", MESSAGES, vec![presence(peer, false), presence(peer, true), presence(nobody(1), true)]),
        ("intruders", MESSAGES, vec![ToDevice::Intruder]),
        ("notices", MESSAGES, vec![notice(LoggingMode::Debug), notice(LoggingMode::Active)]),
        ("ICE servers", LARGE, vec![ToDevice::IceServers(IceServers { servers: vec![server; 8], lifetime_s: 0 })]),
    ]
}

#[tokio::test]
async fn a_server_that_floods_a_device_costs_it_bounded_memory() {
    let mut scene = Scene::new().await;
    let (alice, bob) = (scene.alice.id, scene.bob.id);
    let memory_kib = scene.alice.memory_kib();
    for (what, count, messages) in server_floods(bob) {
        for _ in 0..count / messages.len() {
            for message in &messages {
                scene.server.say(alice, message).await;
            }
        }
        scene.is_as_it_should_be(what).await;
        scene.alice.is_not_swollen(memory_kib, what);
    }
    // Of every type, in the name of a contact and of nobody.
    for count in 0..LARGE {
        let payload = vec![(count % 7) as u8; RELAY_BYTES_MAX];
        let from = if count % 2 == 0 { bob } else { nobody(1) };
        scene.server.pass(Passing { from, to: alice, via: ServerVia::Contact, payload }).await;
    }
    scene.is_as_it_should_be("large payloads").await;
    scene.alice.is_not_swollen(memory_kib, "large payloads");
    let lines = scene.alice.log().lines().count();
    assert!(lines < 2_000, "a server writes {lines} lines into a device's log");
}

#[tokio::test]
async fn a_presence_that_flaps_does_not_make_a_device_offer_each_time() {
    let mut scene = Scene::new().await;
    // The one with the lower id offers at once; the other is away, whatever the server says.
    let (caller, away) =
        if scene.alice.id < scene.bob.id { (&scene.alice, &scene.bob) } else { (&scene.bob, &scene.alice) };
    away.device.lock().await.unwrap();
    let is_offer = |p: &Passing| p.from == caller.id && p.payload[0] == PayloadKind::Offer as u8;
    let offers = || scene.server.passed().iter().filter(|p| is_offer(p)).count();
    let (before, memory_kib) = (offers(), caller.memory_kib());
    for _ in 0..MESSAGES / 2 {
        for online in [true, false] {
            scene.server.say(caller.id, &ToDevice::Presence(Presence { peer: away.id, online })).await;
        }
    }
    away.device.unlock().await.unwrap();
    let made = offers() - before;
    assert!(made <= 10, "{made} offers to somebody who is not there");
    caller.is_not_swollen(memory_kib, "flapping");
    scene.is_as_it_should_be("flapping").await;
}

#[tokio::test]
async fn a_contact_that_floods_a_session_costs_bounded_memory() {
    let mut duel = Duel::new(21).await;
    let memory_kib = duel.victim.memory_kib();
    let mut channel = duel.connect().await;
    duel.peer.flood(&mut channel, FRAMES).await;
    duel.victim.is_not_swollen(memory_kib, "pings");
    duel.is_as_it_should_be("pings").await;
    // As many as fit on the way, and away without reading an answer; again and again.
    for _ in 0..10 {
        let mut channel = duel.connect().await;
        for _ in 0..200 {
            duel.peer.say(&mut channel, &Frame::Ping([2; 8]));
        }
        duel.peer.leave(&channel);
    }
    duel.is_as_it_should_be("answers that nobody reads").await;
    // More messages than may be on their way.
    let mark = duel.victim.troubles.count();
    let mut channel = duel.connect().await;
    let body = "x".repeat(12_000);
    let mut waiting = Vec::new();
    for _ in 0..250 {
        let message = duel.peer.message(&body);
        waiting.push(message.id);
        duel.peer.say(&mut channel, &Frame::Message(message));
    }
    let (taken, why) = duel.peer.count_acknowledged(&mut channel).await;
    if taken < waiting.len() {
        duel.victim.troubles.wait_for(mark, "more messages than the window allows").await.unwrap();
        assert!(why.contains("closed"), "{why}");
    }
    duel.victim.is_not_swollen(memory_kib, "messages");
}

#[tokio::test]
async fn offers_and_candidates_without_end_are_opened_at_a_bounded_rate() {
    let mut duel = Duel::new(22).await;
    let memory_kib = duel.victim.memory_kib();
    let body = vec![b'x'; 12_000];
    let kinds = [PayloadKind::Offer, PayloadKind::Candidate, PayloadKind::Answer, PayloadKind::Withdraw];
    for count in 0..1_000 {
        let session = duel.peer.session_id();
        let kind = kinds[count % kinds.len()];
        let index = u32::from(kind == PayloadKind::Candidate);
        let payload = duel.peer.sealed(Header { kind, session, index }, &body, None);
        duel.peer.relay(Via::Contact, payload).await;
    }
    duel.victim.troubles.wait_for(0, "description of the connection cannot be read").await.unwrap();
    duel.victim.is_not_swollen(memory_kib, "offers");
    // Its offers count again when the ten seconds are over; until then each goes unanswered.
    while duel.peer.connect(&mut crate::peer::honest()).await.is_err() {}
    duel.is_as_it_should_be("offers").await;
}

#[tokio::test]
async fn first_offers_without_end_leave_a_contact_its_way_in() {
    let mut duel = Duel::new(23).await;
    let memory_kib = duel.victim.memory_kib();
    let invite = Invite::read(&duel.victim.device.invite().await.unwrap());
    // Whoever knows the token has as many names as a server gives it.
    let header = Header { kind: PayloadKind::FirstOffer, session: duel.peer.session_id(), index: 0 };
    let mut payload = duel.peer.sealed(header, b"words", Some(&invite));
    let last = payload.len() - 1;
    payload[last] ^= 1;
    let (to, via) = (duel.victim.id, ServerVia::Invite(invite.keys.token));
    for number in 0..3_000 {
        duel.server.pass(Passing { from: nobody(number), to, via, payload: payload.clone() }).await;
    }
    // At once, not when the ten seconds are over.
    duel.is_as_it_should_be("first offers").await;
    duel.victim.is_not_swollen(memory_kib, "first offers");
    assert!(duel.victim.has_logged("did not open"), "{}", duel.victim.log());
}
