//! A store that is made of entries, in a file of its own beside the store's. Nothing is the
//! device's before it is complete; then it takes the store's place in one step.

use std::{fmt, sync::Arc};

use getrandom::{SysRng, rand_core::UnwrapErr};
use kith_crypto::{
    identity::{ClientId, Identity},
    vault::{StoreKeys, TagKey},
};
use kith_engine::{Direction, Incarnation, MessageState, Op, ProfileRecord, StoredContact};
use redb::{Database, WriteTransaction};

use super::{
    batch::Batch,
    copy::Entry,
    custody::{Custody, Wrapping},
    disk::Disk,
    fault::Fault,
    folder::{Folder, IMPORT_FILE, STORE_FILE},
    group,
    header::Phase,
    keyholder::Keyholder,
    setup::{CreateError, LockedStore, Store, write_new},
    value::Sealer,
};

/// Entries in one transaction: one fsync for all of them.
const BATCH_ENTRIES_MAX: u32 = 1_024;

/// What a draft is begun with.
pub struct DraftHead {
    /// Whose store it is.
    pub identity: Identity,
    /// What its row tags are made with; a new key if there is none.
    pub tag_key: Option<[u8; 32]>,
    /// The name that invites carry.
    pub display_name: String,
}

/// What a draft opens with once it is the store.
pub enum DraftSecret<'a> {
    /// The exact bytes that were typed.
    Typed(&'a [u8]),
    /// What opens the store that it is to replace.
    OfStore(&'a Keyholder),
}

/// Why there is no draft any more. The store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// An entry does not fit to those before it; the words say how.
    #[error("{0}")]
    Unfit(&'static str),
    /// The store that it was to replace has been locked.
    #[error("the store has been locked")]
    Locked,
    /// The file could not be made.
    #[error(transparent)]
    Create(#[from] CreateError),
}

impl From<Fault> for DraftError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoSuchPeer => Self::Unfit("an entry names no contact"),
            fault => Self::Create(fault.into()),
        }
    }
}

/// A store in the making.
pub struct Draft {
    file: DraftFile,
    custody: Custody,
    sealer: Sealer,
    database: Database,
    tx: Option<WriteTransaction>,
    entries: u32,
    contacts: Vec<ClientId>,
    inbox_place: u64,
}

/// A complete store that is not in its place yet.
pub struct CompleteDraft {
    file: DraftFile,
    custody: Custody,
}

/// The file, until it has its place: without one it goes.
struct DraftFile {
    folder: Folder,
    is_published: bool,
}

impl Drop for DraftFile {
    fn drop(&mut self) {
        if !self.is_published {
            discard(&self.folder);
        }
    }
}

impl Draft {
    /// Begins one under a new data key. Takes as long as deriving a key, if the secret is typed: not
    /// for the async loop's own thread.
    ///
    /// # Errors
    ///
    /// The store is as it was; so it is after every error before [`CompleteDraft::publish`].
    pub fn begin(folder: &Folder, head: DraftHead, secret: &DraftSecret<'_>) -> Result<Self, DraftError> {
        let mut rng = UnwrapErr(SysRng);
        let keys = Arc::new(match head.tag_key {
            Some(tag_key) => StoreKeys::with_tags(TagKey::from_bytes(tag_key), &mut rng),
            None => StoreKeys::generate(&mut rng),
        });
        let custody = match secret {
            DraftSecret::Typed(secret) => {
                let wrapping = Wrapping::new(secret, head.identity.client_id());
                Custody::new(wrapping.map_err(|error| CreateError::Failed(error.to_string()))?, keys, Phase::Sealed)
            }
            DraftSecret::OfStore(keyholder) => keyholder.custody().ok_or(DraftError::Locked)?.over(keys),
        };
        let profile = ProfileRecord { display_name: head.display_name, incarnation: new_incarnation() };
        let file = DraftFile { folder: folder.clone(), is_published: false };
        folder.files().create(IMPORT_FILE).map_err(CreateError::from)?;
        let disk = Disk::import_of(folder);
        let seals = write_new(&disk, &custody, &head.identity, &profile)?;
        let (sealer, database) = (Sealer::new(custody.table_keys(), seals), disk.open()?);
        Ok(Self { file, custody, sealer, database, tx: None, entries: 0, contacts: Vec::new(), inbox_place: 0 })
    }

