//! The rooms.

use kith_dbus::{CreateRoomOptions, Room1Proxy, RoomMember, RoomState, peer_path};
use serde_json::json;
use zbus::Connection;
use zbus::proxy::CacheProperties;

use crate::arguments::{self, Arguments};
use crate::bus::{self, Room};
use crate::console::Console;
use crate::error::CommandError;
use crate::text::safe;

pub(super) async fn list(arguments: &Arguments, console: &mut Console<'_>) -> Result<(), CommandError> {
    let rooms = bus::rooms(&bus::connect(arguments).await?).await?;
    if arguments.json {
        let all: Vec<_> = rooms.iter().map(Room::json).collect();
        return console.document(&json!({ "rooms": all }));
    }
    if rooms.is_empty() {
        return console.line("No rooms yet: see kithctl room create.");
    }
    for room in &rooms {
        console.line(&format!("{}  {}  {}", safe(&room.name), room.id, description(room)))?;
        for member in &room.members {
            console.line(&format!("    {}  {}  {}", safe(&member.name), member.client_id, role(room, member)))?;
        }
    }
    Ok(())
}

/// How this device stands to a room, in a few words.
pub(super) fn description(room: &Room) -> String {
    let mut words = match room.state {
        RoomState::Joined => format!("{} members", room.members.len()),
        RoomState::Removed => "this device was removed".to_owned(),
        RoomState::Frozen => "frozen: its owner has signed two rosters of one version".to_owned(),
        RoomState::Unknown => "unknown".to_owned(),
    };
    if room.unread > 0 {
        words.push_str(&format!(", {} unread", room.unread));
    }
    words
}

fn role(room: &Room, member: &RoomMember) -> &'static str {
    match (room.owner == member.client_id, member.present) {
        (true, true) => "owner, present",
        (true, false) => "owner",
        (false, true) => "present",
        (false, false) => "",
    }
}

pub(super) async fn room(
    arguments: &Arguments,
    console: &mut Console<'_>,
    command: &arguments::Room,
) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    let line = match command {
        arguments::Room::Create { name, peers } => return create(arguments, console, &connection, name, peers).await,
        arguments::Room::Leave { room, yes } => return leave(arguments, console, &connection, room, *yes).await,
        arguments::Room::Add { room, peer } => {
            let (room, peer) = (bus::find_room(&connection, room).await?, bus::find(&connection, peer).await?);
            proxy(&connection, &room).await?.add(&peer.path).await?;
            (room, format!("{} is in the room now.", safe(&peer.name)))
        }
        arguments::Room::Remove { room, member } => {
            let room = bus::find_room(&connection, room).await?;
            let member = member_of(&room, member)?;
            let path = path_of(&member)?;
            proxy(&connection, &room).await?.remove(&path).await?;
            (room, format!("{} is in the room no longer.", safe(&member.name)))
        }
        arguments::Room::Rename { room, name } => {
            let room = bus::find_room(&connection, room).await?;
            proxy(&connection, &room).await?.rename(name).await?;
            let line = format!("{} is called {} now.", safe(&room.name), safe(name));
            (room, line)
        }
        arguments::Room::HandOver { room, member } => {
            let room = bus::find_room(&connection, room).await?;
            let member = member_of(&room, member)?;
            let path = path_of(&member)?;
            proxy(&connection, &room).await?.hand_over(&path).await?;
            (room, format!("{} owns the room now.", safe(&member.name)))
        }
    };
    let (room, line) = line;
    let now = bus::find_room(&connection, &room.id).await?;
    console.result(arguments.json, &now.json(), &line)
}

async fn create(
    arguments: &Arguments,
    console: &mut Console<'_>,
    connection: &Connection,
    name: &str,
    peers: &[String],
) -> Result<(), CommandError> {
    let mut members = Vec::new();
    for peer in peers {
        members.push(bus::find(connection, peer).await?.path);
    }
    let options = CreateRoomOptions { name: Some(name.to_owned()), members: Some(members) };
    let path = bus::manager(connection).await?.create_room(&options).await?;
    let id = kith_dbus::room_id_of(&path).unwrap_or_default();
    let room = bus::find_room(connection, &id).await?;
    console.result(arguments.json, &room.json(), &format!("{} is room {}.", safe(&room.name), room.id))
}

async fn leave(
    arguments: &Arguments,
    console: &mut Console<'_>,
    connection: &Connection,
    wanted: &str,
    yes: bool,
) -> Result<(), CommandError> {
    let room = bus::find_room(connection, wanted).await?;
    if !yes {
        if !console.input_is_terminal {
            return Err(CommandError::Usage("Leaving asks first, and nobody can answer: pass --yes.".to_owned()));
        }
        if !console.agrees(&format!("Leave {} and forget all that was said in it?", safe(&room.name)))? {
            return Err(CommandError::Cancelled);
        }
    }
    proxy(connection, &room).await?.leave().await?;
    console.result(arguments.json, &json!({ "left": room.id }), &format!("{} is left.", safe(&room.name)))
}

/// The member that a word means: a client id, the beginning of one, or its name in the room.
fn member_of(room: &Room, wanted: &str) -> Result<RoomMember, CommandError> {
    let bare = |text: &str| text.replace('-', "").to_lowercase();
    let prefix = bare(wanted);
    let is_meant = |member: &&RoomMember| {
        member.name == wanted || (!prefix.is_empty() && bare(&member.client_id).starts_with(&prefix))
    };
    let mut meant = room.members.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(member), None) => Ok(member.clone()),
        (None, _) => Err(CommandError::NoSuchPeer(wanted.to_owned())),
        (Some(_), Some(_)) => Err(CommandError::Ambiguous(wanted.to_owned())),
    }
}

fn path_of(member: &RoomMember) -> Result<zbus::OwnedObjectPath, CommandError> {
    peer_path(&member.client_id).ok_or_else(|| CommandError::NoSuchPeer(member.client_id.clone()))
}

async fn proxy(connection: &Connection, room: &Room) -> Result<Room1Proxy<'static>, CommandError> {
    let builder = Room1Proxy::builder(connection).path(room.path.clone());
    Ok(builder.cache_properties(CacheProperties::No).build().await?)
}
