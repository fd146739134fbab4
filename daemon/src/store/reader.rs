//! The read side: pages from snapshots, while the writer goes on.

use std::{collections::BTreeMap, sync::Arc};

use kith_crypto::identity::{ClientId, Identity};
use kith_engine::{
    ContactRecord, ConversationId, Direction, Expiring, Load, Loaded, MessageRecord, MessageState, ReadMark,
    ReadingRecord, RequestError, RoomRecord,
};
use redb::ReadTransaction;
use zeroize::Zeroizing;

use super::{
    batch::writer_in,
    disk::Door,
    fault::Fault,
    retention::RetentionChoice,
    rows::{Named, Rows, Walk},
    table::{self, IDENTITY_KEY, Keys, RETENTION_KEY, Table},
    value::{self, CursorRow, ExpiringRow, InboxRow, OutboxRow},
};
use crate::handle::{CallError, Read, Row};

/// Rows in one page. A page of history fills several screens; more would hold the door open.
pub const PAGE_ROWS_MAX: usize = 256;

/// Bytes of sealed messages in one page. Holds the engine's window of 64 messages of the largest
/// size, so that a load of the window is never cut; a D-Bus reply of this size is still small.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// A sealed message of the largest size: a body of 12,288 bytes, and 212 for the rest.
const MESSAGE_BYTES_MAX: usize = 12_500;
/// The protocol's window of unacknowledged messages (docs/protocol.md §7).
const WINDOW_MESSAGES: usize = 64;
const _: () = assert!(WINDOW_MESSAGES * MESSAGE_BYTES_MAX <= PAGE_BYTES_MAX);

/// Why a page could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The keys have been wiped, or the store is closed.
    #[error("the store is locked")]
    Locked,
    /// There is no such contact.
    #[error("there is no such contact")]
    NoSuchPeer,
    /// The store is damaged; the sentence says where and what is affected.
    #[error("{0}")]
    Corrupt(String),
    /// The store could not be read.
    #[error("{0}")]
    Failed(String),
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoSuchPeer => Self::NoSuchPeer,
            fault if fault.is_damage() => Self::Corrupt(fault.to_string()),
            fault => Self::Failed(fault.to_string()),
        }
    }
}

impl From<ReadError> for CallError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Locked => Self::Locked,
            ReadError::NoSuchPeer => Self::Request(RequestError::NotFound),
            ReadError::Corrupt(text) => Self::Corrupt(text),
            ReadError::Failed(text) => Self::Request(RequestError::Storage(text)),
        }
    }
}

/// Reads history, inbox and outbox. All clones lose their keys together.
#[derive(Clone, Debug)]
pub struct Reader {
    door: Arc<Door>,
}

impl Reader {
    pub(super) fn new(door: Arc<Door>) -> Self {
        Self { door }
    }

    /// Reads what the engine asks for. Waits for the disk: not for the async loop's own thread.
    ///
    /// An outbox is read in pages of at most [`PAGE_ROWS_MAX`] messages and [`PAGE_BYTES_MAX`]
    /// bytes; up to 64 messages are never cut.
    pub fn load(&self, load: Load) -> Loaded {
        let loaded = self.page(|tx, keys| match load {
            Load::Outbox { conversation, peer, after, count_max } => {
                outbox(tx, keys, conversation, &peer, after, count_max).map(Loaded::Outbox)
            }
            Load::Received { conversation, after, up_to } => received(tx, keys, conversation, after, up_to),
            Load::Message { conversation, peer, id } => {
                let number = number(tx, keys, conversation)?;
                match tx.named(keys, number, &id, writer_in(conversation, &peer))? {
                    None => Ok(Loaded::Message(None)),
                    Some(Named::At(seq)) => tx.message_at(keys, number, seq).map(Some).map(Loaded::Message),
                    Some(Named::Gone(gone)) => Ok(Loaded::Gone { number: gone.number }),
                }
            }
            Load::Expiring { count_max } => expiring(tx, keys, count_max),
        });
        loaded.unwrap_or_else(|error| Loaded::Failed(error.to_string()))
    }

