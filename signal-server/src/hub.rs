//! What all connections share: the registry and their outboxes behind one lock, and the configuration in force.
//!
//! The lock is held for the registry's work on one message and never across an `await`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use kith_crypto::identity::{ClientId, LoginChallenge, verify_login};
use kith_signal_protocol::{Goodbye, GoodbyeReason, Instance, Login, ToDevice, ToServer};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::access_log::{AccessLog, Event, Network, PeerAddress};
use crate::config::Config;
use crate::frames::Kind;
use crate::ice::{Ice, LabelKey};
use crate::ledger::{Denied, Entry, Ledger};
use crate::limits::Limits;
use crate::metrics::{Gauges, Metrics};
use crate::outbox::Outbox;
use crate::proxy::Proxies;
use crate::registry::words::{NodeId, Order, Word};
use crate::registry::{Accepted, ConnectionId, Output, Registry, SHUTTING_DOWN};
use crate::server::{Deadlines, ServerError};
use crate::tls::Tls;

/// Devices that come back in a second after a restart: each costs about a millisecond of TLS and login.
const RETURNS_PER_S: u32 = 200;

/// What all connections share.
pub(crate) struct Hub {
    /// How long things may take.
    pub(crate) deadlines: Deadlines,
    /// What is written about connections.
    pub(crate) access_log: AccessLog,
    pub(crate) metrics: Metrics,
    address: SocketAddr,
    label_key: LabelKey,
    started: Instant,
    is_ready: AtomicBool,
    has_bus: bool,
    addresses: Ledger<Network>,
    devices: Ledger<ClientId>,
    in_force: Mutex<Arc<InForce>>,
    state: Mutex<State>,
}

/// What a reload of the configuration replaces.
pub(crate) struct InForce {
    /// Under which names this server accepts logins.
    names: Vec<String>,
    /// The proxies that are believed.
    pub(crate) proxies: Option<Proxies>,
    /// The certificate, if this server speaks TLS itself.
    pub(crate) tls: Option<Tls>,
    limits: Limits,
    ice: Ice,
}

struct State {
    registry: Registry,
    outboxes: BTreeMap<ConnectionId, Arc<Outbox>>,
    next: u64,
    is_stopping: bool,
    /// The way to other servers, while there is one.
    bus: Option<mpsc::Sender<Order>>,
}

impl InForce {
    pub(crate) fn load(config: &Config, address: SocketAddr, label_key: &LabelKey) -> Result<Self, ServerError> {
        let names = if config.server_names.is_empty() {
            vec![address.to_string(), format!("localhost:{}", address.port())]
        } else {
            config.server_names.clone()
        };
        Ok(Self {
            names,
            proxies: config.proxies.clone(),
            tls: config.tls.as_ref().map(Tls::load).transpose()?,
            limits: config.limits,
            ice: config.ice(label_key.clone())?,
        })
    }
}

impl Hub {
    pub(crate) fn new(
        config: &Config,
        address: SocketAddr,
        label_key: LabelKey,
        deadlines: Deadlines,
    ) -> Result<Self, ServerError> {
        let registry = Registry::new(config.notice.clone());
        let state = State { registry, outboxes: BTreeMap::new(), next: 0, is_stopping: false, bus: None };
        let in_force = InForce::load(config, address, &label_key)?;
        Ok(Self {
            deadlines,
            access_log: AccessLog::open(&config.access_log)?,
            metrics: Metrics::default(),
            address,
            label_key,
            started: Instant::now(),
            is_ready: AtomicBool::new(true),
            has_bus: config.bus.is_some(),
            addresses: Ledger::new(),
            devices: Ledger::new(),
            in_force: Mutex::new(Arc::new(in_force)),
            state: Mutex::new(state),
        })
    }

    /// Goes on with another configuration, and tells the devices if it logs in another way. After an error
    /// everything stays as it was.
    pub(crate) fn change(&self, config: &Config) -> Result<(), ServerError> {
        config.permit(self.address)?;
        let in_force = InForce::load(config, self.address, &self.label_key)?;
        self.access_log.change(&config.access_log)?;
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(in_force);
        let mut state = self.lock();
        state.registry.handle_notice(config.notice.clone());
        self.perform(&mut state);
        Ok(())
    }

    /// The configuration in force.
    pub(crate) fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What has to be done from time to time.
    pub(crate) fn maintain(&self) {
        self.access_log.end_old_files();
        match self.in_force().tls.as_ref().map(Tls::renew) {
            Some(Ok(true)) => tracing::info!("the renewed certificate is in use"),
            Some(Err(error)) => tracing::error!("the renewed certificate is not used: {error}"),
            Some(Ok(false)) | None => {}
        }
    }

    /// Microseconds since the start.
    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Whether new devices are welcome.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    /// From now on they are better off elsewhere.
    pub(crate) fn prepare_stop(&self) {
        self.is_ready.store(false, Ordering::Relaxed);
    }

    /// The share of one connection in what its address may use, if there is any left.
    pub(crate) fn admit(&self, address: PeerAddress) -> Option<Entry> {
        let allowance = self.in_force().limits.address;
        match self.addresses.enter(address.network(), &allowance, self.now_us()) {
            Ok(entry) => Some(entry),
            Err(denied) => {
                match denied {
                    Denied::Present => self.metrics.refused_address_present.add(),
                    Denied::Often => self.metrics.refused_address_often.add(),
                }
                None
            }
        }
    }

