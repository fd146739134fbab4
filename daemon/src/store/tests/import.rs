//! A store that is made of entries, on disks that fail.

use kith_engine::ConversationRecord;

use super::*;
use crate::handle::Read;
use crate::store::{CreateError, Draft, DraftError, DraftHead, DraftSecret, Entry, ReadError, folder::IMPORT_FILE};

/// All that a store holds.
pub(super) fn entries(reader: &Reader) -> Vec<Entry> {
    let mut entries = Vec::new();
    let copied: Result<(), ReadError> = reader.copy(&mut |entry| {
        entries.push(entry);
        Ok(())
    });
    copied.unwrap();
    entries
}

/// Begins a draft, and puts all of them in.
pub(super) fn filled(folder: &Folder, entries: Vec<Entry>, secret: &DraftSecret<'_>) -> Result<Draft, DraftError> {
    let mut rest = entries.into_iter();
    let (Some(Entry::Identity(identity)), Some(Entry::TagKey(tag_key)), Some(Entry::Profile(profile))) =
        (rest.next(), rest.next(), rest.next())
    else {
        panic!("the head comes first")
    };
    let head = DraftHead { identity: *identity, tag_key: Some(*tag_key), display_name: profile.display_name };
    let mut draft = Draft::begin(folder, head, secret)?;
    rest.try_for_each(|entry| draft.put(&entry))?;
    Ok(draft)
}

/// Every message of a conversation.
pub(super) fn messages(reader: &Reader, peer: ClientId) -> Vec<MessageRecord> {
    let rows = reader.read(Read::History { conversation: peer.into(), after: 0, count_max: 256 }).unwrap();
    rows.into_iter().map(|row| row.message).collect()
}

/// The next message of a contact, with the counters that a copy goes by.
pub(super) fn incoming(peer: ClientId, seq: u64, body: &[u8]) -> Vec<Op> {
    let conversation = ConversationRecord { last_seq: seq, unread: seq, ..ConversationRecord::default() };
    let mut ops = receiving(peer, &message(seq, Direction::Incoming, body), seq);
    ops.push(Op::PutConversation(peer.into(), conversation));
    ops
}

fn device() -> (Device, Arc<Faults>, ClientId) {
    let (device, faults) = Device::on_false_disk();
    let (mut device, peer) = device.with_contact("Ada");
    device.commit(incoming(peer, 1, b"received")).unwrap();
    (device, faults, peer)
}

#[test]
fn an_import_that_finds_no_room_leaves_the_store_in_use_and_nothing_behind() {
    let (mut device, faults, peer) = device();
    let before = entries(&device.reader).len();
    let keyholder = device.writer.keyholder();
    let attempt = |device: &Device| filled(&device.folder, entries(&device.reader), &DraftSecret::OfStore(&keyholder));
    faults.set_out_of_room(true);
    assert!(matches!(attempt(&device), Err(DraftError::Create(CreateError::Full))));
    faults.set_out_of_room(false);
    faults.set_writes_fail(true);
    assert!(attempt(&device).is_err());
    faults.set_writes_fail(false);
    assert!(!device.folder.path().join(IMPORT_FILE).exists());
    device.commit(incoming(peer, 2, b"goes on")).unwrap();
    assert_eq!(entries(&device.reader).len(), before + 2);
    drop(attempt(&device).unwrap().complete().unwrap());
    assert!(!device.folder.path().join(IMPORT_FILE).exists());
}

#[test]
fn what_an_interrupted_import_has_left_goes_at_the_next_start() {
    let (device, _, peer) = device();
    let (dir, folder) = device.close();
    std::fs::write(dir.path().join(IMPORT_FILE), b"half of it").unwrap();
    let device = Device::unlock(dir, folder);
    assert!(!device.folder.path().join(IMPORT_FILE).exists());
    assert_eq!(messages(&device.reader, peer).len(), 1);
}
