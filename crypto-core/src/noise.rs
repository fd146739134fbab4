//! The Noise handshakes `KK`, `XKpsk3` and `XX` over P-256, AES-256-GCM and SHA-256 (Noise revision 34).
//!
//! Invariants:
//! - A pattern is data: what is known before, and a list of tokens per message. The engine below knows tokens only.
//! - Public keys are 65 bytes, tag 04; the DH output is the 32-byte x coordinate. Payloads are empty.
//! - A message that is not read leaves a handshake that can do nothing more.
//! - The ephemeral key and the chaining key are erased when the handshake is dropped.
//!
//! Deliberately absent: payloads, transport messages and prologues (`session`), other patterns, curves and ciphers,
//! the fallback and rekey functions of the specification.

mod pattern;
mod symmetric;

use core::fmt;

use p256::{PublicKey, SecretKey};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::primitives::{
    Refused, TAG_BYTES, UNCOMPRESSED_BYTES, derive, ecdh, generate_secret, point_from_uncompressed,
    point_to_uncompressed,
};

use crate::residue::wiped;

pub use pattern::Pattern;
use pattern::{Table, Token};
use symmetric::Symmetric;
pub(crate) use symmetric::nonce;

/// The longest handshake message: an ephemeral key, a sealed static key and a tag.
pub const MESSAGE_BYTES_MAX: usize = 2 * UNCOMPRESSED_BYTES + 2 * TAG_BYTES;

/// Of the stack, overwritten after each step. What is made next may lie where an ephemeral key was, and would carry it
/// along in its unused bytes. A step goes half as deep in an optimized build.
const STACK_BYTES: usize = 16 * 1024;

/// Why a handshake message was not written or not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// It is the other side's turn, or the handshake is over or has failed.
    #[error("not this side's turn")]
    Turn,
    /// The output is too short.
    #[error("the buffer is too short")]
    NoSpace,
    /// A message of another length than the pattern's.
    #[error("wrong length")]
    Length,
    /// A public key with another tag than 04, or off the curve.
    #[error("not a point of the curve in uncompressed form")]
    Point,
    /// Something sealed that does not open.
    #[error("does not open")]
    Sealed,
    /// A pattern uses a key before it was given or transmitted; none of those here does.
    #[error("a key is missing")]
    MissingKey,
}

impl From<Refused> for NoiseError {
    fn from(_: Refused) -> Self {
        Self::Sealed
    }
}

/// A side of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Writes the first message.
    Initiator,
    /// Reads the first message.
    Responder,
}

/// What a handshake ends with: one key for each direction, and the hash that names the session.
pub struct Outcome {
    /// Of the records that this side seals.
    pub sealing: Zeroizing<[u8; 32]>,
    /// Of the records that this side opens.
    pub opening: Zeroizing<[u8; 32]>,
    /// The handshake hash (Noise §11.2).
    pub hash: [u8; 32],
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outcome(..)")
    }
}

/// A running handshake (Noise §5.3).
pub struct HandshakeState {
    table: &'static Table,
    role: Role,
    /// The index of the next message.
    next: usize,
    /// It can do nothing more: it has failed, or its keys were given out.
    is_over: bool,
    symmetric: Symmetric,
    own_static: SecretKey,
    own_ephemeral: Option<SecretKey>,
    remote_static: Option<PublicKey>,
    remote_ephemeral: Option<PublicKey>,
    psk: Option<Zeroizing<[u8; 32]>>,
}

impl HandshakeState {
    /// Starts a `KK` handshake.
    pub fn kk(role: Role, prologue: &[u8], own: &SecretKey, remote: &PublicKey) -> Self {
        Self::start(Pattern::Kk, role, prologue, own, Some(remote), None)
    }

    /// Starts an `XKpsk3` handshake as its initiator, who knows the responder's static key.
    pub fn xk_psk3_initiator(prologue: &[u8], own: &SecretKey, remote: &PublicKey, psk: &[u8; 32]) -> Self {
        Self::start(Pattern::XkPsk3, Role::Initiator, prologue, own, Some(remote), Some(psk))
    }

    /// Starts an `XKpsk3` handshake as its responder, who learns the initiator's static key.
    pub fn xk_psk3_responder(prologue: &[u8], own: &SecretKey, psk: &[u8; 32]) -> Self {
        Self::start(Pattern::XkPsk3, Role::Responder, prologue, own, None, Some(psk))
    }

