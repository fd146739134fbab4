//! `cargo xtask dist`: the Debian packages.
//!
//! What goes into them stands in the `[package.metadata.deb]` tables of the programs' manifests; `cargo-deb` makes them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cargo::{self, cargo};
use crate::needs::Tier;
use crate::{setup, tools};

/// What is packaged: the crate, and the profile that it is released in.
const PACKAGES: [(&str, &str); 3] = [
    ("kithd", BOARD),
    ("kith-kiosk", BOARD),
    // A server is built for speed.
    ("kith-signal", "release"),
];

/// What goes onto a board.
const BOARD: &str = "board";

/// What the tests install: the programs of the build that everything else is tested in.
const DEVELOPMENT: &str = "dev";

/// The program that writes manual pages and completions.
const MANUAL: &str = "kith-manual";

/// The folder below the target folder for packages.
const FOLDER: &str = "packages";

/// Builds the packages for this machine, to be given away.
pub(crate) fn run() -> Result<()> {
    setup::ensure(Tier::Demo)?;
    build(BOARD, &["kithd", "kithctl", "kith-kiosk", MANUAL])?;
    build("release", &["kith-signal"])?;
    let folder = fresh(cargo::target()?.join(FOLDER).join("release"))?;
    let manual = write_manual(BOARD)?;
    for (package, profile) in PACKAGES {
        if profile != BOARD {
            copy_manual(&manual, &profile_folder(profile)?)?;
        }
        make(package, profile, &folder)?;
    }
    Ok(())
}

/// Packages of the programs as `cargo build` has made them, for the tests.
pub(crate) fn development() -> Result<()> {
    let folder = fresh(development_folder()?)?;
    write_manual(DEVELOPMENT)?;
    for (package, _) in PACKAGES {
        make(package, DEVELOPMENT, &folder)?;
    }
    Ok(())
}

/// Where [`development`] puts them.
pub(crate) fn development_folder() -> Result<PathBuf> {
    Ok(cargo::target()?.join(FOLDER).join("development"))
}

fn build(profile: &str, programs: &[&str]) -> Result<()> {
    let mut command = cargo("build")?;
    command.args(["--profile", profile]);
    for program in programs {
        command.args(["--bin", program]);
    }
    cargo::run(&mut command)
}

/// One package.
fn make(package: &str, profile: &str, folder: &Path) -> Result<()> {
    let mut command = Command::new(tools::cargo_deb()?);
    command
        .current_dir(cargo::root()?)
        .args(["--quiet", "--no-build", "--strip", "--locked", "--package", package, "--profile", profile, "--output"])
        .arg(folder)
        // The same commit makes the same package.
        .env("SOURCE_DATE_EPOCH", commit_time()?);
    if profile == DEVELOPMENT {
        // Large programs that live for one test.
        command.arg("--fast");
    }
    cargo::run(&mut command).with_context(|| format!("the package of {package}"))
}

/// Writes manual pages and completions to where the manifests expect them: beside the programs.
fn write_manual(profile: &str) -> Result<PathBuf> {
    let programs = profile_folder(profile)?;
    let manual = programs.join("manual");
    cargo::run(Command::new(programs.join(MANUAL)).arg(&manual))?;
    Ok(manual)
}

fn copy_manual(manual: &Path, programs: &Path) -> Result<()> {
    cargo::run(Command::new("cp").arg("--recursive").arg(manual).arg(programs))
}

/// Where the programs of a profile are.
fn profile_folder(profile: &str) -> Result<PathBuf> {
    let folder = if profile == DEVELOPMENT { "debug" } else { profile };
    Ok(cargo::target()?.join(folder))
}

fn fresh(folder: PathBuf) -> Result<PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// When the commit was made, in seconds since 1970.
fn commit_time() -> Result<String> {
    let root = cargo::root()?;
    let output = Command::new("git").current_dir(root).args(["log", "-1", "--format=%ct"]).output()?;
    ensure!(output.status.success(), "git does not know the commit: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
