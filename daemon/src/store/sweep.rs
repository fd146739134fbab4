//! Sealing what lies in clear, a few rows at a time.

use redb::WriteTransaction;
use zeroize::Zeroizing;

use super::{
    batch::Batch,
    fault::Fault,
    place::{LAST_KEY, Place},
    rows::{Rows, Walk},
    table::Table,
    version0,
};

/// Rows sealed in one step. With [`BYTES_MAX`] and [`LOOKS_MAX`] it bounds how long a message waits
/// behind a step: a few fsyncs.
const ROWS_MAX: usize = 64;
/// Bytes of plaintext in one step.
const BYTES_MAX: usize = 256 * 1024;
/// Rows looked at in one step: those that are sealed already cost a read each.
const LOOKS_MAX: u64 = 4096;

/// A sweep over all tables. Nothing of it is on disk: a row that is sealed stays so, and a sweep
/// that was interrupted passes such rows by their first byte.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    place: Place,
    looked: u64,
    /// Rows in clear that do not parse: they stay as they are.
    unreadable: Option<Table>,
}

/// What one step found.
struct Found {
    table: Table,
    rows: Vec<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

impl Sweep {
    /// Goes one step on; whether it has come to the end.
    pub(super) fn step(&mut self, tx: &WriteTransaction, rows: &mut Batch<'_>) -> Result<bool, Fault> {
        let Some(found) = self.look(tx)? else { return Ok(true) };
        for (row_key, sealable) in &found.rows {
            rows.put_sealable(found.table, row_key, sealable)?;
        }
        Ok(self.place.table().is_none())
    }

    /// Rows that have been passed.
    pub(super) fn looked(&self) -> u64 {
        self.looked
    }

    /// A table with values that cannot be sealed.
    pub(super) fn unreadable(&self) -> Option<Table> {
        self.unreadable
    }

    fn look(&mut self, tx: &WriteTransaction) -> Result<Option<Found>, Fault> {
        let Some(table) = self.place.table() else { return Ok(None) };
        let (mut found, mut bytes, mut looks) = (Vec::new(), 0, 0);
        let mut place = self.place.clone();
        let mut unreadable = None;
        tx.with_table(table, |rows| {
            rows.walk(self.place.first(), &LAST_KEY, &mut |row_key, value| {
                place.pass(row_key);
                looks += 1;
                if version0::is_plain(value) {
                    match version0::to_sealable(table, row_key, value) {
                        Ok(sealable) => {
                            bytes += sealable.len();
                            found.push((row_key.to_vec(), sealable));
                        }
                        Err(_) => unreadable = Some(table),
                    }
                }
                let is_full = found.len() == ROWS_MAX || bytes >= BYTES_MAX || looks == LOOKS_MAX;
                Ok(if is_full { Walk::Stop } else { Walk::On })
            })
        })?;
        if found.len() < ROWS_MAX && bytes < BYTES_MAX && looks < LOOKS_MAX {
            place.pass_table();
        }
        self.place = place;
        self.looked += looks;
        self.unreadable = self.unreadable.or(unreadable);
        Ok(Some(Found { table, rows: found }))
    }
}
