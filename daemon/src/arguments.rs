//! The command line of `kithd`.

use std::path::PathBuf;

use clap::Parser;

/// The Kith daemon: holds this device's identity, its encrypted history and its connections to
/// peers, and serves them on D-Bus as org.kith.Messenger1. Drive it with kithctl.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// Read only this configuration file, instead of /usr/lib/kith/kithd.toml,
    /// /etc/kith/kithd.toml and /etc/kith/kithd.d/*.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the values that are set and the file each one comes from, and exit.
    #[arg(long)]
    pub show_config: bool,
}
