//! The few operations that everything else is made of, each with one meaning. Public for the
//! tests that run published attack vectors through them; not part of the API.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::elliptic_curve::sec1::{FromSec1Point, ToSec1Point};
use p256::{PublicKey, Sec1Point, SecretKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// A SEC1 compressed point.
pub const COMPRESSED_BYTES: usize = 33;
/// A SEC1 uncompressed point.
pub const UNCOMPRESSED_BYTES: usize = 65;
/// An AES-256-GCM tag.
pub const TAG_BYTES: usize = 16;

/// Bytes that are not what they should be, or do not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// Reads a compressed point. Tag and length are checked before the curve is touched: p256 also
/// takes the compact tag 05, under which one key would have two encodings.
pub fn compressed_point(bytes: &[u8]) -> Result<PublicKey, Refused> {
    match (bytes.len(), bytes.first()) {
        (COMPRESSED_BYTES, Some(0x02 | 0x03)) => point(bytes),
        _ => Err(Refused),
    }
}

/// Reads an uncompressed point.
pub fn uncompressed_point(bytes: &[u8]) -> Result<PublicKey, Refused> {
    match (bytes.len(), bytes.first()) {
        (UNCOMPRESSED_BYTES, Some(0x04)) => point(bytes),
        _ => Err(Refused),
    }
}

fn point(bytes: &[u8]) -> Result<PublicKey, Refused> {
    let encoded = Sec1Point::from_bytes(bytes).map_err(|_| Refused)?;
    Option::from(PublicKey::from_sec1_point(&encoded)).ok_or(Refused)
}

/// Writes a compressed point.
pub fn compress(key: &PublicKey) -> [u8; COMPRESSED_BYTES] {
    let mut bytes = [0; COMPRESSED_BYTES];
    let encoded = key.to_sec1_point(true);
    bytes.copy_from_slice(encoded.as_bytes());
    bytes
}

/// Writes an uncompressed point.
pub fn uncompress(key: &PublicKey) -> [u8; UNCOMPRESSED_BYTES] {
    let mut bytes = [0; UNCOMPRESSED_BYTES];
    let encoded = key.to_sec1_point(false);
    bytes.copy_from_slice(encoded.as_bytes());
    bytes
}

/// ECDH: the x coordinate.
pub fn ecdh(secret: &SecretKey, public: &PublicKey) -> Zeroizing<[u8; 32]> {
    let shared = secret.diffie_hellman(public);
    let mut bytes = Zeroizing::new([0; 32]);
    bytes.copy_from_slice(shared.raw_secret_bytes());
    bytes
}

/// Signs with an RFC 6979 nonce and a low s.
pub fn sign(key: &SigningKey, message: &[u8]) -> [u8; 64] {
    let signature: Signature = key.sign(message);
    signature.normalize_s().to_bytes().into()
}

/// Verifies a signature; one with a high s is refused.
pub fn verify(key: &PublicKey, message: &[u8], signature: &[u8]) -> Result<(), Refused> {
    let signature = Signature::from_slice(signature).map_err(|_| Refused)?;
    if signature.normalize_s() != signature {
        return Err(Refused);
    }
    VerifyingKey::from(key).verify(message, &signature).map_err(|_| Refused)
}

/// SHA-256 over the parts, one after the other.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// HMAC-SHA256 over the parts, one after the other.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    // HMAC takes keys of every length; there is no error to report.
    let mut bytes = Zeroizing::new([0; 32]);
    if let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(key) {
        for part in parts {
            mac.update(part);
        }
        bytes.copy_from_slice(&mac.finalize().into_bytes());
    }
    bytes
}

/// HKDF-SHA256 (RFC 5869).
pub fn hkdf(salt: Option<&[u8]>, ikm: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), Refused> {
    Hkdf::<Sha256>::new(salt, ikm).expand_multi_info(info, out).map_err(|_| Refused)
}

/// PBKDF2-HMAC-SHA256 (RFC 8018).
pub fn pbkdf2(password: &[u8], salt: &[u8], iterations: u32, out: &mut [u8]) {
    pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, out);
}

/// AES-256-GCM with its key schedule.
pub struct Aead(Aes256Gcm);

impl Aead {
    /// Takes a key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    /// Seals in place: the first `length` bytes of the buffer; the tag follows them.
    ///
    /// # Errors
    /// A buffer without room for the tag.
    pub fn seal(&self, nonce: &[u8; 12], ad: &[u8], buffer: &mut [u8], length: usize) -> Result<usize, Refused> {
        let end = length.checked_add(TAG_BYTES).ok_or(Refused)?;
        let buffer = buffer.get_mut(..end).ok_or(Refused)?;
        let (text, tag_out) = buffer.split_at_mut(length);
        let nonce = Nonce::from(*nonce);
        let tag = self.0.encrypt_inout_detached(&nonce, ad, text.into()).map_err(|_| Refused)?;
        tag_out.copy_from_slice(&tag);
        Ok(end)
    }

    /// Opens in place and gives the plaintext.
    ///
    /// # Errors
    /// What does not open.
    pub fn open<'a>(&self, nonce: &[u8; 12], ad: &[u8], sealed: &'a mut [u8]) -> Result<&'a mut [u8], Refused> {
        let length = sealed.len().checked_sub(TAG_BYTES).ok_or(Refused)?;
        let (text, tag) = sealed.split_at_mut(length);
        let tag = Tag::try_from(&*tag).map_err(|_| Refused)?;
        let nonce = Nonce::from(*nonce);
        self.0.decrypt_inout_detached(&nonce, ad, (&mut *text).into(), &tag).map_err(|_| Refused)?;
        Ok(text)
    }
}
