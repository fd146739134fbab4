//! Retention: taking old messages away, a few at a time, with the rows that point to them.
//!
//! Oldest first. What waits in an outbox stays, and so do the newest messages that a peer has sent: it
//! sends them again if their acknowledgement was lost, and they have to be recognised then.
//! Sequence numbers and places in the inbox are never used again, so the newest row of the inbox
//! stays as well. Rows that point to a message which has gone are swept up behind it, so that
//! those are bounded together with the messages.

use std::{cmp::Reverse, sync::Arc};

use kith_engine::{CommitError, Mark, MessageRecord, MessageState, Now, Op};
use redb::WriteTransaction;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    batch::{Batch, writer_of},
    fault::Fault,
    orders::Order,
    repeats,
    retention::{Retention, RetentionChoice},
    rows::{Rows, Walk},
    stale::Stale,
    table::{self, Keys, Table},
    tally,
    value::{self, GoneRow, HistoryRow},
};

/// Messages that one step takes away: a few milliseconds between two commits.
pub(super) const STEP_MESSAGES: usize = 64;

/// What one step has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Messages that have gone.
    pub messages: u64,
    /// Places in the inbox that have gone although a consumer had not acknowledged them.
    pub unacknowledged: u64,
    /// Whether there is more to do at once.
    pub more: bool,
    /// Since when the next message counts that will be too old, milliseconds of UTC. Only where age is bounded.
    pub next_utc_ms: Option<u64>,
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
    news: Arc<Notify>,
}

impl Trimmer {
    pub(super) fn new(orders: mpsc::WeakSender<Order>, news: Arc<Notify>) -> Self {
        Self { orders, news }
    }

    /// Does one step. `utc_ms` is now, or `None` while the clock has not been set: then nothing goes
    /// for its age.
    ///
    /// # Errors
    ///
    /// [`TrimError::Closed`] ends it; after the others it can be tried again.
    pub async fn step(&self, keep: &Retention, utc_ms: Option<u64>) -> Result<Trimmed, TrimError> {
        self.order(|done| Order::Trim { keep: keep.clone(), utc_ms, done }).await
    }

    /// Writes down what was chosen.
    ///
    /// # Errors
    ///
    /// As [`Trimmer::step`]; what was chosen before stays.
    pub async fn choose(&self, choice: RetentionChoice) -> Result<(), TrimError> {
        self.order(|done| Order::Choose(choice, done)).await
    }

    /// Waits until the history has changed so that a bound may have been passed, since this was last waited for.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, CommitError>>) -> Order,
    ) -> Result<T, TrimError> {
        let (done, result) = oneshot::channel();
        let orders = self.orders.upgrade().ok_or(TrimError::Closed)?;
        orders.try_send(order(done)).map_err(|_| TrimError::Busy)?;
        drop(orders);
        Ok(result.await.map_err(|_| TrimError::Closed)??)
    }
}

/// Whether a bound may have been passed by it, or rows point to nothing after it.
pub(super) fn is_news(op: &Op) -> bool {
    matches!(op, Op::PutMessage(..) | Op::Delivered { .. } | Op::Expire { .. } | Op::RemoveContact(_))
}

/// A conversation with what is known of it before it is trimmed.
struct Conversation {
    number: u32,
    marks: Vec<Mark>,
    history: HistoryRow,
}

/// What is too much.
#[derive(Clone, Copy, Debug, Default)]
struct Excess {
    messages: u64,
    bytes: u64,
}

impl Excess {
    fn of(history: HistoryRow, messages_max: Option<u64>, bytes_max: Option<u64>) -> Self {
        let over = |amount: u64, max: Option<u64>| max.map_or(0, |max| amount.saturating_sub(max));
        Self { messages: over(history.messages, messages_max), bytes: over(history.bytes, bytes_max) }
    }

    fn is_some(self) -> bool {
        self.messages > 0 || self.bytes > 0
    }

    fn without(self, bytes: u64) -> Self {
        Self { messages: self.messages.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) }
    }
}

/// A message that is to go.
struct Due {
    seq: u64,
    /// As in the row of `ids` that points to it.
    found_by: Vec<u8>,
    bytes: u64,
}

/// Does one step in a transaction.
pub(super) fn step(
    tx: &WriteTransaction,
    rows: &mut Batch<'_>,
    keep: &Retention,
    utc_ms: Option<u64>,
    stale: &mut Stale,
) -> Result<Trimmed, Fault> {
    let done_before_ms = keep.age_ms_max.zip(utc_ms).map_or(0, |(age_ms, now_ms)| now_ms.saturating_sub(age_ms));
    let mut conversations = conversations(tx, rows.keys())?;
    let mut trimming = Trimming { tx, rows, left: STEP_MESSAGES, next_utc_ms: None };
    for conversation in &mut conversations {
        let excess = Excess::of(conversation.history, keep.messages_max, keep.bytes_max);
        trimming.trim(conversation, excess, done_before_ms)?;
    }
    trimming.trim_largest(&mut conversations, keep)?;
    let Trimming { left, next_utc_ms, .. } = trimming;
    let messages = STEP_MESSAGES - left;
    let unacknowledged = stale.step(tx, rows, messages as u64)?;
    let more = left == 0 || stale.is_sweeping();
    Ok(Trimmed { messages: messages as u64, unacknowledged, more, next_utc_ms })
}

