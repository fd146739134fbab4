use kith_crypto::vault::{DataKey, MasterKey, StoreKeys};

use super::{
    super::{ChangeError, UnlockError, custody::Wrapping, disk::Disk, header::Phase, setup},
    *,
};

const NEW_SECRET: &[u8] = b"a tram called desire";

fn bodies(device: &Device, peer: ClientId) -> Vec<Vec<u8>> {
    let rows = device.reader.read(Read::History { conversation: peer.into(), after: 0, count_max: 100 }).unwrap();
    rows.into_iter().map(|row| row.message.body).collect()
}

#[test]
fn after_a_change_only_the_new_secret_opens_the_store() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    device.commit(sending(peer, &message(1, Direction::Outgoing, b"before"))).unwrap();
    let rows = raw_rows_while_open(&device, Table::Messages);
    device.writer.keyholder().change_secret(SECRET, NEW_SECRET).unwrap();
    device.commit(sending(peer, &message(2, Direction::Outgoing, b"after"))).unwrap();
    assert_eq!(raw_rows_while_open(&device, Table::Messages)[0], rows[0], "no value is written anew");

    let (dir, folder) = device.close();
    let locked = locked(&folder);
    assert_eq!(locked.unlock(SECRET).unwrap_err(), UnlockError::WrongSecret);
    let store = locked.unlock(NEW_SECRET).unwrap();
    let device = Device::with(dir, folder, store);
    assert_eq!(bodies(&device, peer), [b"before".to_vec(), b"after".to_vec()]);
    // And again, from the changed one.
    device.writer.keyholder().change_secret(NEW_SECRET, SECRET).unwrap();
    let (_dir, folder) = device.close();
    super::locked(&folder).unlock(SECRET).unwrap();
}

#[test]
fn the_backup_key_goes_with_the_secret() {
    let device = Device::new();
    let keyholder = device.writer.keyholder();
    let key = |secret: &[u8]| {
        let access = keyholder.backup().unwrap();
        let master = MasterKey::derive(secret, &access.client_id, &access.salt, access.iterations).unwrap();
        assert_eq!(access.client_id, device.client_id);
        assert_eq!(access.key.as_bytes(), master.backup_key().as_bytes());
        *access.key.as_bytes()
    };
    let old = key(SECRET);
    keyholder.change_secret(SECRET, NEW_SECRET).unwrap();
    assert_ne!(key(NEW_SECRET), old);
    device.reader.revoke();
    assert!(keyholder.backup().is_none());
}

#[test]
fn a_wrong_old_secret_changes_nothing() {
    let device = Device::new();
    let keyholder = device.writer.keyholder();
    assert_eq!(keyholder.change_secret(b"guess", NEW_SECRET), Err(ChangeError::WrongSecret));
    let (_dir, folder) = device.close();
    locked(&folder).unlock(SECRET).unwrap();
    assert_eq!(keyholder.change_secret(SECRET, NEW_SECRET), Err(ChangeError::Locked));
}

#[test]
fn a_change_that_cannot_be_written_keeps_the_old_secret() {
    let (device, faults) = Device::on_false_disk();
    faults.set_writes_fail(true);
    let keyholder = device.writer.keyholder();
    assert!(keyholder.change_secret(SECRET, NEW_SECRET).is_err());
    faults.set_writes_fail(false);
    let (_dir, folder) = device.close();
    locked(&folder).unlock(SECRET).unwrap();
}

#[test]
fn a_sync_that_fails_after_the_change_is_on_disk_counts_as_a_change() {
    let (device, faults) = Device::on_false_disk();
    faults.fail_sync(2);
    device.writer.keyholder().change_secret(SECRET, NEW_SECRET).unwrap();
    let (_dir, folder) = device.close();
    locked(&folder).unlock(NEW_SECRET).unwrap();
}

/// A store as earlier versions made it: its header wraps the data key alone.
#[test]
fn a_store_of_the_first_kind_opens_and_gets_the_next_kind_with_its_next_secret() {
    let dir = folder_for_tests();
    let folder = Folder::open(dir.path()).unwrap();
    let mut rng = UnwrapErr(SysRng);
    let identity = identity();
    let client_id = identity.client_id();
    let data = DataKey::generate(&mut rng);
    let wrapped_alone = {
        let keys = Arc::new(StoreKeys::from_data_key(DataKey::generate(&mut rng)));
        Custody::new(Wrapping::new(SECRET, client_id).unwrap(), keys, Phase::Sealed).of_first_kind(data)
    };
    folder.make_new_file().unwrap();
    let profile = kith_engine::ProfileRecord { display_name: "Old".to_owned(), incarnation: Incarnation([1; 16]) };
    setup::write_new(&Disk::new_of(&folder), &wrapped_alone, &identity, &profile).unwrap();
    folder.publish_new_file().unwrap();
    assert_eq!(raw_header(&folder)[0], 1);
    assert_eq!(raw_header(&folder).len(), 104);

    let (mut device, peer) =
        Device::with(dir, folder.clone(), locked(&folder).unlock(SECRET).unwrap()).with_contact("Ada");
    device.commit(receiving(peer, &message(1, Direction::Incoming, b"old"), 1)).unwrap();
    device.writer.keyholder().change_secret(SECRET, NEW_SECRET).unwrap();
    let (dir, folder) = device.close();
    assert_eq!(raw_header(&folder)[0], 2);
    let mut device = Device::with(dir, folder.clone(), locked(&folder).unlock(NEW_SECRET).unwrap());
    assert_eq!(bodies(&device, peer), [b"old".to_vec()]);
    // Its row tags are what they were: the same id is known.
    let again = device.commit(receiving(peer, &message(1, Direction::Incoming, b"old"), 2));
    assert_eq!(again, Err(CommitError::Conflict(id(1))));
}
