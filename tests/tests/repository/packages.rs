//! What the manifests say about Debian packages.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::{files, in_repository, root};

/// The crates that become packages.
const PACKAGED: [&str; 3] = ["daemon", "ui-kiosk", "signal-server"];

fn table(folder: &str) -> toml::Table {
    let text = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&text).unwrap();
    manifest["package"]["metadata"]["deb"].as_table().unwrap().clone()
}

/// What a package takes from the repository and not from a build: source, and where it goes.
fn assets(folder: &str) -> Vec<(String, String)> {
    let assets = table(folder)["assets"].as_array().unwrap().clone();
    let pair = |asset: &toml::Value| {
        let field = |at: usize| asset[at].as_str().unwrap().to_owned();
        (field(0), field(1))
    };
    assets.iter().map(pair).filter(|(source, _)| !source.starts_with("target/")).collect()
}

/// The files that a source means: itself, or those that a `*` in its last part stands for.
fn meant(folder: &str, source: &str) -> Vec<PathBuf> {
    let path = root().join(folder).join(source);
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let Some((start, end)) = name.split_once('*') else { return vec![path] };
    let entries = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(start) && name.ends_with(end)
    };
    entries.filter(fits).collect()
}

#[test]
fn packages_are_made_of_files_that_exist() {
    for folder in PACKAGED {
        for (source, _) in assets(folder) {
            let files = meant(folder, &source);
            assert!(!files.is_empty() && files.iter().all(|file| file.is_file()), "{folder}: {source}");
        }
    }
}

#[test]
fn all_that_is_for_systemd_and_the_message_bus_is_in_a_package() {
    let canonical = |path: &Path| path.canonicalize().unwrap();
    let packaged: BTreeSet<PathBuf> = PACKAGED
        .iter()
        .flat_map(|folder| assets(folder).into_iter().flat_map(|(source, _)| meant(folder, &source)))
        .map(|path| canonical(&path))
        .collect();
    for file in files("") {
        let name = in_repository(&file);
        let is_installed = name.starts_with("systemd/") || name.starts_with("daemon/dbus-api/xml/");
        assert!(!is_installed || packaged.contains(&canonical(&file)), "{name} is in no package");
    }
}

#[test]
fn maintainer_scripts_leave_room_for_what_systemd_needs() {
    for folder in PACKAGED {
        let scripts = root().join(folder).join(table(folder)["maintainer-scripts"].as_str().unwrap());
        for script in std::fs::read_dir(scripts).unwrap() {
            let text = std::fs::read_to_string(script.unwrap().path()).unwrap();
            assert!(text.starts_with("#!/bin/sh\nset -e\n") && text.contains("\n#DEBHELPER#\n"), "{folder}: {text}");
        }
    }
}
