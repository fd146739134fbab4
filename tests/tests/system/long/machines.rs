//! The packages on machines of their own: systemd as process 1, the units as they are, the kernel's networks between them.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use kith_dbus::DaemonState;
use kith_system_tests::{Host, Internet, Machine, Nat, Packages, Secret, Site};
use serde_json::Value;
use tempfile::TempDir;

/// A server and two paired devices, each a machine of its own. Machines end before hosts.
struct Town {
    alice: Machine,
    bob: Machine,
    _server: Machine,
    _hosts: [Host; 2],
    _site: Site,
    _internet: Internet,
    /// Where the packages are from which the devices come.
    _previous: TempDir,
}

const SERVER_PORT: u16 = 8080;

/// What a test may wait for in a command that waits by itself.
const WAIT: &str = "--wait=60";

impl Town {
    async fn new() -> Self {
        let mut internet = Internet::new().unwrap();
        let server = Machine::boot(internet.public(), "server").await.unwrap();
        serve(&server).await;
        let mut site = internet.site(Nat::Cone).unwrap();
        let hosts = [site.device("alice").unwrap(), site.device("bob").unwrap()];
        let folder = tempfile::tempdir().unwrap();
        let previous = Packages::locate().unwrap().previous("kith", folder.path()).await.unwrap();
        let alice = device(&hosts[0], "alice", &previous).await;
        let bob = device(&hosts[1], "bob", &previous).await;
        let invite = alice.kithctl_json(&["invite", "--no-wait"], "").await.unwrap();
        bob.run(&["kithctl", "accept", "-"], invite["uri"].as_str().unwrap()).await.unwrap();
        Self { alice, bob, _server: server, _hosts: hosts, _site: site, _internet: internet, _previous: folder }
    }

    /// A message that is delivered when this returns.
    async fn says(&self, text: &str) {
        self.alice.run(&["kithctl", "send", WAIT, "bob", text], "").await.unwrap();
    }

    /// What the second device has received, oldest first.
    async fn heard(&self) -> Vec<String> {
        let history = self.bob.kithctl_json(&["history", "-n", "500", "alice"], "").await.unwrap();
        let texts = history["messages"].as_array().unwrap().iter().map(|row| row["text"].as_str().unwrap().to_owned());
        texts.collect()
    }
}

/// A running server of the installed package.
async fn serve(server: &Machine) {
    server.install(&[Packages::locate().unwrap().path("kith-signal").unwrap()]).await.unwrap();
    let address = format!("{}:{SERVER_PORT}", Internet::SERVER);
    let configuration = format!("listen = \"{address}\"\nserver_names = [\"{address}\"]\nallow_plain = true\n");
    server.write("/etc/kith-signal/kith-signal.toml", &configuration).unwrap();
    server.run(&["systemctl", "enable", "--now", "kith-signal.service"], "").await.unwrap();
}

/// A device of the installed package that opens with its credential. Its first start made the identity.
async fn device(host: &Host, name: &str, package: &Path) -> Machine {
    let machine = Machine::boot(host, name).await.unwrap();
    machine.install(&[package.to_owned()]).await.unwrap();
    let secret = Secret::random().unwrap();
    let encrypt = ["systemd-creds", "encrypt", "--name=kith.secret", "-", "/etc/credstore.encrypted/kith.secret"];
    machine.run(&encrypt, secret.text()).await.unwrap();
    let url = format!("ws://{}:{SERVER_PORT}/", Internet::SERVER);
    let configuration =
        format!("[signaling]\nurl = \"{url}\"\nallow_plain = true\n[set_up]\ndisplay_name = \"{name}\"\n");
    machine.write("/etc/kith/kithd.d/50-test.toml", &configuration).unwrap();
    machine.run(&["systemctl", "restart", "kithd"], "").await.unwrap();
    machine.messenger().await.unwrap().wait_until(DaemonState::Ready).await.unwrap();
    machine
}

/// A property of the daemon's unit.
async fn property(machine: &Machine, name: &str) -> String {
    let show = ["systemctl", "show", "kithd", "--value", "--property", name];
    machine.run(&show, "").await.unwrap().trim().to_owned()
}

