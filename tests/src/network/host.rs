//! One host: a network namespace that ends with its owner.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What all names begin with; the process id and a number follow.
const PREFIX: &str = "kith-test-";

/// A host with its own interfaces, routes and packet filter.
#[derive(Debug)]
pub struct Host {
    namespace: String,
}

impl Host {
    /// A host on which only loopback is up.
    pub fn new(role: &str) -> Result<Self> {
        static SWEEP: Once = Once::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        SWEEP.call_once(sweep);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let host = Self { namespace: format!("{PREFIX}{}-{number}-{role}", std::process::id()) };
        run("ip", &["netns", "add", &host.namespace])?;
        host.ip(&["link", "set", "lo", "up"])?;
        Ok(host)
    }

    /// What `ip netns exec` calls it.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Runs `ip` for this host.
    pub fn ip(&self, args: &[&str]) -> Result<()> {
        run("ip", &[&["-n", &self.namespace], args].concat())
    }

    /// Loads rules into this host's packet filter; they add to those that are there.
    pub fn filter(&self, rules: &str) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.namespace, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .context("nft did not start")?;
        child.stdin.take().context("standard input")?.write_all(rules.as_bytes())?;
        let status = child.wait()?;
        if !status.success() {
            bail!("nft refused:\n{rules}");
        }
        Ok(())
    }

    /// Runs something on a thread of this host.
    pub fn enter<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let namespace = std::fs::File::open(Path::new("/run/netns").join(&self.namespace))?;
        let thread = std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Sets a kernel parameter of this host's network.
    pub fn set(&self, parameter: &str, value: &str) -> Result<()> {
        let assignment = format!("{parameter}={value}");
        run("ip", &["netns", "exec", &self.namespace, "sysctl", "--quiet", "--write", &assignment])
    }

    /// A cable between two hosts.
    pub fn connect(&self, interface: &str, other: &Self, other_interface: &str) -> Result<()> {
        let peer = ["peer", "name", other_interface, "netns", &other.namespace];
        let here = ["link", "add", interface, "netns", &self.namespace, "type", "veth"];
        run("ip", &[&here[..], &peer[..]].concat())?;
        self.ip(&["link", "set", interface, "up"])?;
        other.ip(&["link", "set", other_interface, "up"])
    }

    /// Gives an interface an address with its prefix length.
    pub fn address(&self, interface: &str, address: &str) -> Result<()> {
        self.ip(&["address", "add", address, "dev", interface])
    }

    /// The same for IPv6, to be used at once: nobody else has it, so none is asked.
    pub fn address_v6(&self, interface: &str, address: &str) -> Result<()> {
        self.ip(&["address", "add", address, "dev", interface, "nodad"])
    }

    /// Everything that is not near goes this way.
    pub fn default_route(&self, gateway: &str) -> Result<()> {
        self.ip(&["route", "add", "default", "via", gateway])
    }

    /// A switch; [`Host::plug`] joins interfaces to it.
    pub fn switch(&self, name: &str) -> Result<()> {
        self.ip(&["link", "add", name, "type", "bridge"])?;
        self.ip(&["link", "set", name, "up"])
    }

    /// Joins an interface to a switch.
    pub fn plug(&self, interface: &str, switch: &str) -> Result<()> {
        self.ip(&["link", "set", interface, "master", switch])
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        remove(&self.namespace);
    }
}

/// Removes the hosts of processes that are gone.
fn sweep() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&name);
        }
    }
}

fn remove(namespace: &str) {
    // Nothing is left to do about a host that cannot be removed; the next run tries again.
    let _ = Command::new("ip").args(["netns", "delete", namespace]).stderr(Stdio::null()).status();
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    let output = Command::new(program).args(args).output().with_context(|| format!("{program} did not start"))?;
    if !output.status.success() {
        bail!("{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
