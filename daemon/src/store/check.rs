//! Walking every value of an open store: what is damaged, and whom that affects.

use kith_crypto::identity::{ClientId, Identity};
use kith_engine::{
    ContactRecord, ConversationRecord, Direction, ExpiryRecord, MessageRecord, MissingRecord, ProfileRecord,
    ReachRecord, ReadingRecord, RoomRecord, StandingRecord,
};
use redb::{ReadTransaction, ReadableTableMetadata as _};

use super::{
    batch::writer_of,
    fault::Fault,
    pin::PinRow,
    reader::{ReadError, Reader},
    retention::RetentionChoice,
    rows::{Named, Rows, Walk},
    table::{
        self, IDENTITY_KEY, Keys, NEXT_CONVERSATION_KEY, PIN_KEY, PROFILE_KEY, REACH_KEY, RECEIPTS_KEY, RETENTION_KEY,
        SEALS_KEY, Table,
    },
    value::{
        self, CursorRow, ExpiringRow, HistoryRow, IdRow, InboxRow, KeyRow, MarksRow, NextConversation, OutboxRow,
        PeerRow, ReceiptsRow, SealsRow, Stored,
    },
};
use crate::task::Cancelled;

/// Rows that are looked at in one snapshot, so that the door is never held for long.
const STEP_ROWS: usize = 256;

/// Findings that are described; all of them are counted.
const FINDINGS_MAX: usize = 32;

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Values that were opened, and compared with those that they point to.
    pub checked: u64,
    /// How many of them are damaged, or point to nothing.
    pub damaged: u64,
    /// The first of those: each a sentence that says what is affected and what to do.
    pub findings: Vec<String>,
}

/// Why a check did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// Somebody cancelled it.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The store has been locked meanwhile, or cannot be read at all.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Who follows a check.
pub trait Progress {
    /// There are about so many values.
    fn expect(&mut self, values: u64);

    /// So many more have been checked.
    ///
    /// # Errors
    /// [`Cancelled`] ends the check.
    fn advance(&mut self, values: u64) -> Result<(), Cancelled>;
}

impl Progress for crate::task::Task {
    fn expect(&mut self, values: u64) {
        Self::expect(self, values);
    }

    fn advance(&mut self, values: u64) -> Result<(), Cancelled> {
        Self::advance(self, values)
    }
}

impl Reader {
    /// Opens every value, a few at a time, while the store is in use; changes nothing. Takes as
    /// long as reading the whole file: not for the async loop's own thread.
    ///
    /// # Errors
    ///
    /// [`CheckError::Read`] where the store is locked meanwhile, or the database's own structures
    /// are damaged so that it cannot be walked. A damaged value is no error but a finding.
    pub fn check(&self, progress: &mut impl Progress) -> Result<CheckReport, CheckError> {
        let values = self.page(|tx, _| Table::ALL.into_iter().map(|table| count(tx, table)).sum::<Result<u64, _>>())?;
        progress.expect(values);
        let mut report = CheckReport::default();
        for table in Table::ALL {
            let mut after: Option<Vec<u8>> = None;
            loop {
                let (last, checked) = self.page(|tx, keys| step(tx, keys, table, after.as_deref(), &mut report))?;
                progress.advance(checked)?;
                if last.is_none() {
                    break;
                }
                after = last;
            }
        }
        Ok(report)
    }
}

fn count(tx: &ReadTransaction, table: Table) -> Result<u64, Fault> {
    Ok(tx.open_table(table.definition())?.len()?)
}

/// Checks the rows behind `after`; gives the last one of them, `None` at the table's end, and how
/// many they were.
fn step(
    tx: &ReadTransaction,
    keys: &Keys,
    table: Table,
    after: Option<&[u8]>,
    report: &mut CheckReport,
) -> Result<(Option<Vec<u8>>, u64), Fault> {
    let first = after.map(table::next_key).unwrap_or_default();
    let (mut last, mut rows) = (None, 0);
    tx.with_table(table, |readable| {
        readable.walk(&first, &[u8::MAX; 32], &mut |row_key, sealed| {
            match row(tx, keys, table, row_key, sealed) {
                Ok(()) => {}
                Err(fault) if fault.is_of_database() => return Err(fault),
                Err(fault) => report.add(finding(tx, keys, table, row_key, &fault)),
            }
            rows += 1;
            last = (rows == STEP_ROWS).then(|| row_key.to_vec());
            Ok(if last.is_some() { Walk::Stop } else { Walk::On })
        })
    })?;
    let rows = rows as u64;
    report.checked += rows;
    Ok((last, rows))
}

