//! Entries of a store as lines of JSON.

use data_encoding::BASE64;
use kith_crypto::identity::{Card, ClientId, Identity};
use kith_crypto::wire::{BODY_BYTES_MAX, is_content_type};
use kith_engine::{
    ContactRecord, ConversationRecord, ExpiryRecord, Incarnation, Mark, MessageId, MessageRecord, MissingRecord,
    ProfileRecord, ReadingRecord, StandingRecord, StoredContact,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::BackupError;
use crate::hex::Hex;
use crate::plain::{ContactWord, DeliveryWord, DirectionWord, Plain, PlainMark};
use crate::store::{Entry, RetentionChoice};

/// The longest line: a body of 12,288 control characters is 73,728 bytes in JSON, and the rest of
/// its message a few hundred.
pub(super) const LINE_BYTES_MAX: usize = 128 * 1024;

/// The kinds that this version knows. A published kind never changes; what is new gets a new kind.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Identity(IdentityLine),
    Tags(TagsLine),
    Profile(ProfileLine),
    Retention(RetentionLine),
    Contact(Box<ContactLine>),
    Message(Box<MessageLine>),
    Key(KeyLine),
    Inbox(InboxLine),
    Cursor(CursorLine),
}

/// What every line has.
#[derive(Deserialize)]
struct Kind {
    kind: String,
    /// Whether a reader that does not know the kind may skip the line.
    #[serde(default)]
    optional: bool,
}

