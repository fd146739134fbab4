//! `cargo xtask fuzz`: libFuzzer looks for inputs that break a promise (the targets are in `fuzz/`).
//!
//! What it finds stays in `target/fuzz/corpus/`, so that the next run goes on from there; `--keep` puts a minimal
//! selection of it into `fuzz/corpus/`, which the tests run.
//!
//! Deliberately absent: sanitizers. The code under test is safe Rust, where what they look for is a panic, and they need
//! an unstable compiler.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::cargo;
use crate::needs::Tier;
use crate::setup;
use crate::steps::{OnFailure, Steps};

/// How long each target runs when nobody says.
pub(crate) const MINUTES: u32 = 10;

/// What libFuzzer wants to know of the code: which edges were taken, and what was compared with what.
const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Names the folder into which a program writes its seeds (`fuzz/src/lib.rs`).
const SEEDS_VARIABLE: &str = "KITH_FUZZ_SEEDS";

/// No input takes longer than this, even on a busy machine.
const INPUT_S_MAX: u32 = 20;
/// All of it, the corpus in memory included.
const MEMORY_MB_MAX: u32 = 1_024;
/// A little more than the longest channel message and the longest plaintext.
const INPUT_BYTES_MAX: u32 = 20_000;
/// Longer inputs are not kept: the tests run them all, and a short one shows the same.
const KEPT_BYTES_MAX: u32 = 2_048;

/// What to fuzz.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Of each target.
    pub(crate) minutes: u32,
    /// Put a minimal selection of what was found into the repository.
    pub(crate) keep: bool,
    /// One target only.
    pub(crate) target: Option<String>,
}

impl Default for Wish {
    fn default() -> Self {
        Self { minutes: MINUTES, keep: false, target: None }
    }
}

/// Builds the programs and runs them one after the other.
pub(crate) fn run(wish: &Wish) -> Result<()> {
    let mut steps = Steps::new(OnFailure::KeepGoing);
    steps.step("needs", || setup::ensure(Tier::All))?;
    add_steps(&mut steps, wish)?;
    steps.finish()
}

/// Adds one step for each target, and prints at the end what they did.
pub(crate) fn add_steps(steps: &mut Steps, wish: &Wish) -> Result<()> {
    let mut targets = names()?;
    if let Some(wanted) = &wish.target {
        ensure!(targets.contains(wanted), "`{wanted}` is none of {}", targets.join(", "));
        targets.retain(|name| name == wanted);
    }
    let mut programs = None;
    steps.step("fuzz targets", || build().map(|built| programs = Some(built)))?;
    let Some(programs) = programs else { return Ok(()) };
    let mut table = format!("{:<12} {:>12} {:>9} {:>7} {:>9}\n", "target", "executions", "each s", "corpus", "found");
    for name in targets {
        let target = Target::new(&programs, name)?;
        steps.step(format!("fuzz {}, {} minutes", target.name, wish.minutes), || {
            let ran = target.run(wish.minutes)?;
            let Run { executions, per_s, corpus, found } = ran;
            writeln!(table, "{:<12} {executions:>12} {per_s:>9} {corpus:>7} {found:>9}", target.name)?;
            ensure!(found == 0, "an input broke a promise; it and the panic are in {}", target.folder.display());
            if wish.keep { target.keep() } else { Ok(()) }
        })?;
    }
    write!(io::stderr(), "\n{table}")?;
    Ok(())
}

/// The names of all targets: those of their programs.
fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(cargo::root()?.join("fuzz/programs"))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Builds all programs, in a folder of their own; gives the folder.
fn build() -> Result<PathBuf> {
    let platform = platform()?;
    let folder = folder()?;
    let mut command = Command::new(program("CARGO", "cargo"));
    command
        .current_dir(cargo::root()?)
        .args(["build", "--locked", "--package", "kith-fuzz", "--features", "libfuzzer", "--bins", "--profile", "fuzz"])
        // Named, although it is this one: the flags are for the programs, not for build scripts.
        .args(["--target", &platform])
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", INSTRUMENTED);
    cargo::run(&mut command)?;
    Ok(folder.join(platform).join("fuzz"))
}

