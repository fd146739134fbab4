//! Making, finding and unlocking a store.

use std::{fmt, io, sync::Arc};

use getrandom::{SysRng, rand_core::UnwrapErr};
use kith_crypto::{
    identity::{ClientId, Identity},
    vault::{StoreKeys, TagKey, VaultError},
};
use kith_engine::{Incarnation, ProfileRecord, RequestError, StoredState};
use redb::ReadableDatabase;

use super::{
    batch::Batch,
    custody::{Custody, Wrapping},
    disk::{Disk, Door, header_row},
    draft,
    fault::Fault,
    folder::{Folder, NEW_FILE},
    group,
    header::{self, Header, HeaderError, Phase, PlainHeader},
    reader::Reader,
    rows::Rows,
    state,
    table::{SEALS_KEY, Table},
    value::{Sealer, Seals, SealsRow},
    wipe,
    writer::Writer,
};
use crate::handle::CallError;

/// What a data directory holds.
#[derive(Debug)]
pub enum Found {
    /// No store yet: [`create`] makes one.
    Empty,
    /// A store that lies in clear: [`PlainStore::set_up`] gives it a secret.
    Plain(PlainStore),
    /// A store, and no key to it yet.
    Locked(LockedStore),
}

/// Why a store cannot even be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A newer program wrote it. Nothing has been changed.
    #[error("a newer version of kithd wrote this store; install that version again, nothing has been changed")]
    Newer,
    /// It is damaged; the sentence says where.
    #[error("{0}")]
    Corrupt(String),
    /// It cannot be read.
    #[error("cannot read the store: {0}")]
    Failed(String),
}

/// Why a store stays locked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    /// The secret does not open it. (Neither would the right one if the header is damaged.)
    #[error("the secret does not open this store")]
    WrongSecret,
    /// The secret is right, but the store is damaged; the sentence says what is affected.
    #[error("{0}")]
    Corrupt(String),
    /// It cannot be read.
    #[error("cannot read the store: {0}")]
    Failed(String),
}

/// Why no store was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is one already.
    #[error("there is already a store in this data directory; unlock it, or wipe it first")]
    Exists,
    /// No space left on the device.
    #[error("no space left on the device; nothing has been written")]
    Full,
    /// The file system refused.
    #[error("cannot make the store: {0}")]
    Io(#[from] io::Error),
    /// The database or the vault failed.
    #[error("cannot make the store: {0}")]
    Failed(String),
}

/// A store of version 0: all of it lies in clear. Clones are the same store.
#[derive(Clone, Debug)]
pub struct PlainStore {
    disk: Disk,
    header: PlainHeader,
}

/// A store whose secret has not been given. Clones are the same store.
#[derive(Clone, Debug)]
pub struct LockedStore {
    disk: Disk,
    header: Header,
}

/// An open store, to be taken apart into what the loop, the engine and the readers need.
pub struct Store {
    identity: Arc<Identity>,
    state: StoredState,
    writer: Writer,
    reader: Reader,
}

/// Looks for a store in a data directory. Reads its clear header only, and changes nothing,
/// except that a file which a power cut has left is recovered first, that a wipe which one has
/// interrupted is finished, and that what an interrupted import has left is removed.
///
/// # Errors
///
/// [`OpenError::Newer`] if a newer program wrote the header.
pub fn open(folder: &Folder) -> Result<Found, OpenError> {
    wipe::finish(folder).map_err(|error| OpenError::Failed(error.to_string()))?;
    draft::discard(folder);
    match folder.has_store() {
        Ok(true) => {}
        Ok(false) => return Ok(Found::Empty),
        Err(error) => return Err(OpenError::Failed(error.to_string())),
    }
    let disk = Disk::of(folder);
    let bytes = read_header(&disk)?;
    match header::Found::parse(&bytes) {
        Ok(header::Found::Sealed(header)) => Ok(Found::Locked(LockedStore { disk, header })),
        Ok(header::Found::Plain(header)) => Ok(Found::Plain(PlainStore { disk, header })),
        Err(HeaderError::Newer) => Err(OpenError::Newer),
        Err(HeaderError::Damaged(what)) => {
            Err(OpenError::Corrupt(format!("the store's header is damaged: {what}; restore the store from a backup")))
        }
    }
}

