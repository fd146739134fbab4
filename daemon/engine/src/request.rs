//! What programs on this device ask for, and the answers.

use kith_crypto::identity::ClientId;
use kith_crypto::room::RoomId;

use crate::{ConversationId, MessageId};

/// Pairs a request with its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Names a pairing that is under way; counts from 1 in each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairingId(pub u32);

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// 1 to 64 bytes, `type/subtype` (RFC 6838).
    pub content_type: String,
    /// At most 12,288 bytes.
    pub body: Vec<u8>,
    /// The message that this one answers.
    pub reply_to: Option<MessageId>,
    /// Seconds after which it disappears, in place of what holds for the conversation.
    pub ttl_s: Option<u32>,
    /// Chosen by the caller, at most 64 bytes: the same key again gives the same message.
    pub idempotency_key: Option<String>,
}

/// A request. Each gets exactly one reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Open an invite for so many seconds.
    Invite {
        /// 10 s to 24 h.
        lifetime_s: u32,
    },
    /// Accept an invite.
    Accept {
        /// The `kith:` text.
        uri: String,
        /// Whether a signaling server other than the own one is fine.
        other_server: bool,
    },
    /// Pair by comparing digits.
    Compare {
        /// The code that the other device shows; without it, this one shows a new one.
        code: Option<String>,
    },
    /// Both devices show the same digits.
    ConfirmPairing(PairingId),
    /// End a pairing.
    CancelPairing(PairingId),
    /// Send a message to a contact, or to all members of a room.
    Send {
        /// In which conversation.
        conversation: ConversationId,
        /// What.
        message: NewMessage,
    },
    /// Everything up to this sequence number has been read.
    MarkRead {
        /// In which conversation.
        conversation: ConversationId,
        /// Inclusive.
        seq: u64,
    },
    /// Tell others what was read here, or do not.
    SendReceipts(bool),
    /// Let later messages of a conversation disappear, on all its devices.
    SetExpiry {
        /// In which conversation.
        conversation: ConversationId,
        /// At most a year after they were received or delivered; 0 is never.
        seconds: u32,
    },
    /// A consumer of the inbox has handled everything up to here.
    AckInbox {
        /// The consumer's name, at most 64 bytes.
        consumer: String,
        /// Inclusive.
        seq: u64,
    },
    /// Show another name for a contact.
    RenamePeer {
        /// Which.
        peer: ClientId,
        /// 1 to 64 bytes.
        name: String,
    },
    /// The safety number was compared, or is no longer believed.
    MarkVerified {
        /// Which.
        peer: ClientId,
        /// Whether it is the same on both devices.
        verified: bool,
    },
    /// Let nothing of a contact in, or let it in again.
    Block {
        /// Which.
        peer: ClientId,
        /// Whether it is kept out.
        blocked: bool,
    },
    /// Forget a contact and its history.
    RemovePeer(ClientId),
    /// The name in own invites.
    SetDisplayName(String),
    /// Let this device be reached over relays only, or directly, too.
    SetRelayOnly(bool),
    /// Make a room, owned by this device.
    CreateRoom {
        /// 1 to 64 bytes.
        name: String,
        /// Contacts: with this device 2 to 32.
        members: Vec<ClientId>,
    },
    /// Take a contact into an own room.
    AddMember {
        /// Which room.
        room: RoomId,
        /// Whom.
        peer: ClientId,
    },
    /// Take a member off the roster of an own room.
    RemoveMember {
        /// Which room.
        room: RoomId,
        /// Whom.
        peer: ClientId,
    },
    /// Give an own room another name.
    RenameRoom {
        /// Which room.
        room: RoomId,
        /// 1 to 64 bytes.
        name: String,
    },
    /// Make another member the owner of an own room.
    HandOver {
        /// Which room.
        room: RoomId,
        /// Whom.
        peer: ClientId,
    },
    /// Leave a room, and forget it and its history.
    LeaveRoom(RoomId),
    /// The digits that two people compare.
    SafetyNumber(ClientId),
}

/// What a request that succeeded gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing but that it is done and on disk.
    Done,
    /// The pairing's name; its invite text is in the view.
    Pairing(PairingId),
    /// The room's name; its roster is on disk.
    Room(RoomId),
    /// The message's name; it is queued, on disk.
    Message(MessageId),
    /// Twelve groups of five digits.
    SafetyNumber(String),
}

/// Why a request did not succeed. The sentence for the user is made where it is shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such contact, pairing or message.
    #[error("not found")]
    NotFound,
    /// The contact has not confirmed the pairing yet.
    #[error("not paired")]
    NotPaired,
    /// The contact is blocked.
    #[error("blocked")]
    Blocked,
    /// Only the room's owner can do that.
    #[error("not the owner")]
    NotOwner,
    /// This device is not on the room's roster any more.
    #[error("not a member")]
    NotAMember,
    /// Two rosters of one version were signed.
    #[error("the room is frozen")]
    RoomFrozen,
    /// A change of the room is on its way to the disk.
    #[error("the room is being changed")]
    RoomChanging,
    /// The owner of a room with other members wants to leave.
    #[error("the owner has to hand the room over")]
    OwnsRoom,
    /// As many rooms as there can be.
    #[error("too many rooms")]
    TooManyRooms,
    /// An argument is out of its range.
    #[error("invalid argument: {0}")]
    InvalidArgument(&'static str),
    /// The body is larger than 12,288 bytes.
    #[error("too large")]
    TooLarge,
    /// The outbox for this peer is full.
    #[error("quota exceeded")]
    QuotaExceeded,
    /// Too many pairings at once.
    #[error("rate limited")]
    RateLimited,
    /// The text is not an invite.
    #[error("invalid invite: {0}")]
    InvalidInvite(&'static str),
    /// The invite is past its time.
    #[error("the invite has expired")]
    InviteExpired,
    /// The invite names another signaling server, which has to be confirmed.
    #[error("the invite names another signaling server")]
    OtherServer(String),
    /// No space left on the device.
    #[error("storage full")]
    StorageFull,
    /// The store could not be written.
    #[error("storage failed: {0}")]
    Storage(String),
}
