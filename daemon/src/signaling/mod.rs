//! The device's side of the signaling server: one task that connects, logs in, and comes back.
//!
//! It maps the engine's words to the protocol's and decides nothing about contacts or payloads.
//!
//! Invariants:
//! - Events and what is sent wait in bounded queues. What was given to an older connection never goes
//!   out on a newer one.
//! - Each [`Signal::Connected`] is followed by exactly one [`Signal::Disconnected`], and before that one
//!   by no other `Connected`; only dropping the [`Client`] ends the events without it.
//! - What a server says is taken at a bounded rate; the rest waits with the server.
//! - The login is signed over the name in this device's own configuration, never over one that a server
//!   sent.
//! - Plain `ws` reaches loopback only, unless the configuration allows more.
//!
//! Deliberately absent: pairing, offers, and any memory of what the server said.

mod backoff;
mod connect;
mod endpoint;
#[doc(hidden)] // for the fuzz targets; it is no API
pub mod map;
mod pace;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kith_crypto::identity::Identity;
use kith_engine::{Signal, SignalOut};
use tokio::sync::{mpsc, oneshot, watch};

pub use connect::ConnectError;
pub use endpoint::{EndpointError, server_name};
pub use session::Trouble;

use backoff::Backoff;
use endpoint::Endpoints;
use session::{Queued, Task, Timing};

use crate::network::Network;

/// Events that wait for the loop: a full roster coming online, in part; the socket holds the rest.
const EVENTS_MAX: usize = 256;

/// Messages that wait for the socket: offers and candidates to every contact that comes online.
const QUEUE_MAX: usize = 256;

/// How to reach the servers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Servers that share their devices, at least one, as `wss://host[:port][/path]`, or `ws://…` on loopback. When
    /// a connection fails, the next one's turn has come.
    pub urls: Vec<String>,
    /// Whether `ws` may leave this device.
    pub allow_plain: bool,
    /// Random, made at each start of the daemon: it tells this run from another with the same identity.
    pub instance: [u8; 16],
    /// By which the task hears that this device's addresses have changed.
    pub network: Network,
}

/// The handle of the task; dropping it ends the connection.
#[derive(Debug)]
pub struct Client {
    queue: mpsc::Sender<Queued>,
    /// Which connection is logged in; 0 is none.
    online: Arc<AtomicU64>,
    trouble: watch::Receiver<Option<Arc<Trouble>>>,
    _stop: oneshot::Sender<()>,
}

impl Client {
    /// Gives a message to the connection; false if there is none or its queue is full, and then the
    /// message is dropped.
    pub fn send(&self, message: SignalOut) -> bool {
        match self.online.load(Ordering::Acquire) {
            0 => false,
            connection => self.queue.try_send(Queued { connection, message }).is_ok(),
        }
    }

    /// Why there is no connection, in words that say what to do; `None` while there is one.
    #[must_use]
    pub fn trouble(&self) -> Option<Arc<Trouble>> {
        self.trouble.borrow().clone()
    }
}

/// Starts the task on the running runtime.
///
/// # Errors
/// A URL cannot be used, or would carry signaling in clear text over a network.
pub fn spawn(settings: Settings, identity: Arc<Identity>) -> Result<(Client, mpsc::Receiver<Signal>), EndpointError> {
    spawn_with(settings, identity, Timing::default(), None)
}

/// Starts the task with other times and, in tests, with another certificate store.
fn spawn_with(
    settings: Settings,
    identity: Arc<Identity>,
    timing: Timing,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<(Client, mpsc::Receiver<Signal>), EndpointError> {
    let endpoints = Endpoints::parse(&settings.urls)?;
    endpoints.permit(settings.allow_plain)?;
    let (queue, queued) = mpsc::channel(QUEUE_MAX);
    let (events, receiver) = mpsc::channel(EVENTS_MAX);
    let (trouble_sender, trouble) = watch::channel(None);
    let (stop, stopped) = oneshot::channel::<()>();
    let online = Arc::new(AtomicU64::new(0));
    let task = Task {
        endpoints,
        identity,
        instance: settings.instance,
        network: settings.network,
        timing,
        tls,
        queued,
        events,
        online: Arc::clone(&online),
        trouble: trouble_sender,
        backoff: Backoff::default(),
        connections: 0,
    };
    tokio::spawn(async move {
        tokio::select! {
            biased;
            // The handle is gone; so is its connection, at once.
            _ = stopped => {}
            () = task.run() => {}
        }
    });
    Ok((Client { queue, online, trouble, _stop: stop }, receiver))
}

#[cfg(test)]
mod tests;
