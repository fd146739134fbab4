//! What the engine wants done. Perform effects in the order in which they are polled.

use std::collections::BTreeMap;

use kith_crypto::identity::ClientId;
use kith_crypto::room::RoomId;

use crate::{
    ContactRecord, ConversationId, ConversationRecord, Direction, Event, Expiring, ExpiryRecord, Ice, LinkId, LinkRole,
    Mark, MessageId, MessageRecord, MissingRecord, Negotiation, ProfileRecord, ReachRecord, ReadMark, ReadingRecord,
    Reply, RequestError, RequestId, RoomRecord, SignalOut, StandingRecord,
};

/// Pairs a commit with its completion. Completions come back in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommitId(pub u64);

/// Pairs a load with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoadId(pub u64);

/// One change of the store: all of its operations, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub id: CommitId,
    /// What to write, in order.
    pub ops: Vec<Op>,
}

/// One operation of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Write the own settings.
    PutProfile(ProfileRecord),
    /// Write how this device lets itself be reached.
    PutReach(ReachRecord),
    /// Write a contact.
    PutContact(ContactRecord),
    /// Write a conversation's counters.
    PutConversation(ConversationId, ConversationRecord),
    /// Write all high-water marks of a peer in a conversation, at most [`Mark::COUNT_MAX`].
    PutMarks {
        /// Which conversation.
        conversation: ConversationId,
        /// Whose messages.
        peer: ClientId,
        /// The marks.
        marks: Vec<Mark>,
    },
    /// Write what is missing of a peer's messages.
    PutMissing(ClientId, MissingRecord),
    /// Write what a person has decided about a contact.
    PutStanding(ClientId, StandingRecord),
    /// Write whether others are told what was read here.
    PutReceipts(bool),
    /// Write how far the messages of a peer and to it have been read.
    PutReading {
        /// In which conversation.
        conversation: ConversationId,
        /// With whom.
        peer: ClientId,
        /// How far.
        reading: ReadingRecord,
    },
    /// Write after how long messages of a conversation disappear.
    PutExpiry(ConversationId, ExpiryRecord),
    /// Let the time of a message count from now: the clock had not been set before.
    StartExpiry {
        /// In which conversation.
        conversation: ConversationId,
        /// Its place there.
        seq: u64,
        /// Milliseconds of UTC.
        utc_ms: u64,
    },
    /// Let a message disappear, with all that was stored of it. Its id stays as long as its sender may send it again.
    Expire {
        /// In which conversation.
        conversation: ConversationId,
        /// Its place there.
        seq: u64,
    },
    /// Forget a contact, its conversation, its outbox and its history.
    RemoveContact(ClientId),
    /// Write a room.
    PutRoom(RoomRecord),
    /// Forget a room, its conversation, its outboxes and its history.
    RemoveRoom(RoomId),
    /// Forget a member's marks and what waits for it; a message that then waits for nobody is
    /// delivered.
    DropMember {
        /// Of which room.
        room: RoomId,
        /// Which member.
        peer: ClientId,
        /// When, milliseconds of UTC.
        utc_ms: u64,
    },
    /// Refuse the whole commit with [`CommitError::Repeated`] if this caller's key is known in
    /// the conversation; else remember it for this message.
    ClaimKey {
        /// Which conversation.
        conversation: ConversationId,
        /// The caller's key.
        key: String,
        /// The message it stands for.
        id: MessageId,
    },
    /// Refuse the whole commit with [`CommitError::Conflict`] if a message of this peer with this
    /// id is already in the conversation. Ids are claimed by their writers: nobody in a room can
    /// take that of another's message.
    ClaimId {
        /// Which conversation.
        conversation: ConversationId,
        /// Who wrote it.
        peer: ClientId,
        /// The message's id.
        id: MessageId,
    },
    /// Write a message at its place in the history, and into the index of ids.
    PutMessage(ConversationId, MessageRecord),
    /// Put the own message with this number into the outbox; it stands in the history at `seq`.
    PutOutbox {
        /// In which conversation.
        conversation: ConversationId,
        /// To whom.
        peer: ClientId,
        /// Its number.
        number: u64,
        /// Its place in the history.
        seq: u64,
    },
    /// Take a message out of a peer's outbox; once it waits for nobody, set its state in the history
    /// to delivered.
    Delivered {
        /// In which conversation.
        conversation: ConversationId,
        /// To whom.
        peer: ClientId,
        /// Its number.
        number: u64,
        /// Its place in the history.
        seq: u64,
        /// When, milliseconds of UTC.
        utc_ms: u64,
    },
    /// Add a received message to the inbox of all consumers.
    PutInbox {
        /// Its place in the inbox.
        inbox_seq: u64,
        /// Which conversation.
        conversation: ConversationId,
        /// Who wrote it.
        peer: ClientId,
        /// Its place there.
        seq: u64,
    },
    /// Move a consumer's cursor; it never moves back.
    PutCursor {
        /// The consumer's name.
        consumer: String,
        /// Everything up to here has been handled.
        inbox_seq: u64,
    },
}

