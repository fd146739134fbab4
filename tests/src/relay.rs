//! Debian's coturn with the configuration that `systemd/coturn/` ships.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{Host, Place, Process};

/// How long the relay may take to start.
const START_MAX: Duration = Duration::from_secs(10);

/// How long to wait for one answer before asking again.
const ANSWER_MAX: Duration = Duration::from_millis(50);

/// The port of the shipped configuration (RFC 8656 §18.6).
const PORT: u16 = 3478;

/// What the server reads its half of the secret from.
const SECRET_FILE: &str = "secret";

/// The shipped configuration's line about its log.
const SYSTEM_LOG: &str = "\nsyslog\n";

/// How a relay differs from the one that the server's secret fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// The relay takes what the server hands out.
    Fit,
    /// The relay has another secret.
    OtherSecret,
    /// The relay's clock is two hours ahead, so that everything handed out has ended.
    Expired,
}

/// A running relay.
#[derive(Debug)]
pub struct Relay {
    address: Ipv4Addr,
    port: u16,
    secret: String,
    process: Option<Process>,
    folder: TempDir,
}

impl Relay {
    /// A relay at an address of a host.
    pub async fn start(host: &Host, address: Ipv4Addr) -> Result<Self> {
        let mut relay = Self::prepare(address, PORT)?;
        relay.run(host, Credentials::Fit)?;
        Ok(relay)
    }

    /// A relay on this machine's loopback, where the shipped configuration relays to nobody, without its limits for
    /// one device.
    pub fn start_here() -> Result<Self> {
        let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut relay = Self::prepare(Ipv4Addr::LOCALHOST, free)?;
        let limits = ["denied-peer-ip=127.", "denied-peer-ip=::ffff:", "user-quota=", "max-bps="];
        let shipped = relay.configuration(Credentials::Fit)?;
        let kept = shipped.lines().filter(|line| !limits.iter().any(|limit| line.starts_with(limit)));
        let text = kept.chain(["allow-loopback-peers"]).collect::<Vec<_>>().join("\n");
        relay.run_at(&Place::Here, Credentials::Fit, &text)?;
        let answers = answers(relay.address, relay.port)?;
        ensure!(answers, "turnserver does not answer\n{}", relay.log());
        Ok(relay)
    }

    fn prepare(address: Ipv4Addr, port: u16) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kith-relay-").tempdir()?;
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        let secret = u128::from_be_bytes(bytes).to_string();
        std::fs::write(folder.path().join(SECRET_FILE), &secret)?;
        Ok(Self { address, port, secret, process: None, folder })
    }

    /// Runs it, again if need be; what was relayed before is gone.
    pub fn run(&mut self, host: &Host, credentials: Credentials) -> Result<()> {
        let text = self.configuration(credentials)?;
        self.run_at(&Place::Host(host.namespace().to_owned()), credentials, &text)?;
        let (address, port) = (self.address, self.port);
        let answers = host.enter(move || answers(address, port))?;
        ensure!(answers, "turnserver does not answer\n{}", self.log());
        Ok(())
    }

    fn run_at(&mut self, place: &Place, credentials: Credentials, configuration: &str) -> Result<()> {
        self.process = None;
        let file = self.folder.path().join("turnserver.conf");
        std::fs::write(&file, configuration)?;
        let file = file.display().to_string();
        let (program, args): (_, &[&str]) = match credentials {
            Credentials::Expired => ("faketime", &["-f", "+2h", "turnserver", "-c", &file]),
            Credentials::Fit | Credentials::OtherSecret => ("turnserver", &["-c", &file]),
        };
        self.process = Some(Process::start_at(place, "turnserver", Path::new(program), args, self.folder.path())?);
        Ok(())
    }

    fn configuration(&self, credentials: Credentials) -> Result<String> {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/coturn/turnserver.conf");
        let shipped = std::fs::read_to_string(&shipped).with_context(|| format!("{}", shipped.display()))?;
        ensure!(shipped.contains(SYSTEM_LOG), "the shipped configuration logs elsewhere");
        let shipped = shipped.replace(&format!("\nlistening-port={PORT}\n"), "\n");
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        // What goes to the system's log there is to be read here.
        let shipped = shipped.replace(SYSTEM_LOG, &format!("\nlog-file={}\n", at("turnserver.log")));
        let Self { address, port, secret, .. } = self;
        // Two secrets, as while one takes over from another; the server has the second.
        let secret = if credentials == Credentials::OtherSecret { "another" } else { secret };
        let (pid_file, database) = (at("pid"), at("db"));
        Ok(format!(
            "{shipped}\n\
             listening-ip={address}\n\
             listening-port={port}\n\
             relay-ip={address}\n\
             static-auth-secret=an earlier one\n\
             static-auth-secret={secret}\n\
             pidfile={pid_file}\n\
             userdb={database}\n"
        ))
    }

    /// `HOST:PORT`, as it stands in `stun:` and `turn:` URLs.
    pub fn url(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }

    /// The file with the secret that the server is to use.
    pub fn secret_file(&self) -> PathBuf {
        self.folder.path().join(SECRET_FILE)
    }

    /// Everything that it has printed and written to its log.
    pub fn traces(&self) -> Result<Vec<u8>> {
        let mut traces = Vec::new();
        for file in ["turnserver.log", "turnserver.out", "turnserver.err"] {
            traces.extend(std::fs::read(self.folder.path().join(file))?);
        }
        Ok(traces)
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("turnserver.log")).unwrap_or_default()
    }
}

/// Sends STUN binding requests (RFC 8489 §5) from the relay's own host until one is answered.
fn answers(address: Ipv4Addr, port: u16) -> Result<bool> {
    // Not connected, so that a refusal is no error but silence, for as long as the wait is.
    let socket = UdpSocket::bind((address, 0))?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    for _ in 0..START_MAX.as_millis() / ANSWER_MAX.as_millis() {
        socket.send_to(&request, (address, port))?;
        if socket.recv_from(&mut [0; 512]).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}
