//! What the store asks of the file system: files of one folder, by name.
//!
//! One seam, so that a test can stand in for the disk and cut the power at every step.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, OpenOptionsExt},
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

    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;

    /// How long a file is.
    fn bytes(&self, name: &str) -> io::Result<u64>;

    /// Fills `out` from there on, as far as the file goes; says how far that was.
    fn read_at(&self, name: &str, at: u64, out: &mut [u8]) -> io::Result<usize>;

    /// Writes over what is there. On disk only after [`Files::sync`].
    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()>;

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

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                // The store gives no file a name that is not UTF-8.
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort();
        Ok(names)
    }

    fn bytes(&self, name: &str) -> io::Result<u64> {
        Ok(std::fs::metadata(self.path(name))?.len())
    }

    fn read_at(&self, name: &str, at: u64, out: &mut [u8]) -> io::Result<usize> {
        let file = File::open(self.path(name))?;
        let mut read = 0;
        while read < out.len() {
            match file.read_at(&mut out[read..], at + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.path(name))?.write_all_at(bytes, at)
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
