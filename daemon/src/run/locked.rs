//! The loop while the store is locked: only set-up and unlocking are answered.

use kith_engine::{RequestError, checked_name};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::{Next, entropy, stopped, wiped};
use crate::handle::{Call, CallError, Desk};
use crate::store::{self, CreateError, Folder, Found, LockedStore, Store, UnlockError};
use kith_crypto::identity::Identity;

/// What works on the blocking pool: deriving a key takes long, on purpose.
struct Work {
    task: JoinHandle<(Found, Result<Box<Store>, CallError>)>,
    done: oneshot::Sender<Result<(), CallError>>,
}

pub(super) async fn run(found: Found, folder: &Folder, desk: &mut Desk, stop: &mut watch::Receiver<bool>) -> Next {
    // `None` while the work has it.
    let mut found = Some(found);
    let mut work: Option<Work> = None;
    loop {
        tokio::select! {
            call = desk.calls.recv() => match call {
                None => return Next::Stop,
                Some(call) => answer(call, folder, &mut found, &mut work),
            },
            (given_back, result) = finished(&mut work) => {
                let done = work.take().map(|w| w.done);
                let reply = result.as_ref().map(|_| ()).map_err(Clone::clone);
                if let Some(done) = done {
                    // The caller may have gone; the store is open all the same.
                    let _ = done.send(reply);
                }
                match result {
                    Ok(store) => return Next::Open(store),
                    Err(_) => found = Some(given_back),
                }
            }
            () = stopped(stop) => return Next::Stop,
        }
    }
}

/// The result of the work; never completes while there is none.
async fn finished(work: &mut Option<Work>) -> (Found, Result<Box<Store>, CallError>) {
    match work {
        None => std::future::pending().await,
        Some(work) => match (&mut work.task).await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        },
    }
}

fn answer(call: Call, folder: &Folder, found: &mut Option<Found>, work: &mut Option<Work>) {
    let refusal = match found {
        Some(Found::Empty) => CallError::NotSetUp,
        Some(Found::Locked(_)) | None => CallError::Locked,
    };
    match (call, found.take()) {
        (Call::SetUp { secret, display_name, done }, Some(Found::Empty)) => {
            let folder = folder.clone();
            let task = tokio::task::spawn_blocking(move || wiped(|| set_up(&folder, &secret, display_name)));
            *work = Some(Work { task, done });
        }
        (Call::Unlock { secret, done }, Some(Found::Locked(store))) => {
            let task = tokio::task::spawn_blocking(move || wiped(|| unlock(store, &secret)));
            *work = Some(Work { task, done });
        }
        (call, kept) => {
            *found = kept;
            refuse(call, refusal);
        }
    }
}

fn refuse(call: Call, refusal: CallError) {
    // Whoever asked may have gone.
    match call {
        Call::SetUp { done, .. } => drop(done.send(Err(CallError::AlreadySetUp))),
        Call::Lock { done } => drop(done.send(Ok(()))),
        Call::Unlock { done, .. } => drop(done.send(Err(refusal))),
        Call::Engine { done, .. } => drop(done.send(Err(refusal))),
        Call::Read { done, .. } => drop(done.send(Err(refusal))),
        Call::Snapshot { done } => drop(done.send(Err(refusal))),
    }
}

fn set_up(folder: &Folder, secret: &Zeroizing<String>, display_name: String) -> (Found, Result<Box<Store>, CallError>) {
    (Found::Empty, made(folder, secret, &display_name))
}

fn made(folder: &Folder, secret: &Zeroizing<String>, display_name: &str) -> Result<Box<Store>, CallError> {
    if secret.trim_end_matches('\n').is_empty() {
        return Err(RequestError::InvalidArgument("the secret is empty").into());
    }
    let display_name = checked_name(display_name)?;
    let identity = Identity::generate(&mut entropy());
    store::create(folder, secret.as_bytes(), identity, display_name).map(Box::new).map_err(|error| match error {
        CreateError::Exists => CallError::AlreadySetUp,
        CreateError::Full => RequestError::StorageFull.into(),
        CreateError::Io(_) | CreateError::Failed(_) => RequestError::Storage(error.to_string()).into(),
    })
}

fn unlock(locked: LockedStore, secret: &Zeroizing<String>) -> (Found, Result<Box<Store>, CallError>) {
    let result = locked.unlock(secret.as_bytes()).map(Box::new).map_err(|error| match error {
        UnlockError::WrongSecret => CallError::WrongSecret,
        UnlockError::Corrupt(_) | UnlockError::Failed(_) => CallError::Corrupt(error.to_string()),
    });
    (Found::Locked(locked), result)
}
