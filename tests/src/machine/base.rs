//! The files of a machine before anything is installed on it: a small Debian, as systemd starts it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::Programs;

/// The release that the packages are for at the least.
const RELEASE: &str = "bookworm";

/// What it has beside what every Debian has.
const PACKAGES: &str = "systemd-sysv,dbus,iproute2";

/// The folder, which is made once for this target folder; another list of packages is another folder.
pub(super) fn base() -> Result<&'static Path> {
    static BASE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = BASE.get_or_init(|| make().map_err(|error| format!("{error:#}")));
    made.as_deref().map_err(|error| anyhow!("{error}"))
}

fn make() -> Result<PathBuf> {
    let target = Programs::locate()?.folder().parent().context("programs lie in the target folder")?;
    let folder = target.join("machines");
    fs::create_dir_all(&folder)?;
    // Another test program may be making it.
    let lock = File::create(folder.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let base = folder.join(format!("{RELEASE}-{}", PACKAGES.replace(',', "-")));
    if base.exists() {
        return Ok(base);
    }
    // By way of an archive: whoever is interrupted leaves no mounts in a folder that the next one removes.
    let archive = folder.join("base.tar");
    let mut make = Command::new("mmdebstrap");
    make.args(["--mode=root", "--variant=minbase", "--format=tar"]).arg(format!("--include={PACKAGES}"));
    // Not every machine lets another user than root use its /dev/null.
    run(make.arg("--aptopt=APT::Sandbox::User \"root\"").arg(RELEASE).arg(&archive))?;
    let half = folder.join("half");
    if half.exists() {
        fs::remove_dir_all(&half)?;
    }
    fs::create_dir(&half)?;
    run(Command::new("tar").arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(&half))?;
    fs::remove_file(&archive)?;
    fs::rename(&half, &base)?;
    Ok(base)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?} did not start"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
