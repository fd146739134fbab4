//! The database file, and the one door to it that the writer and the readers share.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::{Builder, Database, ReadTransaction, ReadableDatabase, WriteTransaction};

use super::{
    changes::Witness,
    custody::Custody,
    fault::Fault,
    folder::{Folder, IMPORT_FILE, NEW_FILE, STORE_FILE},
    table::{HEADER, HEADER_KEY, Keys},
};

/// Pages kept in memory. redb's default is 1 GiB, which a board does not have; a conversation's
/// newest page and the upper levels of all trees fit into this.
const CACHE_BYTES: usize = 1024 * 1024;

/// Commits that add something are refused while less than this is free. The database is a tree
/// of copies: deleting needs space too, and so does its recovery, so the last bytes are kept for
/// those. Several times what the largest batch writes.
const RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// The file that the database lies in.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    name: &'static str,
    // Held so that the folder stays locked while the database is open.
    folder: Folder,
}

impl Disk {
    /// The store of a folder.
    pub(super) fn of(folder: &Folder) -> Self {
        Self { name: STORE_FILE, folder: folder.clone() }
    }

    /// The store that is being made in a folder.
    pub(super) fn new_of(folder: &Folder) -> Self {
        Self { name: NEW_FILE, folder: folder.clone() }
    }

