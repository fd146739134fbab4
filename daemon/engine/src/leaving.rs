//! Leaving a room, and being taken off its roster (docs/protocol.md §7.1).

use std::collections::BTreeSet;

use kith_crypto::identity::ClientId;
use kith_crypto::room::RoomId;
use kith_crypto::wire::Frame;

use crate::contact::Contact;
use crate::engine::{Engine, Pending, Rng};
use crate::event::Event;
use crate::record::{RoomRecord, RoomState};
use crate::{CommitError, LinkId, Now, Op, Reply, RequestError, RequestId, SignalOut};

impl Engine {
    /// Leaves a room and forgets what was said in it. A member tells the owner, who makes the next
    /// roster; the owner has to hand the room over first, or to be alone in it.
    pub(crate) fn leave_room(&mut self, request: RequestId, id: RoomId) -> Result<(), RequestError> {
        let room = self.rooms.get(&id).filter(|room| room.record.state != RoomState::Left);
        let room = room.ok_or(RequestError::NotFound)?;
        if room.changing.is_some() {
            return Err(RequestError::RoomChanging);
        }
        let owns = room.owner == self.own_id;
        if room.is_joined() && owns && room.members.len() > 1 {
            return Err(RequestError::OwnsRoom);
        }
        let mut ops = vec![Op::RemoveRoom(id)];
        if room.is_joined() && !owns {
            ops.push(Op::PutRoom(RoomRecord { state: RoomState::Left, ..room.record.clone() }));
        }
        let gone: BTreeSet<_> = room.members.keys().copied().collect();
        if let Some(room) = self.rooms.get_mut(&id) {
            room.changing = Some(gone);
        }
        self.commit(ops, Pending::LeftRoom { request, room: id });
        Ok(())
    }

    pub(crate) fn room_left(
        &mut self,
        request: RequestId,
        id: RoomId,
        result: Result<(), CommitError>,
        now: Now,
        rng: Rng<'_>,
    ) {
        let own_id = self.own_id;
        if let Some(room) = self.rooms.get_mut(&id) {
            let stay = room.changing.take().unwrap_or_default();
            if result.is_ok() {
                let (token, members) = (room.token, room.members.clone());
                let owner = room.owner;
                if room.is_joined() && owner != own_id {
                    room.record.state = RoomState::Left;
                    room.conversation = Default::default();
                    self.forget_expiring(id.into());
                } else {
                    self.rooms.remove(&id);
                    self.forget_expiring(id.into());
                }
                self.signal(SignalOut::LeaveRoom(token));
                self.forget_presence_in(token, now, rng);
                self.notify(Event::RoomRemoved(id));
                if let Some(link) = self.session_with(owner) {
                    self.send_frame(link, &Frame::Leave(id), now, rng);
                }
                self.forget_introduced(members.into_keys(), now, rng);
            } else {
                self.stay(id, &stay, now, rng);
            }
        }
        self.reply(request, result.map(|()| Reply::Done).map_err(RequestError::from));
    }

    /// Forgets devices that were known by a room only and are in none any more.
    pub(crate) fn forget_introduced(&mut self, peers: impl Iterator<Item = ClientId>, now: Now, rng: Rng<'_>) {
        for peer in peers {
            let introduced = self.contacts.get(&peer).is_some_and(Contact::is_introduced);
            let in_a_room = self.rooms.values().any(|room| room.members.contains_key(&peer) && room.is_joined());
            if introduced && !in_a_room {
                self.commit(vec![Op::RemoveContact(peer)], Pending::Seen);
                self.contacts.remove(&peer);
                self.end_conns_with(peer, now, rng);
            }
        }
    }

    /// The owner says that this device is on the roster no longer.
    pub(crate) fn dismissed(&mut self, link: LinkId, id: RoomId, version: u64, now: Now, rng: Rng<'_>) {
        let Some(peer) = self.conns.get(&link).map(|conn| conn.peer) else { return };
        let Some(room) = self.rooms.get(&id).filter(|room| room.owner == peer && room.changing.is_none()) else {
            return;
        };
        let (others, token) = (room.members.clone().into_keys(), room.token);
        match room.record.state {
            RoomState::Joined if version > room.version => {
                let record = RoomRecord { state: RoomState::Removed, ..room.record.clone() };
                self.commit(vec![Op::PutRoom(record)], Pending::Seen);
                if let Some(room) = self.rooms.get_mut(&id) {
                    room.record.state = RoomState::Removed;
                }
                self.signal(SignalOut::LeaveRoom(token));
                self.forget_presence_in(token, now, rng);
                self.notify_room(id);
                self.forget_introduced(others, now, rng);
            }
            RoomState::Left => {
                self.commit(vec![Op::RemoveRoom(id)], Pending::Seen);
                self.rooms.remove(&id);
                self.forget_expiring(id.into());
            }
            RoomState::Joined | RoomState::Removed | RoomState::Frozen => {}
        }
    }

    /// A member wants to be on the roster no longer.
    pub(crate) fn leaves(&mut self, link: LinkId, id: RoomId, now: Now, rng: Rng<'_>) {
        let Some(peer) = self.conns.get(&link).map(|conn| conn.peer) else { return };
        let own_id = self.own_id;
        let Some(room) = self.rooms.get_mut(&id) else {
            // A room that has ended here: the peer may forget it.
            self.send_frame(link, &Frame::Dismissal { room: id, version: 0 }, now, rng);
            return;
        };
        if !room.is_joined() || room.owner != own_id {
            return;
        }
        if room.members.contains_key(&peer) {
            room.leaving.insert(peer);
            return self.let_go(id, now, rng);
        }
        let version = room.version;
        self.send_frame(link, &Frame::Dismissal { room: id, version }, now, rng);
    }
}
