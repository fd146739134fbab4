//! Real files and the real vault; only the disk is sometimes false.

mod faults;
mod simulated;

mod attempts;
mod batches;
mod check;
mod cost;
mod damage;
mod expiry;
mod growth;
mod import;
mod long;
mod opening;
mod operations;
mod pin;
mod reading;
mod records;
mod rooms;
mod rotation;
mod secrecy;
mod secret;
mod trim;
mod version0;
mod wipe;

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, OnceLock},
};

use getrandom::{SysRng, rand_core::UnwrapErr};
use kith_crypto::identity::{ClientId, Identity};
use kith_engine::{
    Commit, CommitError, CommitId, ContactRecord, ContactState, Direction, Incarnation, MessageId, MessageRecord,
    MessageState, Op, StoredContact, StoredState,
};
use redb::{Database, ReadableDatabase, ReadableTable};
use tempfile::TempDir;

use self::faults::Faults;
use super::{
    Folder, Found, LockedStore, Reader, Store, Writer, create,
    custody::Custody,
    disk::Door,
    group::GroupCommit,
    open,
    table::{HEADER, Table},
    value::Sealer,
};
use crate::handle::Read;

pub(super) const SECRET: &[u8] = b"correct horse battery staple";
pub(super) const DISPLAY_NAME: &str = "Front door kiosk";

/// A fresh store's file and its keys. Deriving them is the slow part, so it is done once.
static TEMPLATE: OnceLock<(Vec<u8>, Custody)> = OnceLock::new();

fn template() -> &'static (Vec<u8>, Custody) {
    TEMPLATE.get_or_init(|| {
        let dir = folder_for_tests();
        let folder = Folder::open(dir.path()).unwrap();
        let store = create(&folder, SECRET, identity(), DISPLAY_NAME.to_owned()).unwrap();
        store.into_parts().2.close();
        let custody = locked(&folder).custody(SECRET).unwrap();
        (std::fs::read(folder.store_file()).unwrap(), custody)
    })
}

fn folder_for_tests() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
    dir
}

fn locked(folder: &Folder) -> LockedStore {
    match open(folder).unwrap() {
        Found::Locked(store) => store,
        Found::Empty | Found::Plain(_) => panic!("there is no sealed store"),
    }
}

fn identity() -> Identity {
    Identity::generate(&mut UnwrapErr(SysRng))
}

/// A device with an open store.
struct Device {
    folder: Folder,
    state: StoredState,
    client_id: ClientId,
    writer: Writer,
    reader: Reader,
    next_commit: u64,
    // Last, so that the store is closed before its folder goes.
    dir: TempDir,
}

impl Device {
    fn new() -> Self {
        let dir = folder_for_tests();
        let folder = Folder::open(dir.path()).unwrap();
        Self::start(dir, folder)
    }

    /// A device on a disk that does as it is told.
    fn on_false_disk() -> (Self, Arc<Faults>) {
        let dir = folder_for_tests();
        let faults = Arc::new(Faults::of(dir.path()));
        let folder = Folder::open(dir.path()).unwrap().with_files(faults.clone());
        (Self::start(dir, folder), faults)
    }

    fn start(dir: TempDir, folder: Folder) -> Self {
        std::fs::write(folder.store_file(), &template().0).unwrap();
        Self::unlock(dir, folder)
    }

    fn unlock(dir: TempDir, folder: Folder) -> Self {
        let store = locked(&folder).open_with(&template().1).unwrap();
        Self::with(dir, folder, store)
    }

    fn with(dir: TempDir, folder: Folder, store: Store) -> Self {
        let (identity, state, writer, reader) = store.into_parts();
        Self { folder, state, client_id: identity.client_id(), writer, reader, next_commit: 1, dir }
    }

    /// Closes the store and gives what is on disk.
    fn close(self) -> (TempDir, Folder) {
        self.writer.close();
        (self.dir, self.folder)
    }

    fn restarted(self) -> Self {
        let (dir, folder) = self.close();
        Self::unlock(dir, folder)
    }

    fn submit(&mut self, ops: Vec<Op>) -> CommitId {
        let id = CommitId(self.next_commit);
        self.next_commit += 1;
        self.writer.submit(Commit { id, ops }).unwrap();
        id
    }

    fn completed(&mut self) -> (CommitId, Result<(), CommitError>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.writer.completed()).unwrap()
    }

    fn commit(&mut self, ops: Vec<Op>) -> Result<(), CommitError> {
        let id = self.submit(ops);
        let (completed, result) = self.completed();
        assert_eq!(completed, id);
        result
    }

    fn with_contact(mut self, name: &str) -> (Self, ClientId) {
        let contact = contact(name);
        let peer = contact.client_id();
        self.commit(vec![Op::PutContact(contact)]).unwrap();
        (self, peer)
    }

    fn stored(&self, peer: ClientId) -> &StoredContact {
        self.state.contacts.iter().find(|stored| stored.contact.client_id() == peer).unwrap()
    }
}

