//! A server that says too much: what follows from it is bounded, counted and told.

use kith_crypto::sealed::PayloadKind;
use kith_engine::{Dropped, Event, LinkEvent, LoggingMode, LoggingNotice, Signal, SignalOut, Via};

use crate::villain::{Scene, Thing, Villain, honest};

fn reports(scene: &Scene) -> Vec<Dropped> {
    let dropped = |event: &Event| if let Event::Dropped(dropped) = event { Some(*dropped) } else { None };
    scene.victim.events.iter().filter_map(dropped).collect()
}

#[test]
fn what_is_dropped_is_counted_by_reason_and_told_at_once_and_then_every_ten_seconds() {
    let mut scene = Scene::contact(120);
    let (card, id) = (scene.victim.card.clone(), scene.villain.id);
    let session = scene.villain.session_id();
    let offer = scene.villain.sealed(&card, PayloadKind::Offer, session, 0);
    let mut changed = offer.clone();
    changed[100] ^= 1;
    scene.victim.relayed(id, Via::Contact, changed.clone());
    scene.victim.pass(1);
    assert_eq!(reports(&scene), [Dropped { not_opened: 1, ..Dropped::default() }]);
    for _ in 0..3 {
        scene.victim.relayed(id, Via::Contact, changed.clone());
        scene.victim.relayed(id, Via::Contact, b"garbage".to_vec());
    }
    scene.victim.relayed(id, Via::Contact, offer.clone());
    scene.victim.relayed(id, Via::Contact, offer.clone());
    scene.victim.relayed(Villain::new(1).id, Via::Contact, offer);
    scene.victim.pass(9_000);
    assert_eq!(reports(&scene).len(), 1);
    scene.victim.pass(1_500);
    let second = Dropped { not_opened: 6, repeated: 1, unasked: 1, too_many: 0 };
    assert_eq!(reports(&scene)[1..], [second]);
    scene.victim.pass(100_000);
    assert_eq!(reports(&scene).len(), 2, "nothing was dropped since");
}

#[test]
fn first_offers_of_strangers_do_not_use_up_what_contacts_may_send() {
    let (mut scene, keys) = Scene::invite(121);
    let mut channel = scene.use_invite(&keys, &mut honest()).unwrap();
    scene.introduce(&mut channel, &mut honest());
    let (mut second, other_keys) = Scene::invite(121);
    scene.victim.request(kith_engine::Request::Invite { lifetime_s: 600 });
    let token = other_token(&scene);
    let (card, session) = (scene.victim.card.clone(), second.villain.session_id());
    let offer = second.villain.first_offer(&card, &other_keys, session);
    for number in 0..4_000_u32 {
        let mut from = [0; 20];
        from[..4].copy_from_slice(&number.to_be_bytes());
        scene.victim.relayed(kith_crypto::identity::ClientId::from_bytes(from), Via::Invite(token), offer.clone());
    }
    // In the same ten seconds.
    assert!(scene.connect(&mut honest()).is_some());
    scene.victim.pass(20_000);
    assert!(reports(&scene).iter().map(|dropped| dropped.too_many).sum::<u64>() >= 3_800);
}

/// Of the invite that was opened last.
fn other_token(scene: &Scene) -> [u8; 16] {
    let opened = scene.victim.signals.iter().rev().find_map(|signal| match signal {
        SignalOut::OpenInvite(token) => Some(*token),
        _ => None,
    });
    opened.unwrap()
}

#[test]
fn a_presence_that_flaps_is_believed_once_in_ten_seconds() {
    let mut scene = Scene::contact(122);
    for _ in 0..200 {
        for online in [true, false] {
            scene.victim.signal(Signal::Presence { peer: scene.villain.id, online });
            scene.victim.pass(25);
        }
    }
    let made = scene.victim.links.len();
    assert!(made <= 6, "{made} connections in ten seconds");
    // Whoever then stays is called.
    scene.victim.signal(Signal::Presence { peer: scene.villain.id, online: true });
    scene.victim.pass(70_000);
    assert!(scene.victim.links.len() > made);
}

#[test]
fn intruders_and_notices_are_told_when_there_is_something_to_tell() {
    let mut scene = Scene::contact(123);
    scene.victim.events.clear();
    let notice = LoggingNotice { mode: LoggingMode::Debug, text: "everything".to_owned() };
    for _ in 0..1_000 {
        scene.victim.signal(Signal::Intruder);
        scene.victim.signal(Signal::Notice(notice.clone()));
    }
    assert_eq!(scene.victim.events, [Event::Intruder, Event::Notice(notice)]);
    scene.victim.pass(60_000);
    scene.victim.signal(Signal::Intruder);
    assert_eq!(scene.victim.events.iter().filter(|event| **event == Event::Intruder).count(), 2);
}

#[test]
fn a_contact_that_breaks_the_channels_rules_in_a_session_is_told_of() {
    let mut scene = Scene::contact(124);
    let channel = scene.connect(&mut honest()).unwrap();
    scene.victim.link(channel.link, LinkEvent::Broken("the other side sent text".to_owned()));
    assert_eq!(scene.victim.troubles(), ["The connection was closed: the other side sent text."]);
    // One that only ends is not worth a sentence.
    let mut scene = Scene::contact(125);
    let channel = scene.connect(&mut honest()).unwrap();
    scene.victim.link(channel.link, LinkEvent::Down("the other side left".to_owned()));
    assert_eq!(scene.victim.troubles(), [""; 0]);
    let message = scene.villain.message("after that");
    let mut channel = scene.connect(&mut honest()).unwrap();
    scene.say(&mut channel, &kith_crypto::wire::Frame::Message(message), Thing::Message, &mut honest());
    assert_eq!(scene.victim.shown(scene.villain.id), ["after that"]);
}
