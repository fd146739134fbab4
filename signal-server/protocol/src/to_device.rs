//! From the server to a device.

use kith_crypto::identity::ClientId;
use kith_crypto::version::Version;
use serde::{Deserialize, Serialize};

use crate::codec::{self, ProtocolError, at_most};
use crate::limits::{ICE_SERVERS_MAX, ICE_TEXT_BYTES_MAX, ICE_URLS_MAX, RELAY_BYTES_MAX, TEXT_BYTES_MAX};
use crate::{Token, Via};

const CHALLENGE: u8 = 0x01;
const WELCOME: u8 = 0x03;
const GOODBYE: u8 = 0x04;
const INTRUDER: u8 = 0x05;
const NOTICE: u8 = 0x06;
const PRESENCE: u8 = 0x11;
const ROOM_PRESENCE: u8 = 0x14;
const ROOM_FULL: u8 = 0x15;
const RELAYED: u8 = 0x31;
const UNDELIVERED: u8 = 0x32;
const ICE_SERVERS: u8 = 0x41;

/// A message from the server to a device (docs/protocol.md §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToDevice {
    /// The server's first message: what the login has to sign.
    Challenge(Challenge),
    /// Logged in.
    Welcome(Welcome),
    /// The server is about to close the connection.
    Goodbye(Goodbye),
    /// Somebody else tried to log in with this identity.
    Intruder,
    /// How the server logs has changed.
    Notice(Notice),
    /// A watched device came or went.
    Presence(Presence),
    /// A device came to a room that this one is in, or went.
    RoomPresence(RoomPresence),
    /// This device is not in the room: there is no place left.
    RoomFull(Token),
    /// A payload from another device.
    Relayed(Relayed),
    /// A payload that went nowhere.
    Undelivered(Undelivered),
    /// The ICE configuration.
    IceServers(IceServers),
}

/// What a login signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// What the server speaks.
    pub version: Version,
    /// Random, for this connection only.
    pub nonce: [u8; 32],
}

/// The answer to a login that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// What the server speaks.
    pub version: Version,
    /// How it logs.
    pub notice: Notice,
}

/// How the server logs, in the operator's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// How much is written.
    pub mode: LoggingMode,
    /// What the operator says about it, at most 512 bytes.
    pub text: String,
}

/// How much the server writes about connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum LoggingMode {
    /// Shortened addresses (1).
    Active,
    /// Nothing (2).
    Disabled,
    /// Full addresses (3).
    Debug,
}

/// The last message on a connection, where the server still has a say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// Why.
    pub reason: GoodbyeReason,
    /// The same for a person, at most 512 bytes.
    pub text: String,
    /// When trying again makes sense; 0 leaves it to the device.
    pub retry_after_s: u32,
}

/// Why the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
pub enum GoodbyeReason {
    /// The signature, or the server name in it, was not accepted (1).
    BadLogin,
    /// Another running device uses this identity (2).
    IdentityInUse,
    /// Another major version (3).
    UnsupportedVersion,
    /// The login did not come in time (4).
    TooSlow,
    /// Over a limit (5).
    TooMany,
    /// The server stops (6).
    ShuttingDown,
    /// The same device has connected again (7).
    Replaced,
    /// A reason of a later version.
    Other(u8),
}

/// A watched device came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Which one.
    pub peer: ClientId,
    /// Whether it is there.
    pub online: bool,
}

/// A device came to a room, or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPresence {
    /// Which room.
    pub room: Token,
    /// Which device.
    pub peer: ClientId,
    /// Whether it is there.
    pub present: bool,
}

/// A payload from another device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relayed {
    /// Who logged in on the connection that it came from.
    pub from: ClientId,
    /// Under which right.
    pub via: Via,
    /// Opaque to the server.
    #[serde(with = "crate::bytes::string")]
    pub payload: Vec<u8>,
}

/// A payload that went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelivered {
    /// For whom it was.
    pub to: ClientId,
    /// Under which right.
    pub via: Via,
    /// Why.
    pub reason: UndeliveredReason,
}

/// Why a payload went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
pub enum UndeliveredReason {
    /// Offline, or it does not watch the sender: these look alike (1).
    NotReachable,
    /// Nobody holds that invite open (2).
    NoSuchInvite,
    /// Over a limit that passes with time (3).
    TooMany,
    /// The payload is longer than the server relays (4).
    TooLarge,
    /// A reason of a later version.
    Other(u8),
}

/// The ICE configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServers {
    /// Empty where the operator configured none.
    #[serde(deserialize_with = "codec::short_list::<_, _, ICE_SERVERS_MAX>")]
    pub servers: Vec<IceServer>,
    /// How long the credentials live.
    pub lifetime_s: u32,
}

/// One entry of the ICE configuration.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// `stun:` and `turn:` URLs (RFC 7064, RFC 7065).
    #[serde(deserialize_with = "codec::short_list::<_, _, ICE_URLS_MAX>")]
    pub urls: Vec<String>,
    /// TURN user name; empty for STUN.
    pub username: String,
    /// TURN password; empty for STUN.
    pub password: String,
}

impl std::fmt::Debug for IceServer {
    /// Leaves out the credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).finish_non_exhaustive()
    }
}

