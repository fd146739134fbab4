use super::{
    super::{Attempts, header::HEADER_BYTES_MAX, wipe},
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
