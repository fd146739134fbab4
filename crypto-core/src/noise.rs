//! The Noise Protocol Framework (revision 34) over P-256, AES-256-GCM and SHA-256. Patterns are
//! tables of tokens; one small engine runs them.
//!
//! As FIDO's hybrid transport (CTAP 2.2) encodes it: public keys are uncompressed points of 65
//! bytes, shared secrets are x coordinates of 32. Deliberately absent: patterns that Kith does
//! not use, fragmentation, and the rekey function of the framework (a new handshake replaces it).

use core::fmt;

use p256::elliptic_curve::Generate;
use p256::{PublicKey, SecretKey};
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::primitives::{Aead, TAG_BYTES, UNCOMPRESSED_BYTES, ecdh, hmac_sha256, sha256, uncompress, uncompressed_point};

/// The longest handshake message with an empty payload: a static key, a payload, two tags.
pub const MESSAGE_BYTES_MAX: usize = 2 * UNCOMPRESSED_BYTES + 2 * TAG_BYTES;

/// Why a handshake or a transport message was refused. After any of these the state is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// Not this side's turn, or the handshake is (not) finished.
    #[error("the handshake message is out of turn")]
    Turn,
    /// Shorter or longer than the pattern says.
    #[error("the handshake message has the wrong length")]
    Length,
    /// Not a point of the curve in its one encoding.
    #[error("the handshake message holds no valid public key")]
    Point,
    /// The tag does not match.
    #[error("it does not authenticate")]
    Tag,
    /// The static key is not the expected one.
    #[error("the static key belongs to another identity")]
    Identity,
    /// The buffer is too small.
    #[error("the buffer is too small")]
    Buffer,
    /// The counter has come to its end.
    #[error("the key is used up")]
    Exhausted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    E,
    S,
    Ee,
    Es,
    Se,
    Ss,
    Psk,
}

/// One pattern: its name, which static keys are known beforehand, and its messages, the
/// initiator's first.
#[derive(Debug)]
struct Table {
    name: &'static [u8],
    initiator_known: bool,
    responder_known: bool,
    messages: &'static [&'static [Token]],
}

/// Which pattern, with the pre-shared key where it has one.
#[derive(Clone, Copy)]
pub enum Pattern<'a> {
    /// Both know each other's static key.
    Kk,
    /// The initiator knows the responder's; both hold a pre-shared key.
    XkPsk3(&'a [u8; 32]),
}

static KK: Table = Table {
    name: b"Noise_KK_P256_AESGCM_SHA256",
    initiator_known: true,
    responder_known: true,
    messages: &[&[Token::E, Token::Es, Token::Ss], &[Token::E, Token::Ee, Token::Se]],
};

static XK_PSK3: Table = Table {
    name: b"Noise_XKpsk3_P256_AESGCM_SHA256",
    initiator_known: false,
    responder_known: true,
    messages: &[&[Token::E, Token::Es], &[Token::E, Token::Ee], &[Token::S, Token::Se, Token::Psk]],
};

impl<'a> Pattern<'a> {
    fn table(self) -> (&'static Table, Option<&'a [u8; 32]>) {
        match self {
            Self::Kk => (&KK, None),
            Self::XkPsk3(psk) => (&XK_PSK3, Some(psk)),
        }
    }
}

/// Which side of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends the first message.
    Initiator,
    /// Answers.
    Responder,
}

/// One direction's key and counter.
pub struct CipherState {
    cipher: Aead,
    counter: u64,
}

impl CipherState {
    fn new(key: &[u8; 32]) -> Self {
        Self { cipher: Aead::new(key), counter: 0 }
    }

    /// How many messages were sealed or opened.
    pub fn counter(&self) -> u64 {
        self.counter
    }

