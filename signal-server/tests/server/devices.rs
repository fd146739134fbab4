//! Real devices against a real server on loopback.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use kith_crypto::identity::{ClientId, Identity, LoginChallenge};
use kith_crypto::version::Version;
use kith_signal::{Config, Deadlines, Folders, Inherited, Reloader, Server};
use kith_signal_protocol::{
    Goodbye, GoodbyeReason, Instance, Login, PATH, Relay, Relayed, SUBPROTOCOL, ToDevice, ToServer, Via, Watch, Welcome,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Longer than anything takes on the slowest machine; a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const QUIET: &str = "listen = \"127.0.0.1:0\"\n[logging]\nmode = \"disabled\"\n";

/// A server that runs until it is stopped or dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) operations: Option<SocketAddr>,
    pub(crate) reloader: Reloader,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start() -> Self {
        Self::start_with(QUIET, Deadlines::default()).await
    }

    pub(crate) async fn start_with(config: &str, deadlines: Deadlines) -> Self {
        let server = Server::bind_with(&parse(config), Inherited::default(), deadlines).await.unwrap();
        let (address, operations, reloader) = (server.address(), server.operations_address(), server.reloader());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { address, operations, reloader, stop: Some(stop), task }
    }

    /// Asks it to stop; [`stop`](Self::stop) waits until it has.
    pub(crate) fn begin_stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn stop(mut self) {
        if self.stop.is_some() {
            self.begin_stop();
        }
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }

    pub(crate) fn name(&self) -> String {
        self.address.to_string()
    }
}

/// A configuration of a test.
pub(crate) fn parse(config: &str) -> Config {
    Config::parse(config, &Folders::default()).unwrap()
}

/// What a device's bytes go through.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for S {}

/// Ends of a connection, as a device sees them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Code(CloseCode),
    Gone,
}

/// One connection of a device.
pub(crate) struct Device {
    pub(crate) socket: WebSocketStream<Box<dyn Io>>,
    pub(crate) identity: Identity,
    pub(crate) nonce: [u8; 32],
}

pub(crate) fn identity(seed: u8) -> Identity {
    Identity::generate(&mut ChaCha8Rng::from_seed([seed; 32]))
}

impl Device {
    /// Connects and takes the challenge.
    pub(crate) async fn connect(server: &Running, seed: u8) -> Self {
        let stream = TcpStream::connect(server.address).await.unwrap();
        Self::connect_over(Box::new(stream), None, seed).await
    }

    /// Connects over a stream, perhaps as a proxy that forwards for somebody.
    pub(crate) async fn connect_over(stream: Box<dyn Io>, forwarded_for: Option<&str>, seed: u8) -> Self {
        let mut request = format!("ws://server{PATH}").into_client_request().unwrap();
        if let Some(address) = forwarded_for {
            request.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
        }
        request.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL.parse().unwrap());
        let (socket, response) = client_async(request, stream).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], SUBPROTOCOL);
        let mut device = Self { socket, identity: identity(seed), nonce: [0; 32] };
        let ToDevice::Challenge(challenge) = device.hear().await else { panic!("no challenge") };
        assert_eq!(challenge.version, Version::OWN);
        device.nonce = challenge.nonce;
        device
    }

    /// Connects and logs in as the first instance.
    pub(crate) async fn online(server: &Running, seed: u8) -> Self {
        let (device, welcome) = Self::online_as(server, seed, [0; 16]).await;
        assert_eq!(welcome.version, Version::OWN);
        device
    }

    pub(crate) async fn online_as(server: &Running, seed: u8, instance: Instance) -> (Self, Welcome) {
        let mut device = Self::connect(server, seed).await;
        let welcome = device.log_in(&server.name(), instance).await;
        (device, welcome)
    }

    /// Logs in on a connection.
    pub(crate) async fn log_in(&mut self, server_name: &str, instance: Instance) -> Welcome {
        let login = self.login(server_name, instance);
        self.say(&login).await;
        match self.hear().await {
            ToDevice::Welcome(welcome) => welcome,
            other => panic!("not welcome: {other:?}"),
        }
    }

    pub(crate) fn login(&self, server_name: &str, instance: Instance) -> ToServer {
        let challenge = LoginChallenge { server_name, nonce: &self.nonce };
        ToServer::Login(Box::new(Login {
            version: Version::OWN,
            card: self.identity.card().clone(),
            instance,
            signature: self.identity.sign_login(&challenge),
        }))
    }

    pub(crate) fn id(&self) -> ClientId {
        self.identity.client_id()
    }

    pub(crate) async fn say(&mut self, message: &ToServer) {
        self.send(Message::binary(message.encode().unwrap())).await;
    }

    pub(crate) async fn send(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    pub(crate) async fn watch(&mut self, peer: ClientId) {
        self.say(&ToServer::Watch(Watch { add: vec![peer], remove: Vec::new() })).await;
    }

    pub(crate) async fn relay(&mut self, to: ClientId, via: Via, payload: &[u8]) {
        self.say(&ToServer::Relay(Relay { to, via, payload: payload.to_vec() })).await;
    }

    /// The next message.
    pub(crate) async fn hear(&mut self) -> ToDevice {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.unwrap() {
                Some(Ok(Message::Binary(bytes))) => {
                    return ToDevice::decode(&bytes).unwrap().unwrap();
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no message: {other:?}"),
            }
        }
    }

    pub(crate) async fn hear_relayed(&mut self) -> Relayed {
        match self.hear().await {
            ToDevice::Relayed(relayed) => relayed,
            other => panic!("nothing relayed: {other:?}"),
        }
    }

    pub(crate) async fn hear_goodbye(&mut self) -> GoodbyeReason {
        match self.hear().await {
            ToDevice::Goodbye(Goodbye { reason, text, .. }) => {
                assert!(!text.is_empty());
                reason
            }
            other => panic!("no goodbye: {other:?}"),
        }
    }

    /// Waits for the end of the connection.
    pub(crate) async fn ended(&mut self) -> Ended {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.unwrap() {
                Some(Ok(Message::Close(frame))) => {
                    return frame.map_or(Ended::Gone, |frame| Ended::Code(frame.code));
                }
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Ended::Gone,
            }
        }
    }

    /// Asks for something that is answered, so that all before it has been handled.
    pub(crate) async fn settle(&mut self) {
        self.say(&ToServer::IceRequest).await;
        assert!(matches!(self.hear().await, ToDevice::IceServers(_)));
    }
}
