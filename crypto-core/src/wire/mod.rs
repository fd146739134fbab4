//! Frames: what two peers say to each other inside a session (docs/protocol.md §6.3 and §7).
//!
//! Invariants:
//! - A [`Frame`] that was decoded keeps the limits of the format; encoding one that does not is an error.
//! - Decoding borrows from the record; nothing is copied but fixed-size values.
//! - An unknown optional kind is no error: it is `None`.
//!
//! Deliberately absent: padding and sealing (`session`), and whether a frame is in its place (the engine).

pub mod tlv;

use serde::{Deserialize, Serialize, Serializer};

use crate::identity::Card;
use crate::primitives::sha256;
use crate::room::{ROSTER_BYTES_MAX, RoomId, RoomSecret};
use crate::version::Version;
use tlv::Tlv;

/// The longest body of a message. With the longest other fields it still fits the second largest record.
pub const BODY_BYTES_MAX: usize = 12_288;
/// The longest content type.
pub const CONTENT_TYPE_BYTES_MAX: usize = 64;
/// The longest display name.
pub const NAME_BYTES_MAX: usize = 64;

const MESSAGE_LABEL: &[u8] = b"kith/1 message";

mod kind {
    pub(super) const HELLO: u8 = 0x01;
    pub(super) const MESSAGE: u8 = 0x02;
    pub(super) const ACK: u8 = 0x03;
    pub(super) const INTRODUCE: u8 = 0x04;
    pub(super) const PAIRED: u8 = 0x05;
    pub(super) const REKEY: u8 = 0x06;
    pub(super) const SWITCH: u8 = 0x07;
    pub(super) const ASK_REKEY: u8 = 0x08;
    pub(super) const COMMITMENT: u8 = 0x09;
    pub(super) const NONCE: u8 = 0x0a;
    pub(super) const AGREE: u8 = 0x0b;
    pub(super) const ROSTER: u8 = 0x0c;
    pub(super) const DISMISSAL: u8 = 0x0d;
    pub(super) const LEAVE: u8 = 0x0e;
    pub(super) const PING: u8 = 0x89;
    pub(super) const PONG: u8 = 0x8a;
    pub(super) const ROOM: u8 = 0x8b;
    pub(super) const EXPIRY: u8 = 0x8f;
    pub(super) const READ: u8 = 0x90;
}

/// Why a frame was not written or not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The output is too short.
    #[error("the buffer is too short")]
    NoSpace,
    /// The input ends too early.
    #[error("truncated")]
    Truncated,
    /// A body, name, content type or payload over its limit.
    #[error("over the limit")]
    TooLong,
    /// A kind that must be known and is not.
    #[error("unknown kind {0:#04x}")]
    UnknownKind(u8),
    /// A payload that does not parse, or goes on after its last field.
    #[error("malformed payload")]
    Malformed,
    /// A content type that is empty or not of the form `type/subtype`.
    #[error("not a content type")]
    ContentType,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The first record of each side.
    Hello(Hello),
    /// A message to keep.
    Message(Message<'a>),
    /// It is on the receiver's disk.
    Ack(Ack),
    /// While pairing: who the invitee is.
    Introduce(Introduce<'a>),
    /// While pairing: the inviter has stored the invitee.
    Paired {
        /// The inviter's display name.
        name: &'a str,
    },
    /// A Noise message of a handshake inside the session.
    Rekey(&'a [u8]),
    /// The initiator's last record under the old key.
    Switch,
    /// The responder wants a new key.
    AskRekey,
    /// While pairing by digits: the responder is bound to its nonce, see [`crate::comparison::commitment`].
    Commitment([u8; 32]),
    /// While pairing by digits: this side's share of them.
    Nonce([u8; 32]),
    /// While pairing by digits: the person here has seen the same ones.
    Agree,
    /// Asks for a [`Frame::Pong`] with the same token.
    Ping([u8; 8]),
    /// Answers a [`Frame::Ping`].
    Pong([u8; 8]),
    /// Which roster of a room the sender holds.
    Room(Room),
    /// A room's roster, for a member of it.
    Roster(RosterFrame<'a>),
    /// The room's owner: the receiver is no longer on the roster.
    Dismissal {
        /// Of which room.
        room: RoomId,
        /// The first version without it, or a later one.
        version: u64,
    },
    /// To the room's owner: the sender wants to be on the roster no longer.
    Leave(RoomId),
    /// After how long messages of a conversation disappear, as the sender knows it.
    Expiry(Expiry),
    /// How far the receiver's messages have been read at the sender.
    Read(Read),
}

/// What each side says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What the sender speaks.
    pub version: Version,
    /// The incarnation of the sender's store: numbers of messages count within it.
    pub incarnation: [u8; 16],
}

/// Which roster of a room the sender holds. Without one, version and hash are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Which room.
    pub room: RoomId,
    /// The roster's version.
    pub version: u64,
    /// The roster's hash.
    pub hash: [u8; 32],
    /// Names the sender's count of messages in this room, as that of `hello` does for the conversation of two.
    pub incarnation: [u8; 16],
}

/// After how long messages of a conversation disappear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    /// Zeros: between the two. Else a room's id.
    pub conversation: [u8; 16],
    /// One more with each change.
    pub revision: u64,
    /// For messages to come, 0 for never.
    pub seconds: u32,
}

