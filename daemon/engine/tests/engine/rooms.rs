//! Rooms: one message for all members, in the order of its writer, whoever comes and goes; and a roster
//! that nobody but the owner can change.

use kith_engine::{
    Direction, Event, LinkState, MessageId, MessageState, Reply, Request, RequestError, RoomId, RoomState,
};

use crate::world::World;

/// Makes a room of these devices, owned by the first.
pub(crate) fn room_of(world: &mut World, devices: &[usize]) -> RoomId {
    let members = devices[1..].iter().map(|device| world.devices[*device].id).collect();
    let request = Request::CreateRoom { name: "hall".to_owned(), members };
    let Ok(Reply::Room(room)) = world.ask(devices[0], request) else { panic!("no room") };
    assert!(world.run_while(60_000, |w| !agreed(w, room, devices)), "the members do not hear of the room");
    room
}

/// Whether these devices hold the same roster, and are all on it.
pub(crate) fn agreed(world: &World, room: RoomId, devices: &[usize]) -> bool {
    let views: Vec<_> = devices.iter().filter_map(|device| world.devices[*device].rooms.get(&room)).collect();
    views.len() == devices.len()
        && views.iter().all(|view| {
            view.version == views[0].version && view.members.len() == devices.len() && view.state == RoomState::Joined
        })
}

pub(crate) fn say(world: &mut World, from: usize, room: RoomId, text: &str) -> MessageId {
    match world.ask(from, Request::Send { conversation: room.into(), message: World::message(text) }) {
        Ok(Reply::Message(id)) => id,
        other => panic!("not queued: {other:?}"),
    }
}

/// What a device has heard in a room, in its own order.
pub(crate) fn heard(world: &World, reader: usize, room: RoomId) -> Vec<String> {
    let history = world.devices[reader].disk.history(room);
    let incoming = history.into_iter().filter(|message| message.direction.is_incoming());
    incoming.map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect()
}

/// What it has heard of one writer.
pub(crate) fn heard_of(world: &World, reader: usize, writer: usize, room: RoomId) -> Vec<String> {
    let writer = Direction::Member(world.devices[writer].id);
    let history = world.devices[reader].disk.history(room);
    let of_writer = history.into_iter().filter(|message| message.direction == writer);
    of_writer.map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect()
}

fn waiting(world: &World, device: usize, room: RoomId) -> usize {
    world.devices[device].disk.waiting(room)
}

fn ask(world: &mut World, device: usize, request: Request) -> Result<Reply, RequestError> {
    // A change that is under way needs a moment.
    for _ in 0..100 {
        match world.ask(device, request.clone()) {
            Err(RequestError::RoomChanging) => world.run_for(50),
            reply => return reply,
        }
    }
    panic!("the room is being changed for ever")
}

fn state(world: &World, device: usize, room: RoomId) -> Option<RoomState> {
    world.devices[device].rooms.get(&room).map(|view| view.state)
}

#[test]
fn a_message_reaches_every_member_once_under_one_id_and_is_then_delivered() {
    let mut world = World::acquainted(400, 4);
    let room = room_of(&mut world, &[0, 1, 2, 3]);
    let id = say(&mut world, 1, room, "good morning");
    assert!(world.run_while(10_000, |w| waiting(w, 1, room) > 0));
    world.run_for(100);
    for reader in [0, 2, 3] {
        let history = world.devices[reader].disk.history(room);
        assert_eq!(history.iter().map(|message| message.id).collect::<Vec<_>>(), [id]);
        assert_eq!(history[0].direction, Direction::Member(world.devices[1].id));
    }
    let states = world.devices[1].events.iter().filter_map(|event| match event {
        Event::MessageState { id: of, state, .. } if *of == id => Some(*state),
        _ => None,
    });
    assert_eq!(states.collect::<Vec<_>>(), [MessageState::Queued, MessageState::Delivered]);
}

