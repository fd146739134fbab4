//! The operations of commits, carried out in one write transaction.

use kith_crypto::identity::{ClientId, Identity};
use kith_engine::{CommitError, ContactRecord, Direction, MessageId, MessageRecord, MessageState, Op, ProfileRecord};
use redb::WriteTransaction;

use super::{
    fault::Fault,
    retention::RetentionChoice,
    rows::{Readable, Rows},
    table::{self, Definition, IDENTITY_KEY, Keys, NEXT_CONVERSATION_KEY, PROFILE_KEY, RETENTION_KEY, Table},
    tally::Tally,
    value::{CursorRow, IdRow, InboxRow, KeyRow, MarksRow, NextConversation, OutboxRow, PeerRow, Sealer, Stored},
};

/// The first conversation number.
const FIRST_CONVERSATION: u32 = 1;

/// The last row that a transaction wrote or removed. After a failed fsync nobody knows whether
/// the transaction is on disk; this row does. Each sealed value is unique by its random nonce, and
/// so is a header.
pub(super) struct Witness {
    table: Definition,
    row_key: Vec<u8>,
    value: Option<Vec<u8>>,
}

impl Witness {
    pub(super) fn new(table: Definition, row_key: &[u8], value: Option<&[u8]>) -> Self {
        Self { table, row_key: row_key.to_vec(), value: value.map(<[u8]>::to_vec) }
    }

    /// Whether the database holds what the transaction wrote last.
    pub(super) fn is_in(&self, tx: &redb::ReadTransaction) -> Result<bool, Fault> {
        let mut found = None;
        tx.open_table(self.table)?.row(&self.row_key, &mut |value| {
            found = Some(value.to_vec());
            Ok(())
        })?;
        Ok(found == self.value)
    }
}

/// A write transaction with the keys to fill it.
pub(super) struct Batch<'a> {
    tx: &'a WriteTransaction,
    sealer: &'a mut Sealer,
    witness: Option<Witness>,
    tally: Tally,
}

impl<'a> Batch<'a> {
    pub(super) fn new(tx: &'a WriteTransaction, sealer: &'a mut Sealer) -> Self {
        Self { tx, sealer, witness: None, tally: Tally::default() }
    }

    /// Counts what the histories take now, and gives the last row that was changed; `None` if nothing was.
    pub(super) fn into_witness(mut self) -> Result<Option<Witness>, Fault> {
        for (number, history) in self.tally.rows(self.tx, self.keys())? {
            self.put(&table::history_key(number), &history)?;
        }
        Ok(self.witness)
    }

