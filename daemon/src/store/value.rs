//! Sealed values: record ↔ kind ‖ length ‖ payload ↔ bytes that only the vault can read.

use getrandom::{SysRng, rand_core::UnwrapErr};
use kith_crypto::{
    identity::{ClientId, Identity},
    vault,
    wire::tlv,
};
use kith_engine::{
    ContactRecord, ConversationRecord, Mark, MessageId, MessageRecord, MissingRecord, ProfileRecord, RoomRecord,
    StandingRecord,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    fault::Fault,
    retention::RetentionChoice,
    table::{Keys, Table},
};

/// The largest payload: a message with a body of 12,288 bytes and its envelope need 12,500, the
/// length field could say 65,535; the rest is room for later kinds.
pub(super) const PAYLOAD_BYTES_MAX: usize = 16 * 1024;

const SEALED_HEAD_BYTES: usize = vault::VALUE_HEAD_BYTES;
const TAG_BYTES: usize = vault::OVERHEAD - SEALED_HEAD_BYTES;
const TLV_HEAD_BYTES: usize = tlv::HEADER_BYTES;
const PAYLOAD_START: usize = SEALED_HEAD_BYTES + TLV_HEAD_BYTES;
const SCRATCH_BYTES: usize = PAYLOAD_START + PAYLOAD_BYTES_MAX + TAG_BYTES;

/// A record with its place: one table, one kind. A published payload never changes; a new one
/// gets a new kind.
pub(super) trait Stored: Sized {
    const TABLE: Table;
    const KIND: u8;

    /// Writes the payload and returns its length; `None` if it does not fit.
    fn write(&self, out: &mut [u8]) -> Option<usize>;

    /// Reads a payload; `None` if it is not one, or not all of it is used.
    fn read(payload: &[u8]) -> Option<Self>;
}

/// The next conversation number that is free. Numbers are never used twice, so that what points
/// to a removed conversation points to nothing.
#[derive(Serialize, Deserialize)]
pub(super) struct NextConversation(pub(super) u32);

/// The conversation number of a contact, or of a room.
#[derive(Serialize, Deserialize)]
pub(super) struct PeerRow(pub(super) u32);

/// The high-water marks of a contact, or of a member of a room, the newest incarnation of its store last.
#[derive(Serialize, Deserialize)]
pub(super) struct MarksRow(pub(super) Vec<Mark>);

/// How much a conversation's history takes. No row means that nobody has counted yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HistoryRow {
    pub(super) messages: u64,
    /// Of their sealed values.
    pub(super) bytes: u64,
}

/// Where the message with an id stands in the history.
#[derive(Serialize, Deserialize)]
pub(super) struct IdRow(pub(super) u64);

/// The message that an idempotency key stands for.
#[derive(Serialize, Deserialize)]
pub(super) struct KeyRow(pub(super) MessageId);

/// Where a waiting message stands in the history.
#[derive(Serialize, Deserialize)]
pub(super) struct OutboxRow(pub(super) u64);

/// Where a received message stands. The conversation number decides; the client id saves a look-up.
#[derive(Serialize, Deserialize)]
pub(super) struct InboxRow {
    /// Who wrote it.
    pub(super) peer: ClientId,
    pub(super) number: u32,
    pub(super) seq: u64,
}

/// Everything in the inbox up to here has been handled by a consumer.
#[derive(Serialize, Deserialize)]
pub(super) struct CursorRow(pub(super) u64);

macro_rules! stored {
    ($($record:ty: $table:ident, $kind:literal;)*) => {$(
        impl Stored for $record {
            const TABLE: Table = Table::$table;
            const KIND: u8 = $kind;

            fn write(&self, out: &mut [u8]) -> Option<usize> {
                postcard::to_slice(self, out).ok().map(|written| written.len())
            }

            fn read(payload: &[u8]) -> Option<Self> {
                postcard::take_from_bytes(payload).ok().and_then(|(record, rest)| rest.is_empty().then_some(record))
            }
        }
    )*};
}

stored! {
    ProfileRecord: Own, 0x11;
    NextConversation: Own, 0x12;
    RetentionChoice: Own, 0x14;
    PeerRow: Peers, 0x20;
    ContactRecord: Contacts, 0x21;
    StandingRecord: Contacts, 0x25;
    ConversationRecord: Conversations, 0x22;
    RoomRecord: Rooms, 0x27;
    MarksRow: Marks, 0x23;
    MissingRecord: Marks, 0x24;
    HistoryRow: Conversations, 0x26;
    MessageRecord: Messages, 0x30;
    IdRow: Ids, 0x31;
    KeyRow: Keys, 0x32;
    OutboxRow: Outbox, 0x33;
    InboxRow: Inbox, 0x34;
    CursorRow: Cursors, 0x35;
}

impl Stored for Identity {
    const TABLE: Table = Table::Own;
    const KIND: u8 = 0x10;

    fn write(&self, out: &mut [u8]) -> Option<usize> {
        let secret = self.to_secret_bytes();
        out.get_mut(..secret.len())?.copy_from_slice(&secret[..]);
        Some(secret.len())
    }

    fn read(payload: &[u8]) -> Option<Self> {
        Self::from_secret_bytes(payload.try_into().ok()?).ok()
    }
}

/// Seals records. One buffer, wiped at the end, serves all of them.
pub(super) struct Sealer {
    keys: Keys,
    scratch: Zeroizing<Vec<u8>>,
    // A kernel that has no randomness for us cannot be worked around: this panics then.
    rng: UnwrapErr<SysRng>,
}

impl Sealer {
    pub(super) fn new(keys: Keys) -> Self {
        Self { keys, scratch: Zeroizing::new(vec![0; SCRATCH_BYTES]), rng: UnwrapErr(SysRng) }
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The sealed value for one row.
    pub(super) fn seal<S: Stored>(&mut self, row_key: &[u8], record: &S) -> Result<&[u8], Fault> {
        let too_large = || Fault::TooLarge(S::TABLE);
        let payload = self.scratch.get_mut(PAYLOAD_START..PAYLOAD_START + PAYLOAD_BYTES_MAX).ok_or_else(too_large)?;
        let written = record.write(payload).ok_or_else(too_large)?;
        let [high, low] = u16::try_from(written).map_err(|_| too_large())?.to_be_bytes();
        self.scratch[SEALED_HEAD_BYTES..PAYLOAD_START].copy_from_slice(&[S::KIND, high, low]);
        let sealed = self
            .keys
            .of(S::TABLE)
            .seal(row_key, &mut self.scratch, TLV_HEAD_BYTES + written, &mut self.rng)
            .map_err(|_| too_large())?;
        Ok(&self.scratch[..sealed])
    }
}

/// The record in a sealed value, if it was sealed for this row.
pub(super) fn open<S: Stored>(keys: &Keys, row_key: &[u8], sealed: &[u8]) -> Result<S, Fault> {
    let mut scratch = Zeroizing::new(sealed.to_vec());
    let plain = keys.of(S::TABLE).open(row_key, &mut scratch).map_err(|_| Fault::Sealed(S::TABLE))?;
    let (value, rest) = tlv::read(plain).map_err(|_| Fault::Shape(S::TABLE))?;
    if value.kind != S::KIND || !rest.is_empty() {
        return Err(Fault::Shape(S::TABLE));
    }
    S::read(value.payload).ok_or(Fault::Shape(S::TABLE))
}
