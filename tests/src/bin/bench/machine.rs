//! Where and of what a run was made: figures without it mean nothing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// The machine and the programs of a run.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    rustc: String,
    commit: String,
}

impl Machine {
    /// This machine, and the repository that the programs were built from.
    pub(crate) fn read() -> Result<Self> {
        let cpus = std::fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").context("the kernel's release")?;
        let mut commit = said_by("git", &["rev-parse", "--short=10", "HEAD"])?;
        if !said_by("git", &["status", "--porcelain", "--untracked-files=no"])?.is_empty() {
            commit.push_str(" with changes");
        }
        Ok(Self {
            cpu: model(&cpus),
            cores: std::thread::available_parallelism().context("how many cores?")?.get(),
            kernel: kernel.trim().to_owned(),
            rustc: said_by("rustc", &["--version"])?,
            commit,
        })
    }

    /// In a sentence.
    pub(crate) fn line(&self) -> String {
        let Self { cpu, cores, kernel, rustc, commit } = self;
        format!("{cpu}, {cores} cores, Linux {kernel}; {rustc}; commit {commit}")
    }

    /// The same for programs, with how busy the machine is.
    pub(crate) fn to_json(&self) -> Value {
        let Self { cpu, cores, kernel, rustc, commit } = self;
        json!({ "cpu": cpu, "cores": cores, "kernel": kernel, "rustc": rustc, "commit": commit })
    }
}

/// How many tasks ran or wanted to run in the last minute, on average: above the number of cores,
/// others disturbed the run.
pub(crate) fn load() -> Result<f64> {
    let average = std::fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    let first = average.split_whitespace().next().context("a load average")?;
    first.parse().with_context(|| format!("`{first}` is not a load"))
}

/// The processor's name: x86 kernels call it a model name, ARM kernels a model or only a part.
fn model(cpuinfo: &str) -> String {
    let field = |name: &str| {
        let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
    };
    ["model name", "Model", "CPU part"].into_iter().find_map(field).unwrap_or_else(|| "unknown CPU".to_owned())
}

fn said_by(program: &str, args: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    let output = command.args(args).current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).output();
    let output = output.with_context(|| format!("{program} did not start"))?;
    ensure!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout).with_context(|| program.to_owned())?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_named_as_its_kernel_names_it() {
        assert_eq!(model("processor\t: 0\nmodel name\t: AMD EPYC\n"), "AMD EPYC");
        assert_eq!(model("processor\t: 0\nCPU part\t: 0xd08\n\nModel\t\t: Raspberry Pi 4\n"), "Raspberry Pi 4");
        assert_eq!(model("processor\t: 0\nCPU part\t: 0xd08\n"), "0xd08");
        assert_eq!(model(""), "unknown CPU");
    }
}
