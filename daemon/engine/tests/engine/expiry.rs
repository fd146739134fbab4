//! Messages that disappear: on both sides, after the time that both have come to agree on.

use kith_engine::{ConversationId, Event, ExpiryRecord, Reply, Request, RequestError};

use crate::world::World;

const MINUTE_MS: u64 = 60_000;

fn set(world: &mut World, index: usize, conversation: impl Into<ConversationId>, seconds: u32) {
    let conversation = conversation.into();
    assert_eq!(world.ask(index, Request::SetExpiry { conversation, seconds }), Ok(Reply::Done));
}

fn agree(world: &mut World, index: usize, other: usize, seconds: u32) {
    set(world, index, world.devices[other].id, seconds);
}

/// What one device shows of the conversation with another.
fn shown(world: &World, index: usize, other: usize) -> u32 {
    world.devices[index].peers[&world.devices[other].id].expiry_s
}

fn history(world: &World, index: usize, other: usize) -> usize {
    world.devices[index].disk.history(world.devices[other].id).len()
}

fn disappeared(world: &World, index: usize) -> usize {
    let seqs = world.devices[index].events.iter().filter_map(|event| match event {
        Event::Disappeared { seqs, .. } => Some(seqs.len()),
        _ => None,
    });
    seqs.sum()
}

#[test]
fn messages_disappear_on_both_sides_after_their_time_and_what_was_sent_before_stays() {
    let mut world = World::paired(700);
    world.send(0, 1, "stays");
    assert!(world.run_while(1_000, |w| w.delivered(0, 1) < 1));
    let peer = world.devices[1].id;
    set(&mut world, 0, peer, 60);
    assert!(world.run_while(1_000, |w| shown(w, 1, 0) != 60));
    world.send(0, 1, "goes");
    world.send(1, 0, "goes, too");
    assert!(world.run_while(1_000, |w| w.delivered(0, 1) < 2 || w.delivered(1, 0) < 1));
    world.run_for(MINUTE_MS - 100);
    assert_eq!((history(&world, 0, 1), history(&world, 1, 0)), (3, 3));
    let unread = |w: &World, one: usize, other: usize| w.devices[one].peers[&w.devices[other].id].unread;
    assert_eq!((unread(&world, 0, 1), unread(&world, 1, 0)), (1, 2));
    world.run_for(200);
    assert_eq!((history(&world, 0, 1), history(&world, 1, 0)), (1, 1));
    assert_eq!(world.received(1, 0), ["stays"]);
    assert_eq!((unread(&world, 0, 1), unread(&world, 1, 0)), (0, 1), "what has disappeared is not unread");
    assert_eq!((disappeared(&world, 0), disappeared(&world, 1)), (2, 2));
    agree(&mut world, 1, 0, 0);
    assert!(world.run_while(1_000, |w| shown(w, 0, 1) != 0));
    world.send(0, 1, "stays, too");
    world.run_for(10 * MINUTE_MS);
    assert_eq!(world.received(1, 0), ["stays", "stays, too"]);
}

#[test]
fn a_time_of_its_own_overrides_that_of_the_conversation() {
    let mut world = World::paired(701);
    let conversation: ConversationId = world.devices[1].id.into();
    set(&mut world, 0, conversation, 3_600);
    let message = kith_engine::NewMessage { ttl_s: Some(5), ..World::message("soon") };
    assert!(world.ask(0, Request::Send { conversation, message }).is_ok());
    world.send(0, 1, "later");
    assert!(world.run_while(1_000, |w| w.delivered(0, 1) < 2));
    world.run_for(6_000);
    assert_eq!((world.received(1, 0), history(&world, 0, 1)), (vec!["later".to_owned()], 1));
}

