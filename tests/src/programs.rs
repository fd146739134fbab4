//! Where the built programs are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};

/// Names the folder of the built programs; `cargo xtask` sets it after building them.
const PROGRAMS_VARIABLE: &str = "KITH_PROGRAMS";

/// The folder of the built programs.
#[derive(Clone, Debug)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// The programs of this workspace, built now unless `KITH_PROGRAMS` says where they are:
    /// `cargo test` alone does not build the programs of other packages.
    pub fn locate() -> Result<&'static Self> {
        static PROGRAMS: OnceLock<Result<Programs, String>> = OnceLock::new();
        let located = PROGRAMS.get_or_init(|| locate().map_err(|error| format!("{error:#}")));
        located.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// The folder that holds them.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// One program's path.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn locate() -> Result<Programs> {
    if let Some(folder) = std::env::var_os(PROGRAMS_VARIABLE) {
        return Ok(Programs { folder: folder.into() });
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "--quiet", "--locked", "--workspace", "--bins"];
    let status = Command::new(cargo).args(build).current_dir(env!("CARGO_MANIFEST_DIR")).status();
    ensure!(status.context("cargo did not start")?.success(), "the programs do not build");
    // This program is target/debug/NAME or target/debug/deps/NAME-HASH.
    let own = std::env::current_exe().context("where is this program?")?;
    let folder =
        own.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).context("this program lies in a folder")?;
    Ok(Programs { folder: folder.to_owned() })
}
