//! Judging secrets that anybody may have typed.

use tracing::error;

use crate::handle::CallError;
use crate::store::{AttemptError, Attempts};
use kith_engine::RequestError;

/// Judges a secret, unless too many wrong ones came before it. Takes as long as deriving a key:
/// not for the async loop's own thread.
pub(super) fn judged<T>(attempts: &Attempts, judge: impl FnOnce() -> Result<T, CallError>) -> Result<T, CallError> {
    let attempt = attempts.begin().map_err(|error| match error {
        AttemptError::Wait(seconds) => CallError::WaitFor(seconds),
        AttemptError::Full => RequestError::StorageFull.into(),
        AttemptError::Io(_) => RequestError::Storage(error.to_string()).into(),
    })?;
    let judged = judge();
    if !matches!(judged, Err(CallError::WrongSecret)) {
        // Right, even if the store behind it cannot be used. One attempt too many does no harm.
        if let Err(error) = attempt.was_right() {
            error!("the count of wrong secrets stays as it was: {error}");
        }
    }
    judged
}
