//! The client against the real server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use kith_crypto::identity::Identity;
use kith_crypto::version::Version;
use kith_engine::{LoggingMode, RefusedBy, Signal, SignalOut, Via};
use kith_signal::{Config, Folders, Server};
use kith_signal_protocol::{
    Challenge, Goodbye, GoodbyeReason, LoggingMode as Mode, Notice, SUBPROTOCOL, ToDevice, Welcome,
};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::connect::trust;
use super::session::{Timing, Trouble};
use super::{Client, ConnectError, EndpointError, Settings, spawn, spawn_with};
use crate::network::{self, Network};

/// Longer than anything takes on the slowest machine; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_millis(50);

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn serve(listen: &str, more: &str) -> Running {
    let text = format!("listen = \"{listen}\"\n{more}\n[logging]\nmode = \"disabled\"\n");
    let config = Config::parse(&text, &Folders::default()).unwrap();
    let server = Server::bind(&config).await.unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Running { address, stop, task }
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }

    fn url(&self) -> String {
        format!("ws://{}", self.address)
    }
}

/// A secret per seed that is a valid scalar twice.
fn identity(seed: u8) -> Arc<Identity> {
    let mut secret = [seed; 64];
    secret[32] ^= 1;
    Arc::new(Identity::from_secret_bytes(&secret).unwrap())
}

fn settings(url: String, instance: u8) -> Settings {
    Settings { urls: vec![url], allow_plain: false, instance: [instance; 16], network: Network::default() }
}

fn client(url: String, seed: u8) -> (Client, mpsc::Receiver<Signal>) {
    spawn(settings(url, 0), identity(seed)).unwrap()
}

async fn next(events: &mut mpsc::Receiver<Signal>) -> Signal {
    timeout(PATIENCE, events.recv()).await.unwrap().unwrap()
}

async fn connected(events: &mut mpsc::Receiver<Signal>) {
    match next(events).await {
        Signal::Connected(notice) => assert_eq!(notice.mode, LoggingMode::Disabled),
        other => panic!("{other:?}"),
    }
}

/// Two addresses of which nothing listens on the first.
async fn dead_and(server: &Running) -> Settings {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let urls = vec![format!("ws://{dead}"), server.url()];
    Settings { urls, ..settings(String::new(), 0) }
}

/// What the client says is wrong, once it does.
async fn trouble(client: &Client) -> Arc<Trouble> {
    let mut changes = client.trouble.clone();
    let trouble = timeout(PATIENCE, changes.wait_for(Option::is_some)).await.unwrap().unwrap();
    trouble.clone().unwrap()
}

#[tokio::test]
async fn two_devices_find_each_other_and_pass_payloads() {
    let server = serve("127.0.0.1:0", "").await;
    let (a, mut a_events) = client(server.url(), 1);
    let (b, mut b_events) = client(server.url(), 2);
    connected(&mut a_events).await;
    connected(&mut b_events).await;
    assert!(a.trouble().is_none());
    let (a_id, b_id) = (identity(1).client_id(), identity(2).client_id());
    assert!(a.send(SignalOut::Watch { add: vec![b_id], remove: Vec::new() }));
    assert!(b.send(SignalOut::Watch { add: vec![a_id], remove: Vec::new() }));
    assert_eq!(next(&mut a_events).await, Signal::Presence { peer: b_id, online: true });
    assert_eq!(next(&mut b_events).await, Signal::Presence { peer: a_id, online: true });
    let payload = b"sealed".to_vec();
    assert!(a.send(SignalOut::Relay { to: b_id, via: Via::Contact, payload: payload.clone() }));
    let relayed = Signal::Relayed { from: a_id, via: Via::Contact, payload };
    assert_eq!(next(&mut b_events).await, relayed);
    assert!(a.send(SignalOut::RequestIce));
    assert!(matches!(next(&mut a_events).await, Signal::Ice(_)));
    let via = Via::Invite([7; 16]);
    assert!(a.send(SignalOut::Relay { to: b_id, via, payload: Vec::new() }));
    let undelivered = Signal::Undelivered { to: b_id, via, no_such_invite: true };
    assert_eq!(next(&mut a_events).await, undelivered);
    // Dropping the client takes the device off the server.
    drop(b);
    assert_eq!(next(&mut a_events).await, Signal::Presence { peer: b_id, online: false });
    assert_eq!(b_events.recv().await, None);
}

