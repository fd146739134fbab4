//! What a developer types: `cargo xtask …`.
//!
//! It installs what a command needs, builds the workspace once and runs things in order. What is
//! run lives elsewhere: programs and tests of whole systems in `tests/`, everything else beside the
//! code it tests.
//!
//! Deliberately absent: every crate but `anyhow`, so that the first `cargo xtask` starts at once.

mod bare_metal;
mod bench;
mod cargo;
mod command_line;
mod demo;
mod dist;
mod fuzz;
mod needs;
mod setup;
mod soak;
mod steps;
mod test;
mod tools;
mod yocto;

use std::io::{self, Write};
use std::process::ExitCode;

use command_line::{Command, HELP};

fn main() -> ExitCode {
    let command = match command_line::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(refused) => return end(Err(anyhow::anyhow!("{refused}\n\n{HELP}"))),
    };
    end(match command {
        Command::Bench { suite } => bench::run(&suite),
        Command::Demo { check } => demo::run(check),
        Command::Dist { development: false } => dist::run(),
        Command::Dist { development: true } => dist::development(),
        Command::Fuzz(wish) => fuzz::run(&wish),
        Command::Help => writeln!(io::stdout(), "{HELP}").map_err(Into::into),
        Command::Setup { tier } => setup::run(tier),
        Command::Soak { rounds } => soak::run(rounds),
        Command::Yocto => yocto::run(),
        Command::Test { extent, on_failure } => test::run(extent, on_failure),
    })
}

fn end(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // When even standard error is gone, the exit code has to do.
            let _ = writeln!(io::stderr(), "\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