    fn nonce(&self) -> Result<[u8; 12], NoiseError> {
        // The framework reserves the last value (§5.1).
        if self.counter == u64::MAX {
            return Err(NoiseError::Exhausted);
        }
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.counter.to_be_bytes());
        Ok(nonce)
    }

    /// Seals the first `length` bytes in place; returns the length with the tag.
    ///
    /// # Errors
    /// A buffer without room for the tag, or a used-up counter.
    pub fn seal(&mut self, ad: &[u8], buffer: &mut [u8], length: usize) -> Result<usize, NoiseError> {
        let nonce = self.nonce()?;
        let sealed = self.cipher.seal(&nonce, ad, buffer, length).map_err(|_| NoiseError::Buffer)?;
        self.counter += 1;
        Ok(sealed)
    }

    /// Opens in place.
    ///
    /// # Errors
    /// What does not authenticate under this key and counter.
    pub fn open<'a>(&mut self, ad: &[u8], sealed: &'a mut [u8]) -> Result<&'a mut [u8], NoiseError> {
        let nonce = self.nonce()?;
        let text = self.cipher.open(&nonce, ad, sealed).map_err(|_| NoiseError::Tag)?;
        self.counter += 1;
        Ok(text)
    }
}

impl fmt::Debug for CipherState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CipherState(counter {}, secret)", self.counter)
    }
}

/// The hash and the chaining key (§5.2).
#[derive(Zeroize, ZeroizeOnDrop)]
struct Symmetric {
    chaining_key: [u8; 32],
    hash: [u8; 32],
    key: [u8; 32],
    has_key: bool,
    counter: u64,
}

impl Symmetric {
    fn new(name: &[u8]) -> Self {
        let mut hash = [0; 32];
        match hash.get_mut(..name.len()) {
            Some(start) => start.copy_from_slice(name),
            None => hash = sha256(&[name]),
        }
        Self { chaining_key: hash, hash, key: [0; 32], has_key: false, counter: 0 }
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.hash = sha256(&[&self.hash, data]);
    }

    fn mix_key(&mut self, ikm: &[u8]) {
        let [chaining_key, key] = hkdf2(&self.chaining_key, ikm);
        self.chaining_key.copy_from_slice(chaining_key.as_ref());
        self.set_key(key.as_ref());
    }

    fn mix_key_and_hash(&mut self, psk: &[u8]) {
        let temp = hmac_sha256(&self.chaining_key, &[psk]);
        let first = hmac_sha256(temp.as_ref(), &[&[1]]);
        let second = hmac_sha256(temp.as_ref(), &[first.as_ref(), &[2]]);
        let third = hmac_sha256(temp.as_ref(), &[second.as_ref(), &[3]]);
        self.chaining_key.copy_from_slice(first.as_ref());
        self.mix_hash(second.as_ref());
        self.set_key(third.as_ref());
    }

    fn set_key(&mut self, key: &[u8]) {
        self.key.copy_from_slice(key);
        self.has_key = true;
        self.counter = 0;
    }

    fn cipher(&mut self) -> CipherState {
        let state = CipherState { cipher: Aead::new(&self.key), counter: self.counter };
        self.counter += 1;
        state
    }

    /// Appends the text, sealed once there is a key; the text stands in the buffer.
    fn encrypt_and_hash(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, NoiseError> {
        let hash = self.hash;
        let end = if self.has_key { self.cipher().seal(&hash, buffer, length)? } else { length };
        self.mix_hash(buffer.get(..end).ok_or(NoiseError::Buffer)?);
        Ok(end)
    }

    fn decrypt_and_hash<'a>(&mut self, sealed: &'a mut [u8]) -> Result<&'a mut [u8], NoiseError> {
        let before = self.hash;
        self.mix_hash(sealed);
        if self.has_key { self.cipher().open(&before, sealed) } else { Ok(sealed) }
    }
}

fn hkdf2(chaining_key: &[u8; 32], ikm: &[u8]) -> [zeroize::Zeroizing<[u8; 32]>; 2] {
    let temp = hmac_sha256(chaining_key, &[ikm]);
    let first = hmac_sha256(temp.as_ref(), &[&[1]]);
    let second = hmac_sha256(temp.as_ref(), &[first.as_ref(), &[2]]);
    [first, second]
}