#[tokio::test]
async fn when_a_server_cannot_be_reached_or_goes_away_the_next_one_has_its_turn() {
    let (first, second) = (serve("127.0.0.1:0", "").await, serve("127.0.0.1:0", "").await);
    let mut settings = dead_and(&first).await;
    settings.urls.push(second.url());
    let (_client, mut events) = spawn(settings, identity(1)).unwrap();
    connected(&mut events).await;
    first.stop().await;
    while next(&mut events).await != Signal::Disconnected {}
    connected(&mut events).await;
}

#[tokio::test]
async fn each_of_several_servers_has_to_be_one_that_may_be_used() {
    let server = serve("127.0.0.1:0", "").await;
    let mut settings = dead_and(&server).await;
    settings.urls.push("ws://198.51.100.1".to_owned());
    assert!(matches!(spawn(settings.clone(), identity(1)), Err(EndpointError::Plain(_))));
    settings.urls.clear();
    assert!(matches!(spawn(settings, identity(1)), Err(EndpointError::Form(_))));
}

#[tokio::test]
async fn a_server_that_restarts_is_found_again_and_the_loss_is_told_once() {
    let server = serve("127.0.0.1:0", "").await;
    let (address, url) = (server.address.to_string(), server.url());
    let (client, mut events) = client(url, 1);
    connected(&mut events).await;
    server.stop().await;
    assert_eq!(next(&mut events).await, Signal::Refused(RefusedBy::Busy));
    assert_eq!(next(&mut events).await, Signal::Disconnected);
    assert!(!client.send(SignalOut::RequestIce));
    let _server = serve(&address, "").await;
    connected(&mut events).await;
    assert!(client.send(SignalOut::RequestIce));
    assert!(matches!(next(&mut events).await, Signal::Ice(_)));
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_found_when_it_comes() {
    let address = {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        free.local_addr().unwrap().to_string()
    };
    let (client, mut events) = client(format!("ws://{address}"), 1);
    assert!(matches!(*trouble(&client).await, Trouble::Connect(ConnectError::Reach(_))));
    let _server = serve(&address, "").await;
    connected(&mut events).await;
    assert!(client.trouble().is_none());
}

#[tokio::test]
async fn a_change_of_the_network_begins_a_connection_anew_and_asks_whether_the_server_of_an_open_one_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (told, network) = network::played();
    let settings = Settings { network, ..settings(format!("ws://{}", listener.local_addr().unwrap()), 0) };
    let (client, mut events) = spawn_with(settings, identity(1), Timing::default(), None).unwrap();
    // A change while it connects: it begins anew.
    let (_before, _) = listener.accept().await.unwrap();
    told.send_replace([IpAddr::V4(Ipv4Addr::LOCALHOST)].into());
    let mut socket = welcoming(&listener).await;
    connected(&mut events).await;
    // Loopback has not gone with the others: the server is asked whether it is still there, and says so.
    told.send_replace([].into());
    assert!(matches!(socket.next().await, Some(Ok(Message::Ping(_)))));
    assert!(client.trouble().is_none());
}

#[tokio::test]
async fn a_server_that_is_silent_after_a_change_of_the_network_is_left_before_its_usual_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (told, network) = network::played();
    let settings = Settings { network, ..settings(format!("ws://{}", listener.local_addr().unwrap()), 0) };
    let timing = Timing { answer_after_change: SOON, ping: PATIENCE, answer: PATIENCE, ..Timing::default() };
    let (client, mut events) = spawn_with(settings, identity(1), timing, None).unwrap();
    let _silent = welcoming(&listener).await;
    connected(&mut events).await;
    told.send_replace([IpAddr::V4(Ipv4Addr::LOCALHOST)].into());
    assert_eq!(next(&mut events).await, Signal::Disconnected);
    assert!(matches!(*trouble(&client).await, Trouble::Silent));
}

