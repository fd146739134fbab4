//! Which received messages their senders may send again: those whose acknowledgement may have been lost.

use kith_engine::Mark;

use super::{
    fault::Fault,
    rows::{Rows, Walk},
    table::{self, Keys, Table},
    value::{self, GoneRow, MarksRow},
};

/// Messages that may come again of each count of a peer's, the newest ones. It has at most 64 on their way, and may not
/// have been able to write down that others were acknowledged; several times that, to be sure. A message
/// that it repeats and that nobody remembers would end its session, each time anew.
pub const KEPT_MESSAGES: u64 = 256;

/// The marks of whoever writes in a conversation: a contact, or the other members of a room.
pub(super) fn marks(tx: &impl Rows, keys: &Keys, number: u32) -> Result<Vec<Mark>, Fault> {
    let own: Option<MarksRow> = tx.get(keys, &table::conversation_key(number))?;
    let mut marks = own.map_or_else(Vec::new, |row| row.0);
    tx.with_table(Table::Marks, |rows| {
        let (first, last) = (table::member_key(number, [0; 16]), table::member_key(number, [u8::MAX; 16]));
        rows.walk(&first, &last, &mut |row_key, sealed| {
            let MarksRow(of_member) = value::open(keys, row_key, sealed)?;
            marks.extend(of_member);
            Ok(Walk::On)
        })
    })?;
    Ok(marks)
}

/// Whether a message with this place in its sender's count may come again.
pub(super) fn may_come(marks: &[Mark], message: GoneRow) -> bool {
    let mark = marks.iter().find(|mark| mark.incarnation == message.incarnation);
    mark.is_some_and(|mark| message.number.saturating_add(KEPT_MESSAGES) > mark.number)
}
