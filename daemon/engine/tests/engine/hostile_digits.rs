//! Comparing digits with somebody who does not keep to the order of things.

use kith_crypto::comparison::{Code, commitment, digits};
use kith_crypto::wire::{Frame, Introduce};
use kith_engine::{PairingState, Request, Via};

use crate::villain::{Channel, Scene, Thing, Victim, Villain, honest};

/// The victim shows a code.
fn shows(seed: u64) -> (Scene, Code) {
    let mut scene = Scene { villain: Villain::new(seed), victim: Victim::new(seed, &[]) };
    scene.victim.request(Request::Compare { code: None });
    let code = Code::parse(&scene.victim.code().1).unwrap();
    (scene, code)
}

/// The victim has typed a code.
fn typed(seed: u64) -> (Scene, Code) {
    let mut scene = Scene { villain: Villain::new(seed), victim: Victim::new(seed, &[]) };
    scene.victim.request(Request::Compare { code: Some("KQXRWA".to_owned()) });
    (scene, Code::parse("KQXRWA").unwrap())
}

fn say(scene: &mut Scene, channel: &mut Channel, frame: &Frame<'_>) {
    scene.say(channel, frame, Thing::Message, &mut honest());
}

/// What the victim says next: a commitment or a nonce.
fn hear(scene: &mut Scene, channel: &mut Channel) -> [u8; 32] {
    let mut record = scene.next_frame(channel.link).expect("it says something");
    match channel.session.open_frame(&mut record) {
        Ok(Some(Frame::Commitment(bytes) | Frame::Nonce(bytes))) => bytes,
        other => panic!("{other:?}"),
    }
}

fn confirm(scene: &mut Scene) {
    let (pairing, _) = scene.victim.code();
    scene.victim.request(Request::ConfirmPairing(pairing));
}

fn failed(scene: &Scene) -> Option<String> {
    match scene.victim.pairing().0 {
        PairingState::Failed(why) => Some(why),
        _ => None,
    }
}

#[test]
fn a_nonce_that_was_not_committed_to_ends_the_comparison_before_digits_are_shown() {
    let (mut scene, code) = typed(1);
    let mut channel = scene.show_code(&code, &mut honest()).unwrap();
    let bound = commitment(channel.session.handshake_hash(), &[1; 32]);
    say(&mut scene, &mut channel, &Frame::Commitment(bound));
    let theirs = hear(&mut scene, &mut channel);
    // One that gives digits of the villain's choice, now that he knows the other's.
    let wish = digits(channel.session.handshake_hash(), &theirs, &[1; 32]);
    let other =
        (2..).map(|byte| [byte; 32]).find(|nonce| digits(channel.session.handshake_hash(), &theirs, nonce) != wish);
    say(&mut scene, &mut channel, &Frame::Nonce(other.unwrap()));
    assert!(failed(&scene).is_some_and(|why| why.contains("did not keep")), "{:?}", scene.victim.pairing().0);
    assert!(scene.victim.live_links().is_empty() && scene.victim.contacts().is_empty());
}

#[test]
fn the_digits_depend_on_a_share_that_each_side_learns_too_late() {
    let (mut scene, code) = shows(2);
    let mut channel = scene.type_code(&code, &mut honest()).unwrap();
    let hash = *channel.session.handshake_hash();
    let bound = hear(&mut scene, &mut channel);
    say(&mut scene, &mut channel, &Frame::Nonce([9; 32]));
    let theirs = hear(&mut scene, &mut channel);
    assert_eq!(bound, commitment(&hash, &theirs));
    assert_eq!(scene.victim.pairing().0, PairingState::Comparing(digits(&hash, &[9; 32], &theirs)));
    // Another nonce afterwards is nothing that is waited for.
    say(&mut scene, &mut channel, &Frame::Nonce([8; 32]));
    assert!(failed(&scene).is_some());
}

