//! From a device to the server.

use kith_crypto::identity::{Card, ClientId};
use kith_crypto::version::Version;
use serde::{Deserialize, Serialize};

use crate::codec::{self, ProtocolError, at_most};
use crate::limits::WATCH_IDS_MAX;
use crate::{Instance, Token, Via};

const LOGIN: u8 = 0x02;
const WATCH: u8 = 0x10;
const ENTER_ROOM: u8 = 0x12;
const LEAVE_ROOM: u8 = 0x13;
const OPEN_INVITE: u8 = 0x20;
const CLOSE_INVITE: u8 = 0x21;
const RELAY: u8 = 0x30;
const ICE_REQUEST: u8 = 0x40;

/// A message from a device to the server (docs/protocol.md §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToServer {
    /// The answer to the challenge, and the first message of a device.
    Login(Box<Login>),
    /// Watch these devices, and no longer those.
    Watch(Watch),
    /// Say to the others in this room that this device is there, and tell it of them.
    EnterRoom(Token),
    /// No longer.
    LeaveRoom(Token),
    /// Let payloads with this token through to this device.
    OpenInvite(Token),
    /// No longer.
    CloseInvite(Token),
    /// Pass a sealed payload on.
    Relay(Relay),
    /// Ask for the ICE configuration.
    IceRequest,
}

/// Who a device is, and its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// What the device speaks.
    pub version: Version,
    /// Its public identity; decoding has verified the card's own signature.
    pub card: Card,
    /// Which run of the daemon this is.
    pub instance: Instance,
    /// Over server name, nonce and public identity (docs/protocol.md §3.2); not yet verified.
    #[serde(with = "crate::bytes::signature")]
    pub signature: [u8; 64],
}

/// A change of what a device watches; removals come first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Ids to add.
    pub add: Vec<ClientId>,
    /// Ids to remove.
    pub remove: Vec<ClientId>,
}

/// A payload to pass on.
///
/// A payload above [`RELAY_BYTES_MAX`](crate::limits::RELAY_BYTES_MAX) decodes: it is answered with
/// `undelivered(too large)` and does not end the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// To whom.
    pub to: ClientId,
    /// Under which right.
    pub via: Via,
    /// Opaque to the server.
    #[serde(with = "crate::bytes::string")]
    pub payload: Vec<u8>,
}

impl ToServer {
    /// Gives the bytes of one WebSocket message.
    ///
    /// # Errors
    /// `OverLimit` if they would be more than a message holds.
    pub fn encode(&self) -> Result<Vec<u8>, ProtocolError> {
        self.check()?;
        match self {
            Self::Login(login) => codec::encode(LOGIN, login),
            Self::Watch(watch) => codec::encode(WATCH, watch),
            Self::EnterRoom(token) => codec::encode(ENTER_ROOM, token),
            Self::LeaveRoom(token) => codec::encode(LEAVE_ROOM, token),
            Self::OpenInvite(token) => codec::encode(OPEN_INVITE, token),
            Self::CloseInvite(token) => codec::encode(CLOSE_INVITE, token),
            Self::Relay(relay) => codec::encode(RELAY, relay),
            Self::IceRequest => codec::encode(ICE_REQUEST, &()),
        }
    }

    /// Reads one WebSocket message; `None` is an optional kind that this version does not know.
    ///
    /// # Errors
    /// Whatever is not exactly one message.
    pub fn decode(message: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let tlv = codec::envelope(message)?;
        let bytes = tlv.payload;
        let message = match tlv.kind {
            LOGIN => Self::Login(codec::payload(bytes)?),
            WATCH => Self::Watch(codec::payload(bytes)?),
            ENTER_ROOM => Self::EnterRoom(codec::payload(bytes)?),
            LEAVE_ROOM => Self::LeaveRoom(codec::payload(bytes)?),
            OPEN_INVITE => Self::OpenInvite(codec::payload(bytes)?),
            CLOSE_INVITE => Self::CloseInvite(codec::payload(bytes)?),
            RELAY => Self::Relay(codec::payload(bytes)?),
            ICE_REQUEST => {
                codec::payload::<()>(bytes)?;
                Self::IceRequest
            }
            _ => return codec::unknown(&tlv),
        };
        message.check()?;
        Ok(Some(message))
    }

    fn check(&self) -> Result<(), ProtocolError> {
        match self {
            Self::Watch(Watch { add, remove }) => at_most(add.len() + remove.len(), WATCH_IDS_MAX, "a list of ids"),
            Self::Login(_)
            | Self::EnterRoom(_)
            | Self::LeaveRoom(_)
            | Self::OpenInvite(_)
            | Self::CloseInvite(_)
            | Self::Relay(_)
            | Self::IceRequest => Ok(()),
        }
    }
}
