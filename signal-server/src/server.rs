//! The listeners and the way of a connection from its acceptance to its request.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use kith_signal_protocol::limits::{IDLE_MS_MAX, LOGIN_MS_MAX};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use zeroize::Zeroizing;

use crate::access_log::{AccessLogError, PeerAddress};
use crate::bus;
use crate::config::{Config, ConfigError};
use crate::http::{self, Peer};
use crate::hub::{Hub, InForce};
use crate::operations;
use crate::proxy::{self, NoHeader, Speech};
use crate::stream::Stream;
use crate::tls::{Tls, TlsError};

/// hyper's smallest buffer: more than the headers of an upgrade.
const HTTP_BUFFER_BYTES: usize = 8_192;

/// How long the accept loop rests when the system has no more files or memory to give.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How long a stopping server waits for its goodbyes to be written.
const STOP: Duration = Duration::from_secs(3);

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From the TCP connection over TLS to the end of the HTTP exchange, so that slow headers hold nothing.
    pub http: Duration,
    /// From the challenge to the login.
    pub login: Duration,
    /// Without anything from the device.
    pub idle: Duration,
    /// For the sign of life of a device that another instance wants to replace.
    pub probe: Duration,
    /// For what waits to be written.
    pub write: Duration,
    /// For the close frame.
    pub close: Duration,
    /// Between looks at the certificate's files and at the age of the access log.
    pub maintenance: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            http: Duration::from_secs(10),
            login: Duration::from_millis(LOGIN_MS_MAX),
            idle: Duration::from_millis(IDLE_MS_MAX),
            // Below the 10 s after which the refused instance comes again.
            probe: Duration::from_secs(5),
            write: Duration::from_secs(10),
            close: Duration::from_secs(1),
            maintenance: Duration::from_secs(60),
        }
    }
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; is another program using it?")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The configuration names something that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The access log cannot be kept.
    #[error(transparent)]
    AccessLog(#[from] AccessLogError),
    /// What was handed over is no listener.
    #[error("what was handed over does not listen; ListenStream= in the socket unit must be TCP")]
    Inherited(#[source] io::Error),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    operations: Option<TcpListener>,
    address: SocketAddr,
    hub: Arc<Hub>,
    bus: Option<(bus::Settings, bus::Secret)>,
    drain: Duration,
    places: Arc<Semaphore>,
    places_max: u32,
}

/// Changes a running server.
#[derive(Clone)]
pub struct Reloader(Arc<Hub>);

impl Reloader {
    /// Goes on with another configuration; `listen`, `connections_max`, `bus` and `[operations]` wait
    /// for a restart.
    ///
    /// # Errors
    /// The configuration cannot be used; everything stays as it was.
    pub fn reload(&self, config: &Config) -> Result<(), ServerError> {
        self.0.change(config)
    }
}

/// Listeners that were handed over by whoever started this program.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Instead of `listen`.
    pub devices: Option<std::net::TcpListener>,
    /// Instead of `operations.listen`.
    pub operations: Option<std::net::TcpListener>,
}

/// Reads the files that a configuration names and says what is wrong with them.
///
/// # Errors
/// A secret or a certificate cannot be used.
pub fn check_files(config: &Config) -> Result<(), ServerError> {
    config.bus_secret()?;
    InForce::load(config, config.listen, &Zeroizing::new([0; 64])).map(drop)
}

impl Server {
    /// Listens as `config` says.
    ///
    /// # Errors
    /// The address is taken, or a file that the configuration names cannot be used.
    pub async fn bind(config: &Config) -> Result<Self, ServerError> {
        Self::bind_with(config, Inherited::default(), Deadlines::default()).await
    }

