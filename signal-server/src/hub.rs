//! The registry and the outboxes of all connections, behind one lock.
//!
//! The lock is held for the registry's work on one message and never across an `await`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use kith_crypto::identity::{ClientId, LoginChallenge, verify_login};
use kith_signal_protocol::{Goodbye, GoodbyeReason, Instance, Login, Notice, ToDevice, ToServer};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::access_log::AccessLog;
use crate::ice::Ice;
use crate::outbox::Outbox;
use crate::registry::{Accepted, ConnectionId, Output, Registry};
use crate::server::Deadlines;

/// What all connections share.
pub(crate) struct Hub {
    /// Under which names this server accepts logins.
    pub(crate) names: Vec<String>,
    /// How long things may take.
    pub(crate) deadlines: Deadlines,
    /// What is written about connections.
    pub(crate) access_log: AccessLog,
    ice: Ice,
    state: Mutex<State>,
}

struct State {
    registry: Registry,
    outboxes: BTreeMap<ConnectionId, Arc<Outbox>>,
    next: u64,
    is_stopping: bool,
}

impl Hub {
    pub(crate) fn new(names: Vec<String>, notice: Notice, ice: Ice, deadlines: Deadlines) -> Self {
        let access_log = AccessLog::new(notice.mode);
        let state = State { registry: Registry::new(notice), outboxes: BTreeMap::new(), next: 0, is_stopping: false };
        Self { names, deadlines, access_log, ice, state: Mutex::new(state) }
    }

    /// A connection has come; it is told what to do through its outbox.
    pub(crate) fn connected(&self) -> (ConnectionId, Arc<Outbox>) {
        let mut state = self.lock();
        let id = ConnectionId(state.next);
        state.next += 1;
        let outbox = Arc::new(Outbox::default());
        if state.is_stopping {
            close(&outbox, Some(shutting_down()));
        }
        state.outboxes.insert(id, Arc::clone(&outbox));
        (id, outbox)
    }

    /// Whether a login's signature is over one of this server's names and this nonce.
    pub(crate) fn verifies(&self, login: &Login, nonce: &[u8; 32]) -> bool {
        self.names.iter().any(|name| {
            let challenge = LoginChallenge { server_name: name, nonce };
            verify_login(&login.card, &challenge, &login.signature).is_ok()
        })
    }

    /// A device has proved who it is.
    pub(crate) fn logged_in(&self, id: ConnectionId, device: ClientId, instance: Instance) -> Accepted {
        let mut state = self.lock();
        let accepted = state.registry.handle_login(id, device, instance);
        self.perform(&mut state);
        accepted
    }

    /// A message has come.
    pub(crate) fn received(&self, id: ConnectionId, message: ToServer) {
        let mut state = self.lock();
        state.registry.handle_message(id, message);
        self.perform(&mut state);
    }

    /// A connection is gone.
    pub(crate) fn disconnected(&self, id: ConnectionId) {
        let mut state = self.lock();
        state.registry.handle_disconnected(id);
        state.outboxes.remove(&id);
        self.perform(&mut state);
    }

    /// The server stops: says so to everybody.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.is_stopping = true;
        state.registry.handle_shutdown();
        self.perform(&mut state);
        for outbox in state.outboxes.values() {
            // Only reaches those that had not logged in; the others are closing by now.
            close(outbox, Some(shutting_down()));
        }
    }

    fn perform(&self, state: &mut State) {
        while let Some(output) = state.registry.poll_output() {
            match output {
                Output::Send { to, message } => send(state, to, &message),
                Output::SendIce { to, device } => {
                    let servers = self.ice.servers(&device, now_s());
                    send(state, to, &ToDevice::IceServers(servers));
                }
                Output::Probe(to) => {
                    if let Some(outbox) = state.outboxes.get(&to) {
                        outbox.probe();
                    }
                }
                Output::Close { to, goodbye } => {
                    if let Some(outbox) = state.outboxes.get(&to) {
                        close(outbox, goodbye);
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds this lock; its content would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says goodbye, if there is something to say, and closes.
pub(crate) fn close(outbox: &Outbox, goodbye: Option<Goodbye>) {
    let code = match &goodbye {
        Some(_) => CloseCode::Normal,
        None => CloseCode::Policy,
    };
    if let Some(goodbye) = goodbye {
        push(outbox, &ToDevice::Goodbye(goodbye));
    }
    outbox.close(code);
}

/// Puts a message into an outbox.
pub(crate) fn push(outbox: &Outbox, message: &ToDevice) {
    match message.encode() {
        Ok(frame) => outbox.push(frame),
        // The configuration bounds every text; a message that is too long is a fault of this server.
        Err(error) => tracing::error!(%error, "a message could not be encoded"),
    }
}

fn send(state: &State, to: ConnectionId, message: &ToDevice) {
    if let Some(outbox) = state.outboxes.get(&to) {
        push(outbox, message);
    }
}

fn shutting_down() -> Goodbye {
    Goodbye { reason: GoodbyeReason::ShuttingDown, text: "the server is shutting down".to_owned(), retry_after_s: 0 }
}

/// Seconds since 1970; a clock before that counts as 1970, and its credentials have expired.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