/// Why a commit was refused. Nothing of it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The caller's key is known; it stands for this message.
    #[error("the key stands for another message")]
    Repeated(MessageId),
    /// This message id is already in the conversation.
    #[error("the message id is taken")]
    Conflict(MessageId),
    /// No space left on the device.
    #[error("no space left on the device")]
    Full,
    /// The store could not be written.
    #[error("{0}")]
    Failed(String),
}

/// What to read from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// The outbox of a peer, by number.
    Outbox {
        /// In which conversation.
        conversation: ConversationId,
        /// To whom.
        peer: ClientId,
        /// Only higher numbers.
        after: u64,
        /// So many at the most.
        count_max: usize,
    },
    /// How many received messages of a conversation are between two places, and the newest of each writer.
    Received {
        /// Which conversation.
        conversation: ConversationId,
        /// Exclusive.
        after: u64,
        /// Inclusive.
        up_to: u64,
    },
    /// The messages that disappear next: received or delivered, with a time to live.
    Expiring {
        /// So many at the most.
        count_max: usize,
    },
    /// The message that this peer sent under this id, if there is one.
    Message {
        /// Which conversation.
        conversation: ConversationId,
        /// Who wrote it.
        peer: ClientId,
        /// The message's id.
        id: MessageId,
    },
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// Outbox messages in the order of their numbers, perhaps fewer than asked for; none means
    /// that there are no more.
    Outbox(Vec<MessageRecord>),
    /// How many there are, and the newest of each writer.
    Received(u64, BTreeMap<Direction, ReadMark>),
    /// The message, if there is one.
    Message(Option<MessageRecord>),
    /// The message has disappeared; it had this number.
    Gone {
        /// In its sender's count.
        number: u64,
    },
    /// The next ones, and whether there are others behind them.
    Expiring(Vec<Expiring>, bool),
    /// The store could not be read; the sentence says why.
    Failed(String),
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write, then call `handle_committed`.
    Commit(Commit),
    /// Read, then call `handle_loaded`.
    Load(LoadId, Load),
    /// Send one message on the data channel. Bounded by the window of unacknowledged messages.
    Transmit(LinkId, Vec<u8>),
    /// Send to the signaling server; dropped while it is not connected.
    Signal(SignalOut),
    /// Open a link.
    OpenLink {
        /// Its name.
        link: LinkId,
        /// Who offers.
        role: LinkRole,
        /// STUN and TURN servers.
        ice: Ice,
        /// Use no direct path.
        relay_only: bool,
    },
    /// Hand the other side's words to a link.
    Negotiate(LinkId, Negotiation),
    /// Close a link; its events after this are ignored.
    CloseLink(LinkId),
    /// Tell the observers.
    Notify(Event),
    /// Answer a request.
    Reply(RequestId, Result<Reply, RequestError>),
}
