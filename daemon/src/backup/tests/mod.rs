//! Real stores, real files: what comes back, and what is refused.

mod refused;

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt};

use kith_crypto::identity::{ClientId, Identity};
use kith_engine::{
    Commit, CommitId, ContactRecord, ContactState, ConversationRecord, Direction, Incarnation, Mark, MessageId,
    MessageRecord, MessageState, MissingRecord, Op, StandingRecord, StoredState,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;
use crate::handle::{Read, Row};
use crate::run::entropy;
use crate::store::{self, Entry, Folder, Found, Keyholder, ReadError, Reader, RetentionChoice, Store, Writer};
use crate::task::{Summary, SummaryValue, Task, TaskKind, Tasks};

const SECRET: &str = "correct horse battery staple";
const MADE_MS: u64 = 1_790_000_000_000;

/// A device with an open store.
struct Device {
    client_id: ClientId,
    state: StoredState,
    writer: Writer,
    reader: Reader,
    folder: Folder,
    dir: TempDir,
}

fn empty() -> (TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    (dir, folder)
}

fn device_of(dir: TempDir, folder: Folder, store: Store) -> Device {
    let (identity, state, writer, reader) = store.into_parts();
    Device { client_id: identity.client_id(), state, writer, reader, folder, dir }
}

impl Device {
    fn new() -> Self {
        let (dir, folder) = empty();
        let identity = Identity::generate(&mut entropy());
        let store = store::create(&folder, SECRET.as_bytes(), identity, "Hall".to_owned()).unwrap();
        device_of(dir, folder, store)
    }

    /// With two contacts, and something of each kind.
    fn with_history() -> (Self, ClientId, ClientId) {
        let mut device = Self::new();
        let (ada, bob) = (contact("Ada"), contact("Bob"));
        let (a, b) = (ada.client_id(), bob.client_id());
        let ops = vec![
            Op::PutContact(ada),
            Op::PutStanding(a, StandingRecord { verified: true, blocked: true }),
            Op::PutMarks {
                conversation: a.into(),
                peer: a,
                marks: vec![Mark { incarnation: Incarnation([7; 16]), number: 2 }],
            },
            Op::PutMissing(a, MissingRecord { watching: false, count: 5 }),
            Op::PutMessage(a.into(), message(1, Direction::Outgoing, 1, b"hello \"Ada\"\n")),
            Op::PutMessage(a.into(), message(2, Direction::Incoming, 1, b"\xff\x00 no text")),
            Op::PutMessage(a.into(), message(3, Direction::Incoming, 2, "grüße".as_bytes())),
            Op::PutInbox { inbox_seq: 1, conversation: a.into(), peer: a, seq: 2 },
            Op::PutInbox { inbox_seq: 2, conversation: a.into(), peer: a, seq: 3 },
            Op::PutCursor { consumer: "display".to_owned(), inbox_seq: 1 },
            Op::PutMessage(a.into(), waiting(4, 2)),
            Op::PutOutbox { conversation: a.into(), peer: a, number: 2, seq: 4 },
            Op::ClaimKey { conversation: a.into(), key: "reading-17".to_owned(), id: id(4) },
            Op::PutConversation(a.into(), ConversationRecord { last_seq: 4, read_seq: 2, unread: 1, sent_number: 2 }),
            Op::PutContact(ContactRecord { state: ContactState::Pending, ..bob }),
        ];
        device.commit(ops);
        let choice = RetentionChoice { messages_max: Some(0), days_max: Some(30), ..RetentionChoice::default() };
        let trimmer = device.writer.trimmer();
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(trimmer.choose(choice)).unwrap();
        (device, a, b)
    }

    fn commit(&mut self, ops: Vec<Op>) {
        self.writer.submit(Commit { id: CommitId(1), ops }).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.writer.completed()).unwrap().1.unwrap();
    }

    fn keyholder(&self) -> Keyholder {
        self.writer.keyholder()
    }

    fn access(&self) -> Access {
        Access::Open(self.client_id, self.keyholder())
    }

    fn exported(&self, form: Form) -> Vec<u8> {
        let file = tempfile::tempfile().unwrap();
        let access = self.keyholder().backup().unwrap();
        export(&self.reader, &access, form, file.try_clone().unwrap(), MADE_MS, &mut task()).unwrap();
        all_of(&file)
    }

    /// All entries, but for the names under which own messages are counted: a restored device has new ones.
    fn entries(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let copied: Result<(), BackupError> = self.reader.copy(&mut |mut entry| {
            if let Entry::Contact(stored) = &mut entry {
                stored.contact.incarnation = Incarnation([0; 16]);
            }
            let mut line = Vec::new();
            line::write(&entry, &mut line)?;
            lines.push(String::from_utf8(line).unwrap());
            Ok(())
        });
        copied.unwrap();
        lines
    }

    /// The device that the backup makes in the place of this one.
    fn replaced_with(self, backup: &[u8]) -> Self {
        let Restored { draft, .. } =
            restore(&self.folder, &self.access(), file(backup), &replace(), &mut task()).unwrap();
        let Self { folder, dir, writer, .. } = self;
        writer.close();
        let store = draft.unwrap().publish().unwrap();
        device_of(dir, folder, store)
    }

    fn incarnations(&self) -> Vec<Incarnation> {
        self.state.contacts.iter().map(|stored| stored.contact.incarnation).collect()
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap().map(Result::unwrap);
        let mut files: Vec<_> = entries
            .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
            .collect();
        files.sort();
        files
    }

    fn inbox(&self, consumer: &str) -> Vec<Row> {
        self.reader.read(Read::Inbox { consumer: consumer.to_owned(), cursor: 0, count_max: 9 }).unwrap()
    }
}

