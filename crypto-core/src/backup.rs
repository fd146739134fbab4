//! The sealed chunks of a backup file (docs/protocol.md §8.7): a key of the file's own, and the STREAM construction.
//!
//! Invariants:
//! - A chunk opens only in its place, only under the exact header that it was sealed under, and only if it is, or is not,
//!   the last one, as it was sealed. So chunks cannot be changed, moved, left out, cut off or added.
//! - Nothing is sealed or opened after the last chunk.
//! - No nonce is used twice: each file has a random salt, from which its key is derived, and the nonce counts.
//!
//! Deliberately absent: files, headers and what the chunks hold.

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::primitives::{NONCE_BYTES, Refused, TAG_BYTES, aead_open, aead_seal, derive, sha256};
use crate::vault::BackupKey;

/// Plaintext bytes of each chunk but the last, which has 1 to as many.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// What a sealed chunk is longer than its plaintext.
pub const CHUNK_OVERHEAD: usize = TAG_BYTES;
/// Bytes of a file's random salt.
pub const FILE_SALT_BYTES: usize = 32;

const FILE_LABEL: &[u8] = b"kith/1 backup file";
const COUNTER_AT: usize = 7;

/// Why a chunk was not sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// An empty chunk, one of more than [`CHUNK_BYTES`], or one that is shorter and not the last.
    #[error("a chunk has the wrong length")]
    Length,
    /// The last chunk is behind, or 2³² chunks are.
    #[error("the file has ended")]
    Ended,
    /// Another key, header, place or bit.
    #[error("a chunk does not open")]
    Sealed,
}

impl From<Refused> for ChunkError {
    fn from(_: Refused) -> Self {
        Self::Sealed
    }
}

/// Seals the chunks of one file, in order.
#[derive(Debug)]
pub struct ChunkSealer(Stream);

/// Opens the chunks of one file, in order.
#[derive(Debug)]
pub struct ChunkOpener(Stream);

#[derive(Zeroize, ZeroizeOnDrop)]
struct Stream {
    key: [u8; 32],
    #[zeroize(skip)]
    header_hash: [u8; 32],
    /// The place of the next chunk; `None` after the last.
    #[zeroize(skip)]
    next: Option<u32>,
}

impl ChunkSealer {
    /// For a file with this salt, which must be random, and this header.
    pub fn new(backup_key: &BackupKey, file_salt: &[u8; FILE_SALT_BYTES], header: &[u8]) -> Self {
        Self(Stream::new(backup_key, file_salt, header))
    }

    /// Seals the next chunk in place: its plaintext, followed by [`CHUNK_OVERHEAD`] bytes for the tag.
    ///
    /// # Errors
    /// [`ChunkError::Length`] or [`ChunkError::Ended`].
    pub fn seal(&mut self, chunk: &mut [u8], last: bool) -> Result<(), ChunkError> {
        let (text, tag) = chunk.split_last_chunk_mut::<TAG_BYTES>().ok_or(ChunkError::Length)?;
        let nonce = self.0.next_nonce(text.len(), last)?;
        *tag = aead_seal(&self.0.key, &nonce, &self.0.header_hash, text)?;
        Ok(())
    }
}

impl ChunkOpener {
    /// For a file with this salt and this header.
    pub fn new(backup_key: &BackupKey, file_salt: &[u8; FILE_SALT_BYTES], header: &[u8]) -> Self {
        Self(Stream::new(backup_key, file_salt, header))
    }

    /// Opens the next chunk in place and gives its plaintext.
    ///
    /// # Errors
    /// Any [`ChunkError`].
    pub fn open<'a>(&mut self, chunk: &'a mut [u8], last: bool) -> Result<&'a mut [u8], ChunkError> {
        let (text, tag) = chunk.split_last_chunk_mut::<TAG_BYTES>().ok_or(ChunkError::Length)?;
        let nonce = self.0.next_nonce(text.len(), last)?;
        aead_open(&self.0.key, &nonce, &self.0.header_hash, text, tag)?;
        Ok(text)
    }
}

impl Stream {
    fn new(backup_key: &BackupKey, file_salt: &[u8; FILE_SALT_BYTES], header: &[u8]) -> Self {
        let [key] = *derive(file_salt, backup_key.as_bytes(), &[FILE_LABEL]);
        Self { key, header_hash: sha256(&[header]), next: Some(0) }
    }

    /// The nonce of the next chunk: 7 zero bytes ‖ its place u32 ‖ 1 for the last one, else 0.
    fn next_nonce(&mut self, text_bytes: usize, last: bool) -> Result<[u8; NONCE_BYTES], ChunkError> {
        let fits = if last { (1..=CHUNK_BYTES).contains(&text_bytes) } else { text_bytes == CHUNK_BYTES };
        let place = self.next.ok_or(ChunkError::Ended)?;
        if !fits {
            return Err(ChunkError::Length);
        }
        self.next = if last { None } else { place.checked_add(1) };
        let mut nonce = [0; NONCE_BYTES];
        nonce[COUNTER_AT..NONCE_BYTES - 1].copy_from_slice(&place.to_be_bytes());
        nonce[NONCE_BYTES - 1] = u8::from(last);
        Ok(nonce)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("next", &self.next).finish_non_exhaustive()
    }
}
