//! Retention: taking old messages away, a few at a time, with the rows that point to them.
//!
//! Oldest first. What waits in an outbox stays, and so do the newest messages of each conversation:
//! a peer whose acknowledgement was lost sends them again, and they have to be recognised.
//! Sequence numbers and places in the inbox are never used again, so the newest row of the inbox
//! stays as well. Rows that point to a message which has gone are swept up by a walk that goes
//! round the inbox and the idempotency keys, so those are bounded together with the messages.

use kith_engine::{CommitError, ConversationRecord, MessageId, MessageRecord, MessageState};
use redb::{ReadableTableMetadata as _, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::{
    batch::Batch,
    fault::Fault,
    orders::Order,
    rows::{Rows, Walk},
    table::{self, Keys, Table},
    value::{self, CursorRow, KeyRow},
};

/// Messages that one step takes away: a few milliseconds between two commits.
const STEP_MESSAGES: usize = 64;

/// Rows that one step looks at in the inbox, and among the keys. Four times as many as can lose
/// their message meanwhile, so the walk gains on the trimming.
const SWEEP_ROWS: usize = 4 * STEP_MESSAGES;

/// The newest messages of a conversation that stay in any case. A peer has at most 64 messages on
/// their way; several times that, since it may have been cut off more than once.
pub const KEPT_MESSAGES: u64 = 256;

/// Earlier times come from a clock that had not been set: the age is unknown then. Milliseconds of
/// UTC at the start of 2026.
const UTC_MS_MIN: u64 = 1_767_225_600_000;

/// How much history is kept; `None` is without end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Messages of one conversation.
    pub messages_max: Option<u64>,
    /// Messages of all conversations; the longest gives first.
    pub total_messages_max: Option<u64>,
    /// Milliseconds since a message was received or delivered.
    pub age_ms_max: Option<u64>,
}

/// What one step has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Messages that have gone.
    pub messages: u64,
    /// Places in the inbox that have gone although a consumer had not acknowledged them.
    pub unacknowledged: u64,
    /// Whether there is more to do at once.
    pub more: bool,
}

/// Why nothing was trimmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrimError {
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
    /// Too many commits wait for the disk.
    #[error("too many commits wait for the disk")]
    Busy,
    /// The store could not be written.
    #[error(transparent)]
    Failed(#[from] CommitError),
}

/// Trims the history of an open store, without keeping it from closing.
#[derive(Clone, Debug)]
pub struct Trimmer {
    orders: mpsc::WeakSender<Order>,
}

impl Trimmer {
    pub(super) fn new(orders: mpsc::WeakSender<Order>) -> Self {
        Self { orders }
    }

    /// Does one step. `utc_ms` is now, or `None` while the clock has not been set: then nothing goes
    /// for its age.
    ///
    /// # Errors
    ///
    /// [`TrimError::Closed`] ends it; after the others it can be tried again.
    pub async fn step(&self, keep: &Retention, utc_ms: Option<u64>) -> Result<Trimmed, TrimError> {
        let (done, result) = oneshot::channel();
        let orders = self.orders.upgrade().ok_or(TrimError::Closed)?;
        orders.try_send(Order::Trim { keep: keep.clone(), utc_ms, done }).map_err(|_| TrimError::Busy)?;
        drop(orders);
        Ok(result.await.map_err(|_| TrimError::Closed)??)
    }
}

/// Where the walk through the rows that point to messages is.
#[derive(Clone, Debug, Default)]
pub(super) struct Sweep {
    inbox_after: Vec<u8>,
    keys_after: Vec<u8>,
}

/// A conversation, and how far it may be trimmed.
struct Conversation {
    number: u32,
    /// Nothing above it goes.
    last: u64,
    /// Everything up to here goes.
    up_to: u64,
    /// What was done before it goes; 0 for nothing.
    done_before_ms: u64,
}

