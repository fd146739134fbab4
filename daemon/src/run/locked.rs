//! The loop while the store is locked: only set-up and unlocking are answered.

use std::fs::File;

use kith_crypto::identity::{ClientId, Identity};
use kith_engine::{RequestError, checked_name};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{error, info};
use zeroize::Zeroizing;

use super::backup::{self, Opened};
use super::secret::{Wrong, judged, not_empty};
use super::{Next, Start, entropy, stopped, wiped};
use crate::backup::{Access, Plan};
use crate::handle::{Call, CallError, Desk};
use crate::store::{self, Attempts, Folder, Found, LockedStore, PlainStore, Store, UnlockError};
use crate::task::{Task, TaskKind, Tasks};

/// What the folder holds after the work, and what came of it.
type Worked = (Found, Result<Outcome, CallError>);

enum Outcome {
    Opened(Opened),
    Wiped,
    /// The store stays locked; the secret was right.
    Proven,
    /// A task has ended, and has told it.
    Told,
}

/// What works on the blocking pool: deriving a key takes long, on purpose.
struct Work {
    task: JoinHandle<Worked>,
    asked_by: AskedBy,
}

/// Who is told how it went.
enum AskedBy {
    Caller(oneshot::Sender<Result<(), CallError>>),
    Credential,
    /// A task, which tells it itself.
    Task,
}

struct Locked<'a> {
    folder: &'a Folder,
    wrong: &'a Wrong,
    /// `None` while the work has it.
    found: Option<Found>,
    work: Option<Work>,
}

pub(super) async fn run(
    found: Found,
    folder: &Folder,
    wrong: &Wrong,
    start: Option<Start>,
    desk: &mut Desk,
    stop: &mut watch::Receiver<bool>,
) -> Next {
    let mut locked = Locked { folder, wrong, found: Some(found), work: None };
    if let Some(start) = start {
        locked.start(start);
    }
    loop {
        tokio::select! {
            // While a secret is being tried, callers wait for the verdict: it may open the store for them.
            call = desk.calls.recv(), if locked.work.is_none() => match call {
                None => return Next::Stop,
                Some(call) => locked.answer(call, &desk.tasks),
            },
            (found, result) = finished(&mut locked.work) => {
                if matches!(result, Ok(Outcome::Wiped)) {
                    desk.status.send_replace(super::status(&found));
                }
                if let Some(work) = locked.work.take() {
                    work.asked_by.tell(&result);
                }
                match result {
                    Ok(Outcome::Opened(opened)) => return Next::Open(opened),
                    Ok(Outcome::Wiped | Outcome::Proven | Outcome::Told) | Err(_) => locked.found = Some(found),
                }
            }
            () = stopped(stop) => {
                desk.tasks.cancel_all();
                return Next::Stop;
            }
        }
    }
}

/// The result of the work; never completes while there is none.
async fn finished(work: &mut Option<Work>) -> Worked {
    match work {
        None => std::future::pending().await,
        Some(work) => match (&mut work.task).await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        },
    }
}

impl AskedBy {
    fn tell(self, result: &Result<Outcome, CallError>) {
        match (self, result) {
            // The caller may have gone; the store is open all the same.
            (Self::Caller(done), result) => drop(done.send(result.as_ref().map(|_| ()).map_err(Clone::clone))),
            (Self::Task, _) => {}
            (Self::Credential, Ok(_)) => info!("opened with the credential {}", crate::credential::NAME),
            (Self::Credential, Err(CallError::WrongSecret)) => error!(
                "the credential {} does not open the store: put the right secret there and restart kithd, \
                 or use `kithctl unlock`",
                crate::credential::NAME
            ),
            (Self::Credential, Err(error)) => error!("the credential was of no use: {error}"),
        }
    }
}

impl Locked<'_> {
    /// Does what the credential is for. Only the system's owner can put one there, so it is neither
    /// slowed down nor counted: a guesser on the bus must not keep a device from starting.
    fn start(&mut self, start: Start) {
        let folder = self.folder.clone();
        match (self.found.take(), start.set_up_name) {
            (Some(Found::Empty), Some(name)) => {
                self.begin(AskedBy::Credential, move || set_up(&folder, &start.secret, &name));
            }
            (Some(Found::Plain(store)), name) => {
                self.begin(AskedBy::Credential, move || {
                    let result = adopted(&store, &start.secret, &name.unwrap_or_default());
                    (Found::Plain(store), result.map(opened))
                });
            }
            (Some(Found::Locked(store)), _) => {
                self.begin(AskedBy::Credential, move || {
                    let result = open(&store, &start.secret);
                    (Found::Locked(store), result.map(opened))
                });
            }
            (found, _) => {
                info!("there is a credential and no identity yet: set `set_up.display_name`, or use `kithctl set-up`");
                self.found = found;
            }
        }
    }

    fn answer(&mut self, call: Call, tasks: &Tasks) {
        let refusal = match self.found {
            Some(Found::Empty | Found::Plain(_)) => CallError::NotSetUp,
            Some(Found::Locked(_)) | None => CallError::Locked,
        };
        match (call, self.found.take()) {
            (Call::SetUp { secret, display_name, done }, Some(Found::Empty)) => {
                let folder = self.folder.clone();
                self.begin(AskedBy::Caller(done), move || set_up(&folder, &secret, &display_name));
            }
            (Call::SetUp { secret, display_name, done }, Some(Found::Plain(store))) => {
                self.begin(AskedBy::Caller(done), move || {
                    let result = adopted(&store, &secret, &display_name);
                    (Found::Plain(store), result.map(opened))
                });
            }
            (Call::Unlock { secret, done }, Some(Found::Locked(store))) => {
                let attempts = self.wrong.secrets.clone();
                self.begin(AskedBy::Caller(done), move || {
                    let result = unlock(&store, &attempts, &secret);
                    (Found::Locked(store), result.map(opened))
                });
            }
            // The PIN lies sealed in the store: here only the secret can be judged.
            (Call::Prove { proof, done }, Some(Found::Locked(store))) => {
                let attempts = self.wrong.pins.clone();
                self.begin(AskedBy::Caller(done), move || {
                    let result = proven(&store, &attempts, &proof);
                    (Found::Locked(store), result.map(|()| Outcome::Proven))
                });
            }
            (Call::Wipe { done }, Some(Found::Locked(store))) => {
                let folder = self.folder.clone();
                self.begin(AskedBy::Caller(done), move || wipe(&folder, store));
            }
            (Call::Import { file, plan, done }, Some(Found::Empty)) => match tasks.begin(TaskKind::Import) {
                Ok(task) => {
                    drop(done.send(Ok(task.id())));
                    let folder = self.folder.clone();
                    self.begin(AskedBy::Task, move || restored(&folder, file, &plan, task));
                }
                Err(error) => {
                    self.found = Some(Found::Empty);
                    drop(done.send(Err(error)));
                }
            },
            (call, kept) => {
                self.found = kept;
                refuse(call, refusal);
            }
        }
    }

    fn begin(&mut self, asked_by: AskedBy, work: impl FnOnce() -> Worked + Send + 'static) {
        self.work = Some(Work { task: tokio::task::spawn_blocking(move || wiped(work)), asked_by });
    }
}