    /// Checks a commit's claims against all that is in the transaction so far, and against each
    /// other. Writes nothing, so a refused commit needs no undoing.
    ///
    /// # Errors
    ///
    /// The outer error is a fault of the store, the inner one the refusal.
    pub(super) fn check(&self, ops: &[Op]) -> Result<Result<(), CommitError>, Fault> {
        for (at, op) in ops.iter().enumerate() {
            let before = &ops[..at];
            let refusal = match op {
                Op::ClaimKey { peer, key, .. } => self.known_key(before, peer, key)?.map(CommitError::Repeated),
                Op::ClaimId { peer, id } => self.knows_id(before, peer, id)?.then_some(CommitError::Conflict(*id)),
                _ => None,
            };
            if let Some(refusal) = refusal {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(()))
    }

    /// Carries out one operation.
    pub(super) fn apply(&mut self, op: &Op) -> Result<(), Fault> {
        match op {
            Op::PutProfile(profile) => self.put_profile(profile),
            Op::PutContact(contact) => self.put_contact(contact),
            Op::PutConversation(peer, conversation) => {
                let number = self.number(peer)?;
                self.put(&table::conversation_key(number), conversation)
            }
            Op::PutMarks(peer, marks) => {
                let number = self.number(peer)?;
                self.put(&table::conversation_key(number), &MarksRow(marks.clone()))
            }
            Op::PutMissing(peer, missing) => {
                let number = self.number(peer)?;
                self.put(&table::beside_key(number), missing)
            }
            Op::PutStanding(peer, standing) => {
                let number = self.number(peer)?;
                self.put(&table::beside_key(number), standing)
            }
            Op::RemoveContact(peer) => self.remove_contact(peer),
            Op::ClaimKey { peer, key, id } => {
                let row_key = table::tag_key(self.number(peer)?, self.tag(Table::Keys, key.as_bytes()));
                self.put(&row_key, &KeyRow(*id))
            }
            // Checked before; the message itself takes the id.
            Op::ClaimId { .. } => Ok(()),
            Op::PutMessage(peer, message) => self.put_message(peer, message),
            Op::PutOutbox { peer, number, seq } => {
                let row_key = table::place_key(self.number(peer)?, *number);
                self.put(&row_key, &OutboxRow(*seq))
            }
            Op::Delivered { peer, number, seq, utc_ms } => self.deliver(peer, *number, *seq, *utc_ms),
            Op::PutInbox { inbox_seq, peer, seq } => {
                let row = InboxRow { peer: *peer, number: self.number(peer)?, seq: *seq };
                self.put(&inbox_seq.to_be_bytes(), &row)
            }
            Op::PutCursor { consumer, inbox_seq } => self.put_cursor(consumer, *inbox_seq),
        }
    }

    /// Writes the identity of a new store.
    pub(super) fn put_identity(&mut self, identity: &Identity) -> Result<(), Fault> {
        self.put(&IDENTITY_KEY, identity)
    }

    /// Writes the own settings.
    pub(super) fn put_profile(&mut self, profile: &ProfileRecord) -> Result<(), Fault> {
        self.put(&PROFILE_KEY, profile)
    }

    /// Writes an idempotency key of which only the tag is known.
    pub(super) fn put_key(&mut self, peer: &ClientId, tag: [u8; 16], id: MessageId) -> Result<(), Fault> {
        let row_key = table::tag_key(self.number(peer)?, tag);
        self.put(&row_key, &KeyRow(id))
    }

    /// Writes the place of a consumer of which only the tag is known.
    pub(super) fn put_cursor_at(&mut self, tag: [u8; 16], inbox_seq: u64) -> Result<(), Fault> {
        self.put(&tag, &CursorRow(inbox_seq))
    }

    /// Writes how much history somebody wants to be kept.
    pub(super) fn put_choice(&mut self, choice: &RetentionChoice) -> Result<(), Fault> {
        self.put(&RETENTION_KEY, choice)
    }

    /// The message that an idempotency key stands for, before the operation that follows `before`.
    fn known_key(&self, before: &[Op], peer: &ClientId, key: &str) -> Result<Option<MessageId>, Fault> {
        let claimed = before.iter().find_map(|op| match op {
            Op::ClaimKey { peer: other, key: claimed, id } if other == peer && claimed == key => Some(*id),
            _ => None,
        });
        if claimed.is_some() || removes(before, peer) {
            return Ok(claimed);
        }
        match self.tx.number_of(self.keys(), peer)? {
            Some(number) => {
                let row_key = table::tag_key(number, self.tag(Table::Keys, key.as_bytes()));
                Ok(self.tx.get::<KeyRow>(self.keys(), &row_key)?.map(|row| row.0))
            }
            None => Ok(None),
        }
    }

    /// Whether a message has this id, before the operation that follows `before`.
    fn knows_id(&self, before: &[Op], peer: &ClientId, id: &MessageId) -> Result<bool, Fault> {
        let claimed = before.iter().any(|op| match op {
            Op::ClaimId { peer: other, id: claimed } => other == peer && claimed == id,
            Op::PutMessage(other, message) => other == peer && message.id == *id,
            _ => false,
        });
        if claimed || removes(before, peer) {
            return Ok(claimed);
        }
        match self.tx.number_of(self.keys(), peer)? {
            Some(number) => {
                let row_key = table::tag_key(number, self.tag(Table::Ids, &id.0));
                Ok(self.tx.get::<IdRow>(self.keys(), &row_key)?.is_some())
            }
            None => Ok(false),
        }
    }

    fn put_contact(&mut self, contact: &ContactRecord) -> Result<(), Fault> {
        let peer = contact.client_id();
        let number = match self.tx.number_of(self.keys(), &peer)? {
            Some(number) => number,
            None => {
                let next = self.tx.get::<NextConversation>(self.keys(), &NEXT_CONVERSATION_KEY)?;
                let number = next.map_or(FIRST_CONVERSATION, |next| next.0);
                let after = number.checked_add(1).ok_or(Fault::Exhausted)?;
                self.put(&NEXT_CONVERSATION_KEY, &NextConversation(after))?;
                let row_key = self.tag(Table::Peers, peer.as_bytes());
                self.put(&row_key, &PeerRow(number))?;
                number
            }
        };
        self.put(&table::conversation_key(number), contact)
    }

    /// Removes all rows of the contact but its places in the inbox, which now point to nothing:
    /// its conversation number is never used again. The database works through the rows one page
    /// at a time. Removing a contact twice is fine.
    fn remove_contact(&mut self, peer: &ClientId) -> Result<(), Fault> {
        let Some(number) = self.tx.number_of(self.keys(), peer)? else { return Ok(()) };
        let first = number.to_be_bytes();
        let after = number.checked_add(1).ok_or(Fault::Exhausted)?.to_be_bytes();
        for table in Table::OF_CONVERSATION {
            self.tx.open_table(table.definition())?.retain_in::<&[u8], _>(&first[..]..&after[..], |_, _| false)?;
        }
        self.tally.forget(number);
        let row_key = self.tag(Table::Peers, peer.as_bytes());
        self.remove(Table::Peers, &row_key)
    }

    fn put_message(&mut self, peer: &ClientId, message: &MessageRecord) -> Result<(), Fault> {
        let number = self.number(peer)?;
        self.put(&table::place_key(number, message.seq), message)?;
        let row_key = table::tag_key(number, self.tag(Table::Ids, &message.id.0));
        self.put(&row_key, &IdRow(message.seq))
    }

    fn deliver(&mut self, peer: &ClientId, own_number: u64, seq: u64, utc_ms: u64) -> Result<(), Fault> {
        let number = self.number(peer)?;
        let mut message = self.tx.message_at(self.keys(), number, seq)?;
        // Another message at this place would be marked by mistake, and its own copy lost.
        if message.direction != Direction::Outgoing || message.number != own_number {
            return Err(Fault::Missing(Table::Messages));
        }
        message.state = MessageState::Delivered;
        message.done_utc_ms = utc_ms;
        self.put(&table::place_key(number, seq), &message)?;
        self.remove(Table::Outbox, &table::place_key(number, own_number))
    }

    fn put_cursor(&mut self, consumer: &str, inbox_seq: u64) -> Result<(), Fault> {
        let row_key = self.tag(Table::Cursors, consumer.as_bytes());
        let old = self.tx.get::<CursorRow>(self.keys(), &row_key)?.map_or(0, |row| row.0);
        if inbox_seq > old { self.put(&row_key, &CursorRow(inbox_seq)) } else { Ok(()) }
    }

    pub(super) fn keys(&self) -> &Keys {
        self.sealer.keys()
    }

    fn tag(&self, table: Table, secret: &[u8]) -> [u8; 16] {
        self.keys().of(table).row_tag(secret)
    }

    fn number(&self, peer: &ClientId) -> Result<u32, Fault> {
        self.tx.number_of(self.keys(), peer)?.ok_or(Fault::NoSuchPeer)
    }

    fn put<S: Stored>(&mut self, row_key: &[u8], record: &S) -> Result<(), Fault> {
        let sealed = self.sealer.seal(row_key, record)?;
        let old = self.tx.open_table(S::TABLE.definition())?.insert(row_key, sealed)?.map(|old| old.value().len());
        self.tally.note(S::TABLE, row_key, old, Some(sealed.len()));
        self.witness = Some(Witness::new(S::TABLE.definition(), row_key, Some(sealed)));
        Ok(())
    }

    pub(super) fn remove(&mut self, table: Table, row_key: &[u8]) -> Result<(), Fault> {
        let old = self.tx.open_table(table.definition())?.remove(row_key)?.map(|old| old.value().len());
        if old.is_some() {
            self.tally.note(table, row_key, old, None);
            self.witness = Some(Witness::new(table.definition(), row_key, None));
        }
        Ok(())
    }
}

/// Whether the operation adds to the store, so that it is refused while space is short.
pub(super) fn grows(op: &Op) -> bool {
    match op {
        Op::PutContact(_) | Op::PutMessage(..) | Op::PutOutbox { .. } | Op::PutInbox { .. } | Op::ClaimKey { .. } => {
            true
        }
        Op::PutProfile(_)
        | Op::PutConversation(..)
        | Op::PutMarks(..)
        | Op::PutMissing(..)
        | Op::PutStanding(..)
        | Op::RemoveContact(_)
        | Op::ClaimId { .. }
        | Op::Delivered { .. }
        | Op::PutCursor { .. } => false,
    }
}

fn removes(before: &[Op], peer: &ClientId) -> bool {
    before.iter().any(|op| matches!(op, Op::RemoveContact(removed) if removed == peer))
}
