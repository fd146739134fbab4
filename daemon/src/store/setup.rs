//! Making, finding and unlocking a store.

use std::{fmt, io, sync::Arc};

use getrandom::{SysRng, rand_core::UnwrapErr};
use kith_crypto::{
    identity::{ClientId, Identity},
    vault::{StoreKeys, VaultError},
};
use kith_engine::{Incarnation, ProfileRecord, RequestError, StoredState};
use redb::{Database, ReadableDatabase};

use super::{
    batch::Batch,
    custody::Custody,
    disk::{Disk, Door},
    draft,
    fault::Fault,
    folder::Folder,
    group,
    header::{Header, HeaderError, Phase},
    reader::Reader,
    state,
    table::{HEADER, HEADER_KEY, Keys, Table},
    value::Sealer,
    wipe,
    writer::Writer,
};
use crate::handle::CallError;

/// What a data directory holds.
#[derive(Debug)]
pub enum Found {
    /// No store yet: [`create`] makes one.
    Empty,
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
    match Header::parse(&bytes) {
        Ok(header) => Ok(Found::Locked(LockedStore { disk, header })),
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
    let custody = Custody::new(secret, identity.client_id(), keys, Phase::Sealed)
        .map_err(|error| CreateError::Failed(error.to_string()))?;
    let profile = ProfileRecord { display_name, incarnation: Incarnation(incarnation) };

    folder.make_new_file()?;
    write_new(&Disk::new_of(folder), &custody, &identity, &profile)?;
    folder.publish_new_file()?;

    LockedStore::of(folder, &custody).open_with(&custody).map_err(|error| CreateError::Failed(error.to_string()))
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
        let (identity, state) = load(&database, &custody.table_keys())?;
        if identity.client_id() != self.client_id() {
            return Err(Fault::Shape(Table::Own).into());
        }
        let door = Arc::new(Door::new(self.disk.clone(), database, custody.clone()));
        Ok((identity, state, door, Sealer::new(custody.table_keys())))
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

fn load(database: &Database, keys: &Keys) -> Result<(Identity, StoredState), Fault> {
    state::load(&database.begin_read()?, keys)
}

fn read_header(disk: &Disk) -> Result<Vec<u8>, Fault> {
    let tx = match disk.open_read_only()? {
        Some(database) => return header_row(&database),
        None => disk.open()?,
    };
    header_row(&tx)
}

fn header_row(database: &impl ReadableDatabase) -> Result<Vec<u8>, Fault> {
    let rows = database.begin_read()?.open_table(HEADER)?;
    let row = redb::ReadableTable::get(&rows, HEADER_KEY)?;
    row.map(|row| row.value().to_vec()).ok_or_else(|| Fault::Structure("the header is missing".to_owned()))
}

/// Fills an empty file: all tables, the header, the identity and the settings, in one transaction.
pub(super) fn write_new(
    disk: &Disk,
    custody: &Custody,
    identity: &Identity,
    profile: &ProfileRecord,
) -> Result<(), Fault> {
    let database = disk.open()?;
    let tx = group::prepare(database.begin_write()?)?;
    for table in Table::ALL {
        tx.open_table(table.definition())?;
    }
    tx.open_table(HEADER)?.insert(HEADER_KEY, custody.header().encode().as_slice())?;
    let mut sealer = Sealer::new(custody.table_keys());
    let mut rows = Batch::new(&tx, &mut sealer);
    rows.put_identity(identity)?;
    rows.put_profile(profile)?;
    tx.commit()?;
    Ok(database.close()?)
}
