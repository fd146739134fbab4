//! Keys for what is stored (docs/protocol.md §8): personal hash → master key → data key → one key
//! per table → sealed values.

use core::fmt;

use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::identity::ClientId;
use crate::primitives::{Aead, TAG_BYTES, hkdf, hmac_sha256, pbkdf2};

/// Fewer are too easy to try out.
pub const ITERATIONS_MIN: u32 = 200_000;
/// More would only make a damaged header keep the device busy.
pub const ITERATIONS_MAX: u32 = 10_000_000;
/// The longest name of a table.
pub const TABLE_NAME_BYTES_MAX: usize = 32;
/// The longest row key.
pub const ROW_KEY_BYTES_MAX: usize = 64;

const NONCE_BYTES: usize = 12;
/// Nonce ‖ key ‖ tag.
pub const WRAPPED_BYTES: usize = NONCE_BYTES + 32 + TAG_BYTES;
const VALUE_VERSION: u8 = 1;
/// Where the plaintext stands in a value's buffer.
pub const VALUE_START: usize = 1 + NONCE_BYTES;
/// What sealing adds to a value.
pub const OVERHEAD: usize = VALUE_START + TAG_BYTES;

/// Why the vault refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The number of iterations is out of its bounds.
    #[error("the number of iterations is out of its bounds")]
    Iterations,
    /// Another key, another place, or changed.
    #[error("it does not open")]
    NotAuthentic,
    /// Not a sealed value of this version.
    #[error("it is not a sealed value")]
    Malformed,
    /// A row key or a buffer of the wrong size.
    #[error("it does not fit")]
    Length,
}

/// What the personal hash opens.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; 32]);

impl MasterKey {
    /// Derives the key; takes long, on purpose. One trailing newline of the personal hash does
    /// not count.
    ///
    /// # Errors
    /// A number of iterations out of its bounds, before any work.
    pub fn derive(
        personal_hash: &[u8],
        client_id: &ClientId,
        salt: &[u8; 16],
        iterations: u32,
    ) -> Result<Self, VaultError> {
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(VaultError::Iterations);
        }
        let personal_hash = personal_hash.strip_suffix(b"\n").unwrap_or(personal_hash);
        const LABEL: &[u8; 12] = b"kith/1 vault";
        let mut full_salt = [0; LABEL.len() + 20 + 16];
        full_salt[..12].copy_from_slice(LABEL);
        full_salt[12..32].copy_from_slice(client_id.as_bytes());
        full_salt[32..].copy_from_slice(salt);
        let mut key = Self([0; 32]);
        pbkdf2(personal_hash, &full_salt, iterations, &mut key.0);
        Ok(key)
    }

    /// For the data key.
    pub fn key_encryption_key(&self) -> KeyEncryptionKey {
        KeyEncryptionKey(expand(&self.0, &[b"kith/1 vault key-encryption key"]))
    }

    /// For backups.
    pub fn backup_key(&self) -> BackupKey {
        BackupKey(expand(&self.0, &[b"kith/1 vault backup key"]))
    }
}

/// Wraps the data key.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct KeyEncryptionKey([u8; 32]);

/// Encrypts backups.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct BackupKey([u8; 32]);

/// From which every table's key comes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; 32]);

impl DataKey {
    /// A new one.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut key = Self([0; 32]);
        rng.fill_bytes(&mut key.0);
        key
    }

    /// Wraps the key, bound to the clear header before it.
    pub fn wrap<R: CryptoRng + ?Sized>(&self, key: &KeyEncryptionKey, header: &[u8], rng: &mut R) -> [u8; WRAPPED_BYTES] {
        let mut wrapped = [0; WRAPPED_BYTES];
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        wrapped[..NONCE_BYTES].copy_from_slice(&nonce);
        wrapped[NONCE_BYTES..NONCE_BYTES + 32].copy_from_slice(&self.0);
        // The buffer has the room.
        let sealed = Aead::new(&key.0).seal(&nonce, header, &mut wrapped[NONCE_BYTES..], 32);
        debug_assert!(sealed.is_ok());
        wrapped
    }

    /// Unwraps it.
    ///
    /// # Errors
    /// Another key-encryption key or another header.
    pub fn unwrap(key: &KeyEncryptionKey, header: &[u8], wrapped: &[u8; WRAPPED_BYTES]) -> Result<Self, VaultError> {
        let mut wrapped = *wrapped;
        let (nonce, sealed) = wrapped.split_at_mut(NONCE_BYTES);
        let nonce = (&*nonce).try_into().map_err(|_| VaultError::Length)?;
        let opened = Aead::new(&key.0).open(&nonce, header, sealed).map_err(|_| VaultError::NotAuthentic)?;
        let mut data_key = Self([0; 32]);
        data_key.0.copy_from_slice(opened);
        wrapped.zeroize();
        Ok(data_key)
    }

    /// The keys of one table. The name has at most [`TABLE_NAME_BYTES_MAX`] bytes.
    pub fn table(&self, client_id: &ClientId, name: &'static str) -> TableKey {
        TableKey {
            cipher: Aead::new(&zeroize::Zeroizing::new(expand(&self.0, &[b"kith/1 table ", name.as_bytes()]))),
            rows: RowKey(expand(&self.0, &[b"kith/1 row ", name.as_bytes()])),
            client_id: *client_id,
            name,
        }
    }
}

