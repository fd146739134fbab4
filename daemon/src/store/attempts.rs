//! Wrong secrets and PINs are slowed down: how many came in a row stands in a small clear file for each.
//!
//! An attempt is written, fsynced, before it is judged, so neither a restart nor a power cut takes
//! it back. The clock is the kernel's time since boot, which nobody can set. After a restart of the
//! device it begins at zero: then only the time since that restart counts, never more than has gone
//! by. So waiting may take longer, and is never cut short.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::time::{ClockId, clock_gettime};

use super::{Folder, fault};

/// Of secrets that open the store. Somebody who plays with PINs must not keep the owner from unlocking.
pub(super) const FILE: &str = "attempts";
/// Of PINs.
pub(super) const PIN_FILE: &str = "pin-attempts";
const FILE_MODE: u32 = 0o600;

/// `version u8 = 1 ‖ wrong secrets in a row u32 ‖ the last attempt, ms since boot u64`
/// (docs/protocol.md §8.5). In one sector, so it is written whole or not at all.
const RECORD_BYTES: usize = 1 + 4 + 8;
const VERSION: u8 = 1;

/// Wrong secrets that cost nothing: people mistype.
pub const FREE_ATTEMPTS: u32 = 3;
/// The longest wait, seconds. A guesser has a hundred tries a day; the owner, whom somebody has
/// locked out on purpose, is back within a quarter of an hour.
pub const WAIT_S_MAX: u32 = 15 * 60;

/// Why a secret was not tried.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// Too many wrong ones; the next may be tried after so many seconds.
    #[error("too many wrong secrets: try again in {0} s")]
    Wait(u32),
    /// The attempt could not be noted: no space left on the device.
    #[error("no space left on the device")]
    Full,
    /// The attempt could not be noted.
    #[error("cannot write down the attempt: {0}")]
    Io(io::Error),
}

impl From<io::Error> for AttemptError {
    fn from(error: io::Error) -> Self {
        if fault::is_full(&error) { Self::Full } else { Self::Io(error) }
    }
}

/// A count of wrong secrets of one data directory.
#[derive(Debug)]
pub struct Attempts(Mutex<File>);

/// A secret that may be judged now. Unless it turns out right, it stays counted as wrong.
#[derive(Debug)]
pub struct Attempt<'a>(MutexGuard<'a, File>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    wrong: u32,
    last_boot_ms: u64,
}

impl Attempts {
    /// Opens the file for secrets, or makes it while there is still space for it.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn open(folder: &Folder) -> io::Result<Self> {
        Self::open_file(folder, FILE)
    }

    /// The same for PINs.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn open_for_pins(folder: &Folder) -> io::Result<Self> {
        Self::open_file(folder, PIN_FILE)
    }

    fn open_file(folder: &Folder, name: &str) -> io::Result<Self> {
        let path = folder.path().join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        if file.metadata()?.len() == 0 {
            write(&file, Record { wrong: 0, last_boot_ms: 0 })?;
            File::open(folder.path())?.sync_all()?;
        }
        Ok(Self(Mutex::new(file)))
    }

    /// Notes an attempt, on disk. One at a time: a second one waits for the verdict on the first.
    /// Waits for the disk: not for the async loop's own thread.
    ///
    /// # Errors
    ///
    /// [`AttemptError::Wait`] if the last wrong secret is not long enough ago; that counts for
    /// nothing. If the attempt cannot be noted it must not be judged.
    pub fn begin(&self) -> Result<Attempt<'_>, AttemptError> {
        self.begin_at(boot_ms())
    }

    pub(super) fn begin_at(&self, now_ms: u64) -> Result<Attempt<'_>, AttemptError> {
        let file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut record = match read(&file)? {
            Some(record) => record,
            // Damaged, or a newer program's: as if the longest wait began now.
            None => restart(&file, Record { wrong: u32::MAX, last_boot_ms: now_ms })?,
        };
        if record.last_boot_ms > now_ms {
            // Before the device was restarted: at least the time since then has gone by.
            record = restart(&file, Record { last_boot_ms: 0, ..record })?;
        }
        let free_at_ms = record.last_boot_ms.saturating_add(u64::from(wait_s(record.wrong)) * 1_000);
        if let Some(left_ms @ 1..) = free_at_ms.checked_sub(now_ms) {
            return Err(AttemptError::Wait(u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(WAIT_S_MAX)));
        }
        write(&file, Record { wrong: record.wrong.saturating_add(1), last_boot_ms: now_ms })?;
        Ok(Attempt(file))
    }
}

impl Attempt<'_> {
    /// The secret was right: the count begins anew.
    ///
    /// # Errors
    ///
    /// The file system's; then the attempt counts as a wrong one.
    pub fn was_right(self) -> Result<(), AttemptError> {
        Ok(write(&self.0, Record { wrong: 0, last_boot_ms: 0 })?)
    }
}

/// Seconds to wait after so many wrong secrets in a row: 1, 2, 4, … from the third on.
fn wait_s(wrong: u32) -> u32 {
    match wrong.checked_sub(FREE_ATTEMPTS) {
        None => 0,
        Some(doublings) => 1u32.checked_shl(doublings).unwrap_or(WAIT_S_MAX).min(WAIT_S_MAX),
    }
}

fn restart(file: &File, record: Record) -> io::Result<Record> {
    write(file, record)?;
    Ok(record)
}

/// `None` if the file holds something else.
fn read(file: &File) -> io::Result<Option<Record>> {
    let mut bytes = [0; RECORD_BYTES];
    if file.metadata()?.len() != RECORD_BYTES as u64 {
        return Ok(None);
    }
    file.read_exact_at(&mut bytes, 0)?;
    let [version, wrong @ .., _, _, _, _, _, _, _, _] = bytes;
    let last: [u8; 8] = std::array::from_fn(|at| bytes[RECORD_BYTES - 8 + at]);
    let record = Record { wrong: u32::from_be_bytes(wrong), last_boot_ms: u64::from_be_bytes(last) };
    Ok((version == VERSION).then_some(record))
}

fn write(file: &File, record: Record) -> io::Result<()> {
    let mut bytes = [0; RECORD_BYTES];
    bytes[0] = VERSION;
    bytes[1..5].copy_from_slice(&record.wrong.to_be_bytes());
    bytes[5..].copy_from_slice(&record.last_boot_ms.to_be_bytes());
    file.write_all_at(&bytes, 0)?;
    file.set_len(RECORD_BYTES as u64)?;
    file.sync_all()
}

/// Milliseconds since the device was started, with the time it slept.
fn boot_ms() -> u64 {
    let boot = clock_gettime(ClockId::Boottime);
    let (seconds, nanoseconds) = (u64::try_from(boot.tv_sec), u64::try_from(boot.tv_nsec));
    seconds.unwrap_or(0).saturating_mul(1_000).saturating_add(nanoseconds.unwrap_or(0) / 1_000_000)
}
