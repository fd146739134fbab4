//! The data directory: private, and in use by one process at a time.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

const STORE_FILE: &str = "store.redb";
const NEW_FILE: &str = "store.redb.new";
const LOCK_FILE: &str = "lock";

/// Nobody but the owner may read, write or enter.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const OTHERS_MASK: u32 = 0o077;

/// The data directory, checked and locked. Clones share the lock; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: Arc<File>,
    #[cfg(test)]
    faults: Option<Arc<super::tests::faults::Faults>>,
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
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: Arc::new(lock),
                #[cfg(test)]
                faults: None,
            }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets a test stand between the database and the disk.
    #[cfg(test)]
    pub(super) fn with_faults(mut self, faults: Arc<super::tests::faults::Faults>) -> Self {
        self.faults = Some(faults);
        self
    }

    #[cfg(test)]
    pub(super) fn faults(&self) -> Option<&super::tests::faults::Faults> {
        self.faults.as_deref()
    }

    /// The database.
    pub(super) fn store_file(&self) -> PathBuf {
        self.path.join(STORE_FILE)
    }

    /// An empty, private file to build a new database in. What an interrupted set-up left there
    /// is thrown away.
    pub(super) fn make_new_file(&self) -> io::Result<PathBuf> {
        let path = self.path.join(NEW_FILE);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path)?;
        Ok(path)
    }

    /// Gives the finished new file the database's name. After this a power cut leaves the whole
    /// database; before it, none.
    pub(super) fn publish_new_file(&self) -> io::Result<()> {
        let path = self.path.join(NEW_FILE);
        File::open(&path)?.sync_all()?;
        std::fs::rename(&path, self.store_file())?;
        File::open(&self.path)?.sync_all()
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
