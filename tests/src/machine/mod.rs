//! A whole machine, but for its kernel: systemd as process 1, with the packages installed on it.

mod base;

use std::fs;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Host, Messenger, Place, Process, run_to_end, within};

const START: &str = include_str!("start.sh");

/// How long a machine may take to start.
const BOOT_MAX: Duration = Duration::from_secs(60);

/// How long a command on it may take; installing a package restarts services.
const COMMAND_MAX: Duration = Duration::from_secs(120);

/// What its control group and its socket are called; the process id and a number follow.
const PREFIX: &str = "kith-test-";

/// What systemd says when all is started that is to start.
const READY: &str = "READY=1";

/// A running machine.
#[derive(Debug)]
pub struct Machine {
    name: String,
    /// Its process 1, and its id here.
    init: OwnedFd,
    init_pid: i32,
    process: Process,
    group: Group,
    folder: TempDir,
}

impl Machine {
    /// A started machine in the network of a host, which outlives it.
    pub async fn boot(host: &Host, name: &str) -> Result<Self> {
        let base = base::base()?.display().to_string();
        let folder = tempfile::Builder::new().prefix(&format!("kith-machine-{name}-")).tempdir()?;
        let group = Group::new()?;
        let socket = ready_socket(host, group.name())?;
        fs::write(folder.path().join("start.sh"), START)?;
        let script = folder.path().join("start.sh").display().to_string();
        let work = folder.path().display().to_string();
        let args = [&script, &base, &work, group.name(), name];
        let place = Place::Host(host.namespace().to_owned());
        let process = Process::start_at(&place, name, Path::new("sh"), &args, folder.path())?;
        let started = within(BOOT_MAX, "a machine", ready(socket)).await;
        started.with_context(|| process.errors())?;
        let init_pid = only_child(process.pid())?;
        let init = pidfd_open(Pid::from_raw(init_pid).context("a process id")?, PidfdFlags::empty())?;
        Ok(Self { name: name.to_owned(), init, init_pid, process, group, folder })
    }

    /// Runs a command on it as root, with this standard input; gives its standard output.
    pub async fn run(&self, command: &[&str], input: &str) -> Result<String> {
        ensure!(self.group.path.exists(), "{} is gone", self.name);
        let pid = self.init_pid.to_string();
        // `env` looks for the command in that machine.
        let enter =
            ["--target", &pid, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--wd=/", "--", "env"];
        let all = [&enter, command].concat();
        run_to_end(Path::new("nsenter"), &all, input, COMMAND_MAX).await.with_context(|| self.name.clone())
    }

    /// Runs `kithctl --json` on it.
    pub async fn kithctl_json(&self, args: &[&str], input: &str) -> Result<Value> {
        let answer = self.run(&[&["kithctl", "--json"], args].concat(), input).await?;
        serde_json::from_str(&answer).with_context(|| format!("{args:?} answered `{answer}`"))
    }

    /// Installs packages, or newer ones in their place.
    pub async fn install(&self, packages: &[PathBuf]) -> Result<()> {
        let mut command = vec!["dpkg".to_owned(), "--install".to_owned()];
        for package in packages {
            let name = package.file_name().context("a package is a file")?.to_string_lossy().into_owned();
            fs::copy(package, self.inside(&format!("/tmp/{name}")))?;
            command.push(format!("/tmp/{name}"));
        }
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        self.run(&command, "").await.map(drop)
    }

    /// Puts a file there, with the folders above it.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.inside(path);
        fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        Ok(fs::write(path, text)?)
    }

    /// A path of it, as this process sees it.
    pub fn inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init_pid))
    }

    /// A program's view of its messenger, as soon as the daemon is on its system bus.
    pub async fn messenger(&self) -> Result<Messenger> {
        let socket = self.inside("/run/dbus/system_bus_socket");
        Messenger::connect(&format!("unix:path={}", socket.display())).await.with_context(|| self.name.clone())
    }

    /// What differs from a machine on which nothing was installed: the folder that holds all that was written.
    pub fn written(&self) -> PathBuf {
        self.folder.path().join("upper")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With process 1 ends everything; who waits for it hears of it. It fails when it is gone already.
        let _ = pidfd_send_signal(&self.init, Signal::KILL);
        self.process.kill();
    }
}

/// A control group, which systemd takes for the root of all.
#[derive(Debug)]
struct Group {
    path: PathBuf,
}

impl Group {
    fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mount = fields.find(|fields| fields.get(2) == Some(&"cgroup2")).context("no cgroup2 is mounted")?;
        let root = Path::new(mount[1]);
        sweep(root);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes the groups of processes that are gone.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&entry.path());
        }
    }
}

/// Removes a group and those below it; files in them are the kernel's.
fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove(&entry.path());
        }
    }
    // One that is in use stays for the next sweep.
    let _ = fs::remove_dir(group);
}

/// A socket in the host's network, where systemd says that it is ready.
fn ready_socket(host: &Host, name: &str) -> Result<UnixDatagram> {
    let address = SocketAddr::from_abstract_name(name)?;
    host.enter(move || Ok(UnixDatagram::bind_addr(&address)?))
}

async fn ready(socket: UnixDatagram) -> Result<()> {
    socket.set_nonblocking(true)?;
    let socket = tokio::net::UnixDatagram::from_std(socket)?;
    let mut message = [0; 4096];
    loop {
        let length = socket.recv(&mut message).await?;
        if String::from_utf8_lossy(&message[..length]).lines().any(|line| line == READY) {
            return Ok(());
        }
    }
}

fn only_child(pid: i32) -> Result<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    children.trim().parse().with_context(|| format!("process 1 among `{children}`"))
}
