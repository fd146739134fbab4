//! Client proxies, one for each interface. Each call answers with a typed [`Failure`](crate::Failure).

use std::collections::HashMap;

use zbus::wire::Fd;
use zbus::{OwnedObjectPath, OwnedVariant, proxy};

use crate::{
    AcceptOptions, CompareOptions, CreateRoomOptions, DaemonState, ExportOptions, ImportOptions, InviteOptions,
    LinkState, MessageState, Notice, PairingState, Presence, Result, Retention, RetentionChoice, RoomMember, RoomState,
    Row, Secret, SendOptions, SetUpOptions, Signaling, TaskKind, TaskState, Trust,
};

/// The daemon as a whole.
#[proxy(
    interface = "org.kith.Messenger1.Manager1",
    default_service = "org.kith.Messenger1",
    default_path = "/org/kith/Messenger1"
)]
pub trait Manager1 {
    /// Makes an identity and a store.
    fn set_up(&self, options: &SetUpOptions) -> Result<()>;

    /// Opens the store.
    fn unlock(&self, secret: &Secret) -> Result<()>;

    /// Puts the store's keys under another secret.
    fn change_secret(&self, old: &Secret, new: &Secret) -> Result<()>;

    /// Begins to rewrite the store under a new data key; the path is the task's.
    fn rotate_key(&self) -> Result<OwnedObjectPath>;

    /// Closes sessions and wipes keys.
    fn lock(&self) -> Result<()>;

    /// Checks every value of the store; the path is the task's.
    fn check(&self) -> Result<OwnedObjectPath>;

    /// Destroys the keys, then everything else. The word is [`WIPE_WORD`](crate::WIPE_WORD).
    fn wipe(&self, word: &str) -> Result<()>;

    /// Lets this connection do what is dangerous, for so many seconds.
    fn elevate(&self, pin: &Secret) -> Result<u32>;

    /// Gives that up.
    fn step_down(&self) -> Result<()>;

    /// Sets, changes or removes the PIN.
    fn set_pin(&self, old: &Secret, new: &Secret) -> Result<()>;

