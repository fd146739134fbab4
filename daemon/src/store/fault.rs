//! What can go wrong between a row and its record.

use std::io;

use kith_engine::CommitError;

use super::table::Table;

/// Why a row could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// A value does not open under its table's key at its row key.
    #[error("the store is damaged: a value in table `{0}` does not open; this affects {affects}", affects = .0.affects())]
    Sealed(Table),
    /// A value opens but does not parse.
    #[error("the store is damaged: a value in table `{0}` does not parse; this affects {affects}", affects = .0.affects())]
    Shape(Table),
    /// A row is missing that another row points to.
    #[error("the store is damaged: a row of table `{0}` is missing; this affects {affects}", affects = .0.affects())]
    Missing(Table),
    /// The database's own structures are damaged.
    #[error("the store is damaged: {0}; restore it from a backup")]
    Structure(String),
    /// A copy of the store lacks rows.
    #[error("the copy of table `{0}` is not complete")]
    Incomplete(Table),
    /// The operation names a contact that there is not.
    #[error("the operation names a contact that is not in the store")]
    NoSuchPeer,
    /// The record is larger than a value can be.
    #[error("a record is too large for table `{0}`")]
    TooLarge(Table),
    /// All conversation numbers have been used.
    #[error("the store has no conversation numbers left")]
    Exhausted,
    /// No space left on the device.
    #[error("no space left on the device")]
    Full,
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(redb::Error),
}

impl Fault {
    /// Whether the store itself is damaged, as opposed to refused or failing.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Sealed(_) | Self::Shape(_) | Self::Missing(_) | Self::Structure(_))
    }

    /// Whether the file may be in an unknown state, so that the database has to be opened anew.
    pub(super) fn is_of_database(&self) -> bool {
        matches!(self, Self::Structure(_) | Self::Full | Self::Database(_))
    }
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Corrupted(text) => Self::Structure(text),
            redb::Error::Io(error) if is_full(&error) => Self::Full,
            error => Self::Database(error),
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Fault {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}

from_redb!(CommitError, DatabaseError, StorageError, TableError, TransactionError);

impl From<Fault> for CommitError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::Full,
            fault => Self::Failed(fault.to_string()),
        }
    }
}

/// The disk, the user's quota or the file's permitted size is used up.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
