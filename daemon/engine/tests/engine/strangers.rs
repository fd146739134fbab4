//! What strangers can do: a contact that was blocked, and a device that is none (any more), make nothing ring, appear, grow
//! on disk or answer, whatever they send.
//!
//! The lists are complete: each is held against a match over all kinds there are, so that a new kind does not compile
//! without its place here, and does not pass without a case.

use std::collections::BTreeSet;

use kith_crypto::invite::InviteSecret;
use kith_crypto::room::{RoomId, RoomSecret};
use kith_crypto::sealed::{PayloadKind, SessionId, show_card};
use kith_crypto::version::Version;
use kith_crypto::wire::{Ack, Expiry, Frame, Hello, Introduce, Read, Room, RosterFrame};
use kith_engine::{Event, LoggingMode, LoggingNotice, RefusedBy, Request, Signal, Via};

use crate::villain::{Channel, Scene, Thing, honest};

/// How the victim stands to who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It was a contact, is blocked, and holds an open invite of the victim.
    Blocked,
    /// It was a contact and was removed.
    Unpaired,
}

/// All that a stranger could change: what is stored, shown, and sent.
#[derive(PartialEq)]
struct Traces {
    disk: crate::world::disk::Disk,
    shown: Vec<Event>,
    signals: usize,
    frames: usize,
    links: usize,
}

fn traces(scene: &Scene) -> Traces {
    let victim = &scene.victim;
    // What was dropped is counted for the log.
    let shown = victim.events.iter().filter(|event| !matches!(event, Event::Dropped(_))).cloned().collect();
    let (signals, frames, links) = (victim.signals.len(), victim.frames.len(), victim.links.len());
    Traces { disk: victim.disk.clone(), shown, signals, frames, links }
}

/// A contact with a session, from before it became a stranger, and the token that it holds.
fn estranged(seed: u64, standing: Standing) -> (Scene, Channel, InviteSecret) {
    let mut scene = Scene::contact(seed);
    let mut channel = scene.connect(&mut honest()).unwrap();
    let message = Frame::Message(scene.villain.message("the first"));
    scene.say(&mut channel, &message, Thing::Message, &mut honest());
    let peer = scene.villain.id;
    let secret = match standing {
        Standing::Blocked => {
            scene.victim.request(Request::Invite { lifetime_s: 600 });
            let secret = crate::villain::secret_of(&scene.victim.pairing().1);
            scene.victim.request(Request::Block { peer, blocked: true });
            secret
        }
        Standing::Unpaired => {
            scene.victim.request(Request::RemovePeer(peer));
            InviteSecret::from_bytes([9; 32])
        }
    };
    scene.victim.pass(1_000);
    (scene, channel, secret)
}

#[track_caller]
fn changes_nothing(standing: Standing, what: &str, send: impl FnOnce(&mut Scene, &mut Channel, &InviteSecret)) {
    // The same without it: a device says a few things by itself.
    let (mut undisturbed, ..) = estranged(0x57, standing);
    undisturbed.victim.pass(WAIT_MS);
    let before = traces(&undisturbed);
    let (mut scene, mut channel, secret) = estranged(0x57, standing);
    send(&mut scene, &mut channel, &secret);
    scene.victim.pass(WAIT_MS);
    let after = traces(&scene);
    assert!(before.disk == after.disk, "{standing:?}, {what}: it is stored");
    assert_eq!(before.shown, after.shown, "{standing:?}, {what}: it is shown");
    let said = |traces: &Traces| (traces.signals, traces.frames, traces.links);
    assert_eq!(said(&before), said(&after), "{standing:?}, {what}: it is answered");
}

/// For whatever follows later: shorter than the invite is open.
const WAIT_MS: u64 = 120_000;

const STANDINGS: [Standing; 2] = [Standing::Blocked, Standing::Unpaired];

/// Each kind of frame has a place. Whoever adds one adds a case to `frames`.
fn place_of_frame(frame: &Frame<'_>) -> usize {
    match frame {
        Frame::Hello(_) => 0,
        Frame::Message(_) => 1,
        Frame::Ack(_) => 2,
        Frame::Introduce(_) => 3,
        Frame::Paired { .. } => 4,
        Frame::Rekey(_) => 5,
        Frame::Switch => 6,
        Frame::AskRekey => 7,
        Frame::Ping(_) => 8,
        Frame::Pong(_) => 9,
        Frame::Room(_) => 10,
        Frame::Roster(_) => 11,
        Frame::Dismissal { .. } => 12,
        Frame::Leave(_) => 13,
        Frame::Expiry(_) => 14,
        Frame::Commitment(_) => 15,
        Frame::Nonce(_) => 16,
        Frame::Agree => 17,
        Frame::Read(_) => 18,
    }
}

const FRAMES: usize = 19;

fn frames(scene: &mut Scene) -> Vec<Frame<'static>> {
    let room = RoomId([7; 16]);
    let (hash, incarnation) = ([3; 32], [4; 16]);
    vec![
        Frame::Hello(Hello { version: Version::OWN, incarnation }),
        Frame::Message(scene.villain.message("ring")),
        Frame::Ack(Ack { id: [1; 16], hash }),
        Frame::Introduce(Introduce { card: scene.villain.identity.card().clone(), name: "a friend" }),
        Frame::Paired { name: "a friend" },
        Frame::Rekey(&[5; 81]),
        Frame::Switch,
        Frame::AskRekey,
        Frame::Ping([6; 8]),
        Frame::Pong([6; 8]),
        Frame::Room(Room { room, version: 1, hash, incarnation }),
        Frame::Roster(RosterFrame { secret: RoomSecret::from_bytes([8; 32]), roster: &[9; 300] }),
        Frame::Dismissal { room, version: 9 },
        Frame::Leave(room),
        Frame::Expiry(Expiry { conversation: [0; 16], revision: 9, seconds: 5 }),
        Frame::Commitment(hash),
        Frame::Nonce(hash),
        Frame::Agree,
        Frame::Read(Read { conversation: [0; 16], id: [1; 16], number: 1 }),
    ]
}

