//! Reading rows, the same for a snapshot and for the transaction that is being written.

use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::{
    fault::Fault,
    table::{self, Keys, Table},
    value::{self, GoneRow, IdRow, PeerRow, Stored},
};
use kith_crypto::identity::ClientId;
use kith_engine::{ConversationId, MessageId, MessageRecord};

/// Where rows are read from.
pub(super) trait Rows {
    /// Calls `then` with a table.
    fn with_table<T>(&self, table: Table, then: impl FnOnce(&dyn Readable) -> Result<T, Fault>) -> Result<T, Fault>;

    /// The record in a row, if there is one.
    fn get<S: Stored>(&self, keys: &Keys, row_key: &[u8]) -> Result<Option<S>, Fault> {
        self.with_table(S::TABLE, |table| {
            let mut record = None;
            table.row(row_key, &mut |sealed| {
                record = Some(value::open(keys, row_key, sealed)?);
                Ok(())
            })?;
            Ok(record)
        })
    }

    /// The number of a conversation.
    fn number_of(&self, keys: &Keys, conversation: ConversationId) -> Result<Option<u32>, Fault> {
        let tag = match conversation {
            ConversationId::Direct(peer) => keys.of(Table::Peers).row_tag(peer.as_bytes()),
            ConversationId::Room(room) => keys.of(Table::Peers).row_tag(&room.0),
        };
        Ok(self.get::<PeerRow>(keys, &tag)?.map(|row| row.0))
    }

    /// What is known of an id in a conversation; in a room, of one that this writer has given.
    fn named(
        &self,
        keys: &Keys,
        number: u32,
        id: &MessageId,
        writer: Option<&ClientId>,
    ) -> Result<Option<Named>, Fault> {
        let tag = keys.of(Table::Ids).row_tag(&table::id_secret(id, writer));
        let row_key = table::tag_key(number, tag);
        self.with_table(Table::Ids, |ids| {
            let mut named = None;
            ids.row(&row_key, &mut |sealed| {
                named = Some(Named::open(keys, &row_key, sealed)?);
                Ok(())
            })?;
            Ok(named)
        })
    }

    /// The message at a place that another row points to.
    fn message_at(&self, keys: &Keys, number: u32, seq: u64) -> Result<MessageRecord, Fault> {
        self.get(keys, &table::place_key(number, seq))?.ok_or(Fault::Missing(Table::Messages))
    }
}

/// What an id stands for.
pub(super) enum Named {
    /// The message at this place.
    At(u64),
    /// One that has disappeared.
    Gone(GoneRow),
}

impl Named {
    /// Reads a row of [`Table::Ids`].
    pub(super) fn open(keys: &Keys, row_key: &[u8], sealed: &[u8]) -> Result<Self, Fault> {
        match value::open(keys, row_key, sealed) {
            Ok(IdRow(seq)) => Ok(Self::At(seq)),
            Err(Fault::Shape(_)) => value::open(keys, row_key, sealed).map(Self::Gone),
            Err(fault) => Err(fault),
        }
    }
}

/// Whether a walk goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    On,
    Stop,
}

/// What a walk calls with each row: its key and its sealed value.
pub(super) type Step<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<Walk, Fault>;

/// A table that is open for reading.
pub(super) trait Readable {
    /// Calls `then` with the sealed value of a row, if there is one.
    fn row(&self, row_key: &[u8], then: &mut dyn FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault>;

    /// Calls `then` with row key and sealed value of each row from `first` to `last`, inclusive,
    /// in order. One row is in memory at a time.
    fn walk(&self, first: &[u8], last: &[u8], then: Step<'_>) -> Result<(), Fault>;

    /// How many rows there are.
    fn count(&self) -> Result<u64, Fault>;

    /// The row key of the last row.
    fn last_key(&self) -> Result<Option<Vec<u8>>, Fault>;
}

impl<T: ReadableTable<&'static [u8], &'static [u8]>> Readable for T {
    fn row(&self, row_key: &[u8], then: &mut dyn FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
        match self.get(row_key)? {
            Some(sealed) => then(sealed.value()),
            None => Ok(()),
        }
    }

    fn walk(&self, first: &[u8], last: &[u8], then: Step<'_>) -> Result<(), Fault> {
        for row in self.range::<&[u8]>(first..=last)? {
            let (row_key, sealed) = row?;
            if then(row_key.value(), sealed.value())? == Walk::Stop {
                break;
            }
        }
        Ok(())
    }

    fn count(&self) -> Result<u64, Fault> {
        Ok(self.len()?)
    }

    fn last_key(&self) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.last()?.map(|(row_key, _)| row_key.value().to_vec()))
    }
}

impl Rows for ReadTransaction {
    fn with_table<T>(&self, table: Table, then: impl FnOnce(&dyn Readable) -> Result<T, Fault>) -> Result<T, Fault> {
        then(&self.open_table(table.definition())?)
    }
}

impl Rows for WriteTransaction {
    fn with_table<T>(&self, table: Table, then: impl FnOnce(&dyn Readable) -> Result<T, Fault>) -> Result<T, Fault> {
        then(&self.open_table(table.definition())?)
    }
}
