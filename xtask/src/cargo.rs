//! How cargo is called: always in the same way, so that nothing is built twice.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The environment variable that tells `kith-system-tests` where the built programs are.
pub(crate) const PROGRAMS_VARIABLE: &str = "KITH_PROGRAMS";

/// The environment variable that tells it where their Debian packages are.
pub(crate) const PACKAGES_VARIABLE: &str = "KITH_PACKAGES";

/// The repository's root folder.
pub(crate) fn root() -> Result<PathBuf> {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").context("start this as `cargo xtask`")?;
    let root = Path::new(&here).parent().context("xtask lies in the repository")?;
    Ok(root.to_owned())
}

/// The folder that holds the built programs, this one among them.
pub(crate) fn programs() -> Result<PathBuf> {
    let own = std::env::current_exe().context("where is this program?")?;
    Ok(own.parent().context("this program lies in a folder")?.to_owned())
}

/// The folder of all that is built.
pub(crate) fn target() -> Result<PathBuf> {
    Ok(programs()?.parent().context("programs lie in the target folder")?.to_owned())
}

/// `cargo SUBCOMMAND` in the repository, with the lock file as it is.
pub(crate) fn cargo(subcommand: &str) -> Result<Command> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.arg(subcommand).current_dir(root()?);
    if subcommand != "fmt" {
        // The packages are always all selected: cargo unites the features of what is selected, so
        // another selection would build dependencies once more.
        command.args(["--locked", "--workspace"]);
    }
    // What cargo told this process about xtask would only rebuild what reads it.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Builds every program of the workspace.
pub(crate) fn build_programs() -> Result<()> {
    run(cargo("build")?.arg("--bins"))
}

/// Runs a command to its end; an exit code other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?} did not start"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
