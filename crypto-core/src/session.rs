//! A session between two devices: the handshake that begins it, its records, and the change of
//! keys inside it (docs/protocol.md §6).
//!
//! Records are sealed and opened in the caller's buffers; nothing here allocates. The counters
//! only grow, and a record that does not open at its counter is an error from which there is no
//! way back: the caller closes the session.

use core::fmt;

use rand_core::CryptoRng;

use crate::identity::{ClientId, Identity, PublicIdentity};
use crate::invite::InviteKeys;
use crate::noise::{self, CipherState, MESSAGE_BYTES_MAX, NoiseError, Parameters, Pattern, Role};
use crate::primitives::TAG_BYTES;
use crate::version::Version;
use crate::wire::{Frame, WireError};

/// The largest message on the channel, tag included.
pub const RECORD_BYTES_MAX: usize = 16_384;
/// What it holds.
pub const PLAINTEXT_BYTES_MAX: usize = RECORD_BYTES_MAX - TAG_BYTES;

/// Plaintexts are padded to one of these, so that lengths say little. Each is a round body and
/// its frame's other fields.
pub const PADDED_BYTES: [usize; 7] = [128, 512, 1_280, 4_352, 8_448, 12_544, PLAINTEXT_BYTES_MAX];

const LABEL: &[u8; 14] = b"kith/1 session";
const PROLOGUE_BYTES: usize = LABEL.len() + 1 + 2 * 6 + 2 * 20 + 2 * 32;
const REKEY_PROLOGUE_BYTES: usize = PROLOGUE_BYTES + 32;

/// Why a handshake or a session cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// A handshake message or a record was refused.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// A frame does not parse, or does not fit.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A handshake message carried a payload.
    #[error("the handshake message carries something")]
    Payload,
    /// Larger than a record may be.
    #[error("it is larger than a record may be")]
    TooLarge,
    /// A step of a rekey that is not due.
    #[error("a step of a rekey came out of turn")]
    Rekey,
}

/// What a handshake is for; it stands in the prologue, so that no message of one kind is taken
/// for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Between paired devices.
    Paired = 1,
    /// Pairing by invite.
    Invite = 2,
    /// Inside a session.
    Rekey = 3,
}

/// What is known of one side before the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// Who it is.
    pub client_id: ClientId,
    /// SHA-256 of its DTLS certificate, as the completed DTLS handshake showed it.
    pub fingerprint: [u8; 32],
    /// From its sealed offer or answer.
    pub version: Version,
}

#[derive(Clone, Copy)]
struct Prologue([u8; PROLOGUE_BYTES]);

impl Prologue {
    fn new(mode: Mode, initiator: &Side, responder: &Side) -> Self {
        let mut bytes = [0; PROLOGUE_BYTES];
        let mut place = 0;
        let parts: [&[u8]; 8] = [
            LABEL,
            &[mode as u8],
            &initiator.version.to_bytes(),
            &responder.version.to_bytes(),
            initiator.client_id.as_bytes(),
            responder.client_id.as_bytes(),
            &initiator.fingerprint,
            &responder.fingerprint,
        ];
        for part in parts {
            bytes[place..place + part.len()].copy_from_slice(part);
            place += part.len();
        }
        Self(bytes)
    }

    fn rekey(&self, previous_hash: &[u8; 32]) -> [u8; REKEY_PROLOGUE_BYTES] {
        let mut bytes = [0; REKEY_PROLOGUE_BYTES];
        let (prologue, hash) = bytes.split_at_mut(PROLOGUE_BYTES);
        prologue.copy_from_slice(&self.0);
        prologue[LABEL.len()] = Mode::Rekey as u8;
        hash.copy_from_slice(previous_hash);
        bytes
    }
}

/// A handshake under way in a new channel.
pub struct Handshake {
    noise: noise::Handshake,
    role: Role,
    prologue: Prologue,
}

impl Handshake {
    /// Between paired devices.
    pub fn paired(role: Role, own: &Identity, remote: &PublicIdentity, initiator: Side, responder: Side) -> Self {
        Self::new(Mode::Paired, Pattern::Kk, role, own, remote, &initiator, &responder)
    }

    /// The invitee's side of a pairing.
    pub fn invited(own: &Identity, inviter: &PublicIdentity, keys: &InviteKeys, initiator: Side, responder: Side) -> Self {
        let pattern = Pattern::XkPsk3(&keys.noise_psk);
        Self::new(Mode::Invite, pattern, Role::Initiator, own, inviter, &initiator, &responder)
    }

