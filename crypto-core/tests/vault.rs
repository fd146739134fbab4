//! The vault: what opens, and under which key.

mod support;

use std::sync::OnceLock;

use kith_crypto::identity::ClientId;
use kith_crypto::vault::{
    DataKey, ITERATIONS_MAX, ITERATIONS_MIN, KeyEncryptionKey, MasterKey, OVERHEAD, StoreKeys, TableKey, TagKey,
    VALUE_HEAD_BYTES, VaultError,
};
use support::seeded;

const ID: ClientId = ClientId::from_bytes([0x21; 20]);
const OTHER_ID: ClientId = ClientId::from_bytes([0x22; 20]);
const SALT: [u8; 16] = [0x33; 16];
const HEADER: &[u8] = b"the clear header";
const VALUE: &[u8] = b"a value to keep";

fn master(personal_hash: &[u8], client_id: &ClientId, salt: [u8; 16], iterations: u32) -> MasterKey {
    MasterKey::derive(personal_hash, client_id, &salt, iterations).unwrap()
}

/// The key of most tests; derived once, for it takes long.
fn kek() -> &'static KeyEncryptionKey {
    static KEY: OnceLock<KeyEncryptionKey> = OnceLock::new();
    KEY.get_or_init(|| master(b"personal hash", &ID, SALT, ITERATIONS_MIN).key_encryption_key())
}

fn wrapped() -> [u8; 60] {
    DataKey::generate(&mut seeded(1)).wrap(kek(), HEADER, &mut seeded(2))
}

/// The keys of a store; the same for the same seed.
fn keys(seed: u64) -> StoreKeys {
    StoreKeys::generate(&mut seeded(seed))
}

fn table() -> TableKey {
    keys(1).table(&ID, "messages")
}

fn sealed(table: &TableKey, row_key: &[u8]) -> Vec<u8> {
    let mut buf = vec![0; VALUE.len() + OVERHEAD];
    buf[VALUE_HEAD_BYTES..][..VALUE.len()].copy_from_slice(VALUE);
    let length = table.seal(row_key, &mut buf, VALUE.len(), &mut seeded(3)).unwrap();
    assert_eq!(length, buf.len());
    buf
}

#[test]
fn iterations_out_of_range_are_refused() {
    for iterations in [0, 1, ITERATIONS_MIN - 1, ITERATIONS_MAX + 1, u32::MAX] {
        let refused = MasterKey::derive(b"x", &ID, &SALT, iterations).map(|_| ());
        assert_eq!(refused, Err(VaultError::Iterations), "{iterations}");
    }
}

#[test]
fn one_newline_at_the_end_of_the_personal_hash_does_not_count() {
    let opens = |personal_hash: &[u8]| {
        let kek = master(personal_hash, &ID, SALT, ITERATIONS_MIN).key_encryption_key();
        DataKey::unwrap(&kek, HEADER, &wrapped()).is_ok()
    };
    assert!(opens(b"personal hash"));
    assert!(opens(b"personal hash\n"));
    assert!(!opens(b"personal hash\n\n"));
    assert!(!opens(b"personal hash\r\n"));
    assert!(!opens(b"personal hash "));
    assert!(!opens(b"Personal hash"));
}

#[test]
fn the_master_key_depends_on_every_input() {
    for other in [
        master(b"personal hash", &OTHER_ID, SALT, ITERATIONS_MIN),
        master(b"personal hash", &ID, [0x34; 16], ITERATIONS_MIN),
        master(b"personal hash", &ID, SALT, ITERATIONS_MIN + 1),
    ] {
        assert!(DataKey::unwrap(&other.key_encryption_key(), HEADER, &wrapped()).is_err());
    }
}

#[test]
fn unwrapped_keys_open_what_was_sealed_before_and_find_its_rows() {
    let wrapped = keys(1).wrap(kek(), HEADER, &mut seeded(2));
    let unwrapped = StoreKeys::unwrap(kek(), HEADER, &wrapped).unwrap().table(&ID, "messages");
    let mut value = sealed(&table(), b"row");
    assert_eq!(unwrapped.open(b"row", &mut value).unwrap(), VALUE);
    assert_eq!(unwrapped.row_tag(b"an id"), table().row_tag(b"an id"));
}

#[test]
fn a_data_key_that_is_wrapped_alone_makes_the_row_tags_too() {
    let made = StoreKeys::from_data_key(DataKey::generate(&mut seeded(1))).table(&ID, "messages");
    let data = DataKey::unwrap(kek(), HEADER, &wrapped()).unwrap();
    let unwrapped = StoreKeys::from_data_key(data).table(&ID, "messages");
    let mut value = sealed(&made, b"row");
    assert_eq!(unwrapped.open(b"row", &mut value).unwrap(), VALUE);
    assert_eq!(unwrapped.row_tag(b"an id"), made.row_tag(b"an id"));
}

#[test]
fn a_new_data_key_opens_nothing_old_and_finds_the_same_rows() {
    let renewed = keys(1).renewed(&mut seeded(2)).table(&ID, "messages");
    assert!(renewed.open(b"row", &mut sealed(&table(), b"row")).is_err());
    assert_eq!(renewed.row_tag(b"an id"), table().row_tag(b"an id"));
    let tags = || TagKey::from_bytes([7; 32]);
    let [one, other] =
        [1, 2].map(|seed| StoreKeys::with_tags(tags(), &mut seeded(seed)).table(&ID, "ids").row_tag(b"an id"));
    assert_eq!(one, other);
}

