use kith_engine::{ConversationRecord, Load, Loaded, Mark, ProfileRecord, ReachRecord, StandingRecord};

use super::*;
use crate::handle::Row;

fn inbox(device: &Device, consumer: &str) -> Vec<Row> {
    device.reader.read(Read::Inbox { consumer: consumer.to_owned(), cursor: 0, count_max: 100 }).unwrap()
}

fn history(device: &Device, peer: ClientId) -> Vec<MessageRecord> {
    let rows = device.reader.read(Read::History { conversation: peer.into(), after: 0, count_max: 100 }).unwrap();
    rows.into_iter().map(|row| row.message).collect()
}

fn outbox(device: &Device, peer: ClientId) -> Vec<MessageRecord> {
    match device.reader.load(Load::Outbox { conversation: peer.into(), peer, after: 0, count_max: 64 }) {
        Loaded::Outbox(messages) => messages,
        other => panic!("{other:?}"),
    }
}

#[test]
fn settings_survive_a_restart() {
    let mut device = Device::new();
    let profile = ProfileRecord { display_name: "Gate".to_owned(), incarnation: Incarnation([9; 16]) };
    assert_eq!(device.state.reach, None);
    let reach = ReachRecord { relay_only: true };
    device.commit(vec![Op::PutProfile(profile.clone()), Op::PutReach(reach)]).unwrap();
    let state = &device.restarted().state;
    assert_eq!((&state.profile, state.reach), (&profile, Some(reach)));
}

#[test]
fn contacts_counters_and_marks_survive_a_restart() {
    let mut device = Device::new();
    let contacts = [contact("Ada"), contact("Bob"), contact("Cleo")];
    let conversation = |n| ConversationRecord { last_seq: n, read_seq: n / 2, unread: 3, sent_number: n };
    let marks = vec![
        Mark { incarnation: Incarnation([2; 16]), number: 40 },
        Mark { incarnation: Incarnation([1; 16]), number: u64::MAX },
    ];
    for (n, contact) in contacts.iter().enumerate() {
        let peer = contact.client_id();
        let ops = vec![
            Op::PutContact(contact.clone()),
            Op::PutConversation(peer.into(), conversation(n as u64)),
            Op::PutMarks { conversation: peer.into(), peer, marks: marks.clone() },
        ];
        device.commit(ops).unwrap();
    }
    let mut renamed = contacts[1].clone();
    renamed.name = "Robert".to_owned();
    device.commit(vec![Op::PutContact(renamed.clone())]).unwrap();

    let device = device.restarted();
    assert_eq!(device.state.contacts.len(), 3);
    let stored = device.stored(renamed.client_id());
    assert_eq!((&stored.contact, &stored.marks), (&renamed, &marks));
    assert_eq!(stored.conversation, conversation(1));
    assert_eq!(stored.outbox_count, 0);
    assert_eq!(device.stored(contacts[2].client_id()).conversation, conversation(2));
}

#[test]
fn what_a_person_has_decided_about_a_contact_lasts_as_long_as_the_contact() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    let other = contact("Bob");
    device.commit(vec![Op::PutContact(other.clone())]).unwrap();
    let standing = StandingRecord { verified: true, blocked: true };
    device.commit(vec![Op::PutStanding(peer, standing)]).unwrap();
    let mut device = device.restarted();
    assert_eq!(device.stored(peer).standing, standing);
    assert_eq!(device.stored(other.client_id()).standing, StandingRecord::default());
    let ada = device.stored(peer).contact.clone();
    device.commit(vec![Op::RemoveContact(peer), Op::PutContact(ada)]).unwrap();
    assert_eq!(device.restarted().stored(peer).standing, StandingRecord::default());
}

#[test]
fn a_message_goes_from_the_outbox_to_delivered() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    let mut sent = message(1, Direction::Outgoing, b"hello");
    sent.reply_to = Some(id(77));
    sent.ttl_s = Some(60);
    device.commit(sending(peer, &sent)).unwrap();

    let mut device = device.restarted();
    assert_eq!(device.stored(peer).outbox_count, 1);
    assert_eq!(outbox(&device, peer), [sent.clone()]);
    assert_eq!(
        device.reader.load(Load::Message { conversation: peer.into(), peer, id: sent.id }),
        Loaded::Message(Some(sent.clone()))
    );
    assert_eq!(
        device.reader.load(Load::Message { conversation: peer.into(), peer, id: id(78) }),
        Loaded::Message(None)
    );

    let delivered = Op::Delivered { conversation: peer.into(), peer, number: 1, seq: 1, utc_ms: 1_900_000_000_000 };
    device.commit(vec![delivered.clone()]).unwrap();
    // An acknowledgement that comes twice does no harm.
    device.commit(vec![delivered]).unwrap();

    let device = device.restarted();
    assert_eq!(device.stored(peer).outbox_count, 0);
    assert!(outbox(&device, peer).is_empty());
    sent.state = MessageState::Delivered;
    sent.done_utc_ms = 1_900_000_000_000;
    assert_eq!(history(&device, peer), [sent]);
}

