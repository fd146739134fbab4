//! What is true of the repository itself: who depends on whom, that the pages name files that
//! exist, that units and configuration files are accepted by what reads them.

mod configuration;
mod dependencies;
mod documents;
mod modules;
mod packages;
mod units;
mod yocto;

use std::path::{Path, PathBuf};

/// The repository's root folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository")
}

/// All files below the root whose name ends so, without those that were built.
fn files(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry of a folder").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != ".git" {
                folders.push(path);
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no file ends with {ending}");
    found
}

/// A path as the pages write it.
fn in_repository(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
