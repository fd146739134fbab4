//! The command line of `kith-signal`.

use std::path::PathBuf;

use clap::Parser;

/// The signaling server of Kith.
#[derive(Debug, Parser)]
#[command(version, after_help = "SIGHUP reads the configuration again; SIGTERM says goodbye to the devices and ends.")]
pub struct Arguments {
    /// The configuration file; kith-signal.example.toml documents every key.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Only read and check the configuration and the files that it names.
    #[arg(long)]
    pub check_config: bool,
}
