//! The connection to the daemon, and the contacts and rooms that it shows.

use std::collections::HashMap;
use std::time::Duration;

use kith_dbus::{
    CONVERSATION_INTERFACE, Failure, LinkState, Manager1Proxy, PEER_INTERFACE, Presence, ROOM_INTERFACE, ROOT_PATH,
    RoomMember, RoomState, Row, SERVICE, Trust, client_id_of, room_id_of,
};
use serde_json::{Value, json};
use zbus::connection::Builder;
use zbus::fdo::{ManagedObjects, ObjectManagerProxy};
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use crate::arguments::{Arguments, Bus};
use crate::error::CommandError;

/// How long a call may take. Unlocking derives a key, on purpose slowly, and boards are slow.
const CALL_S_MAX: u64 = 120;

/// A contact, as the daemon showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) path: OwnedObjectPath,
    pub(crate) client_id: String,
    pub(crate) name: String,
    pub(crate) trust: Trust,
    pub(crate) blocked: bool,
    pub(crate) presence: Presence,
    pub(crate) link: LinkState,
    pub(crate) last_seen_ms: u64,
    pub(crate) last_seq: u64,
    pub(crate) unread: u64,
    pub(crate) expiry_s: u32,
}

/// A room, as the daemon showed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) path: OwnedObjectPath,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state: RoomState,
    /// A client id.
    pub(crate) owner: String,
    pub(crate) members: Vec<RoomMember>,
    pub(crate) last_seq: u64,
    pub(crate) unread: u64,
    pub(crate) expiry_s: u32,
}

/// Where messages go.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Peer(Peer),
    Room(Room),
}

/// Connects to the bus that the arguments name.
pub(crate) async fn connect(arguments: &Arguments) -> Result<Connection, CommandError> {
    let builder = match arguments.bus()? {
        Bus::System => Builder::system(),
        Bus::Session => Builder::session(),
        Bus::Address(address) => Builder::address(address),
    };
    let connected = builder.method_timeout(Duration::from_secs(CALL_S_MAX)).build().await;
    connected.map_err(|error| match error {
        zbus::Error::Address(text) => CommandError::Usage(format!("This is not a D-Bus address ({text}): correct it.")),
        error => not_reachable(error.into()),
    })
}

fn not_reachable(failure: Failure) -> CommandError {
    match failure {
        // Whatever keeps a connection from coming up, there is no daemon to talk to.
        Failure::Bus(text) => Failure::NotReachable(text).into(),
        failure => failure.into(),
    }
}

/// The daemon as a whole. Properties are read when they are asked for.
pub(crate) async fn manager(connection: &Connection) -> Result<Manager1Proxy<'static>, CommandError> {
    Ok(Manager1Proxy::builder(connection).cache_properties(CacheProperties::No).build().await?)
}

/// Refuses as the daemon itself does while it is locked or not set up.
pub(crate) async fn require_ready(connection: &Connection) -> Result<(), CommandError> {
    manager(connection).await?.unread().await?;
    Ok(())
}

/// All contacts, by name.
pub(crate) async fn peers(connection: &Connection) -> Result<Vec<Peer>, CommandError> {
    let mut peers = read(&objects(connection).await?, PEER_INTERFACE, Peer::new, Peer::apply);
    peers.sort_by(|a, b| (a.name.to_lowercase(), &a.client_id).cmp(&(b.name.to_lowercase(), &b.client_id)));
    Ok(peers)
}

/// All rooms, by name.
pub(crate) async fn rooms(connection: &Connection) -> Result<Vec<Room>, CommandError> {
    let mut rooms = read(&objects(connection).await?, ROOM_INTERFACE, Room::new, Room::apply);
    rooms.sort_by(|a, b| (a.name.to_lowercase(), &a.id).cmp(&(b.name.to_lowercase(), &b.id)));
    Ok(rooms)
}

async fn objects(connection: &Connection) -> Result<ManagedObjects, CommandError> {
    require_ready(connection).await?;
    let objects = ObjectManagerProxy::builder(connection).destination(SERVICE).path(ROOT_PATH).build().await?;
    Ok(objects.get_managed_objects().await?)
}

/// All objects with an interface, each of which is a conversation, too.
fn read<T>(
    objects: &ManagedObjects,
    interface: &str,
    new: impl Fn(OwnedObjectPath) -> Option<T>,
    apply: impl Fn(&mut T, &str, HashMap<String, OwnedVariant>),
) -> Vec<T> {
    let mut all = Vec::new();
    for (path, interfaces) in objects {
        let Some(mut one) = new(path.clone()) else { continue };
        let mut interfaces = interfaces.clone();
        let Some(properties) = interfaces.remove(interface) else { continue };
        apply(&mut one, interface, properties);
        apply(&mut one, CONVERSATION_INTERFACE, interfaces.remove(CONVERSATION_INTERFACE).unwrap_or_default());
        all.push(one);
    }
    all
}

