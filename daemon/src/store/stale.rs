//! Rows that point to messages which have gone: swept up in rounds, a few rows at a time.
//!
//! No row says which others point to it, so a round looks at all of them. There is one when as many
//! messages have gone as make it worth its while, and after a contact has gone with all it had: what
//! points to nothing is at most a quarter of what there is.

use std::collections::{BTreeMap, btree_map::Entry};

use kith_engine::Mark;
use redb::{ReadableTableMetadata as _, WriteTransaction};

use super::{
    batch::Batch,
    fault::Fault,
    repeats,
    rows::{Named, Rows, Walk},
    table::{self, Keys, Table},
    trim::STEP_MESSAGES,
    value::{self, CursorRow, InboxRow, KeyRow},
};

/// Rows that one step looks at in the inbox, among the keys and among the ids.
const STEP_ROWS: usize = 4 * STEP_MESSAGES;

/// A round looks at so many rows for each message that has gone.
const ROWS_PER_MESSAGE: u64 = 4;

/// Where the sweeping is. Nothing of it is on disk: a round that was interrupted is made up for by a later one.
#[derive(Clone, Debug, Default)]
pub(super) struct Stale {
    /// Messages that have gone since the last round began.
    gone: u64,
    /// The rows were compared with the messages once, after the start.
    compared: bool,
    round: Option<Round>,
}

/// Behind which rows it goes on; `None` where it has come to the end.
#[derive(Clone, Debug)]
struct Round {
    inbox_after: Option<Vec<u8>>,
    keys_after: Option<Vec<u8>>,
    ids_after: Option<Vec<u8>>,
}

impl Round {
    fn begin() -> Self {
        Self { inbox_after: Some(Vec::new()), keys_after: Some(Vec::new()), ids_after: Some(Vec::new()) }
    }

    fn is_over(&self) -> bool {
        self.inbox_after.is_none() && self.keys_after.is_none() && self.ids_after.is_none()
    }
}

impl Stale {
    /// All messages of a conversation have gone at once.
    pub(super) fn expect_many(&mut self) {
        self.gone = u64::MAX;
    }

    /// So many messages have gone by themselves.
    pub(super) fn expect(&mut self, gone: u64) {
        self.gone = self.gone.saturating_add(gone);
    }

    /// Whether a round is under way.
    pub(super) fn is_sweeping(&self) -> bool {
        self.round.is_some()
    }

    /// So many messages more have gone. Goes on with a round, or begins one if that is due; says how many
    /// places in the inbox went although some consumer had not acknowledged them.
    pub(super) fn step(&mut self, tx: &WriteTransaction, rows: &mut Batch<'_>, gone: u64) -> Result<u64, Fault> {
        self.gone = self.gone.saturating_add(gone);
        // Once for all that goes in one go.
        let is_last = gone < STEP_MESSAGES as u64;
        if self.round.is_none() && is_last && self.is_due(tx)? {
            self.gone = 0;
            self.round = Some(Round::begin());
        }
        let Some(round) = &mut self.round else { return Ok(0) };
        let unacknowledged = sweep_inbox(tx, rows, &mut round.inbox_after)?;
        sweep_keys(tx, rows, &mut round.keys_after)?;
        sweep_ids(tx, rows, &mut round.ids_after)?;
        if round.is_over() {
            self.round = None;
        }
        Ok(unacknowledged)
    }

    fn is_due(&mut self, tx: &WriteTransaction) -> Result<bool, Fault> {
        let count = |table: Table| Ok::<u64, Fault>(tx.open_table(table.definition())?.len()?);
        let rows = count(Table::Inbox)?.max(count(Table::Keys)?);
        // After a start: a round may have been interrupted. The newest place is kept in any case.
        if !std::mem::replace(&mut self.compared, true) && rows > count(Table::Messages)?.saturating_add(1) {
            return Ok(true);
        }
        Ok(self.gone > 0 && self.gone.saturating_mul(ROWS_PER_MESSAGE) >= rows)
    }
}

/// Removes places in the inbox whose message has gone; says how many of them some consumer had
/// not acknowledged.
fn sweep_inbox(tx: &WriteTransaction, rows: &mut Batch<'_>, after: &mut Option<Vec<u8>>) -> Result<u64, Fault> {
    let newest = tx.with_table(Table::Inbox, |inbox| inbox.last_key())?;
    let acknowledged = acknowledged(tx, rows.keys())?;
    let gone = sweep(tx, Table::Inbox, after, |row_key, sealed| {
        let row: InboxRow = value::open(rows.keys(), row_key, sealed)?;
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
fn sweep_keys(tx: &WriteTransaction, rows: &mut Batch<'_>, after: &mut Option<Vec<u8>>) -> Result<(), Fault> {
    let gone = sweep(tx, Table::Keys, after, |row_key, sealed| {
        let KeyRow(id) = value::open(rows.keys(), row_key, sealed)?;
        let number = row_key.first_chunk().map_or(0, |number| u32::from_be_bytes(*number));
        let tag = rows.keys().of(Table::Ids).row_tag(&id.0);
        Ok(!exists(tx, Table::Ids, &table::tag_key(number, tag))?)
    })?;
    gone.iter().try_for_each(|row_key| rows.remove(Table::Keys, row_key))
}

/// Removes the ids of messages that have disappeared and do not come again.
fn sweep_ids(tx: &WriteTransaction, rows: &mut Batch<'_>, after: &mut Option<Vec<u8>>) -> Result<(), Fault> {
    let mut marks: BTreeMap<u32, Vec<Mark>> = BTreeMap::new();
    let gone = sweep(tx, Table::Ids, after, |row_key, sealed| {
        let Named::Gone(gone) = Named::open(rows.keys(), row_key, sealed)? else { return Ok(false) };
        let number = row_key.first_chunk().map_or(0, |number| u32::from_be_bytes(*number));
        if let Entry::Vacant(unknown) = marks.entry(number) {
            unknown.insert(repeats::marks(tx, rows.keys(), number)?);
        }
        Ok(!repeats::may_come(&marks[&number], gone))
    })?;
    gone.iter().try_for_each(|row_key| rows.remove(Table::Ids, row_key))
}

/// The next rows of a table that point to nothing. What is damaged stays.
fn sweep(
    tx: &WriteTransaction,
    table: Table,
    after: &mut Option<Vec<u8>>,
    mut points_to_nothing: impl FnMut(&[u8], &[u8]) -> Result<bool, Fault>,
) -> Result<Vec<Vec<u8>>, Fault> {
    let Some(last) = after.take() else { return Ok(Vec::new()) };
    let first = if last.is_empty() { last } else { table::next_key(&last) };
    let (mut gone, mut looked) = (Vec::new(), 0);
    tx.with_table(table, |readable| {
        readable.walk(&first, &[u8::MAX; 32], &mut |row_key, sealed| {
            match points_to_nothing(row_key, sealed) {
                Ok(true) => gone.push(row_key.to_vec()),
                Ok(false) => {}
                Err(fault) if !fault.is_of_database() => {}
                Err(fault) => return Err(fault),
            }
            looked += 1;
            if looked == STEP_ROWS {
                *after = Some(row_key.to_vec());
                return Ok(Walk::Stop);
            }
            Ok(Walk::On)
        })
    })?;
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
