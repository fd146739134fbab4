//! A peer that cheats: a contact, or a stranger who holds an invite. It gets no session that is not
//! its own, nothing of its nonsense is shown, and each time a sentence says what it did.

use kith_crypto::noise::Role;
use kith_crypto::sealed::PayloadKind;
use kith_crypto::session::{Handshake, RECORD_BYTES_MAX, Side};
use kith_crypto::version::Version;
use kith_crypto::wire::{Ack, Frame, Hello, Introduce};
use kith_engine::{PairingState, Request, Via};

use crate::villain::{Channel, FINGERPRINT, Scene, Thing, Victim, Villain, honest, own_fingerprint};

/// A contact with a session, and a message that was shown.
fn connected(seed: u64) -> (Scene, Channel) {
    let mut scene = Scene::contact(seed);
    let mut channel = scene.connect(&mut honest()).unwrap();
    let message = Frame::Message(scene.villain.message("the first"));
    scene.say(&mut channel, &message, Thing::Message, &mut honest());
    (scene, channel)
}

/// The session is over, the sentence says why, nothing was shown, and an honest one is welcome.
fn ended(mut scene: Scene, channel: &Channel, sentence: &str) {
    assert!(!scene.is_live(channel.link), "{sentence}: the session goes on");
    let troubles = scene.victim.troubles();
    assert!(troubles.len() == 1 && troubles[0].contains(sentence), "{sentence}: {troubles:?}");
    assert_eq!(scene.victim.shown(scene.villain.id), ["the first"], "{sentence}");
    scene.honest_exchange(sentence);
}

#[test]
fn frames_that_break_the_protocol_end_the_session_with_a_sentence_that_says_which() {
    type Say = fn(&mut Scene, &mut Channel);
    let cases: &[(&str, Say)] = &[
        ("unknown", |s, c| s.say_kind(c, 0x1b, b"no roster")),
        ("unknown", |s, c| s.say_kind(c, 0x7f, b"")),
        ("padding", |s, c| s.say_raw(c, &[&[0xff, 0, 0][..], &[1; 125]].concat())),
        ("frame", |s, c| s.say_raw(c, &[0x02, 0xff, 0xff])),
        ("frame", |s, c| s.say_kind(c, 0x02, b"no message")),
        ("frame", |s, c| s.say_kind(c, 0x03, &[0; 47])),
        ("frame", |s, c| s.say_kind(c, 0x07, b"x")),
        ("hello twice", |s, c| {
            let hello = Frame::Hello(Hello { version: Version::OWN, incarnation: [0; 16] });
            s.say(c, &hello, Thing::Hello, &mut honest());
        }),
        ("out of its place", |s, c| s.introduce(c, &mut honest())),
        ("out of its place", |s, c| s.say(c, &Frame::Paired { name: "x" }, Thing::Message, &mut honest())),
        ("the rekey failed", |s, c| s.say(c, &Frame::Switch, Thing::Switch, &mut honest())),
        ("changes keys too often", |s, c| s.rekey(c, &mut honest())),
        ("a message without a number", |s, c| {
            let message = kith_crypto::wire::Message { number: 0, ..s.villain.message("none") };
            s.say(c, &Frame::Message(message), Thing::Message, &mut honest());
        }),
        ("another message under the same number", |s, c| {
            let message = kith_crypto::wire::Message { number: 1, ..s.villain.message("changed") };
            s.say(c, &Frame::Message(message), Thing::Message, &mut honest());
        }),
    ];
    for (sentence, say) in cases {
        let (mut scene, mut channel) = connected(100);
        say(&mut scene, &mut channel);
        ended(scene, &channel, sentence);
    }
}

#[test]
fn records_of_any_other_length_end_the_session() {
    for length in [0, 1, 15, 16, 17, 143, 145, 160, 528 + 1, RECORD_BYTES_MAX, RECORD_BYTES_MAX + 1, 65_536] {
        let (mut scene, channel) = connected(101);
        scene.victim.frame(channel.link, vec![0; length]);
        ended(scene, &channel, "a record did not open");
    }
}

