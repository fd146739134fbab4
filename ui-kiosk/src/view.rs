//! What the page shows, as one value.

use kith_dbus::{LinkState, Notice, Presence, Signaling};

/// What there is to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// The messenger does not answer on the bus.
    Away,
    /// The messenger waits for its first set-up.
    NeedsSetUp,
    /// The messenger is locked.
    Locked {
        /// Own client id.
        client_id: String,
    },
    /// The messenger is in use.
    Ready(Status),
}

/// The state of a messenger in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// Own display name.
    pub(crate) name: String,
    /// Own client id.
    pub(crate) client_id: String,
    /// The connection to the signaling server.
    pub(crate) signaling: Signaling,
    /// What the server says about its log.
    pub(crate) notice: Notice,
    /// Contacts, in the order in which they are shown.
    pub(crate) peers: Vec<Peer>,
}

/// One contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its name on this device.
    pub(crate) name: String,
    /// Whether it is there.
    pub(crate) presence: Presence,
    /// The session with it.
    pub(crate) link: LinkState,
}
