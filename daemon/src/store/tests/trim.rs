use kith_engine::{ConversationRecord, Load, Loaded, Mark};

use super::{
    super::{KEPT_MESSAGES, Retention, RetentionChoice, Trimmed, Trimmer, rows::Rows as _, table, tally, value},
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

/// Trims until there is nothing more to do.
fn trim(device: &Device, keep: &Retention, utc_ms: Option<u64>) -> Trimmed {
    let trimmer = device.writer.trimmer();
    let mut sum = Trimmed::default();
    loop {
        let trimmed = step(&trimmer, keep, utc_ms);
        assert!(trimmed.messages <= 64, "{trimmed:?}");
        sum = Trimmed {
            messages: sum.messages + trimmed.messages,
            unacknowledged: sum.unacknowledged + trimmed.unacknowledged,
            ..trimmed
        };
        if !trimmed.more {
            return sum;
        }
    }
}

/// Receives so many messages, one a second up to now, in one commit each.
fn receive(device: &mut Device, peer: ClientId, count: u64, inbox_after: u64) {
    for seq in 1..=count {
        let mut received = message(seq, Direction::Incoming, b"body");
        received.done_utc_ms = NOW_MS - (count - seq) * 1_000;
        let mut ops = receiving(peer, &received, inbox_after + seq);
        ops.push(Op::ClaimKey { conversation: peer.into(), key: format!("key {seq}"), id: received.id });
        let counters = ConversationRecord { last_seq: seq, ..ConversationRecord::default() };
        ops.push(Op::PutConversation(peer.into(), counters));
        ops.push(Op::PutMarks {
            conversation: peer.into(),
            peer,
            marks: vec![Mark { incarnation: received.incarnation, number: seq }],
        });
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
        let page = device.reader.read(Read::History { conversation: peer.into(), after, count_max: 256 }).unwrap();
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
    assert_eq!(
        device.reader.load(Load::Message { conversation: peer.into(), peer, id: id(200) }),
        Loaded::Message(None)
    );
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
    let keep = Retention {
        messages_max: Some(1),
        bytes_max: Some(1),
        total_messages_max: Some(1),
        total_bytes_max: Some(1),
        age_ms_max: Some(1),
    };
    trim(&device, &keep, Some(NOW_MS + DAY_MS));
    assert_eq!(seqs(&device, peer).len() as u64, KEPT_MESSAGES);
}

#[test]
fn what_waits_in_the_outbox_stays_and_goes_once_it_is_delivered() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    device.commit(sending(peer, &message(1, Direction::Outgoing, b"waits"))).unwrap();
    device.commit(sending(peer, &message(2, Direction::Outgoing, b"arrives"))).unwrap();
    device.commit(vec![Op::Delivered { conversation: peer.into(), peer, number: 2, seq: 2, utc_ms: NOW_MS }]).unwrap();
    trim(&device, &by_count(0), None);
    assert_eq!(seqs(&device, peer), [1]);
    device.commit(vec![Op::Delivered { conversation: peer.into(), peer, number: 1, seq: 1, utc_ms: NOW_MS }]).unwrap();
    trim(&device, &by_count(0), None);
    assert!(seqs(&device, peer).is_empty());
}

#[test]
fn age_counts_only_while_the_clock_is_set_and_only_where_it_was() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    receive(&mut device, peer, 600, 0);
    // Received before the clock was set, in the midst of others.
    let mut unknown = message(100, Direction::Incoming, b"body");
    unknown.done_utc_ms = 1_000;
    device.commit(vec![Op::PutMessage(peer.into(), unknown.clone())]).unwrap();
    let keep = Retention { age_ms_max: Some(DAY_MS), ..Retention::default() };
    assert_eq!(trim(&device, &keep, None).messages, 0);
    assert_eq!(trim(&device, &keep, Some(NOW_MS)).messages, 0);
    // The first 150 are older than a day then, and so is what lies between them.
    assert_eq!(trim(&device, &keep, Some(NOW_MS + DAY_MS - 450_000)).messages, 149);
    assert_eq!(seqs(&device, peer).first(), Some(&150));
    // Alone at the front, nobody knows how old it is.
    unknown.seq = 150;
    unknown.id = id(150);
    device.commit(vec![Op::PutMessage(peer.into(), unknown)]).unwrap();
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
    assert_eq!(trim(&device, &by_count(300), None).messages, 100);
    assert_eq!(raw_count(device, Table::Messages), 300);
}