#[test]
fn records_that_are_repeated_skipped_swapped_or_reflected_end_the_session() {
    let sealed = |scene: &mut Scene, channel: &mut Channel, text: &str| {
        let mut kept = Vec::new();
        let message = Frame::Message(scene.villain.message(text));
        // Sealed, and replaced on its way by nothing.
        let before = channel.session.records();
        let mut record = vec![0; 20_000];
        let length = channel.session.seal_frame(&message, &mut record).unwrap();
        assert!(channel.session.records() >= before);
        kept.extend_from_slice(&record[..length]);
        kept
    };
    // Repeated: the very record that was shown.
    let (mut scene, mut channel) = connected(102);
    let record = sealed(&mut scene, &mut channel, "again");
    scene.victim.frame(channel.link, record.clone());
    assert_eq!(scene.victim.shown(scene.villain.id), ["the first", "again"]);
    scene.victim.frame(channel.link, record);
    assert!(scene.victim.troubles()[0].contains("a record did not open"));
    assert_eq!(scene.victim.shown(scene.villain.id), ["the first", "again"]);
    // Skipped, and so swapped.
    let (mut scene, mut channel) = connected(103);
    let _held_back = sealed(&mut scene, &mut channel, "held back");
    let next = sealed(&mut scene, &mut channel, "the next");
    scene.victim.frame(channel.link, next);
    ended(scene, &channel, "a record did not open");
    // Reflected: what the victim said itself.
    let (mut scene, channel) = connected(104);
    let own = scene.next_frame(channel.link).unwrap();
    scene.victim.frame(channel.link, own);
    ended(scene, &channel, "a record did not open");
}

#[test]
fn the_first_handshake_message_of_an_old_session_begins_none() {
    let (mut scene, old) = connected(105);
    let mut replay = |thing: Thing, bytes: &mut Vec<u8>| {
        if thing == Thing::Handshake(1) {
            bytes.clone_from(&old.first_message);
        }
    };
    assert!(scene.connect(&mut replay).is_none());
    assert!(scene.victim.troubles().iter().any(|text| text.contains("the handshake failed")));
    // The session before it is not touched.
    assert_eq!(scene.victim.live_links(), [old.link]);
}

#[test]
fn records_of_an_old_session_mean_nothing_in_a_new_one() {
    let (mut scene, mut old) = connected(106);
    let mut record = vec![0; 20_000];
    let message = Frame::Message(scene.villain.message("from the old one"));
    let length = old.session.seal_frame(&message, &mut record).unwrap();
    record.truncate(length);
    let new = scene.connect(&mut honest()).unwrap();
    assert_eq!(scene.victim.live_links(), [new.link], "the newer session takes the older one's place");
    scene.victim.frame(old.link, record.clone());
    assert_eq!(scene.victim.troubles(), [""; 0], "a closed link is nobody");
    scene.victim.frame(new.link, record);
    ended(scene, &new, "a record did not open");
}

#[test]
fn a_handshake_over_other_certificates_or_versions_fails() {
    type Change = fn(&mut Side, &mut Side);
    let changes: [Change; 4] = [
        |own, _| own.fingerprint[31] ^= 1,
        |_, victim| victim.fingerprint[0] ^= 1,
        |own, _| own.version.minor += 1,
        |own, victim| std::mem::swap(&mut own.client_id, &mut victim.client_id),
    ];
    for change in changes {
        let mut scene = Scene::contact(107);
        let (card, session) = (scene.victim.card.clone(), scene.villain.session_id());
        let offer = scene.villain.sealed(&card, PayloadKind::Offer, session, 0);
        scene.relay(Via::Contact, Thing::Offer, offer, &mut honest());
        let link = scene.victim.links[0];
        scene.victim.up(link, FINGERPRINT);
        let mut own = Side { client_id: scene.villain.id, fingerprint: FINGERPRINT, version: Version::OWN };
        let mut victim = Side { client_id: scene.victim.id, fingerprint: own_fingerprint(link), version: Version::OWN };
        change(&mut own, &mut victim);
        let handshake = Handshake::paired(Role::Initiator, &scene.villain.identity, card.identity(), own, victim);
        assert!(scene.shake_hands(link, handshake, &mut honest()).is_none());
        assert!(scene.victim.troubles()[0].contains("the handshake failed"), "{:?}", scene.victim.troubles());
        scene.honest_exchange("other certificates");
    }
}

