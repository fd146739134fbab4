use std::os::unix::fs::MetadataExt;

use kith_crypto::vault::{StoreKeys, TagKey};
use kith_engine::{ConversationRecord, Mark, ProfileRecord};

use super::{
    super::{
        CreateError, PlainStore, ReadError, UnlockError,
        custody::Wrapping,
        disk::Disk,
        header::Phase,
        setup,
        table::{self, IDENTITY_KEY, Keys, NEXT_CONVERSATION_KEY, PROFILE_KEY, SEALS_KEY},
        value::{self, CursorRow, IdRow, InboxRow, KeyRow, MarksRow, NextConversation, OutboxRow, PeerRow, Stored},
        version0,
    },
    *,
};
use crate::plain::Plain;

const TAG_KEY: [u8; 32] = [0x37; 32];
const BODY: &str = "meet me at the north gate at nine";
const NAME: &str = "Wilhelmina of the third floor";
const MESSAGES: u64 = 150;

/// A piece of what lies in clear in each message.
pub(in crate::store::tests) const PLAINTEXT: &[u8] = b"\"type\":\"text/plain\"";

/// What a provisioning tool makes: a device's store with contacts and a history, all in clear.
pub(in crate::store::tests) struct Provisioned {
    pub(in crate::store::tests) dir: TempDir,
    pub(in crate::store::tests) folder: Folder,
    pub(in crate::store::tests) peer: ClientId,
    pub(in crate::store::tests) history: Vec<MessageRecord>,
    /// What must not be found in the end.
    secrets: Vec<Vec<u8>>,
}

pub(in crate::store::tests) fn provisioned(messages: u64) -> Provisioned {
    let dir = folder_for_tests();
    let folder = Folder::open(dir.path()).unwrap();
    let identity = identity();
    let keys = Arc::new(StoreKeys::with_tags(TagKey::from_bytes(TAG_KEY), &mut UnwrapErr(SysRng)));
    let custody = Custody::new(wrapping_of_nothing(identity.client_id()), keys, Phase::Sealed);
    folder.make_new_file().unwrap();
    let profile = ProfileRecord { display_name: DISPLAY_NAME.to_owned(), incarnation: Incarnation([1; 16]) };
    setup::write_new(&Disk::new_of(&folder), &custody, &identity, &profile).unwrap();
    folder.publish_new_file().unwrap();

    let secret = identity.to_secret_bytes();
    let store = locked(&folder).open_with(&custody).unwrap();
    let (mut device, peer) = Device::with(dir, folder, store).with_contact(NAME);
    for seq in 1..=messages {
        let body = format!("{BODY}, number {seq}");
        if seq % 3 == 0 {
            device.commit(sending(peer, &message(seq, Direction::Outgoing, body.as_bytes()))).unwrap();
        } else {
            device.commit(receiving(peer, &message(seq, Direction::Incoming, body.as_bytes()), seq)).unwrap();
        }
    }
    device.commit(vec![Op::ClaimKey { conversation: peer.into(), key: "order 7".to_owned(), id: id(3) }]).unwrap();
    device.commit(vec![Op::PutCursor { consumer: "display".to_owned(), inbox_seq: 2 }]).unwrap();
    device
        .commit(vec![Op::PutMarks {
            conversation: peer.into(),
            peer,
            marks: vec![Mark { incarnation: Incarnation([7; 16]), number: 5 }],
        }])
        .unwrap();
    let history = history(&device.reader, peer);
    let (dir, folder) = device.close();
    lay_open(&folder, &custody);
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes).into_bytes();
    let mut secrets = vec![NAME.into(), DISPLAY_NAME.into(), b"text/plain".to_vec()];
    secrets.extend([hex(&secret[..32]), hex(&secret[32..]), hex(&history[0].id.0), hex(peer.as_bytes())]);
    // All bodies begin with it, and lie there in Base64.
    secrets.push(data_encoding::BASE64.encode(BODY.as_bytes()).into_bytes());
    secrets.extend([BODY.into(), secret[..32].to_vec(), TAG_KEY.to_vec()]);
    Provisioned { dir, folder, peer, history, secrets }
}

