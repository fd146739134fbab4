//! A contact that cheats with rosters. Nobody but a room's owner changes who is in it; an older roster,
//! a forged one and one of somebody who only says that it owns the room change nothing.

use kith_crypto::identity::{Card, Identity};
use kith_crypto::room::{Draft, Member, ROSTER_BYTES_MAX, RoomId, RoomSecret, Roster};
use kith_crypto::wire::{Frame, Message, Room, RosterFrame};
use kith_engine::{Request, RoomState, RoomView};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::villain::{Channel, Scene, Thing, honest};

static SECRET: RoomSecret = RoomSecret::from_bytes([5; 32]);

fn stranger(seed: u64) -> Identity {
    Identity::generate(&mut ChaCha20Rng::seed_from_u64(seed))
}

/// A roster as whoever has the identity can sign it.
struct Forgery<'a> {
    salt: [u8; 16],
    version: u64,
    previous: [u8; 32],
    secret: &'a RoomSecret,
    lineage: Option<&'a [u8]>,
    hand_over: Option<&'a Card>,
    name: &'a str,
}

impl Forgery<'_> {
    fn first() -> Self {
        Self {
            salt: [4; 16],
            version: 1,
            previous: [0; 32],
            secret: &SECRET,
            lineage: None,
            hand_over: None,
            name: "lair",
        }
    }

    fn signed(&self, identity: &Identity, members: &[&Card]) -> Vec<u8> {
        let mut members: Vec<_> = members.iter().map(|card| Member { card: card.as_bytes(), name: "x" }).collect();
        members.sort_by_key(Member::client_id);
        let mut bytes = vec![0; ROSTER_BYTES_MAX];
        let Self { salt, version, previous, secret, lineage, hand_over, name } = *self;
        let draft = Draft { salt, version, previous, secret, lineage, hand_over, members: &members, name };
        let length = draft.write(identity, &mut bytes).unwrap();
        bytes.truncate(length);
        bytes
    }
}

fn say(scene: &mut Scene, channel: &mut Channel, frame: &Frame<'_>) {
    scene.say(channel, frame, Thing::Message, &mut honest());
}

fn bring(scene: &mut Scene, channel: &mut Channel, secret: &RoomSecret, roster: &[u8]) {
    say(scene, channel, &Frame::Roster(RosterFrame { secret: secret.clone(), roster }));
}

/// What the victim hands over on this link, oldest first.
fn rosters(scene: &mut Scene, channel: &mut Channel) -> Vec<(RoomSecret, Vec<u8>)> {
    let mut rosters = Vec::new();
    while let Some(mut record) = scene.next_frame(channel.link) {
        if let Ok(Some(Frame::Roster(frame))) = channel.session.open_frame(&mut record) {
            rosters.push((frame.secret.clone(), frame.roster.to_vec()));
        }
    }
    rosters
}

fn rooms(scene: &Scene) -> Vec<RoomView> {
    let mut rooms: Vec<RoomView> = Vec::new();
    for event in &scene.victim.events {
        if let kith_engine::Event::Room(view) = event {
            rooms.retain(|known| known.room != view.room);
            rooms.push(view.clone());
        }
    }
    rooms
}

/// The victim owns a room with the villain in it, who holds its first roster.
fn victims_room(seed: u64) -> (Scene, Channel, RoomId, RoomSecret, Vec<u8>) {
    let mut scene = Scene::contact(seed);
    let mut channel = scene.connect(&mut honest()).unwrap();
    let members = vec![scene.villain.id];
    scene.victim.request(Request::CreateRoom { name: "parlour".to_owned(), members });
    let room = rooms(&scene)[0].room;
    let unknown = Frame::Room(Room { room, version: 0, hash: [0; 32], incarnation: [0; 16] });
    say(&mut scene, &mut channel, &unknown);
    let (secret, roster) = rosters(&mut scene, &mut channel).pop().expect("a member is handed the roster");
    (scene, channel, room, secret, roster)
}