    /// Reads one page: at most [`PAGE_ROWS_MAX`] rows, at most [`PAGE_BYTES_MAX`] bytes, but one
    /// row at least; an empty page is the end. To go on, ask for what comes after the last row.
    /// Waits for the disk: not for the async loop's own thread.
    ///
    /// # Errors
    ///
    /// [`ReadError::Locked`] after [`Reader::revoke`]; a damaged row fails the page it is in.
    pub fn read(&self, read: Read) -> Result<Vec<Row>, ReadError> {
        self.page(|tx, keys| match read {
            Read::History { conversation, after, count_max } => history(tx, keys, conversation, after, count_max),
            Read::Inbox { consumer, cursor, count_max } => inbox(tx, keys, &consumer, cursor, count_max),
        })
    }

    /// How much history somebody wants to be kept. Waits for the disk: not for the async loop's own thread.
    ///
    /// # Errors
    ///
    /// As [`Reader::read`].
    pub fn retention_choice(&self) -> Result<RetentionChoice, ReadError> {
        self.page(|tx, keys| Ok(tx.get(keys, &RETENTION_KEY)?.unwrap_or_default()))
    }

    /// Wipes the keys of all readers. Waits for pages that are being read, which takes
    /// milliseconds; later reads fail.
    pub fn revoke(&self) {
        self.door.revoke();
    }

    /// What row tags are made with, for a backup.
    pub(super) fn tag_key(&self) -> Result<Zeroizing<[u8; 32]>, ReadError> {
        Ok(self.door.custody().ok_or(ReadError::Locked)?.tag_key())
    }

    /// Whose store it is.
    pub(super) fn client_id(&self) -> Result<ClientId, ReadError> {
        Ok(self.door.custody().ok_or(ReadError::Locked)?.backup_access().client_id)
    }

    pub(super) fn page<T>(
        &self,
        read: impl FnOnce(&ReadTransaction, &Keys) -> Result<T, Fault>,
    ) -> Result<T, ReadError> {
        let snapshot = self.door.snapshot()?.ok_or(ReadError::Locked)?;
        let keys = snapshot.keys().ok_or(ReadError::Locked)?;
        Ok(read(&snapshot.tx, keys)?)
    }
}

/// What fits into one page.
struct Page<T> {
    rows: Vec<T>,
    rows_max: usize,
    bytes: usize,
}

impl<T> Page<T> {
    fn new(rows_max: usize) -> Self {
        Self { rows: Vec::new(), rows_max: rows_max.min(PAGE_ROWS_MAX), bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= self.rows_max
    }

    /// Takes the row, unless it is one too many.
    fn push(&mut self, bytes: usize, row: impl FnOnce() -> Result<T, Fault>) -> Result<Walk, Fault> {
        if self.is_full() || (!self.rows.is_empty() && self.bytes + bytes > PAGE_BYTES_MAX) {
            return Ok(Walk::Stop);
        }
        self.rows.push(row()?);
        self.bytes += bytes;
        Ok(if self.is_full() { Walk::Stop } else { Walk::On })
    }
}

fn number(tx: &ReadTransaction, keys: &Keys, conversation: ConversationId) -> Result<u32, Fault> {
    tx.number_of(keys, conversation)?.ok_or(Fault::NoSuchPeer)
}

pub(super) fn history(
    tx: &ReadTransaction,
    keys: &Keys,
    conversation: ConversationId,
    after: u64,
    count_max: u32,
) -> Result<Vec<Row>, Fault> {
    let number = number(tx, keys, conversation)?;
    let readings = Readings::of(tx, keys, conversation, number)?;
    let mut page = Page::new(count_max as usize);
    if let Some(first) = after.checked_add(1)
        && !page.is_full()
    {
        tx.with_table(Table::Messages, |rows| {
            rows.walk(&table::place_key(number, first), &table::place_key(number, u64::MAX), &mut |row_key, sealed| {
                page.push(sealed.len(), || {
                    let message = value::open(keys, row_key, sealed)?;
                    let (read_by, is_read) = readings.of_message(&message);
                    Ok(Row { conversation, inbox_seq: 0, message, read_by, is_read })
                })
            })
        })?;
    }
    Ok(page.rows)
}

/// How far the others have read this device's messages in a conversation.
struct Readings(Vec<(ClientId, u64)>);

impl Readings {
    fn of(tx: &ReadTransaction, keys: &Keys, conversation: ConversationId, number: u32) -> Result<Self, Fault> {
        let there =
            |tag| Ok::<_, Fault>(tx.get(keys, &table::reading_key(number, tag))?.map_or(0, |r: ReadingRecord| r.there));
        match conversation {
            ConversationId::Direct(peer) => Ok(Self(vec![(peer, there([0; 16])?)])),
            ConversationId::Room(_) => {
                let room: Option<RoomRecord> = tx.get(keys, &table::conversation_key(number))?;
                let identity: Option<Identity> = tx.get(keys, &IDENTITY_KEY)?;
                let own = identity.map(|identity| identity.client_id());
                let members = room.map(|room| room.members()).unwrap_or_default();
                let others = members.into_iter().filter(|member| Some(*member) != own);
                others
                    .map(|peer| Ok((peer, there(keys.of(Table::Marks).row_tag(peer.as_bytes()))?)))
                    .collect::<Result<_, _>>()
                    .map(Self)
            }
        }
    }

