//! Frames between peers (docs/protocol.md §6.3, §7) and the TLV form that they share with
//! signaling messages and stored values.

use serde::{Deserialize, Serialize};

use crate::identity::Card;
use crate::primitives::sha256;
use crate::version::Version;

/// The largest message body.
pub const BODY_BYTES_MAX: usize = 12_288;
/// The longest content type.
pub const CONTENT_TYPE_BYTES_MAX: usize = 64;
/// The longest name.
pub const NAME_BYTES_MAX: usize = 64;

const MESSAGE_LABEL: &[u8] = b"kith/1 message";

/// Why bytes are not a frame, or a frame does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Shorter than it says, or the buffer is too small.
    #[error("it is cut off")]
    Short,
    /// The payload does not parse, or something follows it.
    #[error("it does not parse")]
    Malformed,
    /// A kind that must be understood and is not.
    #[error("its kind is unknown")]
    UnknownKind,
    /// A field is over its limit.
    #[error("a field is too long")]
    TooLong,
    /// Padding that is not zero.
    #[error("its padding is not zero")]
    Padding,
}

/// kind u8 ‖ length u16 ‖ payload.
pub mod tlv {
    use super::WireError;

    /// Before the payload.
    pub const HEADER_BYTES: usize = 3;

    /// One element.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Tlv<'a> {
        /// What it is.
        pub kind: u8,
        /// Its bytes.
        pub payload: &'a [u8],
    }

    impl Tlv<'_> {
        /// Whether it may be skipped by whoever does not know its kind.
        pub fn is_optional(&self) -> bool {
            self.kind & 0x80 != 0
        }
    }

    /// Writes an element and returns its length.
    ///
    /// # Errors
    /// A payload over 65,535 bytes, or a buffer that is too small.
    pub fn write(kind: u8, payload: &[u8], out: &mut [u8]) -> Result<usize, WireError> {
        let end = HEADER_BYTES + payload.len();
        out.get_mut(HEADER_BYTES..end).ok_or(WireError::Short)?.copy_from_slice(payload);
        finish(kind, payload.len(), out)
    }

    /// Writes the header before a payload that stands in the buffer already.
    ///
    /// # Errors
    /// As [`write`].
    pub fn finish(kind: u8, payload_len: usize, out: &mut [u8]) -> Result<usize, WireError> {
        let length = u16::try_from(payload_len).map_err(|_| WireError::TooLong)?;
        let [high, low] = length.to_be_bytes();
        out.get_mut(..HEADER_BYTES).ok_or(WireError::Short)?.copy_from_slice(&[kind, high, low]);
        Ok(HEADER_BYTES + payload_len)
    }

    /// Reads one element; gives it and what follows.
    ///
    /// # Errors
    /// Bytes that end before the element does.
    pub fn read(bytes: &[u8]) -> Result<(Tlv<'_>, &[u8]), WireError> {
        let ([kind, high, low], rest) = bytes.split_first_chunk().ok_or(WireError::Short)?;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (payload, rest) = rest.split_at_checked(length).ok_or(WireError::Short)?;
        Ok((Tlv { kind: *kind, payload }, rest))
    }
}

/// The first record of each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What it speaks.
    pub version: Version,
    /// Of its store.
    pub incarnation: [u8; 16],
}

/// A message is on the receiver's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Of the message.
    pub id: [u8; 16],
    /// [`Message::hash`].
    pub hash: [u8; 32],
}

/// The invitee says who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduce<'a> {
    /// Its identity.
    pub card: Card,
    /// How it wants to be called; at most [`NAME_BYTES_MAX`] bytes.
    pub name: &'a str,
}

/// A message.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message<'a> {
    /// Random, the same for all who receive it.
    pub id: [u8; 16],
    /// Zeros: between the two.
    pub conversation: [u8; 16],
    /// The sender's count.
    pub number: u64,
    /// The sender's clock, milliseconds of UTC.
    pub sent_utc_ms: u64,
    /// Whether that clock had been set.
    pub clock_trusted: bool,
    /// 1 to [`CONTENT_TYPE_BYTES_MAX`] bytes (RFC 6838).
    pub content_type: &'a str,
    /// The message that this one answers.
    pub reply_to: Option<[u8; 16]>,
    /// Seconds after which it disappears.
    pub ttl_s: Option<u32>,
    /// At most [`BODY_BYTES_MAX`] bytes.
    pub body: &'a [u8],
}

impl core::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Message").field("number", &self.number).field("body_bytes", &self.body.len()).finish_non_exhaustive()
    }
}

impl Message<'_> {
    /// What an acknowledgement names beside the id.
    pub fn hash(&self) -> [u8; 32] {
        message_hash(&self.id, self.number, self.content_type, self.body)
    }
}