fn folder() -> Result<PathBuf> {
    Ok(cargo::target()?.join("fuzz"))
}

fn program(variable: &str, name: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| name.into())
}

/// What this compiler builds for when nobody says.
fn platform() -> Result<String> {
    let output = Command::new(program("RUSTC", "rustc")).arg("-vV").output().context("rustc did not start")?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).context("rustc does not say what it builds for")
}

/// One program and its folders.
struct Target {
    name: String,
    program: PathBuf,
    /// Log and findings.
    folder: PathBuf,
    seeds: PathBuf,
    corpus: PathBuf,
    /// In the repository.
    kept: PathBuf,
}

/// What a run did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Run {
    executions: u64,
    per_s: u64,
    corpus: usize,
    found: usize,
}

impl Target {
    fn new(programs: &Path, name: String) -> Result<Self> {
        let folder = folder()?;
        let target = Self {
            program: programs.join(&name),
            seeds: folder.join("seeds").join(&name),
            corpus: folder.join("corpus").join(&name),
            kept: cargo::root()?.join("fuzz/corpus").join(&name),
            folder: folder.join("found").join(&name),
            name,
        };
        for folder in [&target.folder, &target.seeds, &target.corpus, &target.kept] {
            fs::create_dir_all(folder)?;
        }
        Ok(target)
    }

    /// Its program, with what every use of it needs. What it says goes to a file.
    fn command(&self, log: File) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command
            .arg(format!("-timeout={INPUT_S_MAX}"))
            .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"))
            .arg(format!("-artifact_prefix={}/", self.folder.display()))
            .env(SEEDS_VARIABLE, &self.seeds)
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    fn run(&self, minutes: u32) -> Result<Run> {
        let log = self.folder.join("log");
        let mut command = self.command(File::create(&log)?)?;
        command
            .arg(format!("-max_total_time={}", u64::from(minutes) * 60))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg("-print_final_stats=1")
            .args([&self.corpus, &self.kept, &self.seeds]);
        let status = command.status().with_context(|| format!("{command:?} did not start"))?;
        let mut run = run_of(&fs::read_to_string(&log)?);
        run.corpus = fs::read_dir(&self.corpus)?.count();
        if run.executions == 0 {
            bail!("it did not run: see {}", log.display());
        }
        run.found = usize::from(!status.success());
        Ok(run)
    }

    /// Replaces the corpus in the repository by the shortest inputs that reach what all inputs reach together.
    fn keep(&self) -> Result<()> {
        let minimal = self.folder.join("minimal");
        fs::create_dir_all(&minimal)?;
        let mut command = self.command(File::create(self.folder.join("log-keep"))?)?;
        command.arg("-merge=1").arg(format!("-max_len={KEPT_BYTES_MAX}")).args([
            &minimal,
            &self.seeds,
            &self.kept,
            &self.corpus,
        ]);
        cargo::run(&mut command)?;
        fs::remove_dir_all(&self.kept)?;
        fs::create_dir(&self.kept)?;
        for entry in fs::read_dir(&minimal)? {
            let entry = entry?;
            fs::copy(entry.path(), self.kept.join(entry.file_name()))?;
        }
        Ok(fs::remove_dir_all(minimal)?)
    }
}

/// Reads the statistics that libFuzzer prints at the end.
fn run_of(log: &str) -> Run {
    let number = |name: &str| {
        let mut values = log.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        values.next_back().unwrap_or_default()
    };
    Run {
        executions: number("stat::number_of_executed_units:"),
        per_s: number("stat::average_exec_per_sec:"),
        ..Run::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_final_statistics_are_read() {
        let log = "#2\tINITED\nstat::number_of_executed_units: 1234567\nstat::average_exec_per_sec:     2057\n";
        assert_eq!(run_of(log), Run { executions: 1_234_567, per_s: 2_057, ..Run::default() });
        assert_eq!(run_of("it crashed at once"), Run::default());
    }
}
