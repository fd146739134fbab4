//! Headers and records, read and written again: what the fuzz targets call, and no API.

use kith_crypto::identity::Identity;
use kith_crypto::wire::tlv;
use kith_engine::{
    ContactRecord, ConversationRecord, ExpiryRecord, MessageRecord, MissingRecord, ProfileRecord, ReachRecord,
    ReadingRecord, StandingRecord,
};
use zeroize::Zeroizing;

use super::{
    header::Found,
    pin::PinRow,
    retention::RetentionChoice,
    value::{
        CursorRow, ExpiringRow, GoneRow, HistoryRow, IdRow, InboxRow, KeyRow, MarksRow, NextConversation, OutboxRow,
        PAYLOAD_BYTES_MAX, PeerRow, ReceiptsRow, SealsRow, Stored,
    },
};

/// A clear header, written again as it was read; none if it is refused.
pub fn header(bytes: &[u8]) -> Option<Vec<u8>> {
    match Found::parse(bytes).ok()? {
        Found::Plain(header) => Some(header.encode()),
        Found::Sealed(header) => Some(header.encode()),
    }
}

/// A value's plaintext, written again as the record of its kind; none if it is refused.
pub fn value(plain: &[u8]) -> Option<Vec<u8>> {
    let (tlv, []) = tlv::read(plain).ok()? else { return None };
    let reread = of_kind(tlv.kind)?;
    let mut out = Zeroizing::new(vec![0; PAYLOAD_BYTES_MAX]);
    let payload_bytes = reread(tlv.payload, &mut out)?;
    let mut value = vec![0; tlv::HEADER_BYTES + payload_bytes];
    tlv::write(tlv.kind, out.get(..payload_bytes)?, &mut value).ok()?;
    Some(value)
}

/// Reads a payload and writes it again into a buffer; the length of what was written.
type Reread = fn(&[u8], &mut [u8]) -> Option<usize>;

/// What the reader of the table that has values of this kind does with a payload.
fn of_kind(kind: u8) -> Option<Reread> {
    fn with<S: Stored>() -> (u8, Reread) {
        (S::KIND, |payload, out| S::read(payload)?.write(out))
    }
    let records = [
        with::<Identity>(),
        with::<ProfileRecord>(),
        with::<NextConversation>(),
        with::<SealsRow>(),
        with::<PeerRow>(),
        with::<ContactRecord>(),
        with::<StandingRecord>(),
        with::<ConversationRecord>(),
        with::<MarksRow>(),
        with::<MissingRecord>(),
        with::<RetentionChoice>(),
        with::<PinRow>(),
        with::<ReachRecord>(),
        with::<HistoryRow>(),
        with::<ReadingRecord>(),
        with::<ReceiptsRow>(),
        with::<ExpiryRecord>(),
        with::<ExpiringRow>(),
        with::<GoneRow>(),
        with::<MessageRecord>(),
        with::<IdRow>(),
        with::<KeyRow>(),
        with::<OutboxRow>(),
        with::<InboxRow>(),
        with::<CursorRow>(),
    ];
    records.into_iter().find(|(known, _)| *known == kind).map(|(_, reread)| reread)
}
