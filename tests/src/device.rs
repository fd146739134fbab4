//! One device: a message bus, a `kithd` on it, and its owner at the command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Bus, Host, Messenger, Place, Policy, Process, Programs, Secret, Snapshot, run_to_end};

/// How long a command may take; pairing goes through the server and both daemons.
const COMMAND_MAX: Duration = Duration::from_secs(60);

/// The folder below a device's own that the daemon stores into.
const DATA: &str = "data";

/// What devices log here: debug, so that the search for secrets in it sees as much as an operator can.
const LOG: &str = "debug";

/// The folder below a device's own for what systemd would hand to the daemon.
const CREDENTIALS: &str = "credentials";

/// Where a device is and what it reaches.
#[derive(Clone, Debug)]
pub struct Location {
    /// The host that its daemon runs on.
    pub place: Place,
    /// Its signaling server.
    pub server_url: String,
    /// Others that share their devices with that one.
    pub other_urls: Vec<String>,
    /// The addresses that its links use; empty means all but loopback.
    pub link_addresses: Vec<String>,
    /// Use no direct path.
    pub relay_only: bool,
    /// What it logs, in directives.
    pub log: String,
}

impl Location {
    /// On this machine.
    pub fn loopback(server_url: &str) -> Self {
        Self {
            place: Place::Here,
            server_url: server_url.to_owned(),
            other_urls: Vec::new(),
            link_addresses: vec!["127.0.0.1".to_owned()],
            relay_only: false,
            log: LOG.to_owned(),
        }
    }

    /// On a host of a test's own network.
    pub fn host(host: &Host, server_url: &str) -> Self {
        Self {
            place: Place::Host(host.namespace().to_owned()),
            server_url: server_url.to_owned(),
            other_urls: Vec::new(),
            link_addresses: Vec::new(),
            relay_only: false,
            log: LOG.to_owned(),
        }
    }
}

/// A device with its owner's secret.
#[derive(Debug)]
pub struct Device {
    name: String,
    place: Place,
    secret: Secret,
    /// The size of the disk that the daemon has for itself, if it has one.
    disk_bytes: Option<u64>,
    process: Option<Process>,
    bus: Bus,
    folder: TempDir,
}

impl Device {
    /// A device that is set up and running.
    pub async fn start(name: &str, server_url: &str) -> Result<Self> {
        Self::start_at(name, &Location::loopback(server_url)).await
    }

    /// A device that is set up and running somewhere.
    pub async fn start_at(name: &str, location: &Location) -> Result<Self> {
        Self::prepare_at(name, location)?.brought_up().await
    }

    /// A device whose daemon stores on a disk of this size, in memory and in a mount namespace of its own: it ends
    /// with the daemon.
    pub async fn start_on_small_disk(name: &str, server_url: &str, disk_bytes: u64) -> Result<Self> {
        let device = Self { disk_bytes: Some(disk_bytes), ..Self::prepare(name, server_url)? };
        std::fs::create_dir(device.data_folder())?;
        device.brought_up().await
    }

    /// A device that is running and has not been set up.
    pub async fn start_new(name: &str, server_url: &str) -> Result<Self> {
        Self::prepare(name, server_url)?.running().await
    }

    async fn running(mut self) -> Result<Self> {
        self.bus.run().await?;
        self.run()?;
        self.messenger().await?;
        Ok(self)
    }

    async fn brought_up(self) -> Result<Self> {
        let device = self.running().await?;
        device.set_up().await?;
        Ok(device)
    }

    /// A device of which nothing runs yet, neither the bus nor the daemon.
    pub fn prepare(name: &str, server_url: &str) -> Result<Self> {
        Self::prepare_at(name, &Location::loopback(server_url))
    }

    /// The same, somewhere.
    pub fn prepare_at(name: &str, location: &Location) -> Result<Self> {
        let bus = Bus::prepare(&Policy::Open)?;
        let folder = tempfile::Builder::new().prefix(&format!("kith-{name}-")).tempdir()?;
        std::fs::write(configuration_file(folder.path()), configuration(folder.path(), &bus, location))?;
        Ok(Self {
            name: name.to_owned(),
            place: location.place.clone(),
            secret: Secret::random()?,
            disk_bytes: None,
            process: None,
            bus,
            folder,
        })
    }

    /// Runs the daemon. It waits by itself for its bus and its server.
    pub fn run(&mut self) -> Result<()> {
        let file = configuration_file(self.folder.path());
        let program = Programs::locate()?.path("kithd").display().to_string();
        // As systemd does, whether there is a credential or not.
        let credentials = format!("CREDENTIALS_DIRECTORY={}", self.folder.path().join(CREDENTIALS).display());
        let args = [&credentials, &program, "--config", &file.display().to_string()];
        let process = match self.disk_bytes {
            None => Process::start_at(&self.place, "kithd", Path::new("env"), &args, self.folder.path())?,
            Some(bytes) => {
                let disk = format!("size={bytes},mode=0700");
                let script = "mount -t tmpfs -o \"$1\" kith \"$2\" && shift 2 && exec env \"$@\"";
                let data = self.data_folder().display().to_string();
                let mounting = ["--mount", "sh", "-c", script, "sh", &disk, &data];
                let all: Vec<&str> = mounting.into_iter().chain(args).collect();
                Process::start_at(&self.place, "kithd", Path::new("unshare"), &all, self.folder.path())?
            }
        };
        self.process = Some(process);
        Ok(())
    }