#[test]
fn any_changed_byte_of_a_wrapped_key_or_its_header_is_refused() {
    for at in 0..wrapped().len() {
        let mut changed = wrapped();
        changed[at] ^= 1;
        assert!(DataKey::unwrap(kek(), HEADER, &changed).is_err(), "byte {at}");
    }
    for at in 0..HEADER.len() {
        let mut changed = HEADER.to_vec();
        changed[at] ^= 1;
        assert!(DataKey::unwrap(kek(), &changed, &wrapped()).is_err(), "byte {at}");
    }
    let pair = keys(1).wrap(kek(), HEADER, &mut seeded(2));
    for at in 0..pair.len() {
        let mut changed = pair;
        changed[at] ^= 1;
        assert!(StoreKeys::unwrap(kek(), HEADER, &changed).is_err(), "byte {at}");
    }
    assert!(StoreKeys::unwrap(kek(), b"the clear headex", &pair).is_err());
}

#[test]
fn values_survive_sealing_in_any_length() {
    let table = table();
    for length in [0, 1, 15, 16, 17, 4096] {
        let mut buf = vec![0x5a; length + OVERHEAD + 5];
        let sealed = table.seal(b"row", &mut buf, length, &mut seeded(length as u64)).unwrap();
        assert_eq!(sealed, length + OVERHEAD);
        assert_eq!(buf[0], 1);
        assert_eq!(table.open(b"row", &mut buf[..sealed]).unwrap(), vec![0x5a; length]);
    }
}

#[test]
fn the_same_value_is_sealed_differently_each_time() {
    let (table, mut rng) = (table(), seeded(4));
    let (mut first, mut second) = ([0; 64], [0; 64]);
    table.seal(b"row", &mut first, 20, &mut rng).unwrap();
    table.seal(b"row", &mut second, 20, &mut rng).unwrap();
    assert_ne!(first, second);
}

#[test]
fn any_changed_byte_of_a_value_is_refused() {
    let table = table();
    let value = sealed(&table, b"row");
    for at in 0..value.len() {
        let mut changed = value.clone();
        changed[at] ^= 1;
        let expected = if at == 0 { VaultError::Version } else { VaultError::Sealed };
        assert_eq!(table.open(b"row", &mut changed), Err(expected), "byte {at}");
    }
    for length in 0..value.len() {
        assert!(table.open(b"row", &mut value[..length].to_vec()).is_err(), "{length}");
    }
}

#[test]
fn a_value_opens_in_its_own_place_only() {
    let data = keys(1);
    let value = sealed(&data.table(&ID, "messages"), b"row");
    let opens = |table: TableKey, row: &[u8]| table.open(row, &mut value.clone()).is_ok();
    assert!(opens(data.table(&ID, "messages"), b"row"));
    assert!(!opens(data.table(&ID, "messages"), b"rov"));
    assert!(!opens(data.table(&ID, "messages"), b""));
    assert!(!opens(data.table(&ID, "contacts"), b"row"));
    assert!(!opens(data.table(&OTHER_ID, "messages"), b"row"));
    assert!(!opens(keys(2).table(&ID, "messages"), b"row"));
    // The table's name ends where its length says: no part of it passes into the row key.
    assert!(!opens(data.table(&ID, "message"), b"srow"));
}

#[test]
fn a_row_key_over_the_limit_is_refused() {
    let table = table();
    let (fits, over) = (vec![1; 256 - 8], vec![1; 257 - 8]);
    let mut buf = [0; 64];
    assert_eq!(table.seal(&over, &mut buf, 4, &mut seeded(1)), Err(VaultError::RowKey));
    assert_eq!(table.open(&over, &mut buf), Err(VaultError::RowKey));
    let length = table.seal(&fits, &mut buf, 4, &mut seeded(1)).unwrap();
    assert!(table.open(&fits, &mut buf[..length]).is_ok());
    let short = table.seal(b"row", &mut buf[..32], 4, &mut seeded(1));
    assert_eq!(short, Err(VaultError::NoSpace));
    assert_eq!(table.seal(b"row", &mut buf[..12], 0, &mut seeded(1)), Err(VaultError::NoSpace));
}

#[test]
fn row_tags_hide_what_they_stand_for() {
    let data = keys(1);
    let tag = data.table(&ID, "ids").row_tag(b"an id");
    assert_eq!(tag, data.table(&ID, "ids").row_tag(b"an id"));
    assert_ne!(tag, data.table(&ID, "ids").row_tag(b"another"));
    assert_ne!(tag, data.table(&ID, "peers").row_tag(b"an id"));
    assert_ne!(tag, keys(2).table(&ID, "ids").row_tag(b"an id"));
}

#[test]
fn the_two_keys_of_a_master_key_differ() {
    let master = master(b"personal hash", &ID, SALT, ITERATIONS_MIN);
    let backup = *master.backup_key().as_bytes();
    let probe = DataKey::generate(&mut seeded(1)).wrap(&master.key_encryption_key(), HEADER, &mut seeded(2));
    assert_eq!(probe, wrapped());
    assert_ne!(backup, [0; 32]);
}
