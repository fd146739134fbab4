//! The narrow seam to the cryptographic crates: hashing, key derivation, AES-256-GCM, ECDH and ECDSA over P-256.
//!
//! Everything that this crate computes goes through here, except HPKE (in `sealed`). It is public for the
//! tests, which run the Wycheproof vectors through it; it is no API.
//!
//! Deliberately absent: other nonce and tag lengths, DER, hybrid and compact point encodings, signatures with a high s.

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::elliptic_curve::Generate;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{NonZeroScalar, PublicKey, SecretKey};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of an AES-256-GCM tag.
pub const TAG_BYTES: usize = 16;
/// Bytes of an AES-256-GCM nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes of a compressed point.
pub const COMPRESSED_BYTES: usize = 33;
/// Bytes of an uncompressed point.
pub const UNCOMPRESSED_BYTES: usize = 65;

/// The most that HKDF-SHA256 gives: 255 hashes.
pub const HKDF_BYTES_MAX: usize = 255 * 32;

/// Something did not open, verify or derive; there is no more to say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused")]
pub struct Refused;

/// SHA-256 of the parts in their order.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// HMAC-SHA256 of the parts in their order.
pub fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // A key shorter than the hash's block is padded with zeros (RFC 2104 §2).
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// HKDF-SHA256 (RFC 5869) into `out`; an empty salt is the same as none.
///
/// # Errors
/// `out` is longer than [`HKDF_BYTES_MAX`].
pub fn hkdf_sha256(salt: &[u8], ikm: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), Refused> {
    Hkdf::<Sha256>::new(Some(salt), ikm).expand_multi_info(info, out).map_err(|_| Refused)
}

/// HKDF-SHA256 to `N` keys, a number that the compiler checks. A shorter value is the beginning of a key.
pub fn derive<const N: usize>(salt: &[u8], ikm: &[u8], info: &[&[u8]]) -> Zeroizing<[[u8; 32]; N]> {
    const { assert!(N * 32 <= HKDF_BYTES_MAX) };
    let mut keys = Zeroizing::new([[0; 32]; N]);
    let given = hkdf_sha256(salt, ikm, info, keys.as_flattened_mut());
    debug_assert!(given.is_ok());
    keys
}

/// PBKDF2-HMAC-SHA256 (RFC 8018 §5.2) into `out`.
pub fn pbkdf2_sha256(password: &[u8], salt: &[u8], iterations: u32, out: &mut [u8]) {
    pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, out);
}

/// Seals `buf` in place with AES-256-GCM and gives the tag.
///
/// # Errors
/// The text or the associated data is longer than the cipher takes, 64 GiB.
pub fn aead_seal(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    associated: &[u8],
    buf: &mut [u8],
) -> Result<[u8; TAG_BYTES], Refused> {
    Aes256Gcm::new(key.into())
        .encrypt_inout_detached(nonce.into(), associated, buf.into())
        .map(Into::into)
        .map_err(|_| Refused)
}

/// Opens `buf` in place with AES-256-GCM; the tag is compared before anything is decrypted.
///
/// # Errors
/// The tag does not fit; `buf` is then unchanged.
pub fn aead_open(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    associated: &[u8],
    buf: &mut [u8],
    tag: &[u8; TAG_BYTES],
) -> Result<(), Refused> {
    Aes256Gcm::new(key.into())
        .decrypt_inout_detached(nonce.into(), associated, buf.into(), tag.into())
        .map_err(|_| Refused)
}

/// Parses a compressed point: 33 bytes, tag 02 or 03, on the curve.
///
/// # Errors
/// Anything else, the compact tag 05 included, which could alias a key.
pub fn point_from_compressed(bytes: &[u8]) -> Result<PublicKey, Refused> {
    match bytes {
        [0x02 | 0x03, x @ ..] if x.len() == COMPRESSED_BYTES - 1 => {
            PublicKey::from_sec1_bytes(bytes).map_err(|_| Refused)
        }
        _ => Err(Refused),
    }
}

/// Parses an uncompressed point: 65 bytes, tag 04, on the curve.
///
/// # Errors
/// Anything else.
pub fn point_from_uncompressed(bytes: &[u8]) -> Result<PublicKey, Refused> {
    match bytes {
        [0x04, xy @ ..] if xy.len() == UNCOMPRESSED_BYTES - 1 => PublicKey::from_sec1_bytes(bytes).map_err(|_| Refused),
        _ => Err(Refused),
    }
}

/// The 33 bytes of a point.
pub fn point_to_compressed(point: &PublicKey) -> [u8; COMPRESSED_BYTES] {
    let mut out = [0; COMPRESSED_BYTES];
    let encoded = point.to_sec1_point(true);
    // A public key is never the point at infinity, so that the lengths are equal.
    for (to, from) in out.iter_mut().zip(encoded.as_bytes()) {
        *to = *from;
    }
    out
}

/// The 65 bytes of a point.
pub fn point_to_uncompressed(point: &PublicKey) -> [u8; UNCOMPRESSED_BYTES] {
    let mut out = [0; UNCOMPRESSED_BYTES];
    let encoded = point.to_sec1_point(false);
    for (to, from) in out.iter_mut().zip(encoded.as_bytes()) {
        *to = *from;
    }
    out
}

/// Makes a private key: 32 bytes of the random source, big-endian, and 32 more while they are not one.
pub fn generate_secret<R: CryptoRng + ?Sized>(rng: &mut R) -> SecretKey {
    SecretKey::from(NonZeroScalar::generate_from_rng(rng))
}

/// Reads a private key: 32 bytes, big-endian, from 1 to the order less 1.
///
/// # Errors
/// Zero, or not below the order.
pub fn secret_from_bytes(bytes: &[u8; 32]) -> Result<SecretKey, Refused> {
    SecretKey::from_bytes(bytes.into()).map_err(|_| Refused)
}

/// The x coordinate of the shared point (SEC 1 §3.3.1), what Noise and HPKE call the DH output.
pub fn ecdh(own: &SecretKey, remote: &PublicKey) -> Zeroizing<[u8; 32]> {
    let shared = p256::ecdh::diffie_hellman(own.to_nonzero_scalar(), remote.as_affine());
    Zeroizing::new((*shared.raw_secret_bytes()).into())
}

/// Signs the parts with ECDSA-P256-SHA256, deterministically (RFC 6979), s in the lower half: r ‖ s.
///
/// # Errors
/// None that can occur with a valid key; the signing crate's signature has one.
pub fn ecdsa_sign(key: &SigningKey, parts: &[&[u8]]) -> Result<[u8; 64], Refused> {
    let signature: Signature = key.sign_prehash(&sha256(parts)).map_err(|_| Refused)?;
    Ok(signature.normalize_s().to_bytes().into())
}

/// Verifies r ‖ s over the parts.
///
/// # Errors
/// r or s is zero or not below the order, s is in the upper half, or the signature is another's.
pub fn ecdsa_verify(key: &PublicKey, parts: &[&[u8]], signature: &[u8; 64]) -> Result<(), Refused> {
    let signature = Signature::from_slice(signature).map_err(|_| Refused)?;
    if signature.normalize_s() != signature {
        return Err(Refused);
    }
    VerifyingKey::from(*key).verify_prehash(&sha256(parts), &signature).map_err(|_| Refused)
}
