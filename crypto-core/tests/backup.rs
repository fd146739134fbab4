//! Chunks of a backup file open in their place, whole, and nowhere else.

mod support;

use std::sync::OnceLock;

use kith_crypto::backup::{CHUNK_BYTES, CHUNK_OVERHEAD, ChunkError, ChunkOpener, ChunkSealer};
use kith_crypto::identity::ClientId;
use kith_crypto::vault::{BackupKey, ITERATIONS_MIN, MasterKey};

const HEADER: &[u8] = b"{\"a\":1}\n";
const SALT: [u8; 32] = [7; 32];

fn key() -> &'static BackupKey {
    static KEY: OnceLock<BackupKey> = OnceLock::new();
    KEY.get_or_init(|| {
        MasterKey::derive(b"secret", &ClientId::from_bytes([1; 20]), &[2; 16], ITERATIONS_MIN).unwrap().backup_key()
    })
}

/// Two full chunks and a short one.
fn sealed() -> [Vec<u8>; 3] {
    let mut sealer = ChunkSealer::new(key(), &SALT, HEADER);
    [(CHUNK_BYTES, false), (CHUNK_BYTES, false), (5, true)].map(|(length, last)| {
        let mut chunk = vec![length as u8 ^ 9; length + CHUNK_OVERHEAD];
        sealer.seal(&mut chunk, last).unwrap();
        chunk
    })
}

fn opener() -> ChunkOpener {
    ChunkOpener::new(key(), &SALT, HEADER)
}

#[test]
fn chunks_open_in_their_order() {
    let mut opener = opener();
    for (at, mut chunk) in sealed().into_iter().enumerate() {
        let text = opener.open(&mut chunk, at == 2).unwrap();
        assert!(text.iter().all(|byte| *byte == text.len() as u8 ^ 9));
    }
    assert_eq!(opener.open(&mut sealed()[2], true), Err(ChunkError::Ended));
}

#[test]
fn a_chunk_out_of_its_place_does_not_open() {
    let [first, second, last] = sealed();
    assert_eq!(opener().open(&mut second.clone(), false), Err(ChunkError::Sealed));
    assert_eq!(opener().open(&mut last.clone(), true), Err(ChunkError::Sealed));
    // The file may not end early, nor go on after its end.
    assert_eq!(opener().open(&mut first.clone(), true), Err(ChunkError::Sealed));
    let mut opener = opener();
    for mut chunk in [first, second] {
        opener.open(&mut chunk, false).unwrap();
    }
    assert_eq!(opener.open(&mut last.clone(), false), Err(ChunkError::Length));
}

#[test]
fn another_header_salt_or_bit_does_not_open() {
    let [first, ..] = sealed();
    let opens = |mut opener: ChunkOpener, mut chunk: Vec<u8>| opener.open(&mut chunk, false).is_ok();
    assert!(opens(opener(), first.clone()));
    assert!(!opens(ChunkOpener::new(key(), &SALT, b"{\"a\":2}\n"), first.clone()));
    assert!(!opens(ChunkOpener::new(key(), &[8; 32], HEADER), first.clone()));
    for at in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + CHUNK_OVERHEAD - 1] {
        let mut changed = first.clone();
        changed[at] ^= 1;
        assert!(!opens(opener(), changed), "byte {at}");
    }
}

#[test]
fn only_the_last_chunk_may_be_short_and_none_is_empty() {
    let mut sealer = ChunkSealer::new(key(), &SALT, HEADER);
    assert_eq!(sealer.seal(&mut [0; CHUNK_OVERHEAD + 1], false), Err(ChunkError::Length));
    assert_eq!(sealer.seal(&mut [0; CHUNK_OVERHEAD], true), Err(ChunkError::Length));
    assert_eq!(sealer.seal(&mut vec![0; CHUNK_BYTES + 1 + CHUNK_OVERHEAD], true), Err(ChunkError::Length));
    assert_eq!(sealer.seal(&mut [0; 3], true), Err(ChunkError::Length));
    assert_eq!(opener().open(&mut [0; CHUNK_OVERHEAD - 1], true), Err(ChunkError::Length));
}

#[test]
fn no_key_shows_in_debug() {
    let sealer = format!("{:?}", ChunkSealer::new(key(), &SALT, HEADER));
    assert_eq!(sealer, "ChunkSealer(Stream { next: Some(0), .. })");
}