/// Makes a store in a data directory that has none, under this secret (the exact bytes that were
/// typed), for this identity, with a random incarnation. PBKDF2 takes long: not for the async
/// loop's own thread. A crash in between leaves no store, or this one.
///
/// # Errors
///
/// [`CreateError::Exists`] if there is one already; then nothing has been changed.
pub fn create(folder: &Folder, secret: &[u8], identity: Identity, display_name: String) -> Result<Store, CreateError> {
    if folder.has_store()? {
        return Err(CreateError::Exists);
    }
    let mut incarnation = [0; 16];
    getrandom::fill(&mut incarnation).map_err(|error| CreateError::Failed(error.to_string()))?;
    let keys = Arc::new(StoreKeys::generate(&mut UnwrapErr(SysRng)));
    let wrapping =
        Wrapping::new(secret, identity.client_id()).map_err(|error| CreateError::Failed(error.to_string()))?;
    let custody = Custody::new(wrapping, keys, Phase::Sealed);
    let profile = ProfileRecord { display_name, incarnation: Incarnation(incarnation) };

    folder.make_new_file()?;
    write_new(&Disk::new_of(folder), &custody, &identity, &profile)?;
    folder.publish_new_file()?;

    LockedStore::of(folder, &custody).open_with(&custody).map_err(|error| CreateError::Failed(error.to_string()))
}

impl PlainStore {
    /// Whose store it is.
    pub fn client_id(&self) -> ClientId {
        self.header.client_id
    }

    /// Puts it under a secret (the exact bytes that were typed) and opens it, with another display
    /// name if one is given. From then on what is written is sealed, and what lies in clear is sealed
    /// beside the work. PBKDF2 takes long: not for the async loop's own thread. After a crash it is
    /// in clear as it was, or under this secret.
    ///
    /// # Errors
    ///
    /// After an error nothing has been changed.
    pub fn set_up(&self, secret: &[u8], display_name: Option<String>) -> Result<Store, CreateError> {
        let failed = |error: VaultError| CreateError::Failed(error.to_string());
        let wrapping = Wrapping::new(secret, self.header.client_id).map_err(failed)?;
        let tags = TagKey::from_bytes(self.header.tag_key);
        let keys = Arc::new(StoreKeys::with_tags(tags, &mut UnwrapErr(SysRng)));
        let custody = Custody::new(wrapping, keys, Phase::Migrating);
        self.adopt(&custody, display_name)?;
        LockedStore { disk: self.disk.clone(), header: custody.header().clone() }
            .open_with(&custody)
            .map_err(|error| CreateError::Failed(error.to_string()))
    }

    /// The header, and the two rows that matter most, in one transaction, once all that is read at
    /// the start could be read.
    fn adopt(&self, custody: &Custody, display_name: Option<String>) -> Result<(), Fault> {
        let database = self.disk.open()?;
        let tx = group::prepare(database.begin_write()?)?;
        for table in Table::ALL {
            tx.open_table(table.definition())?;
        }
        let (identity, state) = state::load(&tx, &custody.table_keys())?;
        if identity.client_id() != self.header.client_id {
            return Err(Fault::Shape(Table::Own));
        }
        let mut profile = state.profile;
        if let Some(name) = display_name {
            profile.display_name = name;
        }
        let mut sealer = Sealer::new(custody.table_keys(), Seals::of(0));
        let mut rows = Batch::new(&tx, &mut sealer);
        rows.put_identity(&identity)?;
        rows.put_profile(&profile)?;
        rows.put_header(custody)?;
        rows.into_changes()?;
        tx.commit()?;
        Ok(database.close()?)
    }
}

impl LockedStore {
    /// The store of a folder that is known to hold it.
    pub(super) fn of(folder: &Folder, custody: &Custody) -> Self {
        Self { disk: Disk::of(folder), header: custody.header().clone() }
    }

    /// Whether this secret opens it. PBKDF2 takes long: not for the async loop's own thread.
    ///
    /// # Errors
    ///
    /// [`UnlockError::WrongSecret`].
    pub fn verify(&self, secret: &[u8]) -> Result<(), UnlockError> {
        self.custody(secret).map(drop)
    }

    /// Whose store it is.
    pub fn client_id(&self) -> ClientId {
        self.header.parameters.client_id
    }

