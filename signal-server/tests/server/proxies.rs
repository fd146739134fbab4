//! Proxies: those of the configuration are believed, and nobody else.

use kith_signal::Deadlines;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::devices::{Device, QUIET, Running};

/// One connection at a time for each address, so that it shows whose address counts.
async fn start(proxy: &str) -> Running {
    let config = format!("{proxy}\nlimits = {{ address_connections_max = 1 }}\n{QUIET}");
    Running::start_with(&config, Deadlines::default()).await
}

async fn connect(server: &Running) -> Box<TcpStream> {
    Box::new(TcpStream::connect(server.address).await.unwrap())
}

#[tokio::test]
async fn a_configured_proxy_speaks_for_its_devices() {
    let server = start("proxy = { addresses = [\"127.0.0.0/8\"], speaks = \"x-forwarded-for\" }").await;
    let first = Device::connect_over(connect(&server).await, Some("203.0.113.1"), 1).await;
    let _second = Device::connect_over(connect(&server).await, Some("203.0.113.2"), 2).await;
    // A third connection of the first one's address is one too many.
    let mut third = connect(&server).await;
    let request = "GET /v1/device HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                   Sec-WebSocket-Protocol: kith.signal.1\r\nX-Forwarded-For: 198.51.100.9, 203.0.113.1\r\n\r\n";
    third.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    third.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    drop(first);
}

#[tokio::test]
async fn somebody_else_speaks_for_nobody() {
    let server = start("proxy = { addresses = [\"192.0.2.1\"], speaks = \"x-forwarded-for\" }").await;
    let _first = Device::connect_over(connect(&server).await, Some("203.0.113.1"), 1).await;
    let mut second = connect(&server).await;
    assert!(matches!(second.read(&mut [0]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_proxy_header_comes_before_everything_else_and_has_to() {
    let server = start("proxy = { addresses = [\"127.0.0.1\"], speaks = \"proxy-protocol\" }").await;
    let mut devices = Vec::new();
    for seed in 1..4 {
        let mut stream = connect(&server).await;
        let header = format!("PROXY TCP4 203.0.113.{seed} 127.0.0.1 4000 443\r\n");
        stream.write_all(header.as_bytes()).await.unwrap();
        let mut device = Device::connect_over(stream, None, seed).await;
        device.log_in(&server.name(), [0; 16]).await;
        devices.push(device);
    }
    let mut again = connect(&server).await;
    again.write_all(b"PROXY TCP4 203.0.113.1 127.0.0.1 4000 443\r\n").await.unwrap();
    assert!(matches!(again.read(&mut [0]).await, Ok(0) | Err(_)));
    let mut bare = connect(&server).await;
    bare.write_all(b"GET /v1/device HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(matches!(bare.read(&mut [0]).await, Ok(0) | Err(_)));
}