    /// The share of one login in what its identity may use, if there is any left.
    pub(crate) fn admit_device(&self, device: ClientId) -> Option<Entry> {
        self.devices.enter(device, &self.in_force().limits.device, self.now_us()).ok()
    }

    /// A connection has come; it is told what to do through its outbox.
    pub(crate) fn connected(&self) -> (ConnectionId, Arc<Outbox>) {
        let mut state = self.lock();
        let id = ConnectionId(state.next);
        state.next += 1;
        let outbox = Arc::new(Outbox::default());
        if state.is_stopping {
            close(&outbox, Some(shutting_down(1)));
        }
        state.outboxes.insert(id, Arc::clone(&outbox));
        (id, outbox)
    }

    /// Whether a login's signature is over one of this server's names and this nonce.
    pub(crate) fn verifies(&self, login: &Login, nonce: &[u8; 32]) -> bool {
        self.in_force().names.iter().any(|name| {
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

    /// Other servers can be reached by `orders`; to them this one is `own`.
    pub(crate) fn linked(&self, own: NodeId, orders: mpsc::Sender<Order>) {
        let mut state = self.lock();
        state.bus = Some(orders);
        state.registry.handle_linked(own);
        self.perform(&mut state);
    }

    /// They can no longer.
    pub(crate) fn unlinked(&self) {
        let mut state = self.lock();
        state.bus = None;
        state.registry.handle_unlinked();
        self.perform(&mut state);
    }

    /// The bus has nothing to do: gives it something of what the others do not know yet.
    pub(crate) fn announce(&self) {
        let mut state = self.lock();
        state.registry.handle_room();
        self.perform(&mut state);
    }

    /// Another server has said something.
    pub(crate) fn heard(&self, from: NodeId, word: Word) {
        let mut state = self.lock();
        state.registry.handle_word(from, word);
        self.perform(&mut state);
    }

    /// Nobody has heard the question with this number.
    pub(crate) fn unheard(&self, number: u64) {
        let mut state = self.lock();
        state.registry.handle_unheard(number);
        self.perform(&mut state);
    }

    /// Some time has passed, always the same.
    pub(crate) fn tick(&self) {
        let mut state = self.lock();
        state.registry.handle_tick();
        self.perform(&mut state);
    }

    /// Whether there should be other servers, and none can be reached.
    pub(crate) fn is_alone(&self) -> bool {
        self.has_bus && self.lock().bus.is_none()
    }

    /// The server stops: says so to everybody, and to each when to come back.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.is_stopping = true;
        state.bus = None;
        let spread_s = 1 + u32::try_from(state.registry.online()).unwrap_or(u32::MAX) / RETURNS_PER_S;
        state.registry.handle_shutdown(|| jitter_s(spread_s));
        self.perform(&mut state);
        for outbox in state.outboxes.values() {
            // Only reaches those that had not logged in; the others are closing by now.
            close(outbox, Some(shutting_down(jitter_s(spread_s))));
        }
    }

    /// What is counted, as Prometheus reads it.
    pub(crate) fn metrics_text(&self) -> String {
        let state = self.lock();
        let gauges = Gauges {
            connections: state.outboxes.len(),
            online: state.registry.online(),
            rooms: state.registry.rooms(),
            invites: state.registry.invites(),
            is_ready: self.is_ready(),
            is_linked: state.bus.is_some(),
        };
        drop(state);
        self.metrics.text(gauges)
    }

    fn perform(&self, state: &mut State) {
        while let Some(output) = state.registry.poll_output() {
            match output {
                Output::Send { to, message } => {
                    self.count(&message);
                    send(state, to, &message);
                }
                Output::SendIce { to, device } => {
                    let servers = self.in_force().ice.servers(&device, now_s());
                    send(state, to, &ToDevice::IceServers(servers));
                }
                Output::Pairing { inviter, invitee } => {
                    self.access_log.write(Event::Pairing { inviter, invitee });
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
                Output::Bus(order) => command(state, order),
            }
        }
    }

    fn count(&self, message: &ToDevice) {
        match message {
            ToDevice::Welcome(_) => self.metrics.logins.add(),
            ToDevice::Relayed(_) => self.metrics.relayed.add(),
            ToDevice::Undelivered(_) => self.metrics.undelivered.add(),
            _ => {}
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
        // RFC 6455 knows no code for it; IANA's registry has 1012, "service restart".
        Some(Goodbye { reason: GoodbyeReason::ShuttingDown, .. }) => CloseCode::Restart,
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
        Ok(payload) => outbox.push(Kind::Binary, &payload),
        // The configuration bounds every text; a message that is too long is a fault of this server.
        Err(error) => tracing::error!(%error, "a message could not be encoded"),
    }
}

fn send(state: &State, to: ConnectionId, message: &ToDevice) {
    if let Some(outbox) = state.outboxes.get(&to) {
        push(outbox, message);
    }
}

/// Gives the bus something to do. Where it has no room, it is hung up on: it begins anew, and all is said again.
fn command(state: &mut State, order: Order) {
    if state.bus.as_ref().is_some_and(|bus| bus.try_send(order).is_err()) {
        state.bus = None;
    }
}

fn shutting_down(retry_after_s: u32) -> Goodbye {
    Goodbye { reason: GoodbyeReason::ShuttingDown, text: SHUTTING_DOWN.to_owned(), retry_after_s }
}

/// A time between one second and `spread_s`; without randomness everybody comes at once.
fn jitter_s(spread_s: u32) -> u32 {
    1 + getrandom::u32().unwrap_or_default() % spread_s
}

/// Seconds since 1970; a clock before that counts as 1970, and its credentials have expired.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
