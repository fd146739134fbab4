//! All that a store holds but its rooms, entry by entry, while it is in use.
//!
//! It is read in pages, so that neither a lock nor a commit waits for whoever takes the copy. What
//! comes in meanwhile is left out: of a conversation, all that is beyond the counters with which
//! its contact was read.

use std::{collections::BTreeMap, fmt};

use kith_crypto::identity::{ClientId, Identity};
use kith_engine::{ContactRecord, ContactState, MessageId, MessageRecord, ProfileRecord, StoredContact};
use redb::{ReadTransaction, ReadableTableMetadata as _};
use zeroize::Zeroizing;

use super::{
    fault::Fault,
    reader::{ReadError, Reader},
    retention::RetentionChoice,
    rows::{Rows, Walk},
    state,
    table::{self, IDENTITY_KEY, Keys, PROFILE_KEY, RETENTION_KEY, Table},
    value::{self, CursorRow, IdRow, InboxRow, KeyRow},
};

/// Rows in one page; one page of entries is in memory at a time.
const ROWS_MAX: usize = 256;
/// Bytes of values in one page, and one value more.
const BYTES_MAX: usize = 256 * 1024;

/// One thing that a store holds. They come in the order of the variants; the messages and keys of
/// a contact follow it before the next contact comes.
pub enum Entry {
    /// Both secret keys.
    Identity(Box<Identity>),
    /// What row tags are made with. Of keys and consumers nothing but their tags is stored, so a
    /// copy finds them only with this.
    TagKey(Zeroizing<[u8; 32]>),
    /// The own settings.
    Profile(ProfileRecord),
    /// How much history somebody wants to be kept.
    Retention(RetentionChoice),
    /// A contact and its counters.
    Contact(Box<StoredContact>),
    /// A message of the latest contact.
    Message(MessageRecord),
    /// An idempotency key of the latest contact, by its tag.
    Key {
        /// The tag.
        tag: [u8; 16],
        /// The message that the key stands for.
        id: MessageId,
    },
    /// A place in the inbox.
    Inbox {
        /// Its number.
        place: u64,
        /// Whose message.
        peer: ClientId,
        /// Where in the conversation.
        seq: u64,
    },
    /// A consumer, by its tag.
    Cursor {
        /// The tag.
        tag: [u8; 16],
        /// All up to this place is handled.
        place: u64,
    },
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity(_) => "Identity(..)",
            Self::TagKey(_) => "TagKey(..)",
            Self::Profile(_) => "Profile(..)",
            Self::Retention(_) => "Retention(..)",
            Self::Contact(_) => "Contact(..)",
            Self::Message(_) => "Message(..)",
            Self::Key { .. } => "Key(..)",
            Self::Inbox { .. } => "Inbox(..)",
            Self::Cursor { .. } => "Cursor(..)",
        })
    }
}

/// What makes an entry of a row, if it is one that is copied.
type Take<'a> = &'a dyn Fn(&ReadTransaction, &Keys, &[u8], &[u8]) -> Result<Option<Entry>, Fault>;

impl Reader {
    /// About how many entries a copy has.
    ///
    /// # Errors
    ///
    /// [`ReadError::Locked`] after [`Reader::revoke`].
    pub fn count_entries(&self) -> Result<u64, ReadError> {
        const TABLES: [Table; 6] =
            [Table::Own, Table::Contacts, Table::Messages, Table::Keys, Table::Inbox, Table::Cursors];
        self.page(|tx, _| TABLES.into_iter().map(|table| Ok(tx.open_table(table.definition())?.len()?)).sum())
    }

    /// Hands over all that the store holds. Waits for the disk and for the taker: not for the async
    /// loop's own thread.
    ///
    /// # Errors
    ///
    /// [`ReadError::Locked`] after [`Reader::revoke`]; a damaged row ends the copy, and so does an
    /// error of the taker.
    pub fn copy<E: From<ReadError>>(&self, give: &mut dyn FnMut(Entry) -> Result<(), E>) -> Result<(), E> {
        let ((identity, profile), choice) = self.page(|tx, keys| {
            let identity: Option<Identity> = tx.get(keys, &IDENTITY_KEY)?;
            let profile: Option<ProfileRecord> = tx.get(keys, &PROFILE_KEY)?;
            let choice: Option<RetentionChoice> = tx.get(keys, &RETENTION_KEY)?;
            Ok((identity.zip(profile).ok_or(Fault::Missing(Table::Own))?, choice))
        })?;
        give(Entry::Identity(Box::new(identity)))?;
        give(Entry::TagKey(self.tag_key()?))?;
        give(Entry::Profile(profile))?;
        choice.map_or(Ok(()), |choice| give(Entry::Retention(choice)))?;
        let mut last_seqs = BTreeMap::new();
        let mut after = 0;
        while let Some((number, contact)) = self.page(|tx, keys| contact_after(tx, keys, after))? {
            let last_seq = contact.conversation.last_seq;
            give(Entry::Contact(Box::new(contact)))?;
            self.conversation(number, last_seq, give)?;
            last_seqs.insert(number, last_seq);
            after = number;
        }
        self.inbox(&last_seqs, give)?;
        self.part(Table::Cursors, &[0; 16], &[u8::MAX; 16], give, &|_, keys, row_key, sealed| {
            let CursorRow(place) = value::open(keys, row_key, sealed)?;
            let tag = row_key.try_into().map_err(|_| Fault::Shape(Table::Cursors))?;
            Ok(Some(Entry::Cursor { tag, place }))
        })
    }

