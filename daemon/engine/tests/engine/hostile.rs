//! A signaling server and a network that cheat: nobody gets a session with the wrong party,
//! nothing wrong is shown, and what was sent arrives once they stop.

use std::cell::Cell;
use std::rc::Rc;

use kith_engine::{ContactState, PairingState, Request};

use crate::world::{Tamper, World};

/// Changes one byte of the n-th thing that passes, once.
fn flip(target: usize, place: usize) -> (Tamper, Rc<Cell<Option<usize>>>) {
    let length = Rc::new(Cell::new(None));
    let (seen, mut count) = (length.clone(), 0);
    let tamper = move |bytes: &mut Vec<u8>| {
        if count == target {
            seen.set(Some(bytes.len()));
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 0x41;
            }
        }
        count += 1;
    };
    (Box::new(tamper), length)
}

/// Two paired devices that have just started again, with a message from each on its way.
fn reconnecting(base: &World, seed: u64) -> World {
    let mut world = base.branched(seed);
    for (from, to) in [(0, 1), (1, 0)] {
        let peer = world.devices[to].id;
        world.request(
            from,
            Request::Send { conversation: peer.into(), message: World::message(&format!("from {from}")) },
        );
    }
    world
}

fn arrives_once(world: &mut World, what: &str) {
    let done = |w: &World| w.delivered(0, 1) == 1 && w.delivered(1, 0) == 1;
    assert!(
        world.run_while(300_000, |w| !done(w)),
        "{what}: {:?} {:?} connected {} received {:?} {:?} delivered {} {}",
        world.troubles(0),
        world.troubles(1),
        world.connected(0, 1),
        world.received(0, 1),
        world.received(1, 0),
        world.delivered(0, 1),
        world.delivered(1, 0)
    );
    world.run_for(1_000);
    assert_eq!(world.received(1, 0), ["from 0"], "{what}");
    assert_eq!(world.received(0, 1), ["from 1"], "{what}");
}

/// Runs with each byte of the first things that pass changed, one at a time.
fn each_byte(targets: usize, set: fn(&mut World, Tamper)) -> usize {
    let base = World::paired(70);
    let mut runs = 0;
    for target in 0..targets {
        for place in 0.. {
            let (tamper, length) = flip(target, place);
            let mut world = reconnecting(&base, 70);
            set(&mut world, tamper);
            arrives_once(&mut world, &format!("thing {target}, byte {place}"));
            runs += 1;
            assert!(length.get().is_some(), "thing {target} never passed");
            if length.get().is_some_and(|length| place + 1 >= length) {
                break;
            }
        }
    }
    runs
}

#[test]
fn each_byte_of_an_offer_and_an_answer_changed_delays_and_does_nothing_else() {
    let runs = each_byte(2, |world, tamper| world.tamper_payload = Some(tamper));
    assert!(runs > 200, "{runs} runs");
}

#[test]
fn each_byte_of_a_handshake_and_of_hello_changed_delays_and_does_nothing_else() {
    let runs = each_byte(4, |world, tamper| world.tamper_frame = Some(tamper));
    assert!(runs > 400, "{runs} runs");
}

#[test]
fn garbage_in_place_of_every_payload_connects_nobody_and_ends_with_it() {
    let mut world = reconnecting(&World::paired(71), 71);
    let mut count = 0_u8;
    world.tamper_payload = Some(Box::new(move |payload| {
        count = count.wrapping_add(1);
        payload.truncate(usize::from(count));
    }));
    world.run_for(200_000);
    assert!(!world.connected(0, 1));
    assert!(world.received(0, 1).is_empty() && world.received(1, 0).is_empty());
    world.tamper_payload = None;
    arrives_once(&mut world, "after the garbage");
}

#[test]
fn payloads_replayed_again_and_again_change_nothing() {
    let mut world = reconnecting(&World::paired(72), 72);
    let mut first = None;
    // Every later payload is replaced by the first one that passed.
    world.tamper_payload = Some(Box::new(move |payload| payload.clone_from(first.get_or_insert(payload.clone()))));
    world.run_for(120_000);
    assert!(world.received(0, 1).is_empty() && world.received(1, 0).is_empty());
    world.tamper_payload = None;
    arrives_once(&mut world, "after the replays");
}

#[test]
fn swapped_fingerprints_let_no_session_begin() {
    let mut world = reconnecting(&World::paired(73), 73);
    world.swap_fingerprints = true;
    world.run_for(200_000);
    assert!(!world.connected(0, 1));
    assert!(world.received(0, 1).is_empty() && world.received(1, 0).is_empty());
    assert!(world.troubles(0).iter().chain(&world.troubles(1)).any(|t| t.contains("handshake failed")));
    world.swap_fingerprints = false;
    arrives_once(&mut world, "with the right fingerprints");
}

#[test]
fn a_device_under_anothers_name_is_nobody() {
    let mut world = World::new(74, 3);
    world.pair(0, 1);
    world.pair(0, 2);
    world.run_for(1_000);
    world.send(1, 0, "from the first");
    world.run_for(1_000);
    world.crash(1);
    world.crash(2);
    // From now on the server says of the third device that it is the second.
    let (second, third) = (world.devices[1].id, world.devices[2].id);
    world.rename_sender = Some((third, second));
    world.start(2);
    world.run_for(120_000);
    assert!(!world.connected(0, 2) && !world.connected(0, 1));
    assert_eq!(world.received(0, 1), ["from the first"]);
    assert!(world.received(0, 2).is_empty());
}

#[test]
fn a_stranger_with_a_token_but_no_secret_cannot_pair() {
    let mut world = World::new(75, 3);
    let uri = world.invite(0);
    // The server, which knows the token, lets a stranger's payloads through in the invitee's name.
    let (invitee, stranger) = (world.devices[1].id, world.devices[2].id);
    world.rename_sender = Some((invitee, stranger));
    let id = world.accept(1, &uri);
    assert!(world.run_while(200_000, |w| !matches!(w.devices[1].pairings[&id].state, PairingState::Failed(_))));
    world.run_for(1_000);
    assert!(world.devices[0].disk.state().contacts.is_empty());
    assert!(world.devices[1].disk.state().contacts.iter().all(|c| c.contact.state == ContactState::Pending));
}

#[test]
fn records_that_are_repeated_or_skipped_end_the_session_and_lose_nothing() {
    let base = World::paired(76);
    for victim in 4..12 {
        for repeat in [true, false] {
            let mut world = reconnecting(&base, 76);
            let mut count = 0;
            let mut earlier: Vec<u8> = Vec::new();
            world.tamper_frame = Some(Box::new(move |frame| {
                let before = std::mem::replace(&mut earlier, frame.clone());
                if count == victim {
                    *frame = if repeat { before } else { vec![0; 144] };
                }
                count += 1;
            }));
            arrives_once(&mut world, &format!("frame {victim}, repeat {repeat}"));
        }
    }
}

#[test]
fn a_flood_of_payloads_costs_a_bounded_number_of_openings() {
    let base = World::paired(77);
    let mut world = reconnecting(&base, 77);
    arrives_once(&mut world, "before the flood");
    let from = world.devices[1].id;
    let before = world.boot_ms;
    for _ in 0..20_000 {
        world.relay_raw(0, from, vec![1; 200]);
    }
    assert_eq!(world.boot_ms, before, "nothing waited");
    world.send(1, 0, "after the flood");
    assert!(world.run_while(60_000, |w| w.delivered(1, 0) < 2));
}
