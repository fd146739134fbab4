//! What does not grow with the history: counted at the disk, so that no clock is needed.

use redb::ReadableDatabase;

use super::{
    super::{disk::Disk, reader, state},
    *,
};

/// Rows that a screen shows.
const SCREEN_ROWS: u32 = 50;

/// A history that is twenty times as long has trees that are a level higher, at most; so many of them
/// lie on the way to a message.
const READS_MORE: u64 = 4;

/// Reads of the disk by a program that has just started: to unlock a store with so many messages, and then
/// to list the last of them. (A database that is opened for writing is walked as a whole where redb
/// was built with assertions, as it is here; so it is opened for reading.)
fn reads_with(count: u64) -> (u64, u64) {
    let (device, faults) = Device::on_false_disk();
    let (mut device, peer) = device.with_contact("Ada");
    for first in (1..=count).step_by(500) {
        let received = (first..first + 500).map(|seq| message(seq, Direction::Incoming, &[1; 100]));
        device.commit(received.flat_map(|message| receiving(peer, &message, message.seq)).collect()).unwrap();
    }
    let (_dir, folder) = device.close();
    let keys = template().1.table_keys();

    let before = faults.reads();
    let tx = Disk::of(&folder).open_read_only().unwrap().unwrap().begin_read().unwrap();
    let (_, state) = state::load(&tx, &keys).unwrap();
    assert_eq!(state.inbox_seq, count);
    let unlocked = faults.reads();
    let page = reader::history(&tx, &keys, peer.into(), count - u64::from(SCREEN_ROWS), SCREEN_ROWS).unwrap();
    assert_eq!((page.len(), page.last().unwrap().message.seq), (50, count));
    (unlocked - before, faults.reads() - unlocked)
}

#[test]
fn unlocking_and_listing_the_last_messages_read_no_more_of_a_long_history() {
    let (short, long) = (reads_with(1_000), reads_with(20_000));
    assert!(long.0 <= short.0 + READS_MORE, "unlocking: {} reads, then {}", short.0, long.0);
    assert!(long.1 <= short.1 + READS_MORE, "listing: {} reads, then {}", short.1, long.1);
}
