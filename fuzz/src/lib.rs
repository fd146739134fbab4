//! What a stranger's bytes may not do: one function per parser, with what has to hold whatever it is given.
//!
//! Each function has two callers: a program of libFuzzer's, which looks for new paths (`cargo xtask fuzz`), and the
//! test `corpora`, which runs it over what has been found so far (`fuzz/corpus/`) and over seeds made of real values.
//!
//! Invariants:
//! - A target is a pure function of its input: keys are fixed, randomness is seeded, time is in the input.
//! - It fails by a panic, and only where Kith is wrong: every input is a legal input.
//!
//! Deliberately absent: the network, files and the message bus, and parsers of the libraries below, as long as nothing
//! of what they read comes from a stranger first.

mod bound;
mod known;
mod script;
mod targets;

use std::path::Path;

pub use targets::*;

/// One parser, and what has to hold of it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The program, the folder of the corpus and the module are called so.
    pub name: &'static str,
    /// Panics if something does not hold.
    pub run: fn(&[u8]) -> Verdict,
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was read, and all that has to hold of what it says was looked at.
    Read,
    /// It is not what the target reads.
    Refused,
}

/// The environment variable that names the folder into which a program of libFuzzer's writes its seeds as it starts.
pub const SEEDS_VARIABLE: &str = "KITH_FUZZ_SEEDS";

impl Target {
    /// Writes the seeds into the folder that [`SEEDS_VARIABLE`] names, if it names one.
    ///
    /// # Panics
    /// The folder cannot be written: without seeds a run would mean little.
    pub fn write_seeds(&self) {
        let Some(folder) = std::env::var_os(SEEDS_VARIABLE) else { return };
        for (number, seed) in (self.seeds)().iter().enumerate() {
            std::fs::write(Path::new(&folder).join(format!("seed-{number}")), seed).expect("seeds are written");
        }
    }
}