fn put<T: TryFrom<OwnedVariant>>(place: &mut T, properties: &mut HashMap<String, OwnedVariant>, name: &str) {
    if let Some(value) = properties.remove(name)
        && let Ok(value) = T::try_from(value)
    {
        *place = value;
    }
}

fn put_enum<T: From<u32>>(place: &mut T, properties: &mut HashMap<String, OwnedVariant>, name: &str) {
    if let Some(value) = properties.remove(name) {
        *place = u32::try_from(value).unwrap_or_default().into();
    }
}

/// The contact that a word means.
pub(crate) async fn find(connection: &Connection, wanted: &str) -> Result<Peer, CommandError> {
    choose(peers(connection).await?, wanted)
}

/// The room that a word means: its id, the beginning of that, or its name.
pub(crate) async fn find_room(connection: &Connection, wanted: &str) -> Result<Room, CommandError> {
    match rooms_meant(rooms(connection).await?, wanted).as_slice() {
        [room] => Ok(room.clone()),
        [] => Err(CommandError::NoSuchRoom(wanted.to_owned())),
        _ => Err(CommandError::Ambiguous(wanted.to_owned())),
    }
}

/// The contact or the room that a word means; not both.
pub(crate) async fn find_target(connection: &Connection, wanted: &str) -> Result<Target, CommandError> {
    let rooms = rooms_meant(rooms(connection).await?, wanted);
    match (choose(peers(connection).await?, wanted), rooms.as_slice()) {
        (Ok(peer), []) => Ok(Target::Peer(peer)),
        (Err(CommandError::NoSuchPeer(_)), [room]) => Ok(Target::Room(room.clone())),
        (Ok(_), _) | (Err(CommandError::NoSuchPeer(_)), [_, ..]) => Err(CommandError::Ambiguous(wanted.to_owned())),
        (Err(error), _) => Err(error),
    }
}

fn rooms_meant(rooms: Vec<Room>, wanted: &str) -> Vec<Room> {
    let prefix = wanted.to_lowercase();
    let is_meant = |room: &Room| room.name == wanted || (!prefix.is_empty() && room.id.starts_with(&prefix));
    rooms.into_iter().filter(is_meant).collect()
}

/// A whole client id means its contact and no other. Else a name, or the beginning of a client id:
/// names are chosen by others, so one that looks like the beginning of a client id must not draw
/// messages to itself.
fn choose(peers: Vec<Peer>, wanted: &str) -> Result<Peer, CommandError> {
    let bare = |text: &str| text.replace('-', "").to_lowercase();
    let prefix = bare(wanted);
    if let Some(peer) = peers.iter().find(|peer| bare(&peer.client_id) == prefix) {
        return Ok(peer.clone());
    }
    let is_meant =
        |peer: &&Peer| peer.name == wanted || (!prefix.is_empty() && bare(&peer.client_id).starts_with(&prefix));
    let mut meant = peers.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(peer), None) => Ok(peer.clone()),
        (None, _) => Err(CommandError::NoSuchPeer(wanted.to_owned())),
        (Some(_), Some(_)) => Err(CommandError::Ambiguous(wanted.to_owned())),
    }
}

impl Target {
    pub(crate) fn path(&self) -> &OwnedObjectPath {
        match self {
            Self::Peer(peer) => &peer.path,
            Self::Room(room) => &room.path,
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Peer(peer) => &peer.name,
            Self::Room(room) => &room.name,
        }
    }

    /// Under which key JSON names it, and how.
    pub(crate) fn named(&self) -> (&'static str, &str) {
        match self {
            Self::Peer(peer) => ("peer", &peer.client_id),
            Self::Room(room) => ("room", &room.id),
        }
    }

    /// By whom a message in it was written.
    pub(crate) fn writer(&self, row: &Row) -> String {
        match self {
            Self::Peer(peer) => peer.name.clone(),
            Self::Room(room) => room.member_name(client_id_of(&row.peer).unwrap_or_default()),
        }
    }
}

impl Room {
    /// The room at this path, if it is one, with nothing else known.
    pub(crate) fn new(path: OwnedObjectPath) -> Option<Self> {
        Some(Self { id: room_id_of(&path)?, path, ..Self::default() })
    }

    /// Takes over properties of one of its interfaces.
    pub(crate) fn apply(&mut self, interface: &str, mut properties: HashMap<String, OwnedVariant>) {
        let properties = &mut properties;
        match interface {
            ROOM_INTERFACE => {
                put(&mut self.name, properties, "Name");
                put_enum(&mut self.state, properties, "State");
                put(&mut self.owner, properties, "Owner");
                if let Some(members) = properties.remove("Members").map(Vec::<HashMap<String, OwnedVariant>>::try_from)
                {
                    self.members = members.unwrap_or_default().into_iter().map(member).collect();
                }
            }
            CONVERSATION_INTERFACE => {
                put(&mut self.last_seq, properties, "LastSeq");
                put(&mut self.unread, properties, "Unread");
                put(&mut self.expiry_s, properties, "ExpirySeconds");
            }
            _ => {}
        }
    }