#[test]
fn nobody_is_stored_whom_the_person_here_has_not_confirmed() {
    let (mut scene, code) = shows(3);
    let mut channel = scene.type_code(&code, &mut honest()).unwrap();
    hear(&mut scene, &mut channel);
    say(&mut scene, &mut channel, &Frame::Nonce([9; 32]));
    say(&mut scene, &mut channel, &Frame::Agree);
    let card = scene.villain.identity.card().clone();
    say(&mut scene, &mut channel, &Frame::Introduce(Introduce { card, name: "a friend" }));
    assert!(failed(&scene).is_some());
    assert!(scene.victim.contacts().is_empty());

    let (mut scene, code) = typed(4);
    let mut channel = scene.show_code(&code, &mut honest()).unwrap();
    let bound = commitment(channel.session.handshake_hash(), &[1; 32]);
    for frame in [Frame::Commitment(bound), Frame::Nonce([1; 32]), Frame::Agree, Frame::Paired { name: "a friend" }] {
        say(&mut scene, &mut channel, &frame);
    }
    assert!(failed(&scene).is_some());
    assert!(scene.victim.contacts().is_empty());
}

#[test]
fn nobody_is_stored_who_has_not_confirmed_himself() {
    let (mut scene, code) = shows(5);
    let mut channel = scene.type_code(&code, &mut honest()).unwrap();
    hear(&mut scene, &mut channel);
    say(&mut scene, &mut channel, &Frame::Nonce([9; 32]));
    confirm(&mut scene);
    let card = scene.villain.identity.card().clone();
    say(&mut scene, &mut channel, &Frame::Introduce(Introduce { card, name: "a friend" }));
    assert!(failed(&scene).is_some());
    assert!(scene.victim.contacts().is_empty());
}

#[test]
fn a_frame_out_of_its_place_ends_the_comparison() {
    let cases: [&[Frame<'static>]; 5] = [
        &[Frame::Agree],
        &[Frame::Commitment([1; 32])],
        &[Frame::Paired { name: "x" }],
        &[Frame::Nonce([1; 32]), Frame::Agree, Frame::Agree],
        &[Frame::Nonce([1; 32]), Frame::Commitment([1; 32])],
    ];
    for (seed, frames) in (10..).zip(cases) {
        let (mut scene, code) = shows(seed);
        let mut channel = scene.type_code(&code, &mut honest()).unwrap();
        for frame in frames {
            say(&mut scene, &mut channel, frame);
        }
        assert!(failed(&scene).is_some(), "{frames:?}");
        assert!(scene.victim.live_links().is_empty() && scene.victim.contacts().is_empty(), "{frames:?}");
    }
}

#[test]
fn a_code_pairs_by_digits_only_and_an_invite_without_them_only() {
    // The villain knows the code, and uses it as if it were an invite.
    let (mut scene, code) = shows(20);
    let keys = code.secret().keys();
    assert!(scene.use_invite(&keys, &mut honest()).is_none());
    assert!(scene.victim.links.is_empty());
    // And the other way round.
    let (mut scene, keys) = Scene::invite(21);
    let (card, session) = (scene.victim.card.clone(), scene.villain.session_id());
    let offer = scene.villain.first_offer(&card, &keys, session);
    scene.relay(Via::Room(keys.token), Thing::FirstOffer, offer, &mut honest());
    assert!(scene.victim.links.is_empty());
}

#[test]
fn a_card_of_another_or_a_broken_one_makes_nobody_offer() {
    let (mut scene, code) = typed(22);
    let via = Via::Room(code.secret().keys().token);
    let other = Villain::new(99);
    let shown = kith_crypto::sealed::show_card(other.identity.card()).to_vec();
    scene.relay(via, Thing::Card, shown.clone(), &mut honest());
    scene.victim.relayed(other.id, via, shown[..150].to_vec());
    let mut broken = shown.clone();
    broken[100] ^= 1;
    scene.victim.relayed(other.id, via, broken);
    scene.victim.relayed(other.id, Via::Contact, shown.clone());
    scene.victim.relayed(other.id, Via::Room([0; 16]), shown.clone());
    assert!(scene.victim.links.is_empty());
    scene.victim.relayed(other.id, via, shown);
    assert_eq!(scene.victim.links.len(), 1);
}
