//! Judging secrets and PINs that anybody may have typed, and putting others in their place.

use std::io;
use std::sync::Arc;

use kith_engine::RequestError;
use tracing::error;
use zeroize::Zeroizing;

use super::wiped;
use crate::handle::CallError;
use crate::store::{AttemptError, Attempts, ChangeError, Folder, Keyholder, ReadError, Reader};

/// Characters of a PIN.
const PIN_CHARS_MIN: usize = 4;
const PIN_CHARS_MAX: usize = 64;

/// How many wrong ones came in a row. Secrets and PINs are counted apart: who plays with PINs at a screen does not keep
/// the owner from unlocking.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    pub(super) secrets: Arc<Attempts>,
    pub(super) pins: Arc<Attempts>,
}

impl Wrong {
    pub(super) fn open(folder: &Folder) -> io::Result<Self> {
        Ok(Self { secrets: Arc::new(Attempts::open(folder)?), pins: Arc::new(Attempts::open_for_pins(folder)?) })
    }
}

/// Judges a secret, unless too many wrong ones came before it. Takes as long as deriving a key:
/// not for the async loop's own thread.
pub(super) fn judged<T>(attempts: &Attempts, judge: impl FnOnce() -> Result<T, CallError>) -> Result<T, CallError> {
    let attempt = attempts.begin().map_err(|error| match error {
        AttemptError::Wait(seconds) => CallError::WaitFor(seconds),
        AttemptError::Full => RequestError::StorageFull.into(),
        AttemptError::Io(_) => RequestError::Storage(error.to_string()).into(),
    })?;
    let judged = judge();
    if !matches!(judged, Err(CallError::WrongSecret | CallError::WrongPin | CallError::Locked)) {
        // Right, even if the store behind it cannot be used. One attempt too many does no harm.
        if let Err(error) = attempt.was_right() {
            error!("the count of wrong secrets stays as it was: {error}");
        }
    }
    judged
}

/// Whether this is the PIN, or the open store's secret, which serves where there is no PIN or it is forgotten. Waits as
/// [`judged`], and for a second key.
pub(super) fn proven(
    reader: &Reader,
    keyholder: &Keyholder,
    attempts: &Attempts,
    proof: &Zeroizing<String>,
) -> Result<(), CallError> {
    judged(attempts, || {
        match reader.is_pin(proof.as_bytes()) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(ReadError::Locked) => return Err(CallError::Locked),
            // It keeps nobody out: the secret is left.
            Err(error) => error!("the PIN cannot be read, set it again: {error}"),
        }
        keyholder.verify(proof.as_bytes()).map_err(|error| match error {
            ChangeError::WrongSecret => CallError::WrongPin,
            error => not_changed(error),
        })
    })
}

/// Puts a new PIN in the place of the old one, if that is right or need not be given; says whether there is one now.
/// Waits as [`proven`], and for the disk.
pub(super) fn pin_changed(
    reader: &Reader,
    keyholder: &Keyholder,
    attempts: &Attempts,
    old: Option<&Zeroizing<String>>,
    new: &Zeroizing<String>,
) -> Result<bool, CallError> {
    let new = Some(new.trim_end_matches('\n')).filter(|new| !new.is_empty());
    if new.is_some_and(|new| !(PIN_CHARS_MIN..=PIN_CHARS_MAX).contains(&new.chars().count())) {
        return Err(RequestError::InvalidArgument("a PIN has 4 to 64 characters").into());
    }
    if let Some(old) = old {
        proven(reader, keyholder, attempts, old)?;
    }
    keyholder.set_pin(new.map(str::as_bytes)).map_err(not_changed)?;
    Ok(new.is_some())
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

/// Whether there is a PIN. Whatever is wrong with it keeps nobody out: the secret serves in its place.
pub(super) async fn has_pin(reader: &Reader) -> bool {
    let reader = reader.clone();
    match tokio::task::spawn_blocking(move || wiped(|| reader.has_pin())).await {
        Ok(Ok(has_pin)) => has_pin,
        Ok(Err(error)) => {
            error!("the PIN cannot be read, set it again: {error}");
            false
        }
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
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
