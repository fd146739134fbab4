//! Values of version 0: `00 ‖ JSON` (docs/protocol.md §8.8), found in the place of a sealed value.
//!
//! No release wrote them: a provisioning tool does. They are read while the store is migrating,
//! and never written.

use kith_crypto::identity::{ClientId, Identity};
use kith_engine::{ContactRecord, ConversationRecord, Mark, MessageId, MessageRecord, ProfileRecord};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    fault::Fault,
    table::{IDENTITY_KEY, NEXT_CONVERSATION_KEY, PROFILE_KEY, Table},
    value::{CursorRow, IdRow, InboxRow, KeyRow, MarksRow, NextConversation, OutboxRow, PeerRow, Stored, encode},
};
use crate::{hex::Hex, plain::Plain};

/// The first byte of a value in clear.
pub(super) const VERSION: u8 = 0;

/// The largest value: a message of the largest size in Base64, and room for its other keys.
const BYTES_MAX: usize = 32 * 1024;

/// Whether a stored value is one.
pub(super) fn is_plain(value: &[u8]) -> bool {
    value.first() == Some(&VERSION)
}

/// The record in a value; `None` if it is none of this kind.
pub(super) fn read<S: Plain>(value: &[u8]) -> Option<S> {
    let (version, json) = value.split_first()?;
    if *version != VERSION || json.len() > BYTES_MAX {
        return None;
    }
    S::from_object(serde_json::from_slice(json).ok()?)
}

/// The value of a row as kind, length and payload, which is what is sealed.
pub(super) fn to_sealable(table: Table, row_key: &[u8], value: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    match table {
        Table::Own if row_key == IDENTITY_KEY => convert::<Identity>(value),
        Table::Own if row_key == PROFILE_KEY => convert::<ProfileRecord>(value),
        Table::Own if row_key == NEXT_CONVERSATION_KEY => convert::<NextConversation>(value),
        Table::Own => Err(Fault::Shape(table)),
        Table::Peers => convert::<PeerRow>(value),
        Table::Contacts if row_key.len() == 4 => convert::<ContactRecord>(value),
        Table::Conversations if row_key.len() == 4 => convert::<ConversationRecord>(value),
        Table::Marks if row_key.len() == 4 => convert::<MarksRow>(value),
        Table::Contacts | Table::Conversations | Table::Marks | Table::Rooms | Table::Expiring => {
            Err(Fault::Shape(table))
        }
        Table::Messages => convert::<MessageRecord>(value),
        Table::Ids => convert::<IdRow>(value),
        Table::Keys => convert::<KeyRow>(value),
        Table::Outbox => convert::<OutboxRow>(value),
        Table::Inbox => convert::<InboxRow>(value),
        Table::Cursors => convert::<CursorRow>(value),
    }
}

fn convert<S: Stored>(value: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    encode(&S::read_in_clear(value).ok_or(Fault::Shape(S::TABLE))?)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlainNumber {
    conversation: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlainMarks {
    marks: Vec<<Mark as Plain>::Object>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlainSeq {
    seq: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlainId {
    id: Hex<16>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlainInbox {
    peer: Hex<20>,
    conversation: u32,
    seq: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlainCursor {
    inbox_seq: u64,
}

macro_rules! plain {
    ($($row:ident: $object:ident { $field:ident };)*) => {$(
        impl Plain for $row {
            type Object = $object;

            fn to_object(&self) -> $object {
                $object { $field: self.0 }
            }

            fn from_object(object: $object) -> Option<Self> {
                Some(Self(object.$field))
            }
        }
    )*};
}

plain! {
    NextConversation: PlainNumber { conversation };
    PeerRow: PlainNumber { conversation };
    IdRow: PlainSeq { seq };
    OutboxRow: PlainSeq { seq };
    CursorRow: PlainCursor { inbox_seq };
}

impl Plain for KeyRow {
    type Object = PlainId;

    fn to_object(&self) -> PlainId {
        PlainId { id: Hex(self.0.0) }
    }

    fn from_object(object: PlainId) -> Option<Self> {
        Some(Self(MessageId(object.id.0)))
    }
}

impl Plain for MarksRow {
    type Object = PlainMarks;

    fn to_object(&self) -> PlainMarks {
        PlainMarks { marks: self.0.iter().map(Plain::to_object).collect() }
    }

    fn from_object(object: PlainMarks) -> Option<Self> {
        let marks: Option<Vec<_>> = object.marks.into_iter().map(Mark::from_object).collect();
        marks.filter(|marks| marks.len() <= Mark::COUNT_MAX).map(Self)
    }
}

impl Plain for InboxRow {
    type Object = PlainInbox;

    fn to_object(&self) -> PlainInbox {
        PlainInbox { peer: Hex(*self.peer.as_bytes()), conversation: self.number, seq: self.seq }
    }

    fn from_object(object: PlainInbox) -> Option<Self> {
        let PlainInbox { peer, conversation, seq } = object;
        Some(Self { peer: ClientId::from_bytes(peer.0), number: conversation, seq })
    }
}
