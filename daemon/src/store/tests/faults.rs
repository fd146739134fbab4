//! A disk that counts, and that fails when it is told to.

use std::{
    fs::OpenOptions,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst},
    },
};

use redb::{StorageBackend, backends::FileBackend};

/// What all disks of one folder share.
#[derive(Debug, Default)]
pub(in crate::store) struct Faults {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
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
pub(in crate::store) struct Backend {
    file: FileBackend,
    shared: Arc<Shared>,
}

impl Faults {
    pub(in crate::store) fn backend(&self, path: &Path) -> Backend {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        Backend { file: FileBackend::new(file).unwrap(), shared: self.shared.clone() }
    }

    pub(in crate::store) fn is_out_of_room(&self) -> bool {
        self.shared.no_room.load(SeqCst)
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

    /// Bytes written and syncs so far.
    pub(super) fn written(&self) -> (u64, u64) {
        (self.shared.bytes.load(SeqCst), self.shared.syncs.load(SeqCst))
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
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
