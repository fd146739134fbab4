//! What a real run leaves behind in each logging mode: every file, everything printed, every metric.

use std::net::SocketAddr;
use std::path::Path;

use kith_signal_protocol::{LoggingMode, Notice, ToDevice, ToServer, Via};
use tokio::net::{TcpSocket, TcpStream};

use crate::devices::{Device, PATIENCE};
use crate::program::Running;

/// Where devices come from: directly, and as a proxy on 127.0.0.1 forwards them.
const DIRECT: &str = "127.7.7.7";
const FORWARDED: [&str; 3] = ["203.0.113.77", "2001:db8:1234:5678:9abc:def0:1234:5678", "::ffff:198.51.100.99"];

/// What of these may be written in mode `active`.
const SHORTENED: [&str; 4] = ["127.7.7.0", "203.0.113.0", "2001:db8:1234::", "198.51.100.0"];

/// What may not, in text and as the bytes of a socket address.
const FULL: [&[u8]; 8] = [
    b"127.7.7.7",
    b"203.0.113.77",
    b"2001:db8:1234:",
    b"198.51.100.99",
    &[127, 7, 7, 7],
    &[203, 0, 113, 77],
    &[0x20, 1, 0x0d, 0xb8, 0x12, 0x34, 0x56, 0x78],
    &[198, 51, 100, 99],
];

fn configuration(mode: &str, folder: &Path) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\n\
         server_names = [\"signal.test\"]\n\
         operations = {{ listen = \"127.0.0.1:0\" }}\n\
         proxy = {{ addresses = [\"127.0.0.1\"], speaks = \"x-forwarded-for\" }}\n\
         logging = {{ mode = \"{mode}\", folder = \"{}\" }}\n",
        folder.display()
    )
}

async fn connect_from(source: &str, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    socket.connect(server).await.unwrap()
}

/// One device from each address; the first two pair.
async fn devices(server: SocketAddr) -> (Vec<Device>, Vec<Notice>) {
    let (mut devices, mut notices) = (Vec::new(), Vec::new());
    for (seed, forwarded) in (1..).zip([None].into_iter().chain(FORWARDED.map(Some))) {
        let source = if forwarded.is_some() { "127.0.0.1" } else { DIRECT };
        let stream = connect_from(source, server).await;
        let mut device = Device::connect_over(Box::new(stream), forwarded, seed).await;
        notices.push(device.log_in("signal.test", [0; 16]).await.notice);
        devices.push(device);
    }
    let via = Via::Invite([9; 16]);
    devices[0].say(&ToServer::OpenInvite([9; 16])).await;
    devices[0].settle().await;
    let inviter = devices[0].id();
    devices[1].relay(inviter, via, b"first offer").await;
    devices[0].hear_relayed().await;
    (devices, notices)
}

/// Everything that a run in `mode` leaves, after it was asked for all there is to ask.
async fn traces(mode: &str) -> (Vec<u8>, Vec<String>) {
    let logs = tempfile::tempdir().unwrap();
    let server = Running::start(&configuration(mode, logs.path())).await;
    let (devices, _) = devices(server.address).await;
    let ids = devices.iter().map(|device| device.id().to_string()).collect();
    let metrics = server.ask("/metrics").await;
    assert!(metrics.contains("kith_signal_devices_online 4\n"), "{metrics}");
    drop(devices);
    let mut traces = server.end().await.into_bytes();
    traces.extend(metrics.into_bytes());
    for entry in std::fs::read_dir(logs.path()).unwrap() {
        let path = entry.unwrap().path();
        traces.extend(path.file_name().unwrap().as_encoded_bytes());
        traces.extend(std::fs::read(path).unwrap());
    }
    (traces, ids)
}

fn holds(traces: &[u8], what: &[u8]) -> bool {
    traces.windows(what.len()).any(|window| window == what)
}

#[tokio::test]
async fn active_mode_leaves_shortened_addresses_only() {
    let (traces, ids) = traces("active").await;
    for address in SHORTENED {
        assert!(holds(&traces, address.as_bytes()), "{address}: {}", String::from_utf8_lossy(&traces));
    }
    for address in FULL {
        // What begins like a shortened IPv6 address may go on with nothing but its end.
        let found =
            traces.windows(address.len() + 1).any(|window| window.starts_with(address) && !window.ends_with(b":"));
        assert!(!found, "{:?}: {}", String::from_utf8_lossy(address), String::from_utf8_lossy(&traces));
    }
    let text = String::from_utf8_lossy(&traces);
    assert!(text.contains(&format!("pairing {} {}\n", ids[0], ids[1])), "{text}");
    for id in &ids {
        assert!(text.contains(&format!("online {id} ")) && text.contains(&format!("offline {id} ")), "{text}");
    }
}

#[tokio::test]
async fn disabled_mode_leaves_neither_addresses_nor_ids() {
    let (traces, ids) = traces("disabled").await;
    for address in FULL.into_iter().chain(SHORTENED.map(str::as_bytes)) {
        assert!(
            !holds(&traces, address),
            "{:?}: {}",
            String::from_utf8_lossy(address),
            String::from_utf8_lossy(&traces)
        );
    }
    for id in ids {
        assert!(!holds(&traces, id.as_bytes()) && !holds(&traces, id.replace('-', "").as_bytes()), "{id}");
    }
}

#[tokio::test]
async fn debug_mode_leaves_full_addresses() {
    let (traces, _) = traces("debug").await;
    for address in [DIRECT, FORWARDED[0], FORWARDED[1], "198.51.100.99"] {
        assert!(holds(&traces, address.as_bytes()), "{address}: {}", String::from_utf8_lossy(&traces));
    }
}

#[tokio::test]
async fn a_change_of_mode_is_told_to_every_device_and_holds_from_then_on() {
    let logs = tempfile::tempdir().unwrap();
    let server = Running::start(&configuration("disabled", logs.path())).await;
    let (mut devices, notices) = devices(server.address).await;
    assert!(notices.iter().all(|notice| notice.mode == LoggingMode::Disabled));
    assert_eq!(std::fs::read_dir(logs.path()).unwrap().count(), 0);
    for (mode, expected) in [("debug", LoggingMode::Debug), ("active", LoggingMode::Active)] {
        server.reload(&configuration(mode, logs.path()));
        for device in &mut devices {
            match device.hear().await {
                ToDevice::Notice(notice) => {
                    assert_eq!(notice.mode, expected);
                    assert_eq!(notice.text.contains("GDPR Art. 6(1)(f)"), expected == LoggingMode::Debug);
                }
                other => panic!("no notice: {other:?}"),
            }
        }
    }
    // What cannot be used changes nothing.
    server.reload("listen = 7");
    server.wait_for_error("the configuration stays as it was").await;
    devices[0].settle().await;
    drop(devices);
    let printed = tokio::time::timeout(PATIENCE, server.end()).await.unwrap();
    assert!(!FULL.iter().any(|address| holds(printed.as_bytes(), address)), "{printed}");
    let files: Vec<_> = std::fs::read_dir(logs.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    // Nobody came while it was in mode debug, and what went afterwards is shortened.
    assert_eq!(files.len(), 1, "{files:?}");
    let text = std::fs::read_to_string(&files[0]).unwrap();
    assert!(text.contains("offline") && !text.contains(FORWARDED[0]), "{text}");
}
