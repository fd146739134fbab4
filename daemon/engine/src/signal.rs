//! What travels between the engine and the signaling server, in the engine's own words.

use kith_crypto::identity::ClientId;

/// The part of an invite, or of a room's secret, that the server sees.
pub type Token = [u8; 16];

/// Under which right a payload is relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// Both devices watch each other.
    Contact,
    /// One of them holds this invite open.
    Invite(Token),
    /// Both are in this room.
    Room(Token),
}

/// How the server logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoggingMode {
    /// Addresses are shortened.
    Active,
    /// Nothing about connections is written.
    Disabled,
    /// Full addresses are written.
    Debug,
}

/// The server's logging mode, as every user interface shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingNotice {
    /// The mode.
    pub mode: LoggingMode,
    /// What the operator says about it.
    pub text: String,
}

/// One entry of the ICE configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:` and `turn:` URLs (RFC 7064, RFC 7065).
    pub urls: Vec<String>,
    /// TURN user name; empty for STUN.
    pub username: String,
    /// TURN password; empty for STUN.
    pub password: String,
}

impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// The ICE configuration that the server hands out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ice {
    /// STUN and TURN servers; empty where the operator configured none.
    pub servers: Vec<IceServer>,
    /// How long the credentials live.
    pub lifetime_s: u32,
}

/// Why the server refused this device. Each needs a person, or passes with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedBy {
    /// The signature or the server name in it was not accepted.
    BadLogin,
    /// Another running device uses this identity.
    IdentityInUse,
    /// The server speaks another major version.
    Version,
    /// Any other reason; the client tries again by itself.
    Busy,
}

/// From the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Logged in.
    Connected(LoggingNotice),
    /// The connection is gone; the client is trying again.
    Disconnected,
    /// The server ended the login.
    Refused(RefusedBy),
    /// Somebody else tried to log in with this identity.
    Intruder,
    /// The logging mode has changed.
    Notice(LoggingNotice),
    /// A watched device came or went.
    Presence {
        /// Which one.
        peer: ClientId,
        /// Whether it is there.
        online: bool,
    },
    /// A device came into a room that this one is in, or left it.
    RoomPresence {
        /// The room's token.
        room: Token,
        /// Which device.
        peer: ClientId,
        /// Whether it is there.
        present: bool,
    },
    /// A room has no place left.
    RoomFull(Token),
    /// A sealed payload.
    Relayed {
        /// Who sent it, as the server says.
        from: ClientId,
        /// Under which right.
        via: Via,
        /// The sealed payload.
        payload: Vec<u8>,
    },
    /// A payload could not be relayed.
    Undelivered {
        /// For whom it was.
        to: ClientId,
        /// Under which right.
        via: Via,
        /// Whether the invite is not open (any more).
        no_such_invite: bool,
    },
    /// The ICE configuration that was asked for.
    Ice(Ice),
}

/// To the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalOut {
    /// Watch these devices, and no longer those.
    Watch {
        /// To add.
        add: Vec<ClientId>,
        /// To remove.
        remove: Vec<ClientId>,
    },
    /// Show this device in a room, and who else is there.
    EnterRoom(Token),
    /// No longer.
    LeaveRoom(Token),
    /// Let payloads with this token through to this device.
    OpenInvite(Token),
    /// No longer.
    CloseInvite(Token),
    /// Relay a sealed payload.
    Relay {
        /// To whom.
        to: ClientId,
        /// Under which right.
        via: Via,
        /// The sealed payload.
        payload: Vec<u8>,
    },
    /// Ask for the ICE configuration.
    RequestIce,
}