/// Does one step in a transaction.
pub(super) fn step(
    tx: &WriteTransaction,
    rows: &mut Batch<'_>,
    keep: &Retention,
    utc_ms: Option<u64>,
    sweep: &mut Sweep,
) -> Result<Trimmed, Fault> {
    let done_before_ms = keep.age_ms_max.zip(utc_ms).map_or(0, |(age_ms, now_ms)| now_ms.saturating_sub(age_ms));
    let mut conversations = Vec::new();
    for number in numbers(tx)? {
        let record: Option<ConversationRecord> = tx.get(rows.keys(), &table::conversation_key(number))?;
        let last = record.unwrap_or_default().last_seq;
        let up_to = keep.messages_max.map_or(0, |max| last.saturating_sub(max));
        conversations.push(Conversation { number, last: last.saturating_sub(KEPT_MESSAGES), up_to, done_before_ms });
    }
    let mut messages = 0;
    for conversation in &conversations {
        messages += trim(tx, rows, conversation, STEP_MESSAGES - messages)?;
    }
    messages += trim_longest(tx, rows, keep, conversations, STEP_MESSAGES - messages)?;
    let unacknowledged = sweep_inbox(tx, rows, &mut sweep.inbox_after)?;
    sweep_keys(tx, rows, &mut sweep.keys_after)?;
    Ok(Trimmed { messages: messages as u64, unacknowledged, more: messages == STEP_MESSAGES })
}

/// Takes from the longest conversation what is too much in all.
fn trim_longest(
    tx: &WriteTransaction,
    rows: &mut Batch<'_>,
    keep: &Retention,
    conversations: Vec<Conversation>,
    count_max: usize,
) -> Result<usize, Fault> {
    let Some(max) = keep.total_messages_max else { return Ok(0) };
    let excess = tx.open_table(Table::Messages.definition())?.len()?.saturating_sub(max);
    let Some(excess) = usize::try_from(excess).ok().filter(|excess| *excess > 0) else { return Ok(0) };
    let mut longest: Option<(u64, Conversation)> = None;
    for conversation in conversations {
        let length = conversation.last.saturating_sub(first_seq(tx, conversation.number)?);
        if longest.as_ref().is_none_or(|(other, _)| length > *other) {
            longest = Some((length, conversation));
        }
    }
    match longest {
        Some((_, conversation)) => {
            let all = Conversation { up_to: conversation.last, ..conversation };
            trim(tx, rows, &all, count_max.min(excess))
        }
        None => Ok(0),
    }
}

/// The conversations' numbers; contacts are bounded.
fn numbers(tx: &WriteTransaction) -> Result<Vec<u32>, Fault> {
    let mut numbers = Vec::new();
    tx.with_table(Table::Contacts, |contacts| {
        contacts.walk(&[], &[u8::MAX; 4], &mut |row_key, _| {
            numbers.extend(row_key.try_into().map(u32::from_be_bytes));
            Ok(Walk::On)
        })
    })?;
    Ok(numbers)
}

/// The oldest message's place; 0 where there is none.
fn first_seq(tx: &WriteTransaction, number: u32) -> Result<u64, Fault> {
    let mut first = 0;
    tx.with_table(Table::Messages, |messages| {
        messages.walk(&table::place_key(number, 0), &table::place_key(number, u64::MAX), &mut |row_key, _| {
            first = place_of(row_key);
            Ok(Walk::Stop)
        })
    })?;
    Ok(first)
}

fn trim(
    tx: &WriteTransaction,
    rows: &mut Batch<'_>,
    conversation: &Conversation,
    count_max: usize,
) -> Result<usize, Fault> {
    let number = conversation.number;
    let due = due(tx, rows.keys(), conversation, count_max)?;
    for (seq, id) in &due {
        let tag = rows.keys().of(Table::Ids).row_tag(&id.0);
        rows.remove(Table::Messages, &table::place_key(number, *seq))?;
        rows.remove(Table::Ids, &table::tag_key(number, tag))?;
    }
    Ok(due.len())
}

/// The oldest messages that are to go, at most so many.
fn due(
    tx: &WriteTransaction,
    keys: &Keys,
    conversation: &Conversation,
    count_max: usize,
) -> Result<Vec<(u64, MessageId)>, Fault> {
    let Conversation { number, last, up_to, done_before_ms } = *conversation;
    let (mut due, mut of_unknown_age) = (Vec::new(), Vec::new());
    if count_max == 0 || (up_to == 0 && done_before_ms == 0) {
        return Ok(due);
    }
    tx.with_table(Table::Messages, |messages| {
        messages.walk(&table::place_key(number, 0), &table::place_key(number, last), &mut |row_key, sealed| {
            let message: MessageRecord = match value::open(keys, row_key, sealed) {
                Ok(message) => message,
                // `check` reports it; what is behind it goes all the same.
                Err(fault) if !fault.is_of_database() => return Ok(Walk::On),
                Err(fault) => return Err(fault),
            };
            if message.state == MessageState::Queued {
                return Ok(Walk::On);
            }
            let place = (message.seq, message.id);
            if message.seq <= up_to || (UTC_MS_MIN..done_before_ms).contains(&message.done_utc_ms) {
                // Whatever came before something that is too old is too old.
                due.append(&mut of_unknown_age);
                due.push(place);
            } else if message.done_utc_ms < UTC_MS_MIN {
                of_unknown_age.push(place);
            } else {
                return Ok(Walk::Stop);
            }
            let looked = due.len() + of_unknown_age.len();
            Ok(if looked >= count_max { Walk::Stop } else { Walk::On })
        })
    })?;
    due.truncate(count_max);
    Ok(due)
}