impl CheckReport {
    fn add(&mut self, sentence: String) {
        self.damaged += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(sentence);
        }
    }
}

/// Opens one value, and follows what points from it to others.
fn row(tx: &ReadTransaction, keys: &Keys, table: Table, row_key: &[u8], sealed: &[u8]) -> Result<(), Fault> {
    match table {
        Table::Own if row_key == IDENTITY_KEY => opens::<Identity>(keys, row_key, sealed),
        Table::Own if row_key == PROFILE_KEY => opens::<ProfileRecord>(keys, row_key, sealed),
        Table::Own if row_key == NEXT_CONVERSATION_KEY => opens::<NextConversation>(keys, row_key, sealed),
        Table::Own if row_key == RETENTION_KEY => opens::<RetentionChoice>(keys, row_key, sealed),
        Table::Own if row_key == PIN_KEY => opens::<PinRow>(keys, row_key, sealed),
        Table::Own if row_key == RECEIPTS_KEY => opens::<ReceiptsRow>(keys, row_key, sealed),
        Table::Own if row_key == REACH_KEY => opens::<ReachRecord>(keys, row_key, sealed),
        Table::Own if row_key == SEALS_KEY => opens::<SealsRow>(keys, row_key, sealed),
        Table::Own => Err(Fault::Shape(table)),
        Table::Peers => {
            let PeerRow(number) = value::open(keys, row_key, sealed)?;
            let of_number = table::conversation_key(number);
            let tag = match (tx.get::<ContactRecord>(keys, &of_number)?, tx.get::<RoomRecord>(keys, &of_number)?) {
                (Some(contact), None) => keys.of(table).row_tag(contact.client_id().as_bytes()),
                (None, Some(room)) => keys.of(table).row_tag(&room.room.0),
                (None, None) => return Err(Fault::Missing(Table::Contacts)),
                (Some(_), Some(_)) => return Err(Fault::Shape(table)),
            };
            same(table, tag == row_key)
        }
        // Each contact at its number, what a person has decided about it behind it.
        Table::Contacts if row_key == table::beside_key(conversation(table, row_key)?) => {
            opens::<StandingRecord>(keys, row_key, sealed)
        }
        Table::Contacts => {
            let contact: ContactRecord = value::open(keys, row_key, sealed)?;
            let number = tx.number_of(keys, contact.client_id().into())?.ok_or(Fault::Missing(Table::Peers))?;
            same(table, table::conversation_key(number) == row_key)
        }
        Table::Rooms => {
            let room: RoomRecord = value::open(keys, row_key, sealed)?;
            let number = tx.number_of(keys, room.room.into())?.ok_or(Fault::Missing(Table::Peers))?;
            same(table, table::conversation_key(number) == row_key)
        }
        // Its counters lie at the conversation's number, what its history takes behind it.
        Table::Conversations if row_key == table::history_key(conversation(table, row_key)?) => {
            opens::<HistoryRow>(keys, row_key, sealed)
        }
        Table::Conversations if row_key == table::expiry_key(conversation(table, row_key)?) => {
            opens::<ExpiryRecord>(keys, row_key, sealed)
        }
        Table::Conversations => opens::<ConversationRecord>(keys, row_key, sealed),
        // Marks lie at the conversation's number, what is missing behind it.
        Table::Marks if row_key == table::beside_key(conversation(table, row_key)?) => {
            opens::<MissingRecord>(keys, row_key, sealed)
        }
        Table::Marks if row_key.get(4) == Some(&table::reading_key(0, [0; 16])[4]) => {
            opens::<ReadingRecord>(keys, row_key, sealed)
        }
        Table::Marks => opens::<MarksRow>(keys, row_key, sealed),
        Table::Messages => {
            let message: MessageRecord = value::open(keys, row_key, sealed)?;
            let (number, seq) = place(table, row_key)?;
            let tag = keys.of(Table::Ids).row_tag(&table::id_secret(&message.id, writer_of(&message)));
            let indexed: Option<IdRow> = tx.get(keys, &table::tag_key(number, tag))?;
            let indexed = indexed.ok_or(Fault::Missing(Table::Ids))?;
            same(table, message.seq == seq && indexed.0 == seq)
        }
        Table::Ids => {
            let number = conversation(table, row_key)?;
            let seq = match Named::open(keys, row_key, sealed)? {
                Named::At(seq) => seq,
                Named::Gone(_) => return Ok(()),
            };
            let message = tx.message_at(keys, number, seq)?;
            let secret = table::id_secret(&message.id, writer_of(&message));
            same(table, table::tag_key(number, keys.of(table).row_tag(&secret)) == row_key)
        }
        Table::Keys => opens::<KeyRow>(keys, row_key, sealed),
        Table::Expiring => {
            let ExpiringRow { ttl_s, .. } = value::open(keys, row_key, sealed)?;
            let (number, seq) = place(table, row_key)?;
            let message = tx.message_at(keys, number, seq)?;
            same(table, message.ttl_s == Some(ttl_s))
        }
        Table::Outbox => {
            let OutboxRow(seq) = value::open(keys, row_key, sealed)?;
            let (conversation, number) = place(table, row_key)?;
            let message = tx.message_at(keys, conversation, seq)?;
            same(table, message.direction == Direction::Outgoing && message.number == number)
        }
        // Its message may have gone with its contact.
        Table::Inbox => opens::<InboxRow>(keys, row_key, sealed),
        Table::Cursors => opens::<CursorRow>(keys, row_key, sealed),
    }
}