    /// Listens on what was handed over and otherwise as `config` says, with other deadlines.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub async fn bind_with(config: &Config, inherited: Inherited, deadlines: Deadlines) -> Result<Self, ServerError> {
        let mut label_key = Zeroizing::new([0; 64]);
        getrandom::fill(&mut *label_key).map_err(ServerError::Random)?;
        let listener = match inherited.devices {
            Some(listener) => adopt(listener)?,
            None => bind(config.listen).await?,
        };
        let address = listener.local_addr().map_err(ServerError::Inherited)?;
        config.permit(address)?;
        let operations = match (inherited.operations, config.operations) {
            (Some(listener), _) => Some(adopt(listener)?),
            (None, Some(address)) => Some(bind(address).await?),
            (None, None) => None,
        };
        let bus = config.bus.clone().zip(config.bus_secret()?);
        let places_max = config.connections_max;
        Ok(Self {
            listener,
            operations,
            address,
            hub: Arc::new(Hub::new(config, address, label_key, deadlines)?),
            bus,
            drain: Duration::from_secs(u64::from(config.drain_s)),
            places: Arc::new(Semaphore::new(places_max as usize)),
            places_max,
        })
    }

    /// Where it listens, with the port that the system chose if the configuration said 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where health, readiness and metrics are told.
    #[must_use]
    pub fn operations_address(&self) -> Option<SocketAddr> {
        self.operations.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// What changes it while it runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader(Arc::clone(&self.hub))
    }

    /// Serves until `stop` ends; then says that it is not ready, and later goodbye to everybody.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listener, operations, hub, bus, drain, places, places_max, .. } = self;
        let router = http::router(Arc::clone(&hub));
        let mut operating = JoinSet::new();
        if let Some(listener) = operations {
            operating.spawn(operations::serve(listener, Arc::clone(&hub)));
        }
        let mut linking = JoinSet::new();
        if let Some((settings, secret)) = bus {
            linking.spawn(bus::run(Arc::clone(&hub), settings.servers, Arc::new(secret)));
        }
        let mut exchanges = JoinSet::new();
        let mut maintenance = interval(hub.deadlines.maintenance);
        let stopped = async {
            stop.await;
            hub.prepare_stop();
            sleep(drain).await;
        };
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                () = &mut stopped => break,
                // Reaped as they end.
                Some(_) = exchanges.join_next() => {}
                _ = maintenance.tick() => hub.maintain(),
                (stream, address) = accept(&listener) => match Arc::clone(&places).try_acquire_owned() {
                    Ok(place) => {
                        exchanges.spawn(bounded(Arc::clone(&hub), stream, address, place, router.clone()));
                    }
                    // Without a place the connection is closed at once.
                    Err(_) => hub.metrics.refused_full.add(),
                }
            }
        }
        drop(listener);
        // From now on other servers know that nobody is here.
        linking.shutdown().await;
        hub.stop();
        exchanges.shutdown().await;
        // Every place is free when every connection has ended.
        let _ = timeout(STOP, places.acquire_many(places_max)).await;
    }
}

/// The next connection.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, PeerAddress) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (stream, PeerAddress::new(address.ip())),
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections; is the limit of open files too low?");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|source| ServerError::Bind { address, source })
}

fn adopt(listener: std::net::TcpListener) -> Result<TcpListener, ServerError> {
    listener.set_nonblocking(true).map_err(ServerError::Inherited)?;
    TcpListener::from_std(listener).map_err(ServerError::Inherited)
}

/// One connection up to its HTTP answer; it is dropped at the deadline.
async fn bounded(hub: Arc<Hub>, stream: TcpStream, address: PeerAddress, place: OwnedSemaphorePermit, router: Router) {
    let deadline = hub.deadlines.http;
    if timeout(deadline, arrive(&hub, stream, address, place, router)).await.is_err() {
        hub.metrics.refused_handshake.add();
    }
}

/// Finds out who is there, sets TLS up where it is configured, and answers one request.
async fn arrive(
    hub: &Arc<Hub>,
    mut stream: TcpStream,
    mut address: PeerAddress,
    place: OwnedSemaphorePermit,
    router: Router,
) {
    let in_force = hub.in_force();
    let speech = in_force.proxies.as_ref().and_then(|proxies| proxies.speech_of(address));
    if speech == Some(Speech::Header) {
        match proxy::read_header(&mut stream).await {
            Ok(source) => address = source.unwrap_or(address),
            Err(NoHeader) => return hub.metrics.refused_handshake.add(),
        }
    }
    let entry = match speech {
        // Known when the request's headers are.
        Some(Speech::ForwardedFor) => None,
        Some(Speech::Header) | None => match hub.admit(address) {
            Some(entry) => Some(Arc::new(entry)),
            None => return,
        },
    };
    hub.metrics.connections.add();
    // Small messages that somebody waits for.
    let _ = stream.set_nodelay(true);
    let acceptor = in_force.tls.as_ref().map(Tls::acceptor);
    drop(in_force);
    let stream = match acceptor {
        None => Stream::Plain(stream),
        // On the heap: only this moment of a connection needs it.
        Some(acceptor) => match Box::pin(acceptor.accept(stream)).await {
            Ok(stream) => Stream::Tls(Box::new(stream)),
            Err(_) => return hub.metrics.refused_handshake.add(),
        },
    };
    let peer = Peer { address, entry, _place: Arc::new(place) };
    exchange(stream, router, move |request| {
        request.extensions_mut().insert(peer.clone());
    })
    .await;
}

/// One HTTP exchange; it ends with the response or with the upgrade.
pub(crate) async fn exchange(stream: Stream, router: Router, prepare: impl Fn(&mut Request<Body>)) {
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        prepare(&mut request);
        let answering = service.call(request);
        async move {
            let mut response = answering.await?;
            // One request: what is left of the time belongs to nobody.
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .max_buf_size(HTTP_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // Whatever goes wrong concerns this connection only, and it is over.
    let _ = connection.await;
}

/// Whether accepting failed for a reason that went away with the connection.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
