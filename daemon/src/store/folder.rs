//! The data directory: private, and in use by one process at a time.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::files::{FILE_MODE, Files, RealFiles};

/// The database.
pub(super) const STORE_FILE: &str = "store.redb";
/// A database that is not finished, or not yet in its place.
pub(super) const NEW_FILE: &str = "store.redb.new";
/// A database that is made of a backup, and not yet in its place.
pub(super) const IMPORT_FILE: &str = "store.redb.import";
pub(super) const LOCK_FILE: &str = "lock";

/// Nobody but the owner may read, write or enter.
const FOLDER_MODE: u32 = 0o700;
const OTHERS_MASK: u32 = 0o077;

/// The data directory, checked and locked. Clones share the lock; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    files: Arc<dyn Files>,
    _lock: Arc<File>,
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be made, read or locked.
    #[error("cannot use the data directory {path}: {source}", path = .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else has that name.
    #[error("{path} is not a directory; move it away or configure another data directory", path = .0.display())]
    NotADirectory(PathBuf),
    /// Another user owns it.
    #[error(
        "{path} belongs to user {owner}, not to user {own}; \
         run `chown {own} {path}` as root, or start kithd as its owner",
        path = .path.display()
    )]
    OtherOwner {
        /// Which.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
        /// The number of the user that this process runs as.
        own: u32,
    },
    /// Other users could read it.
    #[error("{path} is open to other users (mode {mode:04o}); run `chmod 0700 {path}`", path = .path.display())]
    Loose {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process has it.
    #[error(
        "another process uses {path}; stop it (`systemctl stop kithd`, or find it with `fuser {path}/lock`), \
         or configure another data directory",
        path = .0.display()
    )]
    InUse(PathBuf),
}

impl Folder {
    /// Takes the directory at `path`: makes it with mode 0700 if it is missing, else checks that
    /// it is a directory of this user without any permission for others; then locks it.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the directory and how to put it right.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let failed = |source| FolderError::Io { path: path.to_owned(), source };
        match DirBuilder::new().mode(FOLDER_MODE).recursive(true).create(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(FolderError::NotADirectory(path.to_owned()));
            }
            made => made.map_err(failed)?,
        }
        check(path)?;
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path.join(LOCK_FILE))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {
                let files = Arc::new(RealFiles::of(path));
                Ok(Self { path: path.to_owned(), files, _lock: Arc::new(lock) })
            }
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files in it.
    pub(super) fn files(&self) -> &dyn Files {
        &*self.files
    }

    /// Lets a test stand in for the disk.
    #[cfg(test)]
    pub(super) fn with_files(mut self, files: Arc<dyn Files>) -> Self {
        self.files = files;
        self
    }

    /// Whether there is a database.
    pub(super) fn has_store(&self) -> io::Result<bool> {
        self.files.exists(STORE_FILE)
    }

    /// An empty, private file to build a new database in. What an interrupted set-up left there
    /// is thrown away.
    pub(super) fn make_new_file(&self) -> io::Result<()> {
        self.files.create(NEW_FILE)
    }

    /// Gives the finished new file the database's name. After this a power cut leaves the whole
    /// new database; before it, what there was.
    pub(super) fn publish_new_file(&self) -> io::Result<()> {
        self.files.sync(NEW_FILE)?;
        self.files.rename(NEW_FILE, STORE_FILE)?;
        self.files.sync_folder()
    }

    /// Where the database lies.
    #[cfg(test)]
    pub(super) fn store_file(&self) -> PathBuf {
        self.path.join(STORE_FILE)
    }
}

fn check(path: &Path) -> Result<(), FolderError> {
    let metadata = std::fs::metadata(path).map_err(|source| FolderError::Io { path: path.to_owned(), source })?;
    let own = rustix::process::geteuid().as_raw();
    let mode = metadata.mode() & 0o7777;
    if !metadata.is_dir() {
        Err(FolderError::NotADirectory(path.to_owned()))
    } else if metadata.uid() != own {
        Err(FolderError::OtherOwner { path: path.to_owned(), owner: metadata.uid(), own })
    } else if mode & OTHERS_MASK != 0 {
        Err(FolderError::Loose { path: path.to_owned(), mode })
    } else {
        Ok(())
    }
}
