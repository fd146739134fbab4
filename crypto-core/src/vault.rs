//! The keys and the sealed values of what lies on disk (docs/protocol.md §8).
//!
//! Personal hash → master key → key-encryption key → data key and tag key → two keys per table: one for its values, one
//! for the tags that rows are found by.
//!
//! Invariants:
//! - A value opens only for the same client id, table and row key that it was sealed for.
//! - An iteration count outside 200,000 to 10,000,000 is refused before any work.
//! - Every nonce is random: a new data key is due long before 2³² values were sealed under one.
//!
//! Deliberately absent: files, tables and rows, and the count of what was sealed (the store).

use core::fmt;

use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::identity::{CLIENT_ID_BYTES, ClientId};
use crate::primitives::{NONCE_BYTES, Refused, TAG_BYTES, aead_open, aead_seal, derive, hmac_sha256, pbkdf2_sha256};

/// The fewest PBKDF2 iterations.
pub const ITERATIONS_MIN: u32 = 200_000;
/// The most: beyond it a changed header could keep a small device busy for an hour.
pub const ITERATIONS_MAX: u32 = 10_000_000;
/// Bytes of a data key that is wrapped alone.
pub const WRAPPED_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;
/// Bytes of a data key and a tag key that are wrapped together.
pub const WRAPPED_PAIR_BYTES: usize = NONCE_BYTES + 2 * KEY_BYTES + TAG_BYTES;
/// Bytes before a sealed value's ciphertext: version and nonce.
pub const VALUE_HEAD_BYTES: usize = 1 + NONCE_BYTES;
/// What a sealed value is longer than its plaintext.
pub const OVERHEAD: usize = VALUE_HEAD_BYTES + TAG_BYTES;
/// The longest table name and row key together: both go into the associated data, which is put together on the stack.
pub const NAME_AND_ROW_BYTES_MAX: usize = 256;

const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
const VALUE_VERSION: u8 = 1;

const SALT_LABEL: &[u8; 12] = b"kith/1 vault";
const KEY_ENCRYPTION_LABEL: &[u8] = b"kith/1 vault key-encryption key";
const BACKUP_LABEL: &[u8] = b"kith/1 vault backup key";
const PIN_LABEL: &[u8] = b"kith/1 vault pin";
const TABLE_LABEL: &[u8] = b"kith/1 table ";
const ROW_LABEL: &[u8] = b"kith/1 row ";
const VALUE_LABEL: &[u8; 12] = b"kith/1 value";

/// Why a key was not made or a value not sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// Outside 200,000 to 10,000,000.
    #[error("iterations out of range")]
    Iterations,
    /// The buffer does not hold the value and its overhead.
    #[error("the buffer is too short")]
    NoSpace,
    /// A table name and a row key of more than 256 bytes together.
    #[error("the row key is too long")]
    RowKey,
    /// A value with another version byte.
    #[error("unknown version of a sealed value")]
    Version,
    /// Another key, client id, table, row or bit.
    #[error("does not open")]
    Sealed,
}

impl From<Refused> for VaultError {
    fn from(_: Refused) -> Self {
        Self::Sealed
    }
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; KEY_BYTES]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

key!(
    /// What the personal hash gives; it seals nothing itself.
    MasterKey
);
key!(
    /// Wraps the keys of a store.
    KeyEncryptionKey
);
key!(
    /// From it the key of each export file is derived.
    BackupKey
);
key!(
    /// What a PIN is recognised by, in a sealed store.
    PinVerifier
);
key!(
    /// The random key of a store; each table's key for values is derived from it.
    DataKey
);
key!(
    /// What each table's key for row tags is derived from. It outlives the data key: what some rows are found by is
    /// stored nowhere, so their tags could not be made anew.
    TagKey
);

