//! The enumerations. Each travels as `u`; 0 is unknown, and so is every number not listed here.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zbus::{Signature, Type};

/// Defines an enumeration that travels as a `u`, with the word that people and scripts read.
macro_rules! value {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            /// Not known, or newer than this program.
            #[default]
            Unknown,
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All values that this version knows, without unknown.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word for it, as command line and JSON use it.
            pub fn word(self) -> &'static str {
                match self {
                    Self::Unknown => "unknown",
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl From<u32> for $name {
            fn from(number: u32) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    _ => Self::Unknown,
                }
            }
        }

        impl From<$name> for u32 {
            fn from(value: $name) -> Self {
                match value {
                    $name::Unknown => 0,
                    $($name::$variant => $number,)*
                }
            }
        }

        impl Type for $name {
            const SIGNATURE: &'static Signature = &Signature::U32;
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u32((*self).into())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                u32::deserialize(deserializer).map(Self::from)
            }
        }
    };
}

value! {
    /// Whether the daemon can be used.
    DaemonState {
        /// There is no identity yet.
        NeedsSetUp = 1 "needs-set-up",
        /// The store is locked.
        Locked = 2 "locked",
        /// Everything is answered.
        Ready = 3 "ready",
    }
}

value! {
    /// The connection to the signaling server.
    Signaling {
        /// Not connected; the daemon is trying.
        Connecting = 1 "connecting",
        /// Logged in.
        Online = 2 "online",
        /// Refused: the server does not accept the signature, or is called by another name.
        BadLogin = 3 "bad-login",
        /// Refused: another running device uses this identity.
        IdentityInUse = 4 "identity-in-use",
        /// Refused: the server speaks another version.
        UnsupportedVersion = 5 "unsupported-version",
        /// Refused for now; the daemon tries again by itself.
        Busy = 6 "busy",
    }
}

value! {
    /// How the signaling server logs.
    LoggingMode {
        /// Addresses are shortened.
        Active = 1 "active",
        /// Nothing about connections is written.
        Disabled = 2 "disabled",
        /// Full addresses are written.
        Debug = 3 "debug",
    }
}

value! {
    /// How far a contact is trusted.
    Trust {
        /// The other side has not confirmed the pairing.
        Pending = 1 "pending",
        /// Paired; the identity is pinned.
        Paired = 2 "paired",
        /// Paired, and a person has compared the safety number.
        Verified = 3 "verified",
    }
}

value! {
    /// Whether a contact is there.
    Presence {
        /// It is not there.
        Offline = 1 "offline",
        /// It is there.
        Online = 2 "online",
    }
}

value! {
    /// The session with a contact.
    LinkState {
        /// No session.
        None = 1 "none",
        /// Between the two devices.
        Direct = 2 "direct",
        /// Over a relay.
        Relayed = 3 "relayed",
    }
}

value! {
    /// Who wrote a message.
    Direction {
        /// This device.
        Outgoing = 1 "outgoing",
        /// The contact.
        Incoming = 2 "incoming",
    }
}

value! {
    /// How far a message has come.
    MessageState {
        /// On the sender's disk.
        Queued = 1 "queued",
        /// On the receiver's disk, fsynced.
        Delivered = 2 "delivered",
        /// Somebody has read it there; in a room, everybody.
        Read = 3 "read",
    }
}

value! {
    /// How far a pairing has come.
    PairingState {
        /// An invite or a code waits for somebody.
        Waiting = 1 "waiting",
        /// The two devices are connecting.
        Connecting = 2 "connecting",
        /// Paired. Final.
        Done = 3 "done",
        /// Ended without a contact. Final.
        Failed = 4 "failed",
        /// Both devices show digits; the person here is to say whether they are the same.
        Comparing = 5 "comparing",
        /// The person here has confirmed the digits; the other one is to.
        Confirmed = 6 "confirmed",
    }
}

value! {
    /// How this device stands to a room.
    RoomState {
        /// It is on the roster.
        Joined = 1 "joined",
        /// It was taken off the roster.
        Removed = 2 "removed",
        /// The owner has signed two rosters of one version.
        Frozen = 3 "frozen",
    }
}

value! {
    /// What a task works at.
    TaskKind {
        /// Writes a backup.
        Export = 1 "export",
        /// Reads a backup.
        Import = 2 "import",
        /// Checks every value of the store.
        Check = 3 "check",
        /// Rewrites the store under a new data key.
        Rotation = 4 "rotation",
        /// Seals what lies in clear in the store.
        Sealing = 5 "sealing",
    }
}

value! {
    /// How far a task has come.
    TaskState {
        /// It works.
        Running = 1 "running",
        /// All of it was done. Final.
        Done = 2 "done",
        /// It could not be done. Final.
        Failed = 3 "failed",
        /// Somebody cancelled it. Final.
        Cancelled = 4 "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use zbus::wire::{LE, serialized::Context, to_bytes};

    use super::*;

    /// Checks one enumeration: numbers count from 1 without gaps and come back, words differ.
    macro_rules! check {
        ($($name:ident)*) => {
            $(
                for (index, value) in $name::ALL.iter().enumerate() {
                    let number = u32::from(*value);
                    assert_eq!(number as usize, index + 1, "{value:?}");
                    assert_eq!($name::from(number), *value);
                    assert!($name::ALL.iter().filter(|other| other.word() == value.word()).count() == 1);
                }
                assert_eq!(u32::from($name::Unknown), 0);
            )*
        };
    }

    #[test]
    fn every_number_comes_back() {
        check!(DaemonState Signaling LoggingMode Trust Presence LinkState Direction MessageState PairingState);
        check!(RoomState TaskKind TaskState);
    }

    #[test]
    fn a_number_from_a_newer_daemon_reads_as_unknown() {
        let bytes = to_bytes(Context::new(LE, 0), &999u32).unwrap();
        let (state, _): (DaemonState, _) = bytes.deserialize().unwrap();
        assert_eq!(state, DaemonState::Unknown);
        assert_eq!(DaemonState::from(0), DaemonState::Unknown);
    }
}
