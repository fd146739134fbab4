//! What can go wrong with a call: the daemon's refusals by name, and the bus itself.

use std::fmt;

use zbus::{DBusError, message, names::ErrorName};

/// What precedes the name of a refusal on the bus.
const PREFIX: &str = "org.kith.Messenger1.Error.";

/// The result of a call.
pub type Result<T> = std::result::Result<T, Failure>;

/// Defines the names, each as it stands on the bus after the prefix.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why the daemon refused a call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RefusalName {
            $($(#[$doc])* $name,)*
        }

        impl RefusalName {
            /// All names.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name as it stands on the bus.
            pub fn full(self) -> &'static str {
                match self {
                    $(Self::$name => concat!("org.kith.Messenger1.Error.", stringify!($name)),)*
                }
            }
        }
    };
}

names! {
    /// The store is locked.
    Locked,
    /// There is no identity yet.
    NotSetUp,
    /// There is an identity already.
    AlreadySetUp,
    /// The secret does not open the store.
    WrongSecret,
    /// Too many tries, or too many pairings at once.
    RateLimited,
    /// The caller may not do that.
    NotAuthorized,
    /// No such contact, pairing or message.
    NotFound,
    /// The contact has not confirmed the pairing.
    NotPaired,
    /// The contact is blocked.
    Blocked,
    /// Only the room's owner can do that.
    NotOwner,
    /// This device is not on the room's roster any more.
    NotAMember,
    /// The room's owner has signed two rosters of one version.
    RoomFrozen,
    /// The owner has to hand the room over first.
    OwnsRoom,
    /// An argument is out of its range.
    InvalidArgument,
    /// The body is too large.
    TooLarge,
    /// The outbox for this contact is full.
    QuotaExceeded,
    /// The text is not an invite.
    InvalidInvite,
    /// The invite is past its time.
    InviteExpired,
    /// The invite names another signaling server.
    OtherServer,
    /// No space left on the device.
    StorageFull,
    /// The store could not be written.
    StorageFailed,
    /// The store is damaged.
    StorageCorrupt,
    /// The file is no backup, or a damaged one.
    BackupInvalid,
    /// The backup's file could not be read or written.
    BackupFailed,
    /// The backup is that of another device.
    OtherDevice,
    /// A newer version is needed.
    Unsupported,
    /// The daemon is stopping.
    Stopping,
}

impl RefusalName {
    /// The name without its prefix.
    pub fn short(self) -> &'static str {
        self.full().strip_prefix(PREFIX).unwrap_or(self.full())
    }

    /// Reads the name as it stands on the bus.
    pub fn from_full(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.full() == name)
    }
}

/// A refusal: its name, and one sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub name: RefusalName,
    /// For people.
    pub sentence: String,
    /// Seconds until it is worth another try, where that is known: a second argument, `u`, behind the sentence.
    pub retry_after_s: Option<u32>,
}

impl Refusal {
    /// A refusal with its sentence.
    pub fn new(name: RefusalName, sentence: impl Into<String>) -> Self {
        Self { name, sentence: sentence.into(), retry_after_s: None }
    }

    /// The same, with the seconds until it is worth another try.
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Refusal {}

impl DBusError for Refusal {
    fn create_reply(&self, call: &message::Header<'_>) -> zbus::Result<zbus::Message> {
        let reply = zbus::Message::error(call, self.name.full());
        match self.retry_after_s {
            Some(seconds) => reply.build(&(&self.sentence, seconds)),
            None => reply.build(&self.sentence),
        }
    }

    fn name(&self) -> ErrorName<'_> {
        ErrorName::from_static_str_unchecked(self.name.full())
    }

    fn description(&self) -> Option<&str> {
        Some(&self.sentence)
    }
}

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The daemon refused.
    Refused(Refusal),
    /// There is no bus, or no daemon on it, or it went away.
    NotReachable(String),
    /// The bus does not let this user talk to the daemon.
    Denied(String),
    /// No answer in time.
    TimedOut,
    /// Such an object is not there (any more).
    NoObject,
    /// An argument has a wrong type, or an option is not known to the daemon.
    InvalidArgs(String),
    /// Anything else.
    Bus(String),
}