/// The keys of the fixture are thrown away, so no secret has to be good.
fn wrapping_of_nothing(client_id: ClientId) -> Wrapping {
    Wrapping::new(b"thrown away", client_id).unwrap()
}

/// Writes every value of a sealed store in clear, and the header, too.
fn lay_open(folder: &Folder, custody: &Custody) {
    let keys = custody.table_keys();
    let mut rows = Vec::new();
    for table in Table::ALL {
        for (row_key, value) in raw_rows(&folder.store_file(), table) {
            // What version 0 does not have: counts, which are made anew.
            let is_count = match table {
                Table::Own => row_key == SEALS_KEY,
                Table::Conversations => row_key.len() > table::conversation_key(0).len(),
                _ => false,
            };
            if !is_count {
                rows.push((table, row_key.clone(), in_clear(&keys, table, &row_key, &value)));
            }
        }
    }
    // A file of its own, as a tool would make it.
    std::fs::remove_file(folder.store_file()).unwrap();
    let database = Database::create(folder.store_file()).unwrap();
    let tx = database.begin_write().unwrap();
    for (table, row_key, value) in rows {
        tx.open_table(table.definition()).unwrap().insert(&row_key[..], &value[..]).unwrap();
    }
    let header = [&[0, 0, 53, 1][..], custody.backup_access().client_id.as_bytes(), &TAG_KEY].concat();
    tx.open_table(HEADER).unwrap().insert(&[][..], &header[..]).unwrap();
    tx.commit().unwrap();
    drop(database);
    std::fs::set_permissions(folder.store_file(), PermissionsExt::from_mode(0o600)).unwrap();
}

fn in_clear(keys: &Keys, table: Table, row_key: &[u8], value: &[u8]) -> Vec<u8> {
    fn json<S: Stored + Plain>(keys: &Keys, row_key: &[u8], value: &[u8]) -> Vec<u8> {
        let record: S = value::open(keys, row_key, value).unwrap();
        [&[0][..], &serde_json::to_vec(&record.to_object()).unwrap()].concat()
    }
    let json = match table {
        Table::Own if row_key == IDENTITY_KEY => json::<Identity>,
        Table::Own if row_key == PROFILE_KEY => json::<ProfileRecord>,
        Table::Own => json::<NextConversation>,
        Table::Peers => json::<PeerRow>,
        Table::Contacts => json::<ContactRecord>,
        Table::Conversations => json::<ConversationRecord>,
        Table::Marks => json::<MarksRow>,
        Table::Messages => json::<MessageRecord>,
        Table::Ids => json::<IdRow>,
        Table::Keys => json::<KeyRow>,
        Table::Outbox => json::<OutboxRow>,
        Table::Inbox => json::<InboxRow>,
        Table::Cursors => json::<CursorRow>,
        Table::Rooms | Table::Expiring => panic!("there are none in clear"),
    };
    json(keys, row_key, value)
}

fn plain(folder: &Folder) -> PlainStore {
    match open(folder).unwrap() {
        Found::Plain(store) => store,
        Found::Empty | Found::Locked(_) => panic!("there is no store in clear"),
    }
}

/// Sets it up and takes it below its writer thread.
fn set_up(provisioned: Provisioned) -> (Provisioned, Arc<Door>, Sealer) {
    let store = plain(&provisioned.folder).set_up(SECRET, None).unwrap();
    store.into_parts().2.close();
    let custody = locked(&provisioned.folder).custody(SECRET).unwrap();
    let (_, _, door, sealer) = locked(&provisioned.folder).open_door(&custody).unwrap();
    (provisioned, door, sealer)
}