    /// Writes a backup into an empty file; the path is the task's.
    fn export(&self, file: &Fd<'_>, options: &ExportOptions) -> Result<OwnedObjectPath>;

    /// Reads a backup; the path is the task's.
    fn import(&self, file: &Fd<'_>, options: &ImportOptions) -> Result<OwnedObjectPath>;

    /// Opens an invite; the path is the pairing's.
    fn invite(&self, options: &InviteOptions) -> Result<OwnedObjectPath>;

    /// Accepts an invite; the path is the pairing's.
    fn accept(&self, uri: &str, options: &AcceptOptions) -> Result<OwnedObjectPath>;

    /// Pairs by comparing digits; the path is the pairing's.
    fn compare(&self, options: &CompareOptions) -> Result<OwnedObjectPath>;

    /// Makes a room; the path is the room's.
    fn create_room(&self, options: &CreateRoomOptions) -> Result<OwnedObjectPath>;

    /// Somebody else tried to use this identity.
    #[zbus(signal)]
    fn intruder(&self) -> Result<()>;

    /// Whether the daemon can be used.
    #[zbus(property)]
    fn state(&self) -> Result<DaemonState>;

    /// The daemon's version.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> Result<String>;

    /// Own client id; empty before set-up.
    #[zbus(property)]
    fn client_id(&self) -> Result<String>;

    /// The name that invites carry.
    #[zbus(property)]
    fn display_name(&self) -> Result<String>;

    /// Sets the name that invites carry.
    #[zbus(property)]
    fn set_display_name(&self, name: &str) -> Result<()>;

    /// The connection to the signaling server.
    #[zbus(property)]
    fn signaling(&self) -> Result<Signaling>;

    /// What the signaling server's operator says about its logging.
    #[zbus(property)]
    fn logging_notice(&self) -> Result<Notice>;

    /// Unread messages of all conversations.
    #[zbus(property)]
    fn unread(&self) -> Result<u64>;

    /// Whether others are told what was read here.
    #[zbus(property)]
    fn send_receipts(&self) -> Result<bool>;

    /// Tells others what was read here, or does not.
    #[zbus(property)]
    fn set_send_receipts(&self, sends: bool) -> Result<()>;

    /// How much history is kept.
    #[zbus(property)]
    fn retention(&self) -> Result<Retention>;

    /// Sets how much history is kept.
    #[zbus(property)]
    fn set_retention(&self, choice: RetentionChoice) -> Result<()>;

    /// Whether there is a PIN.
    #[zbus(property)]
    fn pin_set(&self) -> Result<bool>;

    /// Whether links go over relays only, so that no peer sees this device's address.
    #[zbus(property)]
    fn relay_only(&self) -> Result<bool>;

    /// Lets links go over relays only, or directly, too.
    #[zbus(property)]
    fn set_relay_only(&self, relay_only: bool) -> Result<()>;
}

/// A contact.
#[proxy(interface = "org.kith.Messenger1.Peer1", default_service = "org.kith.Messenger1")]
pub trait Peer1 {
    /// The digits that two people compare.
    fn safety_number(&self) -> Result<String>;

    /// The safety number was compared, or is no longer believed.
    fn mark_verified(&self, verified: bool) -> Result<()>;

    /// Forgets the contact and its history.
    fn remove(&self) -> Result<()>;

    /// Something went wrong with this contact that a person should know of.
    #[zbus(signal)]
    fn trouble(&self, text: String) -> Result<()>;

    /// Its name on this device.
    #[zbus(property)]
    fn name(&self) -> Result<String>;

    /// Gives it another name on this device.
    #[zbus(property)]
    fn set_name(&self, name: &str) -> Result<()>;

    /// Its client id.
    #[zbus(property(emits_changed_signal = "const"))]
    fn client_id(&self) -> Result<String>;

    /// How far it is trusted.
    #[zbus(property)]
    fn trust(&self) -> Result<Trust>;

    /// Whether nothing of it gets in.
    #[zbus(property)]
    fn blocked(&self) -> Result<bool>;

    /// Keeps it out, or lets it in again.
    #[zbus(property)]
    fn set_blocked(&self, blocked: bool) -> Result<()>;

    /// Whether it is there.
    #[zbus(property)]
    fn presence(&self) -> Result<Presence>;

    /// The session with it.
    #[zbus(property)]
    fn link(&self) -> Result<LinkState>;

    /// When it was last seen, milliseconds of UTC; 0 for never.
    #[zbus(property)]
    fn last_seen(&self) -> Result<u64>;
}

/// A room.
#[proxy(interface = "org.kith.Messenger1.Room1", default_service = "org.kith.Messenger1")]
pub trait Room1 {
    /// Takes a contact into the room.
    fn add(&self, peer: &zbus::ObjectPath<'_>) -> Result<()>;

    /// Takes a member off the roster.
    fn remove(&self, peer: &zbus::ObjectPath<'_>) -> Result<()>;

    /// Gives the room another name.
    fn rename(&self, name: &str) -> Result<()>;

    /// Makes another member the owner.
    fn hand_over(&self, peer: &zbus::ObjectPath<'_>) -> Result<()>;

    /// Leaves the room, and forgets it and its history.
    fn leave(&self) -> Result<()>;

    /// Its name.
    #[zbus(property)]
    fn name(&self) -> Result<String>;

    /// How this device stands to it.
    #[zbus(property)]
    fn state(&self) -> Result<RoomState>;

    /// The owner's client id.
    #[zbus(property)]
    fn owner(&self) -> Result<String>;

    /// Who is in it, this device too.
    #[zbus(property)]
    fn members(&self) -> Result<Vec<RoomMember>>;

    /// The version of the roster.
    #[zbus(property)]
    fn version(&self) -> Result<u64>;
}

/// The conversation with a contact, or in a room.
#[proxy(interface = "org.kith.Messenger1.Conversation1", default_service = "org.kith.Messenger1")]
pub trait Conversation1 {
    /// Queues a message; returns its id when it is on disk.
    fn send(&self, content_type: &str, body: &[u8], options: &SendOptions) -> Result<String>;

    /// Messages after a sequence number, oldest first.
    fn list(&self, after: u64, count: u32) -> Result<Vec<Row>>;

    /// Everything up to this sequence number has been read.
    fn mark_read(&self, seq: u64) -> Result<()>;

    /// A message has got another state.
    #[zbus(signal)]
    fn state_changed(&self, id: String, state: MessageState) -> Result<()>;

    /// Somebody has read a message of this device, and all that were sent to it before.
    #[zbus(signal)]
    fn read(&self, client_id: String, id: String) -> Result<()>;

    /// Messages have disappeared.
    #[zbus(signal)]
    fn disappeared(&self, seqs: Vec<u64>) -> Result<()>;

    /// Seconds after which later messages disappear; 0 for never.
    #[zbus(property)]
    fn expiry_seconds(&self) -> Result<u32>;

    /// Lets later messages disappear, on all devices of the conversation.
    #[zbus(property)]
    fn set_expiry_seconds(&self, seconds: u32) -> Result<()>;

    /// The newest message's sequence number; 0 for none.
    #[zbus(property)]
    fn last_seq(&self) -> Result<u64>;

    /// Unread messages.
    #[zbus(property)]
    fn unread(&self) -> Result<u64>;

    /// Messages of the contact that were lost with a device that this one was restored from.
    #[zbus(property)]
    fn missing(&self) -> Result<u64>;
}

/// All received messages, for consumers that keep their place.
#[proxy(
    interface = "org.kith.Messenger1.Inbox1",
    default_service = "org.kith.Messenger1",
    default_path = "/org/kith/Messenger1/inbox"
)]
pub trait Inbox1 {
    /// Messages that this consumer has not acknowledged and that come after the cursor, oldest first.
    fn fetch(&self, consumer: &str, cursor: u64, count: u32) -> Result<Vec<Row>>;

    /// This consumer has handled everything up to here.
    fn ack(&self, consumer: &str, seq: u64) -> Result<()>;

    /// A message has come in.
    #[zbus(signal)]
    fn available(&self, seq: u64) -> Result<()>;
}

/// A pairing that is under way, or one of the latest that ended.
#[proxy(interface = "org.kith.Messenger1.Pairing1", default_service = "org.kith.Messenger1")]
pub trait Pairing1 {
    /// Ends it.
    fn cancel(&self) -> Result<()>;

    /// Says that both devices show the same digits.
    fn confirm(&self) -> Result<()>;

    /// The invite text, a secret.
    fn uri(&self) -> Result<String>;

    /// The code that the other device is to be told.
    fn code(&self) -> Result<String>;

    /// How far it has come.
    #[zbus(property)]
    fn state(&self) -> Result<PairingState>;

    /// The contact's object once it is done; `/` before.
    #[zbus(property)]
    fn peer(&self) -> Result<OwnedObjectPath>;

    /// The digits to compare, while the person here has not confirmed them; else empty.
    #[zbus(property)]
    fn digits(&self) -> Result<String>;

    /// Why it failed; else empty.
    #[zbus(property)]
    fn reason(&self) -> Result<String>;

    /// When it ends, milliseconds of UTC.
    #[zbus(property)]
    fn expires(&self) -> Result<u64>;
}

/// Long work that is under way, or one of the latest that ended.
#[proxy(interface = "org.kith.Messenger1.Task1", default_service = "org.kith.Messenger1")]
pub trait Task1 {
    /// Tells it to stop.
    fn cancel(&self) -> Result<()>;

    /// It has ended: how, and what came of it.
    #[zbus(signal)]
    fn finished(&self, state: TaskState, summary: HashMap<String, OwnedVariant>) -> Result<()>;

    /// What it works at.
    #[zbus(property(emits_changed_signal = "const"))]
    fn kind(&self) -> Result<TaskKind>;

    /// How far it has come.
    #[zbus(property)]
    fn state(&self) -> Result<TaskState>;

    /// How much is done, in its own unit.
    #[zbus(property)]
    fn done(&self) -> Result<u64>;

    /// How much there is to do; 0 as long as that is not known.
    #[zbus(property)]
    fn total(&self) -> Result<u64>;

    /// What came of it; empty while it works.
    #[zbus(property)]
    fn summary(&self) -> Result<HashMap<String, OwnedVariant>>;
}
