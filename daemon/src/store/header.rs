//! The clear header: what has to be known before there is a key.

use kith_crypto::{
    identity::ClientId,
    vault::{ITERATIONS_MAX, ITERATIONS_MIN, WRAPPED_BYTES},
    wire::tlv,
};

/// The only format that this program reads and writes.
const FORMAT: u8 = 1;
const KIND: u8 = 0x01;

const TLV_BYTES: usize = tlv::HEADER_BYTES;
const BOUND_PAYLOAD_BYTES: usize = 1 + 20 + 16 + 4;

/// The bytes that the wrapped data key is bound to: all before it.
pub(super) const BOUND_BYTES: usize = TLV_BYTES + BOUND_PAYLOAD_BYTES;
/// The whole row.
pub(super) const HEADER_BYTES: usize = BOUND_BYTES + WRAPPED_BYTES;

/// The clear header's fields (docs/protocol.md §8.2).
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) client_id: ClientId,
    pub(super) salt: [u8; 16],
    pub(super) iterations: u32,
    pub(super) wrapped: [u8; WRAPPED_BYTES],
}

/// Why a header is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// Its format is unknown to this program.
    Newer,
    /// It does not parse; the words say where.
    Damaged(&'static str),
}

impl Header {
    /// The bytes that the wrapped data key is bound to.
    pub(super) fn bound(client_id: &ClientId, salt: &[u8; 16], iterations: u32) -> [u8; BOUND_BYTES] {
        let length = (BOUND_PAYLOAD_BYTES + WRAPPED_BYTES) as u16;
        let mut bytes = [0; BOUND_BYTES];
        bytes[0] = KIND;
        bytes[1..3].copy_from_slice(&length.to_be_bytes());
        bytes[3] = FORMAT;
        bytes[4..24].copy_from_slice(client_id.as_bytes());
        bytes[24..40].copy_from_slice(salt);
        bytes[40..44].copy_from_slice(&iterations.to_be_bytes());
        bytes
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..BOUND_BYTES].copy_from_slice(&Self::bound(&self.client_id, &self.salt, self.iterations));
        bytes[BOUND_BYTES..].copy_from_slice(&self.wrapped);
        bytes
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let (value, rest) = tlv::read(bytes).map_err(|_| HeaderError::Damaged("its length is wrong"))?;
        // A later format is a new kind, or another first byte; nothing more of it is looked at.
        if value.kind != KIND || value.payload.first().is_some_and(|format| *format != FORMAT) {
            return Err(HeaderError::Newer);
        }
        if !rest.is_empty() {
            return Err(HeaderError::Damaged("something follows it"));
        }
        let payload: &[u8; BOUND_PAYLOAD_BYTES + WRAPPED_BYTES] =
            value.payload.try_into().map_err(|_| HeaderError::Damaged("its length is wrong"))?;
        let (_, payload) = split::<1>(payload);
        let (client_id, payload) = split::<20>(payload);
        let (salt, payload) = split::<16>(payload);
        let (iterations, payload) = split::<4>(payload);
        let (wrapped, _) = split::<WRAPPED_BYTES>(payload);
        let iterations = u32::from_be_bytes(iterations);
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(HeaderError::Damaged("its number of iterations is out of range"));
        }
        Ok(Self { client_id: ClientId::from_bytes(client_id), salt, iterations, wrapped })
    }
}

/// The first `N` bytes and the rest; zeros where the input is shorter, which callers rule out by
/// its length.
fn split<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    match bytes.split_first_chunk::<N>() {
        Some((head, rest)) => (*head, rest),
        None => ([0; N], &[]),
    }
}
