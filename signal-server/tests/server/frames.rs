//! Bytes that no WebSocket library would send, against the program itself: whatever comes, it ends at most the
//! connection that it came on, and the program says nothing.

use kith_signal_protocol::{ToDevice, ToServer, Watch};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::devices::Device;
use crate::program::Running;

const CONFIG: &str = "listen = \"127.0.0.1:0\"\nserver_names = [\"signal.test\"]\n\
    operations = { listen = \"127.0.0.1:0\" }\nlogging = { mode = \"disabled\" }\n";

/// How many connections with random bytes there are.
const RANDOM_CONNECTIONS: u64 = 200;

async fn online(server: &Running, seed: u8) -> Device {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut device = Device::connect_over(Box::new(stream), None, seed).await;
    device.log_in("signal.test", [0; 16]).await;
    device
}

/// A device's frame: first byte and payload, with a mask of zeros, which is a mask.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let header = match u8::try_from(length) {
        Ok(short) if short < 126 => vec![first, 0x80 | short],
        _ => [&[first, 0x80 | 126][..], &length.to_be_bytes()].concat(),
    };
    [&header[..], &[0; 4], payload].concat()
}

/// Writes bytes and reads until the server has closed.
async fn throw(device: Device, bytes: &[u8]) {
    let mut stream = device.socket.into_inner();
    // The server may have closed before all is written.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn huge_truncated_nested_and_impossible_frames_end_their_connection_only() {
    let server = Running::start(CONFIG).await;
    let mut bystander = online(&server, 100).await;
    let watch = ToServer::Watch(Watch::default()).encode().unwrap();
    let huge = [&[0x82, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat();
    let nested = frame(0x82, &frame(0x82, &frame(0x82, &watch)));
    let truncated = frame(0x82, &watch)[..5].to_vec();
    let inside = [frame(0x02, &watch), frame(0x82, &watch)].concat();
    let long_control = frame(0x89, &[0; 200]);
    let reserved = frame(0xf2, &watch);
    let too_long = [frame(0x02, &[0; 65_535]), frame(0x80, &[0; 2])].concat();
    for bytes in [huge, nested, truncated, inside, long_control, reserved, too_long] {
        throw(online(&server, 1).await, &bytes).await;
        bystander.settle().await;
    }
    drop(bystander);
    assert!(!server.end().await.contains("panicked"));
}

#[tokio::test]
async fn a_message_split_into_single_bytes_is_one_message() {
    let server = Running::start(CONFIG).await;
    let device = online(&server, 1).await;
    let request = ToServer::IceRequest.encode().unwrap();
    let [first, middle, last] = request.as_slice() else { panic!("{request:?}") };
    // A ping may stand between fragments.
    let frames = [frame(0x02, &[*first]), frame(0x89, b"x"), frame(0x00, &[*middle]), frame(0x80, &[*last])].concat();
    let mut stream = device.socket.into_inner();
    for byte in frames {
        stream.write_all(&[byte]).await.unwrap();
    }
    let answer = ToDevice::IceServers(kith_signal_protocol::IceServers { servers: Vec::new(), lifetime_s: 3_600 });
    let answer = answer.encode().unwrap();
    let mut expected = vec![0x8a, 1, b'x', 0x82, u8::try_from(answer.len()).unwrap()];
    expected.extend(answer);
    let mut heard = vec![0; expected.len()];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn fragments_without_end_use_up_their_senders_budget_and_nobody_elses() {
    let server = Running::start(CONFIG).await;
    let mut bystander = online(&server, 100).await;
    let mut flood = online(&server, 1).await.socket.into_inner();
    let fragments = frame(0x00, &[]).repeat(100_000);
    let flooding = tokio::spawn(async move {
        // Not all of it is taken; the connection ends with the test.
        let _ = flood.write_all(&frame(0x02, &[])).await;
        let _ = flood.write_all(&fragments).await;
        flood
    });
    for _ in 0..20 {
        bystander.settle().await;
    }
    let throttled = async { while server.ask("/metrics").await.contains("kith_signal_throttled_total 0\n") {} };
    tokio::time::timeout(crate::devices::PATIENCE, throttled).await.unwrap();
    let metrics = server.ask("/metrics").await;
    let messages = metrics.lines().find_map(|line| line.strip_prefix("kith_signal_messages_total ")).unwrap();
    assert!(messages.parse::<u64>().unwrap() < 10_000, "{messages}");
    flooding.abort();
}

#[tokio::test]
async fn random_bytes_end_their_connection_only() {
    let server = Running::start(CONFIG).await;
    let mut bystander = online(&server, 100).await;
    for seed in 0..RANDOM_CONNECTIONS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes = vec![0; 300];
        random.fill_bytes(&mut bytes);
        // Half of them get past the frame, and a quarter past the kind of the message.
        if seed % 2 == 0 {
            if seed % 4 == 0 {
                bytes[..3].copy_from_slice(&[[0x10, 0x12, 0x20, 0x30][random.next_u32() as usize % 4], 1, 41]);
            }
            bytes = frame(0x82, &bytes);
        }
        let device = online(&server, u8::try_from(1 + seed % 90).unwrap()).await;
        throw(device, &bytes).await;
    }
    bystander.settle().await;
    drop(bystander);
    assert!(!server.end().await.contains("panicked"));
}
