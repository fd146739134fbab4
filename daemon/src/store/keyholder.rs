//! Changing what a store opens with.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use kith_crypto::{identity::ClientId, vault::BackupKey};
use kith_engine::CommitError;
use tokio::sync::{mpsc, oneshot};

use super::{custody::Custody, disk::Door, orders::Order};

/// Changes the secret of an open store. Clones take turns.
#[derive(Clone)]
pub struct Keyholder {
    door: Arc<Door>,
    orders: mpsc::WeakSender<Order>,
    turn: Arc<Mutex<()>>,
}

/// The key that the store's backups are sealed under, and what the secret becomes it with.
#[derive(Clone, Debug)]
pub struct BackupAccess {
    /// Whose store it is.
    pub client_id: ClientId,
    /// The random part of the PBKDF2 salt.
    pub salt: [u8; 16],
    /// PBKDF2 iterations.
    pub iterations: u32,
    /// The key.
    pub key: Arc<BackupKey>,
}

/// Why the secret stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The old secret is not the store's.
    #[error("the old secret is wrong")]
    WrongSecret,
    /// The store has been locked or closed meanwhile.
    #[error("the store is locked")]
    Locked,
    /// No space left on the device.
    #[error("no space left on the device")]
    Full,
    /// The store could not be written.
    #[error("{0}")]
    Failed(String),
}

impl Keyholder {
    pub(super) fn new(door: Arc<Door>, orders: mpsc::WeakSender<Order>) -> Self {
        Self { door, orders, turn: Arc::default() }
    }

    /// The keys above the tables'; `None` once the store is locked.
    pub(super) fn custody(&self) -> Option<Custody> {
        self.door.custody()
    }

    /// What a backup is sealed with; `None` once the store is locked.
    pub fn backup(&self) -> Option<BackupAccess> {
        Some(self.door.custody()?.backup_access())
    }

    /// Whether this secret, the exact bytes that were typed, opens the store. Takes as long as
    /// deriving a key: not for the async loop's own thread.
    ///
    /// # Errors
    ///
    /// [`ChangeError::WrongSecret`], or [`ChangeError::Locked`].
    pub fn verify(&self, secret: &[u8]) -> Result<(), ChangeError> {
        let custody = self.door.custody().ok_or(ChangeError::Locked)?;
        Custody::open(custody.header().clone(), secret).map(drop).map_err(|_| ChangeError::WrongSecret)
    }

    /// Puts the store's keys under a new secret: both are the exact bytes that were typed. No value
    /// is written anew: whoever knows the old secret and has an old copy of the header has the keys
    /// all the same. After a crash either the old or the new secret opens the store; after this has
    /// returned, the new one. Takes as long as deriving two keys: not for the async loop's own
    /// thread.
    ///
    /// # Errors
    ///
    /// After an error the old secret holds.
    pub fn change_secret(&self, old: &[u8], new: &[u8]) -> Result<(), ChangeError> {
        // Nothing is half done behind a poisoned lock: it guards no data.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let custody = self.door.custody().ok_or(ChangeError::Locked)?;
        Custody::open(custody.header().clone(), old).map_err(|_| ChangeError::WrongSecret)?;
        let changed = custody.under(new).map_err(|error| ChangeError::Failed(error.to_string()))?;
        let (done, result) = oneshot::channel();
        let orders = self.orders.upgrade().ok_or(ChangeError::Locked)?;
        orders
            .try_send(Order::Header(Box::new(changed), done))
            .map_err(|_| ChangeError::Failed("too many commits wait for the disk; try again".to_owned()))?;
        drop(orders);
        result.blocking_recv().map_err(|_| ChangeError::Locked)?.map_err(|error| match error {
            CommitError::Full => ChangeError::Full,
            error => ChangeError::Failed(error.to_string()),
        })
    }
}

impl fmt::Debug for Keyholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyholder").finish_non_exhaustive()
    }
}
