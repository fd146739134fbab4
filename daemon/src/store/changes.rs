//! What a transaction has changed: enough to find out whether it is on disk, and for a copy of the store to follow.

use super::{
    fault::Fault,
    rows::Readable,
    table::{Definition, Table},
    value::SealsRow,
};

/// The last row that a transaction wrote or removed. After a failed fsync nobody knows whether
/// the transaction is on disk; this row does. Each sealed value is unique by its random nonce, and
/// so is a header.
pub(super) struct Witness {
    table: Definition,
    row_key: Vec<u8>,
    value: Option<Vec<u8>>,
}

impl Witness {
    pub(super) fn new(table: Definition, row_key: &[u8], value: Option<&[u8]>) -> Self {
        Self { table, row_key: row_key.to_vec(), value: value.map(<[u8]>::to_vec) }
    }

    /// Whether the database holds what the transaction wrote last.
    pub(super) fn is_in(&self, tx: &redb::ReadTransaction) -> Result<bool, Fault> {
        let mut found = None;
        tx.open_table(self.table)?.row(&self.row_key, &mut |value| {
            found = Some(value.to_vec());
            Ok(())
        })?;
        Ok(found == self.value)
    }
}

/// Rows that a transaction has changed.
pub(super) enum Touched {
    /// This one was written or removed.
    Row(Table, Vec<u8>),
    /// All that begin with a conversation's number were removed: from here, to before here.
    Conversation([u8; 4], [u8; 4]),
}

/// What a transaction has changed.
#[derive(Default)]
pub(super) struct Changes {
    /// The last change; `None` if there was none.
    pub(super) witness: Option<Witness>,
    pub(super) touched: Vec<Touched>,
    /// What it says of the count of seals.
    pub(super) reserved: Option<SealsRow>,
}