    /// Ends the daemon in order; its store stays.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.terminate())
    }

    /// Ends the daemon like a power cut; its store stays as it is at this moment.
    pub fn cut_power(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops the daemon where it is.
    pub fn freeze(&self) -> Result<()> {
        self.process.as_ref().context("the daemon does not run")?.freeze()
    }

    /// Lets a frozen daemon go on.
    pub fn thaw(&self) {
        if let Some(process) = &self.process {
            process.thaw();
        }
    }

    /// A copy of all that the daemon has stored: what a power cut at this moment would leave.
    pub fn snapshot(&self) -> Result<Snapshot> {
        // Nothing may be written while it is copied.
        self.process.as_ref().map_or(Ok(()), Process::freeze)?;
        let snapshot = Snapshot::of(&self.data_folder());
        self.thaw();
        snapshot
    }

    /// Puts an earlier copy in the place of all that is stored. The daemon must not run.
    pub fn put_back(&mut self, snapshot: &Snapshot) -> Result<()> {
        ensure!(self.process.is_none(), "{} uses its folder", self.name);
        snapshot.put_into(&self.data_folder())
    }

    /// Runs the daemon again and unlocks it.
    pub async fn run_again(&mut self) -> Result<()> {
        self.run()?;
        self.messenger().await?;
        self.unlock().await
    }

    /// Lets the daemon find this secret as its credential from its next start on.
    pub fn give_credential(&self, secret: &[u8]) -> Result<()> {
        let folder = self.folder.path().join(CREDENTIALS);
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(folder.join("kith.secret"), secret)?)
    }

    /// Adds to the configuration, for the daemon's next start.
    pub fn configure(&self, more: &str) -> Result<()> {
        let file = configuration_file(self.folder.path());
        let text = std::fs::read_to_string(&file)?;
        Ok(std::fs::write(file, text + more)?)
    }

    /// Makes the identity.
    pub async fn set_up(&self) -> Result<()> {
        self.kithctl(&["set-up", "--name", &self.name], self.secret.text()).await.map(drop)
    }

    /// Opens the store.
    pub async fn unlock(&self) -> Result<()> {
        self.kithctl(&["unlock"], self.secret.text()).await.map(drop)
    }

    /// Closes the store: all sessions end, the daemon goes on.
    pub async fn lock(&self) -> Result<()> {
        self.kithctl(&["lock"], "").await.map(drop)
    }

    /// Opens an invite, and returns its text.
    pub async fn invite(&self) -> Result<String> {
        let answer = self.kithctl_json(&["invite", "--no-wait"], "").await?;
        Ok(answer["uri"].as_str().context("an invite has a `uri`")?.to_owned())
    }

    /// Accepts an invite; returns when the devices are paired.
    pub async fn accept(&self, invite: &str) -> Result<()> {
        self.kithctl(&["accept", "-"], invite).await.map(drop)
    }

    /// Runs `kithctl` as this device's owner.
    pub async fn kithctl(&self, args: &[&str], input: &str) -> Result<String> {
        self.kithctl_within(COMMAND_MAX, args, input).await
    }

    /// The same, for what takes longer.
    pub async fn kithctl_within(&self, wait_max: Duration, args: &[&str], input: &str) -> Result<String> {
        let all = [&["--bus-address", self.bus.address()], args].concat();
        let program = Programs::locate()?.path("kithctl");
        run_to_end(&program, &all, input, wait_max).await.with_context(|| self.name.clone())
    }

    /// Runs `kithctl --json` as this device's owner.
    pub async fn kithctl_json(&self, args: &[&str], input: &str) -> Result<Value> {
        let answer = self.kithctl(&[&["--json"], args].concat(), input).await?;
        serde_json::from_str(&answer).with_context(|| format!("{args:?} answered `{answer}`"))
    }

    /// A program's view of this device, as soon as the daemon is on its bus.
    pub async fn messenger(&self) -> Result<Messenger> {
        Messenger::connect(self.bus.address()).await.with_context(|| self.name.clone())
    }

    /// Its name, as its owner chose it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it stores what it keeps.
    pub fn data_folder(&self) -> PathBuf {
        self.folder.path().join(DATA)
    }

    /// Where it stores, as the daemon itself sees it: on its own disk, if it has one.
    pub fn data_folder_inside(&self) -> Result<PathBuf> {
        let pid = self.process.as_ref().context("the daemon does not run")?.pid();
        let path = format!("/proc/{pid}/root{}", self.data_folder().display());
        Ok(PathBuf::from(path))
    }

    /// What its daemon is configured with.
    pub fn configuration_file(&self) -> PathBuf {
        configuration_file(self.folder.path())
    }

    /// Its owner's secret.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Its message bus.
    pub fn bus(&mut self) -> &mut Bus {
        &mut self.bus
    }

    /// Where its message bus is.
    pub fn bus_address(&self) -> &str {
        self.bus.address()
    }

    /// Whether the daemon runs; one that has ended by itself does not.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| !process.has_ended())
    }

    /// The running daemon, to look at from outside.
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }
}

fn configuration_file(folder: &Path) -> PathBuf {
    folder.join("kithd.toml")
}

fn configuration(folder: &Path, bus: &Bus, location: &Location) -> String {
    format!(
        "data_dir = \"{}\"\n\
         bus = \"{}\"\n\
         log = \"{}\"\n\
         [signaling]\n\
         url = \"{}\"\n\
         other_urls = {:?}\n\
         allow_plain = true\n\
         [link]\n\
         addresses = {:?}\n\
         relay_only = {}\n",
        folder.join(DATA).display(),
        bus.address(),
        location.log,
        location.server_url,
        location.other_urls,
        location.link_addresses,
        location.relay_only,
    )
}
