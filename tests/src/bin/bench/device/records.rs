//! What cryptography costs: records beside `ring`'s AES-256-GCM, handshakes beside its ECDH.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use kith_crypto::identity::Identity;
use kith_crypto::noise::{MESSAGE_BYTES_MAX, Role};
use kith_crypto::session::{Handshake, RECORD_BYTES_MAX, Session, Side};
use kith_crypto::version::Version;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::rand::SystemRandom;

use crate::figure::{Figure, Unit};
use crate::report::Report;

/// Plaintexts: a line of text, a paragraph, the largest body.
const PLAINTEXTS: [(&str, usize); 3] = [("64 B", 64), ("1 KiB", 1_024), ("12 KiB", 12_288)];

/// Turns; in each, one does a block of work and then the other. The best block of each counts: it
/// is the one that nobody disturbed.
const TURNS: usize = 200;
/// Bytes in a block, and the most records: a millisecond, long enough for the clock and short enough to be
/// undisturbed.
const BLOCK_BYTES: usize = 512 * 1_024;
const BLOCK_RECORDS_MAX: usize = 1_024;

/// Handshakes in a block: one takes milliseconds, and a longer block would be disturbed.
const BLOCK_HANDSHAKES: usize = 1;
/// What a KK handshake computes on both sides together: four shared secrets each.
const AGREEMENTS: usize = 8;
/// And two public keys.
const PUBLIC_KEYS: usize = 2;

pub(super) fn measure(report: &mut Report) -> Result<()> {
    report.begin("records and handshakes")?;
    for (name, bytes) in PLAINTEXTS {
        let (kith, ring) = seal_and_open(bytes)?;
        let micros = |took: Duration| took.as_secs_f64() * 1e6;
        report.add(
            Figure::new(format!("seal and open {name}"), micros(kith), Unit::Microseconds).beside("ring", micros(ring)),
        )?;
    }
    let (kith, ring) = handshakes()?;
    report.add(
        Figure::new("handshakes, both sides on one core", 1.0 / kith.as_secs_f64(), Unit::PerSecond)
            .beside("ring's P-256 alone", 1.0 / ring.as_secs_f64()),
    )
}

/// What one record costs, here and with `ring`, which pads nothing.
fn seal_and_open(bytes: usize) -> Result<(Duration, Duration)> {
    let (mut sealing, mut opening) = sessions()?;
    let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(|_| anyhow!("ring takes no key"))?;
    let key = LessSafeKey::new(key);
    let records = (BLOCK_BYTES / bytes).min(BLOCK_RECORDS_MAX);
    let (mut kith, mut ring) = (Duration::MAX, Duration::MAX);
    let mut buffer = vec![0; RECORD_BYTES_MAX];
    for _ in 0..TURNS {
        kith = kith.min(per_piece(records, || {
            let sealed = sealing.seal(&mut buffer, bytes)?;
            black_box(opening.open(&mut buffer[..sealed])?);
            Ok(())
        })?);
        ring = ring.min(per_piece(records, || {
            let refused = |_| anyhow!("ring refuses");
            let nonce = || Nonce::assume_unique_for_key([1; 12]);
            let tag = key.seal_in_place_separate_tag(nonce(), Aad::empty(), &mut buffer[..bytes]).map_err(refused)?;
            buffer[bytes..bytes + 16].copy_from_slice(tag.as_ref());
            black_box(key.open_in_place(nonce(), Aad::empty(), &mut buffer[..bytes + 16]).map_err(refused)?);
            Ok(())
        })?);
    }
    Ok((kith, ring))
}

/// What one handshake costs on both sides together, and what its elliptic curve would cost with `ring`.
fn handshakes() -> Result<(Duration, Duration)> {
    let random = SystemRandom::new();
    let point = public_key(&random)?;
    let (mut kith, mut ring) = (Duration::MAX, Duration::MAX);
    let (one, other) = (Identity::generate(&mut entropy()), Identity::generate(&mut entropy()));
    for _ in 0..TURNS {
        kith = kith.min(per_piece(BLOCK_HANDSHAKES, || black_box(shake_hands(&one, &other)).map(drop))?);
        ring = ring.min(per_piece(BLOCK_HANDSHAKES, || {
            for _ in 0..PUBLIC_KEYS {
                black_box(public_key(&random)?);
            }
            for _ in 0..AGREEMENTS {
                let remote = UnparsedPublicKey::new(&ECDH_P256, &point);
                let agreed = agree_ephemeral(private_key(&random)?, &remote, |shared| {
                    black_box(shared);
                });
                agreed.map_err(|_| anyhow!("ring refuses"))?;
            }
            Ok(())
        })?);
    }
    Ok((kith, ring))
}

fn private_key(random: &SystemRandom) -> Result<EphemeralPrivateKey> {
    EphemeralPrivateKey::generate(&ECDH_P256, random).map_err(|_| anyhow!("ring makes no key"))
}

fn public_key(random: &SystemRandom) -> Result<Vec<u8>> {
    let point = private_key(random)?.compute_public_key().map_err(|_| anyhow!("ring makes no key"))?;
    Ok(point.as_ref().to_vec())
}

fn sessions() -> Result<(Session, Session)> {
    shake_hands(&Identity::generate(&mut entropy()), &Identity::generate(&mut entropy()))
}

fn shake_hands(one: &Identity, other: &Identity) -> Result<(Session, Session)> {
    let side =
        |identity: &Identity| Side { client_id: identity.client_id(), fingerprint: [3; 32], version: Version::OWN };
    let sides = (side(one), side(other));
    let mut initiator = Handshake::paired(Role::Initiator, one, other.public(), sides.0, sides.1);
    let mut responder = Handshake::paired(Role::Responder, other, one.public(), sides.0, sides.1);
    let mut message = [0; MESSAGE_BYTES_MAX];
    while !(initiator.is_finished() && responder.is_finished()) {
        let (writer, reader) = match (initiator.is_my_turn(), responder.is_my_turn()) {
            (true, _) => (&mut initiator, &mut responder),
            (_, true) => (&mut responder, &mut initiator),
            _ => break,
        };
        let length = writer.write(&mut message, &mut entropy())?;
        reader.read(&message[..length])?;
    }
    Ok((initiator.finish()?, responder.finish()?))
}

fn entropy() -> impl rand_core::CryptoRng {
    UnwrapErr(SysRng)
}

/// How long one of so many takes.
fn per_piece(pieces: usize, mut piece: impl FnMut() -> Result<()>) -> Result<Duration> {
    ensure!(pieces > 0, "a block has work");
    let start = Instant::now();
    for _ in 0..pieces {
        piece()?;
    }
    Ok(start.elapsed() / u32::try_from(pieces)?)
}