/// Does all that the store has to do to itself.
fn finish_chores(group: &mut GroupCommit) -> u64 {
    let mut steps = 0;
    while !group.is_idle() {
        group.step();
        steps += 1;
    }
    steps
}

/// Every message of a conversation.
fn history(reader: &Reader, peer: ClientId) -> Vec<MessageRecord> {
    let (mut messages, mut after) = (Vec::new(), 0);
    loop {
        let rows = reader.read(Read::History { conversation: peer.into(), after, count_max: 256 }).unwrap();
        let Some(last) = rows.last() else { return messages };
        after = last.message.seq;
        messages.extend(rows.into_iter().map(|row| row.message));
    }
}

/// The store below its writer thread, so that a test decides what shares a transaction.
fn below_the_thread(device: Device) -> (TempDir, Arc<Door>, Sealer) {
    let (dir, folder) = device.close();
    let (_, _, door, sealer) = locked(&folder).open_door(&template().1).unwrap();
    (dir, door, sealer)
}

fn commit(id: u64, ops: Vec<Op>) -> Commit {
    Commit { id: CommitId(id), ops }
}

fn contact(name: &str) -> ContactRecord {
    ContactRecord {
        card: identity().card().clone(),
        name: name.to_owned(),
        state: ContactState::Paired,
        major_min: 1,
        paired_utc_ms: 1_800_000_000_000,
        seen_utc_ms: 0,
        incarnation: Incarnation([6; 16]),
    }
}

fn id(number: u64) -> MessageId {
    let mut bytes = [0xab; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    MessageId(bytes)
}

fn message(seq: u64, direction: Direction, body: &[u8]) -> MessageRecord {
    MessageRecord {
        seq,
        id: id(seq),
        direction,
        number: seq,
        incarnation: Incarnation([7; 16]),
        sent_utc_ms: 1_800_000_000_000 + seq,
        clock_trusted: true,
        done_utc_ms: 0,
        state: match direction {
            Direction::Outgoing => MessageState::Queued,
            Direction::Incoming | Direction::Member(_) => MessageState::Delivered,
        },
        content_type: "text/plain".to_owned(),
        reply_to: None,
        ttl_s: None,
        body: body.to_vec(),
    }
}

/// What the engine writes when the user sends.
fn sending(peer: ClientId, message: &MessageRecord) -> Vec<Op> {
    vec![
        Op::PutMessage(peer.into(), message.clone()),
        Op::PutOutbox { conversation: peer.into(), peer, number: message.number, seq: message.seq },
        Op::PutConversation(
            peer.into(),
            kith_engine::ConversationRecord {
                last_seq: message.seq,
                read_seq: message.seq,
                unread: 0,
                sent_number: message.number,
            },
        ),
    ]
}

/// What the engine writes when a message comes in.
fn receiving(peer: ClientId, message: &MessageRecord, inbox_seq: u64) -> Vec<Op> {
    vec![
        Op::ClaimId { conversation: peer.into(), peer, id: message.id },
        Op::PutMessage(peer.into(), message.clone()),
        Op::PutInbox { inbox_seq, conversation: peer.into(), peer, seq: message.seq },
    ]
}

/// All rows of a table, as they lie in the file.
fn raw_rows(file: &Path, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    let database = Database::open(file).unwrap();
    let rows = database.begin_read().unwrap().open_table(table.definition()).unwrap();
    rows.iter()
        .unwrap()
        .map(|row| row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())).unwrap())
        .collect()
}

fn raw_header(folder: &Folder) -> Vec<u8> {
    let database = Database::open(folder.store_file()).unwrap();
    let rows = database.begin_read().unwrap().open_table(HEADER).unwrap();
    rows.get(&[][..]).unwrap().unwrap().value().to_vec()
}

fn put_raw(file: &Path, table: Table, row_key: &[u8], sealed: &[u8]) {
    let database = Database::open(file).unwrap();
    let tx = database.begin_write().unwrap();
    tx.open_table(table.definition()).unwrap().insert(row_key, sealed).unwrap();
    tx.commit().unwrap();
}

/// All rows of a table, through the store's own door.
fn raw_rows_while_open(device: &Device, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy");
    std::fs::copy(device.folder.store_file(), &copy).unwrap();
    raw_rows(&copy, table)
}
