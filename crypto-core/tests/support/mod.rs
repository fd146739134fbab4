//! What the tests share: seeded identities, a random source that says what it is told, sessions that are established.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::convert::Infallible;

use kith_crypto::identity::Identity;
use kith_crypto::noise::Role;
use kith_crypto::session::{Handshake, Session, Side};
use kith_crypto::version::Version;
use rand_chacha::ChaCha20Rng;
use rand_core::{SeedableRng, TryCryptoRng, TryRng};

/// A random source with a seed.
pub(crate) fn seeded(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// An identity of a seed.
pub(crate) fn identity(seed: u64) -> Identity {
    Identity::generate(&mut seeded(seed))
}

/// Gives the bytes that it was made with, and panics after them.
pub(crate) struct Script(Vec<u8>);

impl Script {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// Whether everything was taken.
    pub(crate) fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryRng for Script {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        assert!(out.len() <= self.0.len(), "the script is over");
        out.copy_from_slice(&self.0[..out.len()]);
        self.0.drain(..out.len());
        Ok(())
    }
}

impl TryCryptoRng for Script {}

/// A side of a prologue.
pub(crate) fn side(identity: &Identity, fingerprint: u8) -> Side {
    Side { client_id: identity.client_id(), fingerprint: [fingerprint; 32], version: Version::OWN }
}

/// Two identities and the session between them, the initiator's end first.
pub(crate) struct Pair {
    pub(crate) a: Identity,
    pub(crate) b: Identity,
    pub(crate) at_a: Session,
    pub(crate) at_b: Session,
}

/// Runs a handshake to its end.
pub(crate) fn run(mut initiator: Handshake, mut responder: Handshake) -> (Session, Session) {
    let mut rng = seeded(99);
    while !(initiator.is_finished() && responder.is_finished()) {
        let mut message = [0; 162];
        let (writer, reader) =
            if initiator.is_my_turn() { (&mut initiator, &mut responder) } else { (&mut responder, &mut initiator) };
        assert!(writer.is_my_turn() && !reader.is_my_turn());
        let written = writer.write(&mut message, &mut rng).unwrap();
        reader.read(&message[..written]).unwrap();
    }
    (initiator.finish().unwrap(), responder.finish().unwrap())
}

/// A session between contacts.
pub(crate) fn pair() -> Pair {
    let (a, b) = (identity(1), identity(2));
    let sides = (side(&a, 0xaa), side(&b, 0xbb));
    let initiator = Handshake::paired(Role::Initiator, &a, b.public(), sides.0, sides.1);
    let responder = Handshake::paired(Role::Responder, &b, a.public(), sides.0, sides.1);
    let (at_a, at_b) = run(initiator, responder);
    Pair { a, b, at_a, at_b }
}