/// What a handshake starts from.
pub struct Parameters<'a> {
    /// This side.
    pub role: Role,
    /// What both sides must agree on.
    pub prologue: &'a [u8],
    /// This side's static secret.
    pub own: &'a SecretKey,
    /// The other side's static key: known beforehand, or what is expected of it.
    pub remote: &'a PublicKey,
}

/// A handshake under way. Its secrets are erased when it is dropped.
pub struct Handshake {
    table: &'static Table,
    role: Role,
    /// The next message.
    message: usize,
    symmetric: Symmetric,
    own: SecretKey,
    remote: PublicKey,
    ephemeral: Option<SecretKey>,
    remote_ephemeral: Option<PublicKey>,
    psk: Option<zeroize::Zeroizing<[u8; 32]>>,
    dead: bool,
}

/// The keys of a finished handshake.
pub struct Transport {
    /// For sending.
    pub send: CipherState,
    /// For receiving.
    pub receive: CipherState,
    /// The handshake's hash, a name for this session (§11.2).
    pub hash: [u8; 32],
}

impl Handshake {
    /// Begins.
    pub fn new(pattern: Pattern<'_>, parameters: &Parameters<'_>) -> Self {
        let (table, psk) = pattern.table();
        let mut symmetric = Symmetric::new(table.name);
        symmetric.mix_hash(parameters.prologue);
        let own = uncompress(&parameters.own.public_key());
        let remote = uncompress(parameters.remote);
        let (initiator, responder) = match parameters.role {
            Role::Initiator => (&own, &remote),
            Role::Responder => (&remote, &own),
        };
        if table.initiator_known {
            symmetric.mix_hash(initiator);
        }
        if table.responder_known {
            symmetric.mix_hash(responder);
        }
        Self {
            table,
            role: parameters.role,
            message: 0,
            symmetric,
            own: parameters.own.clone(),
            remote: *parameters.remote,
            ephemeral: None,
            remote_ephemeral: None,
            psk: psk.map(|psk| zeroize::Zeroizing::new(*psk)),
            dead: false,
        }
    }

    /// Whether every message was written and read.
    pub fn is_finished(&self) -> bool {
        self.message == self.table.messages.len()
    }

    /// Whether [`Handshake::write`] comes next.
    pub fn is_my_turn(&self) -> bool {
        let initiators = self.message.is_multiple_of(2);
        !self.is_finished() && initiators == (self.role == Role::Initiator)
    }

    /// Writes the next message with this payload and returns its length.
    ///
    /// # Errors
    /// Out of turn, or a buffer that is too small.
    pub fn write<R: CryptoRng + ?Sized>(&mut self, payload: &[u8], out: &mut [u8], rng: &mut R) -> Result<usize, NoiseError> {
        if self.dead || !self.is_my_turn() {
            return Err(NoiseError::Turn);
        }
        // A half-written message leaves a state that nobody shares.
        self.dead = true;
        let mut place = 0;
        for token in self.tokens() {
            match token {
                Token::E => {
                    let ephemeral = self.ephemeral.insert(SecretKey::generate_from_rng(rng));
                    let public = uncompress(&ephemeral.public_key());
                    put(out, &mut place, &public)?;
                    self.mix_ephemeral(&public);
                }
                Token::S => {
                    let public = uncompress(&self.own.public_key());
                    let start = place;
                    put(out, &mut place, &public)?;
                    let room = out.get_mut(start..).ok_or(NoiseError::Buffer)?;
                    place = start + self.symmetric.encrypt_and_hash(room, UNCOMPRESSED_BYTES)?;
                }
                secret => self.mix_secret(*secret)?,
            }
        }
        let start = place;
        put(out, &mut place, payload)?;
        let room = out.get_mut(start..).ok_or(NoiseError::Buffer)?;
        place = start + self.symmetric.encrypt_and_hash(room, payload.len())?;
        self.message += 1;
        self.dead = false;
        Ok(place)
    }

