//! What closes an open store while the program goes on, and what comes after it.

use kith_crypto::identity::ClientId;
use tokio::sync::oneshot;
use tracing::warn;

use super::backup::Import;
use super::{Next, locked, wiped};
use crate::handle::{CallError, Desk};
use crate::store::{self, Folder, Found};

/// Whom to tell how a call ended.
pub(super) type Done = oneshot::Sender<Result<(), CallError>>;

/// Why the store is closed while the program goes on.
pub(super) enum End {
    Lock(Done),
    Wipe(Done),
    /// Another store is to take its place.
    Import(Box<Import>),
}

impl End {
    /// Does it, once the store is closed.
    pub(super) async fn carry_out(self, folder: &Folder, client_id: ClientId, desk: &Desk) -> Next {
        match self {
            Self::Lock(done) => lock(folder, desk, done),
            Self::Wipe(done) => wipe(folder, client_id, desk, done).await,
            Self::Import(import) => restore(folder, import).await,
        }
    }
}

fn lock(folder: &Folder, desk: &Desk, done: Done) -> Next {
    match store::open(folder) {
        Ok(found) => {
            desk.status.send_replace(super::status(&found));
            let _ = done.send(Ok(()));
            Next::Lock(found)
        }
        Err(error) => {
            let _ = done.send(Err(CallError::Corrupt(error.to_string())));
            Next::Stop
        }
    }
}

/// Goes on with the store of a backup; with the former one, locked, if that has failed.
async fn restore(folder: &Folder, import: Box<Import>) -> Next {
    match tokio::task::spawn_blocking(move || wiped(|| import.publish())).await {
        Ok(Ok(opened)) => Next::Open(opened),
        Ok(Err(error)) => {
            warn!("the store of the backup could not be put in its place: {error}");
            store::open(folder).map_or(Next::Stop, Next::Lock)
        }
        Err(_) => Next::Stop,
    }
}

async fn wipe(folder: &Folder, client_id: ClientId, desk: &Desk, done: Done) -> Next {
    let folder = folder.clone();
    let destroyed = tokio::task::spawn_blocking(move || locked::destroyed(&folder, &client_id)).await;
    let (result, next) = match destroyed {
        Ok(Ok(())) => (Ok(()), Next::Lock(Found::Empty)),
        Ok(Err(error)) => (Err(error), Next::Stop),
        Err(_) => (Err(CallError::Stopping), Next::Stop),
    };
    if result.is_ok() {
        desk.status.send_replace(super::status(&Found::Empty));
    }
    // The caller may have gone.
    let _ = done.send(result);
    next
}
