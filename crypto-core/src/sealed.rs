//! Signaling payloads, sealed end to end with HPKE (RFC 9180; docs/protocol.md §5). The only
//! place that uses HPKE: the successor of its specification drops the modes with a sender's key.

use core::fmt;

use hpke::aead::{AeadTag, AesGcm256};
use hpke::kdf::HkdfSha256;
use hpke::kem::DhP256HkdfSha256;
use hpke::{Deserializable, OpModeR, OpModeS, PskBundle, Serializable};
use p256::SecretKey;
use rand_core::CryptoRng;

use crate::identity::{CARD_BYTES, Card, Identity, PUBLIC_BYTES, PublicIdentity};
use crate::invite::InviteKeys;
use crate::primitives::{TAG_BYTES, UNCOMPRESSED_BYTES, uncompress, uncompressed_point};
use crate::version::Version;

type Kem = DhP256HkdfSha256;
type PrivateKey = <Kem as hpke::Kem>::PrivateKey;
type PublicKey = <Kem as hpke::Kem>::PublicKey;
type EncappedKey = <Kem as hpke::Kem>::EncappedKey;

const LABEL: &[u8; 13] = b"kith/1 sealed";
const FIRST_LABEL: &[u8; 19] = b"kith/1 sealed first";
const VERSION_BYTES: usize = 6;
/// type ‖ session id ‖ index.
pub const HEADER_BYTES: usize = 1 + 16 + 4;
/// What sealing adds to a body.
pub const OVERHEAD: usize = HEADER_BYTES + UNCOMPRESSED_BYTES + VERSION_BYTES + TAG_BYTES;
/// What sealing adds to the body of a first offer.
pub const FIRST_OVERHEAD: usize = OVERHEAD + CARD_BYTES;
/// The largest body with its version.
pub const PLAINTEXT_BYTES_MAX: usize = 16_384;

/// Why a payload was not sealed or not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    /// Too short, or of an unknown type.
    #[error("the payload is malformed")]
    Malformed,
    /// Longer than a payload may be, or than the buffer.
    #[error("the payload is too long")]
    TooLong,
    /// The card in a first offer does not verify.
    #[error("the card in the payload does not verify")]
    Card,
    /// Not from this sender, not for this device, or changed on its way.
    #[error("the payload does not open")]
    NotAuthentic,
}

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// An SDP offer to a contact.
    Offer = 1,
    /// An SDP answer.
    Answer = 2,
    /// An ICE candidate.
    Candidate = 3,
    /// An SDP offer to the maker of an invite.
    FirstOffer = 4,
    /// The offer is given up.
    Withdraw = 5,
}

/// The offerer's name for one attempt: 16 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 16]);

/// The clear beginning of a payload; authenticated with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: PayloadKind,
    /// Which attempt it belongs to.
    pub session: SessionId,
    /// Counts candidates from 1; 0 for the others.
    pub index: u32,
}

impl Header {
    /// Reads the header of a payload without opening it: what it says is not proven yet.
    ///
    /// # Errors
    /// Too short, or of an unknown type.
    pub fn peek(payload: &[u8]) -> Result<Self, SealedError> {
        let header: &[u8; HEADER_BYTES] = payload.first_chunk().ok_or(SealedError::Malformed)?;
        let (kind, rest) = header.split_at(1);
        let (session, index) = rest.split_at(16);
        let kind = match kind {
            [1] => PayloadKind::Offer,
            [2] => PayloadKind::Answer,
            [3] => PayloadKind::Candidate,
            [4] => PayloadKind::FirstOffer,
            [5] => PayloadKind::Withdraw,
            _ => return Err(SealedError::Malformed),
        };
        let session = SessionId(session.try_into().map_err(|_| SealedError::Malformed)?);
        let index = u32::from_be_bytes(index.try_into().map_err(|_| SealedError::Malformed)?);
        Ok(Self { kind, session, index })
    }

    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = self.kind as u8;
        bytes[1..17].copy_from_slice(&self.session.0);
        bytes[17..].copy_from_slice(&self.index.to_be_bytes());
        bytes
    }
}