#[test]
fn a_time_that_is_too_long_is_refused() {
    let mut world = World::paired(702);
    let conversation: ConversationId = world.devices[1].id.into();
    let seconds = kith_engine::EXPIRY_S_MAX + 1;
    let refused = world.ask(0, Request::SetExpiry { conversation, seconds });
    assert!(matches!(refused, Err(RequestError::InvalidArgument(_))), "{refused:?}");
    for ttl_s in [0, seconds] {
        let message = kith_engine::NewMessage { ttl_s: Some(ttl_s), ..World::message("x") };
        let refused = world.ask(0, Request::Send { conversation, message });
        assert!(matches!(refused, Err(RequestError::InvalidArgument(_))), "{refused:?}");
    }
}

#[test]
fn changes_on_both_sides_while_they_are_apart_come_to_the_same() {
    let mut world = World::paired(703);
    let [one, other] = [world.devices[0].id, world.devices[1].id];
    world.crash(1);
    for seconds in [100, 200, 300] {
        set(&mut world, 0, other, seconds);
    }
    world.crash(0);
    world.start(1);
    world.run_for(1_000);
    set(&mut world, 1, one, 50);
    world.start(0);
    assert!(world.run_while(60_000, |w| !w.connected(0, 1)));
    world.run_for(1_000);
    // Three changes are more than one.
    assert_eq!((shown(&world, 0, 1), shown(&world, 1, 0)), (300, 300));
    let stored = |w: &World, index: usize| w.devices[index].disk.state().contacts[0].expiry;
    assert_eq!(stored(&world, 0), ExpiryRecord { revision: 3, seconds: 300 });
    assert_eq!(stored(&world, 0), stored(&world, 1));
}

#[test]
fn what_was_to_disappear_while_a_device_was_off_disappears_when_it_starts() {
    let mut world = World::paired(704);
    agree(&mut world, 0, 1, 60);
    world.run_for(1_000);
    world.send(0, 1, "goes");
    assert!(world.run_while(1_000, |w| w.delivered(0, 1) < 1));
    world.crash(0);
    world.crash(1);
    world.run_for(30_000);
    world.start(1);
    world.run_for(1_000);
    assert_eq!(history(&world, 1, 0), 1, "its time is not over");
    world.crash(1);
    world.run_for(MINUTE_MS);
    world.start(0);
    world.start(1);
    world.run_for(1_000);
    assert_eq!((history(&world, 0, 1), history(&world, 1, 0)), (0, 0));
}

#[test]
fn the_time_counts_from_delivery_at_the_sender() {
    let mut world = World::paired(705);
    agree(&mut world, 0, 1, 60);
    world.run_for(1_000);
    world.crash(1);
    world.send(0, 1, "waits");
    world.run_for(10 * MINUTE_MS);
    assert_eq!(world.queued(0, 1), 1, "what waits stays");
    world.start(1);
    assert!(world.run_while(MINUTE_MS, |w| w.delivered(0, 1) < 1));
    world.run_for(59_000);
    assert_eq!((history(&world, 0, 1), history(&world, 1, 0)), (1, 1));
    world.run_for(2_000);
    assert_eq!((history(&world, 0, 1), history(&world, 1, 0)), (0, 0));
}

#[test]
fn no_time_counts_while_the_clock_is_not_set() {
    let mut world = World::paired(706);
    agree(&mut world, 0, 1, 60);
    world.run_for(1_000);
    world.send(0, 1, "before");
    assert!(world.run_while(1_000, |w| w.delivered(0, 1) < 1));
    // After a power cut a device without a clock of its own begins in 1970.
    let set_ms = world.now().utc_ms;
    world.clock_trusted = false;
    world.utc_offset_ms = -(set_ms as i64);
    world.send(0, 1, "meanwhile");
    assert!(world.run_while(1_000, |w| w.delivered(0, 1) < 2));
    world.run_for(60 * MINUTE_MS);
    assert_eq!((history(&world, 0, 1), history(&world, 1, 0)), (2, 2));
    world.clock_trusted = true;
    world.utc_offset_ms = 0;
    world.run_for(31_000);
    // An hour has gone by for the first; the second begins to count.
    assert_eq!(world.received(1, 0), ["meanwhile"]);
    world.run_for(MINUTE_MS);
    assert_eq!((history(&world, 0, 1), history(&world, 1, 0)), (0, 0));
}