#[test]
fn a_message_is_delivered_when_the_last_member_has_it() {
    let mut world = World::acquainted(401, 3);
    let room = room_of(&mut world, &[0, 1, 2]);
    world.crash(2);
    say(&mut world, 0, room, "who is there?");
    world.run_for(60_000);
    assert_eq!(heard(&world, 1, room), ["who is there?"]);
    let state_of = |world: &World| world.devices[0].disk.history(room)[0].state;
    assert_eq!((state_of(&world), waiting(&world, 0, room)), (MessageState::Queued, 1));
    // The writer is restarted in between, too.
    world.crash(0);
    world.start(0);
    world.start(2);
    assert!(world.run_while(60_000, |w| waiting(w, 0, room) > 0));
    assert_eq!(heard(&world, 2, room), ["who is there?"]);
    assert_eq!(state_of(&world), MessageState::Delivered);
}

#[test]
fn members_who_are_no_contacts_of_each_other_talk_in_the_room_and_nowhere_else() {
    let mut world = World::with_pairs(402, 3, &[(0, 1), (0, 2)]);
    let room = room_of(&mut world, &[0, 1, 2]);
    say(&mut world, 1, room, "we have not met");
    assert!(world.run_while(60_000, |w| waiting(w, 1, room) > 0));
    assert_eq!(heard(&world, 2, room), ["we have not met"]);
    let stranger = world.devices[2].id;
    assert!(!world.devices[1].peers.contains_key(&stranger), "an introduced device is no contact");
    let refused = world.ask(1, Request::Send { conversation: stranger.into(), message: World::message("psst") });
    assert_eq!(refused, Err(RequestError::NotPaired));
    assert_eq!(world.ask(1, Request::RemovePeer(stranger)), Err(RequestError::NotFound));
    // After a restart of both they find each other again.
    world.crash(1);
    world.crash(2);
    world.start(1);
    world.start(2);
    say(&mut world, 2, room, "we have now");
    assert!(world.run_while(60_000, |w| waiting(w, 2, room) > 0));
    assert_eq!(heard(&world, 1, room), ["we have now"]);
}

#[test]
fn a_late_joiner_starts_from_its_joining() {
    let mut world = World::acquainted(403, 3);
    let room = room_of(&mut world, &[0, 1]);
    say(&mut world, 1, room, "before");
    assert!(world.run_while(10_000, |w| waiting(w, 1, room) > 0));
    let peer = world.devices[2].id;
    assert_eq!(ask(&mut world, 0, Request::AddMember { room, peer }), Ok(Reply::Room(room)));
    assert!(world.run_while(60_000, |w| !agreed(w, room, &[0, 1, 2])));
    say(&mut world, 1, room, "after");
    assert!(world.run_while(60_000, |w| waiting(w, 1, room) > 0));
    assert_eq!(heard(&world, 2, room), ["after"]);
    assert_eq!(heard(&world, 0, room), ["before", "after"]);
}

#[test]
fn a_removed_member_hears_and_sees_nothing_more_and_is_heard_no_more() {
    let mut world = World::acquainted(404, 3);
    let room = room_of(&mut world, &[0, 1, 2]);
    let peer = world.devices[2].id;
    assert_eq!(ask(&mut world, 0, Request::RemoveMember { room, peer }), Ok(Reply::Room(room)));
    assert!(world.run_while(60_000, |w| state(w, 2, room) != Some(RoomState::Removed)));
    assert!(world.run_while(60_000, |w| !agreed(w, room, &[0, 1])));
    say(&mut world, 0, room, "among us");
    assert!(world.run_while(60_000, |w| waiting(w, 0, room) > 0));
    world.run_for(60_000);
    assert!(heard(&world, 2, room).is_empty());
    let refused = world.ask(2, Request::Send { conversation: room.into(), message: World::message("hello?") });
    assert_eq!(refused, Err(RequestError::NotAMember));
    // Its token is an old one: whoever comes and goes, it is told nothing.
    let seen = |w: &World| w.devices[2].rooms[&room].members.iter().any(|member| member.present);
    assert!(!seen(&world));
    world.crash(1);
    world.start(1);
    world.run_for(10_000);
    assert!(!seen(&world));
}