impl Failure {
    /// The refusal's name, if the daemon refused.
    pub fn refusal(&self) -> Option<RefusalName> {
        match self {
            Self::Refused(refusal) => Some(refusal.name),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::NotReachable(text) => {
                write!(f, "The daemon cannot be reached ({text}): check that kithd is running on this bus.")
            }
            Self::Denied(text) => {
                write!(f, "The bus does not let this user talk to kithd ({text}): ask for access to it.")
            }
            Self::TimedOut => f.write_str("The daemon did not answer in time: try again."),
            Self::NoObject => f.write_str("This object is not there any more: list the objects again."),
            Self::InvalidArgs(text) => write!(
                f,
                "The daemon does not understand the arguments ({text}): check that it is as new as this program."
            ),
            Self::Bus(text) => write!(f, "The bus reported: {text}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, text, reply) => {
                let retry_after_s = reply.body().deserialize::<(&str, u32)>().ok().map(|(_, seconds)| seconds);
                match from_name(name.as_str(), text.unwrap_or_default()) {
                    Self::Refused(refusal) => Self::Refused(Refusal { retry_after_s, ..refusal }),
                    other => other,
                }
            }
            zbus::Error::FDO(error) => from_fdo(error.as_ref()),
            zbus::Error::DBus(error) => {
                from_name(error.name().as_str(), error.description().unwrap_or_default().to_owned())
            }
            zbus::Error::InputOutput(error) if error.kind() == std::io::ErrorKind::TimedOut => Self::TimedOut,
            zbus::Error::InputOutput(_)
            | zbus::Error::Connection(..)
            | zbus::Error::Address(_)
            | zbus::Error::Handshake(_) => Self::NotReachable(error.to_string()),
            other => Self::Bus(other.to_string()),
        }
    }
}

impl From<zbus::fdo::Error> for Failure {
    fn from(error: zbus::fdo::Error) -> Self {
        match error {
            zbus::fdo::Error::ZBus(error) => error.into(),
            error => from_fdo(&error),
        }
    }
}

fn from_fdo(error: &dyn DBusError) -> Failure {
    from_name(error.name().as_str(), error.description().unwrap_or_default().to_owned())
}

fn from_name(name: &str, text: String) -> Failure {
    if let Some(name) = RefusalName::from_full(name) {
        return Failure::Refused(Refusal::new(name, text));
    }
    match name.strip_prefix("org.freedesktop.DBus.Error.") {
        // Buses answer NoReply when the other side disconnects; time is kept by the client itself.
        Some("ServiceUnknown" | "NameHasNoOwner" | "Disconnected" | "NoServer" | "NoReply") => {
            Failure::NotReachable(text)
        }
        Some(spawn) if spawn.starts_with("Spawn") => Failure::NotReachable(text),
        Some("AccessDenied" | "AuthFailed") => Failure::Denied(text),
        Some("Timeout" | "TimedOut") => Failure::TimedOut,
        Some("UnknownObject" | "UnknownInterface" | "UnknownMethod") => Failure::NoObject,
        Some("InvalidArgs") => Failure::InvalidArgs(text),
        _ => Failure::Bus(format!("{name}: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(error: &dyn DBusError) -> Failure {
        let call = zbus::Message::method_call("/", "Foo").destination(":1.2").build(&()).unwrap();
        let reply = error.create_reply(&call.header()).unwrap();
        zbus::Error::from(reply).into()
    }

    #[test]
    fn every_refusal_comes_back_with_its_sentence() {
        for name in RefusalName::ALL {
            let refusal = Refusal::new(*name, "Do this.");
            assert_eq!(answered(&refusal), Failure::Refused(refusal.clone()));
            let timed = refusal.retry_after(7);
            assert_eq!(answered(&timed), Failure::Refused(timed));
            assert_eq!(name.full(), format!("{PREFIX}{}", name.short()));
        }
    }

    #[test]
    fn the_bus_without_a_daemon_is_told_apart_from_a_refusal() {
        assert_eq!(answered(&zbus::fdo::Error::ServiceUnknown("x".into())), Failure::NotReachable("x".into()));
        assert_eq!(answered(&zbus::fdo::Error::SpawnExecFailed("x".into())), Failure::NotReachable("x".into()));
        assert_eq!(answered(&zbus::fdo::Error::AccessDenied("x".into())), Failure::Denied("x".into()));
        assert_eq!(answered(&zbus::fdo::Error::UnknownObject("x".into())), Failure::NoObject);
        assert_eq!(answered(&zbus::fdo::Error::NoReply("x".into())), Failure::NotReachable("x".into()));
        assert_eq!(answered(&zbus::fdo::Error::TimedOut("x".into())), Failure::TimedOut);
    }

    #[test]
    fn a_name_from_a_newer_daemon_keeps_its_text() {
        let failure = from_name("org.kith.Messenger1.Error.Novel", "Do this first.".into());
        assert_eq!(failure, Failure::Bus("org.kith.Messenger1.Error.Novel: Do this first.".into()));
    }
}