fn raw_count(device: Device, table: Table) -> usize {
    let (_dir, folder) = device.close();
    raw_rows(&folder.store_file(), table).len()
}

/// Sends messages that arrive.
fn send(device: &mut Device, peer: ClientId, seqs: std::ops::RangeInclusive<u64>, body: &[u8]) {
    for seq in seqs {
        let mut ops = sending(peer, &message(seq, Direction::Outgoing, body));
        ops.push(Op::Delivered { conversation: peer.into(), peer, number: seq, seq, utc_ms: NOW_MS });
        device.commit(ops).unwrap();
    }
}

#[test]
fn many_messages_of_ones_own_do_not_drive_out_what_a_peer_may_send_again() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    receive(&mut device, peer, 64, 0);
    send(&mut device, peer, 65..=364, b"mine");
    assert_eq!(trim(&device, &by_count(10), None).messages, 300);
    assert_eq!(seqs(&device, peer), (1..=64).collect::<Vec<_>>());
}

#[test]
fn a_conversation_is_kept_within_its_bytes() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    send(&mut device, peer, 1..=100, &[1; 1_000]);
    let keep = Retention { bytes_max: Some(50_000), ..Retention::default() };
    let gone = trim(&device, &keep, None).messages;
    // A sealed message is longer than its body, by its envelope.
    assert!((50..60).contains(&gone), "{gone}");
    assert_eq!(seqs(&device, peer), (gone + 1..=100).collect::<Vec<_>>());
    let (_dir, folder) = device.close();
    let rows = raw_rows(&folder.store_file(), Table::Messages);
    let bytes: usize = rows.iter().map(|(_, sealed)| sealed.len()).sum();
    assert!((48_000..=50_000).contains(&bytes), "{bytes}");
}

#[test]
fn of_all_bytes_the_largest_conversation_gives_first() {
    let (device, many) = Device::new().with_contact("Ada");
    let (mut device, large) = device.with_contact("Bob");
    send(&mut device, many, 1..=60, b"short");
    send(&mut device, large, 1..=20, &[1; 10_000]);
    let keep = Retention { total_bytes_max: Some(120_000), ..Retention::default() };
    trim(&device, &keep, None);
    assert_eq!((seqs(&device, many).len(), seqs(&device, large).len()), (60, 11));
}

#[test]
fn what_one_conversation_has_to_keep_is_taken_from_the_next() {
    let (device, busy) = Device::new().with_contact("Ada");
    let (mut device, quiet) = device.with_contact("Bob");
    receive(&mut device, busy, 256, 0);
    send(&mut device, quiet, 1..=100, b"mine");
    let keep = Retention { total_messages_max: Some(300), ..Retention::default() };
    assert_eq!(trim(&device, &keep, None).messages, 56);
    assert_eq!((seqs(&device, busy).len(), seqs(&device, quiet).len()), (256, 44));
}

/// What the store counts, and what it would count if it began anew.
fn counts(device: &Device) -> (Vec<value::HistoryRow>, Vec<value::HistoryRow>) {
    let read = device.reader.page(|tx, keys| {
        let kept = [1, 2].map(|number| tx.get(keys, &table::history_key(number)).map(Option::unwrap_or_default));
        let anew = [1, 2].map(|number| tally::counted(tx, number));
        Ok((kept.into_iter().collect::<Result<_, _>>()?, anew.into_iter().collect::<Result<_, _>>()?))
    });
    read.unwrap()
}

