//! What the messenger shows on its bus, in two answers.

use std::collections::HashMap;

use kith_dbus::{
    CONVERSATION_INTERFACE, DaemonState, LinkState, MANAGER_INTERFACE, Notice, PAIRING_INTERFACE, PEER_INTERFACE,
    PairingState, Presence, ROOM_INTERFACE, ROOT_PATH, Result, RoomMember, RoomState, SERVICE, Signaling,
    TASK_INTERFACE, TaskKind, TaskState, Trust, client_id_of, pairing_number_of, peer_path, room_id_of, room_path,
    task_number_of,
};
use zbus::fdo::{ObjectManagerProxy, PropertiesProxy};
use zbus::names::InterfaceName;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

/// What there is to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// The messenger does not answer on the bus.
    Away,
    /// The messenger waits for its first set-up.
    NeedsSetUp(Vec<Task>),
    /// The messenger is locked.
    Locked(Vec<Task>),
    /// The messenger is in use.
    Ready(Box<Overview>),
}

/// A messenger in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overview {
    /// Own display name.
    pub(crate) name: String,
    /// Own client id.
    pub(crate) client_id: String,
    /// The daemon's version.
    pub(crate) version: String,
    /// The connection to the signaling server.
    pub(crate) signaling: Signaling,
    /// What the server says about its log.
    pub(crate) notice: Notice,
    /// Unread messages of all conversations.
    pub(crate) unread: u64,
    /// Whether a PIN is set.
    pub(crate) pin_set: bool,
    /// Contacts, by name.
    pub(crate) peers: Vec<Peer>,
    /// Rooms, by name.
    pub(crate) rooms: Vec<Room>,
    /// Pairings, the oldest first.
    pub(crate) pairings: Vec<Pairing>,
    /// Long work, the oldest first.
    pub(crate) tasks: Vec<Task>,
}

/// The conversation with a contact, or in a room: its place on the bus, and in the addresses of pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conversation {
    path: OwnedObjectPath,
    /// `peer` or `room`.
    kind: &'static str,
    key: String,
}

/// One contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Where it is.
    pub(crate) conversation: Conversation,
    /// Its name on this device.
    pub(crate) name: String,
    /// Its client id, in groups of four.
    pub(crate) client_id: String,
    /// How far it is trusted.
    pub(crate) trust: Trust,
    /// Whether nothing of it gets in.
    pub(crate) blocked: bool,
    /// Whether it is there.
    pub(crate) presence: Presence,
    /// The session with it.
    pub(crate) link: LinkState,
    /// When it was last seen, milliseconds of UTC; 0 for never.
    pub(crate) last_seen_ms: u64,
    /// Unread messages.
    pub(crate) unread: u64,
    /// The newest message's sequence number.
    pub(crate) last_seq: u64,
    /// Seconds after which later messages disappear; 0 for never.
    pub(crate) expiry_s: u32,
    /// Messages that were lost with the device that this one was restored from.
    pub(crate) missing: u64,
}

/// One room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Where it is.
    pub(crate) conversation: Conversation,
    /// Its name.
    pub(crate) name: String,
    /// How this device stands to it.
    pub(crate) state: RoomState,
    /// The owner's client id.
    pub(crate) owner: String,
    /// Who is in it, this device too.
    pub(crate) members: Vec<Member>,
    /// Seconds after which later messages disappear; 0 for never.
    pub(crate) expiry_s: u32,
    /// Unread messages.
    pub(crate) unread: u64,
    /// The newest message's sequence number.
    pub(crate) last_seq: u64,
}

/// A member of a room.
pub(crate) type Member = RoomMember;

/// A pairing that is under way, or has ended lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pairing {
    /// Where it is.
    pub(crate) path: OwnedObjectPath,
    /// Its number, which its page's address holds.
    pub(crate) number: u32,
    /// How far it has come.
    pub(crate) state: PairingState,
    /// The contact, once it is done.
    pub(crate) peer: Option<Conversation>,
    /// Why it failed.
    pub(crate) reason: String,
    /// The digits to compare, while somebody has to.
    pub(crate) digits: String,
    /// When it ends if nothing happens, milliseconds of UTC.
    pub(crate) expires_ms: u64,
}

/// Long work that is under way, or has ended lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    /// Where it is.
    pub(crate) path: OwnedObjectPath,
    /// Its number.
    pub(crate) number: u32,
    /// What it works at.
    pub(crate) kind: TaskKind,
    /// How far it has come.
    pub(crate) state: TaskState,
    /// How much is done.
    pub(crate) done: u64,
    /// How much there is to do; 0 as long as that is not known.
    pub(crate) total: u64,
    /// Why it failed, in the daemon's words.
    pub(crate) sentence: Option<String>,
}

