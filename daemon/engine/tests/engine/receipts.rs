//! Receipts: whoever writes a message learns that it was read, if the reader wants that.

use kith_engine::{Event, MessageId, Reply, Request};

use crate::rooms::{room_of, say};
use crate::world::World;

fn mark_read(world: &mut World, reader: usize, conversation: impl Into<kith_engine::ConversationId>, seq: u64) {
    let conversation = conversation.into();
    assert_eq!(world.ask(reader, Request::MarkRead { conversation, seq }), Ok(Reply::Done));
}

/// The messages that a device was told were read, by whom, and whether that was the last.
fn told(world: &World, index: usize) -> Vec<(usize, MessageId, bool)> {
    let place = |id| world.devices.iter().position(|device| device.id == id).unwrap();
    let events = world.devices[index].events.iter().filter_map(|event| match event {
        Event::Read { peer, id, by_all, .. } => Some((place(*peer), *id, *by_all)),
        _ => None,
    });
    events.collect()
}

#[test]
fn the_writer_learns_how_far_its_messages_were_read() {
    let mut world = World::paired(720);
    let ids: Vec<_> = ["one", "two", "three"].map(|text| world.send(0, 1, text)).to_vec();
    world.send(1, 0, "not mine");
    assert!(world.run_while(1_000, |w| w.delivered(0, 1) < 3));
    let writer = world.devices[0].id;
    mark_read(&mut world, 1, writer, 2);
    world.run_for(100);
    assert_eq!(told(&world, 0), [(1, ids[1], true)]);
    // What comes later is told later; the same again is no news.
    mark_read(&mut world, 1, writer, 2);
    mark_read(&mut world, 1, writer, 4);
    world.run_for(100);
    assert_eq!(told(&world, 0), [(1, ids[1], true), (1, ids[2], true)]);
    assert!(told(&world, 1).is_empty());
    assert_eq!(world.devices[0].disk.state().contacts[0].reading.there, 3);
}

#[test]
fn what_was_read_while_the_writer_was_away_is_told_when_it_comes_back() {
    let mut world = World::paired(721);
    let id = world.send(0, 1, "read me");
    assert!(world.run_while(1_000, |w| w.delivered(0, 1) < 1));
    world.crash(0);
    let writer = world.devices[0].id;
    mark_read(&mut world, 1, writer, 1);
    world.crash(1);
    world.start(1);
    world.start(0);
    assert!(world.run_while(60_000, |w| told(w, 0).is_empty()));
    assert_eq!(told(&world, 0), [(1, id, true)]);
    // Each session begins with it; it stays one piece of news.
    world.break_link(0);
    world.run_for(60_000);
    assert_eq!(told(&world, 0).len(), 1);
}

#[test]
fn a_reader_that_does_not_want_it_tells_nothing() {
    let mut world = World::paired(722);
    assert_eq!(world.ask(1, Request::SendReceipts(false)), Ok(Reply::Done));
    world.crash(1);
    world.start(1);
    world.send(0, 1, "read me");
    assert!(world.run_while(60_000, |w| w.delivered(0, 1) < 1));
    let writer = world.devices[0].id;
    mark_read(&mut world, 1, writer, 1);
    world.run_for(60_000);
    assert!(told(&world, 0).is_empty());
    // From the next one on, which covers those before it.
    assert_eq!(world.ask(1, Request::SendReceipts(true)), Ok(Reply::Done));
    let id = world.send(0, 1, "and me");
    assert!(world.run_while(1_000, |w| w.delivered(0, 1) < 2));
    mark_read(&mut world, 1, writer, 2);
    world.run_for(100);
    assert_eq!(told(&world, 0), [(1, id, true)]);
}

#[test]
fn in_a_room_each_member_tells_for_itself_and_the_last_one_is_known() {
    let mut world = World::acquainted(723, 3);
    let room = room_of(&mut world, &[0, 1, 2]);
    let id = say(&mut world, 0, room, "read me");
    assert!(world.run_while(10_000, |w| w.devices[0].disk.waiting(room) > 0));
    world.run_for(100);
    mark_read(&mut world, 1, room, 1);
    world.run_for(100);
    assert_eq!(told(&world, 0), [(1, id, false)]);
    mark_read(&mut world, 2, room, 1);
    world.run_for(100);
    assert_eq!(told(&world, 0), [(1, id, false), (2, id, true)]);
    assert!(told(&world, 1).is_empty() && told(&world, 2).is_empty(), "nobody else is told");
}
