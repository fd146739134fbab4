//! The one place where errors become D-Bus errors, each with the sentence that helps.

use kith_dbus::{Refusal, RefusalName};
use kith_engine::RequestError;

use crate::handle::CallError;

/// What the caller is told.
pub(super) fn refusal(error: CallError) -> Refusal {
    match error {
        CallError::Locked => Refusal::new(RefusalName::Locked, "The messenger is locked: unlock it first."),
        CallError::NotSetUp => Refusal::new(RefusalName::NotSetUp, "This device has no identity yet: set it up first."),
        CallError::AlreadySetUp => Refusal::new(
            RefusalName::AlreadySetUp,
            "This device has an identity already: unlock it, or wipe it to begin anew.",
        ),
        CallError::WrongSecret => {
            Refusal::new(RefusalName::WrongSecret, "The secret does not open the store: try again.")
        }
        CallError::WaitFor(seconds) => {
            Refusal::new(RefusalName::RateLimited, format!("Too many wrong secrets: try again in {seconds} s."))
        }
        CallError::Corrupt(what) => Refusal::new(
            RefusalName::StorageCorrupt,
            format!("The store cannot be used ({}): see the daemon's log, and restore a copy if need be.", bare(&what)),
        ),
        CallError::Busy => Refusal::new(
            RefusalName::RateLimited,
            "Other long work is under way: wait until it has ended, or cancel it.",
        ),
        CallError::Request(error) => request_refusal(error),
        CallError::Stopping => Refusal::new(RefusalName::Stopping, "The daemon is stopping: start it again."),
    }
}

/// The loop answered another kind of request than the one that was made.
pub(super) fn mismatched() -> Refusal {
    refusal(RequestError::NotFound.into())
}

fn request_refusal(error: RequestError) -> Refusal {
    match error {
        RequestError::NotFound => {
            Refusal::new(RefusalName::NotFound, "There is no such contact, pairing or message: list what there is.")
        }
        RequestError::NotPaired => Refusal::new(
            RefusalName::NotPaired,
            "The contact has not confirmed the pairing yet: wait until it is online, or pair again.",
        ),
        RequestError::Blocked => Refusal::new(RefusalName::Blocked, "The contact is blocked: let it in again first."),
        RequestError::InvalidArgument(what) => {
            Refusal::new(RefusalName::InvalidArgument, format!("An argument is out of its range ({what}): correct it."))
        }
        RequestError::TooLarge => {
            Refusal::new(RefusalName::TooLarge, "A body has at most 12,288 bytes: send it in several messages.")
        }
        RequestError::QuotaExceeded => Refusal::new(
            RefusalName::QuotaExceeded,
            "Too many messages wait for this contact: send again when it has received some of them.",
        ),
        RequestError::RateLimited => {
            Refusal::new(RefusalName::RateLimited, "Too many pairings at once: cancel one, or wait for one to end.")
        }
        RequestError::InvalidInvite(why) => Refusal::new(
            RefusalName::InvalidInvite,
            format!("This is not a usable invite ({why}): copy it again, whole."),
        ),
        RequestError::InviteExpired => {
            Refusal::new(RefusalName::InviteExpired, "The invite is past its time: ask for a new one.")
        }
        RequestError::OtherServer(server) => Refusal::new(
            RefusalName::OtherServer,
            format!(
                "The invite names another signaling server ({server}): accept it again with other_server if that is right."
            ),
        ),
        RequestError::StorageFull => {
            Refusal::new(RefusalName::StorageFull, "No space is left on the device: free some and try again.")
        }
        RequestError::Storage(what) => Refusal::new(
            RefusalName::StorageFailed,
            format!("The store could not be written ({}): see the daemon's log and try again.", bare(&what)),
        ),
    }
}

/// A text that goes on inside a sentence.
fn bare(text: &str) -> &str {
    text.trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_one_sentence_that_says_what_to_do() {
        let errors = [
            CallError::Locked,
            CallError::NotSetUp,
            CallError::AlreadySetUp,
            CallError::WrongSecret,
            CallError::WaitFor(3),
            CallError::Corrupt("a page is damaged.".into()),
            CallError::Busy,
            CallError::Stopping,
            RequestError::NotFound.into(),
            RequestError::NotPaired.into(),
            RequestError::Blocked.into(),
            RequestError::InvalidArgument("a name").into(),
            RequestError::TooLarge.into(),
            RequestError::QuotaExceeded.into(),
            RequestError::RateLimited.into(),
            RequestError::InvalidInvite("too short").into(),
            RequestError::InviteExpired.into(),
            RequestError::OtherServer("wss://b.example".into()).into(),
            RequestError::StorageFull.into(),
            RequestError::Storage("EIO".into()).into(),
        ];
        for error in errors {
            let sentence = refusal(error).sentence;
            assert!(sentence.contains(": ") && sentence.ends_with('.'), "{sentence}");
            assert_eq!(sentence.matches(". ").count(), 0, "{sentence}");
        }
    }
}
