//! The device's connection to its signaling server: logs in, keeps the connection, comes back
//! after it was lost. It maps words and decides nothing about them.
//!
//! While there is no connection, what should be sent is dropped: the engine says everything anew
//! when it hears [`Signal::Connected`].

mod address;
mod socket;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use kith_crypto::identity::{Identity, LoginChallenge};
use kith_crypto::version::Version;
use kith_engine::{RefusedBy, Signal, SignalOut};
use kith_signal_protocol::limits::PING_MS;
use kith_signal_protocol::{Goodbye, Login, ToDevice, ToServer};
use rand_core::Rng as _;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tracing::{debug, warn};

pub use address::{AddressError, server_name};

use address::Address;
use socket::Stream;

/// Signals that wait for the loop, and messages that wait for the socket. A connection attempt
/// makes a few dozen.
const QUEUE_MAX: usize = 512;
/// From the first packet to the welcome.
const CONNECT_MS_MAX: u64 = 15_000;
/// A ping without an answer for so long means that the connection is dead.
const PONG_MS_MAX: u64 = 10_000;
/// The wait after the first failure; doubles with each.
const BACKOFF_MS_MIN: u64 = 200;
/// The longest wait.
const BACKOFF_MS_MAX: u64 = 30_000;
/// After a refusal that only a person can mend.
const REFUSED_MS_MIN: u64 = 30_000;
/// A login that lasted so long ends the counting of failures.
const STEADY_MS: u64 = 10_000;

/// Where and as whom to log in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `wss://…`, or `ws://…` on this machine.
    pub url: String,
    /// Allow `ws://` to another machine.
    pub allow_plain: bool,
    /// Random, made at each start of the daemon.
    pub instance: [u8; 16],
}

/// The connection. Dropping it ends it.
#[derive(Debug)]
pub struct Client {
    outgoing: mpsc::Sender<SignalOut>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    connected: AtomicBool,
    /// The queue was full: what was dropped must be said anew, over a new connection.
    overflow: Notify,
}