#[test]
fn acknowledgements_that_are_not_its_own_deliver_nothing() {
    // Of another contact's message: ids are random, but let it know.
    let villain = Villain::new(108);
    let friend = Villain::new(109);
    let victim = Victim::new(108, &[villain.identity.card().clone(), friend.identity.card().clone()]);
    let mut scene = Scene { victim, villain };
    scene.victim.send(friend.id, "for the friend");
    let secret = scene.victim.disk.history(friend.id)[0].clone();
    let hash = kith_crypto::wire::message_hash(&secret.id.0, secret.number, &secret.content_type, &secret.body);
    let mut channel = scene.connect(&mut honest()).unwrap();
    let not_its_own = Frame::Ack(Ack { id: secret.id.0, hash });
    scene.say(&mut channel, &not_its_own, Thing::Ack, &mut honest());
    assert_eq!(scene.victim.delivered(friend.id), 0);
    assert!(scene.is_live(channel.link), "an acknowledgement of nothing is ignored, as a repeated one is");
    // Of its own message, with another hash.
    scene.victim.send(scene.villain.id, "for the villain");
    let ack = scene.their_message(&mut channel).unwrap();
    scene.say(&mut channel, &Frame::Ack(Ack { hash: [0; 32], ..ack }), Thing::Ack, &mut honest());
    assert!(scene.victim.troubles()[0].contains("acknowledged a message that it was not sent"));
    assert_eq!(scene.victim.delivered(scene.villain.id), 0);
    scene.honest_exchange("a wrong hash");
}

#[test]
fn a_message_under_the_id_of_another_is_not_shown() {
    let (mut scene, mut channel) = connected(110);
    scene.victim.send(scene.villain.id, "the victim's own");
    let own = scene.their_message(&mut channel).unwrap();
    let first = scene.victim.disk.history(scene.villain.id)[0].id.0;
    for id in [own.id, first] {
        let message = kith_crypto::wire::Message { id, ..scene.villain.message("in its place") };
        scene.say(&mut channel, &Frame::Message(message), Thing::Message, &mut honest());
        assert!(!scene.is_live(channel.link));
        assert_eq!(scene.victim.shown(scene.villain.id), ["the first"]);
        assert_eq!(scene.victim.disk.history(scene.villain.id)[1].body, b"the victim's own");
        channel = scene.connect(&mut honest()).unwrap();
    }
    assert!(scene.victim.troubles().iter().all(|text| text.contains("the message id is taken")));
}

#[test]
fn unknown_optional_frames_and_pings_are_taken_in_any_number() {
    let (mut scene, mut channel) = connected(111);
    for round in 0..1_000 {
        scene.say_kind(&mut channel, 0x8c, &[round as u8; 100]);
        scene.say(&mut channel, &Frame::Ping([round as u8; 8]), Thing::Message, &mut honest());
        scene.say(&mut channel, &Frame::Pong([round as u8; 8]), Thing::Message, &mut honest());
        scene.say(&mut channel, &Frame::AskRekey, Thing::Message, &mut honest());
        // Nothing is kept of them but the answers to the pings.
        assert!(scene.victim.frames.len() <= 3);
        scene.victim.frames.clear();
    }
    assert_eq!(scene.victim.troubles(), [""; 0]);
    assert_eq!(scene.victim.shown(scene.villain.id), ["the first"]);
    let message = Frame::Message(scene.villain.message("after all that"));
    scene.say(&mut channel, &message, Thing::Message, &mut honest());
    assert_eq!(scene.victim.shown(scene.villain.id), ["the first", "after all that"]);
}

