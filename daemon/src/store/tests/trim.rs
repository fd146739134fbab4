use kith_engine::{ConversationRecord, Load, Loaded};

use super::{
    super::trim::{KEPT_MESSAGES, Retention, Trimmed, Trimmer},
    *,
};
use crate::handle::Read;

/// Later than every message of the tests.
const NOW_MS: u64 = 1_900_000_000_000;
const DAY_MS: u64 = 86_400_000;

fn step(trimmer: &Trimmer, keep: &Retention, utc_ms: Option<u64>) -> Trimmed {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(trimmer.step(keep, utc_ms)).unwrap()
}

/// Trims until there is nothing more to do, and the walk has gone round twice.
fn trim(device: &Device, keep: &Retention, utc_ms: Option<u64>) -> Trimmed {
    let trimmer = device.writer.trimmer();
    let (mut sum, mut idle) = (Trimmed::default(), 0);
    while idle < 10 {
        let trimmed = step(&trimmer, keep, utc_ms);
        assert!(trimmed.messages <= 64, "{trimmed:?}");
        sum.messages += trimmed.messages;
        sum.unacknowledged += trimmed.unacknowledged;
        idle = if trimmed.more { 0 } else { idle + 1 };
    }
    sum
}

/// Receives so many messages, one a second up to now, in one commit each.
fn receive(device: &mut Device, peer: ClientId, count: u64, inbox_after: u64) {
    for seq in 1..=count {
        let mut received = message(seq, Direction::Incoming, b"body");
        received.done_utc_ms = NOW_MS - (count - seq) * 1_000;
        let mut ops = receiving(peer, &received, inbox_after + seq);
        ops.push(Op::ClaimKey { peer, key: format!("key {seq}"), id: received.id });
        let counters = ConversationRecord { last_seq: seq, ..ConversationRecord::default() };
        ops.push(Op::PutConversation(peer, counters));
        device.submit(ops);
        if seq % 200 == 0 || seq == count {
            while device.writer.pending() > 0 {
                device.completed().1.unwrap();
            }
        }
    }
}

fn seqs(device: &Device, peer: ClientId) -> Vec<u64> {
    let (mut seqs, mut after) = (Vec::new(), 0);
    loop {
        let page = device.reader.read(Read::History { peer, after, count_max: 256 }).unwrap();
        let Some(last) = page.last() else { return seqs };
        after = last.message.seq;
        seqs.extend(page.iter().map(|row| row.message.seq));
    }
}

fn by_count(max: u64) -> Retention {
    Retention { messages_max: Some(max), ..Retention::default() }
}

#[test]
fn the_oldest_messages_go_with_all_that_points_to_them() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    receive(&mut device, peer, 600, 0);
    assert_eq!(trim(&device, &by_count(400), None).messages, 200);
    assert_eq!(seqs(&device, peer), (201..=600).collect::<Vec<_>>());
    assert_eq!(device.reader.load(Load::Message { peer, id: id(200) }), Loaded::Message(None));
    let report = device.reader.check(&mut Unwatched).unwrap();
    assert_eq!((report.damaged, report.findings), (0, Vec::new()));
    let (_dir, folder) = device.close();
    for table in [Table::Messages, Table::Ids, Table::Keys, Table::Inbox] {
        assert_eq!(raw_rows(&folder.store_file(), table).len(), 400, "{table}");
    }
}

struct Unwatched;

impl super::super::Progress for Unwatched {
    fn expect(&mut self, _: u64) {}

    fn advance(&mut self, _: u64) -> Result<(), crate::task::Cancelled> {
        Ok(())
    }
}

#[test]
fn what_a_peer_may_send_again_stays_whatever_the_bounds() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    receive(&mut device, peer, 300, 0);
    let keep = Retention { messages_max: Some(1), total_messages_max: Some(1), age_ms_max: Some(1) };
    trim(&device, &keep, Some(NOW_MS + DAY_MS));
    assert_eq!(seqs(&device, peer).len() as u64, KEPT_MESSAGES);
}

