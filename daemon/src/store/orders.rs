//! What the writer thread is asked to do, in the order in which it is asked.

use kith_engine::{Commit, CommitError};
use tokio::sync::oneshot;

use super::{
    custody::Wrapping,
    pin::PinRow,
    retention::{Retention, RetentionChoice},
    trim::Trimmed,
};
use crate::task::Task;

/// One thing to do.
pub(super) enum Order {
    /// Write this, together with the commits that follow.
    Commit(Commit),
    /// Put the store's keys under what this secret gives.
    Secret(Box<Wrapping>, oneshot::Sender<Result<(), CommitError>>),
    /// Write down how much history somebody wants to be kept.
    Choose(RetentionChoice, oneshot::Sender<Result<(), CommitError>>),
    /// Write down what the PIN is recognised by.
    Pin(PinRow, oneshot::Sender<Result<(), CommitError>>),
    /// Take some old messages away.
    Trim {
        /// What is kept.
        keep: Retention,
        /// Now, if the clock has been set.
        utc_ms: Option<u64>,
        /// Completion.
        done: oneshot::Sender<Result<Trimmed, CommitError>>,
    },
    /// Begin to rewrite the store under a new data key.
    Rotate(Task),
    /// Let this task show what the store is doing to itself.
    Show(Task),
}
