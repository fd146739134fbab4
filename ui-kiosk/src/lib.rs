//! The command line of `kith-kiosk`, here so that its manual page is made of it. The program itself is in `main.rs`.

use std::net::SocketAddr;

use clap::Parser;

/// Shows the messenger's state on a page for browsers on this device.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// The loopback address and port of the page; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8640")]
    pub listen: SocketAddr,
    /// The message bus of the messenger, instead of the system bus.
    #[arg(long, value_name = "ADDRESS")]
    pub bus_address: Option<String>,
}
