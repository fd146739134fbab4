//! The secret of an invite and the three values that come of it (docs/protocol.md §4.1).

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::primitives::{hkdf, sha256};

const LABEL: &[u8] = b"kith/1 invite";

/// The first 4 bytes of the hash of an invite, which find a mistyped one.
pub fn checksum(content: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = sha256(&[LABEL, content]);
    [a, b, c, d]
}

/// 32 random bytes, used once.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct InviteSecret([u8; 32]);

impl InviteSecret {
    /// Takes the bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be shown in an invite.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Expands the secret.
    pub fn keys(&self) -> InviteKeys {
        let mut keys = InviteKeys { token: [0; 16], sealed_psk: [0; 32], noise_psk: [0; 32] };
        let expand = |info: &[u8], out: &mut [u8]| {
            // HKDF-SHA256 gives up to 8,160 bytes; 32 never fail.
            let expanded = hkdf(Some(LABEL), &self.0, &[info], out);
            debug_assert!(expanded.is_ok());
        };
        expand(b"kith/1 invite token", &mut keys.token);
        expand(b"kith/1 invite sealed psk", &mut keys.sealed_psk);
        expand(b"kith/1 invite noise psk", &mut keys.noise_psk);
        keys
    }
}

impl fmt::Debug for InviteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteSecret(secret)")
    }
}

/// What an invite's secret expands to.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct InviteKeys {
    /// All that the signaling server sees; the HPKE psk id.
    pub token: [u8; 16],
    pub(crate) sealed_psk: [u8; 32],
    pub(crate) noise_psk: [u8; 32],
}

impl fmt::Debug for InviteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteKeys(secret)")
    }
}
