//! Signaling payloads, sealed end to end with HPKE (RFC 9180): DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, in the
//! modes auth and auth-psk (docs/protocol.md §5).
//!
//! Invariants:
//! - What opens was sealed by the named sender for this receiver, with this header and, while pairing, this invite.
//! - Tags and lengths are checked before any curve operation.
//! - HPKE is used in this module only: its successor draft drops the auth modes, so that it may have to be replaced.
//!
//! Deliberately absent: which sessions are live and which indices have been seen (the engine), and forward secrecy, which
//! signaling has none of: a stolen agreement key opens recorded payloads.

#[doc(hidden)]
pub mod one_shot;

use rand_core::CryptoRng;

use crate::identity::{CARD_BYTES, Card, Identity, IdentityError, PUBLIC_IDENTITY_BYTES, PublicIdentity};
use crate::invite::InviteKeys;
use crate::primitives::{Refused, TAG_BYTES, UNCOMPRESSED_BYTES};
use crate::version::{VERSION_BYTES, Version};
use one_shot::Psk;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 21;
/// The longest plaintext: a version and a body.
pub const PLAINTEXT_BYTES_MAX: usize = 16_384;
/// The longest body.
pub const BODY_BYTES_MAX: usize = PLAINTEXT_BYTES_MAX - VERSION_BYTES;
/// What a payload is longer than its body.
pub const OVERHEAD: usize = HEADER_BYTES + UNCOMPRESSED_BYTES + VERSION_BYTES + TAG_BYTES;
/// Bytes of the payload that shows a card.
pub const CARD_PAYLOAD_BYTES: usize = HEADER_BYTES + CARD_BYTES;
/// What a first offer is longer than its body.
pub const FIRST_OVERHEAD: usize = OVERHEAD + CARD_BYTES;

const LABEL: &[u8; 13] = b"kith/1 sealed";
const FIRST_LABEL: &[u8; 19] = b"kith/1 sealed first";

/// Why a payload was not sealed or not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    /// An unknown type, or a first offer or a card where none may be, or the other way round.
    #[error("not the type of payload")]
    Kind,
    /// Too short or too long.
    #[error("wrong length")]
    Length,
    /// The output is too short.
    #[error("the buffer is too short")]
    NoSpace,
    /// A card, or that of a first offer.
    #[error("card: {0}")]
    Card(#[from] IdentityError),
    /// Another sender, receiver, header, invite or bit.
    #[error("does not open")]
    Sealed,
}

impl From<Refused> for SealedError {
    fn from(_: Refused) -> Self {
        Self::Sealed
    }
}

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PayloadKind {
    /// An SDP offer.
    Offer = 1,
    /// An SDP answer.
    Answer = 2,
    /// A candidate; an empty body says that there are no more.
    Candidate = 3,
    /// The offer of an invitee, with its card.
    FirstOffer = 4,
    /// Ends the attempt.
    Withdraw = 5,
    /// In clear, before two compare digits: who shows the code.
    Card = 6,
}

impl PayloadKind {
    /// Whether it is sealed between two who know each other's keys.
    const fn is_sealed_to_contact(self) -> bool {
        match self {
            Self::Offer | Self::Answer | Self::Candidate | Self::Withdraw => true,
            Self::FirstOffer | Self::Card => false,
        }
    }
}

impl PayloadKind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Offer,
            2 => Self::Answer,
            3 => Self::Candidate,
            4 => Self::FirstOffer,
            5 => Self::Withdraw,
            6 => Self::Card,
            _ => return None,
        })
    }
}

/// Names an attempt to connect: random, the offerer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

/// What stands in clear before a sealed payload: `type u8 ‖ session id [16] ‖ index u32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the payload is.
    pub kind: PayloadKind,
    /// The attempt that it belongs to.
    pub session: SessionId,
    /// Candidates count from 1; 0 for the others.
    pub index: u32,
}

impl Header {
    /// Reads a payload's header without opening it. Nothing is proven by it.
    ///
    /// # Errors
    /// [`SealedError::Length`] or [`SealedError::Kind`].
    pub fn peek(payload: &[u8]) -> Result<Self, SealedError> {
        let ([kind, rest @ ..], _) = payload.split_first_chunk::<HEADER_BYTES>().ok_or(SealedError::Length)?;
        let (session, index) = rest.split_first_chunk().ok_or(SealedError::Length)?;
        let index = index.first_chunk().ok_or(SealedError::Length)?;
        Ok(Self {
            kind: PayloadKind::from_byte(*kind).ok_or(SealedError::Kind)?,
            session: SessionId(*session),
            index: u32::from_be_bytes(*index),
        })
    }

    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = self.kind as u8;
        bytes[1..17].copy_from_slice(&self.session.0);
        bytes[17..].copy_from_slice(&self.index.to_be_bytes());
        bytes
    }
}

