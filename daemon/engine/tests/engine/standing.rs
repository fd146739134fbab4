//! Contacts that a person has verified or blocked. A blocked one makes nothing ring, appear, grow on
//! disk or answer.

use std::cell::RefCell;
use std::rc::Rc;

use kith_engine::{Event, LinkState, Presence, Reply, Request, RequestError, Trust};

use crate::world::World;

fn block(world: &mut World, index: usize, other: usize, blocked: bool) {
    let peer = world.devices[other].id;
    assert_eq!(world.ask(index, Request::Block { peer, blocked }), Ok(Reply::Done));
}

/// What a device has on disk of another, and how much it has said, to whomever.
fn traces(world: &World, index: usize, other: usize) -> (usize, usize, u64, usize) {
    let device = &world.devices[index];
    let shown = device.events.iter().filter(|event| !matches!(event, Event::Dropped(_))).count();
    (device.disk.history(world.devices[other].id).len(), device.disk.inbox_len(), world.links_opened, shown)
}

#[test]
fn a_blocked_contact_sees_this_device_offline_and_its_messages_stay_with_it() {
    let mut world = World::paired(300);
    block(&mut world, 0, 1, true);
    world.run_for(1_000);
    let seen = world.devices[1].peers[&world.devices[0].id].clone();
    assert_eq!((seen.presence, seen.link), (Presence::Offline, LinkState::None));
    let shown = world.devices[0].peers[&world.devices[1].id].clone();
    assert!(shown.blocked && shown.presence == Presence::Offline);
    let before = traces(&world, 0, 1);
    world.send(1, 0, "let me in");
    world.run_for(600_000);
    assert_eq!(traces(&world, 0, 1), before);
    assert_eq!(world.queued(1, 0), 1);
}

#[test]
fn a_contact_that_is_let_in_again_delivers_what_waited() {
    let mut world = World::paired(301);
    block(&mut world, 0, 1, true);
    world.send(1, 0, "still here");
    world.run_for(60_000);
    block(&mut world, 0, 1, false);
    assert!(world.run_while(30_000, |w| w.delivered(1, 0) < 1));
    assert_eq!(world.received(0, 1), ["still here"]);
}

#[test]
fn a_block_survives_a_restart() {
    let mut world = World::paired(302);
    block(&mut world, 0, 1, true);
    world.crash(0);
    world.start(0);
    let before = traces(&world, 0, 1);
    world.send(1, 0, "and now?");
    world.run_for(120_000);
    let after = traces(&world, 0, 1);
    assert_eq!((before.0, before.1, before.2), (after.0, after.1, after.2));
    assert!(!world.connected(0, 1));
}

#[test]
fn nothing_is_sent_to_a_blocked_contact_and_no_invite_of_it_is_taken() {
    let mut world = World::paired(303);
    block(&mut world, 0, 1, true);
    let peer = world.devices[1].id;
    let refused = world.ask(0, Request::Send { conversation: peer.into(), message: World::message("hello") });
    assert_eq!(refused, Err(RequestError::Blocked));
    let uri = world.invite(1);
    assert_eq!(world.ask(0, Request::Accept { uri, other_server: false }), Err(RequestError::Blocked));
}

#[test]
fn a_blocked_contact_that_holds_an_open_invite_stays_out() {
    let mut world = World::paired(304);
    block(&mut world, 0, 1, true);
    let uri = world.invite(0);
    world.run_for(1_000);
    let before = traces(&world, 0, 1);
    let opened = world.links_opened;
    world.accept(1, &uri);
    world.run_for(100_000);
    let after = traces(&world, 0, 1);
    assert_eq!((after.0, after.1, after.3), (before.0, before.1, before.3), "nothing is stored or shown");
    assert!(world.links_opened > opened, "the other side has tried");
    assert!(!world.connected(0, 1));
}

#[test]
fn each_kind_of_payload_of_a_blocked_contact_is_dropped_unanswered() {
    // What a real attempt to connect sends, caught on its way to the one that will block.
    let mut world = World::paired(305);
    let caught = Rc::new(RefCell::new(Vec::new()));
    let seen = caught.clone();
    world.tamper_payload = Some(Box::new(move |payload| seen.borrow_mut().push(payload.clone())));
    world.break_link(0);
    assert!(world.run_while(60_000, |w| w.connected(0, 1)));
    assert!(world.run_while(60_000, |w| !w.connected(0, 1)));
    world.tamper_payload = None;
    block(&mut world, 0, 1, true);
    world.run_for(1_000);
    let before = traces(&world, 0, 1);
    let peer = world.devices[1].id;
    let mut payloads = caught.borrow().clone();
    assert!(!payloads.is_empty());
    // The same bytes under each kind's header: the sender is refused before the kind matters.
    let template = payloads[0].clone();
    for kind in [1, 2, 3, 4, 5] {
        let mut payload = template.clone();
        payload[0] = kind;
        payloads.push(payload);
    }
    for payload in payloads {
        world.relay_raw(0, peer, payload);
        world.run_for(30_000);
    }
    assert_eq!(traces(&world, 0, 1), before);
    assert_eq!(world.queued(0, 1), 0);
}

#[test]
fn a_message_in_flight_when_its_sender_is_blocked_stays_with_it() {
    let mut world = World::paired(306);
    world.delays.channel_ms = 200;
    let peer = world.devices[1].id;
    world.send(1, 0, "on its way");
    block(&mut world, 0, 1, true);
    world.run_for(60_000);
    assert!(world.received(0, 1).is_empty());
    assert_eq!(world.queued(1, 0), 1);
    assert!(world.devices[0].peers[&peer].blocked);
}

#[test]
fn a_full_disk_does_not_leave_a_contact_half_blocked() {
    let mut world = World::paired(307);
    world.devices[0].disk.full = true;
    let peer = world.devices[1].id;
    assert_eq!(world.ask(0, Request::Block { peer, blocked: true }), Err(RequestError::StorageFull));
    assert!(!world.devices[0].peers[&peer].blocked);
    world.devices[0].disk.full = false;
    world.send(1, 0, "hello");
    assert!(world.run_while(30_000, |w| w.delivered(1, 0) < 1));
}

#[test]
fn a_contact_is_verified_until_it_is_removed() {
    let mut world = World::paired(308);
    let peer = world.devices[1].id;
    assert_eq!(world.ask(0, Request::MarkVerified { peer, verified: true }), Ok(Reply::Done));
    world.crash(0);
    world.start(0);
    assert_eq!(world.devices[0].peers[&peer].trust, Trust::Verified);
    assert_eq!(world.ask(0, Request::MarkVerified { peer, verified: false }), Ok(Reply::Done));
    assert_eq!(world.devices[0].peers[&peer].trust, Trust::Paired);
    assert_eq!(world.ask(0, Request::RemovePeer(peer)), Ok(Reply::Done));
    assert_eq!(world.ask(0, Request::MarkVerified { peer, verified: true }), Err(RequestError::NotFound));
}
