//! What a device tells its owner of trouble with contacts.

use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures_util::StreamExt as _;
use kith_dbus::PEER_INTERFACE;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use zbus::message::Type;
use zbus::{MatchRule, MessageStream};

use crate::within;

/// How long a sentence may take to come: an offer in vain takes 15 s.
const SENTENCE_MAX: Duration = Duration::from_secs(60);

/// Signals that may wait on the connection; they are taken off it as they come.
const SIGNALS_MAX: NonZero<usize> = NonZero::new(256).unwrap();

/// All sentences since it began to listen, of all contacts.
#[derive(Debug)]
pub struct Troubles {
    heard: Arc<Heard>,
    listener: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Heard {
    sentences: Mutex<Vec<String>>,
    more: Notify,
}

impl Troubles {
    /// Listens on a device's bus, on a connection of its own.
    pub async fn listen(address: &str) -> Result<Self> {
        let connection = zbus::connection::Builder::address(address).build().await?;
        let rule = MatchRule::builder().msg_type(Type::Signal).interface(PEER_INTERFACE).member("Trouble").build()?;
        let mut signals = MessageStream::for_match_rule(rule, &connection, Some(SIGNALS_MAX)).await?;
        let heard = Arc::new(Heard::default());
        let hearing = heard.clone();
        let listener = tokio::spawn(async move {
            while let Some(Ok(signal)) = signals.next().await {
                if let Ok(sentence) = signal.body().deserialize::<String>() {
                    hearing.sentences().push(sentence);
                    hearing.more.notify_waiters();
                }
            }
        });
        Ok(Self { heard, listener })
    }

    /// How many sentences there were.
    pub fn count(&self) -> usize {
        self.heard.sentences().len()
    }

    /// All of them.
    pub fn all(&self) -> Vec<String> {
        self.heard.sentences().clone()
    }

    /// Waits for a sentence with these words among those after the first so many.
    pub async fn wait_for(&self, after: usize, words: &str) -> Result<()> {
        let said = within(SENTENCE_MAX, "trouble", async {
            loop {
                let more = self.heard.more.notified();
                if self.heard.sentences().iter().skip(after).any(|sentence| sentence.contains(words)) {
                    return Ok(());
                }
                more.await;
            }
        });
        said.await.map_err(|error| anyhow!("`{words}`: {error:#}; there was {:?}", self.all()))
    }
}

impl Heard {
    fn sentences(&self) -> MutexGuard<'_, Vec<String>> {
        // Nothing panics while it is held.
        self.sentences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Troubles {
    fn drop(&mut self) {
        self.listener.abort();
    }
}