    /// Adds the next entry after those of the head.
    ///
    /// # Errors
    ///
    /// An entry that does not fit to what is there, or no space.
    pub fn put(&mut self, entry: &Entry) -> Result<(), DraftError> {
        let tx = self.transaction()?;
        let mut rows = Batch::new(&tx, &mut self.sealer);
        match entry {
            Entry::Retention(choice) => rows.put_choice(choice)?,
            Entry::Contact(contact) => {
                self.contacts.push(contact.contact.client_id());
                put_contact(&mut rows, contact)?;
            }
            Entry::Inbox { place, peer, seq } => {
                self.inbox_place = *place;
                rows.apply(&Op::PutInbox { inbox_seq: *place, conversation: (*peer).into(), peer: *peer, seq: *seq })?;
            }
            // Places beyond the last go to messages that are still to come.
            Entry::Cursor { tag, place } => rows.put_cursor_at(*tag, (*place).min(self.inbox_place))?,
            entry => put_of_contact(&mut rows, self.contacts.last(), entry)?,
        }
        // They are on disk before this is anybody's store, which is soon enough.
        if let Some(row) = rows.reserve_seals()? {
            self.sealer.has_reserved(&row);
        }
        self.entries += 1;
        if self.entries >= BATCH_ENTRIES_MAX {
            self.entries = 0;
            tx.commit().map_err(Fault::from)?;
        } else {
            self.tx = Some(tx);
        }
        Ok(())
    }

    /// Closes it: all of it is on disk, beside the store.
    ///
    /// # Errors
    ///
    /// As [`Draft::put`].
    pub fn complete(mut self) -> Result<CompleteDraft, DraftError> {
        let tx = self.transaction()?;
        let mut rows = Batch::new(&tx, &mut self.sealer);
        for peer in &self.contacts {
            rows.put_history(peer)?;
        }
        tx.commit().map_err(Fault::from)?;
        self.database.close().map_err(Fault::from)?;
        self.file.folder.files().sync(IMPORT_FILE).map_err(CreateError::from)?;
        Ok(CompleteDraft { file: self.file, custody: self.custody })
    }

    /// The open transaction, or a new one.
    fn transaction(&mut self) -> Result<WriteTransaction, DraftError> {
        match self.tx.take() {
            Some(tx) => Ok(tx),
            None if !Disk::import_of(&self.file.folder).has_room() => Err(CreateError::Full.into()),
            None => Ok(group::prepare(self.database.begin_write().map_err(Fault::from)?)?),
        }
    }
}

impl CompleteDraft {
    /// Makes it the store. What was the store before must be closed. After a power cut the old
    /// store is there, or this one, whole. Waits for the disk.
    ///
    /// # Errors
    ///
    /// The file system refused.
    pub fn publish(mut self) -> Result<Store, CreateError> {
        let folder = self.file.folder.clone();
        folder.files().rename(IMPORT_FILE, STORE_FILE)?;
        self.file.is_published = true;
        folder.files().sync_folder()?;
        LockedStore::of(&folder, &self.custody)
            .open_with(&self.custody)
            .map_err(|error| CreateError::Failed(error.to_string()))
    }
}

impl fmt::Debug for CompleteDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompleteDraft").finish_non_exhaustive()
    }
}

/// Throws away what an import that was broken off has left.
pub(super) fn discard(folder: &Folder) {
    // What cannot be removed now is written over by the next import; it is sealed.
    let _ = folder.files().remove(IMPORT_FILE);
}

fn put_of_contact(rows: &mut Batch<'_>, contact: Option<&ClientId>, entry: &Entry) -> Result<(), DraftError> {
    let peer = *contact.ok_or(DraftError::Unfit("an entry comes before its contact"))?;
    match entry {
        Entry::Message(message) => {
            if rows.check(&[Op::ClaimId { conversation: peer.into(), peer, id: message.id }])?.is_err() {
                return Err(DraftError::Unfit("two messages have one id"));
            }
            rows.apply(&Op::PutMessage(peer.into(), message.clone()))?;
            if message.direction == Direction::Outgoing && message.state == MessageState::Queued {
                rows.apply(&Op::PutOutbox {
                    conversation: peer.into(),
                    peer,
                    number: message.number,
                    seq: message.seq,
                })?;
            }
            Ok(())
        }
        Entry::Key { tag, id } => Ok(rows.put_key(&peer, *tag, *id)?),
        _ => Err(DraftError::Unfit("an entry stands in a wrong place")),
    }
}

/// A restored device counts its own messages under a new incarnation, and looks out for what it
/// has lost.
fn put_contact(rows: &mut Batch<'_>, stored: &StoredContact) -> Result<(), Fault> {
    let peer = stored.contact.client_id();
    for op in [
        Op::PutContact(stored.contact.clone().restored(new_incarnation())),
        Op::PutConversation(peer.into(), stored.conversation.clone()),
        Op::PutMarks { conversation: peer.into(), peer, marks: stored.marks.clone() },
        Op::PutMissing(peer, stored.missing.restored()),
        Op::PutStanding(peer, stored.standing),
    ] {
        rows.apply(&op)?;
    }
    Ok(())
}

fn new_incarnation() -> Incarnation {
    let mut incarnation = [0; 16];
    rand_core::Rng::fill_bytes(&mut UnwrapErr(SysRng), &mut incarnation);
    Incarnation(incarnation)
}
