//! `cargo xtask soak`: the benchmarks and the fuzz targets once, then the same again and again, for the faults that show once
//! in a hundred runs.

use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::cargo::{self, PROGRAMS_VARIABLE, cargo};
use crate::command_line::SUITE;
use crate::needs::Tier;
use crate::steps::{OnFailure, Steps};
use crate::test::{LONG_TESTS, RUNS};
use crate::{bench, demo, fuzz, setup};

/// How often a long test repeats what it does, and how many parts of a whole it tries, in one round.
const REPEATS: (&str, &str) = ("KITH_ROUNDS", "20");

/// The environment variable by which the simulation learns where its seeds begin.
const FIRST_SEED_VARIABLE: &str = "KITH_FIRST_SEED";

/// The simulated runs, by the name of their test.
const SIMULATION: &str = "chaos::whatever_happens";

/// Between the first seeds of two rounds: more than a round has runs.
const SEEDS_APART: u64 = 100_000;

/// Runs so many rounds; without a number, rounds until somebody stops it.
pub(crate) fn run(rounds: Option<u32>) -> Result<()> {
    let mut steps = Steps::new(OnFailure::Stop);
    steps.step("needs", || setup::ensure(Tier::All))?;
    steps.step("programs", cargo::build_programs)?;
    steps.step("benchmarks", || bench::run(SUITE))?;
    fuzz::add_steps(&mut steps, &fuzz::Wish::default())?;
    let begin_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    for round in 1..=rounds.unwrap_or(u32::MAX) {
        if steps.has_failed() {
            break;
        }
        // The clock moves on, and so do the seeds: they are others in each round and in the next soak.
        let first_seed = (begin_s + u64::from(round)) * SEEDS_APART;
        steps.step(format!("round {round}: {} simulated runs from seed {first_seed}", RUNS.1), || {
            simulation(first_seed)?;
            long_tests()?;
            demo_check()
        })?;
        writeln!(io::stderr(), "{round} rounds so far")?;
    }
    steps.finish()
}

fn simulation(first_seed: u64) -> Result<()> {
    let mut command = cargo("test")?;
    command.args(["--test", "engine", "--", SIMULATION]).env(RUNS.0, RUNS.1);
    cargo::run(command.env(FIRST_SEED_VARIABLE, first_seed.to_string()))
}

fn long_tests() -> Result<()> {
    let mut command = cargo("test")?;
    command.args(["--test", "system", "--test", "hostile", "--", LONG_TESTS]).env(REPEATS.0, REPEATS.1);
    cargo::run(command.env(PROGRAMS_VARIABLE, cargo::programs()?))
}

fn demo_check() -> Result<()> {
    cargo::run(&mut demo::command(true)?).context("the demo")
}