    /// Reads the other side's next message in place and gives its payload.
    ///
    /// # Errors
    /// Out of turn, malformed, not authentic, or from another static key than the expected one.
    pub fn read<'a>(&mut self, message: &'a mut [u8]) -> Result<&'a [u8], NoiseError> {
        if self.dead || self.is_finished() || self.is_my_turn() {
            return Err(NoiseError::Turn);
        }
        self.dead = true;
        let mut rest = message;
        for token in self.tokens() {
            match token {
                Token::E => {
                    let (public, after) = rest.split_at_mut_checked(UNCOMPRESSED_BYTES).ok_or(NoiseError::Length)?;
                    self.remote_ephemeral = Some(uncompressed_point(public).map_err(|_| NoiseError::Point)?);
                    self.mix_ephemeral(public);
                    rest = after;
                }
                Token::S => {
                    let length = UNCOMPRESSED_BYTES + if self.symmetric.has_key { TAG_BYTES } else { 0 };
                    let (sealed, after) = rest.split_at_mut_checked(length).ok_or(NoiseError::Length)?;
                    let public = self.symmetric.decrypt_and_hash(sealed)?;
                    let public = uncompressed_point(public).map_err(|_| NoiseError::Point)?;
                    if public != self.remote {
                        return Err(NoiseError::Identity);
                    }
                    rest = after;
                }
                secret => self.mix_secret(*secret)?,
            }
        }
        let payload = self.symmetric.decrypt_and_hash(rest)?;
        self.message += 1;
        self.dead = false;
        Ok(payload)
    }

    /// The keys, once every message was written and read.
    ///
    /// # Errors
    /// A handshake that is not finished.
    pub fn finish(self) -> Result<Transport, NoiseError> {
        if self.dead || !self.is_finished() {
            return Err(NoiseError::Turn);
        }
        let [initiator, responder] = hkdf2(&self.symmetric.chaining_key, &[]);
        let (send, receive) = match self.role {
            Role::Initiator => (&initiator, &responder),
            Role::Responder => (&responder, &initiator),
        };
        Ok(Transport { send: CipherState::new(send), receive: CipherState::new(receive), hash: self.symmetric.hash })
    }

    fn tokens(&self) -> &'static [Token] {
        self.table.messages.get(self.message).copied().unwrap_or_default()
    }

    fn mix_ephemeral(&mut self, public: &[u8]) {
        self.symmetric.mix_hash(public);
        // With a pre-shared key, ephemeral keys are mixed into the chain, too (§9.2).
        if self.psk.is_some() {
            self.symmetric.mix_key(public);
        }
    }

    fn mix_secret(&mut self, token: Token) -> Result<(), NoiseError> {
        let initiator = self.role == Role::Initiator;
        let (own_ephemeral, remote_ephemeral) = match token {
            Token::Ee => (true, true),
            Token::Es => (initiator, !initiator),
            Token::Se => (!initiator, initiator),
            Token::Ss => (false, false),
            Token::Psk => {
                let psk = self.psk.as_ref().ok_or(NoiseError::Turn)?;
                self.symmetric.mix_key_and_hash(psk.as_ref());
                return Ok(());
            }
            Token::E | Token::S => return Err(NoiseError::Turn),
        };
        let own = if own_ephemeral { self.ephemeral.as_ref().ok_or(NoiseError::Turn)? } else { &self.own };
        let remote = if remote_ephemeral { self.remote_ephemeral.as_ref().ok_or(NoiseError::Turn)? } else { &self.remote };
        let shared = ecdh(own, remote);
        self.symmetric.mix_key(shared.as_ref());
        Ok(())
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handshake({:?}, message {}, secret)", self.role, self.message)
    }
}

fn put(out: &mut [u8], place: &mut usize, bytes: &[u8]) -> Result<(), NoiseError> {
    let end = *place + bytes.len();
    out.get_mut(*place..end).ok_or(NoiseError::Buffer)?.copy_from_slice(bytes);
    *place = end;
    Ok(())
}
