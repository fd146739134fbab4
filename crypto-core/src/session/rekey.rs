//! New keys inside a session: a `KK` handshake in its own records (docs/protocol.md §6.4).
//!
//! | initiator | | responder |
//! | --- | --- | --- |
//! | `start_rekey` | rekey(message 1) → | `answer_rekey` |
//! | `finish_rekey` | ← rekey(message 2), its last under the old key | |
//! | | switch, its last under the old key → | `switch` |

use rand_core::CryptoRng;

use super::handshake::PROLOGUE_BYTES;
use super::{Direction, Session, SessionError};
use crate::identity::{Identity, PublicIdentity};
use crate::noise::{HandshakeState, MESSAGE_BYTES_MAX, Role};
use crate::wire::Frame;

const MODE: u8 = 3;

/// Where a rekey stands.
#[expect(clippy::large_enum_variant, reason = "there is no allocator to box with")]
pub(super) enum Rekey {
    Idle,
    /// The initiator waits for message 2.
    Started(HandshakeState),
    /// The responder seals under the new key and waits for `switch` before it opens under it.
    Answered {
        opening: Direction,
        hash: [u8; 32],
    },
}

impl Session {
    /// Starts a new key: writes a sealed record with the first message. Records go on under the old key.
    ///
    /// # Errors
    /// [`SessionError::OutOfPlace`]: this side is the responder, or a rekey runs. [`SessionError::WrongIdentity`],
    /// or what [`Session::seal`] gives. Nothing has begun.
    pub fn start_rekey<R: CryptoRng + ?Sized>(
        &mut self,
        own: &Identity,
        remote: &PublicIdentity,
        out: &mut [u8],
        rng: &mut R,
    ) -> Result<usize, SessionError> {
        if self.role != Role::Initiator || self.is_rekeying() {
            return Err(SessionError::OutOfPlace);
        }
        let mut noise = self.rekey_handshake(own, remote)?;
        let written = self.seal_message(&mut noise, out, rng)?;
        self.rekey = Rekey::Started(noise);
        Ok(written)
    }

    /// Answers the initiator's message: writes a sealed record with the second, the last under the old sealing key.
    ///
    /// # Errors
    /// [`SessionError::WrongIdentity`], or what [`Session::seal`] gives, which change nothing. [`SessionError::OutOfPlace`] and
    /// [`SessionError::Noise`] close the session.
    pub fn answer_rekey<R: CryptoRng + ?Sized>(
        &mut self,
        message: &[u8],
        own: &Identity,
        remote: &PublicIdentity,
        out: &mut [u8],
        rng: &mut R,
    ) -> Result<usize, SessionError> {
        if self.role != Role::Responder || self.is_rekeying() {
            return Err(self.close(SessionError::OutOfPlace));
        }
        let mut noise = self.rekey_handshake(own, remote)?;
        noise.read(message).map_err(|error| self.close(error.into()))?;
        let written = self.seal_message(&mut noise, out, rng)?;
        let outcome = noise.finish()?;
        self.sealing = Direction::new(&outcome.sealing);
        self.rekey = Rekey::Answered { opening: Direction::new(&outcome.opening), hash: outcome.hash };
        Ok(written)
    }

    /// Reads the responder's message and writes the sealed `switch`, the last record under the old key. Both directions
    /// are new from then on.
    ///
    /// # Errors
    /// [`SessionError::WrongIdentity`], or what [`Session::seal`] gives, which change nothing. [`SessionError::OutOfPlace`] and
    /// [`SessionError::Noise`] close the session.
    pub fn finish_rekey(
        &mut self,
        message: &[u8],
        own: &Identity,
        remote: &PublicIdentity,
        out: &mut [u8],
    ) -> Result<usize, SessionError> {
        self.check_identities(own, remote)?;
        if !matches!(self.rekey, Rekey::Started(_)) {
            return Err(self.close(SessionError::OutOfPlace));
        }
        // First what can fail for want of space, so that the caller may try again.
        let written = self.seal_frame(&Frame::Switch, out)?;
        let Rekey::Started(noise) = &mut self.rekey else {
            return Err(self.close(SessionError::OutOfPlace));
        };
        let outcome = noise.read(message).and_then(|()| noise.finish()).map_err(|error| self.close(error.into()))?;
        // Dropped in its place, so that no ephemeral key stays there.
        self.rekey = Rekey::Idle;
        self.sealing = Direction::new(&outcome.sealing);
        self.opening = Direction::new(&outcome.opening);
        self.hash = outcome.hash;
        self.generation += 1;
        Ok(written)
    }

    /// Takes the initiator's `switch`: what arrives from now on is under the new key.
    ///
    /// # Errors
    /// [`SessionError::OutOfPlace`]: no rekey was answered; closes the session.
    pub fn switch(&mut self) -> Result<(), SessionError> {
        let Rekey::Answered { opening, hash } = &mut self.rekey else {
            return Err(self.close(SessionError::OutOfPlace));
        };
        core::mem::swap(&mut self.opening, opening);
        self.hash = *hash;
        self.generation += 1;
        // With the old key in it, which is erased there.
        self.rekey = Rekey::Idle;
        Ok(())
    }

    fn check_identities(&self, own: &Identity, remote: &PublicIdentity) -> Result<(), SessionError> {
        if (own.client_id(), remote.client_id()) != self.prologue.own_and_remote(self.role) {
            return Err(SessionError::WrongIdentity);
        }
        Ok(())
    }

    /// A handshake whose prologue is the session's in mode 3 and the hash of the handshake before.
    fn rekey_handshake(&self, own: &Identity, remote: &PublicIdentity) -> Result<HandshakeState, SessionError> {
        self.check_identities(own, remote)?;
        let mut prologue = [0; PROLOGUE_BYTES + 32];
        let (start, previous) = prologue.split_at_mut(PROLOGUE_BYTES);
        start.copy_from_slice(&self.prologue.to_bytes(MODE));
        previous.copy_from_slice(&self.hash);
        Ok(HandshakeState::kk(self.role, &prologue, own.agreement(), remote.agreement()))
    }

    fn seal_message<R: CryptoRng + ?Sized>(
        &mut self,
        noise: &mut HandshakeState,
        out: &mut [u8],
        rng: &mut R,
    ) -> Result<usize, SessionError> {
        let mut message = [0; MESSAGE_BYTES_MAX];
        let written = noise.write(&mut message, rng)?;
        self.seal_frame(&Frame::Rekey(&message[..written]), out)
    }
}
