//! The operations of commits, carried out in one write transaction.

mod expiry;

use std::collections::BTreeMap;

use kith_crypto::identity::{ClientId, Identity};
use kith_engine::{
    CommitError, ContactRecord, ConversationId, Direction, MessageId, MessageRecord, MessageState, Op, ProfileRecord,
    RoomId, RoomRecord,
};
use redb::WriteTransaction;

use super::{
    changes::{Changes, Touched, Witness},
    custody::Custody,
    fault::Fault,
    pin::PinRow,
    retention::RetentionChoice,
    rows::{Rows, Walk},
    table::{
        self, HEADER, HEADER_KEY, IDENTITY_KEY, Keys, NEXT_CONVERSATION_KEY, PIN_KEY, PROFILE_KEY, REACH_KEY,
        RECEIPTS_KEY, RETENTION_KEY, SEALS_KEY, Table,
    },
    tally::{self, Tally},
    value::{
        self, CursorRow, IdRow, InboxRow, KeyRow, MarksRow, NextConversation, OutboxRow, PeerRow, ReceiptsRow, Sealer,
        SealsRow, Stored,
    },
};

/// The first conversation number.
const FIRST_CONVERSATION: u32 = 1;

/// A write transaction with the keys to fill it. Whatever changes a row goes through here, so that
/// a copy of the store can follow.
pub(super) struct Batch<'a> {
    tx: &'a WriteTransaction,
    sealer: &'a mut Sealer,
    /// Numbers that were looked up: the commits of one transaction are about a few conversations.
    numbers: BTreeMap<ConversationId, u32>,
    changes: Changes,
    tally: Tally,
}

impl<'a> Batch<'a> {
    pub(super) fn new(tx: &'a WriteTransaction, sealer: &'a mut Sealer) -> Self {
        Self { tx, sealer, numbers: BTreeMap::new(), changes: Changes::default(), tally: Tally::default() }
    }

    /// Counts what the histories take now, reserves seals if that is due, and gives what was changed.
    pub(super) fn into_changes(mut self) -> Result<Changes, Fault> {
        for (number, history) in self.tally.rows(self.tx, self.keys())? {
            self.put(&table::history_key(number), &history)?;
        }
        if self.changes.witness.is_some() {
            self.changes.reserved = self.reserve_seals()?;
        }
        Ok(self.changes)
    }

    /// Reserves seals if that is due; the sealer has to be told when they are on disk.
    pub(super) fn reserve_seals(&mut self) -> Result<Option<SealsRow>, Fault> {
        let due = self.sealer.seals().due();
        if let Some(row) = &due {
            self.put(&SEALS_KEY, row)?;
        }
        Ok(due)
    }

    /// Writes the clear header.
    pub(super) fn put_header(&mut self, custody: &Custody) -> Result<(), Fault> {
        let header = custody.header().encode();
        self.tx.open_table(HEADER)?.insert(HEADER_KEY, header.as_slice())?;
        self.changes.witness = Some(Witness::new(HEADER, HEADER_KEY, Some(&header)));
        Ok(())
    }

    /// Seals what a value holds, and writes it in its place.
    pub(super) fn put_sealable(&mut self, table: Table, row_key: &[u8], sealable: &[u8]) -> Result<(), Fault> {
        let sealed = self.sealer.seal_again(table, row_key, sealable)?;
        write(self.tx, &mut self.changes, &mut self.tally, (table, row_key), sealed)
    }

