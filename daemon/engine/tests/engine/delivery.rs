//! Messages: in order, once, whatever happens on the way.

use crate::world::World;
use kith_engine::{Event, MessageState, Reply, Request, RequestError};

fn numbered(world: &mut World, from: usize, to: usize, range: core::ops::Range<usize>) -> Vec<String> {
    let texts: Vec<String> = range.map(|n| format!("message {n}")).collect();
    for text in &texts {
        world.send(from, to, text);
    }
    texts
}

#[test]
fn messages_go_both_ways_and_each_is_queued_then_delivered() {
    let mut world = World::paired(20);
    let there = numbered(&mut world, 0, 1, 0..30);
    let back = numbered(&mut world, 1, 0, 0..30);
    assert!(world.run_while(10_000, |w| w.delivered(0, 1) < 30 || w.delivered(1, 0) < 30));
    assert_eq!(world.received(1, 0), there);
    assert_eq!(world.received(0, 1), back);
    for device in &world.devices {
        let states = device.events.iter().filter_map(|e| match e {
            Event::MessageState { id, state, .. } => Some((*id, *state)),
            _ => None,
        });
        let states: Vec<_> = states.collect();
        for (id, _) in &states {
            let of_this: Vec<_> = states.iter().filter(|(other, _)| other == id).map(|(_, s)| *s).collect();
            assert_eq!(of_this, [MessageState::Queued, MessageState::Delivered]);
        }
    }
}

#[test]
fn messages_sent_while_the_peer_is_away_arrive_when_it_returns() {
    let mut world = World::paired(21);
    world.crash(1);
    let texts = numbered(&mut world, 0, 1, 0..200);
    world.run_for(120_000);
    assert!(world.received(1, 0).is_empty());
    world.start(1);
    assert!(world.run_while(30_000, |w| w.delivered(0, 1) < 200));
    assert_eq!(world.received(1, 0), texts);
}

#[test]
fn messages_sent_while_the_server_is_away_use_the_session_that_is_there() {
    let mut world = World::paired(22);
    world.stop_server();
    world.run_for(60_000);
    let texts = numbered(&mut world, 0, 1, 0..10);
    assert!(world.run_while(1_000, |w| w.delivered(0, 1) < 10));
    assert_eq!(world.received(1, 0), texts);
}

#[test]
fn a_device_that_loses_the_server_keeps_its_session_and_finds_the_server_again() {
    let mut world = World::paired(38);
    world.set_reaches_server(0, false);
    world.run_for(10_000);
    world.send(1, 0, "still here");
    assert!(world.run_while(1_000, |w| w.delivered(1, 0) < 1));
    world.set_reaches_server(0, true);
    world.run_for(1_000);
    world.crash(1);
    world.start(1);
    world.send(1, 0, "back");
    assert!(world.run_while(30_000, |w| w.delivered(1, 0) < 2));
}

#[test]
fn messages_sent_while_peer_and_server_are_away_arrive_in_order_once() {
    let mut world = World::paired(23);
    world.stop_server();
    world.crash(1);
    let texts = numbered(&mut world, 0, 1, 0..100);
    world.run_for(60_000);
    world.start(1);
    world.run_for(60_000);
    assert!(world.received(1, 0).is_empty());
    world.start_server();
    assert!(world.run_while(30_000, |w| w.delivered(0, 1) < 100));
    assert_eq!(world.received(1, 0), texts);
}

#[test]
fn a_daemon_restarted_in_between_keeps_its_outbox() {
    let mut world = World::paired(24);
    world.crash(1);
    let texts = numbered(&mut world, 0, 1, 0..20);
    world.crash(0);
    world.start(1);
    world.run_for(30_000);
    world.start(0);
    assert!(world.run_while(30_000, |w| w.delivered(0, 1) < 20));
    assert_eq!(world.received(1, 0), texts);
}

#[test]
fn both_sides_connecting_at_once_end_with_one_session() {
    for seed in 0..50 {
        let mut world = World::paired(100 + seed);
        world.stop_server();
        world.crash(0);
        world.crash(1);
        world.start(0);
        world.start(1);
        // Slower than the wait of the one with the higher id: the offers always cross.
        world.delays.signal_ms = 1_500 + seed * 7;
        world.start_server();
        assert!(world.run_while(60_000, |w| !w.connected(0, 1)), "seed {seed}");
        let a = world.send(0, 1, "a");
        let b = world.send(1, 0, "b");
        assert!(world.run_while(20_000, |w| w.delivered(0, 1) < 1 || w.delivered(1, 0) < 1), "seed {seed}");
        assert_ne!(a, b);
        world.run_for(60_000);
        assert!(world.connected(0, 1));
        let sessions = world.devices.iter().map(|d| d.engine.as_ref().unwrap().snapshot());
        assert_eq!(sessions.count(), 2);
        assert!(world.troubles(0).is_empty(), "{:?}", world.troubles(0));
        assert!(world.troubles(1).is_empty(), "{:?}", world.troubles(1));
    }
}

