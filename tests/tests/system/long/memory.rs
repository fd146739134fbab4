//! What a debugger finds in the memory of the running daemon: nothing that opens the store once it is locked.

use kith_crypto::primitives::{aead_open, hkdf_sha256, pbkdf2_sha256};
use kith_system_tests::{Device, Found, Needles};
use redb::{Database, ReadableDatabase as _, TableDefinition};

use crate::{Pair, numbered, send_all};

/// The tables with keys of their own (docs/protocol.md §8.3).
const TABLES: [&str; 11] =
    ["own", "peers", "contacts", "conversations", "marks", "messages", "ids", "keys", "outbox", "inbox", "cursors"];

/// Bytes of the clear header before the wrapped keys.
const HEADER_BYTES: usize = 45;

fn hkdf(key: &[u8], info: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    hkdf_sha256(&[], key, info, &mut out).unwrap();
    out
}

fn row(database: &Database, table: &str, key: &[u8]) -> Vec<u8> {
    let rows = database.begin_read().unwrap().open_table(TableDefinition::<&[u8], &[u8]>::new(table)).unwrap();
    rows.get(key).unwrap().unwrap().value().to_vec()
}

/// Opens what `nonce ‖ ciphertext ‖ tag` seals.
fn open(key: &[u8; 32], associated: &[u8], sealed: &[u8]) -> Vec<u8> {
    let (nonce, rest) = sealed.split_first_chunk().unwrap();
    let (text, tag) = rest.split_last_chunk().unwrap();
    let mut text = text.to_vec();
    aead_open(key, nonce, associated, &mut text, tag).unwrap();
    text
}

/// Everything secret that a store consists of, computed from its file and its owner's secret as docs/protocol.md §8 says.
fn secrets(device: &Device) -> Needles {
    let snapshot = device.snapshot().unwrap();
    let database = Database::open(snapshot.folder().join("store.redb")).unwrap();
    let header = row(&database, "header", &[]);
    let (client_id, salt, iterations) = (&header[5..25], &header[25..41], header[41..45].try_into().unwrap());
    let personal_hash = device.secret().text().as_bytes();
    let mut master = [0; 32];
    let salt = [&b"kith/1 vault"[..], client_id, salt].concat();
    pbkdf2_sha256(personal_hash, &salt, u32::from_be_bytes(iterations), &mut master);
    let wrapping = hkdf(&master, &[b"kith/1 vault key-encryption key"]);
    let keys = open(&wrapping, &header[..HEADER_BYTES], &header[HEADER_BYTES..]);
    let (data, tags) = keys.split_at(32);

    let mut needles = Needles::default();
    needles.push("personal hash", personal_hash);
    needles.push("master key", &master);
    needles.push("key-encryption key", &wrapping);
    needles.push("backup key", &hkdf(&master, &[b"kith/1 vault backup key"]));
    needles.push("data key", data);
    needles.push("tag key", tags);
    for table in TABLES {
        needles.push(&format!("table key of {table}"), &hkdf(data, &[b"kith/1 table ", table.as_bytes()]));
        needles.push(&format!("tag key of {table}"), &hkdf(tags, &[b"kith/1 row ", table.as_bytes()]));
    }
    let own = hkdf(data, &[b"kith/1 table ", b"own"]);
    let associated = [&b"kith/1 value"[..], client_id, &[3], b"own", &[1]].concat();
    let identity = open(&own, &associated, &row(&database, "own", &[1])[1..]);
    needles.push("signing key", &identity[3..35]);
    needles.push("agreement key", &identity[35..67]);
    needles
}

fn search(device: &Device, needles: &Needles) -> Vec<Found> {
    device.freeze().unwrap();
    let found = needles.search(device.process().unwrap().pid()).unwrap();
    device.thaw();
    found
}

#[tokio::test]
async fn a_locked_daemon_holds_no_key_of_its_store_and_none_of_its_identity() {
    let mut pair = Pair::new().await;
    send_all(&mut pair.to_bob, &numbered("there", 20)).await;
    send_all(&mut pair.to_alice, &numbered("back", 20)).await;
    // Once set up by this process, once unlocked by another.
    for device in [&mut pair.alice, &mut pair.bob] {
        let needles = secrets(device);
        for _ in 0..2 {
            let open = search(device, &needles);
            for name in ["table key of messages", "tag key of ids", "signing key", "agreement key"] {
                let is_found = open.iter().any(|found| found.name.starts_with(name));
                assert!(is_found, "the search does not find the {name} of an open store: {open:?}");
            }
            device.kithctl(&["lock"], "").await.unwrap();
            let locked = search(device, &needles);
            assert!(locked.is_empty(), "{locked:?}");
            device.unlock().await.unwrap();
        }
    }
}
