//! One fsync: the least that keeping a message costs on this disk.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::Result;

/// A page, the least that a database writes.
const PAGE_BYTES: usize = 4_096;

/// A file beside the devices' own.
pub(super) struct Disk {
    file: File,
}

impl Disk {
    pub(super) fn open() -> Result<Self> {
        let mut file = tempfile::tempfile()?;
        file.write_all(&[0; PAGE_BYTES])?;
        file.sync_all()?;
        Ok(Self { file })
    }

    /// Overwrites the page and waits until it is on the disk.
    pub(super) fn sync(&mut self) -> Result<Duration> {
        let start = Instant::now();
        self.file.rewind()?;
        self.file.write_all(&[1; PAGE_BYTES])?;
        self.file.sync_data()?;
        Ok(start.elapsed())
    }
}
