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

/// A header with all that it leads to. The last clone wipes the keys.
#[derive(Clone)]
pub(super) struct Custody {
    header: Header,
    kek: Arc<KeyEncryptionKey>,
    backup: Arc<BackupKey>,
    keys: Arc<StoreKeys>,
}

impl Custody {
    /// Puts the keys of a store under a secret: the exact bytes that were typed. PBKDF2 takes
    /// long.
    ///
    /// # Errors
    ///
    /// Only where the system has no randomness.
    pub(super) fn new(
        secret: &[u8],
        client_id: ClientId,
        keys: Arc<StoreKeys>,
        phase: Phase,
    ) -> Result<Self, VaultError> {
        let mut rng = UnwrapErr(SysRng);
        let mut salt = [0; 16];
        rand_core::Rng::fill_bytes(&mut rng, &mut salt);
        let parameters = Parameters { client_id, salt, iterations: ITERATIONS };
        let master = parameters.master_key(secret)?;
        let kek = master.key_encryption_key();
        let header = Header::seal(parameters, phase, &keys, &kek, &mut rng);
        Ok(Self { header, kek: Arc::new(kek), backup: Arc::new(master.backup_key()), keys })
    }

    /// Opens a header with its secret: the exact bytes that were typed. PBKDF2 takes long.
    ///
    /// # Errors
    ///
    /// [`VaultError::Sealed`]: another secret, or a damaged header.
    pub(super) fn open(header: Header, secret: &[u8]) -> Result<Self, VaultError> {
        let master = header.parameters.master_key(secret)?;
        let kek = master.key_encryption_key();
        let keys = header.open(&kek)?;
        Ok(Self { header, kek: Arc::new(kek), backup: Arc::new(master.backup_key()), keys: Arc::new(keys) })
    }

    /// The same keys under another secret. PBKDF2 takes long.
    ///
    /// # Errors
    ///
    /// As [`Custody::new`].
    pub(super) fn under(&self, secret: &[u8]) -> Result<Self, VaultError> {
        Self::new(secret, self.header.parameters.client_id, self.keys.clone(), self.header.phase())
    }

    /// Other keys under the same secret, for a store without plaintext.
    pub(super) fn over(&self, keys: Arc<StoreKeys>) -> Self {
        let header = Header::seal(self.header.parameters, Phase::Sealed, &keys, &self.kek, &mut UnwrapErr(SysRng));
        Self { header, keys, ..self.clone() }
    }

    /// The header as it lies, or is to lie, in the store.
    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// What backups are sealed with.
    pub(super) fn backup_access(&self) -> BackupAccess {
        let Parameters { client_id, salt, iterations } = self.header.parameters;
        BackupAccess { client_id, salt, iterations, key: self.backup.clone() }
    }

    /// What row tags are made with, for a backup.
    pub(super) fn tag_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*self.keys.tags().as_bytes())
    }

    /// The keys of the tables.
    pub(super) fn table_keys(&self) -> Keys {
        Keys::derive(&self.keys, &self.header.parameters.client_id)
    }
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custody").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Parameters {
    fn master_key(&self, secret: &[u8]) -> Result<MasterKey, VaultError> {
        MasterKey::derive(secret, &self.client_id, &self.salt, self.iterations)
    }
}

#[cfg(test)]
impl Custody {
    /// The same secret over this data key, with a header as earlier versions made them.
    pub(super) fn of_first_kind(self, data: vault::DataKey) -> Self {
        let parameters = self.header.parameters;
        let header = Header::of_first_kind(parameters, &data, &self.kek, &mut UnwrapErr(SysRng));
        Self { header, keys: Arc::new(StoreKeys::from_data_key(data)), ..self }
    }
}
