//! Debian's NATS server, over which signaling servers share their devices.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::Process;

/// How long it may take to start.
const START_MAX: Duration = Duration::from_secs(10);

/// What servers read the secret from that they share.
const SECRET_FILE: &str = "bus-secret";

/// A NATS server. Stopped and run again, it listens on the same port.
#[derive(Debug)]
pub struct Nats {
    port: u16,
    process: Option<Process>,
    folder: TempDir,
}

impl Nats {
    /// A running NATS server on a port of its own.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kith-nats-").tempdir()?;
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        std::fs::write(folder.path().join(SECRET_FILE), u128::from_be_bytes(bytes).to_string().repeat(2))?;
        let mut nats = Self { port: 0, process: None, folder };
        nats.run().await?;
        Ok(nats)
    }

    /// Runs it; returns when it can be connected to.
    pub async fn run(&mut self) -> Result<()> {
        // Its log goes to standard error; each line begins with the process, and after that as it says.
        let script = "exec nats-server --addr 127.0.0.1 --port \"$1\" --logtime=false 2>&1";
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        let args = ["-c", script, "sh", &port];
        let mut process = Process::start("nats-server", Path::new("sh"), &args, self.folder.path())?;
        let line = |text: &str| format!("[{}] [INF] {text}", process.pid());
        let (listening, ready) = (line("Listening for client connections on 127.0.0.1:"), line("Server is ready"));
        let port = process.wait_for_line(&listening, START_MAX).await?;
        self.port = port.trim().parse().with_context(|| format!("`{port}` is not a port"))?;
        process.wait_for_line(&ready, START_MAX).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it like a power cut; its port stays.
    pub fn cut_power(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// What a server's configuration says to share its devices here.
    pub fn configuration(&self) -> String {
        let secret = self.folder.path().join(SECRET_FILE);
        format!("bus = \"nats://127.0.0.1:{}\"\nbus_secret_file = \"{}\"\n", self.port, secret.display())
    }
}
