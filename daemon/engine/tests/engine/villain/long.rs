//! Each byte of each thing that a villain sends, changed one at a time.

use std::collections::BTreeMap;

use kith_crypto::sealed::PayloadKind;
use kith_crypto::wire::Frame;
use kith_engine::{Negotiation, PairingState, Via};

use super::{Scene, Thing, honest};

/// What the victim did with a changed thing.
struct Outcome {
    thing: Thing,
    scene: Scene,
}

impl Outcome {
    fn says(&self, words: &str) {
        let troubles = self.scene.victim.troubles();
        assert!(troubles.iter().any(|text| text.contains(words)), "{:?}: {troubles:?}", self.thing);
    }

    fn says_nothing(&self) {
        assert_eq!(self.scene.victim.troubles(), [""; 0], "{:?}", self.thing);
    }

    fn has_shown(&self, count: usize) {
        assert_eq!(self.scene.victim.shown(self.scene.villain.id).len(), count, "{:?}", self.thing);
    }

    fn has_no_link(&self) {
        assert!(self.scene.victim.live_links().is_empty(), "{:?}", self.thing);
    }
}

/// Changes the byte at `place` of one thing; tells how long the thing was.
fn flip(target: Thing, place: usize, length: &mut usize) -> impl FnMut(Thing, &mut Vec<u8>) {
    move |thing, bytes| {
        if thing == target {
            *length = bytes.len();
            bytes[place] ^= 1 << (place % 8);
        }
    }
}

/// Runs once for each byte of each of these things, and counts the runs.
fn each_byte(
    things: &[Thing],
    run: impl Fn(&mut dyn FnMut(Thing, &mut Vec<u8>)) -> Scene,
    judge: impl Fn(&mut Outcome),
) {
    let mut runs = BTreeMap::new();
    for &thing in things {
        let mut length = 1;
        let mut place = 0;
        while place < length {
            let scene = run(&mut flip(thing, place, &mut length));
            judge(&mut Outcome { thing, scene });
            place += 1;
            *runs.entry(thing).or_insert(0) += 1;
        }
    }
    // A sealed payload without a body has 108 bytes, a handshake message 81, a record 144.
    assert!(runs.values().all(|count| *count >= 81), "{runs:?}");
}

/// All that a contact says, from the offer to a message under a new key.
fn contact_run(tamper: &mut dyn FnMut(Thing, &mut Vec<u8>)) -> Scene {
    let mut scene = Scene::contact(90);
    if let Some(mut channel) = scene.connect(tamper) {
        let message = Frame::Message(scene.villain.message("the first"));
        scene.say(&mut channel, &message, Thing::Message, tamper);
        scene.victim.send(scene.villain.id, "to be acknowledged");
        if let Some(ack) = scene.their_message(&mut channel) {
            scene.say(&mut channel, &Frame::Ack(ack), Thing::Ack, tamper);
        }
        if scene.is_live(channel.link) {
            scene.victim.pass(61_000);
            scene.rekey(&mut channel, tamper);
        }
        if scene.is_live(channel.link) {
            let message = Frame::Message(scene.villain.message("under the new key"));
            scene.say(&mut channel, &message, Thing::NewKeyMessage, tamper);
        }
    }
    scene
}

#[test]
fn each_byte_of_an_offer_or_a_candidate_changed_is_dropped_without_a_word() {
    each_byte(&[Thing::Offer, Thing::Candidate], contact_run, |outcome| match outcome.thing {
        Thing::Offer => {
            outcome.has_no_link();
            outcome.says_nothing();
            outcome.has_shown(0);
            outcome.scene.honest_exchange("an offer");
        }
        _ => {
            let candidates = outcome.scene.victim.words.iter().filter(|(_, w)| matches!(w, Negotiation::Candidate(_)));
            assert_eq!(candidates.count(), 0, "a changed candidate reached a link");
            // It was one candidate of several; what else is said goes on.
            outcome.has_shown(2);
        }
    });
}

