//! The payloads on disk, byte for byte. A published payload never changes: if one of these fails,
//! the record needs a new kind, not new bytes here.

use kith_engine::{ConversationRecord, ExpiryRecord, Mark, ProfileRecord, ReadMark, ReadingRecord};

use super::{
    super::{
        RetentionChoice,
        pin::PinRow,
        value::{
            CursorRow, ExpiringRow, GoneRow, HistoryRow, IdRow, InboxRow, KeyRow, MarksRow, NextConversation,
            OutboxRow, PeerRow, ReceiptsRow, Stored, open,
        },
    },
    *,
};

/// Checks a record's table, kind and payload, and that a payload with one byte more is refused.
#[track_caller]
fn pinned<S: Stored>(record: &S, table: &str, kind: u8, payload: &[&[u8]]) {
    let payload = payload.concat();
    let mut out = vec![0; 16 * 1024];
    let written = record.write(&mut out).unwrap();
    assert_eq!((S::TABLE.name(), S::KIND), (table, kind));
    assert_eq!(out[..written], payload);
    assert!(S::read(&payload).is_some());
    assert!(S::read(&[&payload[..], &[0]].concat()).is_none());
    assert!(record.write(&mut out[..written - 1]).is_none());
}

#[test]
fn own_rows() {
    let identity = identity();
    pinned(&identity, "own", 0x10, &[&identity.to_secret_bytes()[..]]);
    let profile = ProfileRecord { display_name: "Kiosk".to_owned(), incarnation: Incarnation([9; 16]) };
    pinned(&profile, "own", 0x11, &[b"\x05Kiosk", &[9; 16]]);
    pinned(&ReceiptsRow(false), "own", 0x16, &[&[0]]);
    pinned(&NextConversation(300), "own", 0x12, &[&[0xac, 0x02]]);
    let mut choice = RetentionChoice::default();
    pinned(&choice, "own", 0x14, &[&[0; 5]]);
    choice.messages_max = Some(300);
    choice.days_max = Some(0);
    pinned(&choice, "own", 0x14, &[&[1, 0xac, 0x02, 0, 0, 0, 1, 0]]);
    pinned(&PinRow::none(), "own", 0x15, &[&[0]]);
    pinned(&PinRow::some([3; 16], 300, [4; 32]), "own", 0x15, &[&[1], &[3; 16], &[0xac, 0x02], &[4; 32]]);
}

#[test]
fn contact_rows() {
    pinned(&PeerRow(1), "peers", 0x20, &[&[1]]);
    let mut contact = contact("Ada");
    contact.state = ContactState::Pending;
    contact.paired_utc_ms = 128;
    contact.seen_utc_ms = 2;
    let card = contact.card.clone();
    pinned(&contact, "contacts", 0x21, &[card.as_bytes(), b"\x03Ada", &[0, 1, 0x80, 0x01, 2], &[6; 16]]);
    contact.state = ContactState::Paired;
    pinned(&contact, "contacts", 0x21, &[card.as_bytes(), b"\x03Ada", &[1, 1, 0x80, 0x01, 2], &[6; 16]]);
    let conversation = ConversationRecord { last_seq: 4, read_seq: 3, unread: 2, sent_number: 1 };
    pinned(&conversation, "conversations", 0x22, &[&[4, 3, 2, 1]]);
    pinned(&HistoryRow { messages: 1, bytes: 300 }, "conversations", 0x26, &[&[1, 0xac, 0x02]]);
    let here = Some(ReadMark { id: MessageId([8; 16]), number: 300 });
    pinned(&ReadingRecord { here, there: 5 }, "marks", 0x29, &[&[1], &[8; 16], &[0xac, 0x02, 5]]);
    pinned(&ReadingRecord::default(), "marks", 0x29, &[&[0, 0]]);
    pinned(&ExpiryRecord { revision: 300, seconds: 128 }, "conversations", 0x28, &[&[0xac, 0x02, 0x80, 0x01]]);
    let mark = |byte, number| Mark { incarnation: Incarnation([byte; 16]), number };
    pinned(&MarksRow(vec![mark(5, 6), mark(7, 8)]), "marks", 0x23, &[&[2], &[5; 16], &[6], &[7; 16], &[8]]);
}

#[test]
fn message_rows() {
    let mut record = message(1, Direction::Outgoing, b"hi");
    record.number = 2;
    record.sent_utc_ms = 3;
    let id = record.id.0;
    let start: [&[u8]; 3] = [&[1], &id, &[0, 2]];
    let end: [&[u8]; 5] = [&[7; 16], &[3, 1, 0, 0], b"\x0atext/plain", &[0, 0], b"\x02hi"];
    pinned(&record, "messages", 0x30, &[&start[..], &end[..]].concat());
    record.direction = Direction::Incoming;
    record.state = MessageState::Delivered;
    record.clock_trusted = false;
    record.done_utc_ms = 4;
    record.reply_to = Some(MessageId([8; 16]));
    record.ttl_s = Some(128);
    let start: [&[u8]; 3] = [&[1], &id, &[1, 2]];
    let end: [&[u8]; 7] = [&[7; 16], &[3, 0, 4, 1], b"\x0atext/plain", &[1], &[8; 16], &[1, 0x80, 0x01], b"\x02hi"];
    pinned(&record, "messages", 0x30, &[&start[..], &end[..]].concat());
    pinned(&IdRow(128), "ids", 0x31, &[&[0x80, 0x01]]);
    pinned(&KeyRow(MessageId([6; 16])), "keys", 0x32, &[&[6; 16]]);
    pinned(&OutboxRow(1), "outbox", 0x33, &[&[1]]);
    let peer = ClientId::from_bytes([3; 20]);
    pinned(&InboxRow { peer, number: 1, seq: 2 }, "inbox", 0x34, &[&[3; 20], &[1, 2]]);
    pinned(&CursorRow(9), "cursors", 0x35, &[&[9]]);
    pinned(
        &ExpiringRow { since_utc_ms: 300, ttl_s: 128, incoming: true },
        "expiring",
        0x36,
        &[&[0xac, 0x02, 0x80, 0x01, 1]],
    );
    pinned(&GoneRow { number: 300, incarnation: Incarnation([7; 16]) }, "ids", 0x37, &[&[0xac, 0x02], &[7; 16]]);
}

#[test]
fn a_value_of_another_kind_is_refused() {
    let (dir, folder) = Device::new().close();
    let (_, _, door, mut sealer) = locked(&folder).open_door(&template().1).unwrap();
    // Sealed for the row, but as what lies in another row of the same table.
    let sealed = sealer.seal(&[2], &NextConversation(1)).unwrap().to_vec();
    let error = open::<ProfileRecord>(sealer.keys(), &[2], &sealed).map(drop).unwrap_err();
    assert!(error.to_string().contains("does not parse"));
    door.close();
    drop(dir);
}
