//! What `kith-crypto` computes, computed once with fixed randomness.
//!
//! Every part is used as a device uses it, each result that depends on the processor goes into one digest, and the digest is
//! the same on every processor. So a new kind of board shows with one run that it computes what all the others do.
//!
//! Deliberately absent: an allocator, and any use of the digest as a proof of anything else than equal results.
#![no_std]
#![forbid(unsafe_code)]

use hex_literal::hex;
use kith_crypto::backup::{CHUNK_OVERHEAD, ChunkOpener, ChunkSealer};
use kith_crypto::identity::Identity;
use kith_crypto::noise::Role;
use kith_crypto::sealed::{self, Header, PayloadKind, SessionId};
use kith_crypto::session::{Handshake, PLAINTEXT_BYTES_MAX, RECORD_BYTES_MAX, Session, Side};
use kith_crypto::vault::{ITERATIONS_MIN, MasterKey, OVERHEAD, StoreKeys, VALUE_HEAD_BYTES};
use kith_crypto::version::Version;
use kith_crypto::wire::Frame;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sha2::{Digest, Sha256};

/// What the parts give together.
pub const DIGEST: [u8; 32] = hex!("223cb3deb5aac96b3429ba5f578875bf08dd1282471dd79174509c33bf0df27e");

/// A part that did not do what it does elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Failure {
    /// Sealing and opening signaling payloads.
    Sealed = 1,
    /// The handshake of two contacts.
    Handshake = 2,
    /// The records of a session.
    Session = 3,
    /// New keys within a session.
    Rekey = 4,
    /// The keys and the values of a store.
    Vault = 5,
    /// The chunks of a backup.
    Backup = 6,
    /// Every part worked, and together they gave something else than [`DIGEST`].
    Digest = 7,
}

/// Computes everything once.
///
/// # Errors
/// The first part that failed.
pub fn run() -> Result<(), Failure> {
    if digest()? == DIGEST { Ok(()) } else { Err(Failure::Digest) }
}

/// Computes everything once and gives what came of it.
///
/// # Errors
/// The first part that failed.
pub fn digest() -> Result<[u8; 32], Failure> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let (a, b) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
    let mut digest = Sha256::new();
    digest.update(a.card().as_bytes());
    digest.update(b.card().as_bytes());
    payload(&a, &b, &mut rng, &mut digest).ok_or(Failure::Sealed)?;
    let (mut at_a, mut at_b) = handshake(&a, &b, &mut rng, &mut digest).ok_or(Failure::Handshake)?;
    records(&mut at_a, &mut at_b, &mut digest).ok_or(Failure::Session)?;
    rekey(&mut at_a, &mut at_b, (&a, &b), &mut rng).ok_or(Failure::Rekey)?;
    records(&mut at_a, &mut at_b, &mut digest).ok_or(Failure::Rekey)?;
    let master =
        MasterKey::derive(b"self-check", &a.client_id(), &[1; 16], ITERATIONS_MIN).map_err(|_| Failure::Vault)?;
    vault(&a, &master, &mut rng, &mut digest).ok_or(Failure::Vault)?;
    backup(&master, &mut digest).ok_or(Failure::Backup)?;
    Ok(digest.finalize().into())
}

/// Seals a payload for the other device, opens it there, and sees a changed one refused.
fn payload(a: &Identity, b: &Identity, rng: &mut ChaCha20Rng, digest: &mut Sha256) -> Option<()> {
    const BODY: &[u8] = b"a session description";
    let header = Header { kind: PayloadKind::Offer, session: SessionId([1; 16]), index: 0 };
    let mut payload = [0; sealed::OVERHEAD + BODY.len()];
    sealed::seal(a, b.public(), header, Version::OWN, BODY, &mut payload, rng).ok()?;
    digest.update(payload);
    let mut changed = payload;
    *changed.last_mut()? ^= 1;
    let refused = sealed::open(b, a.public(), &mut changed).is_err();
    let opened = sealed::open(b, a.public(), &mut payload).ok()?;
    (refused && opened.body == BODY).then_some(())
}

