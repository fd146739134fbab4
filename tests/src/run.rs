//! How a program of this package runs.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

/// Runs to the end; what went wrong is said on standard error.
pub fn run(work: impl Future<Output = Result<()>>) -> ExitCode {
    // One thread: what it starts lives as long as it does.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.context("no runtime").and_then(|runtime| runtime.block_on(work));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // When even standard error is gone, the exit code has to do.
            let _ = writeln!(io::stderr(), "\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
