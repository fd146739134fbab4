//! Pairing by comparing digits, and somebody in the middle.

use kith_engine::{PairingId, PairingState, Reply, Request, RequestError, Trust};

use crate::world::World;

/// Begins a comparison; without a code the device shows one.
fn compare(world: &mut World, device: usize, code: Option<&str>) -> Result<u32, RequestError> {
    match world.ask(device, Request::Compare { code: code.map(str::to_owned) })? {
        Reply::Pairing(id) => Ok(id.0),
        other => panic!("{other:?}"),
    }
}

fn state(world: &World, device: usize, pairing: u32) -> &PairingState {
    &world.devices[device].pairings[&pairing].state
}

fn digits(world: &World, device: usize, pairing: u32) -> Option<u32> {
    match state(world, device, pairing) {
        PairingState::Comparing(digits) => Some(*digits),
        _ => None,
    }
}

fn failed(world: &World, device: usize, pairing: u32) -> Option<&str> {
    match state(world, device, pairing) {
        PairingState::Failed(why) => Some(why),
        _ => None,
    }
}

/// The first shows a code that the second types, and both show digits.
fn compared(world: &mut World, shows: usize, types: usize) -> [u32; 2] {
    let shown = compare(world, shows, None).unwrap();
    let code = world.devices[shows].pairings[&shown].code.clone();
    let typed = compare(world, types, Some(&code)).unwrap();
    let done = |w: &World| digits(w, shows, shown).is_some() && digits(w, types, typed).is_some();
    assert!(world.run_while(30_000, |w| !done(w)), "{:?} {:?}", state(world, shows, shown), state(world, types, typed));
    [shown, typed]
}

fn confirm(world: &mut World, device: usize, pairing: u32) {
    assert_eq!(world.ask(device, Request::ConfirmPairing(PairingId(pairing))), Ok(Reply::Done));
}

fn contacts(world: &World, device: usize) -> usize {
    world.devices[device].disk.state().contacts.len()
}

#[test]
fn two_devices_that_show_the_same_digits_pair_when_both_have_confirmed() {
    for (seed, first) in [(1, 0), (2, 1)] {
        let mut world = World::new(seed, 2);
        let pairings = compared(&mut world, 0, 1);
        let shown = digits(&world, 0, pairings[0]).unwrap();
        assert_eq!(digits(&world, 1, pairings[1]), Some(shown));
        assert!(shown < 1_000_000);
        confirm(&mut world, first, pairings[first]);
        world.run_for(10_000);
        assert_eq!(*state(&world, first, pairings[first]), PairingState::Confirmed);
        assert_eq!((contacts(&world, 0), contacts(&world, 1)), (0, 0), "one alone stores nothing");
        confirm(&mut world, 1 - first, pairings[1 - first]);
        assert!(world.run_while(10_000, |w| !w.connected(0, 1)));
        for (own, other) in [(0, 1), (1, 0)] {
            let id = world.devices[other].id;
            assert_eq!(*state(&world, own, pairings[own]), PairingState::Done(id));
            let view = &world.devices[own].peers[&id];
            assert_eq!((view.trust, view.name.as_str()), (Trust::Paired, format!("device {other}").as_str()));
        }
        world.send(1, 0, "by digits");
        assert!(world.run_while(1_000, |w| w.received(0, 1).is_empty()));
        assert!(world.troubles(0).is_empty() && world.troubles(1).is_empty(), "{:?}", world.troubles(0));
    }
}

#[test]
fn it_does_not_matter_who_is_there_first_and_a_server_may_be_away_for_a_while() {
    let mut world = World::new(3, 2);
    let shown = compare(&mut world, 0, None).unwrap();
    let code = world.devices[0].pairings[&shown].code.to_lowercase();
    world.set_reaches_server(0, false);
    world.run_for(1_000);
    let typed = compare(&mut world, 1, Some(&code)).unwrap();
    world.run_for(5_000);
    assert_eq!(*state(&world, 1, typed), PairingState::Waiting);
    world.set_reaches_server(0, true);
    assert!(world.run_while(30_000, |w| digits(w, 1, typed).is_none()));
    assert_eq!(digits(&world, 0, shown), digits(&world, 1, typed));
}

#[test]
fn somebody_in_the_middle_shows_other_digits_to_each_side() {
    for seed in 0..40 {
        // Device 2 has typed the code of device 0; device 3 shows the same code to device 1.
        let mut world = World::new(100 + seed, 4);
        world.meetings = Some(vec![(0, 2), (1, 3)]);
        world.run_for(100);
        world.copy_randomness(0, 3);
        let shown = compare(&mut world, 0, None).unwrap();
        let code = world.devices[0].pairings[&shown].code.clone();
        let forged = compare(&mut world, 3, None).unwrap();
        assert_eq!(world.devices[3].pairings[&forged].code, code);
        let middle = compare(&mut world, 2, Some(&code)).unwrap();
        let typed = compare(&mut world, 1, Some(&code)).unwrap();
        let done = |w: &World| digits(w, 0, shown).is_some() && digits(w, 1, typed).is_some();
        assert!(world.run_while(30_000, |w| !done(w)));
        assert_ne!(digits(&world, 0, shown), digits(&world, 1, typed), "seed {seed}");
        assert_eq!(digits(&world, 0, shown), digits(&world, 2, middle));
        // The middle confirms; the two people do not.
        confirm(&mut world, 2, middle);
        confirm(&mut world, 3, forged);
        world.run_for(1_000);
        for (device, pairing) in [(0, shown), (1, typed)] {
            world.ask(device, Request::CancelPairing(PairingId(pairing))).unwrap();
            world.run_for(1_000);
            assert_eq!(contacts(&world, device), 0);
        }
    }
}