/// Removes places in the inbox whose message has gone; says how many of them some consumer had
/// not acknowledged.
fn sweep_inbox(tx: &WriteTransaction, rows: &mut Batch<'_>, after: &mut Vec<u8>) -> Result<u64, Fault> {
    let newest = tx.with_table(Table::Inbox, |inbox| inbox.last_key())?;
    let acknowledged = acknowledged(tx, rows.keys())?;
    let gone = sweep(tx, Table::Inbox, after, |row_key, sealed| {
        let row: value::InboxRow = value::open(rows.keys(), row_key, sealed)?;
        Ok(!exists(tx, Table::Messages, &table::place_key(row.number, row.seq))?)
    })?;
    let mut unacknowledged = 0;
    for row_key in gone.iter().filter(|row_key| Some(*row_key) != newest.as_ref()) {
        rows.remove(Table::Inbox, row_key)?;
        let place = row_key.as_slice().try_into().map_or(0, u64::from_be_bytes);
        unacknowledged += u64::from(acknowledged.is_some_and(|acknowledged| place > acknowledged));
    }
    Ok(unacknowledged)
}

/// Up to where every consumer has acknowledged; `None` without consumers.
fn acknowledged(tx: &WriteTransaction, keys: &Keys) -> Result<Option<u64>, Fault> {
    let mut least = None;
    tx.with_table(Table::Cursors, |cursors| {
        cursors.walk(&[], &[u8::MAX; 16], &mut |row_key, sealed| {
            if let Ok(CursorRow(place)) = value::open(keys, row_key, sealed) {
                least = Some(least.map_or(place, |least: u64| least.min(place)));
            }
            Ok(Walk::On)
        })
    })?;
    Ok(least)
}

/// Removes idempotency keys whose message has gone.
fn sweep_keys(tx: &WriteTransaction, rows: &mut Batch<'_>, after: &mut Vec<u8>) -> Result<(), Fault> {
    let gone = sweep(tx, Table::Keys, after, |row_key, sealed| {
        let KeyRow(id) = value::open(rows.keys(), row_key, sealed)?;
        let number = row_key.first_chunk().map_or(0, |number| u32::from_be_bytes(*number));
        let tag = rows.keys().of(Table::Ids).row_tag(&id.0);
        Ok(!exists(tx, Table::Ids, &table::tag_key(number, tag))?)
    })?;
    gone.iter().try_for_each(|row_key| rows.remove(Table::Keys, row_key))
}

/// The next rows of a table that point to nothing. Begins anew at the end. What is damaged stays.
fn sweep(
    tx: &WriteTransaction,
    table: Table,
    after: &mut Vec<u8>,
    mut points_to_nothing: impl FnMut(&[u8], &[u8]) -> Result<bool, Fault>,
) -> Result<Vec<Vec<u8>>, Fault> {
    let first = if after.is_empty() { Vec::new() } else { table::next_key(after) };
    let (mut gone, mut looked, mut last) = (Vec::new(), 0, Vec::new());
    tx.with_table(table, |readable| {
        readable.walk(&first, &[u8::MAX; 32], &mut |row_key, sealed| {
            match points_to_nothing(row_key, sealed) {
                Ok(true) => gone.push(row_key.to_vec()),
                Ok(false) => {}
                Err(fault) if !fault.is_of_database() => {}
                Err(fault) => return Err(fault),
            }
            looked += 1;
            if looked == SWEEP_ROWS {
                last = row_key.to_vec();
                return Ok(Walk::Stop);
            }
            Ok(Walk::On)
        })
    })?;
    *after = last;
    Ok(gone)
}

fn exists(tx: &WriteTransaction, table: Table, row_key: &[u8]) -> Result<bool, Fault> {
    let mut found = false;
    tx.with_table(table, |rows| {
        rows.row(row_key, &mut |_| {
            found = true;
            Ok(())
        })
    })?;
    Ok(found)
}

fn place_of(row_key: &[u8]) -> u64 {
    row_key.last_chunk().map_or(0, |place| u64::from_be_bytes(*place))
}
