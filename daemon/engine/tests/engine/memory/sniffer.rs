//! Follows a session from outside with all random numbers known, and so learns every key that it ever had.

use std::collections::BTreeMap;
use std::convert::Infallible;

use kith_crypto::identity::Identity;
use kith_crypto::noise::{HandshakeState, Outcome, Role};
use kith_crypto::primitives::{aead_open, point_to_uncompressed, secret_from_bytes};
use kith_crypto::version::Version;
use kith_crypto::wire::{Frame, tlv};
use rand_chacha::rand_core::{TryCryptoRng, TryRng};

/// A handshake message of `KK`.
const MESSAGE_BYTES: usize = 81;
const TAG_BYTES: usize = 16;

/// What one handshake was made of and what came out of it.
pub(super) struct Generation {
    pub(super) ephemerals: [[u8; 32]; 2],
    /// Of the records of the initiator, and of those of the responder.
    pub(super) keys: [[u8; 32]; 2],
}

/// The initiator first, everywhere.
pub(super) struct Sniffer<'a> {
    identities: [&'a Identity; 2],
    fingerprints: [[u8; 32]; 2],
    /// Every private key that the devices may have drawn, by its public key.
    drawn: BTreeMap<[u8; 65], [u8; 32]>,
    /// Of the records that each side seals, and how many there were.
    sealing: [([u8; 32], u64); 2],
    hash: [u8; 32],
    /// The first message of the handshake that is under way.
    first: Option<Vec<u8>>,
    /// The initiator's next key, until its switch.
    next: Option<[u8; 32]>,
    pub(super) generations: Vec<Generation>,
}

impl<'a> Sniffer<'a> {
    pub(super) fn new(identities: [&'a Identity; 2], fingerprints: [[u8; 32]; 2], random: [&[u8]; 2]) -> Self {
        let mut drawn = BTreeMap::new();
        for stream in random {
            // Drawn in whole words.
            for bytes in stream.windows(32).step_by(4).filter_map(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
                if let Ok(secret) = secret_from_bytes(&bytes) {
                    drawn.insert(point_to_uncompressed(&secret.public_key()), bytes);
                }
            }
        }
        Self {
            identities,
            fingerprints,
            drawn,
            sealing: [([0; 32], 0); 2],
            hash: [0; 32],
            first: None,
            next: None,
            generations: Vec::new(),
        }
    }

    /// Takes the next message of the channel, whoever sent it.
    pub(super) fn take(&mut self, message: &[u8]) {
        if message.len() == MESSAGE_BYTES {
            return self.handshake_message(1, message);
        }
        for side in 0..2 {
            let (key, counter) = self.sealing[side];
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&counter.to_be_bytes());
            let mut record = message.to_vec();
            let tag = record.split_off(record.len() - TAG_BYTES).try_into().unwrap();
            if aead_open(&key, &nonce, &[], &mut record, &tag).is_ok() {
                self.sealing[side].1 += 1;
                return self.record(side, &record);
            }
        }
        panic!("a record of {} bytes opens under no key", message.len());
    }

    fn record(&mut self, side: usize, plaintext: &[u8]) {
        let (frame, _) = tlv::read(plaintext).unwrap();
        match Frame::from_tlv(frame).unwrap() {
            Some(Frame::Rekey(message)) => self.handshake_message(3, message),
            Some(Frame::Switch) => {
                assert_eq!(side, 0, "the initiator switches");
                self.sealing[0] = (self.next.take().unwrap(), 0);
            }
            _ => {}
        }
    }

    fn handshake_message(&mut self, mode: u8, message: &[u8]) {
        let Some(first) = self.first.take() else {
            self.first = Some(message.to_vec());
            return;
        };
        let ephemerals = [&first, message].map(|message| {
            let public: [u8; 65] = message[..65].try_into().unwrap();
            *self.drawn.get(&public).expect("an ephemeral key is a number that was drawn")
        });
        let outcome = self.repeat(mode, ephemerals, [&first, message]);
        let keys = [*outcome.sealing, *outcome.opening];
        self.hash = outcome.hash;
        self.generations.push(Generation { ephemerals, keys });
        self.sealing[1] = (keys[1], 0);
        match mode {
            1 => self.sealing[0] = (keys[0], 0),
            _ => self.next = Some(keys[0]),
        }
    }

    /// Does what both sides have done; gives the initiator's outcome.
    fn repeat(&self, mode: u8, ephemerals: [[u8; 32]; 2], messages: [&[u8]; 2]) -> Outcome {
        let secret = |identity: &Identity| {
            let bytes = identity.to_secret_bytes();
            secret_from_bytes(bytes[32..].first_chunk().unwrap()).unwrap()
        };
        let [a, b] = self.identities.map(secret);
        let prologue = self.prologue(mode);
        let mut initiator = HandshakeState::kk(Role::Initiator, &prologue, &a, &b.public_key());
        let mut responder = HandshakeState::kk(Role::Responder, &prologue, &b, &a.public_key());
        let mut out = [0; MESSAGE_BYTES];
        initiator.write(&mut out, &mut Fixed(ephemerals[0])).unwrap();
        assert_eq!(out, messages[0], "the first message is the one that was seen");
        responder.read(&out).unwrap();
        responder.write(&mut out, &mut Fixed(ephemerals[1])).unwrap();
        assert_eq!(out, messages[1], "the second message is the one that was seen");
        initiator.read(&out).unwrap();
        initiator.finish().unwrap()
    }

    /// docs/protocol.md §6.1.
    fn prologue(&self, mode: u8) -> Vec<u8> {
        let version = Version::OWN.to_bytes();
        let ids = self.identities.map(Identity::client_id);
        let mut prologue = [&b"kith/1 session"[..], &[mode], &version, &version].concat();
        prologue.extend(ids.iter().flat_map(|id| *id.as_bytes()));
        prologue.extend(self.fingerprints.as_flattened());
        if mode == 3 {
            prologue.extend(self.hash);
        }
        prologue
    }
}

/// Draws this number.
struct Fixed([u8; 32]);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("keys are drawn whole")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("keys are drawn whole")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0);
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}
