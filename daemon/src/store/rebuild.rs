//! Copying the store into a fresh file under a new data key, while it is in use.
//!
//! The copy goes through the tables in steps. What commits change meanwhile is copied again after
//! each of them, so that in the end both files hold the same rows; then the new one takes the old
//! one's name. Until then a crash leaves the old file as it was.

use std::sync::Arc;

use kith_crypto::vault::StoreKeys;
use redb::{Database, Durability, ReadTransaction, ReadableDatabase, WriteTransaction};

use super::{
    changes::Touched,
    custody::Custody,
    disk::{Disk, Door},
    fault::Fault,
    folder::Folder,
    group,
    header::Phase,
    place::{LAST_KEY, Place},
    rows::{Readable, Rows, Walk},
    table::{HEADER, HEADER_KEY, Keys, SEALS_KEY, Table},
    value::{self, Sealer, Seals, Stored},
};

/// Rows copied in one step. With [`BYTES_MAX`] it bounds how long a message waits behind a step:
/// one fsync of the new file.
const ROWS_MAX: usize = 256;
/// Bytes of values in one step.
const BYTES_MAX: usize = 256 * 1024;

/// A copy that is being made.
pub(super) struct Rebuild {
    folder: Folder,
    /// `None` once it has been closed.
    database: Option<Database>,
    /// What the old file's values open with.
    old: Keys,
    /// What wraps the new file's keys in the end is the secret that holds then.
    keys: Arc<StoreKeys>,
    sealer: Sealer,
    place: Place,
    copied: u64,
}

impl Rebuild {
    /// Makes the new file, with empty tables.
    pub(super) fn begin(folder: &Folder, custody: &Custody) -> Result<Self, Fault> {
        folder.make_new_file().map_err(redb::Error::Io)?;
        let database = Disk::new_of(folder).open()?;
        let tx = database.begin_write()?;
        for table in Table::ALL {
            tx.open_table(table.definition())?;
        }
        tx.commit()?;
        let keys = custody.renewed_keys();
        let new = custody.over(keys.clone()).table_keys();
        Ok(Self {
            folder: folder.clone(),
            database: Some(database),
            old: custody.table_keys(),
            keys,
            sealer: Sealer::new(new, Seals::of(0)),
            place: Place::default(),
            copied: 0,
        })
    }

    /// Rows that have been copied.
    pub(super) fn copied(&self) -> u64 {
        self.copied
    }

    /// Copies the next rows; whether that was all.
    pub(super) fn step(&mut self, door: &Door) -> Result<bool, Fault> {
        let from = door.begin_read()?;
        let into = self.begin_write(Durability::Immediate)?;
        let (mut rows, mut bytes) = (0, 0);
        while let Some(table) = self.place.table()
            && rows < ROWS_MAX
            && bytes < BYTES_MAX
        {
            let mut copy = into.open_table(table.definition())?;
            let first = self.place.first().to_vec();
            from.open_table(table.definition())?.walk(&first, &LAST_KEY, &mut |row_key, value| {
                if rows == ROWS_MAX || bytes >= BYTES_MAX {
                    return Ok(Walk::Stop);
                }
                self.place.pass(row_key);
                rows += 1;
                bytes += value.len();
                if is_copied(table, row_key) {
                    let sealable = value::open_sealable(&self.old, table, row_key, value)?;
                    copy.insert(row_key, self.sealer.seal_again(table, row_key, &sealable)?)?;
                }
                Ok(Walk::On)
            })?;
            if rows < ROWS_MAX && bytes < BYTES_MAX {
                self.place.pass_table();
            }
        }
        into.commit()?;
        self.copied += rows as u64;
        Ok(self.place.table().is_none())
    }

    /// Copies again what a commit has changed in the old file.
    pub(super) fn follow(&mut self, door: &Door, touched: &[Touched]) -> Result<(), Fault> {
        let from = door.begin_read()?;
        // The next step, or the end, waits for the disk.
        let into = self.begin_write(Durability::None)?;
        for touched in touched {
            match touched {
                Touched::Row(table, row_key) => self.copy_row(&from, &into, *table, row_key)?,
                Touched::Conversation(first, after) => {
                    for table in Table::OF_CONVERSATION {
                        let mut copy = into.open_table(table.definition())?;
                        copy.retain_in::<&[u8], _>(&first[..]..&after[..], |_, _| false)?;
                    }
                }
            }
        }
        Ok(into.commit()?)
    }

