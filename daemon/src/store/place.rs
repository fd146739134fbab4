//! A walk through all tables that stops and goes on.

use super::table::Table;

/// No row key is longer: a place in a conversation and a row tag.
pub(super) const ROW_KEY_BYTES_MAX: usize = 28;
/// Behind every row.
pub(super) const LAST_KEY: [u8; ROW_KEY_BYTES_MAX + 1] = [u8::MAX; ROW_KEY_BYTES_MAX + 1];

/// Where the walk goes on.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    table: usize,
    first: Vec<u8>,
}

impl Place {
    /// The table; `None` at the end.
    pub(super) fn table(&self) -> Option<Table> {
        Table::ALL.get(self.table).copied()
    }

    /// The first row key that is still to come, or a key before it.
    pub(super) fn first(&self) -> &[u8] {
        &self.first
    }

    /// This row is done.
    pub(super) fn pass(&mut self, row_key: &[u8]) {
        // The next key there can be: the same and a zero byte.
        self.first.clear();
        self.first.extend_from_slice(row_key);
        self.first.push(0);
    }

    /// This table is done.
    pub(super) fn pass_table(&mut self) {
        self.table += 1;
        self.first.clear();
    }
}
