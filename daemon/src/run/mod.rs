//! The one loop. While the store is locked, `locked` answers; once it is open, `ready` owns
//! the engine, performs its effects and feeds the results back.

mod clock;
mod locked;
mod ready;

use std::path::PathBuf;
use std::sync::Arc;

use kith_crypto::residue;
use tokio::sync::watch;

use crate::config::{Config, Link, Signaling};
use crate::handle::{DaemonState, Desk, Handle, Status, door};
use crate::store::{self, Folder, FolderError, Found, OpenError, Store};

/// What the loop needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where identity and history are kept.
    pub data_dir: PathBuf,
    /// The signaling server.
    pub signaling: Signaling,
    /// The links.
    pub link: Link,
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
    Open(Box<Store>),
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
        let found = store::open(&folder)?;
        let (handle, desk) = door(status(&found));
        Ok((Self { settings, desk, folder, found }, handle))
    }

    /// Runs until `stop` becomes true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut next = Next::Lock(self.found);
        loop {
            next = match next {
                Next::Lock(found) => {
                    self.desk.status.send_replace(status(&found));
                    locked::run(found, &self.folder, &mut self.desk, &mut stop).await
                }
                Next::Open(store) => ready::run(*store, &self.folder, &self.settings, &mut self.desk, &mut stop).await,
                Next::Stop => return,
            };
        }
    }
}

fn status(found: &Found) -> Status {
    match found {
        Found::Empty => Status { state: DaemonState::NeedsSetUp, client_id: None },
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
