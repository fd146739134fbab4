//! Sealed values: record ↔ kind ‖ length ‖ payload ↔ bytes that only the vault can read.

use getrandom::{SysRng, rand_core::UnwrapErr};
use kith_crypto::{
    identity::{ClientId, Identity},
    vault,
    wire::tlv,
};
use kith_engine::{
    ContactRecord, ConversationRecord, ExpiryRecord, Incarnation, Mark, MessageId, MessageRecord, MissingRecord,
    ProfileRecord, ReachRecord, ReadingRecord, RoomRecord, StandingRecord,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    fault::Fault,
    header::Phase,
    pin::PinRow,
    retention::RetentionChoice,
    table::{Keys, Table},
    version0,
};

/// The largest payload: a message with a body of 12,288 bytes and its envelope need 12,500, the
/// length field could say 65,535; the rest is room for later kinds.
pub(super) const PAYLOAD_BYTES_MAX: usize = 16 * 1024;

const SEALED_HEAD_BYTES: usize = vault::VALUE_HEAD_BYTES;
const TAG_BYTES: usize = vault::OVERHEAD - SEALED_HEAD_BYTES;
const TLV_HEAD_BYTES: usize = tlv::HEADER_BYTES;
const SCRATCH_BYTES: usize = SEALED_HEAD_BYTES + TLV_HEAD_BYTES + PAYLOAD_BYTES_MAX + TAG_BYTES;

/// A record with its place: one table, one kind. A published payload never changes; a new one
/// gets a new kind.
pub(super) trait Stored: Sized {
    const TABLE: Table;
    const KIND: u8;

    /// Writes the payload and returns its length; `None` if it does not fit.
    fn write(&self, out: &mut [u8]) -> Option<usize>;

    /// Reads a payload; `None` if it is not one, or not all of it is used.
    fn read(payload: &[u8]) -> Option<Self>;

    /// Reads a value of version 0; `None` if it is not one, or if version 0 has no such record.
    fn read_in_clear(_value: &[u8]) -> Option<Self> {
        None
    }
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

/// Whether others are told what was read here. No row means that they are.
#[derive(Serialize, Deserialize)]
pub(super) struct ReceiptsRow(pub(super) bool);

/// In the place of an [`IdRow`]: a received message that has disappeared, and that its sender may send again.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct GoneRow {
    /// In its sender's count.
    pub(super) number: u64,
    pub(super) incarnation: Incarnation,
}

/// A message that is to disappear.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct ExpiringRow {
    /// From when its time counts, milliseconds of UTC; a time before there was this software: not yet.
    pub(super) since_utc_ms: u64,
    pub(super) ttl_s: u32,
    pub(super) incoming: bool,
}

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

/// So many values may have been sealed under the store's data key so far.
#[derive(Serialize, Deserialize)]
pub(super) struct SealsRow(pub(super) u64);

macro_rules! stored {
    ($($record:ty: $table:ident, $kind:literal $(, $in_clear:ident)?;)*) => {$(
        impl Stored for $record {
            const TABLE: Table = Table::$table;
            const KIND: u8 = $kind;

            fn write(&self, out: &mut [u8]) -> Option<usize> {
                postcard::to_slice(self, out).ok().map(|written| written.len())
            }

            fn read(payload: &[u8]) -> Option<Self> {
                postcard::take_from_bytes(payload).ok().and_then(|(record, rest)| rest.is_empty().then_some(record))
            }

            $(fn read_in_clear(value: &[u8]) -> Option<Self> {
                version0::$in_clear(value)
            })?
        }
    )*};
}

stored! {
    ProfileRecord: Own, 0x11, read;
    NextConversation: Own, 0x12, read;
    SealsRow: Own, 0x13;
    RetentionChoice: Own, 0x14;
    PinRow: Own, 0x15;
    ReceiptsRow: Own, 0x16;
    ReachRecord: Own, 0x17;
    PeerRow: Peers, 0x20, read;
    ContactRecord: Contacts, 0x21, read;
    StandingRecord: Contacts, 0x25;
    ConversationRecord: Conversations, 0x22, read;
    RoomRecord: Rooms, 0x27;
    MarksRow: Marks, 0x23, read;
    MissingRecord: Marks, 0x24;
    ReadingRecord: Marks, 0x29;
    HistoryRow: Conversations, 0x26;
    ExpiryRecord: Conversations, 0x28;
    MessageRecord: Messages, 0x30, read;
    IdRow: Ids, 0x31, read;
    KeyRow: Keys, 0x32, read;
    OutboxRow: Outbox, 0x33, read;
    InboxRow: Inbox, 0x34, read;
    CursorRow: Cursors, 0x35, read;
    ExpiringRow: Expiring, 0x36;
    GoneRow: Ids, 0x37;
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

    fn read_in_clear(value: &[u8]) -> Option<Self> {
        version0::read(value)
    }
}

/// How many values have been sealed under a data key. What is on disk is reserved ahead, so that
/// counting costs no write of its own: a restart counts the rest of a reservation as used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seals {
    made: u64,
    reserved: u64,
}

impl Seals {
    /// Reserved at a time: a row more in one of about a thousand messages.
    const RESERVATION: u64 = 4096;

    /// A new data key is due. Random nonces of 96 bits are good for 2³² values under one key (NIST
    /// SP 800-38D §8.3); this is a quarter of that, counted over all tables, each of which has a key
    /// of its own.
    pub(super) const MAX: u64 = 1 << 30;

