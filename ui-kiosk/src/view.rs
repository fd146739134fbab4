//! What the page shows, free of D-Bus and of HTML.

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
    /// What the server says about its log; none before it has said anything.
    pub(crate) notice: Option<Notice>,
    /// Contacts, in the order in which they are shown.
    pub(crate) peers: Vec<Peer>,
}

/// The connection to the signaling server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signaling {
    /// A state that this page does not know.
    Unknown,
    /// Not connected.
    Offline,
    /// Connecting, or waiting to.
    Connecting,
    /// Logged in.
    Online,
    /// Another device is logged in with this identity.
    IdentityInUse,
}

/// What the signaling server says about its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// How much it logs.
    pub(crate) mode: NoticeMode,
    /// The operator's own words.
    pub(crate) text: String,
}

/// How much the signaling server logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoticeMode {
    /// A mode that this page does not know.
    Unknown,
    /// Connections, with shortened addresses.
    Active,
    /// Nothing about connections.
    Disabled,
    /// Full addresses.
    Debug,
}

/// One contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its name, as this device's owner or the peer chose it.
    pub(crate) name: String,
    /// Whether it is online.
    pub(crate) presence: Presence,
    /// The connection to it.
    pub(crate) link: Link,
}

/// Whether a contact is online.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Nobody can say.
    Unknown,
    /// Not at the server.
    Offline,
    /// At the server, or connected to this device.
    Online,
}

/// The connection to a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// A state that this page does not know.
    Unknown,
    /// None.
    None,
    /// Device to device; each sees the other's address.
    Direct,
    /// Through a relay.
    Relayed,
}