#[test]
fn no_frame_of_a_session_that_was_theirs_changes_anything() {
    for standing in STANDINGS {
        let mut seen = BTreeSet::new();
        for at in 0..FRAMES {
            changes_nothing(standing, &format!("frame {at}"), |scene, channel, _| {
                let frame = frames(scene).swap_remove(at);
                seen.insert(place_of_frame(&frame));
                scene.say(channel, &frame, Thing::Message, &mut honest());
            });
        }
        assert_eq!(seen.len(), FRAMES, "each kind of frame");
    }
}

/// Each kind of payload has a place. Whoever adds one adds it to `PAYLOADS`.
fn place_of_payload(kind: PayloadKind) -> usize {
    match kind {
        PayloadKind::Offer => 0,
        PayloadKind::Answer => 1,
        PayloadKind::Candidate => 2,
        PayloadKind::FirstOffer => 3,
        PayloadKind::Withdraw => 4,
        PayloadKind::Card => 5,
    }
}

const PAYLOADS: [PayloadKind; 6] = [
    PayloadKind::Offer,
    PayloadKind::Answer,
    PayloadKind::Candidate,
    PayloadKind::FirstOffer,
    PayloadKind::Withdraw,
    PayloadKind::Card,
];

/// Each right to relay has a place. Whoever adds one adds it to `vias`.
fn place_of_via(via: Via) -> usize {
    match via {
        Via::Contact => 0,
        Via::Invite(_) => 1,
        Via::Room(_) => 2,
    }
}

#[test]
fn no_payload_of_theirs_under_whatever_right_is_taken() {
    for standing in STANDINGS {
        let mut seen = BTreeSet::new();
        for (kind, right) in PAYLOADS.into_iter().flat_map(|kind| (0..3).map(move |right| (kind, right))) {
            changes_nothing(standing, &format!("{kind:?} under right {right}"), |scene, _, secret| {
                let keys = secret.keys();
                let via = [Via::Contact, Via::Invite(keys.token), Via::Room([2; 16])][right];
                seen.insert((place_of_payload(kind), place_of_via(via)));
                let (card, session) = (scene.victim.card.clone(), SessionId([right as u8; 16]));
                let payload = match kind {
                    PayloadKind::FirstOffer => scene.villain.first_offer(&card, &keys, session),
                    PayloadKind::Card => show_card(scene.villain.identity.card()).to_vec(),
                    kind => scene.villain.sealed(&card, kind, session, u32::from(kind == PayloadKind::Candidate)),
                };
                scene.victim.relayed(scene.villain.id, via, payload);
            });
        }
        assert_eq!(seen.len(), PAYLOADS.len() * 3, "each kind under each right");
    }
}

/// What the server can say of another device; nothing else that it says is about one. Whoever adds a signal says which.
fn is_about_a_device(signal: &Signal) -> bool {
    match signal {
        Signal::Presence { .. } | Signal::RoomPresence { .. } | Signal::Relayed { .. } | Signal::Undelivered { .. } => {
            true
        }
        Signal::Connected(_)
        | Signal::Disconnected
        | Signal::Refused(_)
        | Signal::Intruder
        | Signal::Notice(_)
        | Signal::RoomFull(_)
        | Signal::Ice(_) => false,
    }
}

#[test]
fn nothing_that_the_server_says_of_them_is_shown() {
    let of_itself = [
        Signal::Connected(LoggingNotice { mode: LoggingMode::Active, text: String::new() }),
        Signal::Disconnected,
        Signal::Refused(RefusedBy::Busy),
        Signal::Intruder,
    ];
    assert!(!of_itself.iter().any(is_about_a_device));
    for standing in STANDINGS {
        for at in 0..6 {
            changes_nothing(standing, &format!("signal {at}"), |scene, _, secret| {
                let (peer, token) = (scene.villain.id, secret.keys().token);
                let signals = [
                    Signal::Presence { peer, online: true },
                    Signal::Presence { peer, online: false },
                    Signal::RoomPresence { room: token, peer, present: true },
                    Signal::RoomPresence { room: token, peer, present: false },
                    Signal::Relayed { from: peer, via: Via::Contact, payload: vec![0; 40_000] },
                    Signal::Undelivered { to: peer, via: Via::Contact, no_such_invite: false },
                ];
                assert!(is_about_a_device(&signals[at]));
                scene.victim.signal(signals[at].clone());
            });
        }
    }
}

#[test]
fn what_a_contact_says_is_stored_shown_and_answered() {
    let mut scene = Scene::contact(0x57);
    let mut channel = scene.connect(&mut honest()).unwrap();
    let before = traces(&scene);
    let message = Frame::Message(scene.villain.message("ring"));
    scene.say(&mut channel, &message, Thing::Message, &mut honest());
    let after = traces(&scene);
    assert!(before.disk != after.disk && before.shown != after.shown && before.frames < after.frames);
}
