//! Callers who are neither root nor the daemon's own user: what they may do, by the PIN and by the real polkit.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use kith_system_tests::{Device, Logging, Process, Server, run_to_end};
use serde_json::{Value, json};
use zbus::fdo::DBusProxy;

/// Calls on one connection.
const CALLER: &str = include_str!("access.py");

/// Debian's user `nobody`.
const STRANGER: &str = "65534";
/// Debian's user `daemon`, in the place of the user `kith` that a package makes.
const OTHER: &str = "1";

const POLKIT: &str = "org.freedesktop.PolicyKit1";
const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd/polkit-1/actions/org.kith.messenger1.policy");
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd/polkit-1/rules.d/60-kith-visitor.rules");

const CALLS_MAX: Duration = Duration::from_secs(60);
const START_MAX: Duration = Duration::from_secs(20);

/// Lets other users reach a bus.
fn open_up(address: &str) {
    let socket = PathBuf::from(address.strip_prefix("unix:path=").unwrap());
    std::fs::set_permissions(socket.parent().unwrap(), std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A device whose bus everybody reaches.
async fn reachable_device(server: &Server) -> Device {
    let device = Device::start("alice", &server.url()).await.unwrap();
    open_up(device.bus_address());
    device
}

/// Runs a Python program as another user.
async fn python_as(user: &str, program: &str, args: &[&str], input: &str) -> String {
    let identity = [format!("--reuid={user}"), format!("--regid={user}")];
    let fixed = [&identity[0], &identity[1], "--clear-groups", "--", "/usr/bin/python3", "-c", program];
    run_to_end(Path::new("setpriv"), &[&fixed[..], args].concat(), input, CALLS_MAX).await.unwrap()
}

/// What each of these calls, made by a stranger on one connection, came to: the error's name, or the answer.
async fn called(device: &Device, calls: &[Value]) -> Vec<Value> {
    let input: String = calls.iter().map(|call| format!("{call}\n")).collect();
    let output = python_as(STRANGER, CALLER, &[device.bus_address()], &input).await;
    let answers: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), calls.len(), "{output}");
    answers
}

fn errors(answers: &[Value]) -> Vec<&str> {
    answers.iter().map(|answer| answer["error"].as_str().unwrap_or("")).collect()
}

#[tokio::test]
async fn a_stranger_does_what_is_dangerous_with_the_pin_only_and_guesses_ever_more_slowly() {
    let server = Server::start(Logging::Active).await.unwrap();
    let mut device = reachable_device(&server).await;
    let secret = device.secret().text().to_owned();
    device.kithctl(&["pin"], "\n2580\n").await.unwrap();
    assert_eq!(device.kithctl_json(&["status"], "").await.unwrap()["pin_set"], true);
    let denied = called(
        &device,
        &[
            json!(["Check"]),
            json!(["SetPin", "", "1111"]),
            json!(["ChangeSecret", secret, "another"]),
            json!(["Wipe", "wipe"]),
            json!(["Elevate", "0000"]),
            json!(["Elevate", "0001"]),
        ],
    )
    .await;
    let expected = ["", "NotAuthorized", "NotAuthorized", "NotAuthorized", "WrongSecret", "WrongSecret"];
    assert_eq!(errors(&denied), expected, "{denied:?}");

    // It is the daemon that counts, and it does not forget.
    device.cut_power();
    device.run().unwrap();
    device.messenger().await.unwrap();
    open_up(device.bus_address());
    device.unlock().await.unwrap();
    // The third one is judged; of the next, one comes too early, however slow this machine is.
    let guesses: Vec<_> = (2..8).map(|guess| json!(["Elevate", format!("000{guess}")])).collect();
    let slowed = called(&device, &guesses).await;
    assert_eq!(slowed[0]["error"], "WrongSecret", "{slowed:?}");
    let limited = slowed.iter().find(|answer| answer["error"] == "RateLimited").expect("one is too early");
    let (_, rest) = limited["sentence"].as_str().unwrap().split_once("try again in ").unwrap();
    let seconds: u32 = rest.strip_suffix(" s.").unwrap().parse().unwrap();
    assert!((1..=16).contains(&seconds), "{slowed:?}");

    // Wrong PINs do not keep the owner from unlocking, and locking takes back what a PIN has granted.
    device.lock().await.unwrap();
    device.unlock().await.unwrap();
    while called(&device, &[json!(["Elevate", "2580"])]).await[0]["error"] == "RateLimited" {}
    let calls = [
        json!(["Elevate", "2580"]),
        json!(["Lock"]),
        json!(["Unlock", secret]),
        json!(["Wipe", "wipe"]),
        json!(["Elevate", secret]),
        json!(["StepDown"]),
        json!(["Wipe", "wipe"]),
        json!(["Elevate", "2580"]),
        json!(["SetPin", "", ""]),
        json!(["Wipe", "wipe"]),
    ];
    let elevated = called(&device, &calls).await;
    let expected = ["", "", "", "NotAuthorized", "", "", "NotAuthorized", "", "", ""];
    assert_eq!(errors(&elevated), expected, "{elevated:?}");
    assert_eq!(elevated[0]["answer"], 300);
    assert_eq!(device.kithctl_json(&["status"], "").await.unwrap()["state"], "needs-set-up");
}

