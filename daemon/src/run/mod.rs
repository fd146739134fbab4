//! The one loop. While the store is locked, `locked` answers; once it is open, `ready` owns
//! the engine, performs its effects and feeds the results back.

mod backup;
mod check;
mod clock;
mod end;
mod journal;
mod locked;
mod ready;
mod retention;
mod secret;

use std::path::PathBuf;
use std::sync::Arc;

use kith_crypto::residue;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::config::{Config, Link, Signaling};
use crate::credential;
use crate::handle::{DaemonState, Desk, Handle, Status, door};
use crate::store::{self, Folder, FolderError, Found, OpenError};
use backup::Opened;
use secret::Wrong;

/// What the loop needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where identity and history are kept.
    pub data_dir: PathBuf,
    /// The signaling server.
    pub signaling: Signaling,
    /// The links.
    pub link: Link,
    /// The name under which the credential sets up a device that has no identity yet.
    pub set_up_name: Option<String>,
    /// How much history is kept.
    pub retention: crate::config::Retention,
    /// Where the system has put this process's credentials.
    pub credentials: Option<PathBuf>,
    /// This run's instance id, random.
    pub instance: [u8; 16],
}

impl Settings {
    /// Takes what concerns the loop from a configuration.
    pub fn new(config: &Config) -> Self {
        let mut instance = [0; 16];
        rand_core::Rng::fill_bytes(&mut entropy(), &mut instance);
        Self {
            data_dir: config.data_dir.clone(),
            signaling: config.signaling.clone(),
            link: config.link.clone(),
            set_up_name: config.set_up.display_name.clone(),
            retention: config.retention.clone(),
            credentials: credential::folder(),
            instance,
        }
    }
}

/// The operating system's random source.
pub(crate) fn entropy() -> impl rand_core::CryptoRng {
    rand_core::UnwrapErr(getrandom::SysRng)
}

/// The loop, before it runs.
#[derive(Debug)]
pub struct Daemon {
    settings: Settings,
    desk: Desk,
    folder: Folder,
    wrong: Wrong,
    found: Found,
}

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder must not or cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The store in it cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
}

/// How a stage of the loop ended.
enum Next {
    /// Go on with an open store.
    Open(Opened),
    /// Go on locked.
    Lock(Found),
    /// The program ends.
    Stop,
}

impl Daemon {
    /// Looks at the data folder and makes the door.
    ///
    /// # Errors
    /// A folder that must not or cannot be used; the sentence says what to do.
    pub fn new(settings: Settings) -> Result<(Self, Handle), StartError> {
        let folder = Folder::open(&settings.data_dir)?;
        let wrong =
            Wrong::open(&folder).map_err(|source| FolderError::Io { path: settings.data_dir.clone(), source })?;
        let found = store::open(&folder)?;
        let (handle, desk) = door(status(&found));
        Ok((Self { settings, desk, folder, wrong, found }, handle))
    }

    /// Runs until `stop` becomes true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut next = Next::Lock(self.found);
        // Once, at the start: what somebody has locked stays locked.
        let mut start = Start::read(&self.settings);
        loop {
            next = match next {
                Next::Lock(found) => {
                    self.desk.status.send_replace(status(&found));
                    locked::run(found, &self.folder, &self.wrong, start.take(), &mut self.desk, &mut stop).await
                }
                Next::Open(opened) => {
                    ready::run(opened, &self.folder, &self.wrong, &self.settings, &mut self.desk, &mut stop).await
                }
                Next::Stop => return,
            };
        }
    }
}

/// What the credential asks for at the start.
struct Start {
    secret: Zeroizing<String>,
    set_up_name: Option<String>,
}

impl Start {
    fn read(settings: &Settings) -> Option<Self> {
        let secret = match credential::read(settings.credentials.as_deref()?) {
            Ok(secret) => secret?,
            Err(error) => {
                tracing::error!("{error}; until then use `kithctl unlock`");
                return None;
            }
        };
        Some(Self { secret, set_up_name: settings.set_up_name.clone() })
    }
}

fn status(found: &Found) -> Status {
    match found {
        Found::Empty => Status { state: DaemonState::NeedsSetUp, client_id: None },
        Found::Plain(store) => Status { state: DaemonState::NeedsSetUp, client_id: Some(store.client_id()) },
        Found::Locked(store) => Status { state: DaemonState::Locked, client_id: Some(store.client_id()) },
    }
}

/// Overwritten of a thread's stack of 2 MiB after work with keys.
const THREAD_STACK_BYTES: usize = 512 * 1024;

/// Does on a thread of its own what uses keys, and leaves none of them on that thread's stack, which lives on.
pub(crate) fn wiped<T>(work: impl FnOnce() -> T) -> T {
    residue::wiped::<THREAD_STACK_BYTES, T>(work)
}

/// Completes when the program is to end.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone will never say so; the program is ending.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Where events go out. Nobody listening is fine.
fn publish(desk: &Desk, event: kith_engine::Event) {
    let _ = desk.events.send(Arc::new(event));
}