/// An opened payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Opened<'a> {
    /// What stood in clear, now proven.
    pub header: Header,
    /// What the sender speaks.
    pub version: Version,
    /// An SDP or a candidate, UTF-8 that is not checked yet.
    pub body: &'a [u8],
}

// The body holds addresses.
impl core::fmt::Debug for Opened<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Opened").field("header", &self.header).field("version", &self.version).finish_non_exhaustive()
    }
}

/// An opened first offer and the card that came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedFirst<'a> {
    /// The offer.
    pub opened: Opened<'a>,
    /// Who sent it; verified, and the holder of its agreement key.
    pub card: Card,
}

/// Seals a payload to a contact into `out` and gives its length, `body.len() + OVERHEAD`.
///
/// # Errors
/// [`SealedError::Kind`] for a first offer or a card, [`SealedError::Length`] for a body over the limit, [`SealedError::NoSpace`].
pub fn seal<R: CryptoRng + ?Sized>(
    own: &Identity,
    remote: &PublicIdentity,
    header: Header,
    version: Version,
    body: &[u8],
    out: &mut [u8],
    rng: &mut R,
) -> Result<usize, SealedError> {
    if !header.kind.is_sealed_to_contact() {
        return Err(SealedError::Kind);
    }
    let mut parts = Parts::of(out, 0, body.len())?;
    parts.clear.copy_from_slice(&header.to_bytes());
    parts.fill(version, body);
    let (enc, tag) = one_shot::seal(
        own.agreement(),
        remote.agreement(),
        None,
        &info(LABEL, own.public(), remote),
        parts.clear,
        parts.plaintext,
        rng,
    )?;
    *parts.enc = enc;
    *parts.tag = tag;
    Ok(body.len() + OVERHEAD)
}

/// Opens a contact's payload in place.
///
/// # Errors
/// [`SealedError::Kind`], [`SealedError::Length`] or [`SealedError::Sealed`].
pub fn open<'a>(own: &Identity, remote: &PublicIdentity, payload: &'a mut [u8]) -> Result<Opened<'a>, SealedError> {
    let header = Header::peek(payload)?;
    if !header.kind.is_sealed_to_contact() {
        return Err(SealedError::Kind);
    }
    let body_bytes = payload.len().checked_sub(OVERHEAD).ok_or(SealedError::Length)?;
    let parts = Parts::of(payload, 0, body_bytes)?;
    one_shot::open(
        own.agreement(),
        remote.agreement(),
        None,
        &info(LABEL, remote, own.public()),
        parts.clear,
        (parts.enc, parts.plaintext, parts.tag),
    )?;
    opened(header, parts.plaintext)
}

/// Seals an invitee's first offer to the inviter into `out` and gives its length, `body.len() + FIRST_OVERHEAD`.
///
/// # Errors
/// [`SealedError::Kind`] for anything but a first offer, [`SealedError::Length`] for a body over the limit,
/// [`SealedError::NoSpace`].
#[expect(clippy::too_many_arguments, reason = "the parts of the format, each once")]
pub fn seal_first<R: CryptoRng + ?Sized>(
    own: &Identity,
    remote: &PublicIdentity,
    keys: &InviteKeys,
    header: Header,
    version: Version,
    body: &[u8],
    out: &mut [u8],
    rng: &mut R,
) -> Result<usize, SealedError> {
    if header.kind != PayloadKind::FirstOffer {
        return Err(SealedError::Kind);
    }
    let mut parts = Parts::of(out, CARD_BYTES, body.len())?;
    let (header_out, card_out) = parts.clear.split_at_mut(HEADER_BYTES);
    header_out.copy_from_slice(&header.to_bytes());
    card_out.copy_from_slice(own.card().as_bytes());
    parts.fill(version, body);
    let (enc, tag) = one_shot::seal(
        own.agreement(),
        remote.agreement(),
        Some(psk(keys)),
        &info(FIRST_LABEL, own.public(), remote),
        parts.clear,
        parts.plaintext,
        rng,
    )?;
    *parts.enc = enc;
    *parts.tag = tag;
    Ok(body.len() + FIRST_OVERHEAD)
}