#[test]
fn what_a_history_takes_is_counted_with_every_change_of_it() {
    let (device, ada) = Device::new().with_contact("Ada");
    let (mut device, bob) = device.with_contact("Bob");
    receive(&mut device, ada, 300, 0);
    send(&mut device, bob, 1..=5, &[1; 500]);
    device.commit(sending(bob, &message(6, Direction::Outgoing, b"waits"))).unwrap();
    // A commit that is refused counts nothing.
    device.commit(receiving(ada, &message(300, Direction::Incoming, b"again"), 301)).unwrap_err();
    trim(&device, &by_count(280), None);
    let (kept, anew) = counts(&device);
    assert_eq!(kept, anew);
    assert_eq!((kept[0].messages, kept[1].messages), (280, 6));

    device.commit(vec![Op::RemoveContact(ada)]).unwrap();
    let (kept, anew) = counts(&device);
    assert_eq!((kept[0], kept[1]), (value::HistoryRow::default(), anew[1]));
}

#[test]
fn a_history_that_nobody_has_counted_is_counted_when_that_is_asked_for() {
    for damage in [false, true] {
        let (mut device, peer) = Device::new().with_contact("Ada");
        send(&mut device, peer, 1..=20, b"mine");
        let (dir, folder) = device.close();
        // As an earlier version left it, or as a fault of the disk did.
        let database = Database::open(folder.store_file()).unwrap();
        let tx = database.begin_write().unwrap();
        {
            let mut rows = tx.open_table(Table::Conversations.definition()).unwrap();
            let key = table::history_key(1);
            if damage {
                drop(rows.insert(&key[..], &[7; 40][..]).unwrap())
            } else {
                drop(rows.remove(&key[..]).unwrap())
            }
        }
        tx.commit().unwrap();
        drop(database);
        let mut device = Device::unlock(dir, folder);
        assert_eq!(trim(&device, &by_count(15), None).messages, 5);
        send(&mut device, peer, 21..=21, b"mine");
        let (kept, anew) = counts(&device);
        assert_eq!((kept[0].messages, &kept), (16, &anew));
    }
}

#[test]
fn rows_that_point_to_nothing_stay_a_fraction_of_all() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    receive(&mut device, peer, 600, 0);
    // A few at a time never begin a round by themselves.
    for max in (500..600).rev() {
        trim(&device, &by_count(max), None);
    }
    let (dir, folder) = device.close();
    let rows = raw_rows(&folder.store_file(), Table::Inbox).len();
    assert!((500..=600).contains(&rows), "{rows}");
    // What was left behind is made up for after the next start, at the latest once there is as much again.
    let device = Device::unlock(dir, folder);
    trim(&device, &by_count(400), None);
    assert_eq!(raw_count(device, Table::Inbox), 400);
}

#[test]
fn news_comes_with_messages_and_with_nothing_else() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    let trimmer = device.writer.trimmer();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let has_news = |trimmer: &Trimmer| {
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = trimmer.news() => true,
                () = std::future::ready(()) => false,
            }
        })
    };
    device.commit(vec![Op::PutConversation(peer.into(), ConversationRecord::default())]).unwrap();
    assert!(!has_news(&trimmer));
    // However many came, it is one piece of news.
    for seq in 1..=2 {
        device.commit(receiving(peer, &message(seq, Direction::Incoming, b"x"), seq)).unwrap();
    }
    // The writer tells of it after the completion; the next order comes after that.
    step(&trimmer, &Retention::default(), None);
    assert!(has_news(&trimmer));
    assert!(!has_news(&trimmer));
}

#[test]
fn a_step_says_which_message_will_be_too_old_next() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    send(&mut device, peer, 1..=3, b"mine");
    let keep = Retention { age_ms_max: Some(DAY_MS), ..Retention::default() };
    assert_eq!(trim(&device, &keep, Some(NOW_MS)).next_utc_ms, Some(NOW_MS));
    assert_eq!(trim(&device, &keep, Some(NOW_MS + DAY_MS + 1)).messages, 3);
    assert_eq!(trim(&device, &Retention::default(), Some(NOW_MS)).next_utc_ms, None);
}

#[test]
fn a_choice_survives_a_restart() {
    let device = Device::new();
    assert_eq!(device.reader.retention_choice().unwrap(), RetentionChoice::default());
    let choice = RetentionChoice { days_max: Some(90), total_bytes_max: Some(0), ..RetentionChoice::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(device.writer.trimmer().choose(choice)).unwrap();
    assert_eq!(device.restarted().reader.retention_choice().unwrap(), choice);
}