    /// Starts an `XX` handshake, in which both learn the other's static key.
    pub fn xx(role: Role, prologue: &[u8], own: &SecretKey) -> Self {
        Self::start(Pattern::Xx, role, prologue, own, None, None)
    }

    /// Mixes the prologue and the static keys that the pattern supposes known (Noise §5.3, `Initialize`).
    fn start(
        pattern: Pattern,
        role: Role,
        prologue: &[u8],
        own: &SecretKey,
        remote: Option<&PublicKey>,
        psk: Option<&[u8; 32]>,
    ) -> Self {
        let table = pattern.table();
        let mut symmetric = Symmetric::new(table.name);
        symmetric.mix_hash(prologue);
        let own_public = own.public_key();
        let (initiator, responder) = match role {
            Role::Initiator => (Some(&own_public), remote),
            Role::Responder => (remote, Some(&own_public)),
        };
        for (key, is_known) in [(initiator, table.initiator_known), (responder, table.responder_known)] {
            if let (Some(key), true) = (key, is_known) {
                symmetric.mix_hash(&point_to_uncompressed(key));
            }
        }
        Self {
            table,
            role,
            next: 0,
            is_over: false,
            symmetric,
            own_static: own.clone(),
            own_ephemeral: None,
            remote_static: remote.copied(),
            remote_ephemeral: None,
            psk: psk.map(|psk| Zeroizing::new(*psk)),
        }
    }

    /// Whether this side writes the next message.
    pub fn is_my_turn(&self) -> bool {
        let writer = if self.next.is_multiple_of(2) { Role::Initiator } else { Role::Responder };
        !self.is_over && !self.is_finished() && writer == self.role
    }

    /// Whether every message was written and read.
    pub fn is_finished(&self) -> bool {
        !self.is_over && self.next == self.table.messages.len()
    }

    /// The other's static key: what was given, or what the handshake has transmitted.
    pub const fn remote_static(&self) -> Option<&PublicKey> {
        self.remote_static.as_ref()
    }

    /// Bytes of the next message.
    pub fn message_bytes(&self) -> usize {
        let tokens = self.table.messages.get(self.next).copied().unwrap_or_default();
        let keys = tokens.iter().map(|token| match token {
            Token::E => UNCOMPRESSED_BYTES,
            Token::S => UNCOMPRESSED_BYTES + TAG_BYTES,
            _ => 0,
        });
        keys.sum::<usize>() + if self.table.seals_payload(self.next) { TAG_BYTES } else { 0 }
    }

    /// Writes the next message and gives its length.
    ///
    /// # Errors
    /// [`NoiseError::Turn`] and [`NoiseError::NoSpace`] change nothing; after any other the handshake has failed.
    pub fn write<R: CryptoRng + ?Sized>(&mut self, out: &mut [u8], rng: &mut R) -> Result<usize, NoiseError> {
        wiped::<STACK_BYTES, _>(|| self.write_message(out, rng))
    }

    fn write_message<R: CryptoRng + ?Sized>(&mut self, out: &mut [u8], rng: &mut R) -> Result<usize, NoiseError> {
        if !self.is_my_turn() {
            return Err(NoiseError::Turn);
        }
        let length = self.message_bytes();
        let mut message = out.get_mut(..length).ok_or(NoiseError::NoSpace)?;
        self.is_over = true;
        for &token in self.table.messages[self.next] {
            match token {
                Token::E => {
                    let ephemeral = generate_secret(rng);
                    let part = split_first(&mut message, UNCOMPRESSED_BYTES)?;
                    part.copy_from_slice(&point_to_uncompressed(&ephemeral.public_key()));
                    self.own_ephemeral = Some(ephemeral);
                    self.mix_ephemeral(part);
                }
                Token::S => {
                    let part = split_first(&mut message, UNCOMPRESSED_BYTES + TAG_BYTES)?;
                    part[..UNCOMPRESSED_BYTES].copy_from_slice(&point_to_uncompressed(&self.own_static.public_key()));
                    self.symmetric.encrypt_and_hash(part)?;
                }
                shared => self.mix_shared(shared)?,
            }
        }
        if self.table.seals_payload(self.next) {
            self.symmetric.encrypt_and_hash(message)?;
        } else {
            self.symmetric.mix_hash(message);
        }
        self.next += 1;
        self.is_over = false;
        Ok(length)
    }

