//! The benchmarks: each figure of Kith beside its reference, measured in turns in the same run.
//!
//! `bench SUITE` runs a suite, prints its table and writes it as JSON beside the built programs. A
//! suite is a module that adds [`Figure`](figure::Figure)s to a [`Report`]; everything else
//! is the same for all of them. `cargo xtask bench` builds what is measured, and runs this.
//!
//! Absolute times say more about the machine than about Kith: what can be compared between two
//! runs are the ratios. Nothing here passes or fails.

mod device;
mod disk;
mod figure;
mod idle;
mod machine;
mod pair;
mod report;
mod signal;
mod store;
mod task;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use report::Report;

fn main() -> ExitCode {
    kith_system_tests::run(run())
}

async fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let suite = match words.as_slice() {
        // Started by the suite `device`, to be looked at from outside.
        ["yardstick", connections] => return device::yardstick(connections.parse().context("how many?")?).await,
        // The same for the suite `signal`.
        ["echo"] => return signal::echo().await,
        [suite] => *suite,
        _ => bail!("write bench SUITE; the suites are `device`, `idle`, `relay`, `signal` and `store`"),
    };
    let mut report = Report::new(suite)?;
    match suite {
        "device" => device::run(&mut report).await?,
        "idle" => idle::run(&mut report).await?,
        "relay" => device::run_relayed(&mut report).await?,
        "signal" => signal::run(&mut report).await?,
        "store" => store::run(&mut report).await?,
        other => bail!("`{other}` is not a suite; there are `device`, `idle`, `relay`, `signal` and `store`"),
    }
    report.finish()
}
