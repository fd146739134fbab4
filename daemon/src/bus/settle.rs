//! When a method that changes something returns, the objects and properties show it.
//!
//! The loop publishes an event before it answers the request that caused it. So whoever waits,
//! after the answer, until the tree has shown all that is published by then, has waited enough.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// Waiting callers; a further one waits for a place.
const WAITING_MAX: usize = 64;

/// How long a caller waits at most. What it asked for is done; only its showing is late.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(5);

/// What the interfaces hold.
#[derive(Clone, Debug)]
pub(super) struct Settling(mpsc::Sender<oneshot::Sender<()>>);

/// What the tree holds: callers to wake when nothing waits to be shown.
#[derive(Debug)]
pub(super) struct Waiting(mpsc::Receiver<oneshot::Sender<()>>);

/// Makes the two ends.
pub(super) fn settling() -> (Settling, Waiting) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Settling(sender), Waiting(receiver))
}

impl Settling {
    /// Waits until all that has been published is shown.
    pub(super) async fn settled(&self) {
        let (shown, wait) = oneshot::channel();
        let waiting = async {
            if self.0.send(shown).await.is_ok() {
                // The tree is gone together with the connection; nobody sees anything any more.
                let _ = wait.await;
            }
        };
        let _ = tokio::time::timeout(WAIT_MAX, waiting).await;
    }
}

impl Waiting {
    /// The next caller; never completes once all interfaces are gone.
    pub(super) async fn next(&mut self) -> oneshot::Sender<()> {
        match self.0.recv().await {
            Some(caller) => caller,
            None => std::future::pending().await,
        }
    }
}
