//! Records in clear, as JSON objects (docs/protocol.md §8.8): what a store of version 0 holds. Backups say the same
//! things in the same words.
//!
//! Bytes are lower-case hexadecimal digits; a message's body is Base64 (RFC 4648 §4). A key that
//! is unknown or missing is an error, and so is a value out of its range.

use data_encoding::BASE64;
use kith_crypto::identity::{Card, Identity};
use kith_engine::{
    ContactRecord, ContactState, ConversationRecord, Direction, Incarnation, Mark, MessageId, MessageRecord,
    MessageState, ProfileRecord,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::hex::Hex;

/// A record with its JSON object.
pub trait Plain: Sized {
    /// The object.
    type Object: Serialize + for<'de> Deserialize<'de>;

    /// The record as an object.
    fn to_object(&self) -> Self::Object;

    /// The record of an object; `None` if there is none like it.
    fn from_object(object: Self::Object) -> Option<Self>;
}

/// The identity's secret.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub struct PlainIdentity {
    signing: Hex<32>,
    agreement: Hex<32>,
}

/// The own settings.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainProfile {
    display_name: String,
    incarnation: Hex<16>,
}

/// A contact.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainContact {
    card: Hex<130>,
    name: String,
    state: ContactWord,
    major_min: u8,
    paired_ms: u64,
    seen_ms: u64,
    incarnation: Hex<16>,
}

/// A contact's state, in a word.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ContactWord {
    Pending,
    Paired,
}

/// A conversation's counters.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainConversation {
    last_seq: u64,
    read_seq: u64,
    unread: u64,
    sent_number: u64,
}

/// A high-water mark.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainMark {
    incarnation: Hex<16>,
    number: u64,
}

/// A message. Its body has no `Debug`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainMessage {
    seq: u64,
    id: Hex<16>,
    direction: DirectionWord,
    number: u64,
    incarnation: Hex<16>,
    sent_ms: u64,
    clock_trusted: bool,
    done_ms: u64,
    state: DeliveryWord,
    #[serde(rename = "type")]
    content_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<Hex<16>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_s: Option<u32>,
    body: Body,
}

/// A message's direction, in a word.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DirectionWord {
    Outgoing,
    Incoming,
}

/// A message's state, in a word.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DeliveryWord {
    Queued,
    Delivered,
}

impl From<ContactState> for ContactWord {
    fn from(state: ContactState) -> Self {
        match state {
            // There are no rooms in clear, and none who are known by one.
            ContactState::Pending | ContactState::Introduced => Self::Pending,
            ContactState::Paired => Self::Paired,
        }
    }
}

impl From<ContactWord> for ContactState {
    fn from(word: ContactWord) -> Self {
        match word {
            ContactWord::Pending => Self::Pending,
            ContactWord::Paired => Self::Paired,
        }
    }
}

impl From<Direction> for DirectionWord {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Outgoing => Self::Outgoing,
            // There are no rooms in clear.
            Direction::Incoming | Direction::Member(_) => Self::Incoming,
        }
    }
}

impl From<DirectionWord> for Direction {
    fn from(word: DirectionWord) -> Self {
        match word {
            DirectionWord::Outgoing => Self::Outgoing,
            DirectionWord::Incoming => Self::Incoming,
        }
    }
}

impl From<MessageState> for DeliveryWord {
    fn from(state: MessageState) -> Self {
        match state {
            MessageState::Queued => Self::Queued,
            MessageState::Delivered => Self::Delivered,
        }
    }
}

impl From<DeliveryWord> for MessageState {
    fn from(word: DeliveryWord) -> Self {
        match word {
            DeliveryWord::Queued => Self::Queued,
            DeliveryWord::Delivered => Self::Delivered,
        }
    }
}

impl Plain for Identity {
    type Object = PlainIdentity;

    fn to_object(&self) -> PlainIdentity {
        let secret = self.to_secret_bytes();
        let (mut signing, mut agreement) = ([0; 32], [0; 32]);
        signing.copy_from_slice(&secret[..32]);
        agreement.copy_from_slice(&secret[32..]);
        PlainIdentity { signing: Hex(signing), agreement: Hex(agreement) }
    }