/// Every byte of every file of the folder.
fn raw_bytes(folder: &Folder) -> Vec<u8> {
    let files = std::fs::read_dir(folder.path()).unwrap();
    files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

fn found_in(secrets: &[Vec<u8>], bytes: &[u8]) -> Vec<String> {
    let is_there = |secret: &&Vec<u8>| bytes.windows(secret.len()).any(|window| window == &secret[..]);
    secrets.iter().filter(is_there).map(|secret| String::from_utf8_lossy(secret).into_owned()).collect()
}

#[track_caller]
fn pinned<S: Plain>(record: &S, json: &str) {
    assert_eq!(serde_json::to_string(&record.to_object()).unwrap(), json);
    let value = [&[0], json.as_bytes()].concat();
    let read: S = version0::read(&value).unwrap();
    assert_eq!(serde_json::to_string(&read.to_object()).unwrap(), json);
    for refused in
        [json.replace('{', "{\"more\":1,"), json.replace(':', ""), format!("{json}x"), json.replace('"', "'")]
    {
        assert!(version0::read::<S>(&[&[0], refused.as_bytes()].concat()).is_none(), "{refused}");
    }
    assert!(version0::read::<S>(&[&[1], json.as_bytes()].concat()).is_none());
}

#[test]
fn the_objects_of_version_0() {
    let i7 = "07".repeat(16);
    let identity = identity();
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let secret = identity.to_secret_bytes();
    let json = format!(r#"{{"signing":"{}","agreement":"{}"}}"#, hex(&secret[..32]), hex(&secret[32..]));
    pinned(&identity, &json);
    let profile = ProfileRecord { display_name: "Kiosk".to_owned(), incarnation: Incarnation([7; 16]) };
    pinned(&profile, &format!(r#"{{"display_name":"Kiosk","incarnation":"{i7}"}}"#));
    pinned(&NextConversation(3), r#"{"conversation":3}"#);
    pinned(&PeerRow(2), r#"{"conversation":2}"#);
    let contact = contact("Ada");
    let card = hex(contact.card.as_bytes());
    let incarnation = "06".repeat(16);
    pinned(
        &contact,
        &format!(
            r#"{{"card":"{card}","name":"Ada","state":"paired","major_min":1,"paired_ms":1800000000000,"seen_ms":0,"incarnation":"{incarnation}"}}"#
        ),
    );
    let conversation = ConversationRecord { last_seq: 4, read_seq: 3, unread: 2, sent_number: 1 };
    pinned(&conversation, r#"{"last_seq":4,"read_seq":3,"unread":2,"sent_number":1}"#);
    let marks = MarksRow(vec![Mark { incarnation: Incarnation([7; 16]), number: 5 }]);
    pinned(&marks, &format!(r#"{{"marks":[{{"incarnation":"{i7}","number":5}}]}}"#));
    let mut record = message(1, Direction::Outgoing, "Grüße".as_bytes());
    record.id = MessageId([0x1a; 16]);
    record.reply_to = Some(MessageId([0x1b; 16]));
    record.ttl_s = Some(60);
    let (id, reply_to) = ("1a".repeat(16), "1b".repeat(16));
    pinned(
        &record,
        &format!(
            r#"{{"seq":1,"id":"{id}","direction":"outgoing","number":1,"incarnation":"{i7}","sent_ms":1800000000001,"clock_trusted":true,"done_ms":0,"state":"queued","type":"text/plain","reply_to":"{reply_to}","ttl_s":60,"body":"R3LDvMOfZQ=="}}"#
        ),
    );
    pinned(&IdRow(9), r#"{"seq":9}"#);
    pinned(&OutboxRow(9), r#"{"seq":9}"#);
    pinned(&KeyRow(MessageId([0x1a; 16])), &format!(r#"{{"id":"{id}"}}"#));
    let inbox = InboxRow { peer: ClientId::from_bytes([5; 20]), number: 2, seq: 9 };
    pinned(&inbox, &format!(r#"{{"peer":"{}","conversation":2,"seq":9}}"#, "05".repeat(20)));
    pinned(&CursorRow(9), r#"{"inbox_seq":9}"#);
}

#[test]
fn a_store_in_clear_waits_for_its_first_secret_and_is_readable_at_once() {
    let provisioned = provisioned(30);
    let found = plain(&provisioned.folder);
    let store = found.set_up(SECRET, Some("Renamed".to_owned())).unwrap();
    let (identity, state, writer, reader) = store.into_parts();
    assert_eq!(identity.client_id(), found.client_id());
    assert_eq!(state.profile.display_name, "Renamed");
    assert_eq!(history(&reader, provisioned.peer), provisioned.history);
    writer.close();
    let locked = locked(&provisioned.folder);
    assert_eq!(locked.client_id(), found.client_id());
    assert_eq!(locked.unlock(b"another").unwrap_err(), UnlockError::WrongSecret);
    assert!(matches!(found.set_up(b"another", None), Err(CreateError::Failed(_))), "it has a secret already");
    locked.unlock(SECRET).unwrap();
}

#[test]
fn what_is_claimed_and_acknowledged_in_clear_stays_so() {
    let (provisioned, door, sealer) = set_up(provisioned(30));
    let peer = provisioned.peer;
    let mut group = GroupCommit::new(door.clone(), sealer);
    for _ in 0..2 {
        let again = vec![Op::ClaimKey { conversation: peer.into(), key: "order 7".to_owned(), id: id(9) }];
        assert_eq!(group.write(&[commit(1, again)]), [Err(CommitError::Repeated(id(3)))]);
        let again = receiving(peer, &message(1, Direction::Incoming, b"x"), 99);
        assert_eq!(group.write(&[commit(2, again)]), [Err(CommitError::Conflict(id(1)))]);
        let fetch = Read::Inbox { consumer: "display".to_owned(), cursor: 0, count_max: 1 };
        assert_eq!(Reader::new(door.clone()).read(fetch).unwrap()[0].inbox_seq, 4);
        finish_chores(&mut group);
    }
    group.close();
}

#[test]
fn after_the_sweep_no_plaintext_is_found_anywhere_and_none_is_accepted() {
    let provisioned = provisioned(MESSAGES);
    let before = raw_bytes(&provisioned.folder);
    let (provisioned, door, sealer) = set_up(provisioned);
    let inode = std::fs::metadata(provisioned.folder.store_file()).unwrap().ino();
    // The search finds what is there: all but the two that lie there in another form.
    assert_eq!(found_in(&provisioned.secrets, &before).len(), provisioned.secrets.len() - 2);

    let mut group = GroupCommit::new(door.clone(), sealer);
    let steps = finish_chores(&mut group);
    assert!(steps > 5, "{steps} steps");
    let reader = Reader::new(door);
    assert_eq!(history(&reader, provisioned.peer), provisioned.history);
    assert_eq!(found_in(&provisioned.secrets, &raw_bytes(&provisioned.folder)), [""; 0]);
    group.close();
    let after = raw_bytes(&provisioned.folder);
    assert_eq!(found_in(&provisioned.secrets, &after), [""; 0]);
    assert_ne!(std::fs::metadata(provisioned.folder.store_file()).unwrap().ino(), inode, "it is a fresh file");
    assert_eq!(raw_header(&provisioned.folder)[..5], [2, 0, 134, 1, 1]);
    for table in Table::ALL {
        assert!(raw_rows(&provisioned.folder.store_file(), table).iter().all(|row| row.1[0] == 1), "{table}");
    }

    // A value in clear that somebody puts there afterwards.
    let plain = [&[0], serde_json::to_vec(&provisioned.history[0].to_object()).unwrap().as_slice()].concat();
    put_raw(&provisioned.folder.store_file(), Table::Messages, &table::place_key(1, 1), &plain);
    let custody = locked(&provisioned.folder).custody(SECRET).unwrap();
    let store = locked(&provisioned.folder).open_with(&custody).unwrap();
    let (_, _, writer, reader) = store.into_parts();
    let error =
        reader.read(Read::History { conversation: provisioned.peer.into(), after: 0, count_max: 9 }).unwrap_err();
    assert!(matches!(&error, ReadError::Corrupt(text) if text.contains("`messages`")), "{error}");
    writer.close();
}

#[test]
fn a_sweep_that_is_interrupted_after_any_step_comes_to_its_end() {
    let (provisioned, door, sealer) = set_up(provisioned(MESSAGES));
    let custody = locked_while_open(&door);
    let mut group = GroupCommit::new(door, sealer);
    let (mut steps, mut left) = (0, usize::MAX);
    loop {
        for _ in 0..steps {
            if !group.is_idle() {
                group.step();
            }
        }
        if group.is_idle() {
            break;
        }
        group.close();
        let in_clear = plain_rows(&provisioned.folder);
        assert!(in_clear <= left, "what is sealed stays sealed");
        left = in_clear;
        steps += 1;
        let (_, _, door, sealer) = locked(&provisioned.folder).open_door(&custody).unwrap();
        group = GroupCommit::new(door, sealer);
    }
    assert!(steps > 5, "{steps}");
    group.close();
    assert_eq!(plain_rows(&provisioned.folder), 0);
    assert_eq!(found_in(&provisioned.secrets, &raw_bytes(&provisioned.folder)), [""; 0]);
}

fn locked_while_open(door: &Door) -> Custody {
    door.custody().unwrap()
}

fn plain_rows(folder: &Folder) -> usize {
    Table::ALL.into_iter().flat_map(|table| raw_rows(&folder.store_file(), table)).filter(|row| row.1[0] == 0).count()
}

#[test]
fn a_value_in_clear_that_does_not_parse_is_kept_and_named() {
    let provisioned = provisioned(10);
    put_raw(&provisioned.folder.store_file(), Table::Messages, &table::place_key(1, 4), b"\0{\"body\":\"cut o");
    let (provisioned, door, sealer) = set_up(provisioned);
    let mut group = GroupCommit::new(door.clone(), sealer);
    finish_chores(&mut group);
    let reader = Reader::new(door);
    let read = |after| reader.read(Read::History { conversation: provisioned.peer.into(), after, count_max: 1 });
    assert_eq!(read(2).unwrap().len(), 1);
    assert!(matches!(read(3), Err(ReadError::Corrupt(text)) if text.contains("does not parse")));
    assert_eq!(read(4).unwrap().len(), 1);
    group.close();
    assert_eq!(plain_rows(&provisioned.folder), 1);
    assert_eq!(raw_header(&provisioned.folder)[4], 0, "it is not sealed to its end");
}

#[test]
fn a_store_in_clear_whose_identity_is_not_its_headers_is_refused_and_left_as_it_was() {
    let provisioned = provisioned(3);
    let other = [&[0], serde_json::to_vec(&identity().to_object()).unwrap().as_slice()].concat();
    put_raw(&provisioned.folder.store_file(), Table::Own, &IDENTITY_KEY, &other);
    let error = plain(&provisioned.folder).set_up(SECRET, None).unwrap_err();
    assert!(error.to_string().contains("`own`"), "{error}");
    assert_eq!(raw_header(&provisioned.folder)[0], 0);
    drop(provisioned.dir);
}

#[test]
fn next_conversation_numbers_go_on_after_the_migration() {
    let (provisioned, door, sealer) = set_up(provisioned(3));
    let mut group = GroupCommit::new(door, sealer);
    let next = contact("Next");
    assert_eq!(group.write(&[commit(1, vec![Op::PutContact(next)])]), [Ok(())]);
    finish_chores(&mut group);
    group.close();
    let rows = raw_rows(&provisioned.folder.store_file(), Table::Contacts);
    assert_eq!(rows.iter().map(|row| row.0.clone()).collect::<Vec<_>>(), [[0, 0, 0, 1], [0, 0, 0, 2]]);
    assert!(raw_rows(&provisioned.folder.store_file(), Table::Own).iter().any(|row| row.0 == NEXT_CONVERSATION_KEY));
}
