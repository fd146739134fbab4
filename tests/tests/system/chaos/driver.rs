//! A program that sends, and outlives the daemon's absences.

use anyhow::{Context as _, Result, bail};
use kith_dbus::{Failure, RefusalName};
use kith_system_tests::Conversation;
use tokio::sync::watch;

use super::schedule::Burst;

/// How often one message is asked for: a daemon that is killed five times spoils five answers.
const TRIES_MAX: usize = 20;

/// The numbered messages of one device.
pub(super) struct Driver {
    texts: Vec<String>,
    bursts: Vec<Burst>,
}

impl Driver {
    pub(super) fn new(name: &str, bursts: &[Burst]) -> Self {
        let count: usize = bursts.iter().map(|burst| burst.count).sum();
        let texts = (1..=count).map(|number| format!("{name} {number}")).collect();
        Self { texts, bursts: bursts.to_vec() }
    }

    /// All messages, in their order.
    pub(super) fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Sends them all; each is on this device's disk before the next is asked for.
    pub(super) async fn send_all(&self, conversation: &Conversation, mut runs: watch::Receiver<bool>) -> Result<()> {
        let mut texts = self.texts.iter();
        for burst in &self.bursts {
            tokio::time::sleep(burst.after).await;
            for text in texts.by_ref().take(burst.count) {
                send(conversation, text, &mut runs).await.with_context(|| format!("`{text}` was not queued"))?;
            }
        }
        Ok(())
    }
}

/// Asks until there is an answer. The text is its own idempotency key: a message whose answer was
/// lost is asked for again, and stays one.
async fn send(conversation: &Conversation, text: &str, runs: &mut watch::Receiver<bool>) -> Result<()> {
    for _ in 0..TRIES_MAX {
        runs.wait_for(|runs| *runs).await?;
        match conversation.send_keyed(text, text).await {
            Ok(_) => return Ok(()),
            Err(failure) if is_away(&failure) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    bail!("no answer to {TRIES_MAX} tries")
}

/// Whether the daemon had gone, or had come back and was not unlocked yet.
fn is_away(failure: &Failure) -> bool {
    let locked = [RefusalName::Locked, RefusalName::NotSetUp, RefusalName::Stopping];
    match failure {
        Failure::NotReachable(_) | Failure::TimedOut | Failure::NoObject => true,
        other => other.refusal().is_some_and(|name| locked.contains(&name)),
    }
}
