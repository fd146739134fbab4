//! What is read when the store is opened: what does not grow with the length of the history.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use kith_crypto::identity::Identity;
use kith_engine::{
    ContactRecord, ConversationRecord, ProfileRecord, ReachRecord, RoomRecord, StoredContact, StoredRoom, StoredState,
    StoredWaiting,
};

use super::{
    fault::Fault,
    rows::{Rows, Walk},
    table::{self, IDENTITY_KEY, Keys, PROFILE_KEY, REACH_KEY, RECEIPTS_KEY, Table},
    value::{self, MarksRow, OutboxRow, ReceiptsRow},
};

/// Reads identity, settings, contacts and rooms with their counters, and the inbox's end. Walks the
/// contacts and rooms, their marks, and what waits in their outboxes, which the engine's quotas
/// bound: of contacts the keys, of rooms the messages.
pub(super) fn load(tx: &impl Rows, keys: &Keys) -> Result<(Identity, StoredState), Fault> {
    let identity = tx.get(keys, &IDENTITY_KEY)?.ok_or(Fault::Missing(Table::Own))?;
    let profile: ProfileRecord = tx.get(keys, &PROFILE_KEY)?.ok_or(Fault::Missing(Table::Own))?;
    let reach: Option<ReachRecord> = tx.get(keys, &REACH_KEY)?;
    // A write transaction has a table open only once, and what stands beside a contact is in the same.
    let mut numbered = Vec::new();
    tx.with_table(Table::Contacts, |rows| {
        rows.walk(&[], &[u8::MAX; 5], &mut |row_key, sealed| {
            if row_key.len() > table::conversation_key(0).len() {
                // It stands behind its contact, and is read with it.
                return Ok(Walk::On);
            }
            let contact: ContactRecord = value::open(keys, row_key, sealed)?;
            let number = row_key.try_into().map(u32::from_be_bytes).map_err(|_| Fault::Shape(Table::Contacts))?;
            numbered.push((number, contact));
            Ok(Walk::On)
        })
    })?;
    let contacts = numbered.into_iter().map(|(number, contact)| load_contact(tx, keys, number, contact));
    let contacts = contacts.collect::<Result<_, _>>()?;
    let mut rooms = Vec::new();
    tx.with_table(Table::Rooms, |rows| {
        rows.walk(&[], &[u8::MAX; 4], &mut |row_key, sealed| {
            let room: RoomRecord = value::open(keys, row_key, sealed)?;
            let number = row_key.try_into().map(u32::from_be_bytes).map_err(|_| Fault::Shape(Table::Rooms))?;
            rooms.push(load_room(tx, keys, number, room)?);
            Ok(Walk::On)
        })
    })?;
    let inbox_seq = match tx.with_table(Table::Inbox, |rows| rows.last_key())? {
        Some(row_key) => {
            row_key.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| Fault::Shape(Table::Inbox))?
        }
        None => 0,
    };
    let sends_receipts = tx.get::<ReceiptsRow>(keys, &RECEIPTS_KEY)?.is_none_or(|row| row.0);
    Ok((identity, StoredState { reach, profile, contacts, rooms, inbox_seq, sends_receipts }))
}

pub(super) fn load_contact(
    tx: &impl Rows,
    keys: &Keys,
    number: u32,
    contact: ContactRecord,
) -> Result<StoredContact, Fault> {
    let conversation: Option<ConversationRecord> = tx.get(keys, &table::conversation_key(number))?;
    let marks: Option<MarksRow> = tx.get(keys, &table::conversation_key(number))?;
    let missing = tx.get(keys, &table::beside_key(number))?;
    let standing = tx.get(keys, &table::beside_key(number))?;
    let expiry = tx.get(keys, &table::expiry_key(number))?;
    let reading = tx.get(keys, &table::reading_key(number, [0; 16]))?;
    let mut outbox_count = 0;
    tx.with_table(Table::Outbox, |rows| {
        rows.walk(&table::place_key(number, 0), &table::place_key(number, u64::MAX), &mut |_, _| {
            outbox_count += 1;
            Ok(Walk::On)
        })
    })?;
    Ok(StoredContact {
        contact,
        conversation: conversation.unwrap_or_default(),
        expiry: expiry.unwrap_or_default(),
        marks: marks.map_or_else(Vec::new, |row| row.0),
        outbox_count,
        missing: missing.unwrap_or_default(),
        reading: reading.unwrap_or_default(),
        standing: standing.unwrap_or_default(),
    })
}

fn load_room(tx: &impl Rows, keys: &Keys, number: u32, record: RoomRecord) -> Result<StoredRoom, Fault> {
    let conversation: Option<ConversationRecord> = tx.get(keys, &table::conversation_key(number))?;
    let members = record.members();
    let (mut marks, mut readings) = (Vec::new(), Vec::new());
    for member in &members {
        let tag = keys.of(Table::Marks).row_tag(member.as_bytes());
        let row: Option<MarksRow> = tx.get(keys, &table::member_key(number, tag))?;
        marks.extend(row.map(|row| (*member, row.0)));
        readings.extend(tx.get(keys, &table::reading_key(number, tag))?.map(|reading| (*member, reading)));
    }
    let by_tag: BTreeMap<_, _> =
        members.iter().map(|member| (keys.of(Table::Outbox).row_tag(member.as_bytes()), *member)).collect();
    let mut waiting: BTreeMap<u64, StoredWaiting> = BTreeMap::new();
    let (first, last) = (table::place_key(number, 0), table::waiting_key(number, u64::MAX, [u8::MAX; 16]));
    tx.with_table(Table::Outbox, |rows| {
        rows.walk(&first, &last, &mut |row_key, sealed| {
            let member = row_key.last_chunk().and_then(|tag| by_tag.get(tag));
            let place = row_key.get(4..12).and_then(|place| place.try_into().ok()).map(u64::from_be_bytes);
            if let (Some(member), Some(own_number)) = (member, place) {
                let waits = match waiting.entry(own_number) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(first) => {
                        let OutboxRow(seq) = value::open(keys, row_key, sealed)?;
                        let id = tx.message_at(keys, number, seq)?.id;
                        first.insert(StoredWaiting { number: own_number, seq, id, peers: Vec::new() })
                    }
                };
                waits.peers.push(*member);
            }
            Ok(Walk::On)
        })
    })?;
    Ok(StoredRoom {
        record,
        conversation: conversation.unwrap_or_default(),
        expiry: tx.get(keys, &table::expiry_key(number))?.unwrap_or_default(),
        marks,
        readings,
        waiting: waiting.into_values().collect(),
    })
}