#[tokio::test]
async fn the_secret_lets_a_stranger_wipe_a_locked_device_and_the_pin_does_not() {
    let server = Server::start(Logging::Active).await.unwrap();
    let device = reachable_device(&server).await;
    device.kithctl(&["pin"], "\n2580\n").await.unwrap();
    device.lock().await.unwrap();
    let calls = [
        json!(["Elevate", "2580"]),
        json!(["Wipe", "wipe"]),
        json!(["Elevate", device.secret().text()]),
        json!(["Wipe", "wipe"]),
    ];
    let answers = called(&device, &calls).await;
    assert_eq!(errors(&answers), ["WrongSecret", "NotAuthorized", "", ""], "{answers:?}");
    assert_eq!(device.kithctl_json(&["status"], "").await.unwrap()["state"], "needs-set-up");
}

/// The real polkit on a device's bus, with our policy and our example of a rule, in a mount namespace of its own.
struct Polkit {
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Polkit {
    async fn start(device: &Device) -> Self {
        let folder = tempfile::Builder::new().prefix("kith-polkit-").tempdir().unwrap();
        let (actions, rules) = (folder.path().join("actions"), folder.path().join("rules"));
        for path in [&actions, &rules] {
            std::fs::create_dir(path).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let policy = std::fs::read_to_string(POLICY).unwrap().replace("unix-user:kith", "unix-user:daemon");
        std::fs::write(actions.join("org.kith.messenger1.policy"), policy).unwrap();
        let rule = std::fs::read_to_string(RULES).unwrap().replace("kith-visitor", "nobody");
        std::fs::write(rules.join("60-kith-visitor.rules"), rule).unwrap();
        let script = "mount --bind \"$1\" /usr/share/polkit-1/actions && mount --bind \"$2\" /etc/polkit-1/rules.d \
                      && exec env DBUS_SYSTEM_BUS_ADDRESS=\"$3\" /usr/lib/polkit-1/polkitd --no-debug";
        let (actions, rules) = (actions.display().to_string(), rules.display().to_string());
        let args = ["--mount", "sh", "-c", script, "sh", &actions, &rules, device.bus_address()];
        let client = zbus::connection::Builder::address(device.bus_address()).build().await.unwrap();
        let bus = DBusProxy::new(&client).await.unwrap();
        let mut owners = bus.receive_name_owner_changed_with_args(&[(0, POLKIT)]).await.unwrap();
        let process = Process::start("polkitd", Path::new("unshare"), &args, folder.path()).unwrap();
        tokio::time::timeout(START_MAX, owners.next()).await.expect("polkitd takes its name").unwrap();
        Self { _process: process, _folder: folder }
    }
}

#[tokio::test]
async fn the_real_polkit_decides_by_our_policy_and_by_a_rule() {
    let server = Server::start(Logging::Active).await.unwrap();
    let device = reachable_device(&server).await;
    let before = called(&device, &[json!(["Check"]), json!(["Invite", {}])]).await;
    assert_eq!(errors(&before), ["", ""], "{before:?}");

    let polkit = Polkit::start(&device).await;
    // The rule leaves this user reading and sending; the PIN is for whoever knows it.
    device.kithctl(&["pin"], "\n2580\n").await.unwrap();
    let calls = [
        json!(["Check"]),
        json!(["Invite", {}]),
        json!(["Wipe", "wipe"]),
        json!(["Elevate", "2580"]),
        json!(["Check"]),
    ];
    let ruled = called(&device, &calls).await;
    let expected = ["NotAuthorized", "NotAuthorized", "NotAuthorized", "", "NotAuthorized"];
    assert_eq!(errors(&ruled), expected, "{ruled:?}");
    assert!(ruled[0]["sentence"].as_str().unwrap().contains("org.kith.messenger1.manage"), "{ruled:?}");

    // The policy's defaults; and only the owner of the actions may ask about others.
    let messenger = device.messenger().await.unwrap();
    let bus = DBusProxy::new(messenger.connection()).await.unwrap();
    let daemon = bus.get_name_owner(kith_dbus::SERVICE.try_into().unwrap()).await.unwrap();
    let ask = "import dbus.bus, sys\n\
               bus = dbus.bus.BusConnection(sys.argv[1])\n\
               authority = bus.get_object('org.freedesktop.PolicyKit1', '/org/freedesktop/PolicyKit1/Authority', introspect=False)\n\
               name = sys.argv[2] or bus.get_unique_name()\n\
               subject = ('system-bus-name', dbus.Dictionary({'name': name}, signature='sv'))\n\
               for action in sys.argv[3:]:\n\
               \x20   try:\n\
               \x20       said = authority.CheckAuthorization(subject, action, dbus.Dictionary({}, signature='ss'), dbus.UInt32(0), '', dbus_interface='org.freedesktop.PolicyKit1.Authority')\n\
               \x20       print('yes' if said[0] else 'password' if said[1] else 'no')\n\
               \x20   except dbus.DBusException as error:\n\
               \x20       print(error.get_dbus_name())\n";
    let actions = kith_dbus::Action::ALL.map(kith_dbus::Action::id);
    let args = |about| [&[device.bus_address(), about][..], &actions].concat();
    let defaults = python_as(OTHER, ask, &args(""), "").await;
    assert_eq!(defaults.lines().collect::<Vec<_>>(), ["yes", "yes", "yes", "yes", "yes", "password"]);
    let owner = python_as(OTHER, ask, &args(daemon.as_str()), "").await;
    assert_eq!(owner.lines().collect::<Vec<_>>(), ["yes"; 6], "root may do all");
    let foreign = python_as(STRANGER, ask, &args(daemon.as_str()), "").await;
    assert!(foreign.lines().all(|said| said == "org.freedesktop.PolicyKit1.Error.NotAuthorized"), "{foreign}");
    drop(polkit);
}
