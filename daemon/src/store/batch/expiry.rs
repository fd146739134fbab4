//! Messages that disappear.

use kith_engine::{ConversationId, MessageRecord, MessageState};

use super::{Batch, writer_of};
use crate::store::{
    fault::Fault,
    repeats,
    rows::Rows,
    table::{self, Table},
    value::{ExpiringRow, GoneRow},
};

impl Batch<'_> {
    /// Writes down when a message disappears, if it does and is where it was to go.
    pub(super) fn will_expire(&mut self, number: u32, message: &MessageRecord) -> Result<(), Fault> {
        match message.ttl_s.filter(|_| message.state == MessageState::Delivered) {
            Some(ttl_s) => {
                let incoming = message.direction.is_incoming();
                let row = ExpiringRow { since_utc_ms: message.done_utc_ms, ttl_s, incoming };
                self.put(&table::place_key(number, message.seq), &row)
            }
            None => Ok(()),
        }
    }

    pub(super) fn start_expiry(&mut self, conversation: ConversationId, seq: u64, utc_ms: u64) -> Result<(), Fault> {
        let Some(number) = self.number_if_known(conversation)? else { return Ok(()) };
        let row_key = table::place_key(number, seq);
        match self.tx.get::<ExpiringRow>(self.keys(), &row_key)? {
            Some(row) => self.put(&row_key, &ExpiringRow { since_utc_ms: utc_ms, ..row }),
            // It was trimmed meanwhile.
            None => Ok(()),
        }
    }

    /// Removes a message with all that says what was in it. Doing it twice is fine.
    pub(super) fn expire(&mut self, conversation: ConversationId, seq: u64) -> Result<(), Fault> {
        let Some(number) = self.number_if_known(conversation)? else { return Ok(()) };
        let row_key = table::place_key(number, seq);
        let message: Option<MessageRecord> = match self.tx.get(self.keys(), &row_key) {
            // What is damaged goes, too: what points to it is found by `check`.
            Err(fault) if !fault.is_of_database() => None,
            message => message?,
        };
        self.remove(Table::Expiring, &row_key)?;
        self.remove(Table::Messages, &row_key)?;
        let Some(message) = message else { return Ok(()) };
        let tag = self.tag(Table::Ids, &table::id_secret(&message.id, writer_of(&message)));
        let gone = GoneRow { number: message.number, incarnation: message.incarnation };
        let incoming = message.direction.is_incoming();
        if incoming && repeats::may_come(&repeats::marks(self.tx, self.keys(), number)?, gone) {
            self.put(&table::tag_key(number, tag), &gone)
        } else {
            self.remove(Table::Ids, &table::tag_key(number, tag))
        }
    }
}