#[test]
fn what_waits_in_the_outbox_stays_and_goes_once_it_is_delivered() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    device.commit(sending(peer, &message(1, Direction::Outgoing, b"waits"))).unwrap();
    device.commit(sending(peer, &message(2, Direction::Outgoing, b"arrives"))).unwrap();
    device.commit(vec![Op::Delivered { peer, number: 2, seq: 2, utc_ms: NOW_MS }]).unwrap();
    let counters = ConversationRecord { last_seq: 1_000, ..ConversationRecord::default() };
    device.commit(vec![Op::PutConversation(peer, counters)]).unwrap();
    trim(&device, &by_count(300), None);
    assert_eq!(seqs(&device, peer), [1]);
    device.commit(vec![Op::Delivered { peer, number: 1, seq: 1, utc_ms: NOW_MS }]).unwrap();
    trim(&device, &by_count(300), None);
    assert!(seqs(&device, peer).is_empty());
}

#[test]
fn age_counts_only_while_the_clock_is_set_and_only_where_it_was() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    receive(&mut device, peer, 600, 0);
    // Received before the clock was set, in the midst of others.
    let mut unknown = message(100, Direction::Incoming, b"body");
    unknown.done_utc_ms = 1_000;
    device.commit(vec![Op::PutMessage(peer, unknown.clone())]).unwrap();
    let keep = Retention { age_ms_max: Some(DAY_MS), ..Retention::default() };
    assert_eq!(trim(&device, &keep, None).messages, 0);
    assert_eq!(trim(&device, &keep, Some(NOW_MS)).messages, 0);
    // The first 150 are older than a day then, and so is what lies between them.
    assert_eq!(trim(&device, &keep, Some(NOW_MS + DAY_MS - 450_000)).messages, 149);
    assert_eq!(seqs(&device, peer).first(), Some(&150));
    // Alone at the front, nobody knows how old it is.
    unknown.seq = 150;
    unknown.id = id(150);
    device.commit(vec![Op::PutMessage(peer, unknown)]).unwrap();
    assert_eq!(trim(&device, &keep, Some(NOW_MS + DAY_MS - 450_000)).messages, 0);
}

#[test]
fn of_all_conversations_the_longest_gives_first() {
    let (device, quiet) = Device::new().with_contact("Ada");
    let (mut device, busy) = device.with_contact("Bob");
    receive(&mut device, quiet, 300, 0);
    receive(&mut device, busy, 700, 300);
    let keep = Retention { total_messages_max: Some(800), ..Retention::default() };
    assert_eq!(trim(&device, &keep, None).messages, 200);
    assert_eq!((seqs(&device, quiet).len(), seqs(&device, busy).len()), (300, 500));
}

#[test]
fn places_and_numbers_are_not_used_again_and_consumers_are_counted() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    receive(&mut device, peer, 600, 0);
    device.commit(vec![Op::PutCursor { consumer: "display".to_owned(), inbox_seq: 150 }]).unwrap();
    // 200 have gone, of which the consumer had taken 150.
    assert_eq!(trim(&device, &by_count(400), None).unacknowledged, 50);
    let rows = device.reader.read(Read::Inbox { consumer: "display".to_owned(), cursor: 0, count_max: 1 }).unwrap();
    assert_eq!(rows[0].inbox_seq, 201);
    device.commit(vec![Op::RemoveContact(peer)]).unwrap();
    trim(&device, &by_count(400), None);
    // All messages have gone, and the newest place is remembered all the same.
    let device = device.restarted();
    assert_eq!(device.state.inbox_seq, 600);
    let (_dir, folder) = device.close();
    assert_eq!(raw_rows(&folder.store_file(), Table::Inbox).len(), 1);
}

#[test]
fn damage_at_the_front_does_not_keep_the_rest_from_going() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    receive(&mut device, peer, 400, 0);
    let (dir, folder) = device.close();
    let (row_key, mut sealed) = raw_rows(&folder.store_file(), Table::Messages)[0].clone();
    *sealed.last_mut().unwrap() ^= 1;
    put_raw(&folder.store_file(), Table::Messages, &row_key, &sealed);
    let device = Device::unlock(dir, folder);
    assert_eq!(trim(&device, &by_count(300), None).messages, 99);
}
