//! The door between the D-Bus facade and the loop: requests go in, events come out.

use std::fs::File;
use std::sync::Arc;

use kith_crypto::identity::ClientId;
use kith_engine::{ConversationId, Event, MessageRecord, Reply, Request, RequestError};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use zeroize::Zeroizing;

use crate::backup::{BackupError, Plan};
use crate::config;
use crate::store::RetentionChoice;
use crate::task::{TaskId, Tasks};

/// How many calls may wait for the loop. A full queue makes callers wait, never the loop.
const CALLS_MAX: usize = 64;

/// How many events an observer may lag behind before it has to take a new snapshot.
const EVENTS_MAX: usize = 1024;

/// Whether the daemon can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonState {
    /// There is no identity yet: only `SetUp` is answered.
    NeedsSetUp,
    /// The store is locked: only `Unlock` is answered.
    Locked,
    /// Everything is answered.
    Ready,
}

/// What is known of the daemon while it is locked, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether it can be used.
    pub state: DaemonState,
    /// Own client id, once there is an identity.
    pub client_id: Option<ClientId>,
}

/// Why a call was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The daemon is locked.
    #[error("locked")]
    Locked,
    /// The daemon has not been set up.
    #[error("not set up")]
    NotSetUp,
    /// The daemon is already set up.
    #[error("already set up")]
    AlreadySetUp,
    /// The secret does not open the store.
    #[error("wrong secret")]
    WrongSecret,
    /// It is neither the PIN nor the store's secret.
    #[error("wrong PIN")]
    WrongPin,
    /// Too many wrong secrets or PINs; the next try is allowed after so many seconds.
    #[error("wait {0} s")]
    WaitFor(u32),
    /// The store is damaged; the sentence says what is affected.
    #[error("storage corrupt: {0}")]
    Corrupt(String),
    /// Another long task runs.
    #[error("busy")]
    Busy,
    /// The backup was not made or not taken.
    #[error("backup: {0}")]
    Backup(BackupError),
    /// The engine refused.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The daemon is stopping.
    #[error("stopping")]
    Stopping,
}

/// A read of history, answered from a snapshot of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Messages of a conversation with a sequence number above `after`, oldest first.
    History {
        /// Which conversation.
        conversation: ConversationId,
        /// Exclusive.
        after: u64,
        /// At most so many; the store caps it at its page size.
        count_max: u32,
    },
    /// Received messages that a consumer has not acknowledged and that come after `cursor`,
    /// oldest first.
    Inbox {
        /// The consumer's name, at most 64 bytes.
        consumer: String,
        /// Exclusive; the consumer's stored cursor counts if it is higher.
        cursor: u64,
        /// At most so many; the store caps it at its page size.
        count_max: u32,
    },
}

/// One message as a read gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which conversation.
    pub conversation: ConversationId,
    /// Its place in the inbox; 0 in a page of history.
    pub inbox_seq: u64,
    /// The message.
    pub message: MessageRecord,
    /// Who has read it, of an own one that was delivered. In a page of history only.
    pub read_by: Vec<ClientId>,
    /// Whether all others in the conversation have.
    pub is_read: bool,
}