#[test]
fn a_member_that_was_removed_while_it_was_away_learns_it_from_the_owner() {
    let mut world = World::acquainted(405, 3);
    let room = room_of(&mut world, &[0, 1, 2]);
    world.crash(2);
    let peer = world.devices[2].id;
    ask(&mut world, 0, Request::RemoveMember { room, peer }).unwrap();
    world.run_for(10_000);
    world.start(2);
    // It says something before it knows.
    say(&mut world, 2, room, "still with you?");
    assert!(world.run_while(60_000, |w| state(w, 2, room) != Some(RoomState::Removed)));
    world.run_for(30_000);
    assert!(heard(&world, 0, room).is_empty() && heard(&world, 1, room).is_empty());
    assert!(world.connected(0, 2), "they stay contacts");
}

#[test]
fn a_member_that_comes_back_is_heard_again() {
    let mut world = World::acquainted(406, 3);
    let room = room_of(&mut world, &[0, 1, 2]);
    let peer = world.devices[2].id;
    say(&mut world, 2, room, "one");
    assert!(world.run_while(60_000, |w| waiting(w, 2, room) > 0));
    ask(&mut world, 0, Request::RemoveMember { room, peer }).unwrap();
    assert!(world.run_while(60_000, |w| state(w, 2, room) != Some(RoomState::Removed)));
    ask(&mut world, 0, Request::AddMember { room, peer }).unwrap();
    assert!(world.run_while(60_000, |w| !agreed(w, room, &[0, 1, 2])));
    say(&mut world, 2, room, "two");
    say(&mut world, 0, room, "welcome back");
    assert!(world.run_while(60_000, |w| waiting(w, 2, room) > 0 || waiting(w, 0, room) > 0));
    assert_eq!(heard_of(&world, 1, 2, room), ["one", "two"]);
    assert_eq!(heard_of(&world, 2, 0, room), ["welcome back"]);
}

#[test]
fn whoever_leaves_forgets_the_room_and_is_taken_off_the_roster() {
    let mut world = World::acquainted(407, 3);
    let room = room_of(&mut world, &[0, 1, 2]);
    say(&mut world, 0, room, "stay a while");
    assert!(world.run_while(60_000, |w| waiting(w, 0, room) > 0));
    assert_eq!(ask(&mut world, 2, Request::LeaveRoom(room)), Ok(Reply::Done));
    assert!(!world.devices[2].rooms.contains_key(&room));
    assert!(world.devices[2].disk.history(room).is_empty());
    assert!(world.run_while(60_000, |w| !agreed(w, room, &[0, 1])));
    world.run_for(1_000);
    assert!(world.devices[2].disk.state().rooms.is_empty(), "nothing of the room is kept");
    // It can be invited anew, and begins anew.
    let peer = world.devices[2].id;
    ask(&mut world, 0, Request::AddMember { room, peer }).unwrap();
    assert!(world.run_while(60_000, |w| !agreed(w, room, &[0, 1, 2])));
    say(&mut world, 2, room, "here I am again");
    assert!(world.run_while(60_000, |w| waiting(w, 2, room) > 0));
    assert_eq!(heard_of(&world, 1, 2, room), ["here I am again"]);
}

#[test]
fn whoever_leaves_while_the_owner_is_away_is_taken_off_when_it_returns() {
    let mut world = World::acquainted(408, 3);
    let room = room_of(&mut world, &[0, 1, 2]);
    world.crash(0);
    ask(&mut world, 2, Request::LeaveRoom(room)).unwrap();
    world.crash(2);
    world.start(2);
    world.start(0);
    assert!(world.run_while(60_000, |w| !agreed(w, room, &[0, 1])));
    world.run_for(1_000);
    assert!(world.devices[2].disk.state().rooms.is_empty());
}

