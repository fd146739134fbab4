//! Which devices are in which room.
//!
//! A room is a token that its members share; its name, its roster and its owner are nothing that the
//! server knows. A room exists while a device of this server is in it.

use std::collections::BTreeMap;

use kith_crypto::identity::ClientId;
use kith_signal_protocol::Token;
use kith_signal_protocol::limits::ROOM_DEVICES_MAX;

use super::words::NodeId;

/// Where a device is logged in: here, or at another server.
type Place = Option<NodeId>;

/// Whether a device came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It did.
    New,
    /// It was inside already.
    Known,
    /// There is no place left.
    Full,
}

/// The rooms that a device of this server is in.
#[derive(Debug, Default)]
pub(super) struct Rooms(BTreeMap<Token, BTreeMap<ClientId, Place>>);

impl Rooms {
    /// Lets a device of this server in.
    pub(super) fn enter(&mut self, room: Token, id: ClientId) -> Entered {
        let inside = self.0.entry(room).or_default();
        put(inside, id, None)
    }

    /// Lets a device of another server in. A room that nobody here is in stays unknown.
    pub(super) fn enter_elsewhere(&mut self, room: &Token, id: ClientId, node: NodeId) -> Entered {
        match self.0.get_mut(room) {
            Some(inside) if inside.get(&id) != Some(&None) => put(inside, id, Some(node)),
            Some(_) | None => Entered::Known,
        }
    }

    /// Takes a device of this server out; true if it was the last one here.
    pub(super) fn leave(&mut self, room: &Token, id: ClientId) -> bool {
        let Some(inside) = self.0.get_mut(room) else {
            return false;
        };
        inside.remove(&id);
        let is_last = !inside.values().any(Option::is_none);
        if is_last {
            self.0.remove(room);
        }
        is_last
    }

    /// Takes a device of another server out; true if it was inside.
    pub(super) fn leave_elsewhere(&mut self, room: &Token, id: ClientId, node: NodeId) -> bool {
        self.0.get_mut(room).is_some_and(|inside| {
            let is_there = inside.get(&id) == Some(&Some(node));
            is_there && inside.remove(&id).is_some()
        })
    }

    /// Takes out all devices of a server, or of all other servers, and gives where they were.
    pub(super) fn end(&mut self, node: Option<NodeId>) -> Vec<(Token, ClientId)> {
        let mut gone = Vec::new();
        for (room, inside) in &mut self.0 {
            inside.retain(|&id, place| {
                let stays = place.is_none() || (node.is_some() && *place != node);
                if !stays {
                    gone.push((*room, id));
                }
                stays
            });
        }
        gone
    }

    /// Whether nobody of this server is in a room.
    pub(super) fn is_new(&self, room: &Token) -> bool {
        !self.0.contains_key(room)
    }

    /// Whether a device of another server is in a room.
    pub(super) fn is_elsewhere(&self, room: &Token, id: ClientId) -> bool {
        self.0.get(room).and_then(|inside| inside.get(&id)).is_some_and(Option::is_some)
    }

    /// Who is in a room besides `id`.
    pub(super) fn others(&self, room: &Token, id: ClientId) -> Vec<ClientId> {
        self.0.get(room).into_iter().flat_map(BTreeMap::keys).copied().filter(|&other| other != id).collect()
    }

    /// The devices of this server in a room.
    pub(super) fn here(&self, room: &Token) -> Vec<ClientId> {
        let inside = self.0.get(room).into_iter().flatten();
        inside.filter(|(_, place)| place.is_none()).map(|(&id, _)| id).collect()
    }

    /// How many rooms there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn put(inside: &mut BTreeMap<ClientId, Place>, id: ClientId, place: Place) -> Entered {
    if let Some(known) = inside.get_mut(&id) {
        *known = place;
        return Entered::Known;
    }
    if inside.len() >= ROOM_DEVICES_MAX {
        return Entered::Full;
    }
    inside.insert(id, place);
    Entered::New
}