#[test]
fn each_byte_of_a_withdrawal_changed_ends_no_attempt() {
    let withdraw = |tamper: &mut dyn FnMut(Thing, &mut Vec<u8>)| {
        let mut scene = Scene::contact(91);
        let (card, session) = (scene.victim.card.clone(), scene.villain.session_id());
        let offer = scene.villain.sealed(&card, PayloadKind::Offer, session, 0);
        scene.relay(Via::Contact, Thing::Offer, offer, &mut honest());
        let withdraw = scene.villain.sealed(&card, PayloadKind::Withdraw, session, 0);
        scene.relay(Via::Contact, Thing::Withdraw, withdraw, tamper);
        scene
    };
    assert!(withdraw(&mut honest()).victim.live_links().is_empty(), "an honest one does end it");
    each_byte(&[Thing::Withdraw], withdraw, |outcome| {
        assert_eq!(outcome.scene.victim.live_links().len(), 1);
        outcome.says_nothing();
    });
}

#[test]
fn each_byte_of_a_handshake_or_a_hello_changed_lets_no_session_begin() {
    each_byte(&[Thing::Handshake(1), Thing::Hello], contact_run, |outcome| {
        outcome.has_no_link();
        outcome.says(if outcome.thing == Thing::Hello { "a record did not open" } else { "the handshake failed" });
        outcome.has_shown(0);
    });
}

#[test]
fn each_byte_of_an_answer_or_its_handshake_changed_lets_no_session_begin() {
    let answering = |tamper: &mut dyn FnMut(Thing, &mut Vec<u8>)| {
        let mut scene = Scene::contact(92);
        if let Some(mut channel) = scene.be_connected(tamper) {
            let message = Frame::Message(scene.villain.message("through"));
            scene.say(&mut channel, &message, Thing::Message, tamper);
        }
        scene
    };
    assert_eq!(answering(&mut honest()).victim.troubles(), [""; 0]);
    each_byte(&[Thing::Answer, Thing::Handshake(1), Thing::Hello, Thing::Message], answering, |outcome| {
        match outcome.thing {
            // The offer stays open for an answer that is one.
            Thing::Answer => outcome.says_nothing(),
            Thing::Handshake(_) => outcome.says("the handshake failed"),
            _ => outcome.says("a record did not open"),
        }
        outcome.has_shown(0);
    });
}

#[test]
fn each_byte_of_a_record_changed_ends_the_session_and_takes_nothing_of_it() {
    assert_eq!(contact_run(&mut honest()).victim.troubles(), [""; 0]);
    let things = [Thing::Message, Thing::Ack, Thing::Rekey, Thing::Switch, Thing::NewKeyMessage];
    each_byte(&things, contact_run, |outcome| {
        outcome.has_no_link();
        outcome.says("a record did not open");
        outcome.has_shown(usize::from(outcome.thing != Thing::Message));
        let acknowledged = !matches!(outcome.thing, Thing::Message | Thing::Ack);
        assert_eq!(outcome.scene.victim.delivered(outcome.scene.villain.id), usize::from(acknowledged));
    });
}

#[test]
fn each_byte_of_what_pairs_changed_pairs_nobody() {
    let pairing = |tamper: &mut dyn FnMut(Thing, &mut Vec<u8>)| {
        let (mut scene, keys) = Scene::invite(93);
        if let Some(mut channel) = scene.use_invite(&keys, tamper) {
            scene.introduce(&mut channel, tamper);
        }
        scene
    };
    let honest_run = pairing(&mut honest());
    assert_eq!(honest_run.victim.contacts(), [honest_run.villain.id]);
    let things = [Thing::FirstOffer, Thing::Handshake(1), Thing::Handshake(2), Thing::Hello, Thing::Introduce];
    each_byte(&things, pairing, |outcome| {
        outcome.has_no_link();
        assert!(outcome.scene.victim.contacts().is_empty(), "{:?}", outcome.thing);
        // The invite stays open for whoever it was meant for.
        assert_eq!(outcome.scene.victim.pairing().0, PairingState::Waiting, "{:?}", outcome.thing);
        match outcome.thing {
            Thing::FirstOffer => outcome.says_nothing(),
            Thing::Handshake(_) => outcome.says("the handshake failed"),
            _ => outcome.says("a record did not open"),
        }
    });
}