    /// Checks a commit's claims against all that is in the transaction so far, and against each
    /// other. Writes nothing, so a refused commit needs no undoing.
    ///
    /// # Errors
    ///
    /// The outer error is a fault of the store, the inner one the refusal.
    pub(super) fn check(&mut self, ops: &[Op]) -> Result<Result<(), CommitError>, Fault> {
        for (at, op) in ops.iter().enumerate() {
            let before = &ops[..at];
            let refusal = match op {
                Op::ClaimKey { conversation, key, .. } => {
                    self.known_key(before, *conversation, key)?.map(CommitError::Repeated)
                }
                Op::ClaimId { conversation, peer, id } => {
                    let known = self.knows_id(before, *conversation, peer, id)?;
                    known.then_some(CommitError::Conflict(*id))
                }
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
            Op::PutReach(reach) => self.put(&REACH_KEY, reach),
            Op::PutContact(contact) => self.put_contact(contact),
            Op::PutConversation(conversation, counters) => {
                let number = self.number(*conversation)?;
                self.put(&table::conversation_key(number), counters)
            }
            Op::PutMarks { conversation, peer, marks } => {
                let number = self.number(*conversation)?;
                let marks = MarksRow(marks.clone());
                match conversation {
                    ConversationId::Direct(_) => self.put(&table::conversation_key(number), &marks),
                    ConversationId::Room(_) => {
                        let tag = self.tag(Table::Marks, peer.as_bytes());
                        self.put(&table::member_key(number, tag), &marks)
                    }
                }
            }
            Op::PutMissing(peer, missing) => {
                let number = self.number((*peer).into())?;
                self.put(&table::beside_key(number), missing)
            }
            Op::PutStanding(peer, standing) => {
                let number = self.number((*peer).into())?;
                self.put(&table::beside_key(number), standing)
            }
            Op::PutReceipts(sends) => self.put(&RECEIPTS_KEY, &ReceiptsRow(*sends)),
            Op::PutReading { conversation, peer, reading } => {
                let number = self.number(*conversation)?;
                let tag = match conversation {
                    ConversationId::Direct(_) => [0; 16],
                    ConversationId::Room(_) => self.tag(Table::Marks, peer.as_bytes()),
                };
                self.put(&table::reading_key(number, tag), reading)
            }
            Op::PutExpiry(conversation, expiry) => {
                let number = self.number(*conversation)?;
                self.put(&table::expiry_key(number), expiry)
            }
            Op::StartExpiry { conversation, seq, utc_ms } => self.start_expiry(*conversation, *seq, *utc_ms),
            Op::Expire { conversation, seq } => self.expire(*conversation, *seq),
            Op::RemoveContact(peer) => self.remove_conversation((*peer).into(), peer.as_bytes()),
            Op::PutRoom(room) => self.put_room(room),
            Op::RemoveRoom(room) => self.remove_conversation((*room).into(), &room.0),
            Op::DropMember { room, peer, utc_ms } => self.drop_member(*room, peer, *utc_ms),
            Op::ClaimKey { conversation, key, id } => {
                let row_key = table::tag_key(self.number(*conversation)?, self.tag(Table::Keys, key.as_bytes()));
                self.put(&row_key, &KeyRow(*id))
            }
            // Checked before; the message itself takes the id.
            Op::ClaimId { .. } => Ok(()),
            Op::PutMessage(conversation, message) => self.put_message(*conversation, message),
            Op::PutOutbox { conversation, peer, number, seq } => {
                let row_key = self.outbox_key(*conversation, peer, *number)?;
                self.put(&row_key, &OutboxRow(*seq))
            }
            Op::Delivered { conversation, peer, number, seq, utc_ms } => {
                self.deliver(*conversation, peer, *number, *seq, *utc_ms)
            }
            Op::PutInbox { inbox_seq, conversation, peer, seq } => {
                let row = InboxRow { peer: *peer, number: self.number(*conversation)?, seq: *seq };
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
        let row_key = table::tag_key(self.number((*peer).into())?, tag);
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

    /// Writes what the PIN is recognised by.
    pub(super) fn put_pin(&mut self, pin: &PinRow) -> Result<(), Fault> {
        self.put(&PIN_KEY, pin)
    }

    /// Counts what a conversation's history takes, where all of it has been written.
    pub(super) fn put_history(&mut self, peer: &ClientId) -> Result<(), Fault> {
        let number = self.number((*peer).into())?;
        let history = tally::counted(self.tx, number)?;
        self.put(&table::history_key(number), &history)
    }

    /// The message that an idempotency key stands for, before the operation that follows `before`.
    fn known_key(
        &mut self,
        before: &[Op],
        conversation: ConversationId,
        key: &str,
    ) -> Result<Option<MessageId>, Fault> {
        let claimed = before.iter().find_map(|op| match op {
            Op::ClaimKey { conversation: other, key: claimed, id } if *other == conversation && claimed == key => {
                Some(*id)
            }
            _ => None,
        });
        if claimed.is_some() || removes(before, conversation) {
            return Ok(claimed);
        }
        match self.number_if_known(conversation)? {
            Some(number) => {
                let row_key = table::tag_key(number, self.tag(Table::Keys, key.as_bytes()));
                Ok(self.tx.get::<KeyRow>(self.keys(), &row_key)?.map(|row| row.0))
            }
            None => Ok(None),
        }
    }

    /// Whether a message of this peer has this id, before the operation that follows `before`.
    fn knows_id(
        &mut self,
        before: &[Op],
        conversation: ConversationId,
        peer: &ClientId,
        id: &MessageId,
    ) -> Result<bool, Fault> {
        let writer = writer_in(conversation, peer);
        let claimed = before.iter().any(|op| match op {
            Op::ClaimId { conversation: other, peer: by, id: claimed } => {
                *other == conversation && by == peer && claimed == id
            }
            Op::PutMessage(other, message) => {
                *other == conversation && message.id == *id && writer_of(message) == writer
            }
            _ => false,
        });
        if claimed || removes(before, conversation) {
            return Ok(claimed);
        }
        match self.number_if_known(conversation)? {
            Some(number) => Ok(self.tx.named(self.keys(), number, id, writer)?.is_some()),
            None => Ok(false),
        }
    }

    fn put_contact(&mut self, contact: &ContactRecord) -> Result<(), Fault> {
        let peer = contact.client_id();
        let number = self.number_or_next(peer.into(), peer.as_bytes())?;
        self.put(&table::conversation_key(number), contact)
    }

    fn put_room(&mut self, room: &RoomRecord) -> Result<(), Fault> {
        let number = self.number_or_next(room.room.into(), &room.room.0)?;
        self.put(&table::conversation_key(number), room)
    }

    /// The number of a conversation, which may be a new one.
    fn number_or_next(&mut self, conversation: ConversationId, name: &[u8]) -> Result<u32, Fault> {
        if let Some(number) = self.number_if_known(conversation)? {
            return Ok(number);
        }
        let next = self.tx.get::<NextConversation>(self.keys(), &NEXT_CONVERSATION_KEY)?;
        let number = next.map_or(FIRST_CONVERSATION, |next| next.0);
        let after = number.checked_add(1).ok_or(Fault::Exhausted)?;
        self.put(&NEXT_CONVERSATION_KEY, &NextConversation(after))?;
        let row_key = self.tag(Table::Peers, name);
        self.put(&row_key, &PeerRow(number))?;
        Ok(number)
    }

    /// Removes all rows of a contact or a room but its places in the inbox, which now point to nothing:
    /// its conversation number is never used again. The database works through the rows one page
    /// at a time. Removing it twice is fine.
    fn remove_conversation(&mut self, conversation: ConversationId, name: &[u8]) -> Result<(), Fault> {
        let Some(number) = self.number_if_known(conversation)? else { return Ok(()) };
        self.numbers.remove(&conversation);
        let first = number.to_be_bytes();
        let after = number.checked_add(1).ok_or(Fault::Exhausted)?.to_be_bytes();
        for table in Table::OF_CONVERSATION {
            self.tx.open_table(table.definition())?.retain_in::<&[u8], _>(&first[..]..&after[..], |_, _| false)?;
        }
        self.tally.forget(number);
        self.changes.touched.push(Touched::Conversation(first, after));
        let row_key = self.tag(Table::Peers, name);
        self.remove(Table::Peers, &row_key)
    }

    /// What waits for the member goes, and its marks.
    fn drop_member(&mut self, room: RoomId, peer: &ClientId, utc_ms: u64) -> Result<(), Fault> {
        let number = self.number(room.into())?;
        let tag = self.tag(Table::Outbox, peer.as_bytes());
        let mut waiting = Vec::new();
        let (first, last) = (table::place_key(number, 0), table::waiting_key(number, u64::MAX, [u8::MAX; 16]));
        self.tx.with_table(Table::Outbox, |rows| {
            rows.walk(&first, &last, &mut |row_key, sealed| {
                if row_key.ends_with(&tag) {
                    let OutboxRow(seq) = value::open(self.keys(), row_key, sealed)?;
                    waiting.push((row_key.to_vec(), seq));
                }
                Ok(Walk::On)
            })
        })?;
        for (row_key, seq) in waiting {
            self.remove(Table::Outbox, &row_key)?;
            let message = self.tx.message_at(self.keys(), number, seq)?;
            self.settle(number, message, utc_ms)?;
        }
        let marks = table::member_key(number, self.tag(Table::Marks, peer.as_bytes()));
        self.remove(Table::Marks, &marks)?;
        self.remove(Table::Marks, &table::reading_key(number, self.tag(Table::Marks, peer.as_bytes())))
    }

    fn put_message(&mut self, conversation: ConversationId, message: &MessageRecord) -> Result<(), Fault> {
        let number = self.number(conversation)?;
        self.put(&table::place_key(number, message.seq), message)?;
        let tag = self.tag(Table::Ids, &table::id_secret(&message.id, writer_of(message)));
        self.put(&table::tag_key(number, tag), &IdRow(message.seq))?;
        self.will_expire(number, message)
    }

    fn outbox_key(&mut self, conversation: ConversationId, peer: &ClientId, place: u64) -> Result<Vec<u8>, Fault> {
        let number = self.number(conversation)?;
        Ok(match conversation {
            ConversationId::Direct(_) => table::place_key(number, place).to_vec(),
            ConversationId::Room(_) => {
                table::waiting_key(number, place, self.tag(Table::Outbox, peer.as_bytes())).to_vec()
            }
        })
    }

    fn deliver(
        &mut self,
        conversation: ConversationId,
        peer: &ClientId,
        own_number: u64,
        seq: u64,
        utc_ms: u64,
    ) -> Result<(), Fault> {
        let number = self.number(conversation)?;
        let message = self.tx.message_at(self.keys(), number, seq)?;
        // Another message at this place would be marked by mistake, and its own copy lost.
        if message.direction != Direction::Outgoing || message.number != own_number {
            return Err(Fault::Missing(Table::Messages));
        }
        let row_key = self.outbox_key(conversation, peer, own_number)?;
        self.remove(Table::Outbox, &row_key)?;
        self.settle(number, message, utc_ms)
    }

    /// Marks an own message as delivered, if it waits for nobody any more.
    fn settle(&mut self, number: u32, mut message: MessageRecord, utc_ms: u64) -> Result<(), Fault> {
        let first = table::place_key(number, message.number);
        let last = table::waiting_key(number, message.number, [u8::MAX; 16]);
        let mut waits = false;
        self.tx.with_table(Table::Outbox, |rows| {
            rows.walk(&first, &last, &mut |_, _| {
                waits = true;
                Ok(Walk::Stop)
            })
        })?;
        if waits {
            return Ok(());
        }
        message.state = MessageState::Delivered;
        message.done_utc_ms = utc_ms;
        self.put(&table::place_key(number, message.seq), &message)?;
        self.will_expire(number, &message)
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

    fn number(&mut self, conversation: ConversationId) -> Result<u32, Fault> {
        self.number_if_known(conversation)?.ok_or(Fault::NoSuchPeer)
    }

    fn number_if_known(&mut self, conversation: ConversationId) -> Result<Option<u32>, Fault> {
        if let Some(number) = self.numbers.get(&conversation) {
            return Ok(Some(*number));
        }
        let number = self.tx.number_of(self.keys(), conversation)?;
        if let Some(number) = number {
            self.numbers.insert(conversation, number);
        }
        Ok(number)
    }

    fn put<S: Stored>(&mut self, row_key: &[u8], record: &S) -> Result<(), Fault> {
        let sealed = self.sealer.seal(row_key, record)?;
        write(self.tx, &mut self.changes, &mut self.tally, (S::TABLE, row_key), sealed)
    }

    pub(super) fn remove(&mut self, table: Table, row_key: &[u8]) -> Result<(), Fault> {
        let old = self.tx.open_table(table.definition())?.remove(row_key)?.map(|old| old.value().len());
        if old.is_some() {
            self.tally.note(table, row_key, old, None);
            self.changes.witness = Some(Witness::new(table.definition(), row_key, None));
            self.changes.touched.push(Touched::Row(table, row_key.to_vec()));
        }
        Ok(())
    }
}

fn write(
    tx: &WriteTransaction,
    changes: &mut Changes,
    tally: &mut Tally,
    (table, row_key): (Table, &[u8]),
    sealed: &[u8],
) -> Result<(), Fault> {
    let old = tx.open_table(table.definition())?.insert(row_key, sealed)?.map(|old| old.value().len());
    tally.note(table, row_key, old, Some(sealed.len()));
    changes.witness = Some(Witness::new(table.definition(), row_key, Some(sealed)));
    changes.touched.push(Touched::Row(table, row_key.to_vec()));
    Ok(())
}

/// Whether the operation adds to the store, so that it is refused while space is short.
pub(super) fn grows(op: &Op) -> bool {
    match op {
        Op::PutContact(_)
        | Op::PutRoom(_)
        | Op::PutMessage(..)
        | Op::PutOutbox { .. }
        | Op::PutInbox { .. }
        | Op::ClaimKey { .. } => true,
        Op::PutProfile(_)
        | Op::PutReach(_)
        | Op::PutConversation(..)
        | Op::PutMarks { .. }
        | Op::PutMissing(..)
        | Op::PutStanding(..)
        | Op::PutExpiry(..)
        | Op::PutReceipts(_)
        | Op::PutReading { .. }
        | Op::StartExpiry { .. }
        | Op::Expire { .. }
        | Op::RemoveContact(_)
        | Op::RemoveRoom(_)
        | Op::DropMember { .. }
        | Op::ClaimId { .. }
        | Op::Delivered { .. }
        | Op::PutCursor { .. } => false,
    }
}

fn removes(before: &[Op], conversation: ConversationId) -> bool {
    before.iter().any(|op| match op {
        Op::RemoveContact(peer) => conversation == (*peer).into(),
        Op::RemoveRoom(room) => conversation == (*room).into(),
        _ => false,
    })
}

/// By whom a message was written, where its id alone does not say which one it is.
pub(super) fn writer_of(message: &MessageRecord) -> Option<&ClientId> {
    match &message.direction {
        Direction::Member(writer) => Some(writer),
        Direction::Outgoing | Direction::Incoming => None,
    }
}

/// As [`writer_of`], for a message that a peer sends.
pub(super) fn writer_in(conversation: ConversationId, peer: &ClientId) -> Option<&ClientId> {
    match conversation {
        ConversationId::Direct(_) => None,
        ConversationId::Room(_) => Some(peer),
    }
}
