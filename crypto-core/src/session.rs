//! A session between two devices: the handshake with Kith's prologue, then records, and new keys from time to time
//! (docs/protocol.md §6).
//!
//! Invariants:
//! - A [`Handshake`] and a [`Session`] are different types: what is established was proven.
//! - Records are strictly in order; whatever does not open, and whatever the other may not send, closes the session
//!   and erases its keys.
//! - Each direction has a key and a counter; a pair of both is used once. No key seals or opens more than 2²¹ records.
//! - Old keys are erased at their last use, ephemeral ones when the new keys exist.
//!
//! Deliberately absent: time. When to ask for a new key and when one is too old is the engine's to know.

mod handshake;
mod rekey;

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::noise::{NoiseError, Outcome, Role, nonce};
use crate::primitives::{TAG_BYTES, aead_open, aead_seal};
use crate::wire::{Frame, WireError, tlv};

use handshake::Prologue;
pub use handshake::{Handshake, Mode, Side};
use rekey::Rekey;

/// The longest record, one message of the data channel.
pub const RECORD_BYTES_MAX: usize = 16_384;
/// The longest padded plaintext of a record.
pub const PLAINTEXT_BYTES_MAX: usize = RECORD_BYTES_MAX - TAG_BYTES;
/// Records of a key after which its initiator makes a new one.
pub const REKEY_RECORDS: u64 = 1 << 20;
/// Records of a key after which nothing more is sealed or opened with it.
pub const KEY_RECORDS_MAX: u64 = 1 << 21;

/// The lengths that a plaintext is padded to: control frames, a line of text, a paragraph, and steps of 4 KiB up to a
/// full body. Each holds 256 bytes more than the round number, for the fields around a body.
const PADDED_BYTES: [usize; 7] = [128, 512, 1280, 4352, 8448, 12544, PLAINTEXT_BYTES_MAX];

/// Why a handshake message or a record was not written or not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The handshake failed.
    #[error("handshake: {0}")]
    Noise(#[from] NoiseError),
    /// The initiator's static key is not the agreement key of the card in its first offer.
    #[error("another static key than the card's")]
    WrongStatic,
    /// The identities given for a new key are not the session's.
    #[error("not the identities of this session")]
    WrongIdentity,
    /// The output is too short.
    #[error("the buffer is too short")]
    NoSpace,
    /// A plaintext over 16,368 bytes.
    #[error("over the limit of a record")]
    TooLong,
    /// A record that does not open: another key, a gap, a repeat or a changed bit.
    #[error("the record does not open")]
    Record,
    /// Padding that is not zero.
    #[error("padding that is not zero")]
    Padding,
    /// A frame that does not parse.
    #[error("frame: {0}")]
    Frame(#[from] WireError),
    /// A step of a rekey that this side does not take now.
    #[error("out of its place")]
    OutOfPlace,
    /// The key has 2²¹ records.
    #[error("the key is used up")]
    KeyUsedUp,
    /// An earlier error has closed the session.
    #[error("closed")]
    Closed,
}

/// One direction's key and the number of its next record.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Direction {
    key: [u8; 32],
    counter: u64,
}

impl Direction {
    fn new(key: &Zeroizing<[u8; 32]>) -> Self {
        Self { key: **key, counter: 0 }
    }
}

/// An established session.
pub struct Session {
    role: Role,
    prologue: Prologue,
    hash: [u8; 32],
    sealing: Direction,
    opening: Direction,
    rekey: Rekey,
    generation: u64,
    is_closed: bool,
}

impl Session {
    fn new(role: Role, prologue: Prologue, outcome: &Outcome) -> Self {
        Self {
            role,
            prologue,
            hash: outcome.hash,
            sealing: Direction::new(&outcome.sealing),
            opening: Direction::new(&outcome.opening),
            rekey: Rekey::Idle,
            generation: 0,
            is_closed: false,
        }
    }

    /// Whether this side wrote the first handshake message; it alone starts a rekey.
    pub fn is_initiator(&self) -> bool {
        self.role == Role::Initiator
    }

    /// The hash of the latest handshake; it names the session and is the same on both sides.
    pub const fn handshake_hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Records under the present keys: the larger of those sealed and those opened.
    pub fn records(&self) -> u64 {
        self.sealing.counter.max(self.opening.counter)
    }

    /// How often both keys were replaced.
    pub const fn key_generation(&self) -> u64 {
        self.generation
    }

    /// Whether a rekey has begun and is not done.
    pub const fn is_rekeying(&self) -> bool {
        !matches!(self.rekey, Rekey::Idle)
    }