/// One call to the loop.
#[derive(Debug)]
pub enum Call {
    /// Make an identity and a store under this secret.
    SetUp {
        /// The personal hash, exactly as typed.
        secret: Zeroizing<String>,
        /// Shown to peers in invites.
        display_name: String,
        /// Completion.
        done: oneshot::Sender<Result<(), CallError>>,
    },
    /// Open the store.
    Unlock {
        /// The personal hash, exactly as typed.
        secret: Zeroizing<String>,
        /// Completion.
        done: oneshot::Sender<Result<(), CallError>>,
    },
    /// Put the store's keys under another secret.
    ChangeSecret {
        /// The present secret, exactly as typed.
        old: Zeroizing<String>,
        /// The one to come, exactly as typed.
        new: Zeroizing<String>,
        /// Completion.
        done: oneshot::Sender<Result<(), CallError>>,
    },
    /// Rewrite the store under a new data key.
    RotateKey {
        /// The task that shows it.
        done: oneshot::Sender<Result<TaskId, CallError>>,
    },
    /// Close sessions and wipe keys.
    Lock {
        /// Completion.
        done: oneshot::Sender<Result<(), CallError>>,
    },
    /// Destroy the keys, then everything else. Whoever asks may do that: the facade has made sure.
    Wipe {
        /// Completion.
        done: oneshot::Sender<Result<(), CallError>>,
    },
    /// Judge what may be the PIN, or the store's secret.
    Prove {
        /// Exactly as typed.
        proof: Zeroizing<String>,
        /// Completion; an error if it is neither.
        done: oneshot::Sender<Result<(), CallError>>,
    },
    /// Set another PIN.
    SetPin {
        /// The present PIN or the store's secret, exactly as typed; `None` if the facade has made sure that the
        /// caller may do it without.
        old: Option<Zeroizing<String>>,
        /// The one to come, exactly as typed; an empty one removes it.
        new: Zeroizing<String>,
        /// Completion.
        done: oneshot::Sender<Result<(), CallError>>,
    },
    /// Begin to check every value of the store.
    Check {
        /// The task.
        done: oneshot::Sender<Result<TaskId, CallError>>,
    },
    /// Begin to write a backup into an empty file.
    Export {
        /// The file.
        file: File,
        /// Whether it is to lie there in clear. Whoever asks may have that: the facade has made sure.
        plain: bool,
        /// The task.
        done: oneshot::Sender<Result<TaskId, CallError>>,
    },
    /// Begin to read a backup.
    Import {
        /// The file.
        file: File,
        /// What is to be done with it.
        plan: Plan,
        /// The task.
        done: oneshot::Sender<Result<TaskId, CallError>>,
    },
    /// Let this choice of how much history is kept hold from now on.
    ChooseRetention {
        /// What is chosen; one that says nothing goes back to the configuration.
        choice: RetentionChoice,
        /// Completion.
        done: oneshot::Sender<Result<(), CallError>>,
    },
    /// A request for the engine.
    Engine {
        /// What is asked for.
        request: Request,
        /// Completion.
        done: oneshot::Sender<Result<Reply, CallError>>,
    },
    /// A read of history.
    Read {
        /// What is asked for.
        read: Read,
        /// Completion.
        done: oneshot::Sender<Result<Vec<Row>, CallError>>,
    },
    /// The present state as the events that would build it.
    Snapshot {
        /// Completion.
        done: oneshot::Sender<Result<Vec<Event>, CallError>>,
    },
}

/// What the facades hold. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    calls: mpsc::Sender<Call>,
    events: broadcast::Sender<Arc<Event>>,
    status: watch::Receiver<Status>,
    retention: watch::Receiver<config::Retention>,
    pin_set: watch::Receiver<bool>,
    tasks: Tasks,
}

/// What the loop holds.
#[derive(Debug)]
pub struct Desk {
    /// Calls to answer.
    pub calls: mpsc::Receiver<Call>,
    /// Where events go out; nobody listening is fine.
    pub events: broadcast::Sender<Arc<Event>>,
    /// Where the status is shown.
    pub status: watch::Sender<Status>,
    /// Where it is shown how much history is kept.
    pub retention: watch::Sender<config::Retention>,
    /// Where it is shown whether there is a PIN.
    pub pin_set: watch::Sender<bool>,
    /// Where long work is begun.
    pub tasks: Tasks,
}

/// Makes the two ends.
pub fn door(status: Status) -> (Handle, Desk) {
    let (calls_in, calls) = mpsc::channel(CALLS_MAX);
    let (events, _) = broadcast::channel(EVENTS_MAX);
    let (status_in, status) = watch::channel(status);
    let (retention_in, retention) = watch::channel(config::Retention::default());
    let (pin_set_in, pin_set) = watch::channel(false);
    let tasks = Tasks::new();
    let handle = Handle { calls: calls_in, events: events.clone(), status, retention, pin_set, tasks: tasks.clone() };
    (handle, Desk { calls, events, status: status_in, retention: retention_in, pin_set: pin_set_in, tasks })
}