#[test]
fn a_message_survives_a_crash_of_the_receiver_at_any_moment() {
    for crash_after in 0..25 {
        let mut world = World::paired(25);
        let peer = world.devices[1].id;
        for n in 0..5 {
            world.request(
                0,
                Request::Send { conversation: peer.into(), message: World::message(&format!("message {n}")) },
            );
        }
        world.run_for(crash_after);
        world.crash(1);
        world.run_for(50);
        world.start(1);
        assert!(world.run_while(60_000, |w| w.delivered(0, 1) < 5), "after {crash_after} ms");
        let expected: Vec<_> = (0..5).map(|n| format!("message {n}")).collect();
        assert_eq!(world.received(1, 0), expected, "after {crash_after} ms");
    }
}

#[test]
fn a_message_survives_a_crash_of_the_sender_after_it_was_queued() {
    for crash_after in 0..25 {
        let mut world = World::paired(26);
        world.send(0, 1, "queued");
        world.run_for(crash_after);
        world.crash(0);
        world.run_for(50);
        world.start(0);
        assert!(world.run_while(60_000, |w| w.delivered(0, 1) < 1), "after {crash_after} ms");
        assert_eq!(world.received(1, 0), ["queued"], "after {crash_after} ms");
    }
}

#[test]
fn nothing_is_acknowledged_before_it_is_on_disk() {
    let mut world = World::paired(27);
    world.devices[1].disk.full = true;
    let peer = world.devices[1].id;
    world.ask(0, Request::Send { conversation: peer.into(), message: World::message("later") }).unwrap();
    world.run_for(5_000);
    assert_eq!(world.delivered(0, 1), 0);
    assert!(world.received(1, 0).is_empty());
    assert!(world.troubles(1).iter().any(|t| t.contains("no space left")), "{:?}", world.troubles(1));
    world.devices[1].disk.full = false;
    assert!(world.run_while(120_000, |w| w.delivered(0, 1) < 1));
    assert_eq!(world.received(1, 0), ["later"]);
}

#[test]
fn a_session_that_ends_as_soon_as_it_begins_is_made_anew_ever_more_slowly() {
    let mut world = World::paired(39);
    world.devices[1].disk.full = true;
    let peer = world.devices[1].id;
    world.ask(0, Request::Send { conversation: peer.into(), message: World::message("no room") }).unwrap();
    let before = world.links_opened;
    world.run_for(10 * 60 * 1_000);
    let opened = world.links_opened - before;
    assert!(opened < 60, "{opened} links in ten minutes");
    world.devices[1].disk.full = false;
    assert!(world.run_while(120_000, |w| w.delivered(0, 1) < 1));
}

#[test]
fn a_full_disk_refuses_a_message_and_takes_the_next_when_there_is_space() {
    let mut world = World::paired(28);
    let peer = world.devices[1].id;
    world.devices[0].disk.full = true;
    let refused = world.ask(0, Request::Send { conversation: peer.into(), message: World::message("refused") });
    assert_eq!(refused, Err(RequestError::StorageFull));
    world.devices[0].disk.full = false;
    world.send(0, 1, "taken");
    assert!(world.run_while(5_000, |w| w.delivered(0, 1) < 1));
    assert_eq!(world.received(1, 0), ["taken"]);
}

#[test]
fn an_acknowledgement_that_could_not_be_written_is_written_later() {
    let mut world = World::paired(29);
    world.send(0, 1, "x");
    world.devices[0].disk.full = true;
    world.run_for(3_000);
    assert_eq!(world.delivered(0, 1), 0);
    world.devices[0].disk.full = false;
    assert!(world.run_while(10_000, |w| w.delivered(0, 1) < 1));
    assert_eq!(world.received(1, 0), ["x"]);
}

#[test]
fn the_same_idempotency_key_is_one_message() {
    let mut world = World::paired(30);
    let peer = world.devices[1].id;
    let mut message = World::message("once");
    message.idempotency_key = Some("order 17".to_owned());
    let first = world.ask(0, Request::Send { conversation: peer.into(), message: message.clone() });
    let second = world.ask(0, Request::Send { conversation: peer.into(), message });
    assert_eq!(first, second);
    world.run_for(2_000);
    assert_eq!(world.received(1, 0), ["once"]);
}

