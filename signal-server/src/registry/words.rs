//! What servers that share their devices say to each other (docs/protocol.md §3.4).

use kith_crypto::identity::ClientId;
use kith_signal_protocol::{Instance, Token, Undelivered, Via};
use serde::{Deserialize, Serialize};

/// One server, for as long as it stays connected to the others; never used twice.
pub type NodeId = [u8; 16];

/// Who is to hear a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// The server where this device is logged in.
    Device(ClientId),
    /// The servers of the devices in this room.
    Room(Token),
    /// This server.
    Node(NodeId),
}

/// What the bus is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Hear what other servers say to this address.
    Listen(Address),
    /// No longer.
    Ignore(Address),
    /// Say something to other servers.
    Say {
        /// To which of them.
        to: Address,
        /// What.
        word: Word,
        /// The number to come back with if nobody hears it.
        asked: Option<u64>,
    },
}

/// What one server says to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// A device is logged in here; does anybody object?
    Claim {
        /// Which question this is.
        number: u64,
        /// Which device.
        device: ClientId,
        /// Which run of its daemon.
        instance: Instance,
        /// For how many ticks; 0 before it is welcome.
        age: u64,
    },
    /// The answer to a claim.
    Claimed {
        /// The claim's number.
        number: u64,
        /// The answer.
        verdict: Verdict,
    },
    /// A device here watches one there.
    Watch(Pair),
    /// It is watched back.
    WatchedBack(Pair),
    /// It does so no longer, or is gone.
    Unwatch(Pair),
    /// A payload for a device there.
    Relay(Passed),
    /// Such a payload went nowhere.
    Undelivered {
        /// Whose payload.
        from: ClientId,
        /// What it is told.
        undelivered: Undelivered,
    },
    /// A device here has entered a room.
    Enter {
        /// Which room.
        room: Token,
        /// Which device.
        device: ClientId,
        /// Whether this server has yet to learn who else is in it.
        asks: bool,
    },
    /// These devices here are in a room.
    Inside {
        /// Which room.
        room: Token,
        /// Which devices.
        devices: Vec<ClientId>,
    },
    /// There was no place for this device.
    Full {
        /// Which room.
        room: Token,
        /// Which device.
        device: ClientId,
    },
    /// A device here has left a room.
    Leave {
        /// Which room.
        room: Token,
        /// Which device.
        device: ClientId,
    },
    /// Needs no answer: where nobody hears it, the bus says so.
    Probe,
}

/// Two devices, of which one watches the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The one that watches.
    pub watcher: ClientId,
    /// The one that is watched.
    pub watched: ClientId,
}

/// A payload on its way to another server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Who sends it.
    pub from: ClientId,
    /// To whom.
    pub to: ClientId,
    /// Under which right.
    pub via: Via,
    /// Whether that right is known at the sender's server; else it is known at the receiver's.
    pub is_permitted: bool,
    /// Opaque.
    pub payload: Vec<u8>,
}

/// Who keeps an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Whoever claims it.
    Granted,
    /// A login of the same daemon that is younger.
    Outdone,
    /// Another daemon.
    InUse {
        /// Whether its owner had been told already.
        is_known: bool,
    },
}