/// Opens a first offer in place, and verifies the card that came with it.
///
/// # Errors
/// [`SealedError::Kind`], [`SealedError::Length`], [`SealedError::Card`] or [`SealedError::Sealed`].
pub fn open_first<'a>(
    own: &Identity,
    keys: &InviteKeys,
    payload: &'a mut [u8],
) -> Result<OpenedFirst<'a>, SealedError> {
    let header = Header::peek(payload)?;
    if header.kind != PayloadKind::FirstOffer {
        return Err(SealedError::Kind);
    }
    let body_bytes = payload.len().checked_sub(FIRST_OVERHEAD).ok_or(SealedError::Length)?;
    let parts = Parts::of(payload, CARD_BYTES, body_bytes)?;
    let card = Card::parse(&parts.clear[HEADER_BYTES..])?;
    one_shot::open(
        own.agreement(),
        card.identity().agreement(),
        Some(psk(keys)),
        &info(FIRST_LABEL, card.identity(), own.public()),
        parts.clear,
        (parts.enc, parts.plaintext, parts.tag),
    )?;
    let opened = opened(header, parts.plaintext)?;
    Ok(OpenedFirst { opened, card })
}

/// The payload that shows an own card, to whoever has typed a code.
pub fn show_card(card: &Card) -> [u8; CARD_PAYLOAD_BYTES] {
    let mut payload = [0; CARD_PAYLOAD_BYTES];
    let (header, shown) = payload.split_at_mut(HEADER_BYTES);
    header.copy_from_slice(&Header { kind: PayloadKind::Card, session: SessionId([0; 16]), index: 0 }.to_bytes());
    shown.copy_from_slice(card.as_bytes());
    payload
}

/// The card that such a payload shows. It is genuine; whose it is the digits will tell.
///
/// # Errors
/// [`SealedError::Kind`], [`SealedError::Length`] or [`SealedError::Card`].
pub fn shown_card(payload: &[u8]) -> Result<Card, SealedError> {
    if Header::peek(payload)?.kind != PayloadKind::Card {
        return Err(SealedError::Kind);
    }
    if payload.len() != CARD_PAYLOAD_BYTES {
        return Err(SealedError::Length);
    }
    Ok(Card::parse(&payload[HEADER_BYTES..])?)
}

/// A payload's parts in its buffer.
struct Parts<'a> {
    /// The header and what else is associated data.
    clear: &'a mut [u8],
    enc: &'a mut [u8; UNCOMPRESSED_BYTES],
    plaintext: &'a mut [u8],
    tag: &'a mut [u8; TAG_BYTES],
}

impl<'a> Parts<'a> {
    fn of(buf: &'a mut [u8], card_bytes: usize, body_bytes: usize) -> Result<Self, SealedError> {
        if body_bytes > BODY_BYTES_MAX {
            return Err(SealedError::Length);
        }
        let (clear, rest) = buf.split_at_mut_checked(HEADER_BYTES + card_bytes).ok_or(SealedError::NoSpace)?;
        let (enc, rest) = rest.split_first_chunk_mut().ok_or(SealedError::NoSpace)?;
        let (plaintext, rest) = rest.split_at_mut_checked(VERSION_BYTES + body_bytes).ok_or(SealedError::NoSpace)?;
        let tag = rest.first_chunk_mut().ok_or(SealedError::NoSpace)?;
        Ok(Self { clear, enc, plaintext, tag })
    }
}

impl Parts<'_> {
    fn fill(&mut self, version: Version, body: &[u8]) {
        let (version_out, body_out) = self.plaintext.split_at_mut(VERSION_BYTES);
        version_out.copy_from_slice(&version.to_bytes());
        body_out.copy_from_slice(body);
    }
}

fn opened(header: Header, plaintext: &[u8]) -> Result<Opened<'_>, SealedError> {
    let (version, body) = plaintext.split_first_chunk().ok_or(SealedError::Length)?;
    Ok(Opened { header, version: Version::from_bytes(version), body })
}

fn psk(keys: &InviteKeys) -> Psk<'_> {
    Psk { key: &keys.sealed_psk, id: &keys.token }
}

/// `label ‖ sender's public identity ‖ receiver's public identity`.
fn info(label: &[u8], sender: &PublicIdentity, receiver: &PublicIdentity) -> Info {
    let mut info = Info::new();
    // The longest label and two identities are the vector's capacity.
    for part in [label, &sender.to_bytes(), &receiver.to_bytes()] {
        let _ = info.extend_from_slice(part);
    }
    info
}

type Info = heapless::Vec<u8, { FIRST_LABEL.len() + 2 * PUBLIC_IDENTITY_BYTES }>;
