//! The files for systemd and the message bus, read by the programs that will read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kith_dbus::Action;
use kith_system_tests::{Bus, Policy, Programs};

use crate::root;

/// Where the units expect the programs.
const INSTALLED: &str = "/usr/bin/";

/// What `systemd-analyze security` may say at most, in tenths; 100 is an unconfined service.
const EXPOSURE_MAX: &str = "15";

fn run(command: &mut Command) {
    let output = command.output().expect("the command starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?}: {printed}{said}");
}

fn unit_files() -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join("systemd/system")).unwrap();
    folder.map(|entry| entry.unwrap().path()).collect()
}

/// The units, with the programs where this build put them.
fn stage(folder: &Path) -> Vec<PathBuf> {
    let programs = Programs::locate().unwrap();
    let built = format!("{}/", programs.folder().display());
    let stage_unit = |unit: PathBuf| {
        let text = fs::read_to_string(&unit).unwrap();
        let staged = folder.join(unit.file_name().unwrap());
        fs::write(&staged, text.replace(INSTALLED, &built)).unwrap();
        staged
    };
    unit_files().into_iter().map(stage_unit).collect()
}

#[test]
fn systemd_accepts_the_units() {
    let folder = tempfile::tempdir().unwrap();
    run(Command::new("systemd-analyze").arg("verify").args(stage(folder.path())));
}

#[test]
fn the_units_leave_their_programs_little_to_reach() {
    let folder = tempfile::tempdir().unwrap();
    for unit in stage(folder.path()).into_iter().filter(|unit| unit.extension().is_some_and(|kind| kind == "service")) {
        let threshold = format!("--threshold={EXPOSURE_MAX}");
        run(Command::new("systemd-analyze").args(["security", "--offline=true", &threshold]).arg(unit));
    }
}

/// The one of `kith` before those of its members.
fn user_files() -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join("systemd/sysusers.d")).unwrap();
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort_by_key(|file| !file.ends_with("kith.conf"));
    files
}

#[test]
fn systemd_can_make_the_folders() {
    let root_folder = tempfile::tempdir().unwrap();
    let file = root().join("systemd/tmpfiles.d/kith.conf");
    let there = format!("--root={}", root_folder.path().display());
    run(Command::new("systemd-tmpfiles").args(["--create", &there]).arg(file));
    assert!(root_folder.path().join("etc/credstore.encrypted").is_dir());
}

#[test]
fn systemd_can_make_the_users() {
    run(Command::new("systemd-sysusers").arg("--dry-run").args(user_files()));
}

#[test]
fn users_of_units_and_policy_are_made() {
    let users: String = user_files().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let made: Vec<&str> =
        users.lines().filter(|line| line.starts_with('u')).filter_map(|line| line.split_whitespace().nth(1)).collect();
    for unit in unit_files() {
        let text = fs::read_to_string(&unit).unwrap();
        let user = text.lines().find_map(|line| line.strip_prefix("User="));
        assert!(user.is_none_or(|user| made.contains(&user)), "{}", unit.display());
    }
    let policy = root().join("systemd/dbus-1/system.d/org.kith.Messenger1.conf");
    assert!(fs::read_to_string(policy).unwrap().contains("user=\"kith\""));
    assert!(made.contains(&"kith"));
}

#[tokio::test]
async fn a_message_bus_starts_with_the_policy() {
    let policy = root().join("systemd/dbus-1/system.d/org.kith.Messenger1.conf");
    let bus = Bus::start_with(&Policy::OpenAndFile(policy)).await.unwrap();
    assert!(bus.address().starts_with("unix:path="));
}

#[test]
fn the_policy_of_polkit_has_each_action_once_in_two_languages() {
    let text = fs::read_to_string(root().join("systemd/polkit-1/actions/org.kith.messenger1.policy")).unwrap();
    let mut named = Vec::new();
    for part in text.split("<action id=\"").skip(1) {
        let (id, body) = part.split_once('"').unwrap();
        let (body, _) = body.split_once("</action>").unwrap();
        named.push(id);
        for element in ["<description>", "<description xml:lang=\"de\">", "<message>", "<message xml:lang=\"de\">"] {
            assert_eq!(body.matches(element).count(), 1, "{id}: {element}");
        }
        // polkit tells nobody but root and the owner of an action whether somebody else may do it.
        let owner = "<annotate key=\"org.freedesktop.policykit.owner\">unix-user:kith</annotate>";
        assert!(body.contains(owner), "{id}");
        let default = if id == Action::Wipe.id() { "auth_admin" } else { "yes" };
        for who in ["any", "inactive", "active"] {
            assert!(body.contains(&format!("<allow_{who}>{default}</allow_{who}>")), "{id}: {who}");
        }
    }
    assert_eq!(named, Action::ALL.map(Action::id));
}

#[test]
fn activation_starts_the_unit_that_owns_the_name() {
    let file = root().join("systemd/dbus-1/system-services/org.kith.Messenger1.service");
    let activation = fs::read_to_string(file).unwrap();
    assert!(activation.lines().any(|line| line == "Name=org.kith.Messenger1"));
    let unit = activation.lines().find_map(|line| line.strip_prefix("SystemdService=")).unwrap();
    assert!(root().join("systemd/system").join(unit).exists());
}