/// A payload that has opened.
#[derive(Clone, Copy)]
pub struct Opened<'a> {
    /// What it is.
    pub header: Header,
    /// What its sender speaks.
    pub version: Version,
    /// SDP or candidate.
    pub body: &'a [u8],
}

impl fmt::Debug for Opened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("header", &self.header).field("version", &self.version).finish_non_exhaustive()
    }
}

/// A first offer that has opened.
#[derive(Clone, Debug)]
pub struct OpenedFirst<'a> {
    /// The payload.
    pub opened: Opened<'a>,
    /// Who sent it; proven by the payload.
    pub card: Card,
}

/// Seals a payload for a device whose identity is known to know ours; returns its length.
///
/// # Errors
/// A body that is too long for a payload or for the buffer.
pub fn seal<R: CryptoRng + ?Sized>(
    own: &Identity,
    remote: &PublicIdentity,
    header: Header,
    version: Version,
    body: &[u8],
    out: &mut [u8],
    rng: &mut R,
) -> Result<usize, SealedError> {
    let start = put(out, &[&header.to_bytes()])?;
    let mode = OpModeS::Auth(own_keys(own)?);
    seal_after(start, &mode, &info(LABEL, own.public(), remote), remote, version, body, out, rng)
}

/// Seals the first offer to the maker of an invite; returns its length.
///
/// # Errors
/// As [`seal`].
#[allow(clippy::too_many_arguments)] // those of `seal`, and the invite
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
    let start = put(out, &[&header.to_bytes(), own.card().as_bytes()])?;
    let mode = OpModeS::AuthPsk(own_keys(own)?, psk(keys)?);
    seal_after(start, &mode, &info(FIRST_LABEL, own.public(), remote), remote, version, body, out, rng)
}

/// Opens a payload of a device whose identity is known, in place.
///
/// # Errors
/// Malformed, or not authentic.
pub fn open<'a>(own: &Identity, remote: &PublicIdentity, payload: &'a mut [u8]) -> Result<Opened<'a>, SealedError> {
    let header = Header::peek(payload)?;
    let mode = OpModeR::Auth(public_key(remote)?);
    open_after(HEADER_BYTES, header, &mode, &info(LABEL, remote, own.public()), own, payload)
}

/// Opens the first offer to an own invite, in place.
///
/// # Errors
/// Malformed, not authentic, or with a card that does not verify.
pub fn open_first<'a>(own: &Identity, keys: &InviteKeys, payload: &'a mut [u8]) -> Result<OpenedFirst<'a>, SealedError> {
    let header = Header::peek(payload)?;
    let card = payload.get(HEADER_BYTES..HEADER_BYTES + CARD_BYTES).ok_or(SealedError::Malformed)?;
    let card = Card::parse(card).map_err(|_| SealedError::Card)?;
    let mode = OpModeR::AuthPsk(public_key(card.identity())?, psk(keys)?);
    let info = info(FIRST_LABEL, card.identity(), own.public());
    let opened = open_after(HEADER_BYTES + CARD_BYTES, header, &mode, &info, own, payload)?;
    Ok(OpenedFirst { opened, card })
}

/// Label ‖ sender ‖ receiver.
fn info(label: &[u8], sender: &PublicIdentity, receiver: &PublicIdentity) -> heapless::Vec<u8, INFO_BYTES_MAX> {
    let mut info = heapless::Vec::new();
    for part in [label, &sender.to_bytes(), &receiver.to_bytes()] {
        // The capacity is that of the longer label.
        let fits = info.extend_from_slice(part);
        debug_assert!(fits.is_ok());
    }
    info
}

const INFO_BYTES_MAX: usize = FIRST_LABEL.len() + 2 * PUBLIC_BYTES;

fn psk(keys: &InviteKeys) -> Result<PskBundle<'_>, SealedError> {
    PskBundle::new(&keys.sealed_psk, &keys.token).map_err(|_| SealedError::Malformed)
}