    /// Reads the next message.
    ///
    /// # Errors
    /// [`NoiseError::Turn`] changes nothing; after any other the handshake has failed.
    pub fn read(&mut self, message: &[u8]) -> Result<(), NoiseError> {
        wiped::<STACK_BYTES, _>(|| self.read_message(message))
    }

    fn read_message(&mut self, message: &[u8]) -> Result<(), NoiseError> {
        if self.is_my_turn() || self.is_finished() || self.is_over {
            return Err(NoiseError::Turn);
        }
        self.is_over = true;
        let mut buf = [0; MESSAGE_BYTES_MAX];
        let mut rest = buf.get_mut(..self.message_bytes()).ok_or(NoiseError::Length)?;
        if rest.len() != message.len() {
            return Err(NoiseError::Length);
        }
        rest.copy_from_slice(message);
        for &token in self.table.messages[self.next] {
            match token {
                Token::E => {
                    let part = split_first(&mut rest, UNCOMPRESSED_BYTES)?;
                    self.remote_ephemeral = Some(point_from_uncompressed(part).map_err(|_| NoiseError::Point)?);
                    self.mix_ephemeral(part);
                }
                Token::S => {
                    let part = split_first(&mut rest, UNCOMPRESSED_BYTES + TAG_BYTES)?;
                    self.symmetric.decrypt_and_hash(part)?;
                    let key = &part[..UNCOMPRESSED_BYTES];
                    self.remote_static = Some(point_from_uncompressed(key).map_err(|_| NoiseError::Point)?);
                }
                shared => self.mix_shared(shared)?,
            }
        }
        if self.table.seals_payload(self.next) {
            self.symmetric.decrypt_and_hash(rest)?;
        } else {
            self.symmetric.mix_hash(rest);
        }
        self.next += 1;
        self.is_over = false;
        Ok(())
    }

    /// Ends the handshake (`Split`, Noise §5.2). It stays where it is, so that what it drops it erases there.
    ///
    /// # Errors
    /// [`NoiseError::Turn`]: it is not finished.
    pub fn finish(&mut self) -> Result<Outcome, NoiseError> {
        if !self.is_finished() {
            return Err(NoiseError::Turn);
        }
        let [initiators, responders] =
            wiped::<STACK_BYTES, _>(|| derive(&self.symmetric.chaining_key, &[], &[]).map(Zeroizing::new));
        let (sealing, opening) = match self.role {
            Role::Initiator => (initiators, responders),
            Role::Responder => (responders, initiators),
        };
        self.is_over = true;
        Ok(Outcome { sealing, opening, hash: self.symmetric.hash })
    }

    fn mix_ephemeral(&mut self, key: &[u8]) {
        self.symmetric.mix_hash(key);
        if self.table.has_psk() {
            self.symmetric.mix_key(key);
        }
    }

    /// The tokens that transmit nothing.
    fn mix_shared(&mut self, token: Token) -> Result<(), NoiseError> {
        let is_initiator = self.role == Role::Initiator;
        // The first letter is the initiator's key, the second the responder's.
        let (own_is_ephemeral, remote_is_ephemeral) = match token {
            Token::EE => (true, true),
            Token::SS => (false, false),
            Token::ES => (is_initiator, !is_initiator),
            Token::SE => (!is_initiator, is_initiator),
            Token::Psk => {
                let psk = self.psk.as_ref().ok_or(NoiseError::MissingKey)?;
                self.symmetric.mix_key_and_hash(psk);
                return Ok(());
            }
            // They transmit a key and never come here.
            Token::E | Token::S => return Err(NoiseError::MissingKey),
        };
        let own = if own_is_ephemeral { self.own_ephemeral.as_ref() } else { Some(&self.own_static) };
        let remote = if remote_is_ephemeral { self.remote_ephemeral.as_ref() } else { self.remote_static.as_ref() };
        let (Some(own), Some(remote)) = (own, remote) else {
            return Err(NoiseError::MissingKey);
        };
        self.symmetric.mix_key(&*ecdh(own, remote));
        Ok(())
    }
}

impl fmt::Debug for HandshakeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeState").field("role", &self.role).field("next", &self.next).finish_non_exhaustive()
    }
}

/// Takes the first `count` bytes off `rest`.
fn split_first<'a>(rest: &mut &'a mut [u8], count: usize) -> Result<&'a mut [u8], NoiseError> {
    let (first, after) = core::mem::take(rest).split_at_mut_checked(count).ok_or(NoiseError::Length)?;
    *rest = after;
    Ok(first)
}
