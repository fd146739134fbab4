//! What the engine tells its observers. No event carries a message body.

use kith_crypto::identity::ClientId;
use kith_crypto::room::RoomId;
use serde::{Deserialize, Serialize};

use crate::record::{ConversationId, RoomState};
use crate::{Dropped, LinkPath, LoggingNotice, MessageId, PairingId, RefusedBy};

/// Whether a peer is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Neither the server nor a session says that it is there.
    Offline,
    /// It is there.
    Online,
}

/// The session with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// No session.
    None,
    /// A session, with this path.
    Up(LinkPath),
}

/// How far a contact is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The other side has not confirmed the pairing.
    Pending,
    /// Paired; the identity is pinned.
    Paired,
    /// Paired, and a person has compared the safety number.
    Verified,
}

/// A contact, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Its client id.
    pub peer: ClientId,
    /// Its name.
    pub name: String,
    /// How far it is trusted.
    pub trust: Trust,
    /// Whether nothing of it gets in.
    pub blocked: bool,
    /// Whether it is there.
    pub presence: Presence,
    /// The session with it.
    pub link: LinkState,
    /// When it was last seen, milliseconds of UTC; 0 for never.
    pub seen_utc_ms: u64,
    /// The newest message of the conversation, 0 for none.
    pub last_seq: u64,
    /// How many received messages are unread.
    pub unread: u64,
    /// After how many seconds messages to come disappear, 0 for never.
    pub expiry_s: u32,
    /// How many of its messages were lost with a device that this one was restored from.
    pub missing: u64,
}

/// A room, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomView {
    /// Which one.
    pub room: RoomId,
    /// Its name.
    pub name: String,
    /// How this device stands to it.
    pub state: RoomState,
    /// Who may change it.
    pub owner: ClientId,
    /// The version of its roster.
    pub version: u64,
    /// Who is in it, this device too.
    pub members: Vec<MemberView>,
    /// The newest message, 0 for none.
    pub last_seq: u64,
    /// How many received messages are unread.
    pub unread: u64,
    /// After how many seconds messages to come disappear, 0 for never.
    pub expiry_s: u32,
}

/// A member of a room, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its client id.
    pub peer: ClientId,
    /// The owner's name for it.
    pub name: String,
    /// Whether the server says that it is there; of this device it says nothing.
    pub present: bool,
}

/// How far a pairing has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairingState {
    /// An invite is open or a code is shown or typed, and nobody has come yet.
    Waiting,
    /// The two devices are connecting.
    Connecting,
    /// Both devices show six digits, these if nobody is between; the person here is to say whether they are the same.
    Comparing(u32),
    /// The person here has said so; the other one is to.
    Confirmed,
    /// Paired with this peer. Final.
    Done(ClientId),
    /// Ended without a peer; the sentence says why. Final.
    Failed(String),
}

/// A pairing, as it is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PairingView {
    /// Its name.
    pub pairing: PairingId,
    /// How far it has come.
    pub state: PairingState,
    /// The invite text, for the inviter; else empty. A secret.
    pub uri: String,
    /// The code, where it is to be shown; else empty.
    pub code: String,
    /// When it ends, milliseconds of UTC.
    pub expires_utc_ms: u64,
}

impl std::fmt::Debug for PairingView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PairingView")
            .field("pairing", &self.pairing)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageState {
    /// On the sender's disk.
    Queued,
    /// On the receiver's disk, fsynced.
    Delivered,
}

/// The connection to the signaling server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalingState {
    /// Not connected; the client is trying.
    Connecting,
    /// Logged in.
    Online,
    /// Refused.
    Refused(RefusedBy),
}

/// Something that observers may want to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A contact is new or has changed; also once for each contact at the start.
    Peer(PeerView),
    /// A contact is gone.
    PeerRemoved(ClientId),
    /// A room is new or has changed; also once for each room at the start.
    Room(RoomView),
    /// A room is gone.
    RoomRemoved(RoomId),
    /// A pairing is new or has changed. After a final state it is gone.
    Pairing(PairingView),
    /// The state of an own message has changed. In a room it is delivered once every member has it.
    MessageState {
        /// In which conversation.
        conversation: ConversationId,
        /// Its place there.
        seq: u64,
        /// Its name.
        id: MessageId,
        /// Its state.
        state: MessageState,
    },
    /// A message has come in and is on disk.
    Received {
        /// In which conversation.
        conversation: ConversationId,
        /// From whom.
        peer: ClientId,
        /// Its place in the conversation.
        seq: u64,
        /// Its place in the inbox.
        inbox_seq: u64,
        /// Its name.
        id: MessageId,
    },
    /// A peer has read a message of this device, and all that were sent to it before.
    Read {
        /// In which conversation.
        conversation: ConversationId,
        /// Who.
        peer: ClientId,
        /// The message.
        id: MessageId,
        /// Whether everybody has read it.
        by_all: bool,
    },
    /// Whether others are told what was read here.
    SendsReceipts(bool),
    /// Messages have disappeared: their time was over.
    Disappeared {
        /// In which conversation.
        conversation: ConversationId,
        /// Their places there.
        seqs: Vec<u64>,
    },
    /// The connection to the signaling server has changed.
    Signaling(SignalingState),
    /// The server's logging mode, when it is told or changes.
    Notice(LoggingNotice),
    /// The own display name has changed.
    DisplayName(String),
    /// Whether this device is reached over relays only.
    RelayOnly(bool),
    /// Somebody else tried to use this identity.
    Intruder,
    /// Sealed payloads were dropped; told at most every ten seconds.
    Dropped(Dropped),
    /// Something went wrong with a peer that a person should know of; the sentence says what.
    Trouble {
        /// With whom.
        peer: ClientId,
        /// What.
        text: String,
    },
}