/// How far somebody's messages have been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// Zeros: between the two. Else a room's id.
    pub conversation: [u8; 16],
    /// The newest message that was read.
    pub id: [u8; 16],
    /// Its number; all before it have been read, too.
    pub number: u64,
}

/// A roster and the secret that it was signed with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterFrame<'a> {
    /// The room's secret.
    pub secret: RoomSecret,
    /// The signed roster, as it came from its owner.
    #[serde(serialize_with = "serialize_bytes")]
    pub roster: &'a [u8],
}

// Who is in a room is nobody else's business.
impl core::fmt::Debug for RosterFrame<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RosterFrame").field("roster_bytes", &self.roster.len()).finish_non_exhaustive()
    }
}

/// Says that a message is on the receiver's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The message's id.
    pub id: [u8; 16],
    /// The hash of what was stored, [`Message::hash`].
    pub hash: [u8; 32],
}

/// Who the invitee is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduce<'a> {
    /// The invitee's card.
    pub card: Card,
    /// The invitee's display name, at most 64 bytes.
    pub name: &'a str,
}

/// A message (docs/protocol.md §7).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message<'a> {
    /// Random, the sender's.
    pub id: [u8; 16],
    /// Zeros: between the two. Else a room's id.
    pub conversation: [u8; 16],
    /// Counts from 1 per sender, incarnation and conversation.
    pub number: u64,
    /// The sender's clock, milliseconds of UTC.
    pub sent_utc_ms: u64,
    /// Whether the sender trusted that clock.
    pub clock_trusted: bool,
    /// `type/subtype`, 1 to 64 bytes (RFC 6838 §4.2).
    pub content_type: &'a str,
    /// The id of the message that this one answers.
    pub reply_to: Option<[u8; 16]>,
    /// Seconds after which both sides forget it.
    pub ttl_s: Option<u32>,
    /// At most 12,288 bytes.
    #[serde(serialize_with = "serialize_bytes")]
    pub body: &'a [u8],
}

impl Message<'_> {
    /// What an acknowledgement names, see [`message_hash`].
    pub fn hash(&self) -> [u8; 32] {
        message_hash(&self.id, self.number, self.content_type, self.body)
    }

    fn check(&self) -> Result<(), WireError> {
        if self.body.len() > BODY_BYTES_MAX || self.content_type.len() > CONTENT_TYPE_BYTES_MAX {
            return Err(WireError::TooLong);
        }
        if !is_content_type(self.content_type) {
            return Err(WireError::ContentType);
        }
        Ok(())
    }
}

// The body is somebody's words: it is never printed.
impl core::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Message")
            .field("number", &self.number)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// `SHA-256("kith/1 message" ‖ id ‖ number u64 ‖ content type length u8 ‖ content type ‖ body)`.
pub fn message_hash(id: &[u8; 16], number: u64, content_type: &str, body: &[u8]) -> [u8; 32] {
    // A content type has at most 64 bytes; a longer one is never sent or stored.
    let content_type_bytes = u8::try_from(content_type.len()).unwrap_or(u8::MAX);
    sha256(&[MESSAGE_LABEL, id, &number.to_be_bytes(), &[content_type_bytes], content_type.as_bytes(), body])
}