    /// Pads the first `plaintext_len` bytes of `buf` to the next length, seals them in place and gives the record's length.
    ///
    /// # Errors
    /// [`SessionError::TooLong`], [`SessionError::NoSpace`], [`SessionError::KeyUsedUp`] or [`SessionError::Closed`];
    /// nothing was sealed.
    pub fn seal(&mut self, buf: &mut [u8], plaintext_len: usize) -> Result<usize, SessionError> {
        if self.is_closed {
            return Err(SessionError::Closed);
        }
        if self.sealing.counter >= KEY_RECORDS_MAX {
            return Err(SessionError::KeyUsedUp);
        }
        let padded = PADDED_BYTES.into_iter().find(|bytes| *bytes >= plaintext_len);
        let record_bytes = padded.ok_or(SessionError::TooLong)? + TAG_BYTES;
        let record = buf.get_mut(..record_bytes).ok_or(SessionError::NoSpace)?;
        let (plaintext, tag) = record.split_last_chunk_mut::<TAG_BYTES>().ok_or(SessionError::NoSpace)?;
        plaintext[plaintext_len..].fill(0);
        *tag = aead_seal(&self.sealing.key, &nonce(self.sealing.counter), &[], plaintext)
            .map_err(|_| SessionError::TooLong)?;
        self.sealing.counter += 1;
        Ok(record_bytes)
    }

    /// Opens the next record in place and gives its whole padded plaintext.
    ///
    /// # Errors
    /// [`SessionError::Record`] or [`SessionError::KeyUsedUp`], which close the session; [`SessionError::Closed`].
    pub fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<&'a mut [u8], SessionError> {
        if self.is_closed {
            return Err(SessionError::Closed);
        }
        if self.opening.counter >= KEY_RECORDS_MAX {
            return Err(self.close(SessionError::KeyUsedUp));
        }
        let Some((text, tag)) = record.split_last_chunk_mut::<TAG_BYTES>() else {
            return Err(self.close(SessionError::Record));
        };
        if !PADDED_BYTES.contains(&text.len()) {
            return Err(self.close(SessionError::Record));
        }
        if aead_open(&self.opening.key, &nonce(self.opening.counter), &[], text, tag).is_err() {
            return Err(self.close(SessionError::Record));
        }
        self.opening.counter += 1;
        Ok(text)
    }

    /// Encodes, pads and seals one frame into `out` and gives the record's length.
    ///
    /// # Errors
    /// [`SessionError::Frame`], or what [`Session::seal`] gives; nothing was sealed.
    pub fn seal_frame(&mut self, frame: &Frame<'_>, out: &mut [u8]) -> Result<usize, SessionError> {
        let plaintext_len = frame.encode(out)?;
        self.seal(out, plaintext_len)
    }

    /// Opens the next record in place and reads its frame; `None` is an unknown optional kind.
    ///
    /// # Errors
    /// What [`Session::open`] gives, [`SessionError::Padding`] or [`SessionError::Frame`]; each of them closes the session.
    pub fn open_frame<'a>(&mut self, record: &'a mut [u8]) -> Result<Option<Frame<'a>>, SessionError> {
        let plaintext = self.open(record)?;
        let (tlv, padding) = tlv::read(plaintext).map_err(|error| self.close(error.into()))?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(self.close(SessionError::Padding));
        }
        Frame::from_tlv(tlv).map_err(|error| self.close(error.into()))
    }

    /// Erases all keys; hands the reason on.
    fn close(&mut self, reason: SessionError) -> SessionError {
        self.is_closed = true;
        self.sealing.zeroize();
        self.opening.zeroize();
        self.rekey = Rekey::Idle;
        reason
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("role", &self.role)
            .field("generation", &self.generation)
            .field("records", &self.records())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ClientId;
    use crate::version::Version;

    fn session() -> Session {
        let side = Side { client_id: ClientId::from_bytes([0; 20]), fingerprint: [0; 32], version: Version::OWN };
        let outcome = Outcome { sealing: Zeroizing::new([1; 32]), opening: Zeroizing::new([1; 32]), hash: [2; 32] };
        let prologue = Prologue { initiator: side, responder: side };
        Session::new(Role::Initiator, prologue, &outcome)
    }

    #[test]
    fn no_key_seals_or_opens_more_than_its_records() {
        // Both directions have the same key here, so that the session opens its own records.
        let mut session = session();
        session.sealing.counter = KEY_RECORDS_MAX - 1;
        session.opening.counter = KEY_RECORDS_MAX - 1;
        let mut record = [0; 144];
        assert_eq!(session.seal(&mut record, 0), Ok(144));
        assert!(session.open(&mut record.clone()).is_ok());
        assert_eq!(session.records(), KEY_RECORDS_MAX);
        assert_eq!(session.seal(&mut record, 0), Err(SessionError::KeyUsedUp));
        assert_eq!(session.open(&mut record), Err(SessionError::KeyUsedUp));
        assert_eq!(session.open(&mut record), Err(SessionError::Closed));
    }

    #[test]
    fn closing_erases_the_keys() {
        let mut session = session();
        assert_eq!(session.open(&mut [0; 144]), Err(SessionError::Record));
        assert_eq!((session.sealing.key, session.opening.key), ([0; 32], [0; 32]));
    }
}
