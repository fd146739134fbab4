//! One message, one TLV, one postcard payload.

use std::fmt;
use std::marker::PhantomData;

use kith_crypto::wire::WireError;
use kith_crypto::wire::tlv::{self, Tlv};
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

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

/// Reads a list of at most `MAX` entries. A longer one is refused at the first entry too many: entries may need many times the
/// memory that they take on the wire.
pub(crate) fn short_list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct ShortList<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ShortList<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX} entries")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::with_capacity(entries.size_hint().unwrap_or(0).min(MAX));
            while let Some(entry) = entries.next_element()? {
                if list.len() == MAX {
                    return Err(A::Error::invalid_length(MAX + 1, &self));
                }
                list.push(entry);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(ShortList::<T, MAX>(PhantomData))
}