impl MasterKey {
    /// Derives it from the exact bytes that were typed, less one newline (0x0a) at their end.
    ///
    /// # Errors
    /// [`VaultError::Iterations`].
    pub fn derive(
        personal_hash: &[u8],
        client_id: &ClientId,
        salt: &[u8; SALT_BYTES],
        iterations: u32,
    ) -> Result<Self, VaultError> {
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(VaultError::Iterations);
        }
        let mut full_salt = [0; SALT_LABEL.len() + CLIENT_ID_BYTES + SALT_BYTES];
        let (label_out, rest) = full_salt.split_at_mut(SALT_LABEL.len());
        let (id_out, salt_out) = rest.split_at_mut(CLIENT_ID_BYTES);
        label_out.copy_from_slice(SALT_LABEL);
        id_out.copy_from_slice(client_id.as_bytes());
        salt_out.copy_from_slice(salt);
        let mut key = Self([0; KEY_BYTES]);
        let typed = personal_hash.strip_suffix(b"\n").unwrap_or(personal_hash);
        pbkdf2_sha256(typed, &full_salt, iterations, &mut key.0);
        Ok(key)
    }

    /// The key that wraps the data key.
    pub fn key_encryption_key(&self) -> KeyEncryptionKey {
        KeyEncryptionKey(derive_key(&self.0, &[KEY_ENCRYPTION_LABEL]))
    }

    /// The key that exports are derived from.
    pub fn backup_key(&self) -> BackupKey {
        BackupKey(derive_key(&self.0, &[BACKUP_LABEL]))
    }

    /// What the PIN that gave this master key is recognised by.
    pub fn pin_verifier(&self) -> PinVerifier {
        PinVerifier(derive_key(&self.0, &[PIN_LABEL]))
    }
}

impl PinVerifier {
    /// One that was stored.
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be stored sealed.
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Whether both are of the same PIN. Takes the same time wherever they differ.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |different, (one, another)| different | (one ^ another)) == 0
    }
}

impl BackupKey {
    /// The bytes, for the derivation of a file's key.
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl DataKey {
    /// Makes a new one.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut key = Self([0; KEY_BYTES]);
        rng.fill_bytes(&mut key.0);
        key
    }

    /// Wraps it alone: `nonce [12] ‖ ciphertext [32] ‖ tag [16]`, bound to the clear header's bytes before it.
    pub fn wrap<R: CryptoRng + ?Sized>(
        &self,
        kek: &KeyEncryptionKey,
        header: &[u8],
        rng: &mut R,
    ) -> [u8; WRAPPED_BYTES] {
        let mut wrapped = [0; WRAPPED_BYTES];
        wrapped[NONCE_BYTES..][..KEY_BYTES].copy_from_slice(&self.0);
        wrap(kek, header, rng, &mut wrapped);
        wrapped
    }

    /// Unwraps one.
    ///
    /// # Errors
    /// [`VaultError::Sealed`]: another personal hash, another header or a changed bit.
    pub fn unwrap(kek: &KeyEncryptionKey, header: &[u8], wrapped: &[u8; WRAPPED_BYTES]) -> Result<Self, VaultError> {
        let mut wrapped = Zeroizing::new(*wrapped);
        let key = unwrap(kek, header, &mut wrapped[..])?;
        Ok(Self(*key.first_chunk().ok_or(VaultError::Sealed)?))
    }
}

impl TagKey {
    /// Makes one of its bytes, which a store of version 0 holds in clear.
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for a backup.
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

/// The keys of a store: one seals its values, the other makes its row tags.
#[derive(Debug)]
pub struct StoreKeys {
    data: DataKey,
    tags: TagKey,
}

impl StoreKeys {
    /// Makes the keys of a new store.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut tags = TagKey([0; KEY_BYTES]);
        let data = DataKey::generate(rng);
        rng.fill_bytes(&mut tags.0);
        Self { data, tags }
    }

    /// The keys of a store whose header wraps a data key alone: it is the tag key, too.
    pub fn from_data_key(data: DataKey) -> Self {
        let tags = TagKey(data.0);
        Self { data, tags }
    }

