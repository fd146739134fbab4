//! The question to polkit.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use kith_dbus::Action;
use tokio::time::timeout;
use tracing::{debug, warn};
use zbus::fdo;
use zbus::message::{Flags, Header};
use zbus::{Connection, Variant};

const SERVICE: &str = "org.freedesktop.PolicyKit1";
const PATH: &str = "/org/freedesktop/PolicyKit1/Authority";
const INTERFACE: &str = "org.freedesktop.PolicyKit1.Authority";

/// `AllowUserInteraction` of `CheckAuthorizationFlags`.
const MAY_INTERACT: u32 = 1;

/// How long an answer may take; polkit may have to be started first.
pub(in crate::bus) const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// The same where somebody is asked for a password: below what most callers wait for a reply, which is 25 s.
const PASSWORD_WAIT: Duration = Duration::from_secs(20);

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bus) enum Authority {
    /// polkit, on the bus that the call came over; so long may it think.
    Polkit(Duration),
    /// Nobody: the bus is that of one user.
    Nobody,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    Refused,
    /// polkit is not installed.
    Absent,
    /// It is, but gave no answer that can be used.
    Silent,
}

/// Of `CheckAuthorization`: whether it is allowed, whether a password would help, and details.
type Answer = (bool, bool, HashMap<String, String>);

impl Authority {
    /// Asks whether a caller may do something.
    pub(super) async fn ask(self, connection: &Connection, call: &Header<'_>, caller: &str, action: Action) -> Verdict {
        match self {
            Self::Nobody => Verdict::Absent,
            Self::Polkit(wait) => ask_polkit(connection, call, caller, action, wait).await,
        }
    }
}

async fn ask_polkit(
    connection: &Connection,
    call: &Header<'_>,
    caller: &str,
    action: Action,
    wait: Duration,
) -> Verdict {
    let may_interact = call.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
    let (flags, wait) = if may_interact { (MAY_INTERACT, PASSWORD_WAIT) } else { (0, wait) };
    let subject = ("system-bus-name", BTreeMap::from([("name", Variant::from(caller))]));
    let details = BTreeMap::<&str, &str>::new();
    let body = (subject, action.id(), details, flags, "");
    let asked = connection.call_method(Some(SERVICE), PATH, Some(INTERFACE), "CheckAuthorization", &body);
    let reply = match timeout(wait, asked).await {
        Err(_) => {
            warn!(action = action.id(), "polkit does not answer");
            return Verdict::Silent;
        }
        Ok(Err(error)) if is_absent(&error) => return Verdict::Absent,
        Ok(Err(error)) => {
            warn!(action = action.id(), %error, "polkit does not decide");
            return Verdict::Silent;
        }
        Ok(Ok(reply)) => reply,
    };
    match reply.body().deserialize::<Answer>() {
        Ok((true, _, _)) => Verdict::Allowed,
        Ok((false, would_ask, _)) => {
            debug!(action = action.id(), would_ask, "polkit has refused");
            Verdict::Refused
        }
        Err(error) => {
            warn!(action = action.id(), %error, "polkit's answer is none");
            Verdict::Silent
        }
    }
}

/// Whether nobody has the name, and nobody can be started who would.
fn is_absent(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::FDO(error)
        if matches!(**error, fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_)))
}