    /// The inviter's side of a pairing. The invitee's static key must be the one of the card in
    /// its first offer.
    pub fn inviting(own: &Identity, invitee: &PublicIdentity, keys: &InviteKeys, initiator: Side, responder: Side) -> Self {
        let pattern = Pattern::XkPsk3(&keys.noise_psk);
        Self::new(Mode::Invite, pattern, Role::Responder, own, invitee, &initiator, &responder)
    }

    fn new(
        mode: Mode,
        pattern: Pattern<'_>,
        role: Role,
        own: &Identity,
        remote: &PublicIdentity,
        initiator: &Side,
        responder: &Side,
    ) -> Self {
        let prologue = Prologue::new(mode, initiator, responder);
        let noise = noise::Handshake::new(
            pattern,
            &Parameters { role, prologue: &prologue.0, own: own.agreement(), remote: remote.agreement() },
        );
        Self { noise, role, prologue }
    }

    /// Whether every message was written and read.
    pub fn is_finished(&self) -> bool {
        self.noise.is_finished()
    }

    /// Whether [`Handshake::write`] comes next.
    pub fn is_my_turn(&self) -> bool {
        self.noise.is_my_turn()
    }

    /// Writes the next message and returns its length, at most
    /// [`noise::MESSAGE_BYTES_MAX`].
    ///
    /// # Errors
    /// Out of turn, or a buffer that is too small.
    pub fn write<R: CryptoRng + ?Sized>(&mut self, out: &mut [u8], rng: &mut R) -> Result<usize, SessionError> {
        Ok(self.noise.write(&[], out, rng)?)
    }

    /// Reads the other side's next message, in place.
    ///
    /// # Errors
    /// Out of turn, malformed, not authentic, or from somebody else.
    pub fn read(&mut self, message: &mut [u8]) -> Result<(), SessionError> {
        if self.noise.read(message)?.is_empty() { Ok(()) } else { Err(SessionError::Payload) }
    }

    /// The session, once every message was written and read.
    ///
    /// # Errors
    /// A handshake that is not finished.
    pub fn finish(self) -> Result<Session, SessionError> {
        let transport = self.noise.finish()?;
        Ok(Session {
            role: self.role,
            prologue: self.prologue,
            hash: transport.hash,
            send: transport.send,
            receive: transport.receive,
            rekey: Rekey::None,
            generation: 0,
        })
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.noise.fmt(f)
    }
}

/// How far a change of keys has come.
#[allow(clippy::large_enum_variant)] // there is no allocator to box it with
enum Rekey {
    None,
    /// Initiator: the first message is sent.
    Started(noise::Handshake),
    /// Responder: sends under the new key, still opens under the old one.
    Answered(CipherState),
}

/// An established session.
pub struct Session {
    role: Role,
    prologue: Prologue,
    hash: [u8; 32],
    send: CipherState,
    receive: CipherState,
    rekey: Rekey,
    generation: u64,
}

impl Session {
    /// Whether this side made the offer, and so starts every rekey.
    pub fn is_initiator(&self) -> bool {
        self.role == Role::Initiator
    }

    /// The hash of the handshake that made the present keys.
    pub fn handshake_hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// How often the keys have changed.
    pub fn key_generation(&self) -> u64 {
        self.generation
    }

    /// Records under the present keys, in the direction that has more.
    pub fn records(&self) -> u64 {
        self.send.counter().max(self.receive.counter())
    }

    /// Whether a change of keys is under way.
    pub fn is_rekeying(&self) -> bool {
        !matches!(self.rekey, Rekey::None)
    }

    /// Pads the first `length` bytes and seals them in place; returns the record's length.
    ///
    /// # Errors
    /// Too long for a record, or for the buffer.
    pub fn seal(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SessionError> {
        let padded = PADDED_BYTES.into_iter().find(|padded| length <= *padded).ok_or(SessionError::TooLarge)?;
        buffer.get_mut(length..padded).ok_or(NoiseError::Buffer)?.fill(0);
        Ok(self.send.seal(&[], buffer, padded)?)
    }

    /// Opens a record in place; gives the frame and its padding.
    ///
    /// # Errors
    /// A record of a wrong length, or one that does not open at the present counter.
    pub fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<&'a mut [u8], SessionError> {
        let length = record.len().saturating_sub(TAG_BYTES);
        if !PADDED_BYTES.contains(&length) {
            return Err(SessionError::TooLarge);
        }
        Ok(self.receive.open(&[], record)?)
    }

