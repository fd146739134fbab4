//! One message, one TLV, one postcard payload.

use kith_crypto::wire::WireError;
use kith_crypto::wire::tlv::{self, Tlv};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::MESSAGE_BYTES_MAX;

/// Bytes of a TLV before its payload.
const HEADER_BYTES: usize = 3;

/// Why bytes are not a message, or a message does not become bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Not one whole TLV.
    #[error("not one whole TLV")]
    Envelope(#[from] WireError),
    /// Something follows the TLV or its payload.
    #[error("bytes are left over after the message")]
    Trailing,
    /// A kind that has to be understood, and is not.
    #[error("unknown message kind {0:#04x}")]
    UnknownKind(u8),
    /// The payload is not what its kind says.
    #[error("the payload does not parse")]
    Payload(#[source] postcard::Error),
    /// A logging mode of a later version: what it means for the user cannot be shown.
    #[error("unknown logging mode {0}")]
    UnknownMode(u8),
    /// Over a limit of docs/protocol.md §3.3.
    #[error("{what} is over its limit")]
    OverLimit {
        /// Which part of the message.
        what: &'static str,
    },
}

/// Writes `kind` and `payload` as one message.
pub(crate) fn encode(kind: u8, payload: &impl Serialize) -> Result<Vec<u8>, ProtocolError> {
    let payload = postcard::to_allocvec(payload).map_err(ProtocolError::Payload)?;
    let bytes = HEADER_BYTES + payload.len();
    if bytes > MESSAGE_BYTES_MAX {
        return Err(ProtocolError::OverLimit { what: "the message" });
    }
    let mut message = vec![0; bytes];
    tlv::write(kind, &payload, &mut message)?;
    Ok(message)
}

/// Reads the only TLV of a message.
pub(crate) fn envelope(message: &[u8]) -> Result<Tlv<'_>, ProtocolError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(ProtocolError::OverLimit { what: "the message" });
    }
    let (tlv, rest) = tlv::read(message)?;
    if rest.is_empty() { Ok(tlv) } else { Err(ProtocolError::Trailing) }
}

/// Reads a payload to its last byte.
pub(crate) fn payload<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ProtocolError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(ProtocolError::Payload)?;
    if rest.is_empty() { Ok(value) } else { Err(ProtocolError::Trailing) }
}

/// A kind that is not known here: skipped if it is optional.
pub(crate) fn unknown<T>(tlv: &Tlv<'_>) -> Result<Option<T>, ProtocolError> {
    if tlv.is_optional() { Ok(None) } else { Err(ProtocolError::UnknownKind(tlv.kind)) }
}

/// Refuses what is longer than `max`.
pub(crate) fn at_most(len: usize, max: usize, what: &'static str) -> Result<(), ProtocolError> {
    if len > max { Err(ProtocolError::OverLimit { what }) } else { Ok(()) }
}
