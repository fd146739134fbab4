//! What the operator's monitoring sees, and how a server stops.

use std::time::Duration;

use kith_signal::Deadlines;
use kith_signal_protocol::{Goodbye, GoodbyeReason, ToDevice, Via};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::devices::{Device, Ended, Running};
use crate::program::ask;

const OPERATED: &str =
    "listen = \"127.0.0.1:0\"\noperations = { listen = \"127.0.0.1:0\" }\nlogging = { mode = \"disabled\" }\n";

async fn start(config: &str) -> Running {
    Running::start_with(config, Deadlines::default()).await
}

#[tokio::test]
async fn health_readiness_and_metrics_are_told_beside_the_devices_listener_and_not_on_it() {
    let server = start(OPERATED).await;
    let operations = server.operations.unwrap();
    assert!(ask(operations, "/healthz").await.ends_with("\r\n\r\nok\n"));
    assert!(ask(operations, "/readyz").await.starts_with("HTTP/1.1 200"));
    let stranger = Device::online(&server, 1).await;
    let mut device = Device::online(&server, 2).await;
    device.relay(stranger.id(), Via::Contact, b"offer").await;
    assert!(matches!(device.hear().await, ToDevice::Undelivered(_)));
    let metrics = ask(operations, "/metrics").await;
    for line in [
        "kith_signal_devices_online 2",
        "kith_signal_connections 2",
        "kith_signal_logins_total{result=\"welcome\"} 2",
        "kith_signal_undelivered_total 1",
        "kith_signal_messages_total 3",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert!(ask(server.address, path).await.starts_with("HTTP/1.1 404"), "{path}");
        assert!(ask(operations, "/v1/device").await.starts_with("HTTP/1.1 404"));
    }
}

#[tokio::test]
async fn a_server_that_drains_is_not_ready_serves_on_and_then_sends_everybody_away_for_a_while() {
    let config = OPERATED.replace("operations = { ", "operations = { drain_s = 1, ");
    let mut server = start(&config).await;
    let operations = server.operations.unwrap();
    let mut early = Device::online(&server, 1).await;
    server.begin_stop();
    while !ask(operations, "/readyz").await.starts_with("HTTP/1.1 503") {}
    assert!(ask(operations, "/healthz").await.starts_with("HTTP/1.1 200"));
    // Who comes now is served as well.
    let mut late = Device::online(&server, 2).await;
    late.settle().await;
    for device in [&mut early, &mut late] {
        match device.hear().await {
            ToDevice::Goodbye(Goodbye { reason, retry_after_s, .. }) => {
                assert_eq!((reason, retry_after_s), (GoodbyeReason::ShuttingDown, 1));
            }
            other => panic!("no goodbye: {other:?}"),
        }
        assert_eq!(device.ended().await, Ended::Code(CloseCode::Restart));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_sends_nothing_holds_no_place_of_the_operations() {
    let deadlines = Deadlines { http: Duration::from_millis(50), ..Deadlines::default() };
    let server = Running::start_with(OPERATED, deadlines).await;
    let operations = server.operations.unwrap();
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(tokio::net::TcpStream::connect(operations).await.unwrap());
    }
    // Refused while the places are taken, and served again when they are free.
    loop {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(operations).await.unwrap();
        let mut answer = String::new();
        let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        if asked.is_ok() && stream.read_to_string(&mut answer).await.is_ok() && answer.ends_with("ok\n") {
            break;
        }
    }
}
