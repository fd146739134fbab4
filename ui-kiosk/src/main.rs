//! The kiosk screen of Kith: a local web page in front of D-Bus.
//!
//! Invariants:
//! - It listens on a loopback address only, and answers only to its own name.
//! - It reads; nothing can be changed through it.
//! - Whatever comes from outside is escaped, and the page may not run a script.
//!
//! Deliberately absent: keys, a database, WebRTC, message bodies, everything that needs a secret.

mod bus;
mod http;
mod page;
mod view;

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use kith_kiosk::Arguments;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use bus::Bus;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> Result<()> {
    let address = arguments.listen;
    ensure!(address.ip().is_loopback(), "{address} is not a loopback address; the page is for this device only");
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    let bus = arguments.bus_address.map_or(Bus::System, Bus::Address);
    let router = http::router(bus, address);
    writeln!(std::io::stdout(), "listening on {address}")?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        served = axum::serve(listener, router) => served.context("the page cannot be served"),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