#[tokio::test]
async fn a_client_that_waits_tries_at_once_when_the_network_has_changed() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (told, network) = network::played();
    let settings = Settings { network, ..settings(format!("ws://{address}"), 0) };
    let (client, mut events) = spawn_with(settings, identity(1), Timing::default(), None).unwrap();
    trouble(&client).await;
    let _server = serve(&address.to_string(), "").await;
    told.send_replace([IpAddr::V4(Ipv4Addr::LOCALHOST)].into());
    connected(&mut events).await;
}

#[tokio::test]
async fn a_second_instance_is_refused_and_the_first_is_told() {
    let server = serve("127.0.0.1:0", "").await;
    let (_first, mut first_events) = client(server.url(), 1);
    connected(&mut first_events).await;
    let (second, mut events) = spawn(settings(server.url(), 9), identity(1)).unwrap();
    assert_eq!(next(&mut events).await, Signal::Refused(RefusedBy::IdentityInUse));
    assert_eq!(next(&mut first_events).await, Signal::Intruder);
    assert!(!second.send(SignalOut::RequestIce));
}

#[tokio::test]
async fn a_server_under_another_name_refuses_the_login_and_says_what_to_compare() {
    let server = serve("127.0.0.1:0", "server_names = [\"signal.example\"]").await;
    let (client, mut events) = client(server.url(), 1);
    assert_eq!(next(&mut events).await, Signal::Refused(RefusedBy::BadLogin));
    assert!(trouble(&client).await.to_string().contains("server_names"));
}

#[tokio::test]
async fn a_web_server_is_told_apart_from_a_signaling_server() {
    let server = serve("127.0.0.1:0", "").await;
    let (client, _events) = client(format!("{}/elsewhere", server.url()), 1);
    let trouble = trouble(&client).await;
    assert!(matches!(*trouble, Trouble::Connect(ConnectError::Http(_))), "{trouble:?}");
}

#[tokio::test]
async fn clear_text_to_another_host_is_refused_at_once() {
    let refused = spawn(settings("ws://192.0.2.1".to_owned(), 0), identity(1));
    assert!(refused.unwrap_err().to_string().contains("unencrypted"));
}

/// Accepts one device and does with it what `then` does.
async fn fake_server(listener: &TcpListener) -> WebSocketStream<TcpStream> {
    let (stream, _) = listener.accept().await.unwrap();
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    let name = |_: &Request, mut response: Response| {
        let subprotocol = SUBPROTOCOL.parse().unwrap();
        response.headers_mut().insert("sec-websocket-protocol", subprotocol);
        Ok(response)
    };
    accept_hdr_async(stream, name).await.unwrap()
}

async fn say(socket: &mut WebSocketStream<TcpStream>, message: &ToDevice) {
    socket.send(Message::binary(message.encode().unwrap())).await.unwrap();
}

fn challenge(major: u8) -> ToDevice {
    let version = Version { major, ..Version::OWN };
    ToDevice::Challenge(Challenge { version, nonce: [0; 32] })
}

fn welcome() -> ToDevice {
    let notice = Notice { mode: Mode::Disabled, text: String::new() };
    ToDevice::Welcome(Welcome { version: Version::OWN, notice })
}

#[tokio::test]
async fn a_server_that_does_not_answer_pings_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let timing = Timing { ping: SOON, answer: SOON, ..Timing::default() };
    let (client, mut events) = spawn_with(settings(url, 0), identity(1), timing, None).unwrap();
    let mut socket = fake_server(&listener).await;
    say(&mut socket, &challenge(Version::OWN.major)).await;
    assert!(matches!(socket.next().await, Some(Ok(Message::Binary(_)))));
    say(&mut socket, &welcome()).await;
    connected(&mut events).await;
    // The socket is not polled any more: nobody answers.
    assert_eq!(next(&mut events).await, Signal::Disconnected);
    assert!(matches!(*trouble(&client).await, Trouble::Silent));
}