/// What the journal has of the daemon's unit, a line each.
async fn journal(machine: &Machine) -> Vec<Value> {
    let text = machine.run(&["journalctl", "--unit=kithd", "--output=json"], "").await.unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All that was written since the machine was new and has this in its name.
fn left(machine: &Machine, word: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![machine.written()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            // A file that was there before the machine was new and is not any more.
            let is_gone = entry.file_type().unwrap().is_char_device();
            if !is_gone && entry.file_name().to_string_lossy().contains(word) {
                found.push(entry.path());
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found
}

#[tokio::test]
async fn installed_devices_start_by_themselves_unlock_by_credential_and_talk() {
    let town = Town::new().await;
    town.says("The door is open.").await;
    assert_eq!(town.heard().await, ["The door is open."]);

    // Whoever calls a daemon that is not there starts it.
    town.bob.run(&["systemctl", "stop", "kithd"], "").await.unwrap();
    assert_eq!(property(&town.bob, "ActiveState").await, "inactive");
    let status = town.bob.kithctl_json(&["status"], "").await.unwrap();
    assert_eq!(property(&town.bob, "ActiveState").await, "active");
    assert!(status["client_id"].is_string(), "{status}");
    town.says("The door is shut.").await;

    // The process has a user of its own and no capability, and the secret is for it alone.
    assert_eq!(property(&town.bob, "User").await, "kith");
    let pid = property(&town.bob, "MainPID").await;
    let process = town.bob.run(&["cat", &format!("/proc/{pid}/status")], "").await.unwrap();
    assert!(process.contains("CapEff:\t0000000000000000") && process.contains("Seccomp:\t2"), "{process}");

    let lines = journal(&town.bob).await;
    let own: Vec<&Value> = lines.iter().filter(|line| line["_COMM"] == "kithd" && line["TARGET"].is_string()).collect();
    assert!(own.iter().any(|line| line["MESSAGE"] == "ready" && line["TARGET"] == "kithd::run::ready"), "{own:?}");
    for line in &own {
        let text = line.to_string();
        assert!(line["CODE_FILE"].is_string() && line["PRIORITY"].is_string(), "{text}");
        assert!(!text.contains("The door is") && !text.contains("203.0.113."), "{text}");
    }
}

#[tokio::test]
async fn a_daemon_that_is_killed_or_stands_still_is_started_anew_and_nothing_is_lost() {
    let town = Town::new().await;
    // As in the unit, but sooner.
    town.bob.write("/etc/systemd/system/kithd.service.d/sooner.conf", "[Service]\nWatchdogSec=2\n").unwrap();
    town.bob.run(&["systemctl", "daemon-reload"], "").await.unwrap();
    town.bob.run(&["systemctl", "restart", "kithd"], "").await.unwrap();
    town.says("before").await;
    for (signal, result) in [("KILL", "signal"), ("STOP", "watchdog")] {
        for machine in [&town.alice, &town.bob] {
            if signal == "STOP" && machine.name() == "alice" {
                continue;
            }
            for number in 1..=5 {
                let text = format!("{signal} {}, {number}", machine.name());
                town.alice.run(&["kithctl", "send", "bob", &text], "").await.unwrap();
            }
            let process = format!("--pid={}", property(machine, "MainPID").await);
            machine.run(&["systemctl", "kill", "--signal", signal, "kithd"], "").await.unwrap();
            // The process is gone, and another has opened the store by itself.
            machine.run(&["tail", &process, "--sleep-interval=0.1", "-f", "/dev/null"], "").await.unwrap();
            machine.messenger().await.unwrap().wait_until(DaemonState::Ready).await.unwrap();
            town.says(&format!("after {signal} of {}", machine.name())).await;
            let ended_so = |line: &Value| line["UNIT_RESULT"] == *result;
            assert!(journal(machine).await.iter().any(ended_so), "{signal} of {}", machine.name());
        }
    }
    let mut expected = vec!["before".to_owned()];
    for (signal, name) in [("KILL", "alice"), ("KILL", "bob"), ("STOP", "bob")] {
        expected.extend((1..=5).map(|number| format!("{signal} {name}, {number}")));
        expected.push(format!("after {signal} of {name}"));
    }
    assert_eq!(town.heard().await, expected);
}

#[tokio::test]
async fn a_newer_package_keeps_what_a_device_holds_and_a_purge_leaves_nothing() {
    let town = Town::new().await;
    town.says("before").await;
    let (before, started) = (status(&town.bob).await, property(&town.bob, "MainPID").await);
    let packages = Packages::locate().unwrap();
    town.bob.install(&[packages.path("kith").unwrap(), packages.path("kith-kiosk").unwrap()]).await.unwrap();
    town.bob.run(&["systemctl", "is-active", "kithd", "kith-kiosk"], "").await.unwrap();
    // The new program runs, and has what the old one had.
    assert_ne!(property(&town.bob, "MainPID").await, started);
    town.says("after").await;
    assert_eq!(status(&town.bob).await["client_id"], before["client_id"]);
    assert_eq!(town.heard().await, ["before", "after"]);

    // Removed, it leaves what the device holds; purged, it leaves nothing.
    town.bob.run(&["dpkg", "--remove", "kith-kiosk", "kith"], "").await.unwrap();
    assert!(town.bob.inside("/var/lib/kith/store.redb").exists());
    assert!(!town.bob.inside("/usr/bin/kithd").exists());
    town.bob.run(&["dpkg", "--purge", "kith-kiosk", "kith"], "").await.unwrap();
    assert_eq!(left(&town.bob, "kith"), Vec::<PathBuf>::new());
    for file in ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/var/lib/dpkg/status"] {
        let text = std::fs::read_to_string(town.bob.inside(file)).unwrap();
        assert!(!text.contains("kith"), "{file}: {text}");
    }
}

async fn status(machine: &Machine) -> Value {
    machine.kithctl_json(&["status"], "").await.unwrap()
}
