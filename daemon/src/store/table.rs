//! The tables, their row keys and their sealing keys.
//!
//! Table names and row keys lie in the file in clear. So a row key holds only small local numbers
//! and row tags, never an id, a name or a key that came from outside.

use std::fmt;

use kith_crypto::{
    identity::ClientId,
    vault::{StoreKeys, TableKey},
};
use kith_engine::MessageId;
use redb::TableDefinition;

use super::header::Phase;

/// How every table looks to redb: bytes to bytes.
pub(super) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// The one table that is not sealed; its only row has an empty key.
pub(super) const HEADER: Definition = TableDefinition::new("header");
pub(super) const HEADER_KEY: &[u8] = &[];

/// Rows of [`Table::Own`].
pub(super) const IDENTITY_KEY: [u8; 1] = [1];
pub(super) const PROFILE_KEY: [u8; 1] = [2];
pub(super) const NEXT_CONVERSATION_KEY: [u8; 1] = [3];
pub(super) const SEALS_KEY: [u8; 1] = [4];
pub(super) const RETENTION_KEY: [u8; 1] = [5];
pub(super) const PIN_KEY: [u8; 1] = [6];
pub(super) const RECEIPTS_KEY: [u8; 1] = [7];
pub(super) const REACH_KEY: [u8; 1] = [8];

/// A sealed table (docs/protocol.md §8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Own,
    Peers,
    Contacts,
    Conversations,
    Marks,
    Messages,
    Ids,
    Keys,
    Outbox,
    Inbox,
    Cursors,
    Rooms,
    Expiring,
}

impl Table {
    pub(super) const ALL: [Self; 13] = [
        Self::Own,
        Self::Peers,
        Self::Contacts,
        Self::Conversations,
        Self::Marks,
        Self::Messages,
        Self::Ids,
        Self::Keys,
        Self::Outbox,
        Self::Inbox,
        Self::Cursors,
        Self::Rooms,
        Self::Expiring,
    ];

    /// Those whose row keys begin with a conversation's number.
    pub(super) const OF_CONVERSATION: [Self; 9] = [
        Self::Contacts,
        Self::Rooms,
        Self::Conversations,
        Self::Marks,
        Self::Messages,
        Self::Ids,
        Self::Keys,
        Self::Outbox,
        Self::Expiring,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Peers => "peers",
            Self::Contacts => "contacts",
            Self::Conversations => "conversations",
            Self::Marks => "marks",
            Self::Messages => "messages",
            Self::Ids => "ids",
            Self::Keys => "keys",
            Self::Outbox => "outbox",
            Self::Inbox => "inbox",
            Self::Cursors => "cursors",
            Self::Rooms => "rooms",
            Self::Expiring => "expiring",
        }
    }

    pub(super) const fn definition(self) -> Definition {
        TableDefinition::new(self.name())
    }

    /// What suffers if a row of it is damaged.
    pub(super) const fn affects(self) -> &'static str {
        match self {
            Self::Own => "this device's identity or settings",
            Self::Peers | Self::Contacts => "one contact",
            Self::Rooms => "one room",
            Self::Conversations => "one conversation's counters",
            Self::Marks => "how one contact's repeated messages are recognised",
            Self::Messages => "one message",
            Self::Ids => "finding one message by its id",
            Self::Keys => "one idempotency key",
            Self::Outbox => "one message that waits to be sent",
            Self::Expiring => "when one message disappears",
            Self::Inbox => "one place in the inbox",
            Self::Cursors => "one consumer's place in the inbox",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The keys of each table. They stay where they are: what is moved leaves a copy behind.
pub(super) struct Keys {
    tables: Box<[TableKey; Table::ALL.len()]>,
    /// Whether values of version 0 are read.
    phase: Phase,
}

impl Keys {
    pub(super) fn derive(store: &StoreKeys, client_id: &ClientId, phase: Phase) -> Self {
        Self { tables: Box::new(Table::ALL.map(|table| store.table(client_id, table.name()))), phase }
    }

    pub(super) fn of(&self, table: Table) -> &TableKey {
        &self.tables[table as usize]
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// The row of a conversation.
pub(super) fn conversation_key(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

/// What stands beside a contact, and beside a conversation's marks.
pub(super) fn beside_key(number: u32) -> [u8; 5] {
    let mut key = [1; 5];
    key[..4].copy_from_slice(&conversation_key(number));
    key
}

/// How much a conversation's history takes, beside its counters.
pub(super) fn history_key(number: u32) -> [u8; 5] {
    let mut key = [1; 5];
    key[..4].copy_from_slice(&conversation_key(number));
    key
}

/// After how long a conversation's messages disappear, beside its counters.
pub(super) fn expiry_key(number: u32) -> [u8; 5] {
    let mut key = [2; 5];
    key[..4].copy_from_slice(&conversation_key(number));
    key
}

/// The next possible row key: nothing sorts between the two.
pub(super) fn next_key(row_key: &[u8]) -> Vec<u8> {
    [row_key, &[0]].concat()
}

/// A place in a conversation: a sequence number, or an own message's number.
pub(super) fn place_key(number: u32, place: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&number.to_be_bytes());
    key[4..].copy_from_slice(&place.to_be_bytes());
    key
}

/// The conversation's number and the place that a row key begins with.
pub(super) fn place_of(row_key: &[u8]) -> Option<(u32, u64)> {
    let (number, rest) = row_key.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), u64::from_be_bytes(*rest.first_chunk()?)))
}

/// What belongs to one member of a room, behind the room's marks.
pub(super) fn member_key(number: u32, tag: [u8; 16]) -> [u8; 21] {
    let mut key = [2; 21];
    key[..4].copy_from_slice(&number.to_be_bytes());
    key[5..].copy_from_slice(&tag);
    key
}

/// How far is read, of the conversation of two (with zeros) or of one member of a room.
pub(super) fn reading_key(number: u32, tag: [u8; 16]) -> [u8; 21] {
    let mut key = [3; 21];
    key[..4].copy_from_slice(&number.to_be_bytes());
    key[5..].copy_from_slice(&tag);
    key
}

/// An own message that waits for one member of a room.
pub(super) fn waiting_key(number: u32, place: u64, tag: [u8; 16]) -> [u8; 28] {
    let mut key = [0; 28];
    key[..12].copy_from_slice(&place_key(number, place));
    key[12..].copy_from_slice(&tag);
    key
}

/// By what a message is found: its id; in a room also by whom else it was written.
pub(super) fn id_secret(id: &MessageId, writer: Option<&ClientId>) -> Vec<u8> {
    match writer {
        None => id.0.to_vec(),
        Some(writer) => [&id.0[..], writer.as_bytes()].concat(),
    }
}

/// Something of a conversation that is found by its row tag.
pub(super) fn tag_key(number: u32, tag: [u8; 16]) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&number.to_be_bytes());
    key[4..].copy_from_slice(&tag);
    key
}
