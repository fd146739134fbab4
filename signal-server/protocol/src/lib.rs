//! The messages between a device and the signaling server (docs/protocol.md, chapter 3).
//!
//! One WebSocket message is one TLV; its payload is postcard. Decoding is where bytes become typed
//! values, once; whoever holds a [`ToServer`] or a [`ToDevice`] need not check it again, except for
//! what depends on state (how many ids are watched, who holds an invite).
//!
//! Invariants: decoding never panics and never allocates more than a small multiple of its input;
//! encoding never gives more than [`limits::MESSAGE_BYTES_MAX`] bytes; what one side encodes the
//! other decodes to the same value.
//!
//! Deliberately absent: sockets, clocks, and any rule about who may send what to whom.

mod bytes;
mod codec;
pub mod limits;
mod to_device;
mod to_server;

pub use codec::ProtocolError;
pub use to_device::{
    Challenge, Goodbye, GoodbyeReason, IceServer, IceServers, LoggingMode, Notice, Presence, Relayed, RoomPresence,
    ToDevice, Undelivered, UndeliveredReason, Welcome,
};
pub use to_server::{Login, Relay, ToServer, Watch};

use serde::{Deserialize, Serialize};

/// The path of the WebSocket below the configured URL (docs/protocol.md §3.1).
pub const PATH: &str = "/v1/device";

/// The WebSocket subprotocol that both sides name (docs/protocol.md §3.1).
pub const SUBPROTOCOL: &str = "kith.signal.1";

/// The part of an invite or of a room that the server sees, 16 bytes.
pub type Token = [u8; 16];

/// What tells two runs of a daemon with the same identity apart, 16 random bytes.
pub type Instance = [u8; 16];

/// Under which right a payload is relayed; postcard: `00`, or `01` or `02` and the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Via {
    /// Both devices watch each other.
    Contact,
    /// One of them holds this invite open.
    Invite(Token),
    /// Both are in this room.
    Room(Token),
}
