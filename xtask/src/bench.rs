//! `cargo xtask bench`: how fast and how large, each figure beside its reference.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cargo::{self, PROGRAMS_VARIABLE, cargo};
use crate::needs::Tier;
use crate::setup;

/// What is measured is built as it goes onto a board.
const PROFILE: &str = "board";

/// The programs that a suite starts, and the one that measures.
const PROGRAMS: [&str; 4] = ["bench", "kith-signal", "kithctl", "kithd"];

/// Builds and measures.
pub(crate) fn run(suite: &str) -> Result<()> {
    setup::ensure(Tier::Demo)?;
    let mut build = cargo("build")?;
    build.args(["--profile", PROFILE]);
    for program in PROGRAMS {
        build.args(["--bin", program]);
    }
    cargo::run(&mut build)?;
    let target = cargo::programs()?;
    let programs = target.parent().context("programs lie in the target folder")?.join(PROFILE);
    cargo::run(Command::new(programs.join("bench")).arg(suite).env(PROGRAMS_VARIABLE, programs))
}
