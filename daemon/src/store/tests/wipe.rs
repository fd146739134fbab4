use super::{
    super::{Attempts, folder::STORE_FILE, header::HEADER_BYTES_MAX, wipe},
    simulated::{Cut, SimulatedDisk},
    *,
};

fn names(folder: &Folder) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A store with some history, closed; the secret has been changed, so that there are old headers.
fn used() -> (TempDir, Folder, ClientId) {
    let (mut device, peer) = Device::new().with_contact("Ada");
    for seq in 1..=20 {
        device.commit(receiving(peer, &message(seq, Direction::Incoming, b"x"), seq)).unwrap();
    }
    device.writer.keyholder().change_secret(SECRET, b"another").unwrap();
    device.writer.keyholder().change_secret(b"another", SECRET).unwrap();
    let client_id = device.client_id;
    let (dir, folder) = device.close();
    Attempts::open(&folder).unwrap();
    Attempts::open_for_pins(&folder).unwrap();
    (dir, folder, client_id)
}

#[test]
fn a_wiped_folder_needs_a_set_up_and_keeps_only_what_guards_it() {
    let (_dir, folder, client_id) = used();
    std::fs::write(folder.path().join("store.redb.new"), b"half a store").unwrap();
    wipe::wipe(&folder, &client_id).unwrap();
    assert_eq!(names(&folder), ["attempts", "lock", "pin-attempts"]);
    assert!(matches!(open(&folder).unwrap(), Found::Empty));
    create(&folder, b"another secret", identity(), DISPLAY_NAME.to_owned()).unwrap().into_parts().2.close();
}

#[test]
fn no_header_is_left_in_the_file_before_it_is_removed() {
    let (_dir, folder, client_id) = used();
    let id = client_id.as_bytes();
    // What earlier headers leave in free pages, so many that some lie across the borders of the search.
    let mut bytes = std::fs::read(folder.store_file()).unwrap();
    let first_free = bytes.len();
    bytes.resize(first_free + 600 * 1024, 0x5a);
    for at in (first_free..bytes.len() - id.len()).step_by(1_009) {
        bytes[at..at + id.len()].copy_from_slice(id);
    }
    std::fs::write(folder.store_file(), &bytes).unwrap();
    let places: Vec<_> = (0..bytes.len() - id.len()).filter(|at| bytes[*at..].starts_with(id)).collect();
    assert!(places[0] < first_free && places.len() > 600, "{places:?}");
    wipe::destroy_headers_of(&folder, &client_id);
    let left = std::fs::read(folder.store_file()).unwrap();
    for at in places {
        let end = (at + HEADER_BYTES_MAX).min(left.len());
        assert!(left[at..end].iter().all(|byte| *byte == 0), "something is left at {at}");
    }
}

#[test]
fn a_wipe_that_a_power_cut_interrupts_is_finished_by_the_next_start() {
    // After the marker; in the midst of the headers; after the files.
    for step in 0..3 {
        let (_dir, folder, client_id) = used();
        std::fs::write(folder.path().join("wiping"), client_id.as_bytes()).unwrap();
        match step {
            1 => {
                wipe::destroy_headers_of(&folder, &client_id);
            }
            2 => std::fs::remove_file(folder.store_file()).unwrap(),
            _ => {}
        }
        assert!(matches!(open(&folder).unwrap(), Found::Empty), "step {step}");
        assert_eq!(names(&folder), ["attempts", "lock", "pin-attempts"]);
    }
}

#[test]
fn wherever_the_power_goes_the_keys_are_gone_before_a_file_is_and_the_next_start_finishes() {
    let (_dir, folder, client_id) = used();
    let store = std::fs::read(folder.store_file()).unwrap();
    let has_header = |bytes: &[u8]| bytes.windows(20).any(|window| window == client_id.as_bytes());
    assert!(has_header(&store));
    let before = SimulatedDisk::with(STORE_FILE, &store).and("attempts", b"guards").and("store.redb.new", &store);
    let on = |disk: &SimulatedDisk| folder.clone().with_files(Arc::new(disk.clone()));
    let disk = before.cut(0, Cut::Kept);
    wipe::wipe(&on(&disk), &client_id).unwrap();
    let (mut untouched, mut finished) = (0, 0);
    for after in 0..=disk.steps() {
        for how in [Cut::Kept, Cut::Lost, Cut::Torn].into_iter().chain((0..8).map(Cut::Some)) {
            let left = disk.cut(after, how);
            let names = on(&left).files().names().unwrap();
            let has_begun = names.iter().any(|name| name == "wiping");
            let are_all_there =
                [STORE_FILE, "store.redb.new"].iter().all(|name| names.iter().any(|there| there == name));
            if !are_all_there {
                // A file goes only when none has a header any more.
                let mut of_stores = names.iter().filter(|name| name.starts_with("store"));
                let is_clean = of_stores.all(|name| !has_header(&read_all(&on(&left), name)));
                assert!(is_clean, "{names:?} after {after} steps, {how:?}");
            }
            wipe::finish(&on(&left)).unwrap();
            let end = on(&left).files().names().unwrap();
            match (has_begun, are_all_there) {
                (false, true) => {
                    assert_eq!(end, ["attempts", STORE_FILE, "store.redb.new"], "after {after} steps, {how:?}");
                    assert_eq!(read_all(&on(&left), STORE_FILE), store, "after {after} steps, {how:?}");
                    untouched += 1;
                }
                _ => {
                    assert_eq!(end, ["attempts"], "after {after} steps, {how:?}");
                    finished += 1;
                }
            }
        }
    }
    assert!(untouched > 20 && finished > 60, "{untouched} and {finished}");
}

fn read_all(folder: &Folder, name: &str) -> Vec<u8> {
    let mut bytes = vec![0; folder.files().bytes(name).unwrap() as usize];
    assert_eq!(folder.files().read_at(name, 0, &mut bytes).unwrap(), bytes.len());
    bytes
}
