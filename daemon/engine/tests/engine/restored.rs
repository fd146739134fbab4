//! A device that is restored from a backup, and its peers.

use crate::world::World;
use crate::world::disk::Disk;
use kith_engine::Reply;

/// Puts a backup in place of a device's disk, and starts it.
fn restore(world: &mut World, index: usize, backup: Disk, nth: u8) {
    world.crash(index);
    world.devices[index].disk = backup.restored(nth);
    world.devices[index].events.clear();
    world.start(index);
}

fn send(world: &mut World, from: usize, to: usize, texts: impl Iterator<Item = String>) -> Vec<String> {
    let texts: Vec<String> = texts.collect();
    for text in &texts {
        world.send(from, to, text);
    }
    texts
}

fn numbered(word: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |n| format!("{word} {n}"))
}

/// Sends both ways, and waits until all of it is there.
fn talk(world: &mut World, word: &str, count: usize) {
    let before = (world.delivered(0, 1), world.delivered(1, 0));
    send(world, 0, 1, numbered(word, count));
    send(world, 1, 0, numbered(word, count));
    let missing = |w: &World| w.delivered(0, 1) < before.0 + count || w.delivered(1, 0) < before.1 + count;
    assert!(world.run_while(60_000, missing), "{word}");
}

fn missing(world: &World, reader: usize, writer: usize) -> u64 {
    let writer = world.devices[writer].id;
    world.devices[reader].peers[&writer].missing
}

#[test]
fn a_device_restored_from_a_backup_that_is_100_messages_old_goes_on_both_ways() {
    let mut world = World::paired(70);
    talk(&mut world, "before", 10);
    let backup = world.devices[0].disk.clone();
    talk(&mut world, "lost", 100);
    restore(&mut world, 0, backup, 1);
    talk(&mut world, "after", 10);
    // The peer has everything once, in order; the restored device has all but what was lost.
    let all = |words: &[(&str, usize)]| -> Vec<String> {
        words.iter().flat_map(|(word, count)| numbered(word, *count)).collect()
    };
    assert_eq!(world.received(1, 0), all(&[("before", 10), ("lost", 100), ("after", 10)]));
    assert_eq!(world.received(0, 1), all(&[("before", 10), ("after", 10)]));
    assert_eq!((missing(&world, 0, 1), missing(&world, 1, 0)), (100, 0));
    let told = world.troubles(0);
    assert_eq!(told.iter().filter(|text| text.starts_with("100 messages of this contact")).count(), 1, "{told:?}");
    assert!(world.troubles(1).iter().all(|text| !text.contains("missing")), "{:?}", world.troubles(1));
}

#[test]
fn what_a_restored_outbox_sends_again_is_acknowledged_and_shown_once() {
    let mut world = World::paired(71);
    talk(&mut world, "before", 3);
    world.crash(1);
    let queued = send(&mut world, 0, 1, numbered("queued", 100));
    // The backup is made while they wait; then they arrive.
    let backup = world.devices[0].disk.clone();
    world.start(1);
    assert!(world.run_while(60_000, |w| w.delivered(0, 1) < 103));
    restore(&mut world, 0, backup, 1);
    assert_eq!(world.queued(0, 1), 100);
    world.send(0, 1, "new");
    assert!(world.run_while(60_000, |w| w.delivered(0, 1) < 104));
    let expected: Vec<String> = numbered("before", 3).chain(queued).chain(["new".to_owned()]).collect();
    assert_eq!(world.received(1, 0), expected);
    assert_eq!(world.devices[1].disk.inbox_len(), 104);
}

#[test]
fn a_restored_outbox_that_had_arrived_in_part_arrives_whole_and_once() {
    for arrived in [1, 40, 64, 65, 99] {
        let mut world = World::paired(72);
        world.crash(1);
        let queued = send(&mut world, 0, 1, numbered("queued", 100));
        let backup = world.devices[0].disk.clone();
        world.start(1);
        assert!(world.run_while(60_000, |w| w.received(1, 0).len() < arrived));
        restore(&mut world, 0, backup, 1);
        assert!(world.run_while(60_000, |w| w.delivered(0, 1) < 100), "{arrived}");
        assert_eq!(world.received(1, 0), queued, "{arrived}");
    }
}