impl<'a> Frame<'a> {
    /// Writes the frame as one TLV and gives its length.
    ///
    /// # Errors
    /// [`WireError::NoSpace`], [`WireError::TooLong`] or [`WireError::ContentType`].
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        self.check()?;
        let payload = out.get_mut(tlv::HEADER_BYTES..).ok_or(WireError::NoSpace)?;
        let written = match self {
            Self::Hello(hello) => postcard::to_slice(hello, payload),
            Self::Message(message) => postcard::to_slice(message, payload),
            Self::Ack(ack) => postcard::to_slice(ack, payload),
            Self::Introduce(introduce) => postcard::to_slice(introduce, payload),
            Self::Paired { name } => postcard::to_slice(name, payload),
            Self::Rekey(message) => postcard::to_slice(&Bytes(message), payload),
            Self::Switch | Self::AskRekey | Self::Agree => Ok(&mut [][..]),
            Self::Commitment(bytes) | Self::Nonce(bytes) => postcard::to_slice(bytes, payload),
            Self::Ping(token) | Self::Pong(token) => postcard::to_slice(token, payload),
            Self::Room(room) => postcard::to_slice(room, payload),
            Self::Roster(roster) => postcard::to_slice(roster, payload),
            Self::Dismissal { room, version } => postcard::to_slice(&(room, version), payload),
            Self::Leave(room) => postcard::to_slice(room, payload),
            Self::Expiry(expiry) => postcard::to_slice(expiry, payload),
            Self::Read(read) => postcard::to_slice(read, payload),
        };
        let payload_bytes = written.map_err(|_| WireError::NoSpace)?.len();
        tlv::write_header(self.kind(), payload_bytes, out)?;
        Ok(tlv::HEADER_BYTES + payload_bytes)
    }

    /// Reads bytes that hold exactly one frame; `None` is an unknown optional kind.
    ///
    /// # Errors
    /// [`WireError::Truncated`], [`WireError::Malformed`] (bytes after the frame too), or what [`Frame::from_tlv`] gives.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<Self>, WireError> {
        match tlv::read(bytes)? {
            (tlv, []) => Self::from_tlv(tlv),
            _ => Err(WireError::Malformed),
        }
    }

    /// Reads a frame's payload; `None` is an unknown optional kind.
    ///
    /// # Errors
    /// [`WireError::Malformed`], [`WireError::TooLong`], [`WireError::ContentType`] or [`WireError::UnknownKind`].
    pub fn from_tlv(tlv: Tlv<'a>) -> Result<Option<Self>, WireError> {
        let payload = tlv.payload;
        let frame = match tlv.kind {
            kind::HELLO => Self::Hello(parse(payload)?),
            kind::MESSAGE => Self::Message(parse(payload)?),
            kind::ACK => Self::Ack(parse(payload)?),
            kind::INTRODUCE => Self::Introduce(parse(payload)?),
            kind::PAIRED => Self::Paired { name: parse(payload)? },
            kind::REKEY => Self::Rekey(parse(payload)?),
            kind::SWITCH => parse::<()>(payload).map(|()| Self::Switch)?,
            kind::ASK_REKEY => parse::<()>(payload).map(|()| Self::AskRekey)?,
            kind::COMMITMENT => Self::Commitment(parse(payload)?),
            kind::NONCE => Self::Nonce(parse(payload)?),
            kind::AGREE => parse::<()>(payload).map(|()| Self::Agree)?,
            kind::PING => Self::Ping(parse(payload)?),
            kind::PONG => Self::Pong(parse(payload)?),
            kind::ROOM => Self::Room(parse(payload)?),
            kind::ROSTER => Self::Roster(parse(payload)?),
            kind::DISMISSAL => {
                let (room, version) = parse(payload)?;
                Self::Dismissal { room, version }
            }
            kind::LEAVE => Self::Leave(parse(payload)?),
            kind::EXPIRY => Self::Expiry(parse(payload)?),
            kind::READ => Self::Read(parse(payload)?),
            _ if tlv.is_optional() => return Ok(None),
            unknown => return Err(WireError::UnknownKind(unknown)),
        };
        frame.check()?;
        Ok(Some(frame))
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => kind::HELLO,
            Self::Message(_) => kind::MESSAGE,
            Self::Ack(_) => kind::ACK,
            Self::Introduce(_) => kind::INTRODUCE,
            Self::Paired { .. } => kind::PAIRED,
            Self::Rekey(_) => kind::REKEY,
            Self::Switch => kind::SWITCH,
            Self::AskRekey => kind::ASK_REKEY,
            Self::Commitment(_) => kind::COMMITMENT,
            Self::Nonce(_) => kind::NONCE,
            Self::Agree => kind::AGREE,
            Self::Ping(_) => kind::PING,
            Self::Pong(_) => kind::PONG,
            Self::Room(_) => kind::ROOM,
            Self::Roster(_) => kind::ROSTER,
            Self::Dismissal { .. } => kind::DISMISSAL,
            Self::Leave(_) => kind::LEAVE,
            Self::Expiry(_) => kind::EXPIRY,
            Self::Read(_) => kind::READ,
        }
    }

    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Message(message) => message.check(),
            Self::Roster(roster) if roster.roster.len() > ROSTER_BYTES_MAX => Err(WireError::TooLong),
            Self::Introduce(Introduce { name, .. }) | Self::Paired { name } if name.len() > NAME_BYTES_MAX => {
                Err(WireError::TooLong)
            }
            _ => Ok(()),
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, WireError> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        _ => Err(WireError::Malformed),
    }
}

/// `type "/" subtype`, both restricted names (RFC 6838 §4.2), at most [`CONTENT_TYPE_BYTES_MAX`] together; parameters are
/// not part of it.
pub fn is_content_type(text: &str) -> bool {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.len() <= CONTENT_TYPE_BYTES_MAX
        && text.split_once('/').is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype))
}

/// Serde writes `&[u8]` element by element; this writes it in one piece, to the same bytes.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

fn serialize_bytes<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}
