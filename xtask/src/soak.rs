//! `cargo xtask soak`: the same again, many times, for the faults that show once in a hundred runs.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::cargo::{self, PROGRAMS_VARIABLE, cargo};
use crate::command_line::SUITE;
use crate::needs::Tier;
use crate::steps::{OnFailure, Steps};
use crate::test::{LONG_TESTS, RUNS};
use crate::{bench, demo, fuzz, setup};

/// The environment variable by which long tests learn how often to repeat.
const ROUNDS_VARIABLE: &str = "KITH_ROUNDS";

/// The environment variable by which the simulation learns where its seeds begin.
const FIRST_SEED_VARIABLE: &str = "KITH_FIRST_SEED";

/// The simulated runs, by the name of their test.
const SIMULATION: &str = "chaos::whatever_happens";

/// Between the first seeds of two rounds: more than a round has runs.
const SEEDS_APART: u64 = 100_000;

/// Runs the long system tests with so many rounds each, then the simulation and the demo so many times, then the
/// benchmarks once, then the fuzz targets.
pub(crate) fn run(rounds: u32) -> Result<()> {
    let mut steps = Steps::new(OnFailure::Stop);
    steps.step("needs", || setup::ensure(Tier::All))?;
    steps.step("programs", cargo::build_programs)?;
    steps.step(format!("long system tests, {rounds} rounds"), || {
        let mut command = cargo("test")?;
        command
            .args(["--test", "system", "--test", "hostile", "--", LONG_TESTS])
            .env(PROGRAMS_VARIABLE, cargo::programs()?)
            .env(ROUNDS_VARIABLE, rounds.to_string());
        cargo::run(&mut command)
    })?;
    steps.step(format!("{} simulated runs, {rounds} times", RUNS.1), || {
        let begin_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        (0..u64::from(rounds)).try_for_each(|round| {
            // The clock moves on, and so do the seeds: they are others in each round and in the next soak.
            let first_seed = (begin_s + round) * SEEDS_APART;
            let mut command = cargo("test")?;
            command.args(["--test", "engine", "--", SIMULATION]).env(RUNS.0, RUNS.1);
            cargo::run(command.env(FIRST_SEED_VARIABLE, first_seed.to_string()))
        })
    })?;
    steps.step(format!("demo, {rounds} times"), || {
        (1..=rounds).try_for_each(|round| {
            cargo::run(&mut demo::command(true)?).with_context(|| format!("round {round} of {rounds}"))
        })
    })?;
    steps.step("benchmarks", || bench::run(SUITE))?;
    fuzz::add_steps(&mut steps, &fuzz::Wish::default())?;
    steps.finish()
}
