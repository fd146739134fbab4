//! TCP, TLS and WebSocket to the signaling server.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::address::Address;

/// Signaling messages are small and few.
const BUFFER_BYTES: usize = 4 * 1024;
/// A peer that reads nothing must not grow this process.
const WRITE_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// A connection, encrypted or not.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why there is no connection. The next try may succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    #[error("no connection: {0}")]
    Connect(#[source] std::io::Error),
    #[error("the server's certificate is not accepted: {0}")]
    Tls(#[source] std::io::Error),
    #[error("this device trusts no certificate authority; install the package ca-certificates")]
    NoRoots,
    #[error("the server's name cannot stand in a certificate")]
    Name,
    #[error("the server does not speak the protocol of Kith: {0}")]
    WebSocket(Box<tokio_tungstenite::tungstenite::Error>),
}

pub(super) async fn connect(address: &Address) -> Result<WebSocketStream<Stream>, SocketError> {
    let tcp = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(SocketError::Connect)?;
    tcp.set_nodelay(true).map_err(SocketError::Connect)?;
    let stream = if address.tls {
        let name = ServerName::try_from(address.host.clone()).map_err(|_| SocketError::Name)?;
        let connector = tokio_rustls::TlsConnector::from(tls()?);
        Stream::Tls(Box::new(connector.connect(name, tcp).await.map_err(SocketError::Tls)?))
    } else {
        Stream::Plain(tcp)
    };
    let scheme = if address.tls { "wss" } else { "ws" };
    let uri = format!("{scheme}://{}{}", address.name, address.path);
    let request = uri.parse().map_err(|_| SocketError::Name)?;
    let request = ClientRequestBuilder::new(request).with_sub_protocol(kith_signal_protocol::SUBPROTOCOL);
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(kith_signal_protocol::limits::MESSAGE_BYTES_MAX))
        .max_frame_size(Some(kith_signal_protocol::limits::MESSAGE_BYTES_MAX));
    let connected = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
    connected.map(|(socket, _)| socket).map_err(|error| SocketError::WebSocket(Box::new(error)))
}

/// The system's certificate authorities, read once.
fn tls() -> Result<Arc<ClientConfig>, SocketError> {
    static CONFIG: OnceLock<Option<Arc<ClientConfig>>> = OnceLock::new();
    let make = || {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
        (added > 0).then(|| Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    };
    CONFIG.get_or_init(make).clone().ok_or(SocketError::NoRoots)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