    fn conversation<E: From<ReadError>>(
        &self,
        number: u32,
        last_seq: u64,
        give: &mut dyn FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let (first, last) = (table::place_key(number, 0), table::place_key(number, last_seq));
        self.part(Table::Messages, &first, &last, give, &|_, keys, row_key, sealed| {
            Ok(Some(Entry::Message(value::open(keys, row_key, sealed)?)))
        })?;
        let (first, last) = (table::tag_key(number, [0; 16]), table::tag_key(number, [u8::MAX; 16]));
        self.part(Table::Keys, &first, &last, give, &|tx, keys, row_key, sealed| {
            let KeyRow(id) = value::open(keys, row_key, sealed)?;
            let tag = row_key.last_chunk().copied().ok_or(Fault::Shape(Table::Keys))?;
            let stands_at = table::tag_key(number, keys.of(Table::Ids).row_tag(&id.0));
            let seq = tx.get(keys, &stands_at)?.map(|row: IdRow| row.0);
            Ok(seq.is_some_and(|seq| seq <= last_seq).then_some(Entry::Key { tag, id }))
        })
    }

    /// Leaves out what belonged to contacts that have been removed.
    fn inbox<E: From<ReadError>>(
        &self,
        last_seqs: &BTreeMap<u32, u64>,
        give: &mut dyn FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        self.part(Table::Inbox, &[0; 8], &[u8::MAX; 8], give, &|tx, keys, row_key, sealed| {
            let InboxRow { peer, number, seq } = value::open(keys, row_key, sealed)?;
            let place = row_key.try_into().map(u64::from_be_bytes).map_err(|_| Fault::Shape(Table::Inbox))?;
            let is_copied = last_seqs.get(&number).is_some_and(|last_seq| seq <= *last_seq);
            let message: Option<MessageRecord> =
                if is_copied { tx.get(keys, &table::place_key(number, seq))? } else { None };
            Ok(message.map(|_| Entry::Inbox { place, peer, seq }))
        })
    }

    /// Hands over a part of a table, page by page.
    fn part<E: From<ReadError>>(
        &self,
        table: Table,
        first: &[u8],
        last: &[u8],
        give: &mut dyn FnMut(Entry) -> Result<(), E>,
        take: Take<'_>,
    ) -> Result<(), E> {
        let mut next = Some(first.to_vec());
        while let Some(first) = next {
            let (entries, rest) = self.page(|tx, keys| page(tx, keys, table, &first, last, take))?;
            entries.into_iter().try_for_each(&mut *give)?;
            next = rest;
        }
        Ok(())
    }
}

/// The entries of one page, and the row key that the next begins with; `None` at the end.
fn page(
    tx: &ReadTransaction,
    keys: &Keys,
    table: Table,
    first: &[u8],
    last: &[u8],
    take: Take<'_>,
) -> Result<(Vec<Entry>, Option<Vec<u8>>), Fault> {
    let (mut entries, mut rows, mut bytes, mut next) = (Vec::new(), 0, 0, None);
    if first > last {
        return Ok((entries, next));
    }
    tx.with_table(table, |readable| {
        readable.walk(first, last, &mut |row_key, sealed| {
            if rows == ROWS_MAX || bytes >= BYTES_MAX {
                next = Some(row_key.to_vec());
                return Ok(Walk::Stop);
            }
            rows += 1;
            bytes += sealed.len();
            entries.extend(take(tx, keys, row_key, sealed)?);
            Ok(Walk::On)
        })
    })?;
    Ok((entries, next))
}

/// The contact with the next higher number.
fn contact_after(tx: &ReadTransaction, keys: &Keys, after: u32) -> Result<Option<(u32, StoredContact)>, Fault> {
    let Some(first) = after.checked_add(1) else { return Ok(None) };
    let mut found = None;
    tx.with_table(Table::Contacts, |rows| {
        rows.walk(&table::conversation_key(first), &[u8::MAX; 5], &mut |row_key, sealed| {
            let Ok(number) = row_key.try_into().map(u32::from_be_bytes) else {
                // What stands beside a contact is read with it.
                return Ok(Walk::On);
            };
            let contact: ContactRecord = value::open(keys, row_key, sealed)?;
            if contact.state == ContactState::Introduced {
                // Without the rooms, nobody needs to know it.
                return Ok(Walk::On);
            }
            found = Some((number, state::load_contact(tx, keys, number, contact)?));
            Ok(Walk::Stop)
        })
    })?;
    Ok(found)
}
