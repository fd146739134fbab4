//! A device's identity: two P-256 key pairs, the card that binds them, and the client id (docs/protocol.md §2).
//!
//! Invariants:
//! - A [`PublicIdentity`] holds two points on the curve, a [`Card`] also a verified signature of the one over the other.
//! - Equality is equality of the 66 (or 130) bytes; compressed points have one encoding each.
//!
//! Deliberately absent: names, pins and the rule that a contact's identity never changes; they belong to the daemon.

use core::fmt;
use core::str::FromStr;

use p256::ecdsa::SigningKey;
use p256::{PublicKey, SecretKey};
use rand_core::CryptoRng;
use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::primitives::{
    COMPRESSED_BYTES, ecdsa_sign, ecdsa_verify, generate_secret, point_from_compressed, point_to_compressed,
    secret_from_bytes, sha256,
};

/// Bytes of a client id.
pub const CLIENT_ID_BYTES: usize = 20;
/// Bytes of a public identity: two compressed points.
pub const PUBLIC_IDENTITY_BYTES: usize = 2 * COMPRESSED_BYTES;
/// Bytes of a card: a public identity and a signature.
pub const CARD_BYTES: usize = PUBLIC_IDENTITY_BYTES + SIGNATURE_BYTES;
/// Bytes of a signature, r ‖ s.
pub const SIGNATURE_BYTES: usize = 64;

const CLIENT_ID_LABEL: &[u8] = b"kith/1 client id";
const CARD_LABEL: &[u8] = b"kith/1 agreement key";
const LOGIN_LABEL: &[u8] = b"kith/1 login";
const SAFETY_NUMBER_LABEL: &[u8] = b"kith/1 safety number";

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Why an identity, a card, a signature or a client id was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A length other than the one the format has.
    #[error("wrong length")]
    Length,
    /// A point with a tag other than 02 or 03, or off the curve.
    #[error("not a point of the curve in compressed form")]
    Point,
    /// A private key that is zero or not below the order.
    #[error("not a private key")]
    SecretKey,
    /// A signature with a high s, or one that does not verify.
    #[error("the signature does not verify")]
    Signature,
    /// A client id with a character outside base32.
    #[error("not a client id")]
    Text,
}

/// The name of a device: the first 20 bytes of `SHA-256("kith/1 client id" ‖ public identity)`.
///
/// In text: lower-case base32 in eight groups of four, joined by `-`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientId([u8; CLIENT_ID_BYTES]);