#[test]
fn whoever_breaks_off_and_tries_again_gets_one_guess_each_time_and_three_in_ten_minutes() {
    let mut world = World::new(4, 2);
    let begun_ms = world.boot_ms;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let [shown, typed] = compared(&mut world, 0, 1);
        seen.push(digits(&world, 0, shown).unwrap());
        world.ask(1, Request::CancelPairing(PairingId(typed))).unwrap();
        world.run_for(1_000);
        assert!(failed(&world, 0, shown).is_some_and(|why| why.contains("Begin again")), "a code is good for one");
    }
    seen.dedup();
    assert_eq!(seen.len(), 3, "each time other digits");
    assert_eq!(compare(&mut world, 0, None), Err(RequestError::RateLimited));
    assert_eq!(compare(&mut world, 1, None), Err(RequestError::RateLimited), "whoever was the one that broke off");
    // A restart of the one in the middle does not help: the other one counts.
    world.crash(1);
    world.start(1);
    assert_eq!(compare(&mut world, 0, None), Err(RequestError::RateLimited));
    let waited_ms = world.boot_ms - begun_ms;
    world.run_for(600_000 - waited_ms + 1_000);
    compared(&mut world, 0, 1);
}

#[test]
fn several_codes_at_once_are_no_way_around_the_count() {
    let mut world = World::new(5, 2);
    let codes: Vec<_> = (0..4)
        .map(|_| {
            let shown = compare(&mut world, 0, None).unwrap();
            (shown, world.devices[0].pairings[&shown].code.clone())
        })
        .collect();
    for (count, (shown, code)) in codes.iter().enumerate() {
        // Of the one who types, only the last restart is counted.
        world.crash(1);
        world.start(1);
        let typed = compare(&mut world, 1, Some(code)).unwrap();
        let ended = |w: &World| digits(w, 1, typed).is_some() || failed(w, 0, *shown).is_some();
        assert!(world.run_while(30_000, |w| !ended(w)));
        assert_eq!(digits(&world, 1, typed).is_some(), count < 3);
    }
    assert!(failed(&world, 0, codes[3].0).is_some_and(|why| why.contains("ten minutes")));
}

#[test]
fn a_code_ends_after_two_minutes_and_digits_two_minutes_later() {
    let mut world = World::new(6, 2);
    let shown = compare(&mut world, 0, None).unwrap();
    let code = world.devices[0].pairings[&shown].code.clone();
    world.run_for(121_000);
    assert!(failed(&world, 0, shown).is_some());
    let late = compare(&mut world, 1, Some(&code)).unwrap();
    world.run_for(121_000);
    assert!(failed(&world, 1, late).is_some());
    let [shown, typed] = compared(&mut world, 0, 1);
    confirm(&mut world, 1, typed);
    world.run_for(121_000);
    assert!(failed(&world, 0, shown).is_some() && failed(&world, 1, typed).is_some());
    assert_eq!((contacts(&world, 0), contacts(&world, 1)), (0, 0));
}

#[test]
fn what_is_no_code_and_what_cannot_be_confirmed_is_refused() {
    let mut world = World::new(7, 2);
    for code in ["", "ABC", "ABCDE1", "ABCDEFG"] {
        assert!(matches!(compare(&mut world, 0, Some(code)), Err(RequestError::InvalidArgument(_))), "{code}");
    }
    let shown = compare(&mut world, 0, None).unwrap();
    let own = world.devices[0].pairings[&shown].code.clone();
    assert!(matches!(compare(&mut world, 0, Some(&own)), Err(RequestError::InvalidArgument(_))));
    let early = world.ask(0, Request::ConfirmPairing(PairingId(shown)));
    assert!(matches!(early, Err(RequestError::InvalidArgument(_))));
    assert_eq!(world.ask(0, Request::ConfirmPairing(PairingId(99))), Err(RequestError::NotFound));
    let view = format!("{:?}", world.devices[0].pairings[&shown]);
    assert!(!view.contains(&own), "{view}");
}

#[test]
fn a_connection_that_breaks_after_both_have_confirmed_still_makes_two_contacts() {
    let mut world = World::new(8, 2);
    let [shown, typed] = compared(&mut world, 0, 1);
    confirm(&mut world, 0, shown);
    world.request(1, Request::ConfirmPairing(PairingId(typed)));
    // As soon as the one that shows has stored the other, the other loses its power.
    assert!(world.run_while(10_000, |w| contacts(w, 0) == 0));
    world.crash(1);
    world.start(1);
    assert!(world.run_while(60_000, |w| !w.connected(0, 1)));
    let own = world.devices[0].id;
    assert_eq!(world.devices[1].peers[&own].trust, Trust::Paired);
}