const KINDS: [&str; 9] = ["identity", "tags", "profile", "retention", "contact", "message", "key", "inbox", "cursor"];

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityLine {
    secret: Hex<64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TagsLine {
    key: Hex<32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileLine {
    display_name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetentionLine {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    messages_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total_messages_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total_bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    days_max: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContactLine {
    card: Hex<130>,
    name: String,
    state: ContactWord,
    major_min: u8,
    paired_ms: u64,
    seen_ms: u64,
    incarnation: Hex<16>,
    last_seq: u64,
    read_seq: u64,
    unread: u64,
    sent_number: u64,
    missing: u64,
    verified: bool,
    blocked: bool,
    marks: Vec<PlainMark>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageLine {
    seq: u64,
    id: Hex<16>,
    direction: DirectionWord,
    state: DeliveryWord,
    number: u64,
    incarnation: Hex<16>,
    sent_ms: u64,
    clock_trusted: bool,
    done_ms: u64,
    #[serde(rename = "type")]
    content_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<Hex<16>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyLine {
    tag: Hex<16>,
    id: Hex<16>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InboxLine {
    place: u64,
    contact: String,
    seq: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CursorLine {
    tag: Hex<16>,
    place: u64,
}

/// Writes an entry as one line, with its newline.
pub(super) fn write(entry: &Entry, out: &mut Vec<u8>) -> Result<(), BackupError> {
    let line = match entry {
        Entry::Identity(identity) => Line::Identity(IdentityLine { secret: Hex(*identity.to_secret_bytes()) }),
        Entry::TagKey(key) => Line::Tags(TagsLine { key: Hex(**key) }),
        Entry::Profile(profile) => Line::Profile(ProfileLine { display_name: profile.display_name.clone() }),
        Entry::Retention(choice) => Line::Retention(retention_line(choice)),
        Entry::Contact(stored) => Line::Contact(Box::new(contact_line(stored))),
        Entry::Message(message) => Line::Message(Box::new(message_line(message))),
        Entry::Key { tag, id } => Line::Key(KeyLine { tag: Hex(*tag), id: Hex(id.0) }),
        Entry::Inbox { place, peer, seq } => {
            Line::Inbox(InboxLine { place: *place, contact: peer.to_string(), seq: *seq })
        }
        Entry::Cursor { tag, place } => Line::Cursor(CursorLine { tag: Hex(*tag), place: *place }),
    };
    serde_json::to_writer(&mut *out, &line).map_err(|error| BackupError::Io(error.to_string()))?;
    out.push(b'\n');
    Ok(())
}

/// Reads a line, without its newline. `None` if it is of a kind that may be skipped.
pub(super) fn read(line: &[u8]) -> Result<Option<Entry>, BackupError> {
    let damaged = || BackupError::Damaged("a line does not parse");
    let parsed: Line = match serde_json::from_slice(line) {
        Ok(parsed) => parsed,
        Err(_) => {
            let kind: Kind = serde_json::from_slice(line).map_err(|_| damaged())?;
            return match KINDS.contains(&kind.kind.as_str()) {
                true => Err(damaged()),
                false if kind.optional => Ok(None),
                false => Err(BackupError::Newer),
            };
        }
    };
    entry(parsed).map(Some).ok_or_else(damaged)
}

fn entry(line: Line) -> Option<Entry> {
    Some(match line {
        Line::Identity(line) => {
            let secret = Zeroizing::new(line.secret.0);
            Entry::Identity(Box::new(Identity::from_secret_bytes(&secret).ok()?))
        }
        Line::Tags(line) => Entry::TagKey(Zeroizing::new(line.key.0)),
        Line::Profile(line) => Entry::Profile(ProfileRecord {
            display_name: kith_engine::checked_name(&line.display_name).ok()?,
            // A restored device gets a new one.
            incarnation: Incarnation([0; 16]),
        }),
        Line::Retention(line) => Entry::Retention(retention(&line)),
        Line::Contact(line) => Entry::Contact(Box::new(contact(*line)?)),
        Line::Message(line) => Entry::Message(message(*line)?),
        Line::Key(line) => Entry::Key { tag: line.tag.0, id: MessageId(line.id.0) },
        Line::Inbox(line) => {
            let peer: ClientId = line.contact.parse().ok()?;
            Entry::Inbox { place: line.place, peer, seq: line.seq }
        }
        Line::Cursor(line) => Entry::Cursor { tag: line.tag.0, place: line.place },
    })
}

fn retention_line(choice: &RetentionChoice) -> RetentionLine {
    let RetentionChoice { messages_max, bytes_max, total_messages_max, total_bytes_max, days_max } = *choice;
    RetentionLine { messages_max, bytes_max, total_messages_max, total_bytes_max, days_max }
}

fn retention(line: &RetentionLine) -> RetentionChoice {
    let RetentionLine { messages_max, bytes_max, total_messages_max, total_bytes_max, days_max } = *line;
    RetentionChoice { messages_max, bytes_max, total_messages_max, total_bytes_max, days_max }
}

fn contact_line(stored: &StoredContact) -> ContactLine {
    // After how long messages disappear and how far they are read, the contact tells again.
    let StoredContact { contact, conversation, expiry: _, marks, outbox_count: _, missing, reading: _, standing } =
        stored;
    ContactLine {
        card: Hex(*contact.card.as_bytes()),
        name: contact.name.clone(),
        state: contact.state.into(),
        major_min: contact.major_min,
        paired_ms: contact.paired_utc_ms,
        seen_ms: contact.seen_utc_ms,
        incarnation: Hex(contact.incarnation.0),
        last_seq: conversation.last_seq,
        read_seq: conversation.read_seq,
        unread: conversation.unread,
        sent_number: conversation.sent_number,
        missing: missing.count,
        verified: standing.verified,
        blocked: standing.blocked,
        marks: marks.iter().map(Plain::to_object).collect(),
    }
}

fn contact(line: ContactLine) -> Option<StoredContact> {
    if line.marks.len() > Mark::COUNT_MAX {
        return None;
    }
    Some(StoredContact {
        contact: ContactRecord {
            card: Card::parse(&line.card.0).ok()?,
            name: kith_engine::checked_name(&line.name).ok()?,
            state: line.state.into(),
            major_min: line.major_min,
            paired_utc_ms: line.paired_ms,
            seen_utc_ms: line.seen_ms,
            incarnation: Incarnation(line.incarnation.0),
        },
        conversation: ConversationRecord {
            last_seq: line.last_seq,
            read_seq: line.read_seq,
            unread: line.unread,
            sent_number: line.sent_number,
        },
        expiry: ExpiryRecord::default(),
        marks: line.marks.into_iter().map(Mark::from_object).collect::<Option<_>>()?,
        outbox_count: 0,
        missing: MissingRecord { watching: false, count: line.missing },
        reading: ReadingRecord::default(),
        standing: StandingRecord { verified: line.verified, blocked: line.blocked },
    })
}

fn message_line(message: &MessageRecord) -> MessageLine {
    // People read plain backups.
    let (text, base64) = match std::str::from_utf8(&message.body) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64.encode(&message.body))),
    };
    MessageLine {
        seq: message.seq,
        id: Hex(message.id.0),
        direction: message.direction.into(),
        state: message.state.into(),
        number: message.number,
        incarnation: Hex(message.incarnation.0),
        sent_ms: message.sent_utc_ms,
        clock_trusted: message.clock_trusted,
        done_ms: message.done_utc_ms,
        content_type: message.content_type.clone(),
        reply_to: message.reply_to.map(|id| Hex(id.0)),
        ttl_s: message.ttl_s,
        text,
        base64,
    }
}

fn message(line: MessageLine) -> Option<MessageRecord> {
    let body = match (line.text, line.base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(base64)) => BASE64.decode(base64.as_bytes()).ok()?,
        _ => return None,
    };
    if body.len() > BODY_BYTES_MAX || !is_content_type(&line.content_type) {
        return None;
    }
    Some(MessageRecord {
        seq: line.seq,
        id: MessageId(line.id.0),
        direction: line.direction.into(),
        number: line.number,
        incarnation: Incarnation(line.incarnation.0),
        sent_utc_ms: line.sent_ms,
        clock_trusted: line.clock_trusted,
        done_utc_ms: line.done_ms,
        state: line.state.into(),
        content_type: line.content_type,
        reply_to: line.reply_to.map(|id| MessageId(id.0)),
        ttl_s: line.ttl_s,
        body,
    })
}
