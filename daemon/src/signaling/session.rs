//! The task: connects, logs in, passes messages both ways, waits, and begins again.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use kith_crypto::identity::{Identity, LoginChallenge};
use kith_crypto::version::Version;
use kith_engine::{RefusedBy, Signal, SignalOut};
use kith_signal_protocol::limits::PING_MS;
use kith_signal_protocol::{Challenge, Goodbye, Instance, Login, ProtocolError, ToDevice, ToServer, Welcome};
use rustls::ClientConfig;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::backoff::{Backoff, Pause};
use super::connect::{ConnectError, Socket, connect};
use super::endpoint::Endpoints;
use super::map;
use super::pace::Pace;
use crate::network::Network;

/// Messages that go out in one write.
const BATCH_MAX: usize = 64;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// From the name's look-up to the welcome.
    pub(super) connect: Duration,
    /// Between pings.
    pub(super) ping: Duration,
    /// From a ping to any sign of life.
    pub(super) answer: Duration,
    /// The same after the network has changed.
    pub(super) answer_after_change: Duration,
    /// For what is written.
    pub(super) write: Duration,
    /// A login that stood this long was a good one: the next failure is a first one.
    pub(super) lasted: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            ping: Duration::from_millis(PING_MS),
            answer: Duration::from_secs(4),
            answer_after_change: Duration::from_secs(2),
            write: Duration::from_secs(10),
            lasted: Duration::from_secs(30),
        }
    }
}

/// Why there is no connection; each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// The server was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server said no, in its own words.
    #[error("the signaling server refused this device ({reason:?}): {text}")]
    Refused {
        /// Why.
        reason: RefusedBy,
        /// What the server says about it.
        text: String,
    },
    /// It speaks another major version.
    #[error("the signaling server speaks version {0} of the protocol; update the older of the two")]
    Version(u8),
    /// It said something that is no message, or not in its place.
    #[error("the signaling server does not follow the protocol; update the older of the two")]
    Protocol(#[source] Option<ProtocolError>),
    /// The connection ended.
    #[error("the connection to the signaling server was lost; trying again")]
    Lost(#[source] Option<Box<Error>>),
    /// No sign of life.
    #[error("the signaling server does not answer any more; trying again")]
    Silent,
    /// The own address is another now.
    #[error("the network has changed; connecting to the signaling server again")]
    Moved,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// A message and the connection that it is for.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) connection: u64,
    pub(super) message: SignalOut,
}

/// Why an attempt or a connection ended.
enum End {
    /// Come back later.
    Later { trouble: Trouble, pause: Pause },
    /// Nobody listens any more.
    Unheard,
}

impl<T: Into<Trouble>> From<T> for End {
    fn from(trouble: T) -> Self {
        Self::Later { trouble: trouble.into(), pause: Pause::Soon }
    }
}

impl End {
    fn moved() -> Self {
        Self::Later { trouble: Trouble::Moved, pause: Pause::Now }
    }
}

/// An open connection.
struct Session {
    socket: Socket,
    welcome: Welcome,
    /// This device's own address on it.
    own: IpAddr,
}

/// Everything that the task owns.
pub(super) struct Task {
    pub(super) endpoints: Endpoints,
    pub(super) identity: Arc<Identity>,
    pub(super) instance: Instance,
    pub(super) network: Network,
    pub(super) timing: Timing,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) queued: mpsc::Receiver<Queued>,
    pub(super) events: mpsc::Sender<Signal>,
    pub(super) online: Arc<AtomicU64>,
    pub(super) trouble: watch::Sender<Option<Arc<Trouble>>>,
    pub(super) backoff: Backoff,
    /// How many there have been; the present one's number.
    pub(super) connections: u64,
}

impl Task {
    pub(super) async fn run(mut self) {
        loop {
            let End::Later { trouble, pause } = self.attempt().await else {
                return;
            };
            self.tell(trouble);
            if pause != Pause::Now {
                self.endpoints.advance();
            }
            let Ok(random) = getrandom::u64() else {
                self.tell(Trouble::Random);
                return;
            };
            let wait = self.backoff.next(pause, random);
            tokio::select! {
                () = sleep(wait) => {}
                // What made the last attempts fail may be over. Whom the server sent away stays away.
                _ = self.network.changed(), if pause == Pause::Soon => self.backoff.reset(),
            }
        }
    }

