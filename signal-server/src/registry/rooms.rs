//! Which devices are in which room.
//!
//! A room is a token that its members share; its name, its roster and its owner are nothing that the
//! server knows. A room exists while somebody is in it.

use std::collections::{BTreeMap, BTreeSet};

use kith_crypto::identity::ClientId;
use kith_signal_protocol::Token;
use kith_signal_protocol::limits::ROOM_DEVICES_MAX;

/// The rooms that somebody is in.
#[derive(Debug, Default)]
pub(super) struct Rooms(BTreeMap<Token, BTreeSet<ClientId>>);

impl Rooms {
    /// Lets a device in; false if there is no place left.
    pub(super) fn enter(&mut self, room: Token, id: ClientId) -> bool {
        let inside = self.0.entry(room).or_default();
        inside.len() < ROOM_DEVICES_MAX && inside.insert(id)
    }

    /// Takes a device out.
    pub(super) fn leave(&mut self, room: &Token, id: ClientId) {
        if let Some(inside) = self.0.get_mut(room) {
            inside.remove(&id);
            if inside.is_empty() {
                self.0.remove(room);
            }
        }
    }

    /// Who is in a room besides `id`.
    pub(super) fn others(&self, room: &Token, id: ClientId) -> Vec<ClientId> {
        self.0.get(room).into_iter().flatten().copied().filter(|&other| other != id).collect()
    }

    /// How many rooms there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
