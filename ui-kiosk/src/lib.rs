//! The command line of `kith-kiosk`, here so that its manual page is made of it. The program itself is in `main.rs`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// Shows the messenger on pages for browsers on this device.
///
/// A browser signs in with the address that the file `login` in the runtime folder holds. It is good for one time;
/// then the file holds another one.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// The loopback address and port of the pages; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8640")]
    pub listen: SocketAddr,
    /// The message bus of the messenger, instead of the system bus.
    #[arg(long, value_name = "ADDRESS")]
    pub bus_address: Option<String>,
    /// The folder for the login addresses and the sessions; it must be this user's own.
    #[arg(long, value_name = "FOLDER", default_value = "/run/kith-kiosk")]
    pub runtime_dir: PathBuf,
    /// The only conversation that visitors see, `peer/CLIENT-ID` or `room/ID`. Their login address is in the file
    /// `visitor`.
    #[arg(long, value_name = "CONVERSATION")]
    pub visitor: Option<String>,
    /// The language of browsers that have not chosen one and ask for none that is there: en or de.
    #[arg(long, value_name = "LANGUAGE", default_value = "en")]
    pub language: String,
}