#[test]
fn a_body_may_have_12288_bytes_and_not_one_more() {
    let mut world = World::paired(31);
    let peer = world.devices[1].id;
    let mut message = World::message("");
    message.content_type = format!("application/{}", "x".repeat(52));
    message.body = vec![7; 12_288];
    assert!(world.ask(0, Request::Send { conversation: peer.into(), message: message.clone() }).is_ok());
    message.body.push(7);
    assert_eq!(world.ask(0, Request::Send { conversation: peer.into(), message }), Err(RequestError::TooLarge));
    assert!(world.run_while(2_000, |w| w.delivered(0, 1) < 1));
    let stored = world.devices[1].disk.history(world.devices[0].id);
    assert_eq!(stored[0].body.len(), 12_288);
}

#[test]
fn reading_marks_only_what_was_there() {
    let mut world = World::paired(32);
    numbered(&mut world, 0, 1, 0..5);
    world.send(1, 0, "own");
    assert!(world.run_while(5_000, |w| w.received(1, 0).len() < 5 || w.delivered(1, 0) < 1));
    let peer = world.devices[0].id;
    assert_eq!(world.devices[1].peers[&peer].unread, 5);
    let third = world.devices[1].disk.history(peer)[2].seq;
    world.request(1, Request::MarkRead { conversation: peer.into(), seq: third });
    world.send(0, 1, "newer");
    world.run_for(2_000);
    assert_eq!(world.devices[1].peers[&peer].unread, 3);
    world.ask(1, Request::MarkRead { conversation: peer.into(), seq: u64::MAX }).unwrap();
    assert_eq!(world.devices[1].peers[&peer].unread, 0);
    assert_eq!(world.devices[1].disk.state().contacts[0].conversation.unread, 0);
}

#[test]
fn the_inbox_remembers_how_far_each_consumer_has_come() {
    let mut world = World::paired(33);
    numbered(&mut world, 0, 1, 0..3);
    assert!(world.run_while(5_000, |w| w.delivered(0, 1) < 3));
    assert_eq!(world.devices[1].disk.inbox_len(), 3);
    world.ask(1, Request::AckInbox { consumer: "door".to_owned(), seq: 2 }).unwrap();
    world.ask(1, Request::AckInbox { consumer: "door".to_owned(), seq: 1 }).unwrap();
    assert_eq!(world.devices[1].disk.cursor("door"), 2);
    let beyond = world.ask(1, Request::AckInbox { consumer: "door".to_owned(), seq: 4 });
    assert!(matches!(beyond, Err(RequestError::InvalidArgument(_))));
}

#[test]
fn a_removed_contact_is_forgotten_and_cannot_connect() {
    let mut world = World::paired(34);
    world.send(0, 1, "x");
    world.run_for(1_000);
    let peer = world.devices[1].id;
    world.ask(0, Request::RemovePeer(peer)).unwrap();
    world.run_for(60_000);
    assert!(world.devices[0].disk.history(peer).is_empty());
    assert!(!world.devices[0].peers.contains_key(&peer));
    assert!(!world.connected(0, 1));
    assert_eq!(world.ask(0, Request::SafetyNumber(peer)), Err(RequestError::NotFound));
    let own = world.devices[0].id;
    assert_eq!(world.devices[1].peers[&own].presence, kith_engine::Presence::Offline);
}

#[test]
fn a_contact_that_was_removed_and_paired_again_is_heard_again() {
    for remover in 0..2 {
        let mut world = World::paired(40 + remover as u64);
        numbered(&mut world, 0, 1, 0..5);
        numbered(&mut world, 1, 0, 0..5);
        assert!(world.run_while(10_000, |w| w.delivered(0, 1) < 5 || w.delivered(1, 0) < 5));
        let peer = world.devices[1 - remover].id;
        world.ask(remover, Request::RemovePeer(peer)).unwrap();
        world.run_for(1_000);
        world.pair(0, 1);
        world.send(0, 1, "there again");
        world.send(1, 0, "back again");
        let heard = |w: &World, to: usize, from: usize| w.received(to, from).iter().any(|text| text.ends_with("again"));
        assert!(world.run_while(30_000, |w| !heard(w, 1, 0) || !heard(w, 0, 1)), "{:?}", world.troubles(0));
        assert!(world.troubles(0).iter().chain(&world.troubles(1)).all(|t| !t.contains("number")));
    }
}

