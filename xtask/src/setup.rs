//! Installs what is missing: nothing that is needed is ever skipped.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::Command;

use anyhow::{Result, bail};

use crate::needs::{self, Tier};
use crate::{cargo, tools};

/// Installs packages so that no service starts.
const INSTALL: &str = include_str!("install.sh");

/// `cargo xtask setup`: makes a tier's needs be there and says so.
pub(crate) fn run(tier: Tier) -> Result<()> {
    ensure(tier)?;
    if tier == Tier::All {
        tools::axe()?;
    }
    writeln!(io::stderr(), "Everything that is needed is here.")?;
    Ok(())
}

/// Makes a tier's needs be there: as root by installing them, else by saying how.
pub(crate) fn ensure(tier: Tier) -> Result<()> {
    let missing = needs::missing(tier);
    if missing.is_empty() {
        return Ok(());
    }
    let mut stderr = io::stderr();
    for need in &missing {
        writeln!(stderr, "needed: {} ({})", need.package, need.reason)?;
    }
    let packages: BTreeSet<&str> = missing.iter().map(|need| need.package).collect();
    if !is_root()? {
        let packages = packages.into_iter().collect::<Vec<_>>().join(" ");
        bail!("install what is missing: sudo apt-get install --no-install-recommends {packages}");
    }
    cargo::run(Command::new("sh").args(["-c", INSTALL, "install.sh"]).args(&packages))?;
    match needs::missing(tier).as_slice() {
        [] => Ok(()),
        still => bail!("still missing after installing: {still:?}"),
    }
}

/// The owner of this process, as the kernel shows it.
fn is_root() -> Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}
