//! The Debian packages of the built programs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::{Programs, run_to_end};

/// Names the folder of the packages; `cargo xtask` sets it after making them.
const PACKAGES_VARIABLE: &str = "KITH_PACKAGES";

/// How long it may take to make a package anew.
const REPACK_MAX: std::time::Duration = std::time::Duration::from_secs(120);

/// The folder of the packages.
#[derive(Clone, Debug)]
pub struct Packages {
    folder: PathBuf,
}

impl Packages {
    /// The packages, made now of the built programs unless `KITH_PACKAGES` says where they are.
    pub fn locate() -> Result<&'static Self> {
        static PACKAGES: OnceLock<Result<Packages, String>> = OnceLock::new();
        let located = PACKAGES.get_or_init(|| locate().map_err(|error| format!("{error:#}")));
        located.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// The package of this name.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let mut entries = std::fs::read_dir(&self.folder)?.flatten().map(|entry| entry.path());
        let beginning = format!("{name}_");
        let found =
            entries.find(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&beginning)));
        found.with_context(|| format!("no package {name} in {}", self.folder.display()))
    }

    /// The same package under a version before it, in a folder.
    pub async fn previous(&self, name: &str, folder: &Path) -> Result<PathBuf> {
        let tree = folder.join(name).display().to_string();
        let package = self.path(name)?.display().to_string();
        let deb = Path::new("dpkg-deb");
        run_to_end(deb, &["--raw-extract", &package, &tree], "", REPACK_MAX).await?;
        let control = folder.join(name).join("DEBIAN/control");
        let text = std::fs::read_to_string(&control)?;
        let version = text.lines().find_map(|line| line.strip_prefix("Version: ")).context("a version")?;
        // A tilde sorts before everything.
        std::fs::write(
            &control,
            text.replace(&format!("Version: {version}"), &format!("Version: {version}~previous")),
        )?;
        let previous = folder.join(format!("{name}_previous.deb"));
        let args = ["--build", "--root-owner-group", "-Zgzip", "-z1", &tree, &previous.display().to_string()];
        run_to_end(deb, &args, "", REPACK_MAX).await?;
        Ok(previous)
    }
}

fn locate() -> Result<Packages> {
    if let Some(folder) = std::env::var_os(PACKAGES_VARIABLE) {
        return Ok(Packages { folder: folder.into() });
    }
    let programs = Programs::locate()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let make = ["xtask", "dist", "--development"];
    let status = Command::new(cargo).args(make).current_dir(env!("CARGO_MANIFEST_DIR")).status();
    ensure!(status.context("cargo did not start")?.success(), "the packages cannot be made");
    let target = programs.folder().parent().context("programs lie in the target folder")?;
    Ok(Packages { folder: target.join("packages/development") })
}
