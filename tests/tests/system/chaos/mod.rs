//! Real programs under faults: whatever happens to them, each message arrives once and in order.
//!
//! A failure prints its seed and what it draws; `KITH_SEED=n` draws the same again. Where in their work the
//! programs are when a fault comes differs from run to run: the simulation in `daemon/engine/tests` is exact.

mod driver;
mod long;
mod schedule;
mod tamper;
mod verdict;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kith_dbus::Direction;
use kith_system_tests::{Conversation, Device, Logging, Server, within};
use tokio::sync::watch;

use crate::Pair;
use driver::Driver;
use schedule::{DeviceFault, Schedule, ServerFault, Step};
use verdict::Verdict;

/// How long all faults and all sending may take together; the schedules drawn take about a minute.
const RUN_MAX: Duration = Duration::from_secs(240);

/// Sends both ways while the faults happen, waits until nothing waits any more, and judges.
async fn run(pair: &mut Pair, schedule: &Schedule) -> Result<Verdict> {
    let alice = Driver::new("there", &schedule.alice.bursts);
    let bob = Driver::new("back", &schedule.bob.bursts);
    let (alice_runs, alice_sees) = watch::channel(true);
    let (bob_runs, bob_sees) = watch::channel(true);
    let everything = async {
        tokio::try_join!(
            device_faults(&mut pair.alice, &schedule.alice.faults, &alice_runs),
            device_faults(&mut pair.bob, &schedule.bob.faults, &bob_runs),
            server_faults(&mut pair.server, &schedule.server),
            alice.send_all(&pair.to_bob, alice_sees),
            bob.send_all(&pair.to_alice, bob_sees),
        )
    };
    within(RUN_MAX, "the faults and the sending", everything).await?;
    pair.to_bob.wait_until_nothing_waits().await.context("what alice sent")?;
    pair.to_alice.wait_until_nothing_waits().await.context("what bob sent")?;
    let there = Verdict::new(alice.texts(), &texts(&pair.to_alice, Direction::Incoming).await?);
    let back = Verdict::new(bob.texts(), &texts(&pair.to_bob, Direction::Incoming).await?);
    Ok(there.and(back))
}

/// Does to a device what the schedule says; tells the driver while the daemon is away.
async fn device_faults(device: &mut Device, steps: &[Step<DeviceFault>], runs: &watch::Sender<bool>) -> Result<()> {
    for step in steps {
        tokio::time::sleep(step.after).await;
        ensure!(device.is_running(), "{} ended by itself\n{}", device.name(), errors(device));
        match step.fault {
            DeviceFault::Kill { away } => {
                runs.send_replace(false);
                device.cut_power();
                tokio::time::sleep(away).await;
                device.run_again().await?;
                runs.send_replace(true);
            }
            DeviceFault::Freeze { time } => {
                device.freeze()?;
                tokio::time::sleep(time).await;
                device.thaw();
            }
        }
    }
    Ok(())
}

async fn server_faults(server: &mut Server, steps: &[Step<ServerFault>]) -> Result<()> {
    for step in steps {
        tokio::time::sleep(step.after).await;
        match step.fault {
            ServerFault::Restart { away } => {
                server.stop()?;
                tokio::time::sleep(away).await;
                server.run(Logging::Active).await?;
            }
            ServerFault::Kill { away } => {
                server.cut_power();
                tokio::time::sleep(away).await;
                server.run(Logging::Active).await?;
            }
            ServerFault::Freeze { time } => {
                server.freeze()?;
                tokio::time::sleep(time).await;
                server.thaw();
            }
        }
    }
    Ok(())
}

/// The texts of one direction in a device's history, oldest first.
async fn texts(conversation: &Conversation, direction: Direction) -> Result<Vec<String>> {
    let rows = conversation.history().await?.into_iter().filter(|row| row.direction == direction);
    rows.map(|row| String::from_utf8(row.body).context("a text")).collect()
}

fn errors(device: &Device) -> String {
    device.process().map(kith_system_tests::Process::errors).unwrap_or_default()
}