    /// Encodes, pads and seals a frame; returns the record's length.
    ///
    /// # Errors
    /// A frame that does not fit.
    pub fn seal_frame(&mut self, frame: &Frame<'_>, out: &mut [u8]) -> Result<usize, SessionError> {
        let length = frame.encode(out)?;
        self.seal(out, length)
    }

    /// Opens a record and reads its frame. `None` for an unknown kind that may be skipped.
    ///
    /// # Errors
    /// A record that does not open, or whose frame does not parse.
    pub fn open_frame<'a>(&mut self, record: &'a mut [u8]) -> Result<Option<Frame<'a>>, SessionError> {
        Ok(Frame::decode(self.open(record)?)?)
    }

    /// The initiator begins a change of keys: writes a record for the other side.
    ///
    /// # Errors
    /// Not the initiator, or a change is under way.
    pub fn start_rekey<R: CryptoRng + ?Sized>(
        &mut self,
        own: &Identity,
        remote: &PublicIdentity,
        out: &mut [u8],
        rng: &mut R,
    ) -> Result<usize, SessionError> {
        if !self.is_initiator() || self.is_rekeying() {
            return Err(SessionError::Rekey);
        }
        let mut handshake = self.rekey_handshake(own, remote);
        let mut message = [0; MESSAGE_BYTES_MAX];
        let length = handshake.write(&[], &mut message, rng)?;
        let sealed = self.seal_frame(&Frame::Rekey(&message[..length]), out)?;
        self.rekey = Rekey::Started(handshake);
        Ok(sealed)
    }

    /// The responder, on the initiator's `rekey`: writes its last record under the old key.
    ///
    /// # Errors
    /// Not the responder, a change is under way, or the message is refused.
    pub fn answer_rekey<R: CryptoRng + ?Sized>(
        &mut self,
        message: &[u8],
        own: &Identity,
        remote: &PublicIdentity,
        out: &mut [u8],
        rng: &mut R,
    ) -> Result<usize, SessionError> {
        if self.is_initiator() || self.is_rekeying() {
            return Err(SessionError::Rekey);
        }
        let mut handshake = self.rekey_handshake(own, remote);
        read_copy(&mut handshake, message)?;
        let mut answer = [0; MESSAGE_BYTES_MAX];
        let length = handshake.write(&[], &mut answer, rng)?;
        let sealed = self.seal_frame(&Frame::Rekey(&answer[..length]), out)?;
        let transport = handshake.finish()?;
        self.hash = transport.hash;
        self.send = transport.send;
        self.rekey = Rekey::Answered(transport.receive);
        Ok(sealed)
    }

    /// The initiator, on the responder's `rekey`: writes `switch`, its last record under the old
    /// key. Both directions are new afterwards.
    ///
    /// # Errors
    /// No change was started, or the message is refused.
    pub fn finish_rekey(&mut self, message: &[u8], out: &mut [u8]) -> Result<usize, SessionError> {
        let Rekey::Started(mut handshake) = core::mem::replace(&mut self.rekey, Rekey::None) else {
            return Err(SessionError::Rekey);
        };
        read_copy(&mut handshake, message)?;
        let transport = handshake.finish()?;
        let sealed = self.seal_frame(&Frame::Switch, out)?;
        self.hash = transport.hash;
        self.send = transport.send;
        self.receive = transport.receive;
        self.generation += 1;
        Ok(sealed)
    }

    /// The responder, on `switch`: opens under the new key from now on.
    ///
    /// # Errors
    /// No change is under way.
    pub fn switch(&mut self) -> Result<(), SessionError> {
        let Rekey::Answered(receive) = core::mem::replace(&mut self.rekey, Rekey::None) else {
            return Err(SessionError::Rekey);
        };
        self.receive = receive;
        self.generation += 1;
        Ok(())
    }

    fn rekey_handshake(&self, own: &Identity, remote: &PublicIdentity) -> noise::Handshake {
        let prologue = self.prologue.rekey(&self.hash);
        let parameters =
            Parameters { role: self.role, prologue: &prologue, own: own.agreement(), remote: remote.agreement() };
        noise::Handshake::new(Pattern::Kk, &parameters)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?}, generation {}, records {}, secret)", self.role, self.generation, self.records())
    }
}

/// Handshake messages are read in place, frames are read-only.
fn read_copy(handshake: &mut noise::Handshake, message: &[u8]) -> Result<(), SessionError> {
    let mut copy = [0; MESSAGE_BYTES_MAX];
    let copy = copy.get_mut(..message.len()).ok_or(NoiseError::Length)?;
    copy.copy_from_slice(message);
    if handshake.read(copy)?.is_empty() { Ok(()) } else { Err(SessionError::Payload) }
}