    fn copy_row(
        &mut self,
        from: &ReadTransaction,
        into: &WriteTransaction,
        table: Table,
        row_key: &[u8],
    ) -> Result<(), Fault> {
        if !is_copied(table, row_key) {
            return Ok(());
        }
        let mut copy = into.open_table(table.definition())?;
        let mut is_there = false;
        from.open_table(table.definition())?.row(row_key, &mut |value| {
            is_there = true;
            let sealable = value::open_sealable(&self.old, table, row_key, value)?;
            copy.insert(row_key, self.sealer.seal_again(table, row_key, &sealable)?)?;
            Ok(())
        })?;
        if !is_there {
            copy.remove(row_key)?;
        }
        Ok(())
    }

    /// Ends the copy: it has all rows of the old file, and under the secret of `custody` it is a
    /// store. Gives its keys and what goes on sealing in it.
    pub(super) fn finish(mut self, door: &Door, custody: &Custody) -> Result<(Custody, Sealer), Fault> {
        self.check_complete(door)?;
        let custody = custody.over(self.keys.clone());
        let tx = group::prepare(self.begin_write(Durability::Immediate)?)?;
        tx.open_table(HEADER)?.insert(HEADER_KEY, custody.header().encode().as_slice())?;
        let reserved = self.sealer.seals().due();
        if let Some(row) = &reserved {
            let sealed = self.sealer.seal(&SEALS_KEY, row)?;
            tx.open_table(value::SealsRow::TABLE.definition())?.insert(&SEALS_KEY[..], sealed)?;
        }
        tx.commit()?;
        if let Some(row) = &reserved {
            self.sealer.has_reserved(row);
        }
        if let Some(database) = self.database.take() {
            database.close()?;
        }
        Ok((custody, self.sealer))
    }

    /// Throws the copy away. What cannot be removed is in nobody's way but takes space; the next
    /// unlocking tries again.
    pub(super) fn abandon(mut self) {
        self.database = None;
        let _ = self.folder.files().remove(super::folder::NEW_FILE);
    }

    /// A row that was changed behind the copy's back would be lost: then there is no copy.
    fn check_complete(&self, door: &Door) -> Result<(), Fault> {
        let old = door.begin_read()?;
        let new = self.database()?.begin_read()?;
        for table in Table::ALL {
            let uncopied = match table {
                Table::Own => u64::from(has_row(&old, table, &SEALS_KEY)?),
                _ => 0,
            };
            let count = |tx: &ReadTransaction| tx.with_table(table, |rows| rows.count());
            if count(&old)? != count(&new)? + uncopied {
                return Err(Fault::Incomplete(table));
            }
        }
        Ok(())
    }

    fn begin_write(&self, durability: Durability) -> Result<WriteTransaction, Fault> {
        let mut tx = self.database()?.begin_write()?;
        tx.set_durability(durability).map_err(|error| Fault::Database(error.into()))?;
        Ok(tx)
    }

    fn database(&self) -> Result<&Database, Fault> {
        self.database.as_ref().ok_or(Fault::Database(redb::Error::DatabaseClosed))
    }
}

/// Whether a copy holds the row, too: a new data key has its own count of seals.
fn is_copied(table: Table, row_key: &[u8]) -> bool {
    table != Table::Own || row_key != SEALS_KEY
}

fn has_row(tx: &ReadTransaction, table: Table, row_key: &[u8]) -> Result<bool, Fault> {
    tx.with_table(table, |rows| {
        let mut is_there = false;
        rows.row(row_key, &mut |_| {
            is_there = true;
            Ok(())
        })?;
        Ok(is_there)
    })
}

/// Whether a store has values that only a migrating one reads.
pub(super) fn is_migrating(custody: &Custody) -> bool {
    custody.header().phase() == Phase::Migrating
}