    /// A new data key for a store that keeps its row tags.
    pub fn with_tags<R: CryptoRng + ?Sized>(tags: TagKey, rng: &mut R) -> Self {
        Self { data: DataKey::generate(rng), tags }
    }

    /// The same with a new data key: what the old one opens, these do not, and the row tags stay as they are.
    pub fn renewed<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> Self {
        Self::with_tags(TagKey(self.tags.0), rng)
    }

    /// What makes the row tags.
    pub const fn tags(&self) -> &TagKey {
        &self.tags
    }

    /// Wraps both: `nonce [12] ‖ ciphertext of data key ‖ tag key [64] ‖ tag [16]`, bound to the clear header's bytes before
    /// it.
    pub fn wrap<R: CryptoRng + ?Sized>(
        &self,
        kek: &KeyEncryptionKey,
        header: &[u8],
        rng: &mut R,
    ) -> [u8; WRAPPED_PAIR_BYTES] {
        let mut wrapped = [0; WRAPPED_PAIR_BYTES];
        let (data, tags) = wrapped[NONCE_BYTES..][..2 * KEY_BYTES].split_at_mut(KEY_BYTES);
        data.copy_from_slice(&self.data.0);
        tags.copy_from_slice(&self.tags.0);
        wrap(kek, header, rng, &mut wrapped);
        wrapped
    }

    /// Unwraps both.
    ///
    /// # Errors
    /// [`VaultError::Sealed`]: another personal hash, another header or a changed bit.
    pub fn unwrap(
        kek: &KeyEncryptionKey,
        header: &[u8],
        wrapped: &[u8; WRAPPED_PAIR_BYTES],
    ) -> Result<Self, VaultError> {
        let mut wrapped = Zeroizing::new(*wrapped);
        let (data, tags) = unwrap(kek, header, &mut wrapped[..])?.split_first_chunk().ok_or(VaultError::Sealed)?;
        let tags = tags.first_chunk().ok_or(VaultError::Sealed)?;
        Ok(Self { data: DataKey(*data), tags: TagKey(*tags) })
    }

    /// The keys of one table.
    pub fn table(&self, client_id: &ClientId, name: &'static str) -> TableKey {
        TableKey {
            values: derive_key(&self.data.0, &[TABLE_LABEL, name.as_bytes()]),
            rows: derive_key(&self.tags.0, &[ROW_LABEL, name.as_bytes()]),
            client_id: *client_id,
            name,
        }
    }
}

/// Seals the values of one table, and hides what its rows are found by.
#[derive(ZeroizeOnDrop)]
pub struct TableKey {
    values: [u8; KEY_BYTES],
    rows: [u8; KEY_BYTES],
    #[zeroize(skip)]
    client_id: ClientId,
    #[zeroize(skip)]
    name: &'static str,
}

impl TableKey {
    /// Seals the plaintext at `buf[13..13 + plaintext_len]` in place: `version u8 ‖ nonce [12] ‖ ciphertext ‖ tag [16]`. Gives the
    /// whole length, `plaintext_len + OVERHEAD`.
    ///
    /// # Errors
    /// [`VaultError::NoSpace`] or [`VaultError::RowKey`].
    pub fn seal<R: CryptoRng + ?Sized>(
        &self,
        row_key: &[u8],
        buf: &mut [u8],
        plaintext_len: usize,
        rng: &mut R,
    ) -> Result<usize, VaultError> {
        let associated = self.associated(row_key)?;
        let ([version, nonce @ ..], rest) =
            buf.split_first_chunk_mut::<VALUE_HEAD_BYTES>().ok_or(VaultError::NoSpace)?;
        let (text, rest) = rest.split_at_mut_checked(plaintext_len).ok_or(VaultError::NoSpace)?;
        let tag = rest.first_chunk_mut().ok_or(VaultError::NoSpace)?;
        let nonce: &mut [u8; NONCE_BYTES] = nonce.first_chunk_mut().ok_or(VaultError::NoSpace)?;
        *version = VALUE_VERSION;
        rng.fill_bytes(nonce);
        *tag = aead_seal(&self.values, nonce, &associated, text)?;
        Ok(plaintext_len + OVERHEAD)
    }