fn own_keys(own: &Identity) -> Result<(PrivateKey, PublicKey), SealedError> {
    Ok((private_key(own.agreement())?, public_key(own.public())?))
}

fn private_key(secret: &SecretKey) -> Result<PrivateKey, SealedError> {
    let mut bytes = secret.to_bytes();
    let key = PrivateKey::from_bytes(&bytes);
    zeroize::Zeroize::zeroize(bytes.as_mut_slice());
    key.map_err(|_| SealedError::Malformed)
}

fn public_key(identity: &PublicIdentity) -> Result<PublicKey, SealedError> {
    PublicKey::from_bytes(&uncompress(identity.agreement())).map_err(|_| SealedError::Malformed)
}

fn put(out: &mut [u8], parts: &[&[u8]]) -> Result<usize, SealedError> {
    let mut place = 0;
    for part in parts {
        out.get_mut(place..place + part.len()).ok_or(SealedError::TooLong)?.copy_from_slice(part);
        place += part.len();
    }
    Ok(place)
}

#[allow(clippy::too_many_arguments)] // private; shared by the two ways to seal
fn seal_after<R: CryptoRng + ?Sized>(
    start: usize,
    mode: &OpModeS<'_, Kem>,
    info: &[u8],
    remote: &PublicIdentity,
    version: Version,
    body: &[u8],
    out: &mut [u8],
    rng: &mut R,
) -> Result<usize, SealedError> {
    let length = VERSION_BYTES + body.len();
    if length > PLAINTEXT_BYTES_MAX {
        return Err(SealedError::TooLong);
    }
    let end = start + UNCOMPRESSED_BYTES + length + TAG_BYTES;
    let out = out.get_mut(..end).ok_or(SealedError::TooLong)?;
    let (clear, rest) = out.split_at_mut(start);
    let (enc, rest) = rest.split_at_mut(UNCOMPRESSED_BYTES);
    let (text, tag) = rest.split_at_mut(length);
    text[..VERSION_BYTES].copy_from_slice(&version.to_bytes());
    text[VERSION_BYTES..].copy_from_slice(body);
    let (encapped, sealed_tag) = hpke::single_shot_seal_inout_detached_with_rng::<AesGcm256, HkdfSha256, Kem>(
        mode,
        &public_key(remote)?,
        info,
        text.into(),
        clear,
        &mut &mut *rng,
    )
    .map_err(|_| SealedError::Malformed)?;
    encapped.write_exact(enc);
    sealed_tag.write_exact(tag);
    Ok(end)
}

fn open_after<'a>(
    start: usize,
    header: Header,
    mode: &OpModeR<'_, Kem>,
    info: &[u8],
    own: &Identity,
    payload: &'a mut [u8],
) -> Result<Opened<'a>, SealedError> {
    let (clear, rest) = payload.split_at_mut_checked(start).ok_or(SealedError::Malformed)?;
    let (enc, rest) = rest.split_at_mut_checked(UNCOMPRESSED_BYTES).ok_or(SealedError::Malformed)?;
    let length = rest.len().checked_sub(TAG_BYTES).ok_or(SealedError::Malformed)?;
    if !(VERSION_BYTES..=PLAINTEXT_BYTES_MAX).contains(&length) {
        return Err(SealedError::Malformed);
    }
    let (text, tag) = rest.split_at_mut(length);
    // Before p256 sees it: only the one encoding.
    uncompressed_point(enc).map_err(|_| SealedError::Malformed)?;
    let encapped = EncappedKey::from_bytes(enc).map_err(|_| SealedError::Malformed)?;
    let tag = AeadTag::<AesGcm256>::from_bytes(tag).map_err(|_| SealedError::Malformed)?;
    let own = private_key(own.agreement())?;
    hpke::single_shot_open_inout_detached::<AesGcm256, HkdfSha256, Kem>(mode, &own, &encapped, info, (&mut *text).into(), clear, &tag)
        .map_err(|_| SealedError::NotAuthentic)?;
    let (version, body) = text.split_first_chunk().ok_or(SealedError::Malformed)?;
    Ok(Opened { header, version: Version::from_bytes(version), body })
}
