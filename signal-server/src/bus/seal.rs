//! What keeps NATS from knowing devices, and others from speaking as a server.

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::registry::words::{Address, NodeId, Word};

/// The least that cannot be guessed.
const SECRET_BYTES_MIN: usize = 16;

/// Bytes of a device or a room in a subject: enough that no two share one.
const NAME_BYTES: usize = 16;

/// Bytes before what is sealed: the server and the number of its word.
const HEADER_BYTES: usize = 16 + 8;

/// The secret that all servers share.
pub(crate) struct Secret(Hmac<Sha256>);

impl Secret {
    /// Takes the secret's bytes, at least 16.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < SECRET_BYTES_MIN { None } else { Hmac::new_from_slice(bytes).ok().map(Self) }
    }

    /// Where words for this address go.
    pub(crate) fn subject(&self, address: &Address) -> String {
        match address {
            Address::Device(id) => format!("kith.1.device.{}", self.name(b"kith/1 bus device", id.as_bytes())),
            Address::Room(room) => format!("kith.1.room.{}", self.name(b"kith/1 bus room", room)),
            Address::Node(node) => format!("{}.words", node_subject(node)),
        }
    }

    /// Opens what came on a subject; `None` if it was not sealed by a server with this secret for it.
    pub(crate) fn open(&self, subject: &str, message: &[u8]) -> Option<(NodeId, Word)> {
        let (header, sealed) = message.split_at_checked(HEADER_BYTES)?;
        let (node, number) = header.split_at(16);
        let (node, number) = (NodeId::try_from(node).ok()?, <[u8; 8]>::try_from(number).ok()?);
        let mut word = sealed.to_vec();
        self.cipher(&node).decrypt_in_place(&nonce(number).into(), subject.as_bytes(), &mut word).ok()?;
        match postcard::take_from_bytes(&word) {
            Ok((word, [])) => Some((node, word)),
            Ok(_) | Err(_) => None,
        }
    }

    fn name(&self, label: &[u8], bytes: &[u8]) -> String {
        let tag = self.0.clone().chain_update(label).chain_update(bytes).finalize().into_bytes();
        hex(&tag[..NAME_BYTES])
    }

    /// Each server has a key of its own, so that each can count its nonces alone.
    fn cipher(&self, node: &NodeId) -> Aes256Gcm {
        let key = self.0.clone().chain_update(b"kith/1 bus word").chain_update(node).finalize().into_bytes();
        let key = Zeroizing::new(<[u8; 32]>::from(key));
        Aes256Gcm::new((&*key).into())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Seals the words of one server.
pub(crate) struct Sealer {
    node: NodeId,
    cipher: Aes256Gcm,
    next: u64,
}

impl Sealer {
    /// A sealer for a server that never was before.
    pub(crate) fn new(secret: &Secret, node: NodeId) -> Self {
        Self { node, cipher: secret.cipher(&node), next: 0 }
    }

    /// Seals a word for a subject; `None` for one that is longer than any.
    pub(crate) fn seal(&mut self, subject: &str, word: &Word) -> Option<Vec<u8>> {
        let number = self.next.to_be_bytes();
        self.next += 1;
        let mut sealed = postcard::to_allocvec(word).ok()?;
        self.cipher.encrypt_in_place(&nonce(number).into(), subject.as_bytes(), &mut sealed).ok()?;
        Some([self.node.as_slice(), &number, &sealed].concat())
    }
}

/// Below this a server hears what is for itself.
pub(crate) fn node_subject(node: &NodeId) -> String {
    format!("kith.1.node.{}", hex(node))
}

fn nonce(number: [u8; 8]) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number);
    nonce
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use kith_crypto::identity::ClientId;

    use super::*;

    const NODE: NodeId = [7; 16];

    fn secret(byte: u8) -> Secret {
        Secret::new(&[byte; SECRET_BYTES_MIN]).unwrap()
    }

    fn word() -> Word {
        Word::Leave { room: [3; 16], device: ClientId::from_bytes([9; 20]) }
    }

    #[test]
    fn what_one_server_seals_another_opens_only_whole_with_the_secret_and_on_its_subject() {
        let (own, subject) = (secret(1), "kith.1.room.x");
        let mut sealer = Sealer::new(&own, NODE);
        let message = sealer.seal(subject, &word()).unwrap();
        assert_eq!(own.open(subject, &message), Some((NODE, word())));
        assert_eq!(own.open("kith.1.room.y", &message), None);
        assert_eq!(secret(2).open(subject, &message), None);
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] ^= 1;
            assert_eq!(own.open(subject, &changed), None, "{at}");
            assert_eq!(own.open(subject, &message[..at]), None, "{at}");
        }
    }

    #[test]
    fn the_same_word_never_looks_the_same_twice() {
        let own = secret(1);
        let mut sealer = Sealer::new(&own, NODE);
        let (first, second) = (sealer.seal("s", &word()).unwrap(), sealer.seal("s", &word()).unwrap());
        assert_ne!(first[HEADER_BYTES..], second[HEADER_BYTES..]);
        assert_ne!(first, Sealer::new(&own, [8; 16]).seal("s", &word()).unwrap());
    }

    #[test]
    fn subjects_are_the_same_at_every_server_and_name_nobody() {
        let address = Address::Device(ClientId::from_bytes([0xab; 20]));
        let subject = secret(1).subject(&address);
        assert_eq!(subject, secret(1).subject(&address));
        assert_ne!(subject, secret(2).subject(&address));
        assert!(!subject.contains("abab"), "{subject}");
        assert_ne!(secret(1).subject(&Address::Room([0; 16])), secret(1).subject(&Address::Room([1; 16])));
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused_and_none_is_printed() {
        assert!(Secret::new(b"fifteen bytes..").is_none());
        assert_eq!(format!("{:?}", secret(b'n')), "Secret(..)");
    }
}