fn opened(store: Store) -> Outcome {
    Outcome::Opened(Opened::of(store))
}

fn refuse(call: Call, refusal: CallError) {
    // Whoever asked may have gone.
    match call {
        Call::SetUp { done, .. } => drop(done.send(Err(CallError::AlreadySetUp))),
        Call::Lock { done } => drop(done.send(Ok(()))),
        Call::ChooseRetention { done, .. } => drop(done.send(Err(refusal))),
        Call::Unlock { done, .. }
        | Call::ChangeSecret { done, .. }
        | Call::Wipe { done }
        | Call::Prove { done, .. }
        | Call::SetPin { done, .. } => drop(done.send(Err(refusal))),
        Call::Check { done } | Call::RotateKey { done } | Call::Export { done, .. } | Call::Import { done, .. } => {
            drop(done.send(Err(refusal)));
        }
        Call::Engine { done, .. } => drop(done.send(Err(refusal))),
        Call::Read { done, .. } => drop(done.send(Err(refusal))),
        Call::Snapshot { done } => drop(done.send(Err(refusal))),
    }
}

fn set_up(folder: &Folder, secret: &Zeroizing<String>, display_name: &str) -> Worked {
    (Found::Empty, made(folder, secret, display_name).map(opened))
}

fn made(folder: &Folder, secret: &Zeroizing<String>, display_name: &str) -> Result<Store, CallError> {
    not_empty(secret)?;
    let display_name = checked_name(display_name)?;
    let identity = Identity::generate(&mut entropy());
    store::create(folder, secret.as_bytes(), identity, display_name).map_err(CallError::from)
}

/// Puts a store that lies in clear under its first secret. Without a display name it keeps its own.
fn adopted(store: &PlainStore, secret: &Zeroizing<String>, display_name: &str) -> Result<Store, CallError> {
    not_empty(secret)?;
    let display_name = if display_name.is_empty() { None } else { Some(checked_name(display_name)?) };
    store.set_up(secret.as_bytes(), display_name).map_err(CallError::from)
}

/// Makes the device that a backup holds.
fn restored(folder: &Folder, file: File, plan: &Plan, task: Task) -> Worked {
    let Some(import) = backup::import(folder, &Access::NotSetUp, file, plan, task) else {
        return (Found::Empty, Ok(Outcome::Told));
    };
    match import.publish() {
        Ok(opened) => (Found::Empty, Ok(Outcome::Opened(opened))),
        // Whatever is there now.
        Err(error) => (store::open(folder).unwrap_or(Found::Empty), Err(error)),
    }
}

/// Opens the store with a secret that anybody may have typed.
fn unlock(store: &LockedStore, attempts: &Attempts, secret: &Zeroizing<String>) -> Result<Store, CallError> {
    judged(attempts, || open(store, secret))
}

fn open(store: &LockedStore, secret: &Zeroizing<String>) -> Result<Store, CallError> {
    store.unlock(secret.as_bytes()).map_err(not_opened)
}

fn not_opened(error: UnlockError) -> CallError {
    match error {
        UnlockError::WrongSecret => CallError::WrongSecret,
        UnlockError::Corrupt(_) | UnlockError::Failed(_) => CallError::Corrupt(error.to_string()),
    }
}

/// Whether this is the store's secret.
fn proven(store: &LockedStore, attempts: &Attempts, proof: &Zeroizing<String>) -> Result<(), CallError> {
    judged(attempts, || {
        store.verify(proof.as_bytes()).map_err(|error| match error {
            UnlockError::WrongSecret => CallError::WrongPin,
            error => not_opened(error),
        })
    })
}

fn wipe(folder: &Folder, store: LockedStore) -> Worked {
    match destroyed(folder, &store.client_id()) {
        Ok(()) => (Found::Empty, Ok(Outcome::Wiped)),
        Err(error) => (Found::Locked(store), Err(error)),
    }
}

/// Destroys the store, which nobody has open. Waits for the disk.
pub(super) fn destroyed(folder: &Folder, client_id: &ClientId) -> Result<(), CallError> {
    let failed = |error| RequestError::Storage(format!("the wipe goes on at the next start of kithd: {error}"));
    store::wipe(folder, client_id).map_err(failed)?;
    info!("everything has been wiped");
    Ok(())
}
