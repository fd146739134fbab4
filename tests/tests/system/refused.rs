//! What `kithd` does not start with, and what it says then.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use kith_system_tests::{Bus, Device, Logging, Policy, Programs, Server, run_to_end};
use redb::{Database, ReadableDatabase as _, TableDefinition};
use tempfile::TempDir;

/// A refusal comes at once; a daemon that serves instead would be there for ever.
const REFUSAL_MAX: Duration = Duration::from_secs(10);

/// The clear header's table and its only row (docs/protocol.md §8.2).
const HEADER: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("header");
const HEADER_KEY: &[u8] = &[];

/// The exit code and the sentence on standard error.
async fn refusal(configuration: &Path) -> String {
    let program = Programs::locate().unwrap().path("kithd").display().to_string();
    // A trace of the program is for its makers.
    let args = ["--unset=RUST_BACKTRACE", &program, "--config", &configuration.display().to_string()];
    let error = run_to_end(Path::new("env"), &args, "", REFUSAL_MAX).await.expect_err("kithd serves").to_string();
    let (_, ended) = error.split_once(" ended with ").unwrap_or_else(|| panic!("{error}"));
    ended.trim_end().to_owned()
}

/// A data folder and a configuration that names it; there is no bus at that address.
fn prepared(more: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let text = format!("data_dir = \"{data}\"\nbus = \"unix:path={data}/bus\"\n{more}");
    std::fs::write(folder.path().join("kithd.toml"), text).unwrap();
    (folder, data)
}

#[tokio::test]
async fn a_data_folder_with_loose_permissions() {
    let (folder, data) = prepared("");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(
        refusal(&folder.path().join("kithd.toml")).await,
        format!("exit status: 1: Error: {data} is open to other users (mode 0755); run `chmod 0700 {data}`")
    );
    assert_eq!(std::fs::read_dir(data).unwrap().count(), 0);
}

#[tokio::test]
async fn a_store_that_a_newer_version_made() {
    let server = Server::start(Logging::Active).await.unwrap();
    let mut device = Device::start("hall", &server.url()).await.unwrap();
    device.stop().unwrap();
    let store = device.data_folder().join("store.redb");
    let header = change_header(&store, |header| header[0] = 0x7f);

    let said = refusal(&device.configuration_file()).await;
    let sentence = "a newer version of kithd wrote this store; install that version again, nothing has been changed";
    assert_eq!(said, format!("exit status: 1: Error: {sentence}"));
    // It was true: with its header put back it opens.
    change_header(&store, |now| *now = header);
    device.run_again().await.unwrap();
}

/// Changes the clear header and returns what it was.
fn change_header(store: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let database = Database::open(store).unwrap();
    let rows = database.begin_read().unwrap().open_table(HEADER).unwrap();
    let old = rows.get(HEADER_KEY).unwrap().unwrap().value().to_vec();
    let mut new = old.clone();
    change(&mut new);
    let tx = database.begin_write().unwrap();
    tx.open_table(HEADER).unwrap().insert(HEADER_KEY, new.as_slice()).unwrap();
    tx.commit().unwrap();
    old
}

#[tokio::test]
async fn a_data_folder_that_another_daemon_uses() {
    let server = Server::start(Logging::Active).await.unwrap();
    let mut device = Device::start("hall", &server.url()).await.unwrap();
    let data = device.data_folder().display().to_string();
    assert_eq!(
        refusal(&device.configuration_file()).await,
        format!(
            "exit status: 1: Error: another process uses {data}; stop it (`systemctl stop kithd`, or find it with \
             `fuser {data}/lock`), or configure another data directory"
        )
    );
    // The one that was there first has not noticed.
    assert_eq!(device.kithctl_json(&["status"], "").await.unwrap()["state"], "ready");
    device.stop().unwrap();
}

#[tokio::test]
async fn a_bus_that_gives_the_name_to_another_user_only() {
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/dbus-1/system.d/org.kith.Messenger1.conf");
    let bus = Bus::start_with(&Policy::OpenAndFile(policy)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let file = folder.path().join("kithd.toml");
    std::fs::write(&file, format!("data_dir = \"{data}\"\nbus = \"{}\"\nlog = \"error\"\n", bus.address())).unwrap();
    let said = refusal(&file).await;
    let beginning = format!("exit status: 1: Error: the bus at {} does not let this user own", bus.address());
    assert!(said.starts_with(&beginning) && said.contains("install the D-Bus policy"), "{said}");
}

#[tokio::test]
async fn a_configuration_with_an_unknown_key() {
    let (folder, data) = prepared("[signaling]\nurI = \"wss://signal.example/\"\n");
    let file = folder.path().join("kithd.toml");
    let said = refusal(&file).await;
    assert!(said.starts_with(&format!("exit status: 1: Error: {} is not valid:", file.display())), "{said}");
    assert!(said.contains("unknown field `urI`, expected one of `url`, `other_urls`, `allow_plain`"), "{said}");
    assert!(!Path::new(&data).exists());
}