    /// Who has read it, and whether everybody has.
    fn of_message(&self, message: &MessageRecord) -> (Vec<ClientId>, bool) {
        if message.direction != Direction::Outgoing || message.state != MessageState::Delivered {
            return (Vec::new(), false);
        }
        let read = self.0.iter().filter(|(_, there)| *there >= message.number).map(|(peer, _)| *peer);
        let read: Vec<_> = read.collect();
        let by_all = !read.is_empty() && read.len() == self.0.len();
        (read, by_all)
    }
}

fn outbox(
    tx: &ReadTransaction,
    keys: &Keys,
    conversation: ConversationId,
    peer: &ClientId,
    after: u64,
    count_max: usize,
) -> Result<Vec<MessageRecord>, Fault> {
    let number = number(tx, keys, conversation)?;
    // In a room the rows of all members lie side by side.
    let of_member = match conversation {
        ConversationId::Direct(_) => Vec::new(),
        ConversationId::Room(_) => keys.of(Table::Outbox).row_tag(peer.as_bytes()).to_vec(),
    };
    let mut page = Page::new(count_max);
    if let Some(first) = after.checked_add(1)
        && !page.is_full()
    {
        tx.with_table(Table::Outbox, |rows| {
            let last = table::waiting_key(number, u64::MAX, [u8::MAX; 16]);
            rows.walk(&table::place_key(number, first), &last, &mut |row_key, sealed| {
                if !row_key.ends_with(&of_member) {
                    return Ok(Walk::On);
                }
                let OutboxRow(seq) = value::open(keys, row_key, sealed)?;
                let message = tx.message_at(keys, number, seq)?;
                page.push(message.body.len(), || Ok(message))
            })
        })?;
    }
    Ok(page.rows)
}

/// Opens each message between the places, one at a time: who wrote it is sealed with it.
fn received(
    tx: &ReadTransaction,
    keys: &Keys,
    conversation: ConversationId,
    after: u64,
    up_to: u64,
) -> Result<Loaded, Fault> {
    let number = number(tx, keys, conversation)?;
    let (mut count, mut newest) = (0, BTreeMap::new());
    if let Some(first) = after.checked_add(1)
        && first <= up_to
    {
        tx.with_table(Table::Messages, |rows| {
            rows.walk(&table::place_key(number, first), &table::place_key(number, up_to), &mut |row_key, sealed| {
                let message: MessageRecord = value::open(keys, row_key, sealed)?;
                if message.direction.is_incoming() {
                    count += 1;
                    newest.insert(message.direction, ReadMark { id: message.id, number: message.number });
                }
                Ok(Walk::On)
            })
        })?;
    }
    Ok(Loaded::Received(count, newest))
}

/// Walks all that is to disappear: a few bytes for each. What is damaged stays, and `check` reports it.
fn expiring(tx: &ReadTransaction, keys: &Keys, count_max: usize) -> Result<Loaded, Fault> {
    let (mut soonest, mut others) = (BTreeMap::new(), false);
    tx.with_table(Table::Expiring, |rows| {
        rows.walk(&[], &[u8::MAX; 12], &mut |row_key, sealed| {
            let row: ExpiringRow = match value::open(keys, row_key, sealed) {
                Ok(row) => row,
                Err(fault) if !fault.is_of_database() => return Ok(Walk::On),
                Err(fault) => return Err(fault),
            };
            let due_utc_ms = row.since_utc_ms.saturating_add(u64::from(row.ttl_s) * 1_000);
            soonest.insert((due_utc_ms, row_key.to_vec()), row);
            if soonest.len() > count_max {
                soonest.pop_last();
                others = true;
            }
            Ok(Walk::On)
        })
    })?;
    let mut conversations = BTreeMap::new();
    let mut found = Vec::new();
    for ((_, row_key), row) in soonest {
        let (number, seq) = table::place_of(&row_key).ok_or(Fault::Shape(Table::Expiring))?;
        let conversation = match conversations.get(&number) {
            Some(known) => *known,
            None => *conversations.entry(number).or_insert(numbered(tx, keys, number)?),
        };
        if let Some(conversation) = conversation {
            let ExpiringRow { since_utc_ms, ttl_s, incoming } = row;
            found.push(Expiring { conversation, seq, incoming, ttl_s, since_utc_ms });
        }
    }
    Ok(Loaded::Expiring(found, others))
}

/// The conversation that has a number.
fn numbered(tx: &ReadTransaction, keys: &Keys, number: u32) -> Result<Option<ConversationId>, Fault> {
    let row_key = table::conversation_key(number);
    if let Some(contact) = tx.get::<ContactRecord>(keys, &row_key)? {
        return Ok(Some(contact.client_id().into()));
    }
    Ok(tx.get::<RoomRecord>(keys, &row_key)?.map(|room| room.room.into()))
}

/// Skips what belonged to contacts that have been removed: their places point to nothing.
fn inbox(tx: &ReadTransaction, keys: &Keys, consumer: &str, cursor: u64, count_max: u32) -> Result<Vec<Row>, Fault> {
    let tag = keys.of(Table::Cursors).row_tag(consumer.as_bytes());
    let stored = tx.get::<CursorRow>(keys, &tag)?.map_or(0, |row| row.0);
    let mut page = Page::new(count_max as usize);
    if let Some(first) = cursor.max(stored).checked_add(1)
        && !page.is_full()
    {
        tx.with_table(Table::Inbox, |rows| {
            rows.walk(&first.to_be_bytes(), &[u8::MAX; 8], &mut |row_key, sealed| {
                let InboxRow { peer, number, seq } = value::open(keys, row_key, sealed)?;
                let inbox_seq = row_key.try_into().map(u64::from_be_bytes).map_err(|_| Fault::Shape(Table::Inbox))?;
                match tx.get::<MessageRecord>(keys, &table::place_key(number, seq))? {
                    Some(message) => page.push(message.body.len(), || {
                        let conversation = conversation_of(tx, keys, number, peer, &message)?;
                        Ok(Row { conversation, inbox_seq, message, read_by: Vec::new(), is_read: false })
                    }),
                    None => Ok(Walk::On),
                }
            })
        })?;
    }
    Ok(page.rows)
}

/// Where a received message stands: what a member of a room has written is in that room.
fn conversation_of(
    tx: &ReadTransaction,
    keys: &Keys,
    number: u32,
    peer: ClientId,
    message: &MessageRecord,
) -> Result<ConversationId, Fault> {
    match message.direction {
        Direction::Outgoing | Direction::Incoming => Ok(peer.into()),
        Direction::Member(_) => {
            let room: Option<RoomRecord> = tx.get(keys, &table::conversation_key(number))?;
            Ok(room.ok_or(Fault::Missing(Table::Rooms))?.room.into())
        }
    }
}
