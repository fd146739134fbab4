//! What is kept on disk, as the engine sees it. The store seals and lays out; it decides nothing.

use kith_crypto::identity::{Card, ClientId};
use kith_crypto::room::{RoomId, RoomSecret, Roster};
use serde::{Deserialize, Serialize};

/// A message's name: 128 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId(pub [u8; 16]);

/// The store's own name: 128 random bits, new after each import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Incarnation(pub [u8; 16]);

/// The device's own settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileRecord {
    /// Shown to peers in invites.
    pub display_name: String,
    /// This store's incarnation.
    pub incarnation: Incarnation,
}

/// How this device lets itself be reached, as a person has chosen over the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachRecord {
    /// Over relays only, so that no peer sees this device's address.
    pub relay_only: bool,
}

/// How far the pairing with a contact has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContactState {
    /// The other side has not confirmed yet.
    Pending,
    /// Both sides have stored each other.
    Paired,
    /// Known by the roster of a room only. It is no contact, and never becomes one by itself.
    Introduced,
}

/// A contact. Its identity is pinned: all 66 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactRecord {
    /// The pinned identity and its proof.
    pub card: Card,
    /// The name that this device shows for it.
    pub name: String,
    /// Pending or paired.
    pub state: ContactState,
    /// The protocol version it once spoke; less is refused from then on.
    pub major_min: u8,
    /// When it was paired, milliseconds of UTC.
    pub paired_utc_ms: u64,
    /// When it was last seen, milliseconds of UTC; 0 for never.
    pub seen_utc_ms: u64,
    /// The name of this device's own count of messages to it, told in `hello`: random, new with
    /// each contact. A contact that was removed and paired again begins a new count, which the
    /// other side must not take for repeats of the old one.
    pub incarnation: Incarnation,
}

/// The highest number committed from one incarnation of a sender's store. It is written only
/// together with the messages it covers, never with anything else: a mark on disk above a message
/// that is not there would lose that message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Of the sender's store.
    pub incarnation: Incarnation,
    /// The highest committed number.
    pub number: u64,
}

impl Mark {
    /// How many incarnations of a peer's store are remembered. Each import makes one; eight
    /// restores of a device in its life are already unusual.
    pub const COUNT_MAX: usize = 8;
}

/// Which conversation: with one contact, or in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConversationId {
    /// Of two.
    Direct(ClientId),
    /// Of a room's members.
    Room(RoomId),
}

impl From<ClientId> for ConversationId {
    fn from(peer: ClientId) -> Self {
        Self::Direct(peer)
    }
}

impl From<RoomId> for ConversationId {
    fn from(room: RoomId) -> Self {
        Self::Room(room)
    }
}

/// How this device stands to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoomState {
    /// It is on the roster.
    Joined,
    /// It was taken off the roster. The history stays.
    Removed,
    /// The owner has signed two rosters of one version: nothing goes in or out any more.
    Frozen,
    /// Its user has left. Kept until the owner knows, and not shown.
    Left,
}

/// A room, as this device knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomRecord {
    /// Its name.
    pub room: RoomId,
    /// What the members share.
    pub secret: RoomSecret,
    /// The name of this device's count of messages in the room: random, new each time it joins.
    pub incarnation: Incarnation,
    /// How this device stands to it.
    pub state: RoomState,
    /// The signed roster in force, as it came.
    pub roster: Vec<u8>,
}

/// After how long the messages of a conversation disappear. All devices in it come to the same: of two records
/// the greater holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExpiryRecord {
    /// One more with each change.
    pub revision: u64,
    /// For messages to come; 0 is never.
    pub seconds: u32,
}

/// How far the messages of two devices to each other have been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingRecord {
    /// The peer's newest message that was read here and that it may know of.
    pub here: Option<ReadMark>,
    /// The number of this device's newest message that was read there; 0 for none.
    pub there: u64,
}

/// A message up to which somebody's messages have been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadMark {
    /// Its name.
    pub id: MessageId,
    /// Its number in its writer's count.
    pub number: u64,
}

/// A message that is to disappear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// In which conversation.
    pub conversation: ConversationId,
    /// Its place there.
    pub seq: u64,
    /// Whether somebody else wrote it.
    pub incoming: bool,
    /// After so many seconds.
    pub ttl_s: u32,
    /// From when they count, milliseconds of UTC. Earlier than [`Now::UTC_MS_MIN`](crate::Now::UTC_MS_MIN): not yet,
    /// the clock had not been set.
    pub since_utc_ms: u64,
}

/// What the store knows of one room when it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRoom {
    /// The room.
    pub record: RoomRecord,
    /// Its counters.
    pub conversation: ConversationRecord,
    /// After how long its messages disappear.
    pub expiry: ExpiryRecord,
    /// High-water marks of the members that have any.
    pub marks: Vec<(ClientId, Vec<Mark>)>,
    /// How far is read, of the members of whom that is known.
    pub readings: Vec<(ClientId, ReadingRecord)>,
    /// The own messages that wait.
    pub waiting: Vec<StoredWaiting>,
}