    /// One connection, from the name's look-up to its end.
    async fn attempt(&mut self) -> End {
        let mut network = self.network.clone();
        let opened = tokio::select! {
            opened = timeout(self.timing.connect, self.open()) => {
                opened.unwrap_or_else(|_| Err(ConnectError::Timeout.into()))
            }
            // It began on another network.
            _ = network.changed() => Err(End::moved()),
        };
        self.network = network;
        let mut session = match opened {
            Ok(opened) => opened,
            Err(end) => {
                let told = match &end {
                    End::Later { trouble, .. } => self.tell_refusal(trouble).await,
                    End::Unheard => Ok(()),
                };
                return told.err().unwrap_or(end);
            }
        };
        let since = Instant::now();
        self.connections += 1;
        self.trouble.send_replace(None);
        // Before the event: whoever hears it may send at once.
        self.online.store(self.connections, Ordering::Release);
        let connected = Signal::Connected(map::notice_in(session.welcome.notice.clone()));
        let end = match self.emit(connected).await {
            Ok(()) => match self.talk(&mut session).await {
                Err(end) => end,
                Ok(never) => match never {},
            },
            Err(end) => end,
        };
        self.online.store(0, Ordering::Release);
        if since.elapsed() >= self.timing.lasted {
            self.backoff.reset();
        }
        match end {
            End::Unheard => end,
            End::Later { .. } => self.emit(Signal::Disconnected).await.err().unwrap_or(end),
        }
    }

    /// Connects and logs in.
    async fn open(&mut self) -> Result<Session, End> {
        let (mut socket, own) = connect(self.endpoints.current(), &mut self.tls).await?;
        let challenge = match hear(&mut socket).await? {
            ToDevice::Challenge(challenge) => challenge,
            ToDevice::Goodbye(goodbye) => return Err(refused(goodbye)),
            _ => return Err(Trouble::Protocol(None).into()),
        };
        if !challenge.version.is_compatible(Version::OWN) {
            let trouble = Trouble::Version(challenge.version.major);
            return Err(End::Later { trouble, pause: Pause::Refused });
        }
        let login = self.login(&challenge).encode().map_err(protocol)?;
        socket.send(Message::binary(login)).await.map_err(lost)?;
        match hear(&mut socket).await? {
            ToDevice::Welcome(welcome) => Ok(Session { socket, welcome, own }),
            ToDevice::Goodbye(goodbye) => Err(refused(goodbye)),
            _ => Err(Trouble::Protocol(None).into()),
        }
    }

    fn login(&self, challenge: &Challenge) -> ToServer {
        let signed = LoginChallenge { server_name: &self.endpoints.current().server_name, nonce: &challenge.nonce };
        ToServer::Login(Box::new(Login {
            version: Version::OWN,
            card: self.identity.card().clone(),
            instance: self.instance,
            signature: self.identity.sign_login(&signed),
        }))
    }

    /// Passes messages both ways until the connection ends.
    async fn talk(&mut self, session: &mut Session) -> Result<Infallible, End> {
        let Session { socket, own, .. } = session;
        let mut next_ping = Instant::now() + self.timing.ping;
        let mut answer_within = self.timing.answer;
        let mut answer_by = None;
        let mut pace = Pace::new(Instant::now());
        loop {
            let pause = pace.pause(Instant::now());
            tokio::select! {
                // Reading comes first: what has arrived counts as a sign of life.
                biased;
                read = socket.next(), if pause.is_none() => {
                    pace.took();
                    (answer_by, answer_within) = (None, self.timing.answer);
                    self.handle_read(read).await?;
                }
                queued = self.queued.recv() => match queued {
                    Some(first) => self.write(socket, first).await?,
                    None => return Err(End::Unheard),
                },
                addresses = self.network.changed() => {
                    if !own.is_loopback() && !addresses.contains(own) {
                        return Err(End::moved());
                    }
                    // The address is the same; the way may be another.
                    (next_ping, answer_by) = (Instant::now(), None);
                    answer_within = self.timing.answer_after_change;
                }
                () = sleep_until(pause.unwrap_or(next_ping)), if pause.is_some() => {}
                () = sleep_until(answer_by.unwrap_or(next_ping)) => {
                    if answer_by.is_some() {
                        return Err(Trouble::Silent.into());
                    }
                    next_ping = Instant::now() + self.timing.ping;
                    answer_by = Some(Instant::now() + answer_within);
                    let ping = socket.send(Message::Ping(Bytes::new()));
                    timeout(self.timing.write, ping).await.map_err(|_| Trouble::Silent)?.map_err(lost)?;
                }
            }
        }
    }

