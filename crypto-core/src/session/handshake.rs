//! The handshakes of docs/protocol.md §6.1: Noise with the prologue that binds who, over which connection, in which mode.

use core::fmt;

use p256::PublicKey;
use rand_core::CryptoRng;

use super::{Session, SessionError};
use crate::identity::{ClientId, Identity, PublicIdentity};
use crate::invite::InviteKeys;
use crate::noise::{HandshakeState, NoiseError, Role};
use crate::version::Version;

const LABEL: &[u8; 14] = b"kith/1 session";
/// Bytes of the prologue in modes 1, 2 and 4.
pub(super) const PROLOGUE_BYTES: usize = LABEL.len() + 1 + SIDES_BYTES;
const SIDES_BYTES: usize = 2 * (6 + 20 + 32);

/// What a handshake is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Between contacts: `KK`.
    Paired,
    /// The first one after an invite: `XKpsk3`.
    Invite,
    /// Between two who are going to compare digits: `XX`.
    Comparison,
}

/// What the prologue says of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// Who it is.
    pub client_id: ClientId,
    /// SHA-256 of its DTLS certificate, as the completed DTLS handshake verified it.
    pub fingerprint: [u8; 32],
    /// The version in its sealed offer or answer.
    pub version: Version,
}

/// Both sides, as every prologue of a session holds them.
#[derive(Clone, Copy)]
pub(super) struct Prologue {
    pub(super) initiator: Side,
    pub(super) responder: Side,
}

impl Prologue {
    /// `"kith/1 session" ‖ mode ‖ versions ‖ client ids ‖ fingerprints`, 131 bytes.
    pub(super) fn to_bytes(self, mode: u8) -> [u8; PROLOGUE_BYTES] {
        let mut bytes = [0; PROLOGUE_BYTES];
        let mut rest = &mut bytes[..];
        for part in [
            &LABEL[..],
            &[mode],
            &self.initiator.version.to_bytes(),
            &self.responder.version.to_bytes(),
            self.initiator.client_id.as_bytes(),
            self.responder.client_id.as_bytes(),
            &self.initiator.fingerprint,
            &self.responder.fingerprint,
        ] {
            // The parts' fixed lengths add up to the array's.
            let (to, after) = rest.split_at_mut(part.len());
            to.copy_from_slice(part);
            rest = after;
        }
        bytes
    }

    /// The client ids of the side that has `role`, and of the other.
    pub(super) const fn own_and_remote(&self, role: Role) -> (ClientId, ClientId) {
        let (initiator, responder) = (self.initiator.client_id, self.responder.client_id);
        match role {
            Role::Initiator => (initiator, responder),
            Role::Responder => (responder, initiator),
        }
    }
}

impl Mode {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Paired => 1,
            Self::Invite => 2,
            Self::Comparison => 4,
        }
    }
}

/// A handshake that is not finished.
pub struct Handshake {
    noise: HandshakeState,
    role: Role,
    prologue: Prologue,
    /// Whom this side expects where a static key is transmitted: the agreement key of the card that came before.
    expected: Option<PublicKey>,
}

impl Handshake {
    /// Starts a handshake between contacts.
    pub fn paired(role: Role, own: &Identity, remote: &PublicIdentity, initiator: Side, responder: Side) -> Self {
        let prologue = Prologue { initiator, responder };
        let bytes = prologue.to_bytes(Mode::Paired.to_byte());
        Self {
            noise: HandshakeState::kk(role, &bytes, own.agreement(), remote.agreement()),
            role,
            prologue,
            expected: None,
        }
    }

    /// Starts the invitee's handshake, the initiator's.
    pub fn invited(
        own: &Identity,
        inviter: &PublicIdentity,
        keys: &InviteKeys,
        initiator: Side,
        responder: Side,
    ) -> Self {
        let prologue = Prologue { initiator, responder };
        let bytes = prologue.to_bytes(Mode::Invite.to_byte());
        Self {
            noise: HandshakeState::xk_psk3_initiator(&bytes, own.agreement(), inviter.agreement(), &keys.noise_psk),
            role: Role::Initiator,
            prologue,
            expected: None,
        }
    }

    /// Starts the inviter's handshake, the responder's. The static key that arrives must be `invitee`'s.
    pub fn inviting(
        own: &Identity,
        invitee: &PublicIdentity,
        keys: &InviteKeys,
        initiator: Side,
        responder: Side,
    ) -> Self {
        let prologue = Prologue { initiator, responder };
        let bytes = prologue.to_bytes(Mode::Invite.to_byte());
        Self {
            noise: HandshakeState::xk_psk3_responder(&bytes, own.agreement(), &keys.noise_psk),
            role: Role::Responder,
            prologue,
            expected: Some(*invitee.agreement()),
        }
    }

    /// Starts a handshake with somebody who is to be proven by digits. The static key that arrives must be `remote`'s, who
    /// may be anybody yet.
    pub fn comparing(role: Role, own: &Identity, remote: &PublicIdentity, initiator: Side, responder: Side) -> Self {
        let prologue = Prologue { initiator, responder };
        let bytes = prologue.to_bytes(Mode::Comparison.to_byte());
        Self {
            noise: HandshakeState::xx(role, &bytes, own.agreement()),
            role,
            prologue,
            expected: Some(*remote.agreement()),
        }
    }

    /// Whether this side writes the next message.
    pub fn is_my_turn(&self) -> bool {
        self.noise.is_my_turn()
    }

    /// Whether every message was written and read.
    pub fn is_finished(&self) -> bool {
        self.noise.is_finished()
    }

    /// Writes the next message, at most 162 bytes, and gives its length.
    ///
    /// # Errors
    /// [`SessionError::Noise`].
    pub fn write<R: CryptoRng + ?Sized>(&mut self, out: &mut [u8], rng: &mut R) -> Result<usize, SessionError> {
        Ok(self.noise.write(out, rng)?)
    }

    /// Reads the next message.
    ///
    /// # Errors
    /// [`SessionError::Noise`] or [`SessionError::WrongStatic`]; the handshake has failed.
    pub fn read(&mut self, message: &[u8]) -> Result<(), SessionError> {
        self.noise.read(message)?;
        self.check_static()
    }

    /// Ends the handshake and gives the session.
    ///
    /// # Errors
    /// [`SessionError::Noise`]: it is not finished. [`SessionError::WrongStatic`].
    pub fn finish(mut self) -> Result<Session, SessionError> {
        self.check_static()?;
        Ok(Session::new(self.role, self.prologue, &self.noise.finish()?))
    }

    fn check_static(&self) -> Result<(), SessionError> {
        match (self.expected, self.noise.remote_static()) {
            (Some(expected), Some(remote)) if expected != *remote => Err(SessionError::WrongStatic),
            (Some(_), None) if self.noise.is_finished() => Err(NoiseError::MissingKey.into()),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handshake").field(&self.noise).finish()
    }
}
