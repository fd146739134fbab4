//! The sealed store: one redb file in a private folder.
//!
//! From the folder to the rows: [`Folder`] checks and locks the data directory; [`open`] looks
//! whether there is a store, [`create`] makes one; [`LockedStore::unlock`] turns the secret into
//! a [`Store`], which comes apart into what the engine starts with, a [`Writer`] and a [`Reader`].
//! The bytes are in `docs/protocol.md`, chapter 8. The store seals and lays out; it decides
//! nothing.
//!
//! Invariants:
//! - Every value but the clear header is sealed for its table and its row key, so a value that is
//!   moved does not open. Plaintext is accepted only while a store of version 0 is being sealed. Row keys hold
//!   small local numbers and row tags, never an id.
//! - A completion without an error means that the commit is on disk: the transaction is written
//!   with [`redb::Durability::Immediate`], which fsyncs before it returns. An acknowledgement
//!   rests on this. Completions come in the order of the commits.
//! - A commit is written whole or not at all, also when it shares a transaction with others. One
//!   that is refused or cannot be carried out takes no other with it; a transaction that fails
//!   takes all of them.
//! - An error means that nothing of the commit is on disk. A failed fsync leaves that open, so the
//!   writer makes the kernel forget its copy of the file, opens the database again and looks for
//!   the last row of the transaction.
//! - What unlocking reads does not grow with the history.
//! - Nothing here blocks the async loop, except where a method says that it waits for the disk.
//!
//! Power cuts: each transaction carries redb's allocator state ("quick repair", which commits in
//! two phases). That costs a lone message a third more bytes and a second fsync, and a burst, which
//! shares one transaction, a twentieth more. In return a start after a power cut reads 20 kB of a
//! store of 100,000 messages; without it redb walks the whole file, 110 MB of reading, and a kiosk
//! that is switched off at the wall would do that every morning. The test `cost` prints what a
//! commit writes: about 60 kB for a lone message, 5 kB in a burst of 32.
//!
//! Deliberately absent: searching, deleting single messages. redb checks its own structures only after an unclean end; damage that something
//! else did to them may panic in redb, while damage to values is always found and named.

mod attempts;
mod batch;
mod changes;
mod check;
mod chore;
mod copy;
mod custody;
mod disk;
mod draft;
mod fault;
mod files;
mod folder;
mod group;
mod header;
mod keyholder;
mod orders;
mod pin;
mod place;
mod reader;
mod rebuild;
mod repeats;
#[doc(hidden)] // for the fuzz targets; it is no API
pub mod reread;
mod retention;
mod rows;
mod setup;
mod stale;
mod state;
mod sweep;
mod table;
mod tally;
#[cfg(test)]
mod tests;
mod trim;
mod value;
mod version0;
mod wipe;
mod writer;

pub use attempts::{Attempt, AttemptError, Attempts, FREE_ATTEMPTS, WAIT_S_MAX};
pub use check::{CheckError, CheckReport, Progress};
pub use copy::Entry;
pub use draft::{CompleteDraft, Draft, DraftError, DraftHead, DraftSecret};
pub use folder::{Folder, FolderError};
pub use keyholder::{BackupAccess, ChangeError, Keyholder};
pub use reader::{PAGE_BYTES_MAX, PAGE_ROWS_MAX, ReadError, Reader};
pub use repeats::KEPT_MESSAGES;
pub use retention::{Retention, RetentionChoice};
pub use setup::{CreateError, Found, LockedStore, OpenError, PlainStore, Store, UnlockError, create, open};
pub use trim::{TrimError, Trimmed, Trimmer};
pub use wipe::wipe;
pub use writer::{Completion, SubmitError, Writer};
