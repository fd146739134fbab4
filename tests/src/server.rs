//! A signaling server on a port of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{Internet, Nats, Place, Process, Programs, Relay};

/// How long the server may take to start.
const START_MAX: Duration = Duration::from_secs(10);

/// The port of a server that has a host of its own: its name, with the port, is configured before it
/// listens.
const PUBLIC_PORT: u16 = 8080;

/// What the server says it logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logging {
    /// Connections, with shortened addresses.
    Active,
    /// Nothing.
    Disabled,
    /// Everything, with full addresses.
    Debug,
}

/// Where a server listens and what it tells devices of.
#[derive(Debug)]
struct Seat {
    place: Place,
    /// Where it listens.
    listen: IpAddr,
    /// Where devices find it.
    addresses: Vec<IpAddr>,
    ice: String,
    /// What its configuration says of other servers.
    shared: String,
}

impl Seat {
    /// On this machine, alone.
    fn here() -> Self {
        let listen = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self { place: Place::Here, listen, addresses: vec![listen], ice: String::new(), shared: String::new() }
    }
}

/// A signaling server. Stopped and run again, it listens on the same port.
#[derive(Debug)]
pub struct Server {
    seat: Seat,
    port: u16,
    process: Option<Process>,
    folder: TempDir,
}

impl Server {
    /// A running server.
    pub async fn start(logging: Logging) -> Result<Self> {
        Self::start_at(Seat::here(), 0, logging).await
    }

    /// A running server that shares its devices with others.
    pub async fn start_shared(nats: &Nats, logging: Logging) -> Result<Self> {
        let seat = Seat { shared: nats.configuration(), ..Seat::here() };
        Self::start_at(seat, 0, logging).await
    }

    /// A running server that tells devices of its relay.
    pub async fn start_with(relay: &Relay, logging: Logging) -> Result<Self> {
        Self::start_at(Seat { ice: ice(relay), ..Seat::here() }, 0, logging).await
    }

    /// A running server in a public network, for IPv4 and IPv6, which tells devices of its relay.
    pub async fn start_public(internet: &Internet, relay: &Relay, logging: Logging) -> Result<Self> {
        let ice = ice(relay);
        let place = Place::Host(internet.public().namespace().to_owned());
        let addresses = vec![IpAddr::V4(Internet::SERVER), IpAddr::V6(Internet::SERVER_V6)];
        let listen = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let seat = Seat { place, listen, addresses, ice, shared: String::new() };
        Self::start_at(seat, PUBLIC_PORT, logging).await
    }

    async fn start_at(seat: Seat, port: u16, logging: Logging) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kith-server-").tempdir()?;
        let mut server = Self { seat, port, process: None, folder };
        server.run(logging).await?;
        Ok(server)
    }

    /// Runs it; returns when it can be connected to.
    pub async fn run(&mut self, logging: Logging) -> Result<()> {
        let file = self.configure(logging)?;
        let program = Programs::locate()?.path("kith-signal");
        let args = ["--config", &file.display().to_string()];
        let mut process = Process::start_at(&self.seat.place, "kith-signal", &program, &args, self.folder.path())?;
        let address = process.wait_for_line("listening on ", START_MAX).await?;
        let address: SocketAddr = address.trim().parse().with_context(|| format!("`{address}` is no address"))?;
        self.port = address.port();
        self.process = Some(process);
        Ok(())
    }

    /// Has the running server log in another way.
    pub fn change(&self, logging: Logging) -> Result<()> {
        self.configure(logging)?;
        self.process.as_ref().context("the server does not run")?.hang_up();
        Ok(())
    }

    fn configure(&self, logging: Logging) -> Result<PathBuf> {
        let file = self.folder.path().join("kith-signal.toml");
        std::fs::write(&file, configuration(&self.seat, self.port, logging, &self.log_folder()))?;
        Ok(file)
    }

    /// Ends it; its port stays.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.terminate())
    }

    /// Ends it like a power cut; its port stays.
    pub fn cut_power(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops it where it is: devices that are connected hear nothing more.
    pub fn freeze(&self) -> Result<()> {
        self.process.as_ref().context("the server does not run")?.freeze()
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        if let Some(process) = &self.process {
            process.thaw();
        }
    }

    /// Where its access log lies.
    pub fn log_folder(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Where devices connect to.
    pub fn url(&self) -> String {
        self.urls().next().unwrap_or_default()
    }

    /// The same at each of its addresses.
    pub fn urls(&self) -> impl Iterator<Item = String> {
        self.seat.addresses.iter().map(|address| format!("ws://{}/", SocketAddr::new(*address, self.port)))
    }

    /// Everything that it has printed and written, but for its configuration: what an operator may read.
    pub fn traces(&self) -> Result<Vec<u8>> {
        let mut traces = Vec::new();
        for file in [self.folder.path().join("kith-signal.out"), self.folder.path().join("kith-signal.err")] {
            traces.extend(std::fs::read(file)?);
        }
        // Without a log there is no folder for it.
        for entry in std::fs::read_dir(self.log_folder()).into_iter().flatten() {
            let path = entry?.path();
            traces.extend(path.file_name().unwrap_or_default().as_encoded_bytes());
            traces.extend(std::fs::read(path)?);
        }
        Ok(traces)
    }

    /// The running server, to look at from outside.
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }
}

fn ice(relay: &Relay) -> String {
    let (url, secret) = (relay.url(), relay.secret_file());
    let secret = secret.display();
    format!(
        "[ice]\nstun = [\"stun:{url}\"]\nturn = [\"turn:{url}\"]\nturn_secret_file = \"{secret}\"\nlifetime_s = 600\n",
    )
}

fn configuration(seat: &Seat, port: u16, logging: Logging, folder: &Path) -> String {
    let mode = match logging {
        Logging::Active => "active",
        Logging::Disabled => "disabled",
        Logging::Debug => "debug",
    };
    let Seat { listen, addresses, ice, shared, .. } = seat;
    let public = if listen.is_loopback() {
        String::new()
    } else {
        let names: Vec<_> = addresses.iter().map(|address| SocketAddr::new(*address, port).to_string()).collect();
        format!("allow_plain = true\nserver_names = {names:?}\n")
    };
    let listen = SocketAddr::new(*listen, port);
    format!(
        "listen = \"{listen}\"\n\
         {public}{shared}\
         logging = {{ mode = \"{mode}\", folder = \"{}\", text = \"This server belongs to a test.\" }}\n\
         {ice}",
        folder.display()
    )
}
