//! Backups: all that a store holds, in one file (docs/protocol.md §8.7).
//!
//! `line` gives each entry of a store its line of JSON, `seal` is the clear header and the sealed
//! chunks, `sink` writes a file and `source` reads one, `check` knows which line may follow which.
//! [`export()`] and [`restore()`] put them together with the store.
//!
//! Invariants:
//! - A file is read whole, and every line of it is checked, before anything is written. It is then
//!   read again, and checked again, into a store beside the present one, which takes its place in
//!   one step. So a file that is damaged, cut off or changed meanwhile leaves the device as it was.
//! - One line and one chunk are in memory at a time, whatever the length of the history.
//! - An encrypted backup opens for the client id and the secret that it was made under.
//!
//! Deliberately absent: merging. A device that is restored is what it was when the backup was made.

mod check;
mod error;
mod export;
mod header;
mod line;
#[doc(hidden)] // for the fuzz targets; it is no API
pub mod reread;
mod restore;
mod seal;
mod sink;
mod source;
#[cfg(test)]
mod tests;

pub use error::BackupError;
pub use export::{Form, export};
pub use restore::{Access, Plan, Restored, restore};