/// An own message in a room that is not with every member yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredWaiting {
    /// Its number.
    pub number: u64,
    /// Its place in the history.
    pub seq: u64,
    /// Its name.
    pub id: MessageId,
    /// For whom it waits.
    pub peers: Vec<ClientId>,
}

/// What the store knows of one contact when it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredContact {
    /// The contact.
    pub contact: ContactRecord,
    /// Its conversation's counters.
    pub conversation: ConversationRecord,
    /// After how long their messages disappear.
    pub expiry: ExpiryRecord,
    /// High-water marks, the newest incarnation of its store last.
    pub marks: Vec<Mark>,
    /// How many messages wait in its outbox.
    pub outbox_count: u64,
    /// What was lost with a device that was restored from a backup.
    pub missing: MissingRecord,
    /// How far is read.
    pub reading: ReadingRecord,
    /// What a person has decided about it.
    pub standing: StandingRecord,
}

impl StoredRoom {
    /// One that this device has just come into: nothing has been said yet.
    pub fn new(record: RoomRecord) -> Self {
        Self {
            record,
            conversation: ConversationRecord::default(),
            expiry: ExpiryRecord::default(),
            marks: Vec::new(),
            readings: Vec::new(),
            waiting: Vec::new(),
        }
    }
}

impl StoredContact {
    /// One that was just met: nothing has been said yet.
    pub fn new(contact: ContactRecord) -> Self {
        Self {
            contact,
            conversation: ConversationRecord::default(),
            expiry: ExpiryRecord::default(),
            marks: Vec::new(),
            outbox_count: 0,
            missing: MissingRecord::default(),
            reading: ReadingRecord::default(),
            standing: StandingRecord::default(),
        }
    }
}

/// What a person has decided about a contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingRecord {
    /// The safety number was compared, and is the same on both devices.
    pub verified: bool,
    /// Nothing of it gets in, and it learns nothing.
    pub blocked: bool,
}

/// What a restored device lacks of a contact's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingRecord {
    /// The device was restored, and nothing new has come from the contact since.
    pub watching: bool,
    /// How many of its messages are known to be missing.
    pub count: u64,
}

/// The counters of one conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationRecord {
    /// The sequence number of the newest message, 0 for none. Counts both directions.
    pub last_seq: u64,
    /// Everything up to here has been read by the user.
    pub read_seq: u64,
    /// How many received messages are unread.
    pub unread: u64,
    /// The number of the newest own message.
    pub sent_number: u64,
}

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Direction {
    /// This device.
    Outgoing,
    /// The peer.
    Incoming,
    /// Another member of the room.
    Member(ClientId),
}

/// One message of a conversation's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    /// Its place in the conversation.
    pub seq: u64,
    /// Its name, the same on both devices.
    pub id: MessageId,
    /// Who wrote it.
    pub direction: Direction,
    /// Its number in the sender's count.
    pub number: u64,
    /// The incarnation of the sender's store.
    pub incarnation: Incarnation,
    /// When the sender wrote it, milliseconds of UTC.
    pub sent_utc_ms: u64,
    /// Whether the sender's clock had been set.
    pub clock_trusted: bool,
    /// When it was received, or delivered; milliseconds of UTC, 0 for not yet.
    pub done_utc_ms: u64,
    /// Outgoing: queued or delivered. Incoming: delivered.
    pub state: crate::MessageState,
    /// `text/plain` and the like (RFC 6838).
    pub content_type: String,
    /// The message that this one answers.
    pub reply_to: Option<MessageId>,
    /// Seconds after which it disappears, from when it was received or delivered.
    pub ttl_s: Option<u32>,
    /// At most 12,288 bytes.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

/// All that the engine needs from the store when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredState {
    /// What was chosen of how the device is reached, if anything was.
    pub reach: Option<ReachRecord>,
    /// The device's own settings.
    pub profile: ProfileRecord,
    /// Contacts, and members of rooms that are none, in any order.
    pub contacts: Vec<StoredContact>,
    /// Rooms, in any order.
    pub rooms: Vec<StoredRoom>,
    /// The newest place in the inbox, 0 for none.
    pub inbox_seq: u64,
    /// Whether others are told what was read here.
    pub sends_receipts: bool,
}

impl ContactRecord {
    /// The client id that the pinned identity hashes to.
    pub fn client_id(&self) -> ClientId {
        self.card.client_id()
    }
}

impl RoomRecord {
    /// The members on its roster, ascending by client id.
    pub fn members(&self) -> Vec<ClientId> {
        Roster::parse(&self.roster).map(|roster| roster.members().map(|m| m.client_id()).collect()).unwrap_or_default()
    }

    /// The room, on a device that is restored from a backup: its count of own messages goes on under
    /// a new name, which must be random.
    pub fn restored(self, incarnation: Incarnation) -> Self {
        Self { incarnation, ..self }
    }
}

impl Direction {
    /// Whether somebody else wrote it.
    pub fn is_incoming(self) -> bool {
        self != Self::Outgoing
    }
}