/// The hash of a message with these fields (docs/protocol.md §7). The content type has at most
/// 64 bytes.
pub fn message_hash(id: &[u8; 16], number: u64, content_type: &str, body: &[u8]) -> [u8; 32] {
    let length = [content_type.len() as u8];
    sha256(&[MESSAGE_LABEL, id, &number.to_be_bytes(), &length, content_type.as_bytes(), body])
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// First, from each side.
    Hello(Hello),
    /// A message.
    Message(Message<'a>),
    /// A message is on disk.
    Ack(Ack),
    /// While pairing: who the invitee is.
    Introduce(Introduce<'a>),
    /// While pairing: the inviter has stored the invitee.
    Paired {
        /// How the inviter wants to be called; at most [`NAME_BYTES_MAX`] bytes.
        name: &'a str,
    },
    /// A handshake message of a rekey.
    Rekey(&'a [u8]),
    /// The initiator's last record under the old key.
    Switch,
    /// The responder wants a rekey.
    AskRekey,
    /// To be answered with the same bytes.
    Ping([u8; 8]),
    /// The answer.
    Pong([u8; 8]),
}

mod kind {
    pub(super) const HELLO: u8 = 0x01;
    pub(super) const MESSAGE: u8 = 0x02;
    pub(super) const ACK: u8 = 0x03;
    pub(super) const INTRODUCE: u8 = 0x04;
    pub(super) const PAIRED: u8 = 0x05;
    pub(super) const REKEY: u8 = 0x06;
    pub(super) const SWITCH: u8 = 0x07;
    pub(super) const ASK_REKEY: u8 = 0x08;
    pub(super) const PING: u8 = 0x89;
    pub(super) const PONG: u8 = 0x8a;
}

impl<'a> Frame<'a> {
    /// Writes the frame and returns its length.
    ///
    /// # Errors
    /// A field over its limit, or a buffer that is too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        self.check()?;
        match self {
            Self::Hello(hello) => put(kind::HELLO, hello, out),
            Self::Message(message) => put(kind::MESSAGE, message, out),
            Self::Ack(ack) => put(kind::ACK, ack, out),
            Self::Introduce(introduce) => put(kind::INTRODUCE, introduce, out),
            Self::Paired { name } => put(kind::PAIRED, name, out),
            Self::Rekey(message) => put(kind::REKEY, message, out),
            Self::Switch => put(kind::SWITCH, &(), out),
            Self::AskRekey => put(kind::ASK_REKEY, &(), out),
            Self::Ping(token) => put(kind::PING, token, out),
            Self::Pong(token) => put(kind::PONG, token, out),
        }
    }

    /// Reads a frame that is padded with zeros. `None` for an unknown kind that may be skipped.
    ///
    /// # Errors
    /// Anything that [`Frame::encode`] would not have written, followed by zeros.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<Self>, WireError> {
        let (tlv, padding) = tlv::read(bytes)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(WireError::Padding);
        }
        let payload = tlv.payload;
        let frame = match tlv.kind {
            kind::HELLO => Self::Hello(take(payload)?),
            kind::MESSAGE => Self::Message(take(payload)?),
            kind::ACK => Self::Ack(take(payload)?),
            kind::INTRODUCE => Self::Introduce(take(payload)?),
            kind::PAIRED => Self::Paired { name: take(payload)? },
            kind::REKEY => Self::Rekey(take(payload)?),
            kind::SWITCH => take(payload).map(|()| Self::Switch)?,
            kind::ASK_REKEY => take(payload).map(|()| Self::AskRekey)?,
            kind::PING => Self::Ping(take(payload)?),
            kind::PONG => Self::Pong(take(payload)?),
            _ if tlv.is_optional() => return Ok(None),
            _ => return Err(WireError::UnknownKind),
        };
        frame.check()?;
        Ok(Some(frame))
    }

    fn check(&self) -> Result<(), WireError> {
        let fits = match self {
            Self::Message(message) => {
                let content_type = message.content_type.len();
                (1..=CONTENT_TYPE_BYTES_MAX).contains(&content_type) && message.body.len() <= BODY_BYTES_MAX
            }
            Self::Introduce(Introduce { name, .. }) | Self::Paired { name } => name.len() <= NAME_BYTES_MAX,
            _ => true,
        };
        if fits { Ok(()) } else { Err(WireError::TooLong) }
    }
}

fn put<T: Serialize + ?Sized>(kind: u8, value: &T, out: &mut [u8]) -> Result<usize, WireError> {
    let room = out.get_mut(tlv::HEADER_BYTES..).ok_or(WireError::Short)?;
    let length = postcard::to_slice(value, room).map_err(|_| WireError::Short)?.len();
    tlv::finish(kind, length, out)
}

fn take<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, WireError> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(WireError::Malformed),
    }
}
