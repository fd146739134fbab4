//! Builds kith-crypto for a microcontroller, from the source of `core` alone.
//!
//! Nothing but `core` is built for the target: a use of `std` or `alloc` anywhere below kith-crypto
//! does not compile.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cargo;
use crate::needs::{DEBIAN_CARGO, DEBIAN_RUSTC};

/// A Cortex-M4F, the smallest kind of board that has the memory for it.
const TARGET: &str = "thumbv7em-none-eabihf";

/// Builds the library; nothing is linked, so no linker is needed.
pub(crate) fn build() -> Result<()> {
    let programs = cargo::programs()?;
    let target_folder = programs.parent().context("programs lie in the target folder")?.join("bare-metal");
    let mut command = Command::new(DEBIAN_CARGO);
    command
        .current_dir(cargo::root()?)
        .args(["build", "--locked", "--package", "kith-crypto", "--target", TARGET])
        .arg("-Zbuild-std=core")
        .arg("--target-dir")
        .arg(target_folder)
        .env("RUSTC", DEBIAN_RUSTC)
        // `-Z` on a stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        // Set by the toolchain that runs this program; another toolchain is meant here.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO");
    cargo::run(&mut command)
}
