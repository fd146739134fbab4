//! Why a command did not succeed, and the exit code that says so.

use std::{fmt, io};

use kith_dbus::{Failure, RefusalName};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// The daemon refused, or what was waited for ended otherwise.
    Refused,
    /// The command line cannot be carried out as written.
    Usage,
    /// There is no bus, or no daemon on it.
    NotReachable,
    /// The daemon is locked, or has not been set up.
    Locked,
    /// What was waited for did not happen in time.
    TimedOut,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::NotReachable => 3,
            Self::Locked => 4,
            Self::TimedOut => 5,
        }
    }
}

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// The call gave no result.
    Failure(Failure),
    /// No contact is meant by this.
    NoSuchPeer(String),
    /// No room is meant by this.
    NoSuchRoom(String),
    /// Several contacts or rooms may be meant by this.
    Ambiguous(String),
    /// The command line cannot be carried out as written.
    Usage(String),
    /// A pairing ended without a contact.
    PairingFailed(String),
    /// A task ended without its result; the sentence is the daemon's.
    TaskFailed(String),
    /// The check came to its end, and not everything is sound.
    Damaged,
    /// The user ended it.
    Cancelled,
    /// What was waited for did not happen in time.
    TimedOut(String),
    /// Standard input or output failed.
    Io(io::Error),
}

impl CommandError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Failure(failure) => failure_exit(failure),
            Self::NoSuchPeer(_)
            | Self::NoSuchRoom(_)
            | Self::PairingFailed(_)
            | Self::TaskFailed(_)
            | Self::Damaged
            | Self::Cancelled => Exit::Refused,
            Self::Ambiguous(_) | Self::Usage(_) => Exit::Usage,
            Self::TimedOut(_) => Exit::TimedOut,
            // The reader has seen enough, as in `kithctl history PEER | head`.
            Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Io(_) => Exit::Refused,
        }
    }

    /// For programs: the daemon's name of the refusal, or a name of this program's own.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Failure(Failure::Refused(refusal)) => refusal.name.short(),
            Self::Failure(Failure::NotReachable(_)) => "NotReachable",
            Self::Failure(Failure::Denied(_)) => "Denied",
            Self::Failure(Failure::TimedOut) | Self::TimedOut(_) => "TimedOut",
            Self::Failure(Failure::NoObject) | Self::NoSuchPeer(_) | Self::NoSuchRoom(_) => "NotFound",
            Self::Failure(Failure::InvalidArgs(_)) => "InvalidArgs",
            Self::Failure(Failure::Bus(_)) => "Bus",
            Self::Ambiguous(_) => "Ambiguous",
            Self::Usage(_) => "Usage",
            Self::PairingFailed(_) => "PairingFailed",
            Self::TaskFailed(_) => "TaskFailed",
            Self::Damaged => "StorageCorrupt",
            Self::Cancelled => "Cancelled",
            Self::Io(_) => "Io",
        }
    }
}

fn failure_exit(failure: &Failure) -> Exit {
    match failure {
        Failure::Refused(refusal) => match refusal.name {
            RefusalName::Locked | RefusalName::NotSetUp => Exit::Locked,
            _ => Exit::Refused,
        },
        Failure::NotReachable(_) | Failure::Denied(_) => Exit::NotReachable,
        Failure::TimedOut => Exit::TimedOut,
        Failure::NoObject | Failure::InvalidArgs(_) | Failure::Bus(_) => Exit::Refused,
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failure(failure) => failure.fmt(f),
            Self::NoSuchPeer(wanted) => write!(f, "There is no contact `{wanted}`: see kithctl peers."),
            Self::NoSuchRoom(wanted) => write!(f, "There is no room `{wanted}`: see kithctl rooms."),
            Self::Ambiguous(wanted) => {
                write!(f, "`{wanted}` may mean several: write more of the id, see kithctl peers and kithctl rooms.")
            }
            Self::Usage(sentence) | Self::TimedOut(sentence) | Self::TaskFailed(sentence) => f.write_str(sentence),
            Self::Damaged => f.write_str("The store is damaged: do what each line says."),
            Self::PairingFailed(reason) => write!(f, "The devices are not paired: {reason}"),
            Self::Cancelled => f.write_str("Cancelled."),
            Self::Io(error) => write!(f, "Standard input or output failed: {error}."),
        }
    }
}

impl std::error::Error for CommandError {}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<zbus::Error> for CommandError {
    fn from(error: zbus::Error) -> Self {
        Self::Failure(error.into())
    }
}

impl From<zbus::fdo::Error> for CommandError {
    fn from(error: zbus::fdo::Error) -> Self {
        Self::Failure(error.into())
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use kith_dbus::Refusal;

    use super::*;

    #[test]
    fn scripts_can_tell_locked_from_refused_from_gone() {
        let refused = |name| CommandError::from(Failure::Refused(Refusal::new(name, "x"))).exit().code();
        assert_eq!(refused(RefusalName::TooLarge), 1);
        assert_eq!(refused(RefusalName::Locked), 4);
        assert_eq!(refused(RefusalName::NotSetUp), 4);
        assert_eq!(CommandError::from(Failure::NotReachable("x".into())).exit().code(), 3);
        assert_eq!(CommandError::TimedOut("x".into()).exit().code(), 5);
        assert_eq!(CommandError::Ambiguous("x".into()).exit().code(), 2);
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_error() {
        assert_eq!(CommandError::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit(), Exit::Done);
    }
}
