//! The listener and its accept loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use kith_signal_protocol::limits::{IDLE_MS_MAX, LOGIN_MS_MAX};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use crate::config::{Config, ConfigError};
use crate::http::{self, Peer};
use crate::hub::Hub;

/// hyper's smallest buffer: more than the headers of an upgrade.
const HTTP_BUFFER_BYTES: usize = 8_192;

/// How long the accept loop rests when the system has no more files or memory to give.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How long a stopping server waits for its goodbyes to be written.
const STOP: Duration = Duration::from_secs(3);

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From the TCP connection to the end of the HTTP exchange, so that slow headers hold nothing.
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
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    hub: Arc<Hub>,
    places: Arc<Semaphore>,
    places_max: u32,
}

impl Server {
    /// Listens as `config` says.
    ///
    /// # Errors
    /// The address is taken, or the TURN secret cannot be read.
    pub async fn bind(config: &Config) -> Result<Self, ServerError> {
        Self::bind_with(config, Deadlines::default()).await
    }

    /// Listens as `config` says, with other deadlines.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub async fn bind_with(config: &Config, deadlines: Deadlines) -> Result<Self, ServerError> {
        let mut label_key = Zeroizing::new([0; 64]);
        getrandom::fill(&mut *label_key).map_err(ServerError::Random)?;
        let ice = config.ice(label_key)?;
        let bind = |source| ServerError::Bind { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let names = if config.server_names.is_empty() {
            vec![address.to_string(), format!("localhost:{}", address.port())]
        } else {
            config.server_names.clone()
        };
        let places_max = config.connections_max;
        Ok(Self {
            listener,
            address,
            hub: Arc::new(Hub::new(names, config.notice.clone(), ice, deadlines)),
            places: Arc::new(Semaphore::new(places_max as usize)),
            places_max,
        })
    }

    /// Where it listens, with the port that the system chose if the configuration said 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` ends; then says goodbye to everybody.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listener, hub, places, places_max, .. } = self;
        let router = http::router(Arc::clone(&hub));
        let mut exchanges = JoinSet::new();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                // Reaped as they end.
                Some(_) = exchanges.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => {
                        // Without a place the connection is closed at once.
                        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                            let peer = Peer { address: address.ip(), _place: Arc::new(place) };
                            let exchange = exchange(stream, peer, router.clone());
                            exchanges.spawn(bounded(exchange, hub.deadlines.http));
                        }
                    }
                    Err(error) if is_about_one_connection(&error) => {}
                    Err(error) => {
                        tracing::error!(%error, "cannot accept connections; is the limit of open files too low?");
                        sleep(ACCEPT_RETRY).await;
                    }
                }
            }
        }
        drop(listener);
        hub.stop();
        exchanges.shutdown().await;
        // Every place is free when every connection has ended.
        let _ = timeout(STOP, places.acquire_many(places_max)).await;
    }
}

/// One HTTP exchange; it ends with the response or with the upgrade.
async fn exchange(stream: TcpStream, peer: Peer, router: Router) {
    // Small messages that somebody waits for.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        service.call(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .max_buf_size(HTTP_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // Whatever goes wrong concerns this connection only, and it is over.
    let _ = connection.await;
}

/// Drops `exchange` at its deadline.
async fn bounded(exchange: impl Future<Output = ()>, deadline: Duration) {
    let _ = timeout(deadline, exchange).await;
}

/// Whether accepting failed for a reason that went away with the connection.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