#[test]
fn a_name_given_while_a_session_begins_is_the_name_on_disk() {
    for after in 0..60 {
        let mut world = World::paired(43);
        world.crash(1);
        world.run_for(1_000);
        world.start(1);
        world.run_for(after);
        let peer = world.devices[1].id;
        world.ask(0, Request::RenamePeer { peer, name: "front door".to_owned() }).unwrap();
        world.run_for(10_000);
        assert_eq!(world.devices[0].disk.state().contacts[0].contact.name, "front door", "after {after} ms");
    }
}

#[test]
fn a_content_type_that_no_peer_would_take_is_refused_before_it_is_queued() {
    let mut world = World::paired(42);
    let peer = world.devices[1].id;
    let long = format!("text/{}", "x".repeat(60));
    for content_type in ["text/plain; charset=utf-8", "a/b/c", "text/ plain", "text", "/plain", "text/", "", &long] {
        let message = kith_engine::NewMessage { content_type: content_type.to_owned(), ..World::message("x") };
        let refused = world.ask(0, Request::Send { conversation: peer.into(), message });
        assert!(matches!(refused, Err(RequestError::InvalidArgument(_))), "{content_type}");
    }
    world.send(0, 1, "the next one passes");
    assert!(world.run_while(5_000, |w| w.delivered(0, 1) < 1));
}

#[test]
fn a_session_lives_for_days_with_a_new_key_every_quarter_of_an_hour() {
    let mut world = World::paired(35);
    let links = world.links_opened;
    let mut count = 0;
    for hour in 0..24 {
        count += 2;
        world.send(0, 1, &format!("{hour}"));
        world.send(1, 0, &format!("{hour}"));
        world.run_for(60 * 60 * 1_000);
        assert!(world.connected(0, 1), "hour {hour}");
    }
    assert_eq!(world.delivered(0, 1) + world.delivered(1, 0), count);
    assert!(world.troubles(0).is_empty() && world.troubles(1).is_empty(), "{:?}", world.troubles(0));
    assert_eq!(world.links_opened, links);
    assert!(world.key_generation(0, 1) >= Some(24 * 4 - 1), "{:?}", world.key_generation(0, 1));
}

#[test]
fn messages_that_cross_sixteen_new_keys_arrive_once_and_in_order() {
    let mut world = World::paired(44);
    // Slow enough that messages of both sides are on their way at each step of a rekey.
    world.delays.channel_ms = 400;
    let links = world.links_opened;
    let [a, b] = [0, 1].map(|device| world.devices[device].id);
    let (mut there, mut back) = (Vec::new(), Vec::new());
    for generation in 1..=16 {
        let soon_ms = world.boot_ms + 14 * 60_000 + 55_000;
        while world.key_generation(0, 1) < Some(generation) {
            for (from, peer, texts) in [(0, b, &mut there), (1, a, &mut back)] {
                let text = format!("{from}, number {}", texts.len());
                world.request(from, Request::Send { conversation: peer.into(), message: World::message(&text) });
                texts.push(text);
            }
            // Now and then, and all the time while keys change.
            world.run_for(if world.boot_ms < soon_ms { (soon_ms - world.boot_ms).min(60_000) } else { 100 });
            assert!(world.boot_ms < soon_ms + 60_000, "no new key after {generation}");
        }
    }
    assert!(world.run_while(60_000, |w| w.queued(0, 1) + w.queued(1, 0) > 0));
    assert_eq!(world.received(1, 0), there);
    assert_eq!(world.received(0, 1), back);
    assert_eq!(world.links_opened, links, "it was one session");
    assert!(world.troubles(0).is_empty() && world.troubles(1).is_empty(), "{:?}", world.troubles(0));
}

#[test]
fn the_same_safety_number_on_both_sides() {
    let mut world = World::paired(36);
    let (a, b) = (world.devices[0].id, world.devices[1].id);
    let on_a = world.ask(0, Request::SafetyNumber(b)).unwrap();
    let on_b = world.ask(1, Request::SafetyNumber(a)).unwrap();
    assert_eq!(on_a, on_b);
    let Reply::SafetyNumber(digits) = on_a else { panic!("{on_a:?}") };
    assert_eq!(digits.chars().filter(char::is_ascii_digit).count(), 60);
}

#[test]
fn two_runs_with_one_seed_are_the_same_run() {
    let run = || {
        let mut world = World::paired(37);
        numbered(&mut world, 0, 1, 0..20);
        world.run_for(60_000);
        (world.boot_ms, world.frames, format!("{:?}", world.devices[1].events))
    };
    assert_eq!(run(), run());
}