    async fn handle_read(&self, read: Option<Result<Message, Error>>) -> Result<(), End> {
        let bytes = match read {
            Some(Ok(Message::Binary(bytes))) => bytes,
            // The library answers pings and closes by itself.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => return Ok(()),
            Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                return Err(Trouble::Protocol(None).into());
            }
            Some(Err(error)) => return Err(lost(error)),
            None => return Err(Trouble::Lost(None).into()),
        };
        let Some(message) = ToDevice::decode(&bytes).map_err(protocol)? else {
            return Ok(());
        };
        let goodbye = match &message {
            ToDevice::Goodbye(goodbye) => Some(goodbye.clone()),
            _ => None,
        };
        let signal = map::to_engine(message).ok_or(Trouble::Protocol(None))?;
        self.emit(signal).await?;
        goodbye.map_or(Ok(()), |goodbye| Err(refused(goodbye)))
    }

    /// Writes what waits, as much as there is, in one go.
    async fn write(&mut self, socket: &mut Socket, first: Queued) -> Result<(), End> {
        let writing = async {
            let mut next = Some(first);
            for _ in 0..BATCH_MAX {
                let Some(Queued { connection, message }) = next.take() else {
                    break;
                };
                // What an older connection left behind is not for this one.
                if connection == self.connections {
                    for message in map::to_server(message) {
                        match message.encode() {
                            Ok(bytes) => socket.feed(Message::binary(bytes)).await?,
                            Err(error) => tracing::error!(%error, "a message is too long to send"),
                        }
                    }
                }
                next = self.queued.try_recv().ok();
            }
            socket.flush().await
        };
        timeout(self.timing.write, writing).await.map_err(|_| Trouble::Silent)?.map_err(lost)
    }

    async fn emit(&self, signal: Signal) -> Result<(), End> {
        self.events.send(signal).await.map_err(|_| End::Unheard)
    }

    async fn tell_refusal(&self, trouble: &Trouble) -> Result<(), End> {
        match trouble {
            Trouble::Refused { reason, .. } => self.emit(Signal::Refused(*reason)).await,
            Trouble::Version(_) => self.emit(Signal::Refused(RefusedBy::Version)).await,
            Trouble::Connect(_)
            | Trouble::Protocol(_)
            | Trouble::Lost(_)
            | Trouble::Silent
            | Trouble::Moved
            | Trouble::Random => Ok(()),
        }
    }

    /// Keeps what is wrong for whoever asks; the log gets it when it changes.
    fn tell(&self, trouble: Trouble) {
        let is_new = self.trouble.borrow().as_ref().is_none_or(|known| known.to_string() != trouble.to_string());
        if is_new {
            tracing::warn!("{trouble}");
        }
        self.trouble.send_replace(Some(Arc::new(trouble)));
    }
}

/// The next message before the welcome.
async fn hear(socket: &mut Socket) -> Result<ToDevice, End> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => {
                if let Some(message) = ToDevice::decode(&bytes).map_err(protocol)? {
                    return Ok(message);
                }
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => {}
            Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                return Err(Trouble::Protocol(None).into());
            }
            Some(Err(error)) => return Err(lost(error)),
            None => return Err(Trouble::Lost(None).into()),
        }
    }
}

fn refused(goodbye: Goodbye) -> End {
    let pause = map::pause(&goodbye);
    let reason = map::refused_by(goodbye.reason);
    End::Later { trouble: Trouble::Refused { reason, text: map::one_line(&goodbye.text) }, pause }
}

fn lost(error: Error) -> End {
    Trouble::Lost(Some(Box::new(error))).into()
}

fn protocol(error: ProtocolError) -> End {
    Trouble::Protocol(Some(error)).into()
}
