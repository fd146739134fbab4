//! How much each conversation's history takes, counted as it changes: asking must not cost a walk.

use std::collections::BTreeMap;

use super::{
    fault::Fault,
    rows::{Rows, Walk},
    table::{self, Keys, Table},
    value::HistoryRow,
};

/// What one transaction has changed so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    conversations: BTreeMap<u32, Change>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Change {
    messages: i64,
    bytes: i64,
}

impl Tally {
    /// A row of a table had a value of one length, and has one of another; `None` is no row.
    pub(super) fn note(&mut self, table: Table, row_key: &[u8], before: Option<usize>, after: Option<usize>) {
        let Some(number) = row_key.first_chunk().filter(|_| table == Table::Messages) else { return };
        let change = self.conversations.entry(u32::from_be_bytes(*number)).or_default();
        change.messages += i64::from(after.is_some()) - i64::from(before.is_some());
        // A value has at most 16 KiB.
        change.bytes += after.unwrap_or_default() as i64 - before.unwrap_or_default() as i64;
    }

    /// Everything of a conversation has gone, its counts with it.
    pub(super) fn forget(&mut self, number: u32) {
        self.conversations.remove(&number);
    }

    /// What the rows have to say after the transaction.
    pub(super) fn rows(&self, tx: &impl Rows, keys: &Keys) -> Result<Vec<(u32, HistoryRow)>, Fault> {
        self.conversations.iter().map(|(number, change)| Ok((*number, change.applied(tx, keys, *number)?))).collect()
    }
}

impl Change {
    fn applied(self, tx: &impl Rows, keys: &Keys, number: u32) -> Result<HistoryRow, Fault> {
        match stored(tx, keys, number)? {
            Some(HistoryRow { messages, bytes }) => Ok(HistoryRow {
                messages: messages.saturating_add_signed(self.messages),
                bytes: bytes.saturating_add_signed(self.bytes),
            }),
            // The change is in the table already.
            None => counted(tx, number),
        }
    }
}

/// How much a conversation's history takes. Walks it where nobody has counted yet.
pub(super) fn history(tx: &impl Rows, keys: &Keys, number: u32) -> Result<HistoryRow, Fault> {
    stored(tx, keys, number)?.map_or_else(|| counted(tx, number), Ok)
}

/// A count that is damaged is as good as none.
fn stored(tx: &impl Rows, keys: &Keys, number: u32) -> Result<Option<HistoryRow>, Fault> {
    match tx.get(keys, &table::history_key(number)) {
        Err(fault) if !fault.is_of_database() => Ok(None),
        row => row,
    }
}

/// The same, by walking it.
pub(super) fn counted(tx: &impl Rows, number: u32) -> Result<HistoryRow, Fault> {
    let mut sum = HistoryRow::default();
    tx.with_table(Table::Messages, |messages| {
        messages.walk(&table::place_key(number, 0), &table::place_key(number, u64::MAX), &mut |_, sealed| {
            sum.messages += 1;
            sum.bytes += sealed.len() as u64;
            Ok(Walk::On)
        })
    })?;
    Ok(sum)
}