/// The villain founded a room, and the victim is in it.
fn villains_room(seed: u64) -> (Scene, Channel, Vec<u8>) {
    let mut scene = Scene::contact(seed);
    let mut channel = scene.connect(&mut honest()).unwrap();
    let (own, victim) = (scene.villain.identity.clone(), scene.victim.card.clone());
    let roster = Forgery::first().signed(&own, &[own.card(), &victim]);
    bring(&mut scene, &mut channel, &SECRET, &roster);
    assert_eq!(rooms(&scene)[0].state, RoomState::Joined);
    (scene, channel, roster)
}

/// Nothing of it has changed, the session is over, and a sentence says why.
fn refused(scene: &Scene, channel: &Channel, before: &[RoomView], sentence: &str) {
    let troubles = scene.victim.troubles();
    assert!(troubles.last().is_some_and(|text| text.contains(sentence)), "{sentence}: {troubles:?}");
    assert!(!scene.is_live(channel.link), "{sentence}");
    assert_eq!(rooms(scene), before, "{sentence}");
    assert_eq!(scene.victim.disk.state().rooms.len(), before.len(), "{sentence}");
}

#[test]
fn a_roster_that_a_member_signs_in_the_owners_place_is_refused() {
    let (mut scene, mut channel, _, secret, first) = victims_room(500);
    let before = rooms(&scene);
    let roster = Roster::parse(&first).unwrap();
    let own = scene.villain.identity.clone();
    let victim = scene.victim.card.clone();
    let lineage = Some(roster.lineage());
    let forgery = Forgery {
        salt: roster.salt(),
        version: 2,
        previous: roster.hash(),
        secret: &secret,
        lineage,
        ..Forgery::first()
    };
    let forged = forgery.signed(&own, &[own.card(), &victim, stranger(1).card()]);
    bring(&mut scene, &mut channel, &secret, &forged);
    refused(&scene, &channel, &before, "has not signed");
}

#[test]
fn a_member_that_says_the_owner_handed_the_room_over_to_it_is_refused() {
    let (mut scene, mut channel, _, secret, first) = victims_room(501);
    let before = rooms(&scene);
    let roster = Roster::parse(&first).unwrap();
    let (own, victim) = (scene.villain.identity.clone(), scene.victim.card.clone());
    // The hand-over is in the lineage, signed by the villain himself; so is the roster after it.
    let lineage = Some(roster.lineage());
    let hand_over = Some(own.card());
    let take_over = Forgery {
        salt: roster.salt(),
        version: 2,
        previous: roster.hash(),
        secret: &secret,
        lineage,
        hand_over,
        ..Forgery::first()
    };
    let taken = take_over.signed(&own, &[own.card(), &victim]);
    let parsed = Roster::parse(&taken).unwrap();
    assert_eq!(parsed.owner(), scene.villain.id);
    let after = Forgery {
        salt: roster.salt(),
        version: 3,
        previous: parsed.hash(),
        secret: &secret,
        lineage: Some(parsed.lineage()),
        ..Forgery::first()
    };
    let forged = after.signed(&own, &[own.card(), &victim]);
    bring(&mut scene, &mut channel, &secret, &forged);
    refused(&scene, &channel, &before, "has not signed");
}

#[test]
fn each_byte_of_a_roster_counts() {
    let (mut scene, mut channel, first) = villains_room(502);
    let (own, victim) = (scene.villain.identity.clone(), scene.victim.card.clone());
    let roster = Roster::parse(&first).unwrap();
    let next = Forgery {
        version: 2,
        previous: roster.hash(),
        lineage: Some(roster.lineage()),
        name: "den",
        ..Forgery::first()
    };
    let next = next.signed(&own, &[own.card(), &victim]);
    let before = rooms(&scene);
    for place in 0..next.len() {
        let mut changed = next.clone();
        changed[place] ^= 0x10;
        bring(&mut scene, &mut channel, &SECRET, &changed);
        assert_eq!(rooms(&scene), before, "byte {place}");
        if !scene.is_live(channel.link) {
            scene.victim.pass(60_000);
            channel = scene.connect(&mut honest()).unwrap();
        }
    }
    bring(&mut scene, &mut channel, &SECRET, &next);
    assert_eq!(rooms(&scene)[0].name, "den");
}

