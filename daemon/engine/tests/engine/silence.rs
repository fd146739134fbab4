//! A session over which nothing comes any more: a new one is made beside it, before it is given up.

use kith_engine::{LinkEvent, LinkPath, LinkState, Presence};

use crate::world::World;

/// Long enough for an offer, an answer and a handshake, and shorter than the wait for the other side's offer.
const AT_ONCE_MS: u64 = 500;

/// How a device shows its only contact.
fn shown(world: &World, index: usize) -> (Presence, LinkState) {
    let view = world.devices[index].peers.values().next().unwrap();
    (view.presence, view.link)
}

#[test]
fn a_session_that_falls_silent_is_replaced_before_it_is_given_up_and_what_was_on_its_way_arrives() {
    let mut world = World::paired(301);
    let before = world.links_opened;
    world.silence_link(0);
    world.send(0, 1, "into the silence");
    world.send(1, 0, "back into the silence");
    assert!(world.run_while(AT_ONCE_MS, |w| w.delivered(0, 1) < 1 || w.delivered(1, 0) < 1));
    world.run_for(60_000);
    assert_eq!(world.links_opened, before + 2, "one new connection, with two ends");
    assert_eq!((world.received(1, 0).len(), world.received(0, 1).len()), (1, 1));
    let session = (Presence::Online, LinkState::Up(LinkPath::Direct));
    assert_eq!((shown(&world, 0), shown(&world, 1)), (session, session));
}

#[test]
fn a_session_that_is_heard_again_before_the_offer_stays() {
    let mut world = World::paired(302);
    let before = world.links_opened;
    // The one with the higher id waits for the other's offer, which has noticed nothing.
    world.newest_link_reports(1, LinkEvent::Silent);
    world.run_for(500);
    world.newest_link_reports(1, LinkEvent::Heard);
    world.run_for(60_000);
    assert_eq!(world.links_opened, before);
    world.send(1, 0, "still the same");
    assert!(world.run_while(AT_ONCE_MS, |w| w.delivered(1, 0) < 1));
}

#[test]
fn whoever_has_moved_offers_at_once_because_the_other_side_does_not_know() {
    for moved in [0, 1] {
        let mut world = World::paired(303);
        let before = world.links_opened;
        world.newest_link_reports(moved, LinkEvent::Moved);
        world.run_while(AT_ONCE_MS, |w| w.links_opened < before + 2);
        assert_eq!(world.links_opened, before + 2, "device {moved}");
        world.run_for(AT_ONCE_MS);
        world.send(0, 1, "over the new one");
        assert!(world.run_while(AT_ONCE_MS, |w| w.delivered(0, 1) < 1));
        assert_eq!(world.links_opened, before + 2, "device {moved}");
    }
}

#[test]
fn a_silent_session_is_kept_while_the_server_knows_no_way() {
    let mut world = World::paired(304);
    world.stop_server();
    world.run_for(1_000);
    let before = world.links_opened;
    world.newest_link_reports(0, LinkEvent::Silent);
    world.newest_link_reports(1, LinkEvent::Silent);
    world.run_for(5_000);
    assert_eq!(world.links_opened, before);
    // It was only quiet.
    world.newest_link_reports(0, LinkEvent::Heard);
    world.newest_link_reports(1, LinkEvent::Heard);
    world.send(0, 1, "heard again");
    assert!(world.run_while(AT_ONCE_MS, |w| w.delivered(0, 1) < 1));
    world.start_server();
    world.run_for(60_000);
    assert_eq!(world.links_opened, before);
}

#[test]
fn an_offer_that_was_lost_with_the_other_sides_way_to_the_server_does_not_stand_against_a_later_one() {
    let mut world = World::paired(305);
    // The lower id's offer goes nowhere: the server still believes that the other is there.
    world.silence_link(0);
    world.faults.signal_lost = 100;
    world.run_for(7_000);
    world.faults.signal_lost = 0;
    world.send(1, 0, "from the one that comes back");
    world.change_network(1);
    assert!(world.run_while(3_000, |w| w.delivered(1, 0) < 1));
}

#[test]
fn after_a_change_of_the_network_whoever_waits_to_try_again_tries_at_once() {
    let mut world = World::paired(306);
    // So many attempts have failed that the next one is a long way off.
    world.faults.signal_lost = 100;
    world.break_link(0);
    world.run_for(180_000);
    world.faults.signal_lost = 0;
    world.send(0, 1, "as soon as there is a network");
    world.change_network(0);
    assert!(world.run_while(AT_ONCE_MS, |w| w.delivered(0, 1) < 1));
}