#[test]
fn an_owner_that_hands_over_can_leave_and_the_new_one_is_obeyed_by_all() {
    let mut world = World::acquainted(409, 4);
    let room = room_of(&mut world, &[0, 1, 2, 3]);
    assert_eq!(ask(&mut world, 0, Request::LeaveRoom(room)), Err(RequestError::OwnsRoom));
    // One is away and sees only the last of these changes.
    world.crash(3);
    let heir = world.devices[1].id;
    ask(&mut world, 0, Request::HandOver { room, peer: heir }).unwrap();
    assert!(world.run_while(60_000, |w| w.devices[1].rooms[&room].owner != heir));
    let rename = |name: &str| Request::RenameRoom { room, name: name.to_owned() };
    assert_eq!(ask(&mut world, 0, rename("mine")), Err(RequestError::NotOwner));
    ask(&mut world, 1, rename("ours")).unwrap();
    ask(&mut world, 0, Request::LeaveRoom(room)).unwrap();
    world.start(3);
    assert!(world.run_while(60_000, |w| !agreed(w, room, &[1, 2, 3])));
    assert!(world.devices[3].rooms[&room].owner == heir && world.devices[3].rooms[&room].name == "ours");
}

#[test]
fn only_the_owner_changes_a_room_and_only_with_contacts_it_has() {
    let mut world = World::with_pairs(410, 4, &[(0, 1), (0, 2), (1, 3)]);
    let room = room_of(&mut world, &[0, 1, 2]);
    let (second, third) = (world.devices[2].id, world.devices[3].id);
    for request in [
        Request::AddMember { room, peer: third },
        Request::RemoveMember { room, peer: second },
        Request::RenameRoom { room, name: "x".to_owned() },
        Request::HandOver { room, peer: second },
    ] {
        assert_eq!(ask(&mut world, 1, request), Err(RequestError::NotOwner));
    }
    assert_eq!(ask(&mut world, 0, Request::AddMember { room, peer: third }), Err(RequestError::NotFound));
    let alone = Request::CreateRoom { name: "alone".to_owned(), members: Vec::new() };
    assert!(matches!(world.ask(0, alone), Err(RequestError::InvalidArgument(_))));
}

#[test]
fn presence_in_a_room_follows_its_members() {
    let mut world = World::acquainted(411, 3);
    let room = room_of(&mut world, &[0, 1, 2]);
    let present = |w: &World, of: usize| {
        let id = w.devices[of].id;
        w.devices[0].rooms[&room].members.iter().any(|member| member.peer == id && member.present)
    };
    assert!(world.run_while(10_000, |w| !present(w, 1) || !present(w, 2)));
    world.crash(2);
    assert!(world.run_while(10_000, |w| present(w, 2)));
    world.start(2);
    assert!(world.run_while(10_000, |w| !present(w, 2)));
    world.stop_server();
    assert!(world.run_while(10_000, |w| present(w, 1) || present(w, 2)));
}

#[test]
fn a_contact_that_is_removed_stays_a_member_of_the_room() {
    let mut world = World::acquainted(412, 3);
    let room = room_of(&mut world, &[0, 1, 2]);
    let peer = world.devices[2].id;
    assert_eq!(world.ask(1, Request::RemovePeer(peer)), Ok(Reply::Done));
    assert!(!world.devices[1].peers.contains_key(&peer));
    say(&mut world, 1, room, "to all");
    say(&mut world, 2, room, "to all, too");
    assert!(world.run_while(60_000, |w| waiting(w, 1, room) > 0 || waiting(w, 2, room) > 0));
    // What it says beside the room stays with it, and breaks nothing.
    world.send(2, 1, "between us");
    world.run_for(60_000);
    assert!(world.received(1, 2).is_empty());
    say(&mut world, 2, room, "still here");
    assert!(world.run_while(60_000, |w| waiting(w, 2, room) > 0));
    assert_eq!(heard_of(&world, 1, 2, room), ["to all, too", "still here"]);
    // Paired again, they are contacts again.
    world.pair(1, 2);
    assert_eq!(world.devices[1].peers[&peer].link == LinkState::None, !world.connected(1, 2));
    assert!(world.run_while(60_000, |w| w.received(1, 2).is_empty()));
}

#[test]
fn a_blocked_member_is_not_heard_in_the_room_either() {
    let mut world = World::acquainted(413, 3);
    let room = room_of(&mut world, &[0, 1, 2]);
    let peer = world.devices[2].id;
    world.ask(1, Request::Block { peer, blocked: true }).unwrap();
    say(&mut world, 2, room, "can you hear me?");
    world.run_for(60_000);
    assert_eq!((heard(&world, 0, room).len(), heard(&world, 1, room).len()), (1, 0));
    world.ask(1, Request::Block { peer, blocked: false }).unwrap();
    assert!(world.run_while(60_000, |w| waiting(w, 2, room) > 0));
    assert_eq!(heard(&world, 1, room), ["can you hear me?"]);
}