impl ClientId {
    /// A client id that was received or stored.
    pub const fn from_bytes(bytes: [u8; CLIENT_ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// The client id of a public identity, whether or not its bytes are one.
    pub(crate) fn of_public_bytes(identity: &[u8; PUBLIC_IDENTITY_BYTES]) -> Self {
        let digest = sha256(&[CLIENT_ID_LABEL, identity]);
        let mut id = [0; CLIENT_ID_BYTES];
        id.copy_from_slice(&digest[..CLIENT_ID_BYTES]);
        Self(id)
    }

    /// The 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; CLIENT_ID_BYTES] {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (groups, _) = self.0.as_chunks::<5>();
        for (at, &[a, b, c, d, e]) in groups.iter().enumerate() {
            let bits = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
            for position in 0..8 {
                if position % 4 == 0 && (at, position) != (0, 0) {
                    f.write_str("-")?;
                }
                let index = (bits >> (35 - 5 * position)) & 31;
                f.write_str(char::from(BASE32[index as usize]).encode_utf8(&mut [0; 4]))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ClientId {
    type Err = IdentityError;

    /// Reads either case, with or without hyphens.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0; CLIENT_ID_BYTES];
        let mut characters = text.bytes().filter(|byte| *byte != b'-');
        for group in id.as_chunks_mut::<5>().0 {
            let mut bits = 0u64;
            for _ in 0..8 {
                let character = characters.next().ok_or(IdentityError::Length)?.to_ascii_lowercase();
                let value = BASE32.iter().position(|known| *known == character);
                bits = bits << 5 | value.ok_or(IdentityError::Text)? as u64;
            }
            let [_, _, _, bytes @ ..] = bits.to_be_bytes();
            *group = bytes;
        }
        match characters.next() {
            None => Ok(Self(id)),
            Some(_) => Err(IdentityError::Length),
        }
    }
}

/// Both public keys of a device: `signing [33] ‖ agreement [33]`.
#[derive(Clone, Copy)]
pub struct PublicIdentity {
    bytes: [u8; PUBLIC_IDENTITY_BYTES],
    agreement: PublicKey,
}

impl PublicIdentity {
    /// Parses both keys.
    ///
    /// # Errors
    /// [`IdentityError::Point`]: another tag than 02 or 03, or a point off the curve.
    pub fn from_bytes(bytes: &[u8; PUBLIC_IDENTITY_BYTES]) -> Result<Self, IdentityError> {
        let (signing, agreement) = bytes.split_at(COMPRESSED_BYTES);
        point_from_compressed(signing).map_err(|_| IdentityError::Point)?;
        let agreement = point_from_compressed(agreement).map_err(|_| IdentityError::Point)?;
        Ok(Self { bytes: *bytes, agreement })
    }

    /// The 66 bytes.
    pub const fn to_bytes(&self) -> [u8; PUBLIC_IDENTITY_BYTES] {
        self.bytes
    }

    /// The first 20 bytes of `SHA-256("kith/1 client id" ‖ public identity)`.
    pub fn client_id(&self) -> ClientId {
        ClientId::of_public_bytes(&self.bytes)
    }

    pub(crate) const fn agreement(&self) -> &PublicKey {
        &self.agreement
    }

    fn agreement_bytes(&self) -> &[u8] {
        &self.bytes[COMPRESSED_BYTES..]
    }

    pub(crate) fn verify(&self, parts: &[&[u8]], signature: &[u8; SIGNATURE_BYTES]) -> Result<(), IdentityError> {
        let signing = point_from_compressed(&self.bytes[..COMPRESSED_BYTES]).map_err(|_| IdentityError::Point)?;
        ecdsa_verify(&signing, parts, signature).map_err(|_| IdentityError::Signature)
    }
}

impl PartialEq for PublicIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for PublicIdentity {}

impl fmt::Debug for PublicIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicIdentity").field(&self.client_id()).finish()
    }
}

/// A public identity and the signing key's signature over the agreement key: how an identity travels.
#[derive(Clone)]
pub struct Card {
    bytes: [u8; CARD_BYTES],
    identity: PublicIdentity,
}

impl Card {
    /// Parses and verifies 130 bytes.
    ///
    /// # Errors
    /// [`IdentityError::Length`], [`IdentityError::Point`] or [`IdentityError::Signature`].
    pub fn parse(bytes: &[u8]) -> Result<Self, IdentityError> {
        let bytes: &[u8; CARD_BYTES] = bytes.try_into().map_err(|_| IdentityError::Length)?;
        let (identity, signature) = bytes.split_at(PUBLIC_IDENTITY_BYTES);
        let identity = PublicIdentity::from_bytes(identity.try_into().map_err(|_| IdentityError::Length)?)?;
        let signature = signature.try_into().map_err(|_| IdentityError::Length)?;
        identity.verify(&[CARD_LABEL, identity.agreement_bytes()], signature)?;
        Ok(Self { bytes: *bytes, identity })
    }

    /// The 130 bytes.
    pub const fn as_bytes(&self) -> &[u8; CARD_BYTES] {
        &self.bytes
    }

    /// Whose card it is.
    pub const fn identity(&self) -> &PublicIdentity {
        &self.identity
    }

    /// The client id of whose card it is.
    pub fn client_id(&self) -> ClientId {
        self.identity.client_id()
    }
}

impl PartialEq for Card {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Card {}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Card").field(&self.client_id()).finish()
    }
}

impl Serialize for Card {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(CARD_BYTES)?;
        for byte in &self.bytes {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Card {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(CARD_BYTES, CardVisitor)
    }
}

struct CardVisitor;

impl<'de> Visitor<'de> for CardVisitor {
    type Value = Card;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a card of 130 bytes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Card, A::Error> {
        let mut bytes = [0; CARD_BYTES];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = elements.next_element()?.ok_or_else(|| de::Error::invalid_length(at, &self))?;
        }
        Card::parse(&bytes).map_err(de::Error::custom)
    }
}

/// The own identity, with both private keys.
pub struct Identity {
    signing: SigningKey,
    agreement: SecretKey,
    card: Card,
}

impl Identity {
    /// Makes both key pairs, at a device's first start.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        loop {
            let signing = SigningKey::from(generate_secret(rng));
            // A fresh key always signs; the loop is there because the signing crate's types don't say so.
            if let Ok(identity) = Self::from_keys(signing, generate_secret(rng)) {
                return identity;
            }
        }
    }

    /// Reads a stored identity: `private signing key [32] ‖ private agreement key [32]`.
    ///
    /// # Errors
    /// [`IdentityError::SecretKey`]: one of the two is zero or not below the order.
    pub fn from_secret_bytes(bytes: &[u8; 64]) -> Result<Self, IdentityError> {
        let ([signing, agreement], _) = bytes.as_chunks::<32>() else {
            return Err(IdentityError::Length);
        };
        let signing = secret_from_bytes(signing).map_err(|_| IdentityError::SecretKey)?;
        let agreement = secret_from_bytes(agreement).map_err(|_| IdentityError::SecretKey)?;
        Self::from_keys(SigningKey::from(signing), agreement)
    }

    /// The bytes that [`Self::from_secret_bytes`] reads, for the vault.
    pub fn to_secret_bytes(&self) -> Zeroizing<[u8; 64]> {
        let mut bytes = Zeroizing::new([0; 64]);
        let (signing, agreement) = bytes.split_at_mut(32);
        signing.copy_from_slice(&Zeroizing::new(<[u8; 32]>::from(self.signing.to_bytes()))[..]);
        agreement.copy_from_slice(&self.agreement_bytes()[..]);
        bytes
    }

    /// The public half.
    pub const fn public(&self) -> &PublicIdentity {
        self.card.identity()
    }

    /// The card that proves it.
    pub const fn card(&self) -> &Card {
        &self.card
    }

    /// The client id.
    pub fn client_id(&self) -> ClientId {
        self.card.client_id()
    }

    /// Signs a login at the server named in the device's own configuration (docs/protocol.md §3.2).
    pub fn sign_login(&self, challenge: &LoginChallenge<'_>) -> [u8; SIGNATURE_BYTES] {
        challenge.with_parts(self.public(), |parts| self.sign(parts))
    }

    /// Signs; the first part is a label of its own.
    pub(crate) fn sign(&self, parts: &[&[u8]]) -> [u8; SIGNATURE_BYTES] {
        // Signing with a valid key does not fail; zeros are a signature that nobody accepts.
        ecdsa_sign(&self.signing, parts).unwrap_or([0; SIGNATURE_BYTES])
    }

    pub(crate) const fn agreement(&self) -> &SecretKey {
        &self.agreement
    }

    pub(crate) fn agreement_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.agreement.to_bytes().into())
    }

    fn from_keys(signing: SigningKey, agreement: SecretKey) -> Result<Self, IdentityError> {
        let mut bytes = [0; CARD_BYTES];
        let (identity, signature) = bytes.split_at_mut(PUBLIC_IDENTITY_BYTES);
        let (signing_bytes, agreement_bytes) = identity.split_at_mut(COMPRESSED_BYTES);
        signing_bytes.copy_from_slice(&point_to_compressed(&PublicKey::from(signing.verifying_key())));
        agreement_bytes.copy_from_slice(&point_to_compressed(&agreement.public_key()));
        let signed = ecdsa_sign(&signing, &[CARD_LABEL, agreement_bytes]).map_err(|_| IdentityError::Signature)?;
        signature.copy_from_slice(&signed);
        Ok(Self { card: Card::parse(&bytes)?, signing, agreement })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.client_id()).finish_non_exhaustive()
    }
}

