//! Pairing by digits: the code that brings two devices together, and the digits that two people compare
//! (docs/protocol.md §4.3).
//!
//! Invariants:
//! - The responder is bound to its nonce before it learns the initiator's, and the initiator sends its own before it learns
//!   the responder's: nobody between the two can try digits out.
//! - The code proves nothing. Whoever knows it, the signaling server among them, is told apart by the digits.
//!
//! Deliberately absent: who may try how often (the engine).

use core::fmt;

use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::invite::InviteSecret;
use crate::primitives::sha256;

/// Letters of a code.
pub const CODE_LETTERS: usize = 6;
/// What a code is made of; I and O look like digits.
const ALPHABET: &[u8; 24] = b"ABCDEFGHJKLMNPQRSTUVWXYZ";
/// Random bytes below this give each letter equally often.
const EVEN_BELOW: u8 = 240;

const CODE_LABEL: &[u8] = b"kith/1 code";
const COMMITMENT_LABEL: &[u8] = b"kith/1 digits commitment";
const DIGITS_LABEL: &[u8] = b"kith/1 digits";
/// There are so many different digits.
const DIGITS: u64 = 1_000_000;

/// Six letters that one screen shows and somebody types on the other.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Code([u8; CODE_LETTERS]);

impl Code {
    /// Makes a new code.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut letters = [0; CODE_LETTERS];
        for letter in &mut letters {
            let mut byte = [EVEN_BELOW];
            while byte[0] >= EVEN_BELOW {
                rng.fill_bytes(&mut byte);
            }
            *letter = ALPHABET[usize::from(byte[0]) % ALPHABET.len()];
        }
        Self(letters)
    }

    /// Reads what somebody typed: in either case, with spaces or hyphens. `None` is no code.
    pub fn parse(text: &str) -> Option<Self> {
        let mut letters =
            text.bytes().filter(|byte| !matches!(byte, b' ' | b'-')).map(|byte| byte.to_ascii_uppercase());
        let mut code = Self([0; CODE_LETTERS]);
        for place in &mut code.0 {
            *place = letters.next().filter(|letter| ALPHABET.contains(letter))?;
        }
        letters.next().is_none().then_some(code)
    }

    /// The letters, as a screen shows them.
    pub fn as_str(&self) -> &str {
        // Letters of the alphabet only.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// What stands in the place of an invite's secret. It is no secret from somebody who tries all codes.
    pub fn secret(&self) -> InviteSecret {
        InviteSecret::from_bytes(sha256(&[CODE_LABEL, &self.0]))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(..)")
    }
}

/// What the responder is bound by before it learns the initiator's nonce.
pub fn commitment(handshake_hash: &[u8; 32], responder_nonce: &[u8; 32]) -> [u8; 32] {
    sha256(&[COMMITMENT_LABEL, handshake_hash, responder_nonce])
}

/// The six digits, as a number.
pub fn digits(handshake_hash: &[u8; 32], initiator_nonce: &[u8; 32], responder_nonce: &[u8; 32]) -> u32 {
    let [a, b, c, d, e, f, g, h, ..] = sha256(&[DIGITS_LABEL, handshake_hash, initiator_nonce, responder_nonce]);
    // Less than a million.
    u32::try_from(u64::from_be_bytes([a, b, c, d, e, f, g, h]) % DIGITS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = Code::parse("KQXRWA").unwrap();
        for text in ["kqxrwa", "KQX RWA", " kqx-rwa ", "kQxRwA"] {
            assert_eq!(Code::parse(text).as_ref(), Some(&code), "{text}");
        }
        for text in ["", "KQXRW", "KQXRWAA", "KQXRW1", "KQXRWI", "KQXRWO", "KQXRW\u{e9}", "KQX_RWA"] {
            assert_eq!(Code::parse(text), None, "{text}");
        }
        assert_eq!(code.as_str(), "KQXRWA");
    }
}