#[test]
fn an_older_roster_changes_nothing_however_often_it_comes() {
    let (mut scene, mut channel, room, secret, first) = victims_room(503);
    scene.victim.request(Request::RenameRoom { room, name: "cellar".to_owned() });
    let before = rooms(&scene);
    assert_eq!((before[0].version, before[0].name.as_str()), (2, "cellar"));
    for _ in 0..3 {
        bring(&mut scene, &mut channel, &secret, &first);
    }
    assert_eq!(rooms(&scene), before);
    assert!(scene.is_live(channel.link), "it may be only late");
    // Also on the way back in: a member that was removed cannot put itself on with it.
    let peer = scene.villain.id;
    scene.victim.request(Request::RemoveMember { room, peer });
    bring(&mut scene, &mut channel, &secret, &first);
    assert_eq!((rooms(&scene)[0].version, rooms(&scene)[0].members.len()), (3, 1));
}

#[test]
fn a_removed_member_is_handed_no_secret_and_its_messages_are_not_taken() {
    let (mut scene, mut channel, room, secret, first) = victims_room(504);
    let peer = scene.villain.id;
    let hash = Roster::parse(&first).unwrap().hash();
    let held = Frame::Room(Room { room, version: 1, hash, incarnation: [8; 16] });
    say(&mut scene, &mut channel, &held);
    let inside = Message { conversation: room.0, ..scene.villain.message("inside") };
    say(&mut scene, &mut channel, &Frame::Message(inside));
    assert_eq!(scene.victim.disk.history(room).len(), 1);
    scene.victim.request(Request::RemoveMember { room, peer });
    let outside = Message { conversation: room.0, ..scene.villain.message("outside") };
    say(&mut scene, &mut channel, &Frame::Message(outside));
    say(&mut scene, &mut channel, &held);
    let unknown = Frame::Room(Room { room, version: 0, hash: [0; 32], incarnation: [0; 16] });
    say(&mut scene, &mut channel, &unknown);
    let handed = rosters(&mut scene, &mut channel);
    assert!(handed.iter().all(|(handed, _)| *handed == secret), "it learns the new secret");
    assert_eq!(scene.victim.disk.history(room).len(), 1);
    assert!(scene.is_live(channel.link));
}

#[test]
fn two_rosters_of_one_version_freeze_the_room_and_say_so() {
    let (mut scene, mut channel, first) = villains_room(505);
    let (own, victim) = (scene.villain.identity.clone(), scene.victim.card.clone());
    let other = Forgery { name: "other lair", ..Forgery::first() }.signed(&own, &[own.card(), &victim]);
    assert_ne!(first, other);
    bring(&mut scene, &mut channel, &SECRET, &other);
    assert_eq!(rooms(&scene)[0].state, RoomState::Frozen);
    assert!(scene.victim.troubles()[0].contains("two rosters"));
    // Nothing thaws it.
    let roster = Roster::parse(&other).unwrap();
    let next = Forgery { version: 2, previous: roster.hash(), lineage: Some(roster.lineage()), ..Forgery::first() };
    let next = next.signed(&own, &[own.card(), &victim]);
    bring(&mut scene, &mut channel, &SECRET, &next);
    assert_eq!((rooms(&scene)[0].state, rooms(&scene)[0].version), (RoomState::Frozen, 1));
    assert_eq!(scene.victim.disk.state().rooms[0].record.state, RoomState::Frozen);
}

#[test]
fn a_next_roster_that_does_not_follow_the_one_before_freezes_the_room() {
    let (mut scene, mut channel, first) = villains_room(506);
    let (own, victim) = (scene.villain.identity.clone(), scene.victim.card.clone());
    let lineage = Some(Roster::parse(&first).unwrap().lineage());
    let next = Forgery { version: 2, previous: [9; 32], lineage, ..Forgery::first() };
    let next = next.signed(&own, &[own.card(), &victim]);
    bring(&mut scene, &mut channel, &SECRET, &next);
    assert_eq!((rooms(&scene)[0].state, rooms(&scene)[0].version), (RoomState::Frozen, 1));
}