impl ToDevice {
    /// Gives the bytes of one WebSocket message.
    ///
    /// # Errors
    /// `OverLimit` if a text, a list or the whole is longer than it may be.
    pub fn encode(&self) -> Result<Vec<u8>, ProtocolError> {
        self.check()?;
        match self {
            Self::Challenge(challenge) => codec::encode(CHALLENGE, challenge),
            Self::Welcome(welcome) => codec::encode(WELCOME, welcome),
            Self::Goodbye(goodbye) => codec::encode(GOODBYE, goodbye),
            Self::Intruder => codec::encode(INTRUDER, &()),
            Self::Notice(notice) => codec::encode(NOTICE, notice),
            Self::Presence(presence) => codec::encode(PRESENCE, presence),
            Self::RoomPresence(presence) => codec::encode(ROOM_PRESENCE, presence),
            Self::RoomFull(room) => codec::encode(ROOM_FULL, room),
            Self::Relayed(relayed) => codec::encode(RELAYED, relayed),
            Self::Undelivered(undelivered) => codec::encode(UNDELIVERED, undelivered),
            Self::IceServers(servers) => codec::encode(ICE_SERVERS, servers),
        }
    }

    /// Reads one WebSocket message; `None` is an optional kind that this version does not know.
    ///
    /// # Errors
    /// Whatever is not exactly one message, or over a limit.
    pub fn decode(message: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let tlv = codec::envelope(message)?;
        let bytes = tlv.payload;
        let message = match tlv.kind {
            CHALLENGE => Self::Challenge(codec::payload(bytes)?),
            WELCOME => Self::Welcome(codec::payload(bytes)?),
            GOODBYE => Self::Goodbye(codec::payload(bytes)?),
            INTRUDER => {
                codec::payload::<()>(bytes)?;
                Self::Intruder
            }
            NOTICE => Self::Notice(codec::payload(bytes)?),
            PRESENCE => Self::Presence(codec::payload(bytes)?),
            ROOM_PRESENCE => Self::RoomPresence(codec::payload(bytes)?),
            ROOM_FULL => Self::RoomFull(codec::payload(bytes)?),
            RELAYED => Self::Relayed(codec::payload(bytes)?),
            UNDELIVERED => Self::Undelivered(codec::payload(bytes)?),
            ICE_SERVERS => Self::IceServers(codec::payload(bytes)?),
            _ => return codec::unknown(&tlv),
        };
        message.check()?;
        Ok(Some(message))
    }

    fn check(&self) -> Result<(), ProtocolError> {
        match self {
            Self::Welcome(Welcome { notice, .. }) | Self::Notice(notice) => {
                at_most(notice.text.len(), TEXT_BYTES_MAX, "a notice's text")
            }
            Self::Goodbye(goodbye) => at_most(goodbye.text.len(), TEXT_BYTES_MAX, "a goodbye's text"),
            Self::IceServers(IceServers { servers, .. }) => {
                at_most(servers.len(), ICE_SERVERS_MAX, "a list of ICE servers")?;
                servers.iter().try_for_each(IceServer::check)
            }
            Self::Relayed(relayed) => at_most(relayed.payload.len(), RELAY_BYTES_MAX, "a relayed payload"),
            Self::Challenge(_)
            | Self::Intruder
            | Self::Presence(_)
            | Self::RoomPresence(_)
            | Self::RoomFull(_)
            | Self::Undelivered(_) => Ok(()),
        }
    }
}

impl IceServer {
    fn check(&self) -> Result<(), ProtocolError> {
        at_most(self.urls.len(), ICE_URLS_MAX, "a list of ICE URLs")?;
        self.urls
            .iter()
            .chain([&self.username, &self.password])
            .try_for_each(|text| at_most(text.len(), ICE_TEXT_BYTES_MAX, "an ICE URL or name"))
    }
}

impl TryFrom<u8> for LoggingMode {
    type Error = ProtocolError;

    fn try_from(mode: u8) -> Result<Self, ProtocolError> {
        match mode {
            1 => Ok(Self::Active),
            2 => Ok(Self::Disabled),
            3 => Ok(Self::Debug),
            other => Err(ProtocolError::UnknownMode(other)),
        }
    }
}

impl From<LoggingMode> for u8 {
    fn from(mode: LoggingMode) -> Self {
        match mode {
            LoggingMode::Active => 1,
            LoggingMode::Disabled => 2,
            LoggingMode::Debug => 3,
        }
    }
}

impl From<u8> for GoodbyeReason {
    fn from(reason: u8) -> Self {
        match reason {
            1 => Self::BadLogin,
            2 => Self::IdentityInUse,
            3 => Self::UnsupportedVersion,
            4 => Self::TooSlow,
            5 => Self::TooMany,
            6 => Self::ShuttingDown,
            7 => Self::Replaced,
            other => Self::Other(other),
        }
    }
}

impl From<GoodbyeReason> for u8 {
    fn from(reason: GoodbyeReason) -> Self {
        match reason {
            GoodbyeReason::BadLogin => 1,
            GoodbyeReason::IdentityInUse => 2,
            GoodbyeReason::UnsupportedVersion => 3,
            GoodbyeReason::TooSlow => 4,
            GoodbyeReason::TooMany => 5,
            GoodbyeReason::ShuttingDown => 6,
            GoodbyeReason::Replaced => 7,
            GoodbyeReason::Other(other) => other,
        }
    }
}

impl From<u8> for UndeliveredReason {
    fn from(reason: u8) -> Self {
        match reason {
            1 => Self::NotReachable,
            2 => Self::NoSuchInvite,
            3 => Self::TooMany,
            4 => Self::TooLarge,
            other => Self::Other(other),
        }
    }
}

impl From<UndeliveredReason> for u8 {
    fn from(reason: UndeliveredReason) -> Self {
        match reason {
            UndeliveredReason::NotReachable => 1,
            UndeliveredReason::NoSuchInvite => 2,
            UndeliveredReason::TooMany => 3,
            UndeliveredReason::TooLarge => 4,
            UndeliveredReason::Other(other) => other,
        }
    }
}