/// A device that had not been set up, made of a backup.
fn fresh(backup: &[u8], secret: &str) -> Result<Device, BackupError> {
    let (dir, folder) = empty();
    let plan = Plan { secret: typed(secret), ..Plan::default() };
    let restored = restore(&folder, &Access::NotSetUp, file(backup), &plan, &mut task())?;
    let store = restored.draft.unwrap().publish().unwrap();
    Ok(device_of(dir, folder, store))
}

fn task() -> Task {
    Tasks::new().begin(TaskKind::Import).unwrap()
}

fn replace() -> Plan {
    Plan { replace: true, ..Plan::default() }
}

fn typed(secret: &str) -> Option<Zeroizing<String>> {
    Some(Zeroizing::new(secret.to_owned()))
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn all_of(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn contact(name: &str) -> ContactRecord {
    ContactRecord {
        card: Identity::generate(&mut entropy()).card().clone(),
        name: name.to_owned(),
        state: ContactState::Paired,
        major_min: 1,
        paired_utc_ms: 3,
        seen_utc_ms: 4,
        incarnation: Incarnation([9; 16]),
    }
}

fn id(seq: u64) -> MessageId {
    MessageId(u128::from(seq).to_be_bytes())
}

fn message(seq: u64, direction: Direction, number: u64, body: &[u8]) -> MessageRecord {
    MessageRecord {
        seq,
        id: id(seq),
        direction,
        number,
        incarnation: Incarnation([7; 16]),
        sent_utc_ms: 1_000 + seq,
        clock_trusted: true,
        done_utc_ms: 2_000 + seq,
        state: MessageState::Delivered,
        content_type: "text/plain".to_owned(),
        reply_to: (seq == 3).then(|| id(1)),
        ttl_s: (seq == 2).then_some(60),
        body: body.to_vec(),
    }
}

fn waiting(seq: u64, number: u64) -> MessageRecord {
    MessageRecord {
        state: MessageState::Queued,
        done_utc_ms: 0,
        ..message(seq, Direction::Outgoing, number, b"are you there?")
    }
}

#[test]
fn the_same_device_is_what_it_was_and_counts_anew() {
    let (mut device, ada, _) = Device::with_history();
    let (before, incarnations) = (device.entries(), device.incarnations());
    let backup = device.exported(Form::Encrypted);
    device.commit(vec![
        Op::PutMessage(ada.into(), message(5, Direction::Incoming, 3, b"later")),
        Op::PutConversation(ada.into(), ConversationRecord { last_seq: 5, read_seq: 2, unread: 2, sent_number: 2 }),
        Op::PutContact(contact("Eve")),
    ]);
    assert_ne!(device.entries(), before);
    let device = device.replaced_with(&backup);
    assert_eq!(device.entries(), before);
    let renewed = device.incarnations();
    assert_eq!((renewed.len(), incarnations.iter().any(|old| renewed.contains(old))), (2, false));
    assert!(device.state.contacts.iter().all(|stored| stored.missing.watching));
    assert_eq!(device.state.contacts.iter().map(|stored| stored.outbox_count).sum::<u64>(), 1);
    // The secret stays, and the file of the import is gone.
    assert_eq!(device.keyholder().verify(SECRET.as_bytes()), Ok(()));
    let names: Vec<_> = device.files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["lock", "store.redb"]);
}

#[test]
fn a_fresh_device_with_the_same_secret_becomes_the_device() {
    let (device, ..) = Device::with_history();
    let restored = fresh(&device.exported(Form::Encrypted), SECRET).unwrap();
    assert_eq!(restored.client_id, device.client_id);
    assert_eq!(restored.entries(), device.entries());
    // What is found by a row tag is found again.
    let seqs = |device: &Device, consumer: &str| -> Vec<u64> {
        device.inbox(consumer).into_iter().map(|row| row.message.seq).collect()
    };
    assert_eq!((seqs(&restored, "display"), seqs(&restored, "relay")), (vec![3], vec![2, 3]));
    assert_eq!(restored.keyholder().verify(SECRET.as_bytes()), Ok(()));
}

#[test]
fn a_plain_backup_comes_under_a_new_secret_and_vouches_for_nobody() {
    let (device, ada, _) = Device::with_history();
    let restored = fresh(&device.exported(Form::Plain), "another one").unwrap();
    assert_eq!(restored.client_id, device.client_id);
    assert_eq!(restored.keyholder().verify(b"another one"), Ok(()));
    let stored = restored.state.contacts.iter().find(|stored| stored.contact.client_id() == ada).unwrap();
    assert_eq!(stored.standing, StandingRecord { verified: false, blocked: true });
    let verified = |line: &String| line.replace("\"verified\":true", "\"verified\":false");
    assert_eq!(restored.entries(), device.entries().iter().map(verified).collect::<Vec<_>>());
}

#[test]
fn restored_stores_are_sound_and_restart() {
    let (device, ..) = Device::with_history();
    let Device { writer, folder, dir: _dir, .. } = fresh(&device.exported(Form::Encrypted), SECRET).unwrap();
    writer.close();
    let Found::Locked(locked) = store::open(&folder).unwrap() else { panic!("there is no store") };
    let (_, state, writer, reader) = locked.unlock(SECRET.as_bytes()).unwrap().into_parts();
    assert_eq!((state.contacts.len(), state.inbox_seq), (2, 2));
    let report = reader.check(&mut task()).unwrap();
    assert_eq!((report.damaged, report.findings), (0, Vec::new()));
    writer.close();
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let (device, ..) = Device::with_history();
    let (before, backup) = (device.files(), device.exported(Form::Encrypted));
    let plan = Plan { dry_run: true, ..Plan::default() };
    let restored = restore(&device.folder, &device.access(), file(&backup), &plan, &mut task()).unwrap();
    assert!(restored.draft.is_none());
    let number = SummaryValue::Number;
    let expected = Summary::from([
        ("client_id", SummaryValue::Text(device.client_id.to_string())),
        ("created_ms", number(MADE_MS)),
        ("contacts", number(2)),
        ("messages", number(4)),
        ("waiting", number(1)),
        ("encrypted", SummaryValue::Flag(true)),
        ("replaces", SummaryValue::Flag(true)),
        ("dry_run", SummaryValue::Flag(true)),
    ]);
    assert_eq!(restored.summary, expected);
    assert_eq!(device.files(), before);
}

#[test]
fn who_may_not_open_a_backup_is_told_why() {
    let (device, ..) = Device::with_history();
    let backup = device.exported(Form::Encrypted);
    assert_eq!(fresh(&backup, "wrong").err(), Some(BackupError::WrongSecret));
    assert_eq!(fresh(&backup, "").err(), Some(BackupError::NeedsSecret));
    assert_eq!(fresh(&device.exported(Form::Plain), "\n").err(), Some(BackupError::NeedsSecret));
    let other = Device::new();
    let refused = |plan: &Plan| restore(&other.folder, &other.access(), file(&backup), plan, &mut task()).err();
    assert_eq!(refused(&replace()), Some(BackupError::OtherDevice(device.client_id)));
    let unasked = restore(&device.folder, &device.access(), file(&backup), &Plan::default(), &mut task());
    assert_eq!(unasked.err(), Some(BackupError::NeedsReplace));
}

#[test]
fn after_a_change_of_secret_older_backups_open_with_the_secret_of_their_time() {
    let (device, ..) = Device::with_history();
    let (before, backup) = (device.entries(), device.exported(Form::Encrypted));
    let keyholder = device.keyholder();
    keyholder.change_secret(SECRET.as_bytes(), b"a new one").unwrap();
    let with = |secret: Option<&str>| {
        let plan = Plan { dry_run: true, secret: secret.and_then(typed), ..Plan::default() };
        restore(&device.folder, &device.access(), file(&backup), &plan, &mut task()).err()
    };
    assert_eq!(with(None), Some(BackupError::OtherSecret));
    assert_eq!(with(Some("a new one")), Some(BackupError::WrongSecret));
    let plan = Plan { replace: true, secret: typed(SECRET), ..Plan::default() };
    let restored = restore(&device.folder, &device.access(), file(&backup), &plan, &mut task()).unwrap();
    let Device { folder, dir, writer, .. } = device;
    writer.close();
    let device = device_of(dir, folder, restored.draft.unwrap().publish().unwrap());
    assert_eq!(device.entries(), before);
    assert_eq!(device.keyholder().verify(b"a new one"), Ok(()));
}

#[test]
fn a_consumer_that_was_ahead_of_the_backup_misses_nothing_that_comes() {
    let (mut device, ada, bob) = Device::with_history();
    // What was newest in the inbox goes with its contact, the consumer's place stays.
    device.commit(vec![
        Op::PutMessage(bob.into(), message(1, Direction::Incoming, 1, b"bye")),
        Op::PutInbox { inbox_seq: 3, conversation: bob.into(), peer: bob, seq: 1 },
        Op::PutConversation(bob.into(), ConversationRecord { last_seq: 1, read_seq: 0, unread: 1, sent_number: 0 }),
        Op::PutCursor { consumer: "display".to_owned(), inbox_seq: 3 },
        Op::RemoveContact(bob),
    ]);
    let backup = device.exported(Form::Encrypted);
    let mut device = device.replaced_with(&backup);
    assert_eq!(device.state.inbox_seq, 2);
    device.commit(vec![
        Op::PutMessage(ada.into(), message(5, Direction::Incoming, 9, b"new")),
        Op::PutInbox { inbox_seq: 3, conversation: ada.into(), peer: ada, seq: 5 },
    ]);
    assert_eq!(device.inbox("display").len(), 1);
}

#[test]
fn cancelled_or_locked_work_leaves_nothing_behind() {
    let (device, ..) = Device::with_history();
    let (before, backup) = (device.files(), device.exported(Form::Encrypted));
    let tasks = Tasks::new();
    let mut task = tasks.begin(TaskKind::Import).unwrap();
    tasks.cancel_all();
    let result = restore(&device.folder, &device.access(), file(&backup), &replace(), &mut task);
    assert!(matches!(result, Err(BackupError::Cancelled(_))), "{result:?}");
    let access = device.keyholder().backup().unwrap();
    let export_into = |file: File, task: &mut Task| export(&device.reader, &access, Form::Plain, file, 0, task);
    let result = export_into(tempfile::tempfile().unwrap(), &mut task);
    assert!(matches!(result, Err(BackupError::Cancelled(_))), "{result:?}");
    let mut task = Tasks::new().begin(TaskKind::Export).unwrap();
    let (_, pipe) = std::io::pipe().unwrap();
    let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
    for unusable in [file(b"something"), File::open(device.dir.path()).unwrap(), pipe] {
        let result = export_into(unusable, &mut task);
        assert!(matches!(result, Err(BackupError::Unusable(_))), "{result:?}");
    }
    assert_eq!(device.files(), before);
    // Dropped before it has its place.
    let Restored { draft, .. } =
        restore(&device.folder, &device.access(), file(&backup), &replace(), &mut task).unwrap();
    assert_eq!(device.files().len(), before.len() + 1);
    drop(draft);
    assert_eq!(device.files(), before);
    device.reader.revoke();
    let result = export_into(tempfile::tempfile().unwrap(), &mut task);
    assert_eq!(result.err(), Some(BackupError::Read(ReadError::Locked)));
}