#[test]
fn unread_messages_of_a_room_are_counted_and_read() {
    let mut world = World::acquainted(414, 3);
    let room = room_of(&mut world, &[0, 1, 2]);
    for (writer, text) in [(0, "one"), (1, "two"), (0, "three")] {
        say(&mut world, writer, room, text);
    }
    assert!(world.run_while(60_000, |w| heard(w, 2, room).len() < 3));
    world.run_for(100);
    assert_eq!(world.devices[2].rooms[&room].unread, 3);
    assert_eq!(world.ask(2, Request::MarkRead { conversation: room.into(), seq: 2 }), Ok(Reply::Done));
    assert_eq!(world.devices[2].rooms[&room].unread, 1);
}

#[test]
fn a_full_disk_changes_no_room_and_once_there_is_space_it_changes() {
    let mut world = World::acquainted(415, 3);
    let room = room_of(&mut world, &[0, 1, 2]);
    world.devices[0].disk.full = true;
    let rename = Request::RenameRoom { room, name: "cellar".to_owned() };
    assert_eq!(world.ask(0, rename.clone()), Err(RequestError::StorageFull));
    world.devices[0].disk.full = false;
    world.devices[1].disk.full = true;
    world.ask(0, rename).unwrap();
    world.run_for(5_000);
    assert_eq!(world.devices[1].rooms[&room].name, "hall");
    world.devices[1].disk.full = false;
    assert!(world.run_while(120_000, |w| w.devices[1].rooms[&room].name != "cellar"));
}

#[test]
fn what_a_member_says_while_its_removal_fails_is_heard_in_the_same_session() {
    let mut world = World::acquainted(419, 3);
    let room = room_of(&mut world, &[0, 1, 2]);
    let says = Request::Send { conversation: room.into(), message: World::message("still here") };
    world.request(1, says);
    // Long enough that the message comes before the owner's disk has answered.
    world.delays.disk_ms = 1_000;
    world.devices[0].disk.full = true;
    let peer = world.devices[1].id;
    world.request(0, Request::RemoveMember { room, peer });
    world.run_for(2_500);
    assert_eq!(world.devices[0].rooms[&room].members.len(), 3);
    world.devices[0].disk.full = false;
    assert!(world.run_while(30_000, |w| waiting(w, 1, room) > 0));
    assert_eq!(heard_of(&world, 0, 1, room), ["still here"]);
}

#[test]
fn a_leave_that_the_owners_full_disk_refused_is_asked_for_again() {
    let mut world = World::acquainted(417, 3);
    let room = room_of(&mut world, &[0, 1, 2]);
    world.devices[0].disk.full = true;
    ask(&mut world, 2, Request::LeaveRoom(room)).unwrap();
    world.run_for(5_000);
    assert_eq!(world.devices[0].rooms[&room].members.len(), 3);
    assert!(!world.troubles(0).is_empty(), "the owner's user hears of the full disk");
    world.devices[0].disk.full = false;
    assert!(world.run_while(120_000, |w| !agreed(w, room, &[0, 1])));
    world.run_for(1_000);
    assert!(world.devices[2].disk.state().rooms.is_empty());
}

#[test]
fn a_member_learns_that_a_room_has_ended_which_its_owner_knows_no_longer() {
    let mut world = World::acquainted(418, 2);
    let room = room_of(&mut world, &[0, 1]);
    world.crash(1);
    let peer = world.devices[1].id;
    ask(&mut world, 0, Request::RemoveMember { room, peer }).unwrap();
    assert!(world.run_while(60_000, |w| w.devices[0].rooms[&room].members.len() > 1));
    ask(&mut world, 0, Request::LeaveRoom(room)).unwrap();
    world.start(1);
    assert!(world.run_while(60_000, |w| state(w, 1, room) != Some(RoomState::Removed)));
}
