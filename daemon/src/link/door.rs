//! How the owner of the links reaches one of them, and what it wishes.

use kith_engine::Negotiation;
use tokio::sync::{mpsc, watch};

use super::failure::Failure;

/// What the owner of the links holds of one of them.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) words: mpsc::Sender<Negotiation>,
    pub(super) outgoing: mpsc::Sender<Vec<u8>>,
    pub(super) wish: watch::Sender<Wish>,
}

/// What the owner wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The link should work.
    Live,
    /// It should report this and end.
    Fail(Failure),
    /// It should end and report nothing more.
    Close,
}

impl Door {
    /// Ends the link with a sentence, unless it is ending already.
    pub(super) fn fail(&self, failure: Failure) {
        self.wish.send_if_modified(|wish| {
            let live = *wish == Wish::Live;
            if live {
                *wish = Wish::Fail(failure);
            }
            live
        });
    }
}

/// Waits for a wish other than `Live`: a failure, or nothing to be said any more.
pub(super) async fn wished(wish: &mut watch::Receiver<Wish>) -> Option<Failure> {
    match wish.wait_for(|wish| *wish != Wish::Live).await.as_deref() {
        Ok(Wish::Fail(failure)) => Some(*failure),
        _ => None,
    }
}

/// Waits until the link is to end without a word, or its owner is gone.
pub(super) async fn closed(wish: &mut watch::Receiver<Wish>) {
    // An error: the owner is gone.
    let _ = wish.wait_for(|wish| *wish == Wish::Close).await;
}
