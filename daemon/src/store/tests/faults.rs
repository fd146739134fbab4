//! A disk that counts, and that fails when it is told to.

use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst},
    },
};

use redb::{Builder, Database, DatabaseError, ReadOnlyDatabase, StorageBackend, backends::FileBackend};

use super::super::files::{Files, RealFiles};

/// What all disks of one folder share.
#[derive(Debug)]
pub(super) struct Faults {
    files: RealFiles,
    folder: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    reads: AtomicU64,
    bytes: AtomicU64,
    syncs: AtomicU64,
    no_room: AtomicBool,
    writes_fail: AtomicBool,
    /// Writes that end behind this place fail; 0 for none.
    full_from: AtomicU64,
    /// The sync with this number from now on fails, after it has been carried out; 0 for none.
    sync_fails: AtomicI64,
}

#[derive(Debug)]
pub(super) struct Backend {
    file: FileBackend,
    shared: Arc<Shared>,
}

impl Faults {
    pub(super) fn of(folder: &Path) -> Self {
        Self { files: RealFiles::of(folder), folder: folder.to_owned(), shared: Arc::default() }
    }

    fn backend(&self, name: &str) -> io::Result<Backend> {
        let file = OpenOptions::new().read(true).write(true).open(self.folder.join(name))?;
        let file = FileBackend::new(file).map_err(io::Error::other)?;
        Ok(Backend { file, shared: self.shared.clone() })
    }

    pub(super) fn set_out_of_room(&self, yes: bool) {
        self.shared.no_room.store(yes, SeqCst);
    }

    pub(super) fn set_writes_fail(&self, yes: bool) {
        self.shared.writes_fail.store(yes, SeqCst);
    }

    /// Lets the disk have no more space than the first `bytes` of the file take.
    pub(super) fn set_full_from(&self, bytes: u64) {
        self.shared.full_from.store(bytes, SeqCst);
    }

    pub(super) fn fail_sync(&self, which: i64) {
        self.shared.sync_fails.store(which, SeqCst);
    }

    /// Reads so far.
    pub(super) fn reads(&self) -> u64 {
        self.shared.reads.load(SeqCst)
    }

    /// Bytes written and syncs so far.
    pub(super) fn written(&self) -> (u64, u64) {
        (self.shared.bytes.load(SeqCst), self.shared.syncs.load(SeqCst))
    }
}

impl Files for Faults {
    fn exists(&self, name: &str) -> io::Result<bool> {
        self.files.exists(name)
    }

    fn create(&self, name: &str) -> io::Result<()> {
        self.files.create(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.files.sync(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.files.sync_folder()
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.files.names()
    }

    fn bytes(&self, name: &str) -> io::Result<u64> {
        self.files.bytes(name)
    }

    fn read_at(&self, name: &str, at: u64, out: &mut [u8]) -> io::Result<usize> {
        self.files.read_at(name, at, out)
    }

    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.files.write_at(name, at, bytes)
    }

    fn forget_unwritten(&self, name: &str) -> io::Result<()> {
        self.files.forget_unwritten(name)
    }

    fn free_bytes(&self) -> Option<u64> {
        if self.shared.no_room.load(SeqCst) { Some(0) } else { self.files.free_bytes() }
    }

    fn database(&self, builder: &Builder, name: &str) -> Result<Database, DatabaseError> {
        builder.create_with_backend(self.backend(name)?)
    }

    fn read_only(&self, builder: &Builder, name: &str) -> Result<ReadOnlyDatabase, DatabaseError> {
        builder.open_read_only_with_backend(self.backend(name)?)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.shared.reads.fetch_add(1, SeqCst);
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.shared.syncs.fetch_add(1, SeqCst);
        self.file.sync_data()?;
        if self.shared.sync_fails.fetch_sub(1, SeqCst) == 1 {
            return Err(io::Error::other("the test made this sync fail"));
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let full_from = self.shared.full_from.load(SeqCst);
        let is_full = full_from != 0 && offset + data.len() as u64 > full_from;
        if is_full || self.shared.writes_fail.load(SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.shared.bytes.fetch_add(data.len() as u64, SeqCst);
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