impl Conversation {
    /// That of a contact or a room, by what the address of its page says.
    pub(crate) fn parse(kind: &str, key: &str) -> Option<Self> {
        let path = match kind {
            "peer" => peer_path(key),
            "room" => room_path(key),
            _ => None,
        };
        Self::of(path?)
    }

    /// That of an object on the bus.
    pub(crate) fn of(path: OwnedObjectPath) -> Option<Self> {
        let (kind, key) = match (client_id_of(&path), room_id_of(&path)) {
            (Some(client_id), _) => ("peer", client_id.replace('-', "")),
            (None, Some(id)) => ("room", id),
            (None, None) => return None,
        };
        Some(Self { path, kind, key })
    }

    /// Where it is on the bus.
    pub(crate) fn path(&self) -> &OwnedObjectPath {
        &self.path
    }

    /// Where its page is.
    pub(crate) fn address(&self) -> String {
        format!("/c/{}/{}", self.kind, self.key)
    }

    /// Whether it is that of a room.
    pub(crate) fn is_room(&self) -> bool {
        self.kind == "room"
    }
}

impl Overview {
    /// The contact with this conversation.
    pub(crate) fn peer(&self, conversation: &Conversation) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.conversation == *conversation)
    }

    /// The room with this conversation.
    pub(crate) fn room(&self, conversation: &Conversation) -> Option<&Room> {
        self.rooms.iter().find(|room| room.conversation == *conversation)
    }

    /// The latest work of a kind.
    pub(crate) fn latest_task(&self, kind: TaskKind) -> Option<&Task> {
        self.tasks.iter().rev().find(|task| task.kind == kind)
    }
}

/// Looks.
pub(super) async fn look(connection: &Connection) -> Result<Look> {
    let properties = PropertiesProxy::builder(connection).destination(SERVICE).path(ROOT_PATH).build().await?;
    let manager = InterfaceName::from_static_str(MANAGER_INTERFACE)?;
    let mut manager = Properties(properties.get_all(manager).await?);
    let objects = ObjectManagerProxy::builder(connection).destination(SERVICE).path(ROOT_PATH).build().await?;
    let objects = Objects(objects.get_managed_objects().await?);
    let tasks = by_number(objects.read(TASK_INTERFACE, task), |task: &Task| task.number);
    Ok(match DaemonState::from(manager.number("State")) {
        DaemonState::Unknown => Look::Away,
        DaemonState::NeedsSetUp => Look::NeedsSetUp(tasks),
        DaemonState::Locked => Look::Locked(tasks),
        DaemonState::Ready => Look::Ready(Box::new(Overview {
            name: manager.take("DisplayName"),
            client_id: manager.take("ClientId"),
            version: manager.take("Version"),
            signaling: Signaling::from(manager.number("Signaling")),
            notice: notice(manager.take("LoggingNotice")),
            unread: manager.take("Unread"),
            pin_set: manager.take("PinSet"),
            peers: by_name(objects.read(PEER_INTERFACE, peer), |peer: &Peer| &peer.name),
            rooms: by_name(objects.read(ROOM_INTERFACE, room), |room: &Room| &room.name),
            pairings: by_number(objects.read(PAIRING_INTERFACE, pairing), |pairing: &Pairing| pairing.number),
            tasks,
        })),
    })
}

/// The properties of an interface. What is missing or of another type is as if it were empty.
struct Properties(HashMap<String, OwnedVariant>);

/// All objects with their interfaces.
struct Objects(zbus::fdo::ManagedObjects);

impl Properties {
    fn take<T: TryFrom<OwnedVariant> + Default>(&mut self, name: &str) -> T {
        self.0.remove(name).and_then(|value| T::try_from(value).ok()).unwrap_or_default()
    }

    fn number(&mut self, name: &str) -> u32 {
        self.take(name)
    }
}

impl Objects {
    /// All objects with an interface. A contact's and a room's properties include those of its conversation.
    fn read<T>(&self, interface: &str, one: impl Fn(OwnedObjectPath, Properties) -> Option<T>) -> Vec<T> {
        let mut all = Vec::new();
        for (path, interfaces) in &self.0 {
            let Some(properties) = interfaces.get(interface) else { continue };
            let mut properties = properties.clone();
            properties.extend(interfaces.get(CONVERSATION_INTERFACE).cloned().unwrap_or_default());
            all.extend(one(path.clone(), Properties(properties)));
        }
        all
    }
}

fn by_name<T>(mut all: Vec<T>, name: impl Fn(&T) -> &String) -> Vec<T> {
    all.sort_by_cached_key(|one| name(one).to_lowercase());
    all
}