    /// Of a store whose row says so; no row means none.
    pub(super) fn of(reserved: u64) -> Self {
        Self { made: reserved, reserved }
    }

    /// What must be on disk before what was sealed so far is; `None` if it is already.
    pub(super) fn due(self) -> Option<SealsRow> {
        // The row that says so is sealed, too.
        (self.made >= self.reserved).then_some(SealsRow(self.made + Self::RESERVATION))
    }

    /// Whether a new data key is due.
    pub(super) fn are_used_up(self) -> bool {
        self.made >= Self::MAX
    }
}

/// Seals records. One buffer, wiped at the end, serves all of them.
pub(super) struct Sealer {
    keys: Keys,
    scratch: Zeroizing<Vec<u8>>,
    seals: Seals,
    // A kernel that has no randomness for us cannot be worked around: this panics then.
    rng: UnwrapErr<SysRng>,
}

impl Sealer {
    pub(super) fn new(keys: Keys, seals: Seals) -> Self {
        Self { keys, scratch: Zeroizing::new(vec![0; SCRATCH_BYTES]), seals, rng: UnwrapErr(SysRng) }
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn seals(&self) -> Seals {
        self.seals
    }

    /// So many are on disk now.
    pub(super) fn has_reserved(&mut self, row: &SealsRow) {
        self.seals.reserved = row.0;
    }

    /// The sealed value for one row.
    pub(super) fn seal<S: Stored>(&mut self, row_key: &[u8], record: &S) -> Result<&[u8], Fault> {
        let buffer = self.scratch.get_mut(SEALED_HEAD_BYTES..).ok_or(Fault::TooLarge(S::TABLE))?;
        let length = encode_into(record, buffer)?;
        self.seal_scratch(S::TABLE, row_key, length)
    }

    /// The sealed value of kind, length and payload, as [`open_sealable`] gives them.
    pub(super) fn seal_again(&mut self, table: Table, row_key: &[u8], sealable: &[u8]) -> Result<&[u8], Fault> {
        let end = SEALED_HEAD_BYTES + sealable.len();
        self.scratch.get_mut(SEALED_HEAD_BYTES..end).ok_or(Fault::TooLarge(table))?.copy_from_slice(sealable);
        self.seal_scratch(table, row_key, sealable.len())
    }

    fn seal_scratch(&mut self, table: Table, row_key: &[u8], length: usize) -> Result<&[u8], Fault> {
        let key = self.keys.of(table);
        let sealed = key.seal(row_key, &mut self.scratch, length, &mut self.rng).map_err(|_| Fault::TooLarge(table))?;
        self.seals.made += 1;
        Ok(&self.scratch[..sealed])
    }
}

/// Kind, length and payload of a record.
pub(super) fn encode<S: Stored>(record: &S) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mut buffer = Zeroizing::new(vec![0; TLV_HEAD_BYTES + PAYLOAD_BYTES_MAX]);
    let length = encode_into(record, &mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn encode_into<S: Stored>(record: &S, buffer: &mut [u8]) -> Result<usize, Fault> {
    let too_large = || Fault::TooLarge(S::TABLE);
    let (head, payload) = buffer.split_first_chunk_mut::<TLV_HEAD_BYTES>().ok_or_else(too_large)?;
    let payload = payload.get_mut(..PAYLOAD_BYTES_MAX).ok_or_else(too_large)?;
    let written = record.write(payload).ok_or_else(too_large)?;
    let [high, low] = u16::try_from(written).map_err(|_| too_large())?.to_be_bytes();
    *head = [S::KIND, high, low];
    Ok(TLV_HEAD_BYTES + written)
}

/// The record in a value, if it was sealed for this row; or, while the store is migrating, if it
/// is one of version 0.
pub(super) fn open<S: Stored>(keys: &Keys, row_key: &[u8], value: &[u8]) -> Result<S, Fault> {
    if keys.phase() == Phase::Migrating && version0::is_plain(value) {
        return S::read_in_clear(value).ok_or(Fault::Shape(S::TABLE));
    }
    let plain = unseal(keys, S::TABLE, row_key, value)?;
    let (record, rest) = tlv::read(&plain).map_err(|_| Fault::Shape(S::TABLE))?;
    if record.kind != S::KIND || !rest.is_empty() {
        return Err(Fault::Shape(S::TABLE));
    }
    S::read(record.payload).ok_or(Fault::Shape(S::TABLE))
}

/// What is to be sealed again of a value: kind, length and payload.
pub(super) fn open_sealable(
    keys: &Keys,
    table: Table,
    row_key: &[u8],
    value: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    if keys.phase() == Phase::Migrating && version0::is_plain(value) {
        return version0::to_sealable(table, row_key, value);
    }
    unseal(keys, table, row_key, value)
}

fn unseal(keys: &Keys, table: Table, row_key: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mut scratch = Zeroizing::new(sealed.to_vec());
    let length = keys.of(table).open(row_key, &mut scratch).map_err(|_| Fault::Sealed(table))?.len();
    // Opened in place, behind version and nonce.
    scratch.copy_within(SEALED_HEAD_BYTES..SEALED_HEAD_BYTES + length, 0);
    scratch.truncate(length);
    Ok(scratch)
}
