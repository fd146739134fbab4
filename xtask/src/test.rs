//! `cargo xtask test`: everything that is checked, in the order in which it fails fastest.

use anyhow::Result;

use crate::cargo::{self, PACKAGES_VARIABLE, PROGRAMS_VARIABLE, cargo};
use crate::needs::Tier;
use crate::steps::{OnFailure, Steps};
use crate::{bare_metal, dist, setup, tools, yocto};

/// Tests that take more than a few seconds live in a module of this name, in whichever crate.
pub(crate) const LONG_TESTS: &str = "long::";

/// How many seeded runs of the simulation the whole test makes; without this variable it makes a few.
pub(crate) const RUNS: (&str, &str) = ("KITH_RUNS", "10000");

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Minutes, not more: no long tests, no documentation, no other targets.
    Quick,
    /// All there is.
    All,
}

/// Runs the steps and prints how they went.
pub(crate) fn run(extent: Extent, on_failure: OnFailure) -> Result<()> {
    let tier = match extent {
        Extent::Quick => Tier::Quick,
        Extent::All => Tier::All,
    };
    let mut steps = Steps::new(on_failure);
    steps.step("needs", || setup::ensure(tier))?;
    steps.step("formatting", || cargo::run(cargo("fmt")?.args(["--all", "--check"])))?;
    steps.step("lints", || cargo::run(cargo("clippy")?.args(["--all-targets", "--", "-D", "warnings"])))?;
    steps.step("programs", cargo::build_programs)?;
    if extent == Extent::All {
        steps.step("Debian packages", dist::development)?;
        steps.step("what checks pages", tools::axe)?;
    }
    steps.step("tests", || tests(extent))?;
    if extent == Extent::All {
        steps.step("examples in the documentation", || cargo::run(cargo("test")?.arg("--doc")))?;
        steps.step("documentation", documentation)?;
        steps.step("recipes of the Yocto layer", yocto::lint)?;
        steps.step("self-check on a Cortex-M4", bare_metal::cortex_m4)?;
        steps.step("self-check as WebAssembly", bare_metal::web_assembly)?;
    }
    steps.finish()
}

fn tests(extent: Extent) -> Result<()> {
    let mut command = cargo("test")?;
    command.arg("--tests").env(PROGRAMS_VARIABLE, cargo::programs()?);
    match extent {
        Extent::Quick => command.args(["--", "--skip", LONG_TESTS]),
        Extent::All => command.env(RUNS.0, RUNS.1).env(PACKAGES_VARIABLE, dist::development_folder()?),
    };
    cargo::run(&mut command)
}

fn documentation() -> Result<()> {
    let mut command = cargo("doc")?;
    cargo::run(command.args(["--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", "-D warnings"))
}