#[test]
fn a_stranger_with_the_invite_says_only_who_it_is() {
    type Say = fn(&mut Scene, &mut Channel);
    let cases: &[(&str, Say)] = &[
        ("introduced itself as somebody else", |s, c| {
            let card = Villain::new(1).identity.card().clone();
            let introduce = Frame::Introduce(Introduce { card, name: "somebody else" });
            s.say(c, &introduce, Thing::Introduce, &mut honest());
        }),
        ("introduced itself as somebody else", |s, c| {
            let card = s.victim.card.clone();
            let introduce = Frame::Introduce(Introduce { card, name: "yourself" });
            s.say(c, &introduce, Thing::Introduce, &mut honest());
        }),
        ("out of its place", |s, c| {
            let message = Frame::Message(s.villain.message("before it is a contact"));
            s.say(c, &message, Thing::Message, &mut honest());
        }),
        ("out of its place", |s, c| {
            s.say(c, &Frame::Ack(Ack { id: [0; 16], hash: [0; 32] }), Thing::Ack, &mut honest());
        }),
        ("out of its place", |s, c| s.say(c, &Frame::Paired { name: "x" }, Thing::Message, &mut honest())),
        ("out of its place", |s, c| s.say(c, &Frame::AskRekey, Thing::Rekey, &mut honest())),
        ("unknown", |s, c| s.say_kind(c, 0x1b, b"no roster")),
    ];
    for (sentence, say) in cases {
        let (mut scene, keys) = Scene::invite(112);
        let mut channel = scene.use_invite(&keys, &mut honest()).unwrap();
        say(&mut scene, &mut channel);
        let troubles = scene.victim.troubles();
        assert!(troubles.len() == 1 && troubles[0].contains(sentence), "{sentence}: {troubles:?}");
        assert!(scene.victim.live_links().is_empty() && scene.victim.contacts().is_empty(), "{sentence}");
        assert_eq!(scene.victim.pairing().0, PairingState::Waiting, "{sentence}");
        // Whoever uses it as it is meant is welcome.
        let mut channel = scene.use_invite(&keys, &mut honest()).unwrap();
        scene.introduce(&mut channel, &mut honest());
        assert_eq!(scene.victim.contacts(), [scene.villain.id], "{sentence}");
    }
}

#[test]
fn a_stranger_cannot_use_anothers_card_or_keep_the_invite_busy() {
    // Another's card in the first offer: it does not open, and the attempt does not count.
    let (mut scene, keys) = Scene::invite(113);
    let (card, session) = (scene.victim.card.clone(), scene.villain.session_id());
    let honest_card = Villain::new(2).identity.card().clone();
    let offer = scene.villain.first_offer(&card, &keys, session);
    for _ in 0..10 {
        let mut swapped = offer.clone();
        swapped[21..151].copy_from_slice(honest_card.as_bytes());
        scene.victim.relayed(honest_card.client_id(), Via::Invite(keys.token), swapped);
        // In another's name.
        scene.victim.relayed(honest_card.client_id(), Via::Invite(keys.token), offer.clone());
    }
    assert!(scene.victim.links.is_empty());
    assert_eq!(scene.victim.pairing().0, PairingState::Waiting);

    // Another static key in the handshake than the card's.
    let other = Villain::new(3);
    scene.relay(Via::Invite(keys.token), Thing::FirstOffer, offer, &mut honest());
    let link = scene.victim.links[0];
    scene.victim.up(link, FINGERPRINT);
    let own = Side { client_id: scene.villain.id, fingerprint: FINGERPRINT, version: Version::OWN };
    let victim = Side { client_id: scene.victim.id, fingerprint: own_fingerprint(link), version: Version::OWN };
    let handshake = Handshake::invited(&other.identity, card.identity(), &keys, own, victim);
    assert!(scene.shake_hands(link, handshake, &mut honest()).is_none());
    assert!(scene.victim.troubles()[0].contains("another static key than the card's"));

    // One that connects and stays silent is let go of.
    assert!(scene.use_invite(&keys, &mut honest()).is_some());
    scene.victim.pass(25_000);
    assert!(scene.victim.live_links().is_empty());
    assert_eq!(scene.victim.pairing().0, PairingState::Waiting);
    assert!(scene.victim.contacts().is_empty());
}

#[test]
fn an_invite_that_is_tried_again_and_again_closes() {
    let (mut scene, keys) = Scene::invite(114);
    let card = scene.victim.card.clone();
    for _ in 0..6 {
        let session = scene.villain.session_id();
        let offer = scene.villain.first_offer(&card, &keys, session);
        scene.relay(Via::Invite(keys.token), Thing::FirstOffer, offer, &mut honest());
    }
    assert!(matches!(scene.victim.pairing().0, PairingState::Failed(why) if why.contains("Make a new invite")));
    assert!(scene.victim.live_links().is_empty());
    scene.victim.request(Request::Invite { lifetime_s: 600 });
    assert_eq!(scene.victim.pairing().0, PairingState::Waiting);
}
