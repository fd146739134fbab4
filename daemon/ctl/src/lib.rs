//! The command line of Kith: a D-Bus client like any other.
//!
//! Invariants:
//! - Standard output carries results only; with `--json`, JSON only, errors included.
//! - Whatever a contact wrote is shown with its control characters escaped.
//! - Secrets come from the terminal without echo or from standard input, never from arguments or
//!   the environment, which other users of the device can read.
//!
//! Deliberately absent: keys, storage, and any sentence that the daemon has to say itself.

mod arguments;
mod bus;
mod commands;
mod console;
mod error;
mod qr;
mod text;

pub use arguments::Arguments;
pub use console::Console;
pub use error::Exit;

/// Runs one command; errors have been shown when it returns.
pub async fn run(arguments: &Arguments, console: &mut Console<'_>) -> Exit {
    match commands::run(arguments, console).await {
        Ok(()) => Exit::Done,
        Err(error) => {
            // Where the reader has gone, the exit code has to do.
            let _ = console.show_error(&error, arguments.json);
            error.exit()
        }
    }
}
