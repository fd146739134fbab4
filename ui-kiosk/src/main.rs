//! The kiosk's screen of Kith: pages for browsers on this device, in front of D-Bus.
//!
//! Invariants:
//! - It listens on a loopback address only, and answers only to its own name.
//! - Whoever has not signed in with a token from the runtime folder gets nothing, and nothing is changed without the
//!   session's own token.
//! - Whatever comes from outside is escaped by the templates, and a page runs no script but the embedded ones.
//! - A page can always be asked for again and is then true: what the event stream says is only that something is new.
//!
//! Deliberately absent: keys, a database, WebRTC. Whether a PIN or a secret is right is decided by the daemon.

mod access;
mod bus;
mod http;
mod screens;
mod site;
mod words;

use std::alloc::System;
use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use kith_kiosk::Arguments;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use zeroizing_alloc::ZeroAlloc;

use access::Access;
use bus::{Address, Bus};
use site::Site;

/// Secrets and messages pass through this process; what is freed is overwritten.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> Result<()> {
    let address = arguments.listen;
    ensure!(address.ip().is_loopback(), "{address} is not a loopback address; the pages are for this device only");
    let language = words::parse_language(&arguments.language)?;
    let visited = arguments.visitor.as_deref().map(screens::parse_conversation).transpose()?;
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    let access = Access::open(&arguments.runtime_dir, address, visited.is_some()).with_context(|| {
        format!("{} cannot be used; name another by --runtime-dir", arguments.runtime_dir.display())
    })?;
    let bus = Bus::follow(arguments.bus_address.map_or(Address::System, Address::Other)).await;
    let site = Arc::new(Site::new(address, access, bus, visited, language));
    let router = http::router(site);
    writeln!(std::io::stdout(), "listening on {address}")?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        () = http::accept(listener, router) => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
