//! Who may do what: asked before an interface sees a call.
//!
//! The bus's own policy decides who reaches the service at all. Behind it each method and each writable property is
//! subject to one action of polkit ([`kith_dbus::ACTIONS`]), and [`Guarded`] asks for it; where polkit is not installed,
//! the bus's policy is enough for all but wiping. What is dangerous takes more: root, or a connection that has proven
//! the PIN within the last minutes ([`Elevations`]).
//!
//! Nothing here reaches the loop. A question to the bus or to polkit holds up the call that needs its answer, for a
//! bounded time, and nobody else.

mod authority;
mod elevation;
mod guarded;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kith_dbus::{Action, Refusal, RefusalName, action_of};
use tokio::time::timeout;
use zbus::Connection;
use zbus::message::Header;

use authority::Verdict;
pub(super) use authority::{ANSWER_WAIT, Authority};
use elevation::Elevations;
pub(super) use elevation::{ELEVATED_S, Epoch};
pub(super) use guarded::Guarded;

/// Callers whose users are remembered. A name is never given to another connection, so what is remembered stays true.
const USERS_MAX: usize = 64;

/// How long the bus may take to say whose a connection is.
const USER_WAIT: Duration = Duration::from_secs(5);

/// Users who may do everything: whoever can read the daemon's memory or its files could do it anyway.
#[derive(Clone, Debug)]
pub(super) struct Trusted(BTreeSet<u32>);

/// What is asked before a call.
#[derive(Debug)]
pub(super) struct Access {
    trusted: Trusted,
    authority: Authority,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    users: BTreeMap<String, u32>,
    elevations: Elevations,
}

impl Trusted {
    /// Root, and the daemon's own user.
    pub(super) fn root_and_own() -> Self {
        Self(BTreeSet::from([0, rustix::process::geteuid().as_raw()]))
    }

    /// Nobody: every caller has to be allowed what it does.
    #[cfg(test)]
    pub(super) fn nobody() -> Self {
        Self(BTreeSet::new())
    }
}

impl Access {
    pub(super) fn new(trusted: Trusted, authority: Authority) -> Self {
        Self { trusted, authority, known: Mutex::default() }
    }

    /// Whether the caller may call this method or set this property.
    ///
    /// # Errors
    ///
    /// `NotAuthorized`, with what would help.
    pub(super) async fn may(
        &self,
        connection: &Connection,
        call: &Header<'_>,
        interface: &str,
        member: &str,
    ) -> Result<(), Refusal> {
        let action = action_of(interface, member).ok_or_else(|| not_listed(member))?;
        let caller = caller_of(call)?;
        if self.is_trusted(connection, caller).await? || (action == Action::Wipe && self.is_elevated(caller)) {
            return Ok(());
        }
        match self.authority.ask(connection, call, caller, action).await {
            Verdict::Allowed => Ok(()),
            Verdict::Absent if action != Action::Wipe => Ok(()),
            Verdict::Absent => Err(dangerous()),
            Verdict::Refused if action == Action::Wipe => Err(dangerous()),
            Verdict::Refused => Err(refused(action)),
            Verdict::Silent => Err(silent()),
        }
    }

    /// Whether the caller may do what is dangerous.
    ///
    /// # Errors
    ///
    /// `NotAuthorized`, with what would help.
    pub(super) async fn may_endanger(&self, connection: &Connection, call: &Header<'_>) -> Result<(), Refusal> {
        let caller = caller_of(call)?;
        if self.is_elevated(caller) || self.is_trusted(connection, caller).await? { Ok(()) } else { Err(dangerous()) }
    }

    /// What an elevation that begins now belongs to: when it is granted, nothing may have ended all of them meanwhile.
    pub(super) fn epoch(&self) -> Epoch {
        self.known().elevations.epoch()
    }

    /// Lets the caller do what is dangerous for a while; says for how many seconds, or `None` if all elevations have
    /// ended since its own began.
    ///
    /// # Errors
    ///
    /// `NotAuthorized` for a call without a sender, which no bus delivers.
    pub(super) fn elevate(&self, call: &Header<'_>, begun: Epoch) -> Result<Option<u32>, Refusal> {
        let caller = caller_of(call)?;
        Ok(self.known().elevations.grant(caller, begun, Instant::now()).then_some(ELEVATED_S))
    }

    /// Takes back what the caller has been granted.
    ///
    /// # Errors
    ///
    /// As [`Access::elevate`].
    pub(super) fn step_down(&self, call: &Header<'_>) -> Result<(), Refusal> {
        let caller = caller_of(call)?;
        self.known().elevations.end(caller);
        Ok(())
    }

    /// Takes back what anybody has been granted.
    pub(super) fn end_elevations(&self) {
        self.known().elevations.end_all();
    }

    fn is_elevated(&self, caller: &str) -> bool {
        self.known().elevations.holds(caller, Instant::now())
    }

    async fn is_trusted(&self, connection: &Connection, caller: &str) -> Result<bool, Refusal> {
        let known = self.known().users.get(caller).copied();
        let user = match known {
            Some(user) => user,
            None => {
                let user = user_of(connection, caller).await.ok_or_else(silent)?;
                let mut known = self.known();
                if known.users.len() >= USERS_MAX {
                    known.users.clear();
                }
                known.users.insert(caller.to_owned(), user);
                user
            }
        };
        Ok(self.trusted.0.contains(&user))
    }

    // Nothing is half done behind a poisoned lock: each change is one insertion or removal.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose a connection is, in the bus's words; `None` if it does not say, or the connection is gone.
async fn user_of(connection: &Connection, caller: &str) -> Option<u32> {
    const BUS: &str = "org.freedesktop.DBus";
    let asked = connection.call_method(Some(BUS), "/org/freedesktop/DBus", Some(BUS), "GetConnectionUnixUser", &caller);
    let reply = timeout(USER_WAIT, asked).await.ok()?.ok()?;
    reply.body().deserialize().ok()
}

fn caller_of<'c>(call: &'c Header<'_>) -> Result<&'c str, Refusal> {
    call.sender().map(|name| name.as_str()).ok_or_else(silent)
}

fn not_authorized(sentence: impl Into<String>) -> Refusal {
    Refusal::new(RefusalName::NotAuthorized, sentence)
}

fn not_listed(member: impl fmt::Display) -> Refusal {
    not_authorized(format!("Nobody may use {member}: it belongs to no action of polkit."))
}

fn dangerous() -> Refusal {
    not_authorized("This is dangerous and takes the PIN or the store's secret: call Elevate with it first, or be root.")
}

fn refused(action: Action) -> Refusal {
    not_authorized(format!("polkit does not allow this user {}: ask whoever manages this device.", action.id()))
}

fn silent() -> Refusal {
    not_authorized("Who may do this could not be found out in time: try again, or see whether polkit works.")
}