#[derive(Zeroize, ZeroizeOnDrop)]
struct RowKey([u8; 32]);

/// Seals the values of one table.
pub struct TableKey {
    cipher: Aead,
    rows: RowKey,
    client_id: ClientId,
    name: &'static str,
}

const AD_BYTES_MAX: usize = 12 + 20 + 1 + TABLE_NAME_BYTES_MAX + ROW_KEY_BYTES_MAX;

impl TableKey {
    /// Seals in place: the plaintext stands at [`VALUE_START`]; returns the value's length.
    ///
    /// # Errors
    /// A buffer or row key of the wrong size.
    pub fn seal<R: CryptoRng + ?Sized>(
        &self,
        row_key: &[u8],
        buffer: &mut [u8],
        plaintext_len: usize,
        rng: &mut R,
    ) -> Result<usize, VaultError> {
        let ad = self.associated_data(row_key)?;
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let (head, text) = buffer.split_at_mut_checked(VALUE_START).ok_or(VaultError::Length)?;
        head[0] = VALUE_VERSION;
        head[1..].copy_from_slice(&nonce);
        let sealed = self.cipher.seal(&nonce, &ad, text, plaintext_len).map_err(|_| VaultError::Length)?;
        Ok(VALUE_START + sealed)
    }

    /// Opens in place and gives the plaintext.
    ///
    /// # Errors
    /// Another version, another key, another row, or changed.
    pub fn open<'a>(&self, row_key: &[u8], value: &'a mut [u8]) -> Result<&'a mut [u8], VaultError> {
        let ad = self.associated_data(row_key)?;
        let (head, sealed) = value.split_at_mut_checked(VALUE_START).ok_or(VaultError::Malformed)?;
        let (version, nonce) = head.split_at(1);
        if version != [VALUE_VERSION] {
            return Err(VaultError::Malformed);
        }
        let nonce = nonce.try_into().map_err(|_| VaultError::Malformed)?;
        self.cipher.open(&nonce, &ad, sealed).map_err(|_| VaultError::NotAuthentic)
    }

    /// A row key for something secret: the same for the same value, saying nothing about it.
    pub fn row_tag(&self, value: &[u8]) -> [u8; 16] {
        let tag = hmac_sha256(&self.rows.0, &[value]);
        let mut row = [0; 16];
        row.copy_from_slice(&tag[..16]);
        row
    }

    fn associated_data(&self, row_key: &[u8]) -> Result<heapless::Vec<u8, AD_BYTES_MAX>, VaultError> {
        let mut ad = heapless::Vec::new();
        let length = [self.name.len() as u8];
        for part in [b"kith/1 value", self.client_id.as_bytes().as_slice(), &length, self.name.as_bytes(), row_key] {
            ad.extend_from_slice(part).map_err(|_| VaultError::Length)?;
        }
        Ok(ad)
    }
}

fn expand(key: &[u8; 32], info: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    // HKDF-SHA256 gives up to 8,160 bytes; 32 never fail.
    let expanded = hkdf(None, key, info, &mut out);
    debug_assert!(expanded.is_ok());
    out
}

macro_rules! redacted {
    ($($secret:ident),*) => {$(
        impl fmt::Debug for $secret {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($secret), "(secret)"))
            }
        }
    )*};
}

redacted!(MasterKey, KeyEncryptionKey, BackupKey, DataKey, TableKey);
