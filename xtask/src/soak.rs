//! `cargo xtask soak`: the same again, many times, for the faults that show once in a hundred runs.

use anyhow::{Context as _, Result};

use crate::cargo::{self, PROGRAMS_VARIABLE, cargo};
use crate::command_line::SUITE;
use crate::needs::Tier;
use crate::steps::{OnFailure, Steps};
use crate::test::LONG_TESTS;
use crate::{bench, demo, setup};

/// The environment variable by which long tests learn how often to repeat.
const ROUNDS_VARIABLE: &str = "KITH_ROUNDS";

/// Runs the long system tests with so many rounds each, then the demo so many times, then the
/// benchmarks once.
pub(crate) fn run(rounds: u32) -> Result<()> {
    let mut steps = Steps::new(OnFailure::Stop);
    steps.step("needs", || setup::ensure(Tier::All))?;
    steps.step("programs", cargo::build_programs)?;
    steps.step(format!("long system tests, {rounds} rounds"), || {
        let mut command = cargo("test")?;
        command
            .args(["--test", "system", "--", LONG_TESTS])
            .env(PROGRAMS_VARIABLE, cargo::programs()?)
            .env(ROUNDS_VARIABLE, rounds.to_string());
        cargo::run(&mut command)
    })?;
    steps.step(format!("demo, {rounds} times"), || {
        (1..=rounds).try_for_each(|round| {
            cargo::run(&mut demo::command(true)?).with_context(|| format!("round {round} of {rounds}"))
        })
    })?;
    steps.step("benchmarks", || bench::run(SUITE))?;
    steps.finish()
}