fn opens<S: Stored>(keys: &Keys, row_key: &[u8], sealed: &[u8]) -> Result<(), Fault> {
    value::open::<S>(keys, row_key, sealed).map(drop)
}

fn same(table: Table, is_same: bool) -> Result<(), Fault> {
    if is_same { Ok(()) } else { Err(Fault::Shape(table)) }
}

/// The conversation's number at the beginning of a row key.
fn conversation(table: Table, row_key: &[u8]) -> Result<u32, Fault> {
    row_key.first_chunk().map(|number| u32::from_be_bytes(*number)).ok_or(Fault::Shape(table))
}

/// A row key that begins with a conversation's number and a place in it.
fn place(table: Table, row_key: &[u8]) -> Result<(u32, u64), Fault> {
    table::place_of(row_key).ok_or(Fault::Shape(table))
}

/// One sentence: what is wrong, whom it affects, what to do. Client ids, no names: it is shown to
/// everybody on the bus.
fn finding(tx: &ReadTransaction, keys: &Keys, table: Table, row_key: &[u8], fault: &Fault) -> String {
    let what = match fault {
        Fault::Missing(missing) => format!("points to a row of table `{missing}` that is not there"),
        Fault::Sealed(of) | Fault::Shape(of) if *of != table => format!("points to a damaged row of table `{of}`"),
        Fault::Shape(_) => "does not fit its place".to_owned(),
        _ => "does not open".to_owned(),
    };
    let of =
        if Table::OF_CONVERSATION.contains(&table) { of_conversation(tx, keys, table, row_key) } else { String::new() };
    format!("A value in table `{table}` {what}; this affects {}{of}: {}.", table.affects(), remedy(table))
}

/// With whom the conversation is, as far as that can still be said.
fn of_conversation(tx: &ReadTransaction, keys: &Keys, table: Table, row_key: &[u8]) -> String {
    let Ok(number) = conversation(table, row_key) else { return String::new() };
    let contact = tx.get::<ContactRecord>(keys, &table::conversation_key(number)).ok().flatten();
    let with: Option<ClientId> = contact.map(|contact| contact.client_id());
    let with = with.map_or_else(|| format!("conversation {number}"), |peer| peer.to_string());
    match (table, place(table, row_key)) {
        (Table::Messages, Ok((_, seq))) => format!(" (number {seq} with {with})"),
        _ => format!(" ({with})"),
    }
}

fn remedy(table: Table) -> &'static str {
    match table {
        Table::Own => "restore the store from a copy",
        Table::Rooms => "restore the store from a copy, or leave the room and be added again",
        Table::Peers | Table::Contacts | Table::Conversations | Table::Marks => {
            "restore the store from a copy, or remove the contact and pair again"
        }
        Table::Messages => "it cannot be read any more, all others can; restore a copy to have it back",
        Table::Ids | Table::Keys => "nothing has to be done, unless there are many: then restore the store from a copy",
        Table::Outbox => "send the message again",
        Table::Expiring => "the message stays; remove the contact or leave the room to have it gone",
        Table::Inbox => "look for the message in its conversation's history",
        Table::Cursors => "let the consumer begin anew under another name",
    }
}
