//! Changing what a store opens with.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use kith_crypto::{identity::ClientId, vault::BackupKey};
use kith_engine::CommitError;
use tokio::sync::{mpsc, oneshot};

use super::{
    chore::RotateError,
    custody::{Custody, Wrapping},
    disk::Door,
    orders::Order,
    pin::PinRow,
    rebuild::is_migrating,
};
use crate::task::Task;

const BUSY: &str = "too many commits wait for the disk; try again";

/// Changes the secret and the data key of an open store. Clones take turns.
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

    /// Whether values in clear are still to be sealed, which the store does by itself.
    pub fn is_sealing(&self) -> bool {
        self.custody().is_some_and(|custody| is_migrating(&custody))
    }

    /// Lets a task show how far the sealing is, and how it ends.
    pub fn show_sealing(&self, task: Task) {
        self.order(task, Order::Show);
    }

    /// Rewrites the store into a fresh file under a new data key, while it is in use: whoever knows an
    /// old secret and has an old copy of the file opens nothing that is written from then on. Needs
    /// as much space again as the store has. The task shows how far it is and how it ends; a crash
    /// before its end leaves the store as it was.
    pub fn rotate(&self, task: Task) {
        self.order(task, Order::Rotate);
    }

    fn order(&self, task: Task, order: impl FnOnce(Task) -> Order) {
        let Some(orders) = self.orders.upgrade() else { return task.end(RotateError::Locked.into()) };
        if let Err(error) = orders.try_send(order(task))
            && let Order::Rotate(task) | Order::Show(task) = error.into_inner()
        {
            task.end(RotateError::Failed(BUSY.to_owned()).into());
        }
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
        let wrapping = Wrapping::new(new, custody.backup_access().client_id)
            .map_err(|error| ChangeError::Failed(error.to_string()))?;
        self.written(|done| Order::Secret(Box::new(wrapping), done))
    }

    /// Sets another PIN, the exact bytes that were typed, or none. Takes as long as deriving a key, and
    /// waits for the disk: not for the async loop's own thread.
    ///
    /// # Errors
    ///
    /// After an error the old PIN holds.
    pub fn set_pin(&self, pin: Option<&[u8]>) -> Result<(), ChangeError> {
        let client_id = self.door.custody().ok_or(ChangeError::Locked)?.backup_access().client_id;
        let row = PinRow::of(pin, &client_id).map_err(|error| ChangeError::Failed(error.to_string()))?;
        self.written(|done| Order::Pin(row, done))
    }

    /// Has the writer write something, and waits for that.
    fn written(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<(), CommitError>>) -> Order,
    ) -> Result<(), ChangeError> {
        let (done, result) = oneshot::channel();
        let orders = self.orders.upgrade().ok_or(ChangeError::Locked)?;
        orders.try_send(order(done)).map_err(|_| ChangeError::Failed(BUSY.to_owned()))?;
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