#[tokio::test]
async fn a_server_that_answers_pings_is_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let timing = Timing { ping: Duration::from_millis(1), ..Timing::default() };
    let (client, mut events) = spawn_with(settings(url, 0), identity(1), timing, None).unwrap();
    let mut socket = fake_server(&listener).await;
    say(&mut socket, &challenge(Version::OWN.major)).await;
    assert!(matches!(socket.next().await, Some(Ok(Message::Binary(_)))));
    say(&mut socket, &welcome()).await;
    connected(&mut events).await;
    for _ in 0..10 {
        assert!(matches!(socket.next().await, Some(Ok(Message::Ping(_)))));
    }
    assert!(client.trouble().is_none());
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn a_server_of_another_major_version_is_refused_before_the_login() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (_client, mut events) = client(url, 1);
    let mut socket = fake_server(&listener).await;
    say(&mut socket, &challenge(Version::OWN.major + 1)).await;
    assert_eq!(next(&mut events).await, Signal::Refused(RefusedBy::Version));
    assert!(!matches!(socket.next().await, Some(Ok(Message::Binary(_)))));
}

#[tokio::test]
async fn garbage_from_a_server_ends_that_connection_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (_client, mut events) = client(url, 1);
    for garbage in [Message::binary(vec![0x7f, 0, 0]), Message::text("hello")] {
        let mut socket = fake_server(&listener).await;
        say(&mut socket, &challenge(Version::OWN.major)).await;
        assert!(matches!(socket.next().await, Some(Ok(Message::Binary(_)))));
        say(&mut socket, &welcome()).await;
        connected(&mut events).await;
        socket.send(garbage).await.unwrap();
        assert_eq!(next(&mut events).await, Signal::Disconnected);
    }
}

/// Accepts one device and lets it in.
async fn welcoming(listener: &TcpListener) -> WebSocketStream<TcpStream> {
    let mut socket = fake_server(listener).await;
    say(&mut socket, &challenge(Version::OWN.major)).await;
    assert!(matches!(socket.next().await, Some(Ok(Message::Binary(_)))));
    say(&mut socket, &welcome()).await;
    socket
}

/// How long a client stays away that is sent away, before its login or after it.
async fn absence(goodbye: Goodbye, is_welcome: bool) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (_client, mut events) = client(url, 1);
    let mut socket = fake_server(&listener).await;
    if is_welcome {
        say(&mut socket, &challenge(Version::OWN.major)).await;
        assert!(matches!(socket.next().await, Some(Ok(Message::Binary(_)))));
        say(&mut socket, &welcome()).await;
        connected(&mut events).await;
    }
    let since = Instant::now();
    say(&mut socket, &ToDevice::Goodbye(goodbye)).await;
    assert!(matches!(next(&mut events).await, Signal::Refused(_)));
    timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    since.elapsed()
}

#[tokio::test]
async fn a_client_stays_away_for_as_long_as_the_server_says() {
    // Each would come back within 200 ms if it were not told when.
    let goodbye = |reason| Goodbye { reason, text: String::new(), retry_after_s: 1 };
    let absences = tokio::join!(
        absence(goodbye(GoodbyeReason::TooMany), false),
        absence(goodbye(GoodbyeReason::IdentityInUse), false),
        absence(goodbye(GoodbyeReason::ShuttingDown), true),
        absence(goodbye(GoodbyeReason::Other(99)), true),
    );
    for absence in <[Duration; 4]>::from(absences) {
        assert!(absence >= Duration::from_secs(1), "{absence:?}");
    }
}

/// A TLS proxy before `server`, and the store that trusts it.
async fn tls_proxy(listener: TcpListener, server: SocketAddr) -> RootCertStore {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut outer) = acceptor.accept(stream).await else {
                    return;
                };
                let mut inner = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    roots
}

#[tokio::test]
async fn wss_works_with_a_certificate_that_is_trusted_and_not_with_another() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let name = format!("localhost:{}", listener.local_addr().unwrap().port());
    let server = serve("127.0.0.1:0", &format!("server_names = [\"{name}\"]")).await;
    let roots = tls_proxy(listener, server.address).await;
    let start = |roots| {
        let tls = Some(trust(roots).unwrap());
        let settings = settings(format!("wss://{name}"), 0);
        spawn_with(settings, identity(1), Timing::default(), tls).unwrap()
    };
    let (_client, mut events) = start(roots);
    connected(&mut events).await;
    let (stranger, _events) = start(RootCertStore::empty());
    let trouble = trouble(&stranger).await;
    assert!(matches!(*trouble, Trouble::Connect(ConnectError::Tls(_))), "{trouble:?}");
}
