//! What a contact can say to a real daemon, and what a stranger with an invite can.

use kith_crypto::sealed::PayloadKind;
use kith_crypto::session::RECORD_BYTES_MAX;
use kith_crypto::version::Version;
use kith_crypto::wire::{Ack, Frame, Hello, Introduce, Message};

use crate::duel::Duel;
use crate::peer::{HostilePeer, Invite, Thing, honest, seal};
use crate::scene::{Victim, rounds};
use crate::server::HostileServer;

/// Of one thing, so many bytes are changed in one round, each in a connection of its own: the
/// victim opens 96 payloads of a contact in ten seconds.
const CHANGED_MAX: usize = 4;

fn plaintext(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = vec![0; 20_000];
    let length = frame.encode(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// What no honest contact says in a session, and the victim's sentence about it.
fn nonsense(duel: &mut Duel) -> Vec<(&'static str, Vec<u8>)> {
    let card = duel.peer.identity.card().clone();
    let message = duel.peer.message("nobody should read this");
    vec![
        ("unknown", vec![0x7f, 0, 3, 1, 2, 3]),
        ("padding", [&[0xff, 0, 0][..], &[1; 125]].concat()),
        ("frame", vec![0x02, 0xff, 0xff]),
        ("frame", vec![0x03, 0, 1, 0]),
        ("hello twice", plaintext(&Frame::Hello(Hello { version: Version::OWN, incarnation: [0; 16] }))),
        ("out of its place", plaintext(&Frame::Introduce(Introduce { card, name: "again" }))),
        ("out of its place", plaintext(&Frame::Paired { name: "again" })),
        ("the rekey failed", plaintext(&Frame::Switch)),
        ("changes keys too often", plaintext(&Frame::Rekey(&[4; 81]))),
        ("message without a number", plaintext(&Frame::Message(Message { number: 0, ..message }))),
        ("another message under the same number", plaintext(&Frame::Message(Message { number: 1, ..message }))),
    ]
}

#[tokio::test]
async fn nonsense_of_a_contact_ends_the_session_with_a_sentence_and_shows_nothing() {
    let mut duel = Duel::new(1).await;
    for (sentence, plaintext) in nonsense(&mut duel) {
        let mark = duel.victim.troubles.count();
        let mut channel = duel.connect().await;
        duel.peer.say_plaintext(&mut channel, &plaintext);
        duel.peer.is_left(&channel).await;
        duel.victim.troubles.wait_for(mark, sentence).await.unwrap();
    }
    // It may be of a room that this device is still to hear of: not taken, and the session goes on.
    let mut channel = duel.connect().await;
    let elsewhere = Message { conversation: [1; 16], ..duel.peer.message("nobody should read this either") };
    duel.peer.say(&mut channel, &Frame::Message(elsewhere));
    duel.peer.flood(&mut channel, 1_000).await;
    duel.is_as_it_should_be("nonsense").await;
}

#[tokio::test]
async fn records_of_a_contact_that_are_changed_repeated_skipped_or_old_end_the_session() {
    let mut duel = Duel::new(2).await;
    let mut old = duel.connect().await;
    let message = duel.peer.message("from an old session");
    let from_old = seal(&mut old, &Frame::Message(message));
    let lengths = [0, 1, 16, 143, 145, RECORD_BYTES_MAX].map(|length| vec![7; length]);
    for round in 0..rounds() {
        let length = from_old.len();
        let places = (round % 36..length).step_by(length / CHANGED_MAX);
        let changed = places.map(|place| {
            let flip = move |record: &mut Vec<u8>| record[place] ^= 1 << (round % 8);
            Some(flip)
        });
        for flip in changed {
            let mark = duel.victim.troubles.count();
            let mut channel = duel.connect().await;
            let message = duel.peer.message("changed on its way");
            let mut record = seal(&mut channel, &Frame::Message(message));
            if let Some(flip) = flip {
                flip(&mut record);
            }
            duel.peer.say_bytes(&channel, record);
            duel.peer.is_left(&channel).await;
            duel.victim.troubles.wait_for(mark, "a record did not open").await.unwrap();
        }
        for record in lengths.iter().cloned().chain([from_old.clone()]) {
            let mark = duel.victim.troubles.count();
            let channel = duel.connect().await;
            duel.peer.say_bytes(&channel, record);
            duel.peer.is_left(&channel).await;
            duel.victim.troubles.wait_for(mark, "a record did not open").await.unwrap();
        }
        duel.is_as_it_should_be("changed records").await;
    }
    // Skipped; then repeated, which shows the first one and no second.
    let mark = duel.victim.troubles.count();
    let mut channel = duel.connect().await;
    let ping = Frame::Ping([1; 8]);
    let _skipped = seal(&mut channel, &ping);
    duel.peer.say(&mut channel, &ping);
    duel.peer.is_left(&channel).await;
    duel.victim.troubles.wait_for(mark, "a record did not open").await.unwrap();
    let mark = duel.victim.troubles.count();
    let mut channel = duel.connect().await;
    let record = seal(&mut channel, &ping);
    duel.peer.say_bytes(&channel, record.clone());
    duel.peer.say_bytes(&channel, record);
    duel.peer.is_left(&channel).await;
    duel.victim.troubles.wait_for(mark, "a record did not open").await.unwrap();
    duel.is_as_it_should_be("repeated records").await;
}

#[tokio::test]
async fn a_handshake_of_a_contact_that_is_changed_or_old_begins_no_session() {
    let mut duel = Duel::new(3).await;
    let old = duel.connect().await.first_message;
    for round in 0..rounds() {
        for (thing, length, sentence) in
            [(Thing::Handshake(1), 81, "the handshake failed"), (Thing::Hello, 144, "a record did not open")]
        {
            for place in (round % (length / CHANGED_MAX)..length).step_by(length / CHANGED_MAX) {
                let mark = duel.victim.troubles.count();
                let mut flip = |at: Thing, bytes: &mut Vec<u8>| {
                    if at == thing {
                        bytes[place] ^= 1 << (round % 8);
                    }
                };
                if let Ok(channel) = duel.peer.connect(&mut flip).await {
                    duel.peer.is_left(&channel).await;
                }
                duel.victim.troubles.wait_for(mark, sentence).await.unwrap();
            }
        }
        let mark = duel.victim.troubles.count();
        let mut replay = |at: Thing, bytes: &mut Vec<u8>| {
            if at == Thing::Handshake(1) {
                bytes.clone_from(&old);
            }
        };
        assert!(duel.peer.connect(&mut replay).await.is_err());
        duel.victim.troubles.wait_for(mark, "the handshake failed").await.unwrap();
        duel.is_as_it_should_be("changed handshakes").await;
    }
}

#[tokio::test]
async fn acknowledgements_of_what_a_contact_was_not_sent_deliver_nothing() {
    let mut duel = Duel::new(4).await;
    let mark = duel.victim.troubles.count();
    let queued = duel.queue("kept until it is delivered").await;
    let mut channel = duel.connect().await;
    duel.peer.say(&mut channel, &Frame::Ack(Ack { id: [9; 16], hash: [9; 32] }));
    let id = duel.peer.hear_message(&mut channel).await.id;
    duel.peer.say(&mut channel, &Frame::Ack(Ack { id, hash: [9; 32] }));
    duel.peer.is_left(&channel).await;
    duel.victim.troubles.wait_for(mark, "acknowledged a message that it was not sent").await.unwrap();
    // It is still queued: an honest session gets it.
    let mut channel = duel.connect().await;
    duel.peer.take_message(&mut channel).await;
    duel.is_delivered(&queued).await;
    duel.is_as_it_should_be("false acknowledgements").await;
}

#[tokio::test]
async fn a_stranger_with_an_invite_who_does_not_pair_stays_a_stranger() {
    let server = HostileServer::start().await;
    let victim = Victim::start("victim", &server).await;
    let text = victim.device.invite().await.unwrap();
    let invite = Invite::read(&text);
    let mut stranger = HostilePeer::online(server.url(), 5, &invite.card).await;
    // The card of another in the introduction; each attempt counts, and there are five.
    let other = HostilePeer::online(server.url(), 6, &invite.card).await;
    let mut flip = |at: Thing, bytes: &mut Vec<u8>| {
        if at == Thing::Handshake(2) {
            bytes[70] ^= 1;
        }
    };
    assert!(stranger.use_invite(&invite, &mut flip).await.is_err());
    let mut channel = stranger.use_invite(&invite, &mut honest()).await.unwrap();
    let card = other.identity.card().clone();
    stranger.say(&mut channel, &Frame::Introduce(Introduce { card, name: "another" }));
    stranger.is_left(&channel).await;
    let mut channel = stranger.use_invite(&invite, &mut honest()).await.unwrap();
    let message = stranger.message("before the pairing");
    stranger.say(&mut channel, &Frame::Message(message));
    stranger.is_left(&channel).await;
    for sentence in ["the handshake failed", "introduced itself as somebody else", "out of its place"] {
        assert!(victim.has_logged(sentence), "{sentence}: {}", victim.log());
    }
    // First offers that do not open count as nothing, whoever sends them.
    let before = server.passed().len();
    let mut garble = |at: Thing, bytes: &mut Vec<u8>| {
        if at == Thing::Payload(PayloadKind::FirstOffer) {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        }
    };
    assert!(stranger.use_invite(&invite, &mut garble).await.is_err());
    assert!(server.passed().len() > before);
    // The invite is still open for the one it was meant for.
    let bob = Victim::start("bob", &server).await;
    bob.device.accept(&text).await.unwrap();
    let mut to_victim = bob.device.messenger().await.unwrap().conversation().await.unwrap();
    let queued = to_victim.send("from the right one").await.unwrap();
    to_victim.wait_until_delivered(&queued).await.unwrap();
    let objects = victim.device.messenger().await.unwrap().objects().await.unwrap();
    assert_eq!(objects.keys().filter(|path| path.contains("/peer/")).count(), 1);
    victim.is_unharmed();
}