    /// The store that is being restored in a folder.
    pub(super) fn import_of(folder: &Folder) -> Self {
        Self { name: IMPORT_FILE, folder: folder.clone() }
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Opens the file, or makes an empty one into a database.
    pub(super) fn open(&self) -> Result<Database, Fault> {
        Ok(self.folder.files().database(&builder(), self.name)?)
    }

    /// Opens the file without changing a byte of it. `None` if it was not closed cleanly: then
    /// only [`Disk::open`] can read it.
    pub(super) fn open_read_only(&self) -> Result<Option<redb::ReadOnlyDatabase>, Fault> {
        match self.folder.files().read_only(&builder(), self.name) {
            Ok(database) => Ok(Some(database)),
            Err(redb::DatabaseError::RepairAborted) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// After a failed write: what the kernel holds of the file may have missed the disk and count
    /// as written all the same. Writes what can be written and makes the kernel forget the rest,
    /// so that what is read next is what a power cut would leave.
    fn settle(&self) -> Result<(), Fault> {
        Ok(self.folder.files().forget_unwritten(self.name).map_err(redb::Error::Io)?)
    }

    /// Whether there is room for commits that add something. Where the file system does not say,
    /// the write itself will.
    pub(super) fn has_room(&self) -> bool {
        self.folder.files().free_bytes().is_none_or(|bytes| bytes >= RESERVE_BYTES)
    }
}

/// The clear header as it lies in a database.
pub(super) fn header_row(database: &impl ReadableDatabase) -> Result<Vec<u8>, Fault> {
    let rows = database.begin_read()?.open_table(HEADER)?;
    let row = redb::ReadableTable::get(&rows, HEADER_KEY)?;
    row.map(|row| row.value().to_vec()).ok_or_else(|| Fault::Structure("the header is missing".to_owned()))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// The open database and its keys, but for the writer's own. Whoever reads holds the door for one page; whoever
/// closes it waits for that page.
#[derive(Debug)]
pub(super) struct Door {
    disk: Disk,
    inside: RwLock<Inside>,
}

#[derive(Debug)]
struct Inside {
    database: Option<Database>,
    keys: Option<Held>,
}

/// The keys that a lock takes away at once.
#[derive(Debug)]
struct Held {
    reader: Keys,
    custody: Custody,
}

/// Why a new file is not in the old one's place.
pub(super) enum SwitchError {
    /// The old one is, and is open.
    Stayed(Fault),
    /// Which one is there after a power cut is not known, or none could be opened.
    Unknown(Fault),
}

impl Held {
    fn of(custody: Custody) -> Self {
        Self { reader: custody.table_keys(), custody }
    }
}

/// A snapshot with the keys to read it; the door stays open as long as it lives.
pub(super) struct Snapshot<'a> {
    pub(super) tx: ReadTransaction,
    inside: RwLockReadGuard<'a, Inside>,
}

impl Snapshot<'_> {
    /// The readers' keys; `None` after [`Door::revoke`].
    pub(super) fn keys(&self) -> Option<&Keys> {
        self.inside.keys.as_ref().map(|held| &held.reader)
    }
}

impl Door {
    pub(super) fn new(disk: Disk, database: Database, custody: Custody) -> Self {
        Self { disk, inside: RwLock::new(Inside { database: Some(database), keys: Some(Held::of(custody)) }) }
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// `None` if the keys have been revoked or the database is closed.
    pub(super) fn snapshot(&self) -> Result<Option<Snapshot<'_>>, Fault> {
        let inside = self.read();
        match &inside.database {
            Some(database) if inside.keys.is_some() => {
                let tx = database.begin_read()?;
                Ok(Some(Snapshot { tx, inside }))
            }
            _ => Ok(None),
        }
    }

    /// Reads without the readers' keys. An error if the database is closed.
    pub(super) fn begin_read(&self) -> Result<ReadTransaction, Fault> {
        match &self.read().database {
            Some(database) => Ok(database.begin_read()?),
            None => Err(Fault::Database(redb::Error::DatabaseClosed)),
        }
    }

    /// An error if the database is closed.
    pub(super) fn begin_write(&self) -> Result<WriteTransaction, Fault> {
        match &self.read().database {
            Some(database) => Ok(database.begin_write()?),
            None => Err(Fault::Database(redb::Error::DatabaseClosed)),
        }
    }

    /// Whether the database holds what a transaction wrote last.
    pub(super) fn is_in(&self, witness: &Witness) -> Result<bool, Fault> {
        match &self.read().database {
            Some(database) => witness.is_in(&database.begin_read()?),
            None => Err(Fault::Database(redb::Error::DatabaseClosed)),
        }
    }

    /// Closes the database and opens it again, which is what redb asks for after a failed write.
    /// If that fails, the database stays closed.
    pub(super) fn reopen(&self) -> Result<(), Fault> {
        let mut inside = self.write();
        inside.database = None;
        self.disk.settle()?;
        inside.database = Some(self.disk.open()?);
        Ok(())
    }

    /// The keys above the tables'; `None` after [`Door::revoke`].
    pub(super) fn custody(&self) -> Option<Custody> {
        self.read().keys.as_ref().map(|held| held.custody.clone())
    }

    /// The header on disk is this one's now. A lock that came first keeps the keys wiped.
    pub(super) fn set_custody(&self, custody: Custody) {
        let mut inside = self.write();
        if inside.keys.is_some() {
            inside.keys = Some(Held::of(custody));
        }
    }

    /// Gives the finished new file the store's name, and goes on with it. Readers wait meanwhile: two
    /// fsyncs, and the opening of a database.
    pub(super) fn switch(&self, custody: Custody) -> Result<(), SwitchError> {
        let mut inside = self.write();
        if inside.keys.is_none() {
            return Err(SwitchError::Stayed(Fault::Database(redb::Error::DatabaseClosed)));
        }
        inside.database = None;
        let published = self.disk.folder.publish_new_file();
        let database = self.disk.open().map_err(SwitchError::Unknown)?;
        let result = match published {
            Ok(()) => Ok(()),
            // No two headers are the same.
            Err(error) => match header_row(&database) {
                Ok(header) if header != custody.header().encode() => {
                    Err(SwitchError::Stayed(redb::Error::Io(error).into()))
                }
                _ => Err(SwitchError::Unknown(redb::Error::Io(error).into())),
            },
        };
        inside.database = Some(database);
        if result.is_ok() {
            inside.keys = Some(Held::of(custody));
        }
        result
    }

    /// Wipes the keys.
    pub(super) fn revoke(&self) {
        self.write().keys = None;
    }

    /// Closes the database and wipes the keys.
    pub(super) fn close(&self) {
        let mut inside = self.write();
        inside.keys = None;
        inside.database = None;
    }

    // Nothing is half done behind a poisoned lock: both fields are set in one step.
    fn read(&self) -> RwLockReadGuard<'_, Inside> {
        self.inside.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inside> {
        self.inside.write().unwrap_or_else(PoisonError::into_inner)
    }
}
