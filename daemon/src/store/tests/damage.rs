use kith_engine::{Load, Loaded};

use super::{
    super::{ReadError, UnlockError},
    *,
};

/// A store with two messages and an outbox, closed.
fn closed() -> (TempDir, Folder, ClientId) {
    let (mut device, peer) = Device::new().with_contact("Ada");
    for seq in 1..=2 {
        device.commit(sending(peer, &message(seq, Direction::Outgoing, b"a body of some length"))).unwrap();
    }
    device.commit(receiving(peer, &message(3, Direction::Incoming, b"z"), 1)).unwrap();
    let (dir, folder) = device.close();
    (dir, folder, peer)
}

/// Flips one bit of a sealed value where it lies in the file.
fn flip_in_file(file: &Path, sealed: &[u8], at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    let places: Vec<_> = (0..bytes.len() - sealed.len()).filter(|at| bytes[*at..].starts_with(sealed)).collect();
    assert!(!places.is_empty());
    // Old copies of a page may still lie there.
    for place in places {
        bytes[place + at] ^= 1;
    }
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_flipped_bit_in_a_message_fails_its_page_and_names_the_table() {
    let (dir, folder, peer) = closed();
    let (_, sealed) = raw_rows(&folder.store_file(), Table::Messages).remove(1);
    flip_in_file(&folder.store_file(), &sealed, 40);
    let device = Device::unlock(dir, folder);
    let error = device.reader.read(Read::History { conversation: peer.into(), after: 0, count_max: 9 }).unwrap_err();
    let ReadError::Corrupt(text) = error else { panic!("{error:?}") };
    assert!(text.contains("`messages`") && text.contains("one message"), "{text}");
    // What is not damaged is still there.
    assert_eq!(
        device.reader.read(Read::History { conversation: peer.into(), after: 0, count_max: 1 }).unwrap().len(),
        1
    );
    assert!(matches!(
        device.reader.load(Load::Outbox { conversation: peer.into(), peer, after: 0, count_max: 9 }),
        Loaded::Failed(_)
    ));
}

#[test]
fn a_commit_that_meets_damage_fails_alone() {
    let (dir, folder, peer) = closed();
    let (row_key, mut sealed) = raw_rows(&folder.store_file(), Table::Messages).remove(0);
    sealed[20] ^= 1;
    put_raw(&folder.store_file(), Table::Messages, &row_key, &sealed);
    let mut device = Device::unlock(dir, folder);
    let error = device
        .commit(vec![Op::Delivered { conversation: peer.into(), peer, number: 1, seq: 1, utc_ms: 1 }])
        .unwrap_err();
    assert!(matches!(error, CommitError::Failed(text) if text.contains("`messages`")));
    device.commit(vec![Op::Delivered { conversation: peer.into(), peer, number: 2, seq: 2, utc_ms: 1 }]).unwrap();
}

#[test]
fn a_flipped_bit_in_what_is_read_at_the_start_keeps_the_store_locked() {
    for table in [Table::Own, Table::Contacts, Table::Conversations] {
        let (dir, folder, _) = closed();
        let (row_key, mut sealed) = raw_rows(&folder.store_file(), table).remove(0);
        sealed[14] ^= 1;
        put_raw(&folder.store_file(), table, &row_key, &sealed);
        let error = locked(&folder).open_with(&template().1).unwrap_err();
        let UnlockError::Corrupt(text) = error else { panic!("{error:?}") };
        assert!(text.contains(&format!("`{table}`")) && text.contains(table.affects()), "{text}");
        drop(dir);
    }
}

#[test]
fn a_sealed_value_does_not_open_in_another_row() {
    let (dir, folder, peer) = closed();
    let rows = raw_rows(&folder.store_file(), Table::Messages);
    put_raw(&folder.store_file(), Table::Messages, &rows[0].0, &rows[1].1);
    let device = Device::unlock(dir, folder);
    let error = device.reader.read(Read::History { conversation: peer.into(), after: 0, count_max: 9 }).unwrap_err();
    assert!(matches!(error, ReadError::Corrupt(_)));
}

#[test]
fn a_sealed_value_does_not_open_in_another_table() {
    let (dir, folder, _) = closed();
    // Both tables have the same row keys.
    let (row_key, sealed) = raw_rows(&folder.store_file(), Table::Conversations).remove(0);
    put_raw(&folder.store_file(), Table::Contacts, &row_key, &sealed);
    assert!(matches!(locked(&folder).open_with(&template().1).unwrap_err(), UnlockError::Corrupt(_)));
    drop(dir);
}

#[test]
fn plaintext_is_never_accepted() {
    let (dir, folder, peer) = closed();
    let (row_key, _) = raw_rows(&folder.store_file(), Table::Messages).remove(0);
    for plain in [&br#"{"version":0,"body":"hello"}"#[..], b"", b"\x01", b"\x30\x00\x00"] {
        put_raw(&folder.store_file(), Table::Messages, &row_key, plain);
        let (_, _, door, _) = locked(&folder).open_door(&template().1).unwrap();
        let error = Reader::new(door.clone())
            .read(Read::History { conversation: peer.into(), after: 0, count_max: 9 })
            .unwrap_err();
        assert!(matches!(error, ReadError::Corrupt(_)), "{error:?}");
        door.close();
    }
    drop(dir);
}

#[test]
fn a_message_that_the_outbox_points_to_and_that_is_gone_is_named() {
    let (dir, folder, peer) = closed();
    let (row_key, _) = raw_rows(&folder.store_file(), Table::Messages).remove(0);
    {
        let database = Database::open(folder.store_file()).unwrap();
        let tx = database.begin_write().unwrap();
        tx.open_table(Table::Messages.definition()).unwrap().remove(&row_key[..]).unwrap();
        tx.commit().unwrap();
    }
    let device = Device::unlock(dir, folder);
    match device.reader.load(Load::Outbox { conversation: peer.into(), peer, after: 0, count_max: 9 }) {
        Loaded::Failed(text) => assert!(text.contains("`messages` is missing"), "{text}"),
        other => panic!("{other:?}"),
    }
}
