//! The units say `Type=notify`: the programs have to say when they are ready (sd_notify(3)).

use std::path::Path;
use std::time::Duration;

use kith_system_tests::{Bus, Process, Programs};
use tokio::net::UnixDatagram;

const READY_MAX: Duration = Duration::from_secs(10);

async fn wait_until_ready(name: &str, configuration: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, configuration.replace("FOLDER", &folder.path().display().to_string())).unwrap();
    let socket = folder.path().join("notify");
    let listener = UnixDatagram::bind(&socket).unwrap();

    let variable = format!("NOTIFY_SOCKET={}", socket.display());
    let program = Programs::locate().unwrap().path(name).display().to_string();
    let args = [&variable, &program, "--config", &file.display().to_string()];
    let mut process = Process::start(name, Path::new("env"), &args, folder.path()).unwrap();
    let ready = tokio::time::timeout(READY_MAX, async {
        let mut message = [0; 1024];
        loop {
            let length = listener.recv(&mut message).await.unwrap();
            if String::from_utf8_lossy(&message[..length]).lines().any(|line| line == "READY=1") {
                return;
            }
        }
    });
    assert!(ready.await.is_ok(), "{name} is not ready: {}", process.errors());
    process.terminate().unwrap();
}

#[tokio::test]
async fn the_daemon_tells_systemd_that_it_is_ready() {
    let bus = Bus::start().await.unwrap();
    wait_until_ready("kithd", &format!("data_dir = \"FOLDER/data\"\nbus = \"{}\"\n", bus.address())).await;
}

#[tokio::test]
async fn the_server_tells_systemd_that_it_is_ready() {
    wait_until_ready("kith-signal", "listen = \"127.0.0.1:0\"\nlogging = { mode = \"disabled\" }\n").await;
}
