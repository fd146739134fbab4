use kith_engine::{Load, Loaded};

use super::{
    super::{PAGE_BYTES_MAX, PAGE_ROWS_MAX, ReadError},
    *,
};

fn filled(count: u64, body: &[u8]) -> (Device, ClientId) {
    let (mut device, peer) = Device::new().with_contact("Ada");
    let ops = (1..=count).flat_map(|seq| sending(peer, &message(seq, Direction::Outgoing, body))).collect();
    device.commit(ops).unwrap();
    (device, peer)
}

fn history(device: &Device, peer: ClientId, after: u64, count_max: u32) -> Vec<u64> {
    let rows = device.reader.read(Read::History { conversation: peer.into(), after, count_max }).unwrap();
    rows.into_iter().map(|row| row.message.seq).collect()
}

fn outbox(device: &Device, peer: ClientId, after: u64, count_max: usize) -> Vec<u64> {
    match device.reader.load(Load::Outbox { conversation: peer.into(), peer, after, count_max }) {
        Loaded::Outbox(messages) => messages.into_iter().map(|message| message.number).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn history_comes_in_pages_in_order() {
    let (device, peer) = filled(300, b"x");
    assert_eq!(history(&device, peer, 0, 3), [1, 2, 3]);
    assert_eq!(history(&device, peer, 297, 10), [298, 299, 300]);
    assert!(history(&device, peer, 300, 10).is_empty());
    assert!(history(&device, peer, u64::MAX, 10).is_empty());
    assert!(history(&device, peer, 0, 0).is_empty());
    assert_eq!(history(&device, peer, 0, u32::MAX).len(), PAGE_ROWS_MAX);
}

#[test]
fn a_page_is_cut_at_its_bytes() {
    let (device, peer) = filled(100, &[1; 12_288]);
    let page = history(&device, peer, 0, 256);
    assert!(page.len() < 100 && page.len() * 12_288 <= PAGE_BYTES_MAX, "{}", page.len());
    assert!((page.len() + 1) * 12_500 > PAGE_BYTES_MAX, "{}", page.len());
    let rest = history(&device, peer, page.len() as u64, 256);
    assert_eq!(page.len() + rest.len(), 100);
}

#[test]
fn a_window_of_the_largest_messages_is_never_cut() {
    let (device, peer) = filled(70, &[1; 12_288]);
    assert_eq!(outbox(&device, peer, 0, 64).len(), 64);
}

#[test]
fn an_outbox_is_paged_by_number() {
    let (mut device, peer) = filled(10, b"x");
    device.commit(vec![Op::Delivered { conversation: peer.into(), peer, number: 5, seq: 5, utc_ms: 1 }]).unwrap();
    assert_eq!(outbox(&device, peer, 0, 3), [1, 2, 3]);
    assert_eq!(outbox(&device, peer, 3, 4), [4, 6, 7, 8]);
    assert_eq!(outbox(&device, peer, 8, 64), [9, 10]);
    assert!(outbox(&device, peer, 10, 64).is_empty());
}

#[test]
fn conversations_do_not_run_into_each_other() {
    let (device, first) = filled(3, b"x");
    let (mut device, second) = device.with_contact("Bob");
    device.commit(sending(second, &message(7, Direction::Outgoing, b"y"))).unwrap();
    assert_eq!(history(&device, first, 0, 9), [1, 2, 3]);
    assert_eq!(history(&device, second, 0, 9), [7]);
    assert_eq!(outbox(&device, first, 0, 9), [1, 2, 3]);
}

#[test]
fn received_messages_are_counted_between_two_places() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    for seq in 1..=6 {
        let direction = if seq % 2 == 0 { Direction::Incoming } else { Direction::Outgoing };
        device.commit(vec![Op::PutMessage(peer.into(), message(seq, direction, b"x"))]).unwrap();
    }
    let count = |after, up_to| match device.reader.load(Load::Received { conversation: peer.into(), after, up_to }) {
        Loaded::Received(count, _) => count,
        other => panic!("{other:?}"),
    };
    assert_eq!([count(0, 6), count(2, 6), count(0, 3), count(4, 4), count(6, 2)], [3, 2, 1, 0, 0]);
    assert_eq!(count(u64::MAX, u64::MAX), 0);
}

#[test]
fn the_inbox_is_paged_from_the_higher_of_both_cursors() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    for seq in 1..=6 {
        device.commit(receiving(peer, &message(seq, Direction::Incoming, b"x"), seq)).unwrap();
    }
    device.commit(vec![Op::PutCursor { consumer: "c".to_owned(), inbox_seq: 3 }]).unwrap();
    let page = |cursor, count_max| {
        let rows = device.reader.read(Read::Inbox { consumer: "c".to_owned(), cursor, count_max }).unwrap();
        rows.into_iter().map(|row| row.inbox_seq).collect::<Vec<_>>()
    };
    assert_eq!(page(0, 2), [4, 5]);
    assert_eq!(page(5, 2), [6]);
    assert!(page(6, 2).is_empty());
}

#[test]
fn a_lock_takes_the_keys_from_all_readers_and_none_from_the_writer() {
    let (mut device, peer) = filled(1, b"x");
    let other = device.reader.clone();
    device.reader.revoke();
    let read = Read::History { conversation: peer.into(), after: 0, count_max: 1 };
    assert_eq!(other.read(read).unwrap_err(), ReadError::Locked);
    assert!(matches!(
        other.load(Load::Outbox { conversation: peer.into(), peer, after: 0, count_max: 1 }),
        Loaded::Failed(_)
    ));
    device.commit(sending(peer, &message(2, Direction::Outgoing, b"y"))).unwrap();
    assert_eq!(history(&device.restarted(), peer, 0, 9), [1, 2]);
}

#[test]
fn readers_of_a_closed_store_are_locked_out() {
    let (device, peer) = filled(1, b"x");
    let reader = device.reader.clone();
    let (dir, _folder) = device.close();
    assert_eq!(
        reader.read(Read::History { conversation: peer.into(), after: 0, count_max: 1 }).unwrap_err(),
        ReadError::Locked
    );
    drop(dir);
}
