//! Who a device is (docs/protocol.md §2).
//!
//! Own and remote identities are different types: [`Identity`] holds the secret keys,
//! [`PublicIdentity`] two checked points, and a [`Card`] exists only once its signature has been
//! verified.

use core::fmt;
use core::str::FromStr;

use heapless::String;
use p256::ecdsa::SigningKey;
use p256::{PublicKey, SecretKey};
use rand_core::CryptoRng;
use serde::de::{self, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::primitives::{COMPRESSED_BYTES, compress, compressed_point, sha256, sign, verify};

const CLIENT_ID_LABEL: &[u8] = b"kith/1 client id";
const CARD_LABEL: &[u8] = b"kith/1 agreement key";
const LOGIN_LABEL: &[u8] = b"kith/1 login";
const SAFETY_LABEL: &[u8] = b"kith/1 safety number";

/// Both public keys.
pub const PUBLIC_BYTES: usize = 2 * COMPRESSED_BYTES;
/// Both public keys and the signature.
pub const CARD_BYTES: usize = PUBLIC_BYTES + 64;
/// Both secret keys.
pub const SECRET_BYTES: usize = 64;
/// A server name in a login is not longer than a DNS name with a port.
pub const SERVER_NAME_BYTES_MAX: usize = 261;

/// Why an identity was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not the right number of bytes or characters.
    #[error("it has the wrong length")]
    Length,
    /// Not a point of the curve in its one allowed encoding.
    #[error("it holds no valid public key")]
    Point,
    /// Not a secret key.
    #[error("it holds no valid secret key")]
    Secret,
    /// The signature does not verify, or has a high s.
    #[error("its signature does not verify")]
    Signature,
    /// A character that base32 does not have.
    #[error("it is not a client id: eight groups of four letters and digits")]
    Text,
}

/// The name that a device's public keys hash to: 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientId([u8; 20]);

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl ClientId {
    /// Takes the bytes.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (group, bytes) in self.0.chunks(5).enumerate() {
            let bits = bytes.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            for place in 0..8_u32 {
                if place % 4 == 0 && (group, place) != (0, 0) {
                    f.write_str("-")?;
                }
                let letter = (bits >> (35 - 5 * place) & 31) as usize;
                let letter = BASE32.get(letter).copied().unwrap_or(b'?');
                fmt::Write::write_char(f, char::from(letter))?;
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

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let mut bytes = [0; 20];
        let (mut bits, mut bit_count, mut length) = (0_u32, 0, 0);
        for letter in text.bytes().filter(|b| *b != b'-') {
            let letter = letter.to_ascii_lowercase();
            let value = BASE32.iter().position(|b| *b == letter).ok_or(IdentityError::Text)?;
            bits = bits << 5 | value as u32;
            bit_count += 5;
            if bit_count >= 8 {
                bit_count -= 8;
                *bytes.get_mut(length).ok_or(IdentityError::Length)? = (bits >> bit_count) as u8;
                length += 1;
                bits &= (1 << bit_count) - 1;
            }
        }
        if length == bytes.len() && bit_count == 0 { Ok(Self(bytes)) } else { Err(IdentityError::Length) }
    }
}

/// Two checked public keys: signing and agreement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicIdentity {
    signing: PublicKey,
    agreement: PublicKey,
}

impl PublicIdentity {
    /// Reads signing key ‖ agreement key, both compressed.
    ///
    /// # Errors
    /// A key that is not a point of the curve in its one encoding.
    pub fn from_bytes(bytes: &[u8; PUBLIC_BYTES]) -> Result<Self, IdentityError> {
        let (signing, agreement) = bytes.split_at(COMPRESSED_BYTES);
        let signing = compressed_point(signing).map_err(|_| IdentityError::Point)?;
        let agreement = compressed_point(agreement).map_err(|_| IdentityError::Point)?;
        Ok(Self { signing, agreement })
    }

    /// The reverse of [`PublicIdentity::from_bytes`].
    pub fn to_bytes(&self) -> [u8; PUBLIC_BYTES] {
        let mut bytes = [0; PUBLIC_BYTES];
        let (signing, agreement) = bytes.split_at_mut(COMPRESSED_BYTES);
        signing.copy_from_slice(&compress(&self.signing));
        agreement.copy_from_slice(&compress(&self.agreement));
        bytes
    }

