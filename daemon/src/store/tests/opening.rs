use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt};

use super::{
    super::{CreateError, FolderError, OpenError, UnlockError, table::HEADER},
    *,
};

fn permissions(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Changes one byte of the clear header.
fn change_header(file: &Path, at: usize, change: impl Fn(u8) -> u8) {
    let database = Database::open(file).unwrap();
    let tx = database.begin_write().unwrap();
    {
        let mut rows = tx.open_table(HEADER).unwrap();
        let mut bytes = rows.get(&[][..]).unwrap().unwrap().value().to_vec();
        bytes[at] = change(bytes[at]);
        rows.insert(&[][..], &bytes[..]).unwrap();
    }
    tx.commit().unwrap();
}

#[test]
fn a_new_store_opens_again_with_the_same_identity_and_settings() {
    let dir = folder_for_tests();
    let folder = Folder::open(dir.path()).unwrap();
    assert!(matches!(open(&folder).unwrap(), Found::Empty));
    let identity = identity();
    let (client_id, secret_key) = (identity.client_id(), identity.to_secret_bytes());

    let store = create(&folder, SECRET, identity, DISPLAY_NAME.to_owned()).unwrap();
    let (_, made, writer, _) = store.into_parts();
    writer.close();
    let locked = locked(&folder);
    assert_eq!(locked.client_id(), client_id);
    let (identity, opened, writer, _) = locked.unlock(SECRET).unwrap().into_parts();
    writer.close();

    assert_eq!(identity.to_secret_bytes(), secret_key);
    assert_eq!(opened, made);
    assert_eq!(opened.profile.display_name, DISPLAY_NAME);
    assert_ne!(opened.profile.incarnation, Incarnation([0; 16]));
    assert_eq!((opened.contacts.len(), opened.inbox_seq), (0, 0));
    assert_eq!(permissions(&folder.store_file()), 0o600);
}

#[test]
fn a_wrong_secret_is_refused_and_then_the_right_one_works() {
    let (dir, folder) = Device::new().close();
    let locked = locked(&folder);
    assert_eq!(locked.unlock(b"wrong").unwrap_err(), UnlockError::WrongSecret);
    // A newline that a terminal adds is not part of the secret.
    let store = locked.unlock(&[SECRET, b"\n"].concat()).unwrap();
    drop(store);
    drop(dir);
}

#[test]
fn a_store_is_not_made_over_another() {
    let (dir, folder) = Device::new().close();
    let before = std::fs::read(folder.store_file()).unwrap();
    let error = create(&folder, SECRET, identity(), "x".to_owned()).unwrap_err();
    assert!(matches!(error, CreateError::Exists));
    assert_eq!(std::fs::read(folder.store_file()).unwrap(), before);
    drop(dir);
}

#[test]
fn an_interrupted_set_up_leaves_nothing_in_the_way() {
    let dir = folder_for_tests();
    let folder = Folder::open(dir.path()).unwrap();
    std::fs::write(dir.path().join("store.redb.new"), b"half a store").unwrap();
    assert!(matches!(open(&folder).unwrap(), Found::Empty));
    let store = create(&folder, SECRET, identity(), DISPLAY_NAME.to_owned()).unwrap();
    assert!(!dir.path().join("store.redb.new").exists());
    store.into_parts().2.close();
}

#[test]
fn a_missing_folder_is_made_private() {
    let dir = folder_for_tests();
    let path = dir.path().join("state").join("kith");
    Folder::open(&path).unwrap();
    assert_eq!(permissions(&path), 0o700);
}

#[test]
fn a_folder_that_others_may_enter_is_refused_with_the_command_that_helps() {
    let dir = folder_for_tests();
    let path = dir.path().join("kith");
    DirBuilder::new().mode(0o700).create(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o750)).unwrap();
    let error = Folder::open(&path).unwrap_err();
    assert!(matches!(error, FolderError::Loose { mode: 0o750, .. }));
    assert_eq!(
        error.to_string(),
        format!("{0} is open to other users (mode 0750); run `chmod 0700 {0}`", path.display())
    );
}

#[test]
fn a_file_in_the_folders_place_is_refused() {
    let dir = folder_for_tests();
    let path = dir.path().join("kith");
    std::fs::write(&path, b"").unwrap();
    assert!(matches!(Folder::open(&path).unwrap_err(), FolderError::NotADirectory(_)));
}

#[test]
fn a_folder_in_use_is_refused_until_it_is_free() {
    let dir = folder_for_tests();
    let folder = Folder::open(dir.path()).unwrap();
    let error = Folder::open(dir.path()).unwrap_err();
    assert!(matches!(error, FolderError::InUse(_)));
    assert!(error.to_string().contains("systemctl stop kithd"));
    drop(folder);
    Folder::open(dir.path()).unwrap();
}

#[test]
fn an_open_store_keeps_its_folder_locked() {
    let device = Device::new();
    let path = device.folder.path().to_owned();
    let Device { writer, reader, folder, dir, .. } = device;
    drop(folder);
    assert!(matches!(Folder::open(&path).unwrap_err(), FolderError::InUse(_)));
    writer.close();
    drop(reader);
    Folder::open(&path).unwrap();
    drop(dir);
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    for (at, change) in [(3, 2), (0, 0x03), (0, 0x82)] {
        let (dir, folder) = Device::new().close();
        change_header(&folder.store_file(), at, |_| change);
        let before = std::fs::read(folder.store_file()).unwrap();
        assert_eq!(open(&folder).unwrap_err(), OpenError::Newer);
        assert!(std::fs::read(folder.store_file()).unwrap() == before, "the file has changed");
        drop(dir);
    }
}

#[test]
fn iterations_out_of_range_are_refused_before_any_work() {
    let (dir, folder) = Device::new().close();
    change_header(&folder.store_file(), 41, |_| 0xff);
    let error = open(&folder).unwrap_err();
    assert!(matches!(&error, OpenError::Corrupt(text) if text.contains("iterations")), "{error}");
    drop(dir);
}

#[test]
fn a_changed_header_does_not_open() {
    // The state, the client id, the salt and the wrapped keys.
    for at in [4, 5, 25, 45, 136] {
        let (dir, folder) = Device::new().close();
        change_header(&folder.store_file(), at, |byte| byte ^ 1);
        assert_eq!(locked(&folder).custody(SECRET).map(|_| ()).unwrap_err(), UnlockError::WrongSecret);
        drop(dir);
    }
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let dir = folder_for_tests();
    let folder = Folder::open(dir.path()).unwrap();
    std::fs::write(folder.store_file(), b"not a database at all").unwrap();
    open(&folder).unwrap_err();
    assert_eq!(std::fs::read(folder.store_file()).unwrap(), b"not a database at all");
}

#[test]
fn a_store_survives_a_power_cut_between_commits() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    device.commit(sending(peer, &message(1, Direction::Outgoing, b"still here"))).unwrap();
    // What is on disk while the store is open is what a power cut leaves.
    let left = std::fs::read(device.folder.store_file()).unwrap();
    device.writer.close();

    let dir = folder_for_tests();
    let folder = Folder::open(dir.path()).unwrap();
    std::fs::write(folder.store_file(), left).unwrap();
    let device = Device::unlock(dir, folder);
    assert_eq!(device.stored(peer).conversation.last_seq, 1);
    assert_eq!(device.stored(peer).outbox_count, 1);
}