/// What a signaling server asks a device to sign.
#[derive(Clone, Copy, Debug)]
pub struct LoginChallenge<'a> {
    /// The server's name from the device's own configuration: host, and `:port` if the URL names one, in lower case.
    pub server_name: &'a str,
    /// The server's nonce, used once.
    pub nonce: &'a [u8; 32],
}

impl LoginChallenge<'_> {
    fn with_parts<T>(&self, identity: &PublicIdentity, use_parts: impl FnOnce(&[&[u8]]) -> T) -> T {
        // Names of hosts end long before 64 KiB.
        let length = u16::try_from(self.server_name.len()).unwrap_or(u16::MAX).to_be_bytes();
        use_parts(&[LOGIN_LABEL, &length, self.server_name.as_bytes(), self.nonce, &identity.bytes])
    }
}

/// Verifies a login's signature, as the server does.
///
/// # Errors
/// [`IdentityError::Signature`]: a high s, or signed by another key, for another server or another nonce.
pub fn verify_login(
    card: &Card,
    challenge: &LoginChallenge<'_>,
    signature: &[u8; SIGNATURE_BYTES],
) -> Result<(), IdentityError> {
    challenge.with_parts(card.identity(), |parts| card.identity().verify(parts, signature))
}

/// The 60 digits that two people compare, in twelve groups: the same for both of them (docs/protocol.md §2).
pub fn safety_number(a: &PublicIdentity, b: &PublicIdentity) -> heapless::String<71> {
    let (lower, higher) = if a.bytes <= b.bytes { (a, b) } else { (b, a) };
    let mut text = heapless::String::new();
    for half in 0..2u8 {
        let digest = sha256(&[SAFETY_NUMBER_LABEL, &[half], &lower.bytes, &higher.bytes]);
        for &[a, b, c, d, e] in digest[..30].as_chunks::<5>().0 {
            let digits = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]) % 100_000;
            let separator = if text.is_empty() { "" } else { " " };
            // Twelve groups of five and eleven spaces are the 71 bytes.
            let _ = fmt::Write::write_fmt(&mut text, format_args!("{separator}{digits:05}"));
        }
    }
    text
}