    /// Opens a sealed value in place and gives its plaintext.
    ///
    /// # Errors
    /// [`VaultError::Version`], [`VaultError::RowKey`] or [`VaultError::Sealed`].
    pub fn open<'a>(&self, row_key: &[u8], value: &'a mut [u8]) -> Result<&'a mut [u8], VaultError> {
        let associated = self.associated(row_key)?;
        let ([version, nonce @ ..], rest) =
            value.split_first_chunk_mut::<VALUE_HEAD_BYTES>().ok_or(VaultError::Sealed)?;
        if *version != VALUE_VERSION {
            return Err(VaultError::Version);
        }
        let nonce = nonce.first_chunk().ok_or(VaultError::Sealed)?;
        let (text, tag) = rest.split_last_chunk_mut().ok_or(VaultError::Sealed)?;
        aead_open(&self.values, nonce, &associated, text, tag)?;
        Ok(text)
    }

    /// What a row is found by in place of a secret value: 16 bytes of an HMAC of it.
    pub fn row_tag(&self, value: &[u8]) -> [u8; 16] {
        let mut tag = [0; 16];
        tag.copy_from_slice(&hmac_sha256(&self.rows, &[value])[..16]);
        tag
    }

    /// `"kith/1 value" ‖ client id ‖ table name length u8 ‖ table name ‖ row key`.
    fn associated(&self, row_key: &[u8]) -> Result<Associated, VaultError> {
        let name_bytes = u8::try_from(self.name.len()).map_err(|_| VaultError::RowKey)?;
        let mut associated = Associated::new();
        for part in [&VALUE_LABEL[..], self.client_id.as_bytes(), &[name_bytes], self.name.as_bytes(), row_key] {
            associated.extend_from_slice(part).map_err(|_| VaultError::RowKey)?;
        }
        Ok(associated)
    }
}

impl fmt::Debug for TableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TableKey").field(&self.name).finish_non_exhaustive()
    }
}

type Associated = heapless::Vec<u8, { VALUE_LABEL.len() + CLIENT_ID_BYTES + 1 + NAME_AND_ROW_BYTES_MAX }>;

fn derive_key(key: &[u8; KEY_BYTES], info: &[&[u8]]) -> [u8; KEY_BYTES] {
    let [derived] = *derive(&[], key, info);
    derived
}

/// Seals in place what stands between the nonce's place and the tag's; all three together are the wrapped key.
fn wrap<R: CryptoRng + ?Sized>(kek: &KeyEncryptionKey, header: &[u8], rng: &mut R, wrapped: &mut [u8]) {
    let sealed = wrapped.split_first_chunk_mut::<NONCE_BYTES>().and_then(|(nonce, rest)| {
        let (keys, tag_out) = rest.split_last_chunk_mut::<TAG_BYTES>()?;
        rng.fill_bytes(nonce);
        *tag_out = aead_seal(&kek.0, nonce, header, keys).ok()?;
        Some(())
    });
    // Some keys and a header are far below what the cipher takes; were it otherwise, zeros would not unwrap.
    if sealed.is_none() {
        wrapped.zeroize();
    }
}

/// Opens a wrapped key in place.
fn unwrap<'a>(kek: &KeyEncryptionKey, header: &[u8], wrapped: &'a mut [u8]) -> Result<&'a [u8], VaultError> {
    let (nonce, rest) = wrapped.split_first_chunk_mut::<NONCE_BYTES>().ok_or(VaultError::Sealed)?;
    let (keys, tag) = rest.split_last_chunk_mut::<TAG_BYTES>().ok_or(VaultError::Sealed)?;
    aead_open(&kek.0, nonce, header, keys, tag)?;
    Ok(keys)
}
