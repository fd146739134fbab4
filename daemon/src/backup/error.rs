//! Why a backup was not made or not taken.

use std::io;

use kith_crypto::backup::ChunkError;
use kith_crypto::identity::ClientId;
use kith_engine::RequestError;

use crate::handle::CallError;
use crate::store::{CreateError, DraftError, ReadError};
use crate::task::{Cancelled, TaskEnd};

/// Why a backup was not made or not taken. Nothing of the device has been changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// It is no backup at all.
    #[error("it is not a backup of Kith")]
    NotOne,
    /// A newer program wrote it.
    #[error("a newer version of Kith wrote it")]
    Newer,
    /// It is damaged or cut off; the words say what was found.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// It is the backup of another device.
    #[error("it is the backup of {0}")]
    OtherDevice(ClientId),
    /// The secret does not open it. (Neither would the right one if its beginning is damaged.)
    #[error("the secret does not open it")]
    WrongSecret,
    /// It was made under another secret than the store's present one, which is needed.
    #[error("it was made under an earlier secret")]
    OtherSecret,
    /// On a device that is not set up a secret has to be given.
    #[error("a secret is needed")]
    NeedsSecret,
    /// The device is set up, and replacing what it holds was not asked for.
    #[error("the device is set up")]
    NeedsReplace,
    /// What was passed is not a file that can be used; the words say why.
    #[error("{0}")]
    Unusable(&'static str),
    /// Reading or writing the file failed.
    #[error("{0}")]
    Io(String),
    /// No space left for it.
    #[error("no space left")]
    Full,
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store could not be made.
    #[error("{0}")]
    Create(String),
    /// Somebody cancelled it.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::Full,
            _ => Self::Io(error.to_string()),
        }
    }
}

impl From<DraftError> for BackupError {
    fn from(error: DraftError) -> Self {
        match error {
            DraftError::Unfit(what) => Self::Damaged(what),
            DraftError::Locked => Self::Read(ReadError::Locked),
            DraftError::Create(error) => error.into(),
        }
    }
}

impl From<CreateError> for BackupError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Full => Self::Full,
            CreateError::Io(error) => error.into(),
            CreateError::Exists | CreateError::Failed(_) => Self::Create(error.to_string()),
        }
    }
}

impl From<ChunkError> for BackupError {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Length => Self::Damaged("a chunk has the wrong length"),
            ChunkError::Ended => Self::Damaged("it goes on after its end"),
            ChunkError::Sealed => Self::Damaged("a chunk does not open"),
        }
    }
}

impl From<BackupError> for TaskEnd {
    fn from(error: BackupError) -> Self {
        Self::Failed(match error {
            BackupError::Cancelled(Cancelled) => return Self::Cancelled,
            BackupError::Full => RequestError::StorageFull.into(),
            BackupError::Read(error) => error.into(),
            BackupError::Create(text) => RequestError::Storage(text).into(),
            error => CallError::Backup(error),
        })
    }
}
