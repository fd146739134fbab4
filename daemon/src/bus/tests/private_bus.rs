//! A message bus of a test's own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use zbus::Connection;

/// A folder with the configuration of a bus, and the bus while it runs.
#[derive(Debug)]
pub(super) struct PrivateBus {
    folder: TempDir,
    process: Option<Child>,
}

impl PrivateBus {
    /// A bus that does not run yet.
    pub(super) fn prepared() -> Self {
        let folder = tempfile::Builder::new().prefix("kith-bus-").tempdir().unwrap();
        let bus = Self { folder, process: None };
        let config = format!(
            "<busconfig>
               <listen>{}</listen>
               <auth>EXTERNAL</auth>
               <policy context=\"default\">
                 <allow own=\"*\"/>
                 <allow send_destination=\"*\" eavesdrop=\"true\"/>
                 <allow receive_sender=\"*\" eavesdrop=\"true\"/>
               </policy>
             </busconfig>",
            bus.address()
        );
        fs::write(bus.config(), config).unwrap();
        bus
    }

    /// A bus that takes connections.
    pub(super) fn running() -> Self {
        let mut bus = Self::prepared();
        bus.start();
        bus
    }

    /// Runs it, and returns when it takes connections.
    pub(super) fn start(&mut self) {
        // A bus that was killed leaves its socket behind.
        let _ = fs::remove_file(self.folder.path().join("socket"));
        let mut process = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", self.config().display()))
            .args(["--nofork", "--nopidfile", "--print-address=1"])
            .stdout(Stdio::piped())
            // It complains about limits that only root may raise.
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon is not installed: apt-get install dbus-daemon");
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        self.process = Some(process);
        assert!(address.starts_with("unix:path="), "dbus-daemon did not start");
    }

    /// Ends it.
    pub(super) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub(super) fn address(&self) -> String {
        format!("unix:path={}", self.folder.path().join("socket").display())
    }

    pub(super) async fn connect(&self) -> Connection {
        zbus::connection::Builder::address(self.address().as_str()).build().await.unwrap()
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("bus.conf")
    }
}

impl Drop for PrivateBus {
    fn drop(&mut self) {
        self.stop();
    }
}