#[test]
fn a_message_that_has_disappeared_and_is_sent_again_is_acknowledged_and_does_not_come_back() {
    let mut world = World::paired(707);
    agree(&mut world, 0, 1, 5);
    world.run_for(1_000);
    // The sender goes before it hears that the message has come.
    world.request(0, Request::Send { conversation: world.devices[1].id.into(), message: World::message("once") });
    assert!(world.run_while(1_000, |w| w.received(1, 0).is_empty()));
    world.crash(0);
    assert_eq!(world.queued(0, 1), 1);
    world.run_for(10_000);
    assert_eq!(history(&world, 1, 0), 0);
    world.start(0);
    assert!(world.run_while(MINUTE_MS, |w| w.delivered(0, 1) < 1), "it is not acknowledged");
    assert_eq!((history(&world, 1, 0), world.devices[1].disk.inbox_len()), (0, 1));
    assert!(world.connected(0, 1) && world.troubles(1).is_empty());
    world.run_for(10_000);
    assert_eq!(history(&world, 0, 1), 0);
}

#[test]
fn more_messages_than_are_held_disappear_all_the_same() {
    let mut world = World::paired(708);
    agree(&mut world, 0, 1, 30);
    world.run_for(1_000);
    for number in 0..1_500 {
        world.request(
            0,
            Request::Send { conversation: world.devices[1].id.into(), message: World::message(&number.to_string()) },
        );
    }
    assert!(world.run_while(MINUTE_MS, |w| w.received(1, 0).len() < 1_500));
    world.run_for(2 * MINUTE_MS);
    assert_eq!((history(&world, 0, 1), history(&world, 1, 0)), (0, 0));
    assert_eq!((disappeared(&world, 0), disappeared(&world, 1)), (1_500, 1_500));
}

#[test]
fn a_full_disk_lets_messages_disappear_once_it_takes_something_again() {
    let mut world = World::paired(709);
    agree(&mut world, 0, 1, 5);
    world.run_for(1_000);
    world.send(0, 1, "goes");
    assert!(world.run_while(1_000, |w| w.delivered(0, 1) < 1));
    world.devices[1].disk.full = true;
    world.run_for(MINUTE_MS);
    assert_eq!(history(&world, 1, 0), 1);
    assert_eq!(world.devices[1].peers[&world.devices[0].id].unread, 1);
    world.devices[1].disk.full = false;
    world.run_for(MINUTE_MS);
    assert_eq!((history(&world, 1, 0), world.devices[1].peers[&world.devices[0].id].unread), (0, 0));
}

#[test]
fn in_a_room_everybody_comes_to_the_same_time_also_who_joins_later() {
    let mut world = World::acquainted(710, 4);
    let members = vec![world.devices[1].id, world.devices[2].id];
    let Ok(Reply::Room(room)) = world.ask(0, Request::CreateRoom { name: "hall".to_owned(), members }) else {
        panic!("no room")
    };
    assert!(world.run_while(10_000, |w| (1..3).any(|index| !w.devices[index].rooms.contains_key(&room))));
    world.run_for(1_000);
    set(&mut world, 2, room, 60);
    let of = |w: &World, index: usize| w.devices[index].rooms.get(&room).map(|room| room.expiry_s);
    assert!(world.run_while(10_000, |w| (0..3).any(|index| of(w, index) != Some(60))));
    let peer = world.devices[3].id;
    assert!(world.ask(0, Request::AddMember { room, peer }).is_ok());
    assert!(world.run_while(10_000, |w| of(w, 3) != Some(60)));
    let sent = world.ask(1, Request::Send { conversation: room.into(), message: World::message("goes") });
    assert!(sent.is_ok(), "{sent:?}");
    assert!(world.run_while(10_000, |w| w.devices.iter().any(|device| device.disk.history(room).len() != 1)));
    assert!(world.run_while(10_000, |w| w.devices[1].disk.waiting(room) > 0));
    world.run_for(MINUTE_MS + 1_000);
    assert!(world.devices.iter().all(|device| device.disk.history(room).is_empty()));
}
