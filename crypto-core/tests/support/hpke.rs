//! RFC 9180, written a second time out of ECDH, HMAC and AES-GCM, so that there is something to compare with.
//!
//! DHKEM(P-256, HKDF-SHA256) and HKDF-SHA256 with AES-128-GCM (the suite of the RFC's appendix A.3) and AES-256-GCM (ours, for
//! which the RFC prints no vectors); modes base, psk, auth and auth-psk.

use aes_gcm::{AeadInOut, Aes128Gcm, Aes256Gcm, KeyInit};
use hmac::{Hmac, Mac};
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{PublicKey, SecretKey};
use sha2::Sha256;

const KEM_SUITE: &[u8] = b"KEM\x00\x10";

#[derive(Clone, Copy)]
pub(crate) enum AeadId {
    Aes128 = 1,
    Aes256 = 2,
}

/// A text, or a ciphertext and its tag, with its associated data.
#[derive(Clone, Copy)]
pub(crate) struct Payload<'a> {
    pub(crate) msg: &'a [u8],
    pub(crate) aad: &'a [u8],
}

fn encrypt<A: AeadInOut + KeyInit>(key: &[u8], nonce: &[u8], payload: Payload<'_>) -> Vec<u8> {
    let mut text = payload.msg.to_vec();
    let cipher = A::new_from_slice(key).unwrap();
    let nonce = nonce.try_into().unwrap();
    let tag = cipher.encrypt_inout_detached(nonce, payload.aad, text[..].as_mut().into());
    text.extend_from_slice(&tag.unwrap());
    text
}

fn decrypt<A: AeadInOut + KeyInit>(key: &[u8], nonce: &[u8], payload: Payload<'_>) -> Option<Vec<u8>> {
    let (text, tag) = payload.msg.split_at(payload.msg.len().checked_sub(16)?);
    let mut text = text.to_vec();
    let cipher = A::new_from_slice(key).unwrap();
    let nonce = nonce.try_into().unwrap();
    let opened = cipher.decrypt_inout_detached(nonce, payload.aad, text[..].as_mut().into(), tag.try_into().ok()?);
    opened.is_ok().then_some(text)
}

/// What the sender and the receiver have besides the receiver's key.
#[derive(Clone, Copy)]
pub(crate) struct Mode<'a> {
    pub(crate) is_auth: bool,
    pub(crate) psk: &'a [u8],
    pub(crate) psk_id: &'a [u8],
}

impl Mode<'_> {
    fn id(self) -> u8 {
        u8::from(!self.psk.is_empty()) + 2 * u8::from(self.is_auth)
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// §4: LabeledExtract.
fn extract(suite: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]) -> Vec<u8> {
    hmac(salt, &[b"HPKE-v1", suite, label, ikm])
}

/// §4: LabeledExpand, of at most one hash.
fn expand(suite: &[u8], prk: &[u8], label: &[u8], info: &[u8], length: usize) -> Vec<u8> {
    let length_bytes = u16::try_from(length).unwrap().to_be_bytes();
    let mut okm = hmac(prk, &[&length_bytes, b"HPKE-v1", suite, label, info, &[1]]);
    okm.truncate(length);
    okm
}

fn serialize(key: &PublicKey) -> Vec<u8> {
    key.to_sec1_point(false).as_bytes().to_vec()
}

fn dh(own: &SecretKey, remote: &PublicKey) -> Vec<u8> {
    p256::ecdh::diffie_hellman(own.to_nonzero_scalar(), remote.as_affine()).raw_secret_bytes().to_vec()
}

/// §7.1.3: DeriveKeyPair.
pub(crate) fn derive_key_pair(ikm: &[u8]) -> SecretKey {
    let prk = extract(KEM_SUITE, &[], b"dkp_prk", ikm);
    (0..=255u8)
        .find_map(|counter| SecretKey::from_slice(&expand(KEM_SUITE, &prk, b"candidate", &[counter], 32)).ok())
        .unwrap()
}

/// §4.1: the end of Encap and Decap, and their authenticated forms.
fn kem_secret(dh: &[u8], context: &[&[u8]]) -> Vec<u8> {
    let prk = extract(KEM_SUITE, &[], b"eae_prk", dh);
    expand(KEM_SUITE, &prk, b"shared_secret", &context.concat(), 32)
}

/// §5.1: KeySchedule; gives the key and the base nonce, which is the first nonce.
fn key_schedule(aead: AeadId, mode: Mode<'_>, shared: &[u8], info: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let suite = [b"HPKE".as_slice(), &[0, 0x10, 0, 1, 0, aead as u8]].concat();
    let psk_id_hash = extract(&suite, &[], b"psk_id_hash", mode.psk_id);
    let info_hash = extract(&suite, &[], b"info_hash", info);
    let context = [&[mode.id()][..], &psk_id_hash, &info_hash].concat();
    let secret = extract(&suite, shared, b"secret", mode.psk);
    let key_bytes = match aead {
        AeadId::Aes128 => 16,
        AeadId::Aes256 => 32,
    };
    let key = expand(&suite, &secret, b"key", &context, key_bytes);
    (key, expand(&suite, &secret, b"base_nonce", &context, 12))
}

/// §6.1: the single-shot seal, with the ephemeral key's input. Gives enc and ciphertext with tag.
pub(crate) fn seal(
    aead: AeadId,
    mode: Mode<'_>,
    (own, remote, ikm): (&SecretKey, &PublicKey, &[u8]),
    info: &[u8],
    payload: Payload<'_>,
) -> (Vec<u8>, Vec<u8>) {
    let ephemeral = derive_key_pair(ikm);
    let enc = serialize(&ephemeral.public_key());
    let (mut secret, mut context) = (dh(&ephemeral, remote), [enc.clone(), serialize(remote)].concat());
    if mode.is_auth {
        secret.extend(dh(own, remote));
        context.extend(serialize(&own.public_key()));
    }
    let (key, nonce) = key_schedule(aead, mode, &kem_secret(&secret, &[&context]), info);
    let sealed = match aead {
        AeadId::Aes128 => encrypt::<Aes128Gcm>(&key, &nonce, payload),
        AeadId::Aes256 => encrypt::<Aes256Gcm>(&key, &nonce, payload),
    };
    (enc, sealed)
}

/// §6.1: the single-shot open.
pub(crate) fn open(
    aead: AeadId,
    mode: Mode<'_>,
    (own, remote, enc): (&SecretKey, &PublicKey, &[u8]),
    info: &[u8],
    payload: Payload<'_>,
) -> Option<Vec<u8>> {
    let ephemeral = PublicKey::from_sec1_bytes(enc).ok()?;
    let mut secret = dh(own, &ephemeral);
    let mut context = [enc.to_vec(), serialize(&own.public_key())].concat();
    if mode.is_auth {
        secret.extend(dh(own, remote));
        context.extend(serialize(remote));
    }
    let (key, nonce) = key_schedule(aead, mode, &kem_secret(&secret, &[&context]), info);
    match aead {
        AeadId::Aes128 => decrypt::<Aes128Gcm>(&key, &nonce, payload),
        AeadId::Aes256 => decrypt::<Aes256Gcm>(&key, &nonce, payload),
    }
}
