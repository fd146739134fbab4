//! The symmetric half of a handshake: what mixing, sealing and opening do to its keys (Noise §5.1 and §5.2).

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::NoiseError;
use crate::primitives::{NONCE_BYTES, TAG_BYTES, aead_open, aead_seal, derive, sha256};

/// Chaining key, hash and the key of the messages (Noise §5.2).
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Symmetric {
    pub(super) chaining_key: [u8; 32],
    pub(super) hash: [u8; 32],
    key: Option<[u8; 32]>,
    counter: u64,
}

impl Symmetric {
    pub(super) fn new(name: &[u8]) -> Self {
        let mut hash = [0; 32];
        match hash.get_mut(..name.len()) {
            Some(start) => start.copy_from_slice(name),
            None => hash = sha256(&[name]),
        }
        Self { chaining_key: hash, hash, key: None, counter: 0 }
    }

    pub(super) fn mix_hash(&mut self, data: &[u8]) {
        self.hash = sha256(&[&self.hash, data]);
    }

    pub(super) fn mix_key(&mut self, input: &[u8]) {
        let [chaining_key, key] = *derive(&self.chaining_key, input, &[]);
        (self.chaining_key, self.key, self.counter) = (chaining_key, Some(key), 0);
    }

    pub(super) fn mix_key_and_hash(&mut self, psk: &[u8; 32]) {
        let [chaining_key, hashed, key] = *derive(&self.chaining_key, psk, &[]);
        self.mix_hash(&hashed);
        (self.chaining_key, self.key, self.counter) = (chaining_key, Some(key), 0);
    }

    /// Seals what stands in `buf` before its last 16 bytes, where the tag goes. No static key goes out without one here.
    pub(super) fn encrypt_and_hash(&mut self, buf: &mut [u8]) -> Result<(), NoiseError> {
        let key = self.key.as_ref().ok_or(NoiseError::MissingKey)?;
        let (text, tag) = buf.split_last_chunk_mut::<TAG_BYTES>().ok_or(NoiseError::NoSpace)?;
        *tag = aead_seal(key, &nonce(self.counter), &self.hash, text)?;
        self.counter += 1;
        self.mix_hash(buf);
        Ok(())
    }

    pub(super) fn decrypt_and_hash(&mut self, buf: &mut [u8]) -> Result<(), NoiseError> {
        let key = self.key.as_ref().ok_or(NoiseError::MissingKey)?;
        let hash = sha256(&[&self.hash, buf]);
        let (text, tag) = buf.split_last_chunk_mut::<TAG_BYTES>().ok_or(NoiseError::Length)?;
        aead_open(key, &nonce(self.counter), &self.hash, text, tag)?;
        self.counter += 1;
        self.hash = hash;
        Ok(())
    }
}

/// The AESGCM nonce of Noise §12.4: 32 zero bits and the counter, big-endian.
pub(crate) fn nonce(counter: u64) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce
}