fn by_number<T>(mut all: Vec<T>, number: impl Fn(&T) -> u32) -> Vec<T> {
    all.sort_by_key(number);
    all
}

fn notice(notice: HashMap<String, OwnedVariant>) -> Notice {
    let mut notice = Properties(notice);
    Notice { mode: notice.number("mode").into(), text: notice.take("text") }
}

fn peer(path: OwnedObjectPath, mut properties: Properties) -> Option<Peer> {
    Some(Peer {
        conversation: Conversation::of(path)?,
        name: properties.take("Name"),
        client_id: properties.take("ClientId"),
        trust: properties.number("Trust").into(),
        blocked: properties.take("Blocked"),
        presence: properties.number("Presence").into(),
        link: properties.number("Link").into(),
        last_seen_ms: properties.take("LastSeen"),
        unread: properties.take("Unread"),
        last_seq: properties.take("LastSeq"),
        expiry_s: properties.number("ExpirySeconds"),
        missing: properties.take("Missing"),
    })
}

fn room(path: OwnedObjectPath, mut properties: Properties) -> Option<Room> {
    let members: Vec<HashMap<String, OwnedVariant>> = properties.take("Members");
    Some(Room {
        conversation: Conversation::of(path)?,
        name: properties.take("Name"),
        state: properties.number("State").into(),
        owner: properties.take("Owner"),
        members: members.into_iter().map(|member| self::member(Properties(member))).collect(),
        expiry_s: properties.number("ExpirySeconds"),
        unread: properties.take("Unread"),
        last_seq: properties.take("LastSeq"),
    })
}

fn member(mut properties: Properties) -> Member {
    Member {
        client_id: properties.take("client_id"),
        name: properties.take("name"),
        present: properties.take("present"),
    }
}

fn pairing(path: OwnedObjectPath, mut properties: Properties) -> Option<Pairing> {
    let peer: Option<OwnedObjectPath> = properties.0.remove("Peer").and_then(|peer| peer.try_into().ok());
    Some(Pairing {
        number: pairing_number_of(&path)?,
        path,
        state: properties.number("State").into(),
        peer: peer.and_then(Conversation::of),
        reason: properties.take("Reason"),
        digits: properties.take("Digits"),
        expires_ms: properties.take("Expires"),
    })
}

fn task(path: OwnedObjectPath, mut properties: Properties) -> Option<Task> {
    let mut summary = Properties(properties.take("Summary"));
    Some(Task {
        number: task_number_of(&path)?,
        path,
        kind: properties.number("Kind").into(),
        state: properties.number("State").into(),
        done: properties.take("Done"),
        total: properties.take("Total"),
        sentence: summary.0.remove("sentence").and_then(|sentence| sentence.try_into().ok()),
    })
}

#[cfg(test)]
mod tests {
    use zbus::Variant;

    use super::*;

    const KEY: &str = "abcdefghijklmnopqrstuvwxyz234567";

    #[test]
    fn a_contact_is_read_and_what_is_missing_or_new_is_unknown() {
        let owned = |value: Variant<'_>| value.try_into_owned().unwrap();
        let path = peer_path(KEY).unwrap();
        let full = Properties(HashMap::from([
            ("Name".to_owned(), owned(Variant::from("bob"))),
            ("Presence".to_owned(), owned(Variant::from(2u32))),
            ("Link".to_owned(), owned(Variant::from(99u32))),
        ]));
        let bob = peer(path, full).unwrap();
        assert_eq!((bob.name.as_str(), bob.presence, bob.link), ("bob", Presence::Online, LinkState::Unknown));
        assert_eq!((bob.trust, bob.unread, bob.blocked), (Trust::Unknown, 0, false));
    }

    #[test]
    fn the_address_of_a_conversation_leads_to_it() {
        let room = "00112233445566778899aabbccddeeff";
        for (kind, key) in [("peer", KEY), ("room", room)] {
            let conversation = Conversation::parse(kind, key).unwrap();
            assert_eq!(conversation.address(), format!("/c/{kind}/{key}"));
            assert_eq!(Conversation::of(conversation.path().clone()), Some(conversation));
        }
        for (kind, key) in [("peer", room), ("room", KEY), ("task", "1"), ("peer", "../inbox"), ("", "")] {
            assert_eq!(Conversation::parse(kind, key), None, "{kind}/{key}");
        }
    }

    #[tokio::test]
    async fn a_bus_that_is_not_there_is_a_messenger_that_is_away() {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("unix:path={}/socket", folder.path().display());
        let bus = super::super::Bus::follow(super::super::Address::Other(address)).await;
        assert_eq!(bus.look().await, Look::Away);
    }
}
