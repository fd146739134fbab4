//! An invite's secret, and what is derived from it (docs/protocol.md §4.1).
//!
//! Invariant: the signaling server gets the token only; the two pre-shared keys never leave this crate.
//!
//! Deliberately absent: the invite's text form, its expiry and its count of attempts. They belong to the daemon.

use core::fmt;

use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::primitives::{derive, sha256};

const LABEL: &[u8] = b"kith/1 invite";
const TOKEN_LABEL: &[u8] = b"kith/1 invite token";
const SEALED_PSK_LABEL: &[u8] = b"kith/1 invite sealed psk";
const NOISE_PSK_LABEL: &[u8] = b"kith/1 invite noise psk";

/// The one-time secret of an invite, 32 random bytes.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct InviteSecret([u8; 32]);

impl InviteSecret {
    /// Makes a new secret.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut secret = Self([0; 32]);
        rng.fill_bytes(&mut secret.0);
        secret
    }

    /// The secret that an invite carries.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the invite's text.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Derives the token and the two pre-shared keys.
    pub fn keys(&self) -> InviteKeys {
        let [token] = *derive(LABEL, &self.0, &[TOKEN_LABEL]);
        let [sealed_psk] = *derive(LABEL, &self.0, &[SEALED_PSK_LABEL]);
        let [noise_psk] = *derive(LABEL, &self.0, &[NOISE_PSK_LABEL]);
        let mut keys = InviteKeys { token: [0; 16], sealed_psk, noise_psk };
        keys.token.copy_from_slice(&token[..16]);
        keys
    }
}

impl fmt::Debug for InviteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteSecret(..)")
    }
}

/// What an invite's secret expands to.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct InviteKeys {
    /// Names the open invite at the signaling server; also the HPKE psk id.
    pub token: [u8; 16],
    pub(crate) sealed_psk: [u8; 32],
    pub(crate) noise_psk: [u8; 32],
}

impl fmt::Debug for InviteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteKeys(..)")
    }
}

/// The checksum at the end of an invite's binary form: 4 bytes of `SHA-256("kith/1 invite" ‖ content)`.
pub fn checksum(content: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = sha256(&[LABEL, content]);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_values_of_a_secret_differ() {
        let keys = InviteSecret::from_bytes([7; 32]).keys();
        assert_ne!(keys.sealed_psk, keys.noise_psk);
        assert_ne!(keys.token, keys.sealed_psk[..16]);
        assert_ne!(keys.token, keys.noise_psk[..16]);
        assert_ne!(keys.token, [0; 16]);
    }
}