    /// The owner's name for a member; of somebody who has left, the client id.
    pub(crate) fn member_name(&self, client_id: String) -> String {
        let member = self.members.iter().find(|member| member.client_id == client_id);
        member.map_or(client_id, |member| member.name.clone())
    }

    /// As JSON shows it.
    pub(crate) fn json(&self) -> Value {
        let member = |member: &RoomMember| json!({ "client_id": member.client_id, "name": member.name, "present": member.present });
        json!({
            "room": self.id,
            "name": self.name,
            "state": self.state.word(),
            "owner": self.owner,
            "members": self.members.iter().map(member).collect::<Vec<_>>(),
            "last_seq": self.last_seq,
            "unread": self.unread,
            "expiry_s": self.expiry_s,
        })
    }
}

fn member(mut properties: HashMap<String, OwnedVariant>) -> RoomMember {
    let mut member = RoomMember::default();
    put(&mut member.client_id, &mut properties, "client_id");
    put(&mut member.name, &mut properties, "name");
    put(&mut member.present, &mut properties, "present");
    member
}

impl Peer {
    /// The contact at this path, if it is one, with nothing else known.
    pub(crate) fn new(path: OwnedObjectPath) -> Option<Self> {
        Some(Self {
            client_id: client_id_of(&path)?,
            path,
            name: String::new(),
            trust: Trust::Unknown,
            blocked: false,
            presence: Presence::Unknown,
            link: LinkState::Unknown,
            last_seen_ms: 0,
            last_seq: 0,
            unread: 0,
            expiry_s: 0,
        })
    }

    /// Takes over properties of one of its interfaces.
    pub(crate) fn apply(&mut self, interface: &str, mut properties: HashMap<String, OwnedVariant>) {
        let properties = &mut properties;
        match interface {
            PEER_INTERFACE => {
                put(&mut self.name, properties, "Name");
                put_enum(&mut self.trust, properties, "Trust");
                put(&mut self.blocked, properties, "Blocked");
                put_enum(&mut self.presence, properties, "Presence");
                put_enum(&mut self.link, properties, "Link");
                put(&mut self.last_seen_ms, properties, "LastSeen");
            }
            CONVERSATION_INTERFACE => {
                put(&mut self.last_seq, properties, "LastSeq");
                put(&mut self.unread, properties, "Unread");
                put(&mut self.expiry_s, properties, "ExpirySeconds");
            }
            _ => {}
        }
    }

    /// As JSON shows it.
    pub(crate) fn json(&self) -> Value {
        json!({
            "client_id": self.client_id,
            "name": self.name,
            "trust": self.trust.word(),
            "blocked": self.blocked,
            "presence": self.presence.word(),
            "link": self.link.word(),
            "last_seen_ms": self.last_seen_ms,
            "last_seq": self.last_seq,
            "unread": self.unread,
            "expiry_s": self.expiry_s,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(client_id: &str, name: &str) -> Peer {
        Peer {
            path: kith_dbus::peer_path(client_id).unwrap(),
            client_id: client_id.to_owned(),
            name: name.to_owned(),
            trust: Trust::Paired,
            blocked: false,
            presence: Presence::Online,
            link: LinkState::Direct,
            last_seen_ms: 0,
            last_seq: 0,
            unread: 0,
            expiry_s: 0,
        }
    }

    const HALL: &str = "abcd-efgh-ijkl-mnop-qrst-uvwx-yz23-4567";
    const GATE: &str = "abce-efgh-ijkl-mnop-qrst-uvwx-yz23-4567";

    fn chosen(peers: &[Peer], wanted: &str) -> Result<String, &'static str> {
        choose(peers.to_vec(), wanted).map(|peer| peer.client_id).map_err(|error| error.name())
    }

    #[test]
    fn a_contact_is_meant_by_id_by_its_beginning_or_by_name() {
        let peers = [peer(HALL, "hall"), peer(GATE, "gate")];
        for wanted in [HALL, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "abcd", "abcd-e", "hall"] {
            assert_eq!(chosen(&peers, wanted), Ok(HALL.to_owned()), "{wanted}");
        }
    }

    #[test]
    fn what_may_mean_several_is_refused() {
        let peers = [peer(HALL, "hall"), peer(GATE, "hall")];
        assert_eq!(chosen(&peers, "hall"), Err("Ambiguous"));
        assert_eq!(chosen(&peers, "abc"), Err("Ambiguous"));
        assert_eq!(chosen(&peers, "xyz"), Err("NotFound"));
        assert_eq!(chosen(&peers, ""), Err("NotFound"));
        assert_eq!(chosen(&peers, "-"), Err("NotFound"));
    }

    #[test]
    fn a_name_that_looks_like_another_contact_draws_nothing_to_itself() {
        let peers = [peer(HALL, "hall"), peer(GATE, "abcd")];
        assert_eq!(chosen(&peers, "abcd"), Err("Ambiguous"));
        let peers = [peer(HALL, "hall"), peer(GATE, HALL)];
        assert_eq!(chosen(&peers, HALL), Ok(HALL.to_owned()));
    }
}