impl Handle {
    /// Makes an identity and a store.
    pub async fn set_up(&self, secret: Zeroizing<String>, display_name: String) -> Result<(), CallError> {
        self.call(|done| Call::SetUp { secret, display_name, done }).await
    }

    /// Opens the store.
    pub async fn unlock(&self, secret: Zeroizing<String>) -> Result<(), CallError> {
        self.call(|done| Call::Unlock { secret, done }).await
    }

    /// Puts the store's keys under another secret.
    pub async fn change_secret(&self, old: Zeroizing<String>, new: Zeroizing<String>) -> Result<(), CallError> {
        self.call(|done| Call::ChangeSecret { old, new, done }).await
    }

    /// Begins to rewrite the store under a new data key.
    pub async fn rotate_key(&self) -> Result<TaskId, CallError> {
        self.call(|done| Call::RotateKey { done }).await
    }

    /// Closes sessions and wipes keys.
    pub async fn lock(&self) -> Result<(), CallError> {
        self.call(|done| Call::Lock { done }).await
    }

    /// Destroys the keys, then everything else; the device needs set-up after it.
    pub async fn wipe(&self) -> Result<(), CallError> {
        self.call(|done| Call::Wipe { done }).await
    }

    /// Judges what may be the PIN, or the store's secret.
    pub async fn prove(&self, proof: Zeroizing<String>) -> Result<(), CallError> {
        self.call(|done| Call::Prove { proof, done }).await
    }

    /// Sets another PIN, or none.
    pub async fn set_pin(&self, old: Option<Zeroizing<String>>, new: Zeroizing<String>) -> Result<(), CallError> {
        self.call(|done| Call::SetPin { old, new, done }).await
    }

    /// Begins to check every value of the store.
    pub async fn check(&self) -> Result<TaskId, CallError> {
        self.call(|done| Call::Check { done }).await
    }

    /// Begins to write a backup into an empty file, perhaps in clear.
    pub async fn export(&self, file: File, plain: bool) -> Result<TaskId, CallError> {
        self.call(|done| Call::Export { file, plain, done }).await
    }

    /// Begins to read a backup.
    pub async fn import(&self, file: File, plan: Plan) -> Result<TaskId, CallError> {
        self.call(|done| Call::Import { file, plan, done }).await
    }

    /// Lets a choice of how much history is kept hold from now on.
    pub async fn choose_retention(&self, choice: RetentionChoice) -> Result<(), CallError> {
        self.call(|done| Call::ChooseRetention { choice, done }).await
    }

    /// Passes a request to the engine.
    pub async fn request(&self, request: Request) -> Result<Reply, CallError> {
        self.call(|done| Call::Engine { request, done }).await
    }

    /// Reads history or inbox.
    pub async fn read(&self, read: Read) -> Result<Vec<Row>, CallError> {
        self.call(|done| Call::Read { read, done }).await
    }

    /// The present state as events. Subscribe first, then take the snapshot, then apply what
    /// comes: events are whole views, so one that comes twice does no harm.
    pub async fn snapshot(&self) -> Result<Vec<Event>, CallError> {
        self.call(|done| Call::Snapshot { done }).await
    }

    /// Events from now on. On `Lagged`, take a new snapshot.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// The status, and its changes. On `Ready`, take a snapshot; on `Locked`, forget all views.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// How much history is kept, while the daemon is ready, and its changes.
    pub fn retention(&self) -> watch::Receiver<config::Retention> {
        self.retention.clone()
    }

    /// Whether there is a PIN, while the daemon is ready, and its changes.
    pub fn pin_set(&self) -> watch::Receiver<bool> {
        self.pin_set.clone()
    }

    /// Long work, to be watched and cancelled.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    async fn call<T>(&self, call: impl FnOnce(oneshot::Sender<Result<T, CallError>>) -> Call) -> Result<T, CallError> {
        let (done, result) = oneshot::channel();
        self.calls.send(call(done)).await.map_err(|_| CallError::Stopping)?;
        result.await.map_err(|_| CallError::Stopping)?
    }
}