    /// Opens the store with the exact bytes that were typed. PBKDF2 takes long: not for the async
    /// loop's own thread. After an error it can be tried again.
    ///
    /// # Errors
    ///
    /// [`UnlockError::WrongSecret`] before anything but the header has been read;
    /// [`UnlockError::Corrupt`] if identity, settings or contacts are damaged.
    pub fn unlock(&self, secret: &[u8]) -> Result<Store, UnlockError> {
        self.open_with(&self.custody(secret)?)
    }

    pub(super) fn custody(&self, secret: &[u8]) -> Result<Custody, UnlockError> {
        Custody::open(self.header.clone(), secret).map_err(|error| match error {
            VaultError::Sealed => UnlockError::WrongSecret,
            error => UnlockError::Failed(error.to_string()),
        })
    }

    pub(super) fn open_with(&self, custody: &Custody) -> Result<Store, UnlockError> {
        let (identity, state, door, sealer) = self.open_door(custody)?;
        let writer = Writer::start(door.clone(), sealer).map_err(|error| UnlockError::Failed(error.to_string()))?;
        Ok(Store { identity: Arc::new(identity), state, writer, reader: Reader::new(door) })
    }

    /// The open database with all keys, before there is a writer thread.
    pub(super) fn open_door(
        &self,
        custody: &Custody,
    ) -> Result<(Identity, StoredState, Arc<Door>, Sealer), UnlockError> {
        let database = self.disk.open()?;
        // What an interrupted rewriting left; if it cannot be removed it is in nobody's way.
        let _ = self.disk.folder().files().remove(NEW_FILE);
        let keys = custody.table_keys();
        let tx = database.begin_read().map_err(Fault::from)?;
        let (identity, state) = state::load(&tx, &keys)?;
        let seals = tx.get::<SealsRow>(&keys, &SEALS_KEY)?.map_or(0, |row| row.0);
        drop(tx);
        if identity.client_id() != self.client_id() {
            return Err(Fault::Shape(Table::Own).into());
        }
        let door = Arc::new(Door::new(self.disk.clone(), database, custody.clone()));
        Ok((identity, state, door, Sealer::new(keys, Seals::of(seals))))
    }
}

impl Store {
    /// The identity, what the engine starts with, and the two sides of the store.
    pub fn into_parts(self) -> (Arc<Identity>, StoredState, Writer, Reader) {
        let Self { identity, state, writer, reader } = self;
        (identity, state, writer, reader)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("client_id", &self.identity.client_id()).finish_non_exhaustive()
    }
}

impl From<Fault> for UnlockError {
    fn from(fault: Fault) -> Self {
        if fault.is_damage() { Self::Corrupt(fault.to_string()) } else { Self::Failed(fault.to_string()) }
    }
}

impl From<Fault> for CreateError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::Full,
            fault => Self::Failed(fault.to_string()),
        }
    }
}

impl From<CreateError> for CallError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Exists => Self::AlreadySetUp,
            CreateError::Full => RequestError::StorageFull.into(),
            CreateError::Io(_) | CreateError::Failed(_) => RequestError::Storage(error.to_string()).into(),
        }
    }
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        if fault.is_damage() { Self::Corrupt(fault.to_string()) } else { Self::Failed(fault.to_string()) }
    }
}

fn read_header(disk: &Disk) -> Result<Vec<u8>, Fault> {
    let tx = match disk.open_read_only()? {
        Some(database) => return header_row(&database),
        None => disk.open()?,
    };
    header_row(&tx)
}

/// Fills an empty file: all tables, the header, the identity and the settings, in one transaction.
/// Gives how many values that took.
pub(super) fn write_new(
    disk: &Disk,
    custody: &Custody,
    identity: &Identity,
    profile: &ProfileRecord,
) -> Result<Seals, Fault> {
    let database = disk.open()?;
    let tx = group::prepare(database.begin_write()?)?;
    for table in Table::ALL {
        tx.open_table(table.definition())?;
    }
    let mut sealer = Sealer::new(custody.table_keys(), Seals::of(0));
    let mut rows = Batch::new(&tx, &mut sealer);
    rows.put_identity(identity)?;
    rows.put_profile(profile)?;
    rows.put_header(custody)?;
    if let Some(row) = rows.into_changes()?.reserved {
        sealer.has_reserved(&row);
    }
    tx.commit()?;
    database.close()?;
    Ok(sealer.seals())
}

#[cfg(test)]
impl LockedStore {
    pub(super) fn header(&self) -> &Header {
        &self.header
    }
}