/// The conversations; contacts and rooms are bounded.
fn conversations(tx: &WriteTransaction, keys: &Keys) -> Result<Vec<Conversation>, Fault> {
    let mut numbers: Vec<u32> = Vec::new();
    for table in [Table::Contacts, Table::Rooms] {
        tx.with_table(table, |rows| {
            rows.walk(&[], &[u8::MAX; 4], &mut |row_key, _| {
                numbers.extend(row_key.try_into().map(u32::from_be_bytes));
                Ok(Walk::On)
            })
        })?;
    }
    let conversation = |number| {
        let history = tally::history(tx, keys, number)?;
        Ok(Conversation { number, marks: repeats::marks(tx, keys, number)?, history })
    };
    numbers.into_iter().map(conversation).collect()
}

/// One step while it is made.
struct Trimming<'a, 'b> {
    tx: &'a WriteTransaction,
    rows: &'a mut Batch<'b>,
    /// Messages that this step may still take away.
    left: usize,
    next_utc_ms: Option<u64>,
}

impl Trimming<'_, '_> {
    /// Takes what is too much in all from the conversation that has most of it, and from the next where that
    /// has to keep what it has.
    fn trim_largest(&mut self, conversations: &mut [Conversation], keep: &Retention) -> Result<(), Fault> {
        let mut sum = HistoryRow::default();
        for Conversation { history, .. } in conversations.iter() {
            sum.messages = sum.messages.saturating_add(history.messages);
            sum.bytes = sum.bytes.saturating_add(history.bytes);
        }
        let excess = Excess::of(sum, keep.total_messages_max, keep.total_bytes_max);
        if excess.bytes > 0 {
            conversations.sort_by_key(|conversation| Reverse(conversation.history.bytes));
        } else {
            conversations.sort_by_key(|conversation| Reverse(conversation.history.messages));
        }
        for conversation in conversations.iter_mut().filter(|_| excess.is_some()) {
            let left = self.left;
            self.trim(conversation, excess, 0)?;
            if self.left < left {
                break;
            }
        }
        Ok(())
    }

    fn trim(&mut self, conversation: &mut Conversation, excess: Excess, done_before_ms: u64) -> Result<(), Fault> {
        let number = conversation.number;
        for Due { seq, found_by, bytes } in self.due(conversation, excess, done_before_ms)? {
            let tag = self.rows.keys().of(Table::Ids).row_tag(&found_by);
            self.rows.remove(Table::Messages, &table::place_key(number, seq))?;
            self.rows.remove(Table::Ids, &table::tag_key(number, tag))?;
            self.rows.remove(Table::Expiring, &table::place_key(number, seq))?;
            let HistoryRow { messages, bytes: all } = conversation.history;
            conversation.history =
                HistoryRow { messages: messages.saturating_sub(1), bytes: all.saturating_sub(bytes) };
            self.left -= 1;
        }
        Ok(())
    }

    /// The oldest messages that are to go, at most as many as this step may take.
    fn due(&mut self, conversation: &Conversation, excess: Excess, done_before_ms: u64) -> Result<Vec<Due>, Fault> {
        let (mut due, mut of_unknown_age) = (Vec::new(), Vec::new());
        if self.left == 0 || (!excess.is_some() && done_before_ms == 0) {
            return Ok(due);
        }
        let (number, mut excess) = (conversation.number, excess);
        let (keys, left, next_utc_ms) = (self.rows.keys(), self.left, &mut self.next_utc_ms);
        self.tx.with_table(Table::Messages, |messages| {
            messages.walk(&table::place_key(number, 0), &table::place_key(number, u64::MAX), &mut |row_key, sealed| {
                let message: MessageRecord = match value::open(keys, row_key, sealed) {
                    Ok(message) => message,
                    // `check` reports it; what is behind it goes all the same.
                    Err(fault) if !fault.is_of_database() => return Ok(Walk::On),
                    Err(fault) => return Err(fault),
                };
                if message.state == MessageState::Queued || conversation.may_be_repeated(&message) {
                    return Ok(Walk::On);
                }
                let found_by = table::id_secret(&message.id, writer_of(&message));
                let place = Due { seq: message.seq, found_by, bytes: sealed.len() as u64 };
                if excess.is_some() || (Now::UTC_MS_MIN..done_before_ms).contains(&message.done_utc_ms) {
                    // Whatever came before something that is too old is too old.
                    due.append(&mut of_unknown_age);
                    excess = excess.without(place.bytes);
                    due.push(place);
                } else if message.done_utc_ms < Now::UTC_MS_MIN {
                    of_unknown_age.push(place);
                } else {
                    let next = next_utc_ms.get_or_insert(message.done_utc_ms);
                    *next = message.done_utc_ms.min(*next);
                    return Ok(Walk::Stop);
                }
                Ok(if due.len() + of_unknown_age.len() >= left { Walk::Stop } else { Walk::On })
            })
        })?;
        due.truncate(self.left);
        Ok(due)
    }
}

impl Conversation {
    /// Whether its sender may send it again.
    fn may_be_repeated(&self, message: &MessageRecord) -> bool {
        let MessageRecord { number, incarnation, .. } = *message;
        message.direction.is_incoming() && repeats::may_come(&self.marks, GoneRow { number, incarnation })
    }
}
