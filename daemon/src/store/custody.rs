//! The keys of an open store above those of its tables: what writes its clear header anew.

use std::{fmt, sync::Arc};

use getrandom::{SysRng, rand_core::UnwrapErr};
use kith_crypto::{
    identity::ClientId,
    vault::{self, BackupKey, KeyEncryptionKey, MasterKey, StoreKeys, VaultError},
};
use zeroize::Zeroizing;

use super::{
    header::{Header, Parameters, Phase},
    keyholder::BackupAccess,
    table::Keys,
};

/// PBKDF2 iterations of a new secret: a quarter of a second on a small board.
const ITERATIONS: u32 = vault::ITERATIONS_MIN;

/// What a secret gives. The last clone wipes the keys.
#[derive(Clone)]
pub(super) struct Wrapping {
    parameters: Parameters,
    kek: Arc<KeyEncryptionKey>,
    backup: Arc<BackupKey>,
}

/// A header with all that it leads to. The last clone wipes the keys.
#[derive(Clone)]
pub(super) struct Custody {
    wrapping: Wrapping,
    keys: Arc<StoreKeys>,
    header: Header,
}

impl Wrapping {
    /// What the exact bytes that were typed give. PBKDF2 takes long.
    ///
    /// # Errors
    ///
    /// [`VaultError::Iterations`].
    fn of(secret: &[u8], parameters: Parameters) -> Result<Self, VaultError> {
        let Parameters { client_id, salt, iterations } = parameters;
        let master = MasterKey::derive(secret, &client_id, &salt, iterations)?;
        let (kek, backup) = (Arc::new(master.key_encryption_key()), Arc::new(master.backup_key()));
        Ok(Self { parameters, kek, backup })
    }

    /// What a new secret gives, under a new salt. PBKDF2 takes long.
    ///
    /// # Errors
    ///
    /// As [`MasterKey::derive`].
    pub(super) fn new(secret: &[u8], client_id: ClientId) -> Result<Self, VaultError> {
        let mut salt = [0; 16];
        rand_core::Rng::fill_bytes(&mut UnwrapErr(SysRng), &mut salt);
        Self::of(secret, Parameters { client_id, salt, iterations: ITERATIONS })
    }
}

impl Custody {
    /// Puts the keys of a store under what a secret gives.
    pub(super) fn new(wrapping: Wrapping, keys: Arc<StoreKeys>, phase: Phase) -> Self {
        let header = Header::seal(wrapping.parameters, phase, &keys, &wrapping.kek, &mut UnwrapErr(SysRng));
        Self { wrapping, keys, header }
    }

    /// Opens a header with its secret: the exact bytes that were typed. PBKDF2 takes long.
    ///
    /// # Errors
    ///
    /// [`VaultError::Sealed`]: another secret, or a damaged header.
    pub(super) fn open(header: Header, secret: &[u8]) -> Result<Self, VaultError> {
        let wrapping = Wrapping::of(secret, header.parameters)?;
        let keys = Arc::new(header.open(&wrapping.kek)?);
        Ok(Self { wrapping, keys, header })
    }

    /// The same keys under what another secret gives.
    pub(super) fn under(&self, wrapping: Wrapping) -> Self {
        Self::new(wrapping, self.keys.clone(), self.header.phase())
    }

    /// Other keys under the same secret, for a store without plaintext.
    pub(super) fn over(&self, keys: Arc<StoreKeys>) -> Self {
        Self::new(self.wrapping.clone(), keys, Phase::Sealed)
    }

    /// A new data key with the same tag key.
    pub(super) fn renewed_keys(&self) -> Arc<StoreKeys> {
        Arc::new(self.keys.renewed(&mut UnwrapErr(SysRng)))
    }

    /// The header as it lies, or is to lie, in the store.
    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// What backups are sealed with.
    pub(super) fn backup_access(&self) -> BackupAccess {
        let Parameters { client_id, salt, iterations } = self.wrapping.parameters;
        BackupAccess { client_id, salt, iterations, key: self.wrapping.backup.clone() }
    }

    /// What row tags are made with, for a backup.
    pub(super) fn tag_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*self.keys.tags().as_bytes())
    }

    /// The keys of the tables.
    pub(super) fn table_keys(&self) -> Keys {
        Keys::derive(&self.keys, &self.wrapping.parameters.client_id, self.header.phase())
    }
}

impl fmt::Debug for Wrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapping").field("parameters", &self.parameters).finish_non_exhaustive()
    }
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custody").field("header", &self.header).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Custody {
    /// Opens another header of the same store with what one of its secrets gave; `None` if that was
    /// another secret.
    pub(super) fn reopen(&self, header: Header) -> Option<Self> {
        let keys = Arc::new(header.open(&self.wrapping.kek).ok()?);
        (header.parameters == self.wrapping.parameters).then(|| Self { wrapping: self.wrapping.clone(), keys, header })
    }

    /// The same secret over this data key, with a header as earlier versions made them.
    pub(super) fn of_first_kind(self, data: vault::DataKey) -> Self {
        let Self { wrapping, .. } = self;
        let header = Header::of_first_kind(wrapping.parameters, &data, &wrapping.kek, &mut UnwrapErr(SysRng));
        Self { wrapping, header, keys: Arc::new(StoreKeys::from_data_key(data)) }
    }
}
