//! Tools that Debian does not have: built once, into the target folder, each in one version.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cargo;

/// Makes Debian packages of what the manifests say. Maintained since 2016; MIT.
const CARGO_DEB: (&str, &str) = ("cargo-deb", "3.8.0");

/// Reads Yocto recipes as their reviewers do. Maintained since 2019; BSD-2-Clause.
const OELINT: (&str, &str) = ("oelint-adv", "9.11.2");

/// Finds what keeps people from using a page; the tests of the kiosk load it into a browser. Mozilla Public License 2.0.
const AXE: (&str, &str) = ("axe-core", "4.14.1");

/// The folder below the target folder.
const FOLDER: &str = "tools";

/// The path of `cargo-deb`, which is built first if it is not there.
pub(crate) fn cargo_deb() -> Result<PathBuf> {
    let (name, version) = CARGO_DEB;
    // A folder for each version: another one is built anew.
    let root = cargo::target()?.join(FOLDER).join(format!("{name}-{version}"));
    let program = root.join("bin").join(name);
    if !program.exists() {
        let mut install = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        install.args(["install", "--locked", "--version", version, "--root"]).arg(&root).arg(name);
        // The release profile of that crate is made to compile fast.
        cargo::run(install.env("CARGO_TARGET_DIR", root.join("build")))?;
        std::fs::remove_dir_all(root.join("build"))?;
    }
    Ok(program)
}

/// The path of `oelint-adv`, which is installed first if it is not there.
pub(crate) fn oelint() -> Result<PathBuf> {
    let (name, version) = OELINT;
    let root = cargo::target()?.join(FOLDER).join(format!("{name}-{version}"));
    let program = root.join("bin").join(name);
    if !program.exists() {
        cargo::run(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&root))?;
        let mut install = Command::new(root.join("bin/pip"));
        install.args(["install", "--quiet", "--disable-pip-version-check"]).arg(format!("{name}=={version}"));
        cargo::run(&mut install).context("a tool that checks recipes")?;
    }
    Ok(program)
}

/// Fetches `axe-core` if it is not there: a script, of which nothing is run here.
pub(crate) fn axe() -> Result<()> {
    let (name, version) = AXE;
    let root = cargo::target()?.join(FOLDER).join(name);
    let wanted = format!("{name}@{version}");
    let kept = root.join("version");
    if std::fs::read_to_string(&kept).is_ok_and(|kept| kept == wanted) {
        return Ok(());
    }
    npm_install(&root, &wanted)?;
    Ok(std::fs::write(kept, wanted)?)
}

/// Fetches a package of npm into a folder; none of its scripts is run.
pub(crate) fn npm_install(folder: &Path, package: &str) -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
    cargo::run(npm.arg(folder).arg(package))
}
