//! `cargo xtask yocto`: the list of crates that the Yocto layer's recipes fetch, made of Cargo.lock; and the layer's linter.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{cargo, tools};

/// The layer, from the repository's root.
const LAYER: &str = "yocto/meta-kith";

/// The list, from the repository's root.
const LIST: &str = "yocto/meta-kith/recipes-kith/kith/kith-crates.inc";

/// Writes the list.
pub(crate) fn run() -> Result<()> {
    let root = cargo::root()?;
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).context("Cargo.lock cannot be read")?;
    let list = root.join(LIST);
    std::fs::write(&list, crates(&lock)).with_context(|| format!("cannot write {}", list.display()))
}

/// Has the layer read by a linter, whose settings are in the layer; any finding is an error.
pub(crate) fn lint() -> Result<()> {
    let layer = cargo::root()?.join(LAYER);
    let mut lint = Command::new(tools::oelint()?);
    lint.current_dir(&layer).arg("--quiet").arg(layer.join("conf/layer.conf"));
    for recipe in recipes(&layer)? {
        lint.arg(recipe);
    }
    cargo::run(&mut lint)
}

/// The recipes and classes below a folder; what they include is read with them.
fn recipes(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(recipes(&path)?);
        } else if path.extension().is_some_and(|kind| kind == "bb" || kind == "bbclass") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A crate that is fetched.
struct Fetched<'a> {
    name: &'a str,
    version: &'a str,
    checksum: &'a str,
}

/// The text of the list. Cargo writes its lock file in one form only, so lines are enough.
fn crates(lock: &str) -> String {
    let fetched: Vec<Fetched<'_>> = lock.split("[[package]]").filter_map(fetched).collect();
    let mut text = String::from("# Made by `cargo xtask yocto` of Cargo.lock.\n\nSRC_URI += \"\\\n");
    // Writing to a String cannot fail.
    for Fetched { name, version, .. } in &fetched {
        let _ = writeln!(text, "    crate://crates.io/{name}/{version};name={name}-{version} \\");
    }
    text.push_str("\"\n\n");
    for Fetched { name, version, checksum } in &fetched {
        let _ = writeln!(text, "SRC_URI[{name}-{version}.sha256sum] = \"{checksum}\"");
    }
    text
}

/// `None` for a crate of the workspace: it has no checksum.
fn fetched(package: &str) -> Option<Fetched<'_>> {
    let field =
        |name: &str| package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'));
    Some(Fetched { name: field("name")?, version: field("version")?, checksum: field("checksum")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_checksum_is_fetched_and_the_rest_is_here() {
        let lock = "version = 4\n\n[[package]]\nname = \"kithd\"\nversion = \"0.1.0\"\n\n\
                    [[package]]\nname = \"time\"\nversion = \"0.3.44\"\nsource = \"registry\"\nchecksum = \"ab12\"\n";
        let text = crates(lock);
        assert!(text.contains("    crate://crates.io/time/0.3.44;name=time-0.3.44 \\\n"), "{text}");
        assert!(text.contains("SRC_URI[time-0.3.44.sha256sum] = \"ab12\"\n") && !text.contains("kithd"), "{text}");
    }
}