#[test]
fn a_first_roster_counts_only_from_its_owner_and_with_its_secret() {
    let other = stranger(2);
    for (sentence, seed) in [("not its own", 507), ("does not hold together", 508)] {
        let mut scene = Scene::contact(seed);
        let mut channel = scene.connect(&mut honest()).unwrap();
        let (own, victim) = (scene.villain.identity.clone(), scene.victim.card.clone());
        if sentence == "not its own" {
            // Whoever else has signed it, it came from the villain.
            let roster = Forgery::first().signed(&other, &[other.card(), own.card(), &victim]);
            bring(&mut scene, &mut channel, &SECRET, &roster);
        } else {
            let roster = Forgery::first().signed(&own, &[own.card(), &victim]);
            bring(&mut scene, &mut channel, &RoomSecret::from_bytes([6; 32]), &roster);
        }
        refused(&scene, &channel, &[], sentence);
    }
}

#[test]
fn a_roster_without_this_device_makes_no_room_and_takes_it_off_one() {
    let mut scene = Scene::contact(509);
    let mut channel = scene.connect(&mut honest()).unwrap();
    let own = scene.villain.identity.clone();
    let roster = Forgery::first().signed(&own, &[own.card(), stranger(3).card()]);
    bring(&mut scene, &mut channel, &SECRET, &roster);
    refused(&scene, &channel, &[], "not its own");
    let (mut scene, mut channel, first) = villains_room(510);
    let own = scene.villain.identity.clone();
    let roster = Roster::parse(&first).unwrap();
    let without = Forgery { version: 2, previous: roster.hash(), lineage: Some(roster.lineage()), ..Forgery::first() };
    let without = without.signed(&own, &[own.card(), stranger(3).card()]);
    bring(&mut scene, &mut channel, &SECRET, &without);
    assert_eq!(rooms(&scene)[0].state, RoomState::Removed);
}

#[test]
fn whoever_asks_for_rosters_all_the_time_ends_its_session() {
    let (mut scene, mut channel, room, ..) = victims_room(511);
    let unknown = Frame::Room(Room { room, version: 0, hash: [0; 32], incarnation: [0; 16] });
    let mut asked = 0;
    while scene.is_live(channel.link) && asked < 1_000 {
        say(&mut scene, &mut channel, &unknown);
        asked += 1;
    }
    assert!(asked < 300 && scene.victim.troubles()[0].contains("too often"), "{asked}");
}

#[test]
fn a_message_to_a_room_that_is_not_there_stays_with_its_sender() {
    let mut scene = Scene::contact(512);
    let mut channel = scene.connect(&mut honest()).unwrap();
    let message = Message { conversation: [9; 16], ..scene.villain.message("elsewhere") };
    say(&mut scene, &mut channel, &Frame::Message(message));
    assert!(scene.victim.shown(scene.villain.id).is_empty() && scene.victim.disk.inbox_len() == 0);
    scene.honest_exchange("a room that is not there");
}

#[test]
fn a_member_cannot_take_the_id_of_anothers_message() {
    // Two members of one room, one of them late: the id is the same, the writer is not.
    let (mut scene, mut channel, room, _, first) = victims_room(513);
    let hash = Roster::parse(&first).unwrap().hash();
    say(&mut scene, &mut channel, &Frame::Room(Room { room, version: 1, hash, incarnation: [8; 16] }));
    scene.victim.request(Request::Send { conversation: room.into(), message: crate::world::World::message("mine") });
    let own = scene.victim.disk.history(room)[0].id;
    let copied = Message { id: own.0, conversation: room.0, ..scene.villain.message("not yours") };
    say(&mut scene, &mut channel, &Frame::Message(copied));
    let bodies: Vec<_> = scene.victim.disk.history(room).iter().map(|m| m.body.clone()).collect();
    assert_eq!(bodies, [b"mine".to_vec(), b"not yours".to_vec()]);
    assert!(scene.is_live(channel.link));
}