    /// The name that the keys hash to.
    pub fn client_id(&self) -> ClientId {
        let hash = sha256(&[CLIENT_ID_LABEL, &self.to_bytes()]);
        let mut id = [0; 20];
        id.copy_from_slice(&hash[..20]);
        ClientId(id)
    }

    pub(crate) fn agreement(&self) -> &PublicKey {
        &self.agreement
    }
}

impl fmt::Debug for PublicIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicIdentity({})", self.client_id())
    }
}

/// A public identity with the proof that its two keys belong together; the proof has been
/// verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Card {
    bytes: [u8; CARD_BYTES],
    identity: PublicIdentity,
    client_id: ClientId,
}

impl Card {
    /// Reads public identity [66] ‖ signature [64] and verifies it.
    ///
    /// # Errors
    /// Wrong length, invalid keys, a signature that does not verify.
    pub fn parse(bytes: &[u8]) -> Result<Self, IdentityError> {
        let bytes: [u8; CARD_BYTES] = bytes.try_into().map_err(|_| IdentityError::Length)?;
        let (public, signature) = bytes.split_at(PUBLIC_BYTES);
        let identity = PublicIdentity::from_bytes(public.try_into().map_err(|_| IdentityError::Length)?)?;
        verify(&identity.signing, &card_message(&identity), signature).map_err(|_| IdentityError::Signature)?;
        Ok(Self { bytes, identity, client_id: identity.client_id() })
    }

    /// The bytes that were parsed.
    pub fn as_bytes(&self) -> &[u8; CARD_BYTES] {
        &self.bytes
    }

    /// The keys.
    pub fn identity(&self) -> &PublicIdentity {
        &self.identity
    }

    /// The name that the keys hash to.
    pub fn client_id(&self) -> ClientId {
        self.client_id
    }
}

fn card_message(identity: &PublicIdentity) -> [u8; CARD_LABEL.len() + COMPRESSED_BYTES] {
    let mut message = [0; CARD_LABEL.len() + COMPRESSED_BYTES];
    let (label, key) = message.split_at_mut(CARD_LABEL.len());
    label.copy_from_slice(CARD_LABEL);
    key.copy_from_slice(&compress(&identity.agreement));
    message
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Card({})", self.client_id)
    }
}

impl Serialize for Card {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(CARD_BYTES)?;
        self.bytes.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Card {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CardVisitor;

        impl<'de> Visitor<'de> for CardVisitor {
            type Value = Card;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a card of 130 bytes")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut sequence: A) -> Result<Card, A::Error> {
                let mut bytes = [0; CARD_BYTES];
                for (place, byte) in bytes.iter_mut().enumerate() {
                    *byte = sequence.next_element()?.ok_or_else(|| de::Error::invalid_length(place, &self))?;
                }
                Card::parse(&bytes).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_tuple(CARD_BYTES, CardVisitor)
    }
}

/// What a device signs to log in. The server name is the one in the device's own configuration,
/// so that no server can pass the login on to another.
#[derive(Clone, Copy, Debug)]
pub struct LoginChallenge<'a> {
    /// Host, and port where the URL names one; at most [`SERVER_NAME_BYTES_MAX`] bytes.
    pub server_name: &'a str,
    /// The server's, used once.
    pub nonce: &'a [u8; 32],
}

const LOGIN_BYTES_MAX: usize = LOGIN_LABEL.len() + 2 + SERVER_NAME_BYTES_MAX + 32 + PUBLIC_BYTES;

impl LoginChallenge<'_> {
    fn message(&self, identity: &PublicIdentity) -> Result<heapless::Vec<u8, LOGIN_BYTES_MAX>, IdentityError> {
        let name = self.server_name.as_bytes();
        if name.len() > SERVER_NAME_BYTES_MAX {
            return Err(IdentityError::Length);
        }
        let mut message = heapless::Vec::new();
        let length = (name.len() as u16).to_be_bytes();
        for part in [LOGIN_LABEL, &length, name, self.nonce, &identity.to_bytes()] {
            message.extend_from_slice(part).map_err(|_| IdentityError::Length)?;
        }
        Ok(message)
    }
}

