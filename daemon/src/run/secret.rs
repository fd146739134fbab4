//! Judging secrets that anybody may have typed, and putting others in their place.

use kith_engine::RequestError;
use tracing::error;
use zeroize::Zeroizing;

use crate::handle::CallError;
use crate::store::{AttemptError, Attempts, ChangeError, Keyholder};

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

/// Whether the secret is the open store's. Waits as [`judged`].
pub(super) fn verified(
    keyholder: &Keyholder,
    attempts: &Attempts,
    secret: &Zeroizing<String>,
) -> Result<(), CallError> {
    judged(attempts, || keyholder.verify(secret.as_bytes()).map_err(not_changed))
}

/// Puts a new secret in the place of the old one, if that is right. Waits as [`judged`], and for the
/// disk.
pub(super) fn changed(
    keyholder: &Keyholder,
    attempts: &Attempts,
    old: &Zeroizing<String>,
    new: &Zeroizing<String>,
) -> Result<(), CallError> {
    not_empty(new)?;
    judged(attempts, || keyholder.change_secret(old.as_bytes(), new.as_bytes()).map_err(not_changed))
}

/// An empty secret is a mistake.
pub(super) fn not_empty(secret: &Zeroizing<String>) -> Result<(), RequestError> {
    if secret.trim_end_matches('\n').is_empty() {
        return Err(RequestError::InvalidArgument("the secret is empty"));
    }
    Ok(())
}

fn not_changed(error: ChangeError) -> CallError {
    match error {
        ChangeError::WrongSecret => CallError::WrongSecret,
        ChangeError::Locked => CallError::Locked,
        ChangeError::Full => RequestError::StorageFull.into(),
        ChangeError::Failed(text) => RequestError::Storage(text).into(),
    }
}