    fn from_object(object: PlainIdentity) -> Option<Self> {
        let mut secret = Zeroizing::new([0; 64]);
        secret[..32].copy_from_slice(&object.signing.0);
        secret[32..].copy_from_slice(&object.agreement.0);
        Self::from_secret_bytes(&secret).ok()
    }
}

impl Plain for ProfileRecord {
    type Object = PlainProfile;

    fn to_object(&self) -> PlainProfile {
        PlainProfile { display_name: self.display_name.clone(), incarnation: Hex(self.incarnation.0) }
    }

    fn from_object(object: PlainProfile) -> Option<Self> {
        let PlainProfile { display_name, incarnation } = object;
        Some(Self { display_name, incarnation: Incarnation(incarnation.0) })
    }
}

impl Plain for ContactRecord {
    type Object = PlainContact;

    fn to_object(&self) -> PlainContact {
        PlainContact {
            card: Hex(*self.card.as_bytes()),
            name: self.name.clone(),
            state: self.state.into(),
            major_min: self.major_min,
            paired_ms: self.paired_utc_ms,
            seen_ms: self.seen_utc_ms,
            incarnation: Hex(self.incarnation.0),
        }
    }

    fn from_object(object: PlainContact) -> Option<Self> {
        let PlainContact { card, name, state, major_min, paired_ms, seen_ms, incarnation } = object;
        Some(Self {
            card: Card::parse(&card.0).ok()?,
            name,
            state: state.into(),
            major_min,
            paired_utc_ms: paired_ms,
            seen_utc_ms: seen_ms,
            incarnation: Incarnation(incarnation.0),
        })
    }
}

impl Plain for ConversationRecord {
    type Object = PlainConversation;

    fn to_object(&self) -> PlainConversation {
        let Self { last_seq, read_seq, unread, sent_number } = *self;
        PlainConversation { last_seq, read_seq, unread, sent_number }
    }

    fn from_object(object: PlainConversation) -> Option<Self> {
        let PlainConversation { last_seq, read_seq, unread, sent_number } = object;
        Some(Self { last_seq, read_seq, unread, sent_number })
    }
}

impl Plain for Mark {
    type Object = PlainMark;

    fn to_object(&self) -> PlainMark {
        PlainMark { incarnation: Hex(self.incarnation.0), number: self.number }
    }

    fn from_object(object: PlainMark) -> Option<Self> {
        Some(Self { incarnation: Incarnation(object.incarnation.0), number: object.number })
    }
}

impl Plain for MessageRecord {
    type Object = PlainMessage;

    fn to_object(&self) -> PlainMessage {
        PlainMessage {
            seq: self.seq,
            id: Hex(self.id.0),
            direction: self.direction.into(),
            number: self.number,
            incarnation: Hex(self.incarnation.0),
            sent_ms: self.sent_utc_ms,
            clock_trusted: self.clock_trusted,
            done_ms: self.done_utc_ms,
            state: self.state.into(),
            content_type: self.content_type.clone(),
            reply_to: self.reply_to.map(|id| Hex(id.0)),
            ttl_s: self.ttl_s,
            body: Body(self.body.clone()),
        }
    }

    fn from_object(object: PlainMessage) -> Option<Self> {
        Some(Self {
            seq: object.seq,
            id: MessageId(object.id.0),
            direction: object.direction.into(),
            number: object.number,
            incarnation: Incarnation(object.incarnation.0),
            sent_utc_ms: object.sent_ms,
            clock_trusted: object.clock_trusted,
            done_utc_ms: object.done_ms,
            state: object.state.into(),
            content_type: object.content_type,
            reply_to: object.reply_to.map(|id| MessageId(id.0)),
            ttl_s: object.ttl_s,
            body: object.body.0,
        })
    }
}

struct Body(Vec<u8>);

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(BASE64.encode(&self.0)))
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        BASE64.decode(text.as_bytes()).map(Self).map_err(D::Error::custom)
    }
}