/// Checks a login.
///
/// # Errors
/// A signature that does not verify for this card, server name and nonce.
pub fn verify_login(card: &Card, challenge: &LoginChallenge<'_>, signature: &[u8; 64]) -> Result<(), IdentityError> {
    let message = challenge.message(&card.identity)?;
    verify(&card.identity.signing, &message, signature).map_err(|_| IdentityError::Signature)
}

/// This device's secret keys. They never leave it but for its own encrypted storage.
pub struct Identity {
    signing: SigningKey,
    agreement: SecretKey,
    card: Card,
}

impl Identity {
    /// Makes both key pairs.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        loop {
            let mut secrets = Zeroizing::new([0; SECRET_BYTES]);
            rng.fill_bytes(secrets.as_mut());
            // All but one in 2³² candidates are secret keys.
            if let Ok(identity) = Self::from_secret_bytes(&secrets) {
                return identity;
            }
        }
    }

    /// Reads signing secret [32] ‖ agreement secret [32].
    ///
    /// # Errors
    /// A secret that is zero or not below the group's order.
    pub fn from_secret_bytes(bytes: &[u8; SECRET_BYTES]) -> Result<Self, IdentityError> {
        let (signing, agreement) = bytes.split_at(SECRET_BYTES / 2);
        let signing = SigningKey::from_slice(signing).map_err(|_| IdentityError::Secret)?;
        let agreement = SecretKey::from_slice(agreement).map_err(|_| IdentityError::Secret)?;
        let identity =
            PublicIdentity { signing: PublicKey::from(signing.verifying_key()), agreement: agreement.public_key() };
        let mut card = [0; CARD_BYTES];
        let (public, signature) = card.split_at_mut(PUBLIC_BYTES);
        public.copy_from_slice(&identity.to_bytes());
        signature.copy_from_slice(&sign(&signing, &card_message(&identity)));
        let card = Card { bytes: card, identity, client_id: identity.client_id() };
        Ok(Self { signing, agreement, card })
    }

    /// The reverse of [`Identity::from_secret_bytes`], for encrypted storage.
    pub fn to_secret_bytes(&self) -> Zeroizing<[u8; SECRET_BYTES]> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        let (signing, agreement) = bytes.split_at_mut(SECRET_BYTES / 2);
        let mut secret = self.signing.to_bytes();
        signing.copy_from_slice(&secret);
        zeroize::Zeroize::zeroize(secret.as_mut_slice());
        let mut secret = self.agreement.to_bytes();
        agreement.copy_from_slice(&secret);
        zeroize::Zeroize::zeroize(secret.as_mut_slice());
        bytes
    }

    /// The public keys.
    pub fn public(&self) -> &PublicIdentity {
        &self.card.identity
    }

    /// The public keys with their proof.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The name that the keys hash to.
    pub fn client_id(&self) -> ClientId {
        self.card.client_id
    }

    /// Signs a login. `None` for a server name that is too long.
    pub fn sign_login(&self, challenge: &LoginChallenge<'_>) -> Result<[u8; 64], IdentityError> {
        Ok(sign(&self.signing, &challenge.message(&self.card.identity)?))
    }

    pub(crate) fn agreement(&self) -> &SecretKey {
        &self.agreement
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, secret)", self.card.client_id)
    }
}

/// Twelve groups of five digits.
pub const SAFETY_NUMBER_BYTES: usize = 12 * 5 + 11;

/// The digits that two people compare to be sure of both identities.
pub fn safety_number(a: &PublicIdentity, b: &PublicIdentity) -> String<SAFETY_NUMBER_BYTES> {
    let (a, b) = (a.to_bytes(), b.to_bytes());
    let (lower, higher) = if a <= b { (&a, &b) } else { (&b, &a) };
    let mut text = String::new();
    for half in 0..2_u8 {
        let hash = sha256(&[SAFETY_LABEL, &[half], lower, higher]);
        for group in hash[..30].chunks(5) {
            let number = group.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)) % 100_000;
            let separator = if text.is_empty() { "" } else { " " };
            // The capacity is exactly what is written.
            let _ = fmt::Write::write_fmt(&mut text, format_args!("{separator}{number:05}"));
        }
    }
    text
}
