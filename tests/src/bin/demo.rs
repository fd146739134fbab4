//! The demo: two devices and a server on this machine. They pair, they talk, you may join in.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use kith_dbus::Row;
use kith_system_tests::{Conversation, Device, Latencies, Logging, Millis, Programs, Server};

/// Messages each way.
const MESSAGES: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    StayUp,
    End,
}

fn main() -> ExitCode {
    kith_system_tests::run(run())
}

async fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let then = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Then::StayUp,
        ["--check"] => Then::End,
        other => bail!("the demo knows --check, not {other:?}"),
    };
    // Whatever is being done, Ctrl-C ends it, and what was started ends with it.
    tokio::select! {
        result = show(then) => result,
        interrupted = interrupted() => interrupted,
    }
}

async fn interrupted() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    say("\nending what was started")
}

async fn show(then: Then) -> Result<()> {
    say("starting a signaling server and two devices, each with a message bus of its own")?;
    let server = Server::start(Logging::Active).await?;
    let alice = Device::start("alice", &server.url()).await?;
    let bob = Device::start("bob", &server.url()).await?;

    say("pairing them by an invite")?;
    bob.accept(&alice.invite().await?).await?;

    let mut to_bob = alice.messenger().await?.conversation().await?;
    let mut to_alice = bob.messenger().await?.conversation().await?;
    let mut latencies = Latencies::default();
    for number in 1..=MESSAGES {
        exchange("alice → bob", number, &mut to_bob, &mut latencies).await?;
        exchange("bob → alice", number, &mut to_alice, &mut latencies).await?;
    }
    verify(&to_bob, &to_alice).await?;
    say(&format!("\n{latencies}, from the sender's disk to the receiver's"))?;

    if then == Then::StayUp {
        invite_to_try(&alice, &to_bob.peer().await?)?;
        invite_to_try(&bob, &to_alice.peer().await?)?;
        say("\nCtrl-C ends both devices and removes what they stored.")?;
        std::future::pending::<()>().await;
    }
    Ok(())
}

async fn exchange(way: &str, number: usize, conversation: &mut Conversation, latencies: &mut Latencies) -> Result<()> {
    let queued = conversation.send(&format!("{way}, number {number}")).await?;
    let took = conversation.wait_until_delivered(&queued).await?;
    latencies.push(took);
    say(&format!("{way}  #{number:<3} queued → delivered  {}", Millis(took)))
}

/// Both devices have the same history: all messages, each once, each way in order.
async fn verify(to_bob: &Conversation, to_alice: &Conversation) -> Result<()> {
    let (at_alice, at_bob) = (to_bob.history().await?, to_alice.history().await?);
    let bodies = |rows: &[Row]| rows.iter().map(|row| row.body.clone()).collect::<Vec<_>>();
    ensure!(at_alice.len() == 2 * MESSAGES, "alice has {} messages", at_alice.len());
    ensure!(bodies(&at_alice) == bodies(&at_bob), "alice and bob have different histories");
    Ok(())
}

/// The lines that a reader can copy, for one device and the client id of its peer.
fn invite_to_try(device: &Device, peer: &str) -> Result<()> {
    let kithctl = Programs::locate()?.path("kithctl");
    let line = format!("{} --bus-address {}", kithctl.display(), device.bus_address());
    say(&format!("\nAs {}, in another terminal:", device.name()))?;
    say(&format!("  {line} status"))?;
    say(&format!("  {line} send {peer} \"hello\""))?;
    say(&format!("  {line} watch"))
}

fn say(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}").map_err(Into::into)
}