#[test]
fn repeats_of_what_was_stored_before_a_restoring_survive_further_sessions() {
    let mut world = World::paired(73);
    world.crash(1);
    let queued = send(&mut world, 0, 1, numbered("queued", 20));
    let backup = world.devices[0].disk.clone();
    world.start(1);
    assert!(world.run_while(60_000, |w| w.delivered(0, 1) < 20));
    restore(&mut world, 0, backup, 1);
    // The acknowledgements never reach the restored device in its first sessions.
    for _ in 0..5 {
        assert!(world.run_while(60_000, |w| !w.connected(0, 1)));
        world.run_for(4);
        world.break_link(0);
    }
    assert!(world.run_while(120_000, |w| w.delivered(0, 1) < 20));
    assert_eq!(world.received(1, 0), queued);
}

#[test]
fn a_backup_restored_twice_counts_what_is_missing_once_each_time() {
    let mut world = World::paired(74);
    talk(&mut world, "before", 5);
    let backup = world.devices[0].disk.clone();
    talk(&mut world, "lost", 10);
    restore(&mut world, 0, backup.clone(), 1);
    talk(&mut world, "again lost", 1);
    assert_eq!(missing(&world, 0, 1), 10);
    restore(&mut world, 0, backup, 2);
    talk(&mut world, "after", 1);
    assert_eq!(missing(&world, 0, 1), 11);
}

#[test]
fn what_is_missing_is_known_after_a_restart_and_nothing_is_missing_where_nothing_was_lost() {
    let mut world = World::paired(75);
    talk(&mut world, "before", 5);
    let backup = world.devices[0].disk.clone();
    restore(&mut world, 0, backup.clone(), 1);
    // Still watching after a restart.
    world.crash(0);
    world.start(0);
    talk(&mut world, "nothing lost", 3);
    assert_eq!((missing(&world, 0, 1), world.troubles(0).len()), (0, 0), "{:?}", world.troubles(0));
    let backup = world.devices[0].disk.clone();
    talk(&mut world, "lost", 7);
    restore(&mut world, 0, backup, 2);
    talk(&mut world, "after", 1);
    world.crash(0);
    world.start(0);
    assert_eq!(missing(&world, 0, 1), 7);
}

#[test]
fn two_devices_that_are_both_restored_go_on() {
    let mut world = World::paired(76);
    talk(&mut world, "before", 5);
    let backups = [world.devices[0].disk.clone(), world.devices[1].disk.clone()];
    talk(&mut world, "lost", 20);
    for (index, backup) in backups.into_iter().enumerate() {
        restore(&mut world, index, backup, 1);
    }
    talk(&mut world, "after", 20);
    assert_eq!(world.received(0, 1).len(), 25);
    assert_eq!(world.received(1, 0).len(), 25);
}

#[test]
fn a_full_disk_of_the_peer_does_not_lose_count_of_what_is_missing() {
    let mut world = World::paired(77);
    talk(&mut world, "before", 5);
    let backup = world.devices[0].disk.clone();
    talk(&mut world, "lost", 9);
    restore(&mut world, 0, backup, 1);
    assert!(world.run_while(60_000, |w| !w.connected(0, 1)));
    world.devices[0].disk.full = true;
    world.send(1, 0, "kept by the sender");
    world.run_for(30_000);
    assert_eq!(missing(&world, 0, 1), 0);
    world.devices[0].disk.full = false;
    assert!(world.run_while(120_000, |w| w.received(0, 1).len() < 6));
    assert_eq!(missing(&world, 0, 1), 9);
    assert!(matches!(
        world.ask(0, kith_engine::Request::SafetyNumber(world.devices[1].id)),
        Ok(Reply::SafetyNumber(_))
    ));
}

#[test]
fn what_came_after_a_backup_without_a_single_message_is_counted_too() {
    let mut world = World::paired(78);
    let backup = world.devices[0].disk.clone();
    talk(&mut world, "lost", 4);
    restore(&mut world, 0, backup, 1);
    talk(&mut world, "after", 1);
    assert_eq!((missing(&world, 0, 1), missing(&world, 1, 0)), (4, 0));
}
