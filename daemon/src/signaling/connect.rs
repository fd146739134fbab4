//! From an endpoint to an open WebSocket.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kith_signal_protocol::SUBPROTOCOL;
use kith_signal_protocol::limits::MESSAGE_BYTES_MAX;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Error};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::endpoint::Endpoint;

/// One address gets this long, so that one that swallows packets leaves time for the next.
const ADDRESS: Duration = Duration::from_secs(5);

/// Buffers of the one socket: the usual message; larger ones grow them.
const BUFFER_BYTES: usize = 4_096;

/// Why there is no WebSocket; each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name has no address.
    #[error("the signaling server's name does not resolve; check the URL and the network")]
    Resolve(#[source] io::Error),
    /// No address answers.
    #[error("the signaling server cannot be reached; check the network, the URL's port and the server")]
    Reach(#[source] io::Error),
    /// The system has no certificates.
    #[error("this system has no certificate store; install ca-certificates")]
    NoCertificates,
    /// TLS itself cannot be set up.
    #[error("TLS cannot be used; the URL's host must be a name or an address")]
    Setup,
    /// The server's certificate or its TLS is not accepted.
    #[error(
        "the signaling server's TLS is not accepted; check its certificate, this device's clock, and \
         that the authority that signed it is in this system's certificate store"
    )]
    Tls(#[source] io::Error),
    /// The other end speaks HTTP, but not this protocol.
    #[error("the URL's server answered {0}; check that the URL is the one of a signaling server")]
    Http(StatusCode),
    /// The other end speaks something else.
    #[error("the URL's server does not speak WebSocket; check the URL")]
    WebSocket(#[source] Box<Error>),
    /// The other end does not name the subprotocol.
    #[error("the URL's server is not a signaling server of this kind; check the URL")]
    Subprotocol,
    /// It took too long.
    #[error("the signaling server did not answer in time; check the network and the server")]
    Timeout,
}

/// Either of a TCP and a TLS stream.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An open WebSocket.
pub(super) type Socket = WebSocketStream<Box<dyn Stream>>;

/// Connects; the caller bounds the time. With the own address of the connection.
pub(super) async fn connect(
    endpoint: &Endpoint,
    tls: &mut Option<Arc<ClientConfig>>,
) -> Result<(Socket, IpAddr), ConnectError> {
    let stream = connect_tcp(endpoint).await?;
    let own = stream.local_addr().map_err(ConnectError::Reach)?.ip().to_canonical();
    // Small messages that somebody waits for.
    let _ = stream.set_nodelay(true);
    let stream: Box<dyn Stream> = if endpoint.is_tls {
        let config = match tls {
            Some(config) => Arc::clone(config),
            None => Arc::clone(tls.insert(load_tls().await?)),
        };
        let name = ServerName::try_from(endpoint.host.clone()).map_err(|_| ConnectError::Setup)?;
        let connector = TlsConnector::from(config);
        Box::new(connector.connect(name, stream).await.map_err(ConnectError::Tls)?)
    } else {
        Box::new(stream)
    };
    Ok((upgrade(endpoint, stream).await?, own))
}

async fn connect_tcp(endpoint: &Endpoint) -> Result<TcpStream, ConnectError> {
    let addresses = lookup_host((endpoint.host.as_str(), endpoint.port)).await.map_err(ConnectError::Resolve)?;
    // Whatever the resolver makes of `localhost`, clear text for it stays here.
    let here = endpoint.names_loopback();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses.filter(|address| !here || address.ip().to_canonical().is_loopback()) {
        match timeout(ADDRESS, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(ConnectError::Reach(last))
}

async fn upgrade(endpoint: &Endpoint, stream: Box<dyn Stream>) -> Result<Socket, ConnectError> {
    let mut request = endpoint.request.as_str().into_client_request().map_err(|_| ConnectError::Setup)?;
    let subprotocol = HeaderValue::from_static(SUBPROTOCOL);
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(ConnectError::Http(response.status())),
        Err(Error::Protocol(tungstenite::error::ProtocolError::SecWebSocketSubProtocolError(_))) => {
            Err(ConnectError::Subprotocol)
        }
        Err(Error::Io(error)) => Err(ConnectError::Reach(error)),
        Err(other) => Err(ConnectError::WebSocket(Box::new(other))),
    }
}

/// Reads the system's certificates; some hundred files, so not on the runtime's thread.
async fn load_tls() -> Result<Arc<ClientConfig>, ConnectError> {
    let roots = tokio::task::spawn_blocking(|| {
        let mut roots = RootCertStore::empty();
        // Certificates that do not parse are left out, as every other program on the system does.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
    .await
    .map_err(|_| ConnectError::NoCertificates)?;
    if roots.is_empty() {
        return Err(ConnectError::NoCertificates);
    }
    trust(roots)
}

/// A TLS configuration that trusts `roots`.
pub(super) fn trust(roots: RootCertStore) -> Result<Arc<ClientConfig>, ConnectError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| ConnectError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
