//! Takes away, on a device's disk, what makes it recognise repeated messages.

use anyhow::{Result, ensure};
use kith_system_tests::Device;
use redb::{Database, ReadableTableMetadata as _, TableDefinition};

/// The tables that make a receiver recognise repeats (docs/protocol.md §8.3). Names and row keys lie in clear.
const MARKS: [&str; 2] = ["marks", "ids"];

/// Removes the high-water marks and the message ids of a store. The daemon must not run.
pub(super) fn forget_marks(device: &Device) -> Result<()> {
    let database = Database::open(device.data_folder().join("store.redb"))?;
    let tx = database.begin_write()?;
    for name in MARKS {
        let mut table = tx.open_table(TableDefinition::<&[u8], &[u8]>::new(name))?;
        ensure!(!table.is_empty()?, "nothing to forget in `{name}`");
        table.retain(|_, _| false)?;
    }
    tx.commit()?;
    Ok(())
}
