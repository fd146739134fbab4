//! Bad logins, garbage and dawdlers: each ends at most its own connection.

use std::time::Duration;

use crate::devices::{Device, Ended, QUIET, Running, identity};
use kith_signal::Deadlines;
use kith_signal_protocol::limits::MESSAGE_BYTES_MAX;
use kith_signal_protocol::{GoodbyeReason, Presence, SUBPROTOCOL, ToDevice, ToServer, Via, Watch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

const SOON: Duration = Duration::from_millis(50);

async fn refused(server: &Running, device: &mut Device, login: &ToServer) -> GoodbyeReason {
    device.say(login).await;
    let reason = device.hear_goodbye().await;
    assert_eq!(device.ended().await, Ended::Code(CloseCode::Normal));
    Device::online(server, 99).await.settle().await;
    reason
}

/// What an HTTP client gets for `request`.
async fn answer(server: &Running, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_signature_by_another_key_is_refused() {
    let server = Running::start().await;
    let mut device = Device::connect(&server, 1).await;
    let ToServer::Login(mut login) = device.login(&server.name(), [0; 16]) else { unreachable!() };
    login.card = identity(2).card().clone();
    let reason = refused(&server, &mut device, &ToServer::Login(login)).await;
    assert_eq!(reason, GoodbyeReason::BadLogin);
}

#[tokio::test]
async fn a_login_that_was_signed_for_another_server_is_refused() {
    let server = Running::start().await;
    let mut device = Device::connect(&server, 1).await;
    let login = device.login("signal.example", [0; 16]);
    assert_eq!(refused(&server, &mut device, &login).await, GoodbyeReason::BadLogin);
}

#[tokio::test]
async fn a_login_of_another_connection_is_refused() {
    let server = Running::start().await;
    let earlier = Device::connect(&server, 1).await;
    let login = earlier.login(&server.name(), [0; 16]);
    let mut device = Device::connect(&server, 1).await;
    assert_eq!(refused(&server, &mut device, &login).await, GoodbyeReason::BadLogin);
}

#[tokio::test]
async fn another_major_version_is_refused() {
    let server = Running::start().await;
    let mut device = Device::connect(&server, 1).await;
    let ToServer::Login(mut login) = device.login(&server.name(), [0; 16]) else { unreachable!() };
    login.version.major += 1;
    let reason = refused(&server, &mut device, &ToServer::Login(login)).await;
    assert_eq!(reason, GoodbyeReason::UnsupportedVersion);
}

#[tokio::test]
async fn every_configured_name_is_accepted() {
    let config = format!("server_names = [\"Signal.Example\", \"signal.example:8443\"]\n{QUIET}");
    let server = Running::start_with(&config, Deadlines::default()).await;
    for name in ["signal.example", "signal.example:8443"] {
        let mut device = Device::connect(&server, 1).await;
        let login = device.login(name, [0; 16]);
        device.say(&login).await;
        assert!(matches!(device.hear().await, ToDevice::Welcome(_)), "{name}");
    }
    // The address is not a name unless the configuration says so.
    let mut device = Device::connect(&server, 2).await;
    let login = device.login(&server.name(), [0; 16]);
    device.say(&login).await;
    assert_eq!(device.hear_goodbye().await, GoodbyeReason::BadLogin);
}

#[tokio::test]
async fn a_device_that_does_not_log_in_is_too_slow() {
    let deadlines = Deadlines { login: SOON, ..Deadlines::default() };
    let server = Running::start_with(QUIET, deadlines).await;
    let mut device = Device::connect(&server, 1).await;
    assert_eq!(device.hear_goodbye().await, GoodbyeReason::TooSlow);
    assert_eq!(device.ended().await, Ended::Code(CloseCode::Normal));
}

#[tokio::test]
async fn pings_do_not_prolong_the_time_for_a_login() {
    let deadlines = Deadlines { login: SOON, ..Deadlines::default() };
    let server = Running::start_with(QUIET, deadlines).await;
    let mut device = Device::connect(&server, 1).await;
    device.send(Message::Ping(Default::default())).await;
    assert_eq!(device.hear_goodbye().await, GoodbyeReason::TooSlow);
}

#[tokio::test]
async fn a_silent_device_is_dropped() {
    let deadlines = Deadlines { idle: SOON, ..Deadlines::default() };
    let server = Running::start_with(QUIET, deadlines).await;
    let mut device = Device::online(&server, 1).await;
    assert_eq!(device.ended().await, Ended::Gone);
}

#[tokio::test]
async fn garbage_ends_only_the_connection_it_came_on() {
    let server = Running::start().await;
    let mut bystander = Device::online(&server, 9).await;
    let watch = ToServer::Watch(Watch::default()).encode().unwrap();
    for (garbage, code) in [
        (Message::binary(vec![0x10, 0, 1, 0xff]), CloseCode::Policy),
        (Message::binary(vec![0x7f, 0, 0]), CloseCode::Policy),
        (Message::binary([watch.clone(), watch.clone()].concat()), CloseCode::Policy),
        (Message::binary(Vec::new()), CloseCode::Policy),
        (Message::text("hello"), CloseCode::Policy),
        (Message::binary(vec![0; MESSAGE_BYTES_MAX + 1]), CloseCode::Size),
    ] {
        let mut device = Device::online(&server, 1).await;
        device.send(garbage).await;
        assert_eq!(device.ended().await, Ended::Code(code));
        bystander.settle().await;
    }
}

#[tokio::test]
async fn an_unknown_optional_message_is_skipped() {
    let server = Running::start().await;
    let mut device = Device::online(&server, 1).await;
    device.send(Message::binary(vec![0xff, 0, 1, 5])).await;
    device.settle().await;
}

#[tokio::test]
async fn a_message_before_the_login_and_a_second_login_end_the_connection() {
    let server = Running::start().await;
    let mut early = Device::connect(&server, 1).await;
    early.say(&ToServer::IceRequest).await;
    assert_eq!(early.ended().await, Ended::Code(CloseCode::Policy));
    let mut twice = Device::online(&server, 1).await;
    let login = twice.login(&server.name(), [0; 16]);
    twice.say(&login).await;
    assert_eq!(twice.ended().await, Ended::Code(CloseCode::Policy));
}

#[tokio::test]
async fn a_device_that_does_not_read_is_closed_and_its_friend_told() {
    let server = Running::start().await;
    let mut deaf = Device::online(&server, 1).await;
    let mut friend = Device::online(&server, 2).await;
    deaf.watch(friend.id()).await;
    deaf.settle().await;
    friend.watch(deaf.id()).await;
    assert!(matches!(friend.hear().await, ToDevice::Presence(_)));
    // The kernel takes some megabytes first; what is relayed after that overflows the outbox.
    for _ in 0..480 {
        friend.relay(deaf.id(), Via::Contact, &[0; 32_768]).await;
    }
    let gone = Presence { peer: deaf.id(), online: false };
    assert_eq!(friend.hear().await, ToDevice::Presence(gone));
}

#[tokio::test]
async fn slow_headers_are_dropped() {
    let deadlines = Deadlines { http: SOON, ..Deadlines::default() };
    let server = Running::start_with(QUIET, deadlines).await;
    assert_eq!(answer(&server, "GET / HTTP/1.1\r\nHost: x\r\n").await, "");
    assert_eq!(answer(&server, "").await, "");
}

#[tokio::test]
async fn a_request_that_is_no_device_is_refused_with_a_reason() {
    let server = Running::start().await;
    let other = answer(&server, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(other.starts_with("HTTP/1.1 404"), "{other}");
    let bare = answer(&server, "GET /v1/device HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(bare.starts_with("HTTP/1.1 400") && bare.contains(SUBPROTOCOL), "{bare}");
    let named = format!(
        "GET /v1/device HTTP/1.1\r\nHost: x\r\nConnection: close\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    );
    let no_upgrade = answer(&server, &named).await;
    assert!(no_upgrade.starts_with("HTTP/1.1 426"), "{no_upgrade}");
}

#[tokio::test]
async fn a_connection_over_the_limit_is_closed_and_a_place_is_free_again_later() {
    let config = format!("connections_max = 1\n{QUIET}");
    let server = Running::start_with(&config, Deadlines::default()).await;
    let first = Device::online(&server, 1).await;
    assert_eq!(TcpStream::connect(server.address).await.unwrap().read(&mut [0]).await.unwrap(), 0);
    drop(first);
    loop {
        // The place is given back a moment after the connection has closed.
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let mut answer = Vec::new();
        if stream.write_all(request).await.is_ok()
            && stream.read_to_end(&mut answer).await.is_ok()
            && !answer.is_empty()
        {
            break;
        }
    }
}
