//! What the writer thread is asked to do, in the order in which it is asked.

use kith_engine::{Commit, CommitError};
use tokio::sync::oneshot;

use super::custody::Custody;

/// One thing to do.
pub(super) enum Order {
    /// Write this, together with the commits that follow.
    Commit(Commit),
    /// Put this header in the place of the store's.
    Header(Box<Custody>, oneshot::Sender<Result<(), CommitError>>),
}
