//! The one place where errors become D-Bus errors, each with the sentence that helps.

use kith_dbus::{Refusal, RefusalName};
use kith_engine::RequestError;

use crate::backup::BackupError;
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
        CallError::WrongPin => {
            Refusal::new(RefusalName::WrongSecret, "This is neither the PIN nor the store's secret: try again.")
        }
        CallError::WaitFor(seconds) => {
            let sentence = format!("Too many wrong secrets: try again in {seconds} s.");
            Refusal::new(RefusalName::RateLimited, sentence).retry_after(seconds)
        }
        CallError::Corrupt(what) => Refusal::new(
            RefusalName::StorageCorrupt,
            format!("The store cannot be used ({}): see the daemon's log, and restore a copy if need be.", bare(&what)),
        ),
        CallError::Busy => Refusal::new(
            RefusalName::RateLimited,
            "Other long work is under way: wait until it has ended, or cancel it.",
        ),
        CallError::Backup(error) => backup_refusal(error),
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
        RequestError::NotFound => Refusal::new(
            RefusalName::NotFound,
            "There is no such contact, room, pairing or message: list what there is.",
        ),
        RequestError::NotPaired => Refusal::new(
            RefusalName::NotPaired,
            "The contact has not confirmed the pairing yet: wait until it is online, or pair again.",
        ),
        RequestError::Blocked => Refusal::new(RefusalName::Blocked, "The contact is blocked: let it in again first."),
        RequestError::NotOwner => {
            Refusal::new(RefusalName::NotOwner, "Only the room's owner can change it: ask its owner.")
        }
        RequestError::NotAMember => Refusal::new(
            RefusalName::NotAMember,
            "This device is not in the room any more: ask its owner to add it again.",
        ),
        RequestError::RoomFrozen => Refusal::new(
            RefusalName::RoomFrozen,
            "The room is frozen, for its owner has signed two rosters of one version: leave it and make a new one.",
        ),
        RequestError::RoomChanging => {
            Refusal::new(RefusalName::RateLimited, "The room is being changed: try again in a moment.")
        }
        RequestError::OwnsRoom => Refusal::new(
            RefusalName::OwnsRoom,
            "The owner cannot leave while others are in the room: hand it over, or remove them first.",
        ),
        RequestError::TooManyRooms => {
            Refusal::new(RefusalName::QuotaExceeded, "A device is in at most 64 rooms: leave one first.")
        }
        RequestError::InvalidArgument(what) => {
            Refusal::new(RefusalName::InvalidArgument, format!("An argument is out of its range ({what}): correct it."))
        }
        RequestError::TooLarge => {
            Refusal::new(RefusalName::TooLarge, "A body has at most 12,288 bytes: send it in several messages.")
        }
        RequestError::QuotaExceeded => Refusal::new(
            RefusalName::QuotaExceeded,
            "Too many messages wait in this conversation: send again when some have been received.",
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

fn backup_refusal(error: BackupError) -> Refusal {
    match error {
        BackupError::NotOne => {
            Refusal::new(RefusalName::BackupInvalid, "This is not a backup of Kith: choose another file.")
        }
        BackupError::Newer => Refusal::new(
            RefusalName::Unsupported,
            "A newer version of Kith has written this backup: install that version, and import it there.",
        ),
        BackupError::Damaged(what) => Refusal::new(
            RefusalName::BackupInvalid,
            format!("The backup is damaged ({what}), and nothing has been changed: use another copy of it."),
        ),
        BackupError::OtherDevice(client_id) => Refusal::new(
            RefusalName::OtherDevice,
            format!(
                "The backup is that of {client_id}: import it on a device that is not set up, or wipe this one first."
            ),
        ),
        BackupError::WrongSecret => Refusal::new(
            RefusalName::WrongSecret,
            "The secret does not open the backup: give the one that the store had when it was made.",
        ),
        BackupError::OtherSecret => Refusal::new(
            RefusalName::WrongSecret,
            "The backup was made under another secret than the present one: give that secret with it.",
        ),
        BackupError::NeedsSecret => Refusal::new(
            RefusalName::InvalidArgument,
            "A secret is missing: give the one of the encrypted backup, or for a plain one the device's new one.",
        ),
        BackupError::NeedsReplace => Refusal::new(
            RefusalName::AlreadySetUp,
            "This device is set up: say that the backup is to replace all that it holds.",
        ),
        BackupError::Unusable(what) => {
            Refusal::new(RefusalName::InvalidArgument, format!("The file cannot be used ({what}): choose another."))
        }
        BackupError::Io(what) => Refusal::new(
            RefusalName::BackupFailed,
            format!("The backup's file could not be read or written ({}): check it and try again.", bare(&what)),
        ),
        BackupError::Full => request_refusal(RequestError::StorageFull),
        BackupError::Read(error) => refusal(error.into()),
        BackupError::Create(what) => request_refusal(RequestError::Storage(what)),
        // The task says so itself.
        BackupError::Cancelled(_) => refusal(CallError::Stopping),
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
            CallError::WrongPin,
            CallError::WaitFor(3),
            CallError::Corrupt("a page is damaged.".into()),
            CallError::Busy,
            CallError::Stopping,
            CallError::Backup(BackupError::NotOne),
            CallError::Backup(BackupError::Newer),
            CallError::Backup(BackupError::Damaged("it is cut off")),
            CallError::Backup(BackupError::OtherDevice(kith_crypto::identity::ClientId::from_bytes([1; 20]))),
            CallError::Backup(BackupError::WrongSecret),
            CallError::Backup(BackupError::OtherSecret),
            CallError::Backup(BackupError::NeedsSecret),
            CallError::Backup(BackupError::NeedsReplace),
            CallError::Backup(BackupError::Unusable("it is a pipe")),
            CallError::Backup(BackupError::Io("EIO".into())),
            RequestError::NotFound.into(),
            RequestError::NotPaired.into(),
            RequestError::Blocked.into(),
            RequestError::NotOwner.into(),
            RequestError::NotAMember.into(),
            RequestError::RoomFrozen.into(),
            RequestError::RoomChanging.into(),
            RequestError::OwnsRoom.into(),
            RequestError::TooManyRooms.into(),
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
