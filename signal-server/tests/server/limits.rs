//! Floods: whoever makes one waits, and the others do not notice.

use std::net::SocketAddr;

use kith_signal::Deadlines;
use kith_signal_protocol::{GoodbyeReason, ToServer, Via};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::devices::{Device, QUIET, Running};

async fn connect_from(source: &str, server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(format!("{source}:0").parse().unwrap())?;
    socket.connect(server).await
}

async fn start(limits: &str) -> Running {
    let config = format!("limits = {{ {limits} }}\n{QUIET}");
    Running::start_with(&config, Deadlines::default()).await
}

/// Whether the server has closed a connection that sends nothing.
async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn an_address_that_connects_too_often_is_closed_at_once_and_others_are_served() {
    let server = start("address_connects_burst = 8, address_connects_per_s = 1").await;
    let mut flood = Vec::new();
    for _ in 0..64 {
        flood.push(connect_from("127.0.9.1", server.address).await.unwrap());
    }
    let mut closed = 0;
    // Those that were let in are held until their deadline; the last ones cannot be among them.
    for stream in &mut flood[32..] {
        closed += usize::from(is_closed(stream).await);
    }
    assert_eq!(closed, 32);
    let mut device = Device::online(&server, 1).await;
    device.settle().await;
}

#[tokio::test]
async fn an_address_has_so_many_connections_at_a_time() {
    let server = start("address_connections_max = 4").await;
    let mut devices = Vec::new();
    for seed in 0..4 {
        let stream = connect_from("127.0.9.2", server.address).await.unwrap();
        devices.push(Device::connect_over(Box::new(stream), None, seed).await);
    }
    let mut fifth = connect_from("127.0.9.2", server.address).await.unwrap();
    assert!(is_closed(&mut fifth).await);
    drop(devices);
    // The places are free again a moment later.
    loop {
        let mut stream = connect_from("127.0.9.2", server.address).await.unwrap();
        let asked = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut answer = Vec::new();
        if asked.is_ok() && stream.read_to_end(&mut answer).await.is_ok() && answer.starts_with(b"HTTP") {
            break;
        }
    }
}

#[tokio::test]
async fn a_device_that_floods_is_slowed_down_and_others_are_not() {
    let server = start("device_messages_burst = 8, device_messages_per_s = 1").await;
    let mut flooding = Device::online(&server, 1).await;
    // Each is answered, and the answers stop with the budget.
    let request = ToServer::IceRequest.encode().unwrap();
    for _ in 0..500 {
        flooding.send(tokio_tungstenite::tungstenite::Message::binary(request.clone())).await;
    }
    // The login was the address's; eight messages were within the budget.
    for _ in 0..8 {
        flooding.hear().await;
    }
    let mut other = Device::online(&server, 2).await;
    for _ in 0..4 {
        other.settle().await;
    }
    // A new connection of the same device begins where the old one was.
    let mut again = Device::online(&server, 1).await;
    again.say(&ToServer::IceRequest).await;
    other.settle().await;
    let answered = std::future::poll_fn(|context| {
        use futures_util::StreamExt as _;
        std::task::Poll::Ready(again.socket.poll_next_unpin(context).is_ready())
    });
    assert!(!answered.await, "its budget was used up");
}

#[tokio::test]
async fn the_devices_of_one_address_share_its_messages_and_another_address_has_its_own() {
    let server = start("address_messages_burst = 16, address_messages_per_s = 1").await;
    let stream = connect_from("127.0.9.3", server.address).await.unwrap();
    let mut flooding = Device::connect_over(Box::new(stream), None, 1).await;
    flooding.log_in(&server.name(), [0; 16]).await;
    let request = ToServer::IceRequest.encode().unwrap();
    for _ in 0..500 {
        flooding.send(tokio_tungstenite::tungstenite::Message::binary(request.clone())).await;
    }
    for _ in 0..15 {
        flooding.hear().await;
    }
    let mut other = Device::online(&server, 2).await;
    for _ in 0..8 {
        other.settle().await;
    }
}

#[tokio::test]
async fn a_device_that_logs_in_too_often_is_told_when_to_come_back() {
    let server = start("device_logins_burst = 3, device_logins_per_min = 1").await;
    for _ in 0..3 {
        Device::online(&server, 1).await;
    }
    let mut device = Device::connect(&server, 1).await;
    let login = device.login(&server.name(), [0; 16]);
    device.say(&login).await;
    assert_eq!(device.hear_goodbye().await, GoodbyeReason::TooMany);
    Device::online(&server, 2).await.settle().await;
}

#[tokio::test]
async fn a_stranger_makes_nobody_ring_without_the_token_of_an_open_invite() {
    let server = Running::start().await;
    let mut holder = Device::online(&server, 1).await;
    holder.say(&ToServer::OpenInvite([1; 16])).await;
    holder.settle().await;
    let mut stranger = Device::online(&server, 2).await;
    for via in [Via::Contact, Via::Invite([2; 16]), Via::Room([1; 16])] {
        stranger.relay(holder.id(), via, b"ring").await;
        assert!(matches!(stranger.hear().await, kith_signal_protocol::ToDevice::Undelivered(_)));
    }
    // The answer is the next that the holder hears: nothing came before it.
    holder.settle().await;
}

mod long {
    use kith_signal_protocol::limits::PING_MS;

    use super::*;

    /// One header byte every second, for as long as the server takes it.
    async fn dawdle(mut stream: TcpStream) {
        let request = b"GET /v1/device HTTP/1.1\r\nHost: signal.test\r\nUser-Agent: a very slow one\r\n\r\n";
        let mut ticks = tokio::time::interval(std::time::Duration::from_secs(1));
        for byte in request.chunks(1) {
            ticks.tick().await;
            if stream.write_all(byte).await.is_err() {
                return;
            }
        }
        panic!("the whole request was taken");
    }

    #[tokio::test]
    async fn five_hundred_slow_headers_are_gone_after_fifteen_seconds_and_a_device_connects_meanwhile() {
        let server = Running::start().await;
        let mut slow = tokio::task::JoinSet::new();
        for _ in 0..500 {
            let stream = TcpStream::connect(server.address).await.unwrap();
            slow.spawn(dawdle(stream));
        }
        let mut device = Device::online(&server, 1).await;
        device.settle().await;
        let all_gone = async {
            // As often as a device has to say something.
            let mut pings = tokio::time::interval(std::time::Duration::from_millis(PING_MS));
            loop {
                tokio::select! {
                    ended = slow.join_next() => match ended {
                        Some(ended) => ended.unwrap(),
                        None => return,
                    },
                    _ = pings.tick() => device.settle().await,
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(15), all_gone).await.unwrap();
        device.settle().await;
    }
}