impl Client {
    /// Sends to the server; false, and dropped, while there is no connection.
    pub fn send(&self, signal: SignalOut) -> bool {
        if !self.shared.connected.load(Ordering::Relaxed) {
            return false;
        }
        let sent = self.outgoing.try_send(signal).is_ok();
        if !sent {
            self.shared.overflow.notify_one();
        }
        sent
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts the connection; what the server says comes out of the receiver.
pub fn spawn(settings: Settings, identity: Arc<Identity>) -> (Client, mpsc::Receiver<Signal>) {
    let (outgoing, outgoing_out) = mpsc::channel(QUEUE_MAX);
    let (signals_in, signals) = mpsc::channel(QUEUE_MAX);
    let shared = Arc::new(Shared::default());
    let keeper = Keeper { settings, identity, outgoing: outgoing_out, signals: signals_in, shared: shared.clone() };
    let task = tokio::spawn(keeper.run());
    (Client { outgoing, shared, task }, signals)
}

struct Keeper {
    settings: Settings,
    identity: Arc<Identity>,
    outgoing: mpsc::Receiver<SignalOut>,
    signals: mpsc::Sender<Signal>,
    shared: Arc<Shared>,
}

/// How a connection ended.
enum End {
    /// It was lost, or could not be made.
    Lost(String),
    /// The server refused the login.
    Refused(Goodbye),
    /// The loop has ended.
    Closed,
}

impl Keeper {
    async fn run(mut self) {
        let address = address::parse(&self.settings.url).and_then(|address| address.checked(self.settings.allow_plain));
        let address = match address {
            Ok(address) => address,
            // Only a person can mend that; the daemon goes on without a server.
            Err(error) => return warn!("{error}"),
        };
        let mut failures = 0_u32;
        let mut told = String::new();
        loop {
            let begun = Instant::now();
            let end = self.connection(&address).await;
            let was_connected = self.shared.connected.swap(false, Ordering::Relaxed);
            if was_connected && self.signals.send(Signal::Disconnected).await.is_err() {
                return;
            }
            if was_connected && begun.elapsed() >= Duration::from_millis(STEADY_MS) {
                failures = 0;
            }
            let wait_ms = match end {
                End::Closed => return,
                End::Lost(why) => {
                    // Said once, not with every attempt.
                    if why != told {
                        warn!("not connected to the signaling server, trying again: {why}");
                        told = why;
                    }
                    failures = failures.saturating_add(1);
                    backoff_ms(failures)
                }
                End::Refused(goodbye) => match self.refused(&goodbye).await {
                    Some(wait_ms) => wait_ms,
                    None => return,
                },
            };
            sleep(Duration::from_millis(wait_ms)).await;
        }
    }

    /// Tells the loop; gives how long to wait. `None` when the loop has ended.
    async fn refused(&self, goodbye: &Goodbye) -> Option<u64> {
        let why = words::refused(goodbye.reason);
        self.signals.send(Signal::Refused(why)).await.ok()?;
        let asked_ms = u64::from(goodbye.retry_after_s).saturating_mul(1_000).min(10 * REFUSED_MS_MIN);
        let least_ms = match why {
            RefusedBy::BadLogin | RefusedBy::IdentityInUse | RefusedBy::Version => REFUSED_MS_MIN,
            RefusedBy::Busy => BACKOFF_MS_MIN * 10,
        };
        Some(least_ms.max(asked_ms) + jitter(least_ms))
    }

    async fn connection(&mut self, address: &Address) -> End {
        let logged_in = timeout(Duration::from_millis(CONNECT_MS_MAX), self.log_in(address)).await;
        let (socket, welcome) = match logged_in {
            Ok(Ok(connection)) => connection,
            Ok(Err(end)) => return end,
            Err(_) => return End::Lost("the server does not answer".to_owned()),
        };
        // What was meant for an earlier connection is of no use.
        while self.outgoing.try_recv().is_ok() {}
        self.shared.connected.store(true, Ordering::Relaxed);
        if self.signals.send(Signal::Connected(words::notice(welcome.notice))).await.is_err() {
            return End::Closed;
        }
        self.talk(socket).await
    }

    async fn log_in(&self, address: &Address) -> Result<(WebSocketStream<Stream>, kith_signal_protocol::Welcome), End> {
        let lost = |error: &dyn std::fmt::Display| End::Lost(error.to_string());
        let mut socket = socket::connect(address).await.map_err(|error| lost(&error))?;
        let challenge = match next(&mut socket).await? {
            ToDevice::Challenge(challenge) => challenge,
            ToDevice::Goodbye(goodbye) => return Err(End::Refused(goodbye)),
            _ => return Err(End::Lost("the server did not begin with a challenge".to_owned())),
        };
        let signed = LoginChallenge { server_name: &address.name, nonce: &challenge.nonce };
        let login = ToServer::Login(Box::new(Login {
            version: Version::OWN,
            card: self.identity.card().clone(),
            instance: self.settings.instance,
            signature: self.identity.sign_login(&signed),
        }));
        let login = login.encode().map_err(|error| lost(&error))?;
        socket.send(Message::Binary(login.into())).await.map_err(|error| lost(&error))?;
        match next(&mut socket).await? {
            ToDevice::Welcome(welcome) => Ok((socket, welcome)),
            ToDevice::Goodbye(goodbye) => Err(End::Refused(goodbye)),
            _ => Err(End::Lost("the server did not answer the login".to_owned())),
        }
    }

    async fn talk(&mut self, mut socket: WebSocketStream<Stream>) -> End {
        let ping = Duration::from_millis(PING_MS);
        let mut heard = Instant::now();
        loop {
            let silent_until = heard + ping + Duration::from_millis(PONG_MS_MAX);
            let (ping_at, dead_at) = (heard + ping, silent_until);
            let wake_at = if Instant::now() < ping_at { ping_at } else { dead_at };
            tokio::select! {
                received = socket.next() => {
                    heard = Instant::now();
                    match self.received(received).await {
                        Ok(()) => {}
                        Err(end) => return end,
                    }
                }
                signal = self.outgoing.recv() => {
                    let Some(signal) = signal else { return End::Closed };
                    if let Err(end) = self.transmit(&mut socket, signal).await {
                        return end;
                    }
                }
                () = self.shared.overflow.notified() => return End::Lost("too much to say at once".to_owned()),
                () = tokio::time::sleep_until(wake_at) => {
                    if Instant::now() >= dead_at {
                        return End::Lost("the server does not answer".to_owned());
                    }
                    if let Err(error) = socket.send(Message::Ping(Default::default())).await {
                        return End::Lost(error.to_string());
                    }
                }
            }
        }
    }

    /// Sends this and whatever else waits, with one flush.
    async fn transmit(&mut self, socket: &mut WebSocketStream<Stream>, first: SignalOut) -> Result<(), End> {
        let lost = |error: tokio_tungstenite::tungstenite::Error| End::Lost(error.to_string());
        let mut signal = Some(first);
        while let Some(next) = signal {
            match words::to_server(next).encode() {
                Ok(message) => socket.feed(Message::Binary(message.into())).await.map_err(lost)?,
                Err(error) => warn!("a message for the signaling server was not sent: {error}"),
            }
            signal = self.outgoing.try_recv().ok();
        }
        socket.flush().await.map_err(lost)
    }

    async fn received(
        &self,
        received: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<(), End> {
        let message = match received {
            None | Some(Ok(Message::Close(_))) => return Err(End::Lost("the server closed the connection".to_owned())),
            Some(Err(error)) => return Err(End::Lost(error.to_string())),
            Some(Ok(Message::Binary(message))) => message,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(()),
            Some(Ok(Message::Text(_) | Message::Frame(_))) => return Err(malformed()),
        };
        let message = match ToDevice::decode(&message) {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(()),
            Err(error) => {
                debug!("the signaling server sent {error}");
                return Err(malformed());
            }
        };
        match message {
            ToDevice::Goodbye(goodbye) => Err(End::Lost(format!("the server said goodbye: {}", goodbye.text))),
            message => match words::from_server(message) {
                Some(signal) => self.signals.send(signal).await.map_err(|_| End::Closed),
                None => Err(malformed()),
            },
        }
    }
}

fn malformed() -> End {
    End::Lost("the server sent something that is not of this protocol; update server and device".to_owned())
}

/// The next message while logging in.
async fn next(socket: &mut WebSocketStream<Stream>) -> Result<ToDevice, End> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(message))) => match ToDevice::decode(&message) {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(_) => return Err(malformed()),
            },
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_))) | None => return Err(End::Lost("the server closed the connection".to_owned())),
            Some(Ok(Message::Text(_) | Message::Frame(_))) => return Err(malformed()),
            Some(Err(error)) => return Err(End::Lost(error.to_string())),
        }
    }
}

/// Full jitter over a doubling wait, so that the devices of a server that restarts do not all
/// come at once.
fn backoff_ms(failures: u32) -> u64 {
    let whole = BACKOFF_MS_MIN.saturating_mul(1 << failures.min(16)).min(BACKOFF_MS_MAX);
    BACKOFF_MS_MIN / 2 + jitter(whole)
}

fn jitter(below_ms: u64) -> u64 {
    u64::from(crate::run::entropy().next_u32()) % below_ms.max(1)
}
