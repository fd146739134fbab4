//! `cargo xtask bench`: how fast and how large, each figure beside its reference.

use std::process::Command;

use anyhow::Result;

use crate::cargo::{self, PROGRAMS_VARIABLE, cargo};
use crate::needs::Tier;
use crate::{setup, tools};

/// The suite of a device that nobody uses.
const IDLE: &str = "idle";

/// The suite of relayed connections.
const RELAY: &str = "relay";

/// The suite of the signaling server.
const SIGNAL: &str = "signal";

/// What the signaling server is measured beside, in this version, and where it goes below the target folder.
const PEER: &str = "peer@1.0.2";
const PEER_FOLDER: &str = "bench-peer";

/// How a suite's programs are built, and which it needs.
fn build_of(suite: &str) -> (&'static str, &'static [&'static str]) {
    match suite {
        // A server is built for speed.
        SIGNAL => ("release", &["bench", "kith-signal"]),
        // What goes onto a board is built as it goes there.
        _ => ("board", &["bench", "kith-signal", "kithctl", "kithd"]),
    }
}

/// Builds and measures.
pub(crate) fn run(suite: &str) -> Result<()> {
    setup::ensure(if [IDLE, RELAY, SIGNAL].contains(&suite) { Tier::All } else { Tier::Demo })?;
    let (profile, names) = build_of(suite);
    let mut build = cargo("build")?;
    build.args(["--profile", profile]);
    for program in names {
        build.args(["--bin", program]);
    }
    cargo::run(&mut build)?;
    let target = cargo::target()?;
    if suite == SIGNAL {
        tools::npm_install(&target.join(PEER_FOLDER), PEER)?;
    }
    let programs = target.join(profile);
    cargo::run(Command::new(programs.join("bench")).arg(suite).env(PROGRAMS_VARIABLE, programs))
}