/// Runs the handshake of two contacts.
fn handshake(a: &Identity, b: &Identity, rng: &mut ChaCha20Rng, digest: &mut Sha256) -> Option<(Session, Session)> {
    let side =
        |identity: &Identity| Side { client_id: identity.client_id(), fingerprint: [2; 32], version: Version::OWN };
    let mut initiator = Handshake::paired(Role::Initiator, a, b.public(), side(a), side(b));
    let mut responder = Handshake::paired(Role::Responder, b, a.public(), side(a), side(b));
    while !(initiator.is_finished() && responder.is_finished()) {
        let mut message = [0; 128];
        let (writer, reader) =
            if initiator.is_my_turn() { (&mut initiator, &mut responder) } else { (&mut responder, &mut initiator) };
        let written = writer.write(&mut message, rng).ok()?;
        let message = message.get(..written)?;
        digest.update(message);
        reader.read(message).ok()?;
    }
    let (at_a, at_b) = (initiator.finish().ok()?, responder.finish().ok()?);
    digest.update(at_a.handshake_hash());
    (at_a.handshake_hash() == at_b.handshake_hash()).then_some((at_a, at_b))
}

/// Sends the shortest and the longest record, in both directions.
fn records(at_a: &mut Session, at_b: &mut Session, digest: &mut Sha256) -> Option<()> {
    for text_bytes in [1, PLAINTEXT_BYTES_MAX] {
        record(at_a, at_b, text_bytes, digest)?;
        record(at_b, at_a, text_bytes, digest)?;
    }
    Some(())
}

fn record(from: &mut Session, to: &mut Session, text_bytes: usize, digest: &mut Sha256) -> Option<()> {
    let mut record = [3; RECORD_BYTES_MAX];
    let sealed = from.seal(&mut record, text_bytes).ok()?;
    let record = record.get_mut(..sealed)?;
    digest.update(&*record);
    let opened = to.open(record).ok()?;
    opened.get(..text_bytes)?.iter().all(|byte| *byte == 3).then_some(())
}

/// Gives both ends new keys.
fn rekey(at_a: &mut Session, at_b: &mut Session, (a, b): (&Identity, &Identity), rng: &mut ChaCha20Rng) -> Option<()> {
    let mut buf = [0; RECORD_BYTES_MAX];
    let mut answer = [0; RECORD_BYTES_MAX];
    let sealed = at_a.start_rekey(a, b.public(), &mut buf, rng).ok()?;
    let Some(Frame::Rekey(message)) = at_b.open_frame(buf.get_mut(..sealed)?).ok()? else { return None };
    let sealed = at_b.answer_rekey(message, b, a.public(), &mut answer, rng).ok()?;
    let Some(Frame::Rekey(message)) = at_a.open_frame(answer.get_mut(..sealed)?).ok()? else { return None };
    let sealed = at_a.finish_rekey(message, a, b.public(), &mut buf).ok()?;
    let Some(Frame::Switch) = at_b.open_frame(buf.get_mut(..sealed)?).ok()? else { return None };
    at_b.switch().ok()?;
    (at_a.key_generation() == 1 && at_b.key_generation() == 1).then_some(())
}

/// Makes the keys of a store, seals a value with them and opens it.
fn vault(own: &Identity, master: &MasterKey, rng: &mut ChaCha20Rng, digest: &mut Sha256) -> Option<()> {
    const VALUE: &[u8] = b"a value";
    let kek = master.key_encryption_key();
    let wrapped = StoreKeys::generate(rng).wrap(&kek, b"header", rng);
    let keys = StoreKeys::unwrap(&kek, b"header", &wrapped).ok()?;
    let table = keys.table(&own.client_id(), "messages");
    let mut value = [0; VALUE.len() + OVERHEAD];
    value[VALUE_HEAD_BYTES..][..VALUE.len()].copy_from_slice(VALUE);
    table.seal(b"row", &mut value, VALUE.len(), rng).ok()?;
    digest.update(wrapped);
    digest.update(value);
    digest.update(table.row_tag(b"row"));
    (table.open(b"row", &mut value).ok()? == VALUE).then_some(())
}

/// Seals the one chunk of a backup and opens it.
fn backup(master: &MasterKey, digest: &mut Sha256) -> Option<()> {
    const TEXT: &[u8] = b"a backup";
    let key = master.backup_key();
    let mut chunk = [0; TEXT.len() + CHUNK_OVERHEAD];
    chunk[..TEXT.len()].copy_from_slice(TEXT);
    ChunkSealer::new(&key, &[4; 32], b"header").seal(&mut chunk, true).ok()?;
    digest.update(chunk);
    (ChunkOpener::new(&key, &[4; 32], b"header").open(&mut chunk, true).ok()? == TEXT).then_some(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_processor_computes_what_all_the_others_do() {
        assert_eq!(super::digest(), Ok(super::DIGEST));
    }
}
