//! What the store asks of the file system: files of one folder, by name.
//!
//! One seam, so that a test can stand in for the disk and cut the power at every step.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use redb::{Builder, Database, DatabaseError, ReadOnlyDatabase};
use rustix::fs::{Advice, fadvise};

/// Nobody but the owner may read or write a file of the store.
pub(super) const FILE_MODE: u32 = 0o600;

/// The files of the data directory.
pub(super) trait Files: fmt::Debug + Send + Sync {
    /// Whether there is a file of that name.
    fn exists(&self, name: &str) -> io::Result<bool>;

    /// An empty, private file in place of whatever has that name.
    fn create(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, in place of whatever has it. On disk only after
    /// [`Files::sync_folder`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; that there is none is fine. On disk only after [`Files::sync_folder`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Waits until all that was written to the file is on disk.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Waits until the names are on disk.
    fn sync_folder(&self) -> io::Result<()>;

    /// Makes the kernel forget what it holds of the file and could not write.
    fn forget_unwritten(&self, name: &str) -> io::Result<()>;

    /// What this process may still write; `None` where the file system does not say.
    fn free_bytes(&self) -> Option<u64>;

    /// Opens a database, or makes an empty file into one.
    fn database(&self, builder: &Builder, name: &str) -> Result<Database, DatabaseError>;

    /// Opens a database without changing a byte of it.
    fn read_only(&self, builder: &Builder, name: &str) -> Result<ReadOnlyDatabase, DatabaseError>;
}

/// A real folder.
#[derive(Clone, Debug)]
pub(super) struct RealFiles {
    folder: PathBuf,
}

impl RealFiles {
    pub(super) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Files for RealFiles {
    fn exists(&self, name: &str) -> io::Result<bool> {
        self.path(name).try_exists()
    }

    fn create(&self, name: &str) -> io::Result<()> {
        self.remove(name)?;
        OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(self.path(name))?;
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        File::open(self.path(name))?.sync_all()
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn forget_unwritten(&self, name: &str) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(self.path(name))?;
        file.sync_all()?;
        Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
    }

    fn free_bytes(&self) -> Option<u64> {
        rustix::fs::statvfs(&self.folder).ok().map(|at| at.f_bavail.saturating_mul(at.f_frsize))
    }

    fn database(&self, builder: &Builder, name: &str) -> Result<Database, DatabaseError> {
        builder.create(self.path(name))
    }

    fn read_only(&self, builder: &Builder, name: &str) -> Result<ReadOnlyDatabase, DatabaseError> {
        builder.open_read_only(self.path(name))
    }
}
