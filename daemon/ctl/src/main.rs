//! The command line of Kith.

use std::io::{self, BufReader, IsTerminal as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use kithctl::{Arguments, Console};

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let mut console = Console {
        input_is_terminal: io::stdin().is_terminal(),
        output_is_terminal: io::stdout().is_terminal(),
        input: &mut BufReader::new(io::stdin()),
        output: &mut io::stdout(),
        errors: &mut io::stderr(),
    };
    let exit = runtime.block_on(kithctl::run(&arguments, &mut console));
    Ok(ExitCode::from(exit.code()))
}
