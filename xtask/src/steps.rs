//! Steps with names and times, and a table of them at the end.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What a failed step means for those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFailure {
    Stop,
    KeepGoing,
}

/// A run of steps.
#[derive(Debug)]
pub(crate) struct Steps {
    on_failure: OnFailure,
    outcomes: Vec<Outcome>,
}

#[derive(Debug)]
struct Outcome {
    name: String,
    passed: bool,
    took: Duration,
}

impl Steps {
    /// No step yet.
    pub(crate) fn new(on_failure: OnFailure) -> Self {
        Self { on_failure, outcomes: Vec::new() }
    }

    /// Runs one step, unless an earlier one failed and failures stop the run.
    pub(crate) fn step(&mut self, name: impl Into<String>, step: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.on_failure == OnFailure::Stop && self.has_failed() {
            return Ok(());
        }
        let name = name.into();
        writeln!(io::stderr(), "\n── {name}")?;
        let start = Instant::now();
        let result = step();
        if let Err(error) = &result {
            writeln!(io::stderr(), "{name}: {error:#}")?;
        }
        self.outcomes.push(Outcome { name, passed: result.is_ok(), took: start.elapsed() });
        Ok(())
    }

    /// Prints the table; a failed step makes it an error.
    pub(crate) fn finish(self) -> Result<()> {
        write!(io::stderr(), "\n{}", self.table())?;
        if self.has_failed() {
            bail!("not everything passed");
        }
        Ok(())
    }

    /// Whether a step has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.outcomes.iter().any(|outcome| !outcome.passed)
    }

    fn table(&self) -> String {
        let total: Duration = self.outcomes.iter().map(|outcome| outcome.took).sum();
        let mut table = String::new();
        for Outcome { name, passed, took } in &self.outcomes {
            let word = if *passed { "passed" } else { "FAILED" };
            // Writing to a String cannot fail.
            let _ = writeln!(table, "{word}  {:>8.1} s  {name}", took.as_secs_f64());
        }
        let _ = writeln!(table, "        {:>8.1} s  altogether", total.as_secs_f64());
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(on_failure: OnFailure) -> Steps {
        let mut steps = Steps::new(on_failure);
        steps.step("first", || Ok(())).unwrap();
        steps.step("second", || bail!("broken")).unwrap();
        steps.step("third", || Ok(())).unwrap();
        steps
    }

    #[test]
    fn a_failure_stops_the_run_and_shows_in_the_table() {
        let steps = run(OnFailure::Stop);
        let table = steps.table();
        assert!(table.contains("passed") && table.contains("FAILED") && !table.contains("third"), "{table}");
        assert!(steps.finish().is_err());
    }

    #[test]
    fn keeping_going_runs_all_and_still_fails() {
        let steps = run(OnFailure::KeepGoing);
        assert!(steps.table().contains("third"));
        assert!(steps.finish().is_err());
    }
}
