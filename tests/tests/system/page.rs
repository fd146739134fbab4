//! The status page in front of a running messenger.

use std::time::Duration;

use kith_system_tests::{Process, Programs};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{Pair, send_all};

const START_MAX: Duration = Duration::from_secs(10);

async fn get(address: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    page
}

#[tokio::test]
async fn the_page_shows_the_contact_and_never_a_message() {
    let mut pair = Pair::new().await;
    let body = "words between the two";
    send_all(&mut pair.to_bob, &[body.to_owned()]).await;

    let folder = tempfile::tempdir().unwrap();
    let program = Programs::locate().unwrap().path("kith-kiosk");
    let args = ["--listen", "127.0.0.1:0", "--bus-address", pair.alice.bus_address()];
    let mut kiosk = Process::start("kith-kiosk", &program, &args, folder.path()).unwrap();
    let address = kiosk.wait_for_line("listening on ", START_MAX).await.unwrap();

    let page = get(&address).await;
    for text in ["alice", "<td>bob</td><td>online</td><td>direct", "shortened addresses", "belongs to a test"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains(body), "{page}");

    pair.alice.stop().unwrap();
    let page = get(&address).await;
    assert!(page.contains("not running") && !page.contains("bob"), "{page}");
    kiosk.terminate().unwrap();
}

#[tokio::test]
async fn the_page_is_for_this_device_only() {
    let folder = tempfile::tempdir().unwrap();
    let program = Programs::locate().unwrap().path("kith-kiosk");
    let mut kiosk = Process::start("kith-kiosk", &program, &["--listen", "0.0.0.0:0"], folder.path()).unwrap();
    let error = kiosk.wait_for_line("listening on ", START_MAX).await.unwrap_err();
    assert!(error.to_string().contains("not a loopback address"), "{error}");
}