#[test]
fn a_received_message_is_in_the_history_and_in_the_inbox() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    let received = message(1, Direction::Incoming, &[0x5a; 12_288]);
    device.commit(receiving(peer, &received, 10)).unwrap();

    let device = device.restarted();
    assert_eq!(device.state.inbox_seq, 10);
    assert_eq!(history(&device, peer), std::slice::from_ref(&received));
    assert_eq!(
        inbox(&device, "display"),
        [Row { conversation: peer.into(), inbox_seq: 10, message: received, read_by: Vec::new(), is_read: false }]
    );
}

#[test]
fn a_cursor_never_moves_back_and_belongs_to_one_consumer() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    for seq in 1..=3 {
        device.commit(receiving(peer, &message(seq, Direction::Incoming, b"x"), seq)).unwrap();
    }
    let cursor = |inbox_seq| Op::PutCursor { consumer: "display".to_owned(), inbox_seq };
    device.commit(vec![cursor(2)]).unwrap();
    device.commit(vec![cursor(1)]).unwrap();

    let device = device.restarted();
    let seqs = |rows: Vec<Row>| rows.into_iter().map(|row| row.inbox_seq).collect::<Vec<_>>();
    assert_eq!(seqs(inbox(&device, "display")), [3]);
    assert_eq!(seqs(inbox(&device, "archive")), [1, 2, 3]);
}

#[test]
fn a_removed_contact_leaves_nothing_that_is_found() {
    let (device, gone) = Device::new().with_contact("Gone");
    let (mut device, kept) = device.with_contact("Kept");
    for (peer, inbox_seq) in [(gone, 1), (kept, 2), (gone, 3)] {
        let received = message(inbox_seq, Direction::Incoming, b"x");
        device.commit(receiving(peer, &received, inbox_seq)).unwrap();
        let mut sent = message(inbox_seq + 10, Direction::Outgoing, b"y");
        sent.number = inbox_seq;
        device.commit(sending(peer, &sent)).unwrap();
        let key = format!("key {inbox_seq}");
        device.commit(vec![Op::ClaimKey { conversation: peer.into(), key, id: sent.id }]).unwrap();
    }
    device.commit(vec![Op::RemoveContact(gone)]).unwrap();
    device.commit(vec![Op::RemoveContact(gone)]).unwrap();

    let device = device.restarted();
    assert_eq!(device.state.contacts.len(), 1);
    assert_eq!(device.state.inbox_seq, 3);
    assert_eq!(device.stored(kept).outbox_count, 1);
    assert_eq!(inbox(&device, "display").len(), 1);
    assert_eq!(history(&device, kept).len(), 2);
    let error = device.reader.read(Read::History { conversation: gone.into(), after: 0, count_max: 9 }).unwrap_err();
    assert_eq!(error, super::super::ReadError::NoSuchPeer);

    let (dir, folder) = device.close();
    for table in Table::OF_CONVERSATION {
        let rows = raw_rows(&folder.store_file(), table);
        assert!(rows.iter().all(|(row_key, _)| row_key[..4] == 2_u32.to_be_bytes()), "{table}");
    }
    drop(dir);
}

#[test]
fn a_contact_that_comes_back_does_not_meet_its_old_messages() {
    let mut device = Device::new();
    let contact = contact("Ada");
    let peer = contact.client_id();
    device.commit(vec![Op::PutContact(contact.clone())]).unwrap();
    device.commit(receiving(peer, &message(1, Direction::Incoming, b"old"), 1)).unwrap();
    device.commit(vec![Op::RemoveContact(peer), Op::PutContact(contact)]).unwrap();
    let new = message(1, Direction::Incoming, b"new");
    device.commit(receiving(peer, &new, 2)).unwrap();

    let device = device.restarted();
    assert_eq!(
        inbox(&device, "display"),
        [Row { conversation: peer.into(), inbox_seq: 2, message: new, read_by: Vec::new(), is_read: false }]
    );
}

#[test]
fn operations_on_a_stranger_fail_and_write_nothing() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    let stranger = contact("Stranger").client_id();
    let ops = vec![
        Op::PutMessage(peer.into(), message(1, Direction::Outgoing, b"x")),
        Op::PutConversation(stranger.into(), ConversationRecord::default()),
    ];
    let error = device.commit(ops).unwrap_err();
    assert_eq!(error, CommitError::Failed("the operation names a contact that is not in the store".to_owned()));
    assert!(history(&device.restarted(), peer).is_empty());
}

#[test]
fn what_is_delivered_must_be_the_message_that_was_sent() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    device.commit(sending(peer, &message(1, Direction::Outgoing, b"x"))).unwrap();
    device.commit(vec![Op::Delivered { conversation: peer.into(), peer, number: 2, seq: 1, utc_ms: 1 }]).unwrap_err();
    device.commit(vec![Op::Delivered { conversation: peer.into(), peer, number: 1, seq: 2, utc_ms: 1 }]).unwrap_err();
    assert_eq!(device.restarted().stored(peer).outbox_count, 1);
}

#[test]
fn a_record_that_is_too_large_is_refused() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    let error = device.commit(sending(peer, &message(1, Direction::Outgoing, &[0; 20_000]))).unwrap_err();
    assert!(matches!(error, CommitError::Failed(text) if text.contains("too large")));
    device.commit(sending(peer, &message(1, Direction::Outgoing, &[0; 12_288]))).unwrap();
}
