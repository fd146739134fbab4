//! What is read when the store is opened: what does not grow with the length of the history.

use kith_crypto::identity::Identity;
use kith_engine::{ContactRecord, ConversationRecord, ProfileRecord, StoredContact, StoredState};
use redb::ReadTransaction;

use super::{
    fault::Fault,
    rows::{Rows, Walk},
    table::{self, IDENTITY_KEY, Keys, PROFILE_KEY, Table},
    value::{self, MarksRow},
};

/// Reads identity, settings, contacts with their counters, and the inbox's end. Walks the
/// contacts, their marks, and the keys of what waits in their outboxes, which the engine's quota
/// bounds.
pub(super) fn load(tx: &ReadTransaction, keys: &Keys) -> Result<(Identity, StoredState), Fault> {
    let identity = tx.get(keys, &IDENTITY_KEY)?.ok_or(Fault::Missing(Table::Own))?;
    let profile: ProfileRecord = tx.get(keys, &PROFILE_KEY)?.ok_or(Fault::Missing(Table::Own))?;
    let mut contacts = Vec::new();
    tx.with_table(Table::Contacts, |rows| {
        rows.walk(&[], &[u8::MAX; 5], &mut |row_key, sealed| {
            if row_key.len() > table::conversation_key(0).len() {
                // It stands behind its contact, and is read with it.
                return Ok(Walk::On);
            }
            let contact: ContactRecord = value::open(keys, row_key, sealed)?;
            let number = row_key.try_into().map(u32::from_be_bytes).map_err(|_| Fault::Shape(Table::Contacts))?;
            contacts.push(load_contact(tx, keys, number, contact)?);
            Ok(Walk::On)
        })
    })?;
    let inbox_seq = match tx.with_table(Table::Inbox, |rows| rows.last_key())? {
        Some(row_key) => {
            row_key.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| Fault::Shape(Table::Inbox))?
        }
        None => 0,
    };
    Ok((identity, StoredState { profile, contacts, inbox_seq }))
}

pub(super) fn load_contact(
    tx: &ReadTransaction,
    keys: &Keys,
    number: u32,
    contact: ContactRecord,
) -> Result<StoredContact, Fault> {
    let conversation: Option<ConversationRecord> = tx.get(keys, &table::conversation_key(number))?;
    let marks: Option<MarksRow> = tx.get(keys, &table::conversation_key(number))?;
    let missing = tx.get(keys, &table::beside_key(number))?;
    let standing = tx.get(keys, &table::beside_key(number))?;
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
        marks: marks.map_or_else(Vec::new, |row| row.0),
        outbox_count,
        missing: missing.unwrap_or_default(),
        standing: standing.unwrap_or_default(),
    })
}
