//! `cargo xtask demo`: two devices and a server on this machine.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cargo::{self, PROGRAMS_VARIABLE};
use crate::needs::Tier;
use crate::setup;

/// Builds everything and becomes the demo, so that Ctrl-C reaches it and nobody else.
pub(crate) fn run(check: bool) -> Result<()> {
    setup::ensure(Tier::Demo)?;
    cargo::build_programs()?;
    let error = command(check)?.exec();
    Err(error).context("the demo did not start")
}

/// The demo's command line, once the programs are built.
pub(crate) fn command(check: bool) -> Result<Command> {
    let programs = cargo::programs()?;
    let mut command = Command::new(programs.join("demo"));
    command.env(PROGRAMS_VARIABLE, programs);
    if check {
        command.arg("--check");
    }
    Ok(command)
}
