//! Who is online, who watches whom, who is in which room, which invites are open: the rules, without sockets or a clock.
//!
//! Inputs are the `handle_…` methods, outputs come from [`Registry::poll_output`]; drain it after
//! every input. The same inputs give the same outputs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kith_crypto::identity::ClientId;
use kith_crypto::version::Version;
use kith_signal_protocol::limits::{INVITES_MAX, RELAY_BYTES_MAX, ROOMS_MAX, WATCHED_MAX};
use kith_signal_protocol::{
    Goodbye, GoodbyeReason, Instance, Notice, Presence, Relay, Relayed, RoomPresence, ToDevice, ToServer, Token,
    Undelivered, UndeliveredReason, Via, Watch, Welcome,
};

/// Devices that may use one invite: its holder allows five attempts, and some come in vain.
const INVITE_USERS_MAX: usize = 16;

/// After this a refused second instance tries again: the first has been probed by then, and
/// dropped if it was only the trace of a power cut.
const FIRST_REFUSAL_S: u32 = 10;

/// After this it tries again if the first instance did answer; more often would only be noise.
const LATER_REFUSAL_S: u32 = 60;

/// What a server that stops says.
pub const SHUTTING_DOWN: &str = "the server is shutting down";

/// One connection for as long as the server runs; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What the shell does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Send {
        /// On which connection.
        to: ConnectionId,
        /// What.
        message: ToDevice,
    },
    /// Send the ICE configuration with credentials of its own.
    SendIce {
        /// On which connection.
        to: ConnectionId,
        /// For whom.
        device: ClientId,
    },
    /// The first payload of a pairing is on its way.
    Pairing {
        /// Who holds the invite open.
        inviter: ClientId,
        /// Who used it.
        invitee: ClientId,
    },
    /// Find out soon whether this connection still lives.
    Probe(ConnectionId),
    /// Say goodbye, if there is something to say, and close.
    Close {
        /// Which connection; it is already forgotten here.
        to: ConnectionId,
        /// The last words; `None` where the bytes were no message.
        goodbye: Option<Goodbye>,
    },
}

/// Whether a login was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The connection is this device's from now on.
    Yes,
    /// It is about to be closed.
    No,
}

/// A device that is logged in.
struct Device {
    connection: ConnectionId,
    instance: Instance,
    watches: BTreeSet<ClientId>,
    rooms: BTreeSet<Token>,
    invites: BTreeSet<Token>,
    /// The other instance that its owner was last told of, so that one stray device is told once.
    intruder: Option<Instance>,
}

/// An open invite.
struct Invite {
    holder: ClientId,
    /// Whose payloads have gone to the holder; back to these it may send.
    users: BTreeSet<ClientId>,
}

/// The rules of docs/protocol.md §3.2 and §3.3.
pub struct Registry {
    notice: Notice,
    devices: BTreeMap<ClientId, Device>,
    connections: BTreeMap<ConnectionId, ClientId>,
    rooms: Rooms,
    invites: BTreeMap<Token, Invite>,
    outputs: VecDeque<Output>,
}

impl Registry {
    /// A server where nobody is.
    #[must_use]
    pub fn new(notice: Notice) -> Self {
        Self {
            notice,
            devices: BTreeMap::new(),
            connections: BTreeMap::new(),
            rooms: Rooms::default(),
            invites: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// How many devices are logged in.
    #[must_use]
    pub fn online(&self) -> usize {
        self.devices.len()
    }

    /// How many invites are open.
    #[must_use]
    pub fn invites(&self) -> usize {
        self.invites.len()
    }

    /// How many rooms have somebody in them.
    #[must_use]
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// A device has proved who it is.
    pub fn handle_login(&mut self, connection: ConnectionId, id: ClientId, instance: Instance) -> Accepted {
        if let Some(first) = self.devices.get_mut(&id) {
            if first.instance != instance {
                let known = first.intruder.replace(instance) == Some(instance);
                let first = first.connection;
                self.refuse_second(connection, first, known);
                return Accepted::No;
            }
            let stale = first.connection;
            self.forget(stale);
            self.close(stale, GoodbyeReason::Replaced, "the same device has connected again", 0);
        }
        let device = Device {
            connection,
            instance,
            watches: BTreeSet::new(),
            rooms: BTreeSet::new(),
            invites: BTreeSet::new(),
            intruder: None,
        };
        self.devices.insert(id, device);
        self.connections.insert(connection, id);
        let welcome = Welcome { version: Version::OWN, notice: self.notice.clone() };
        self.send(connection, ToDevice::Welcome(welcome));
        Accepted::Yes
    }

    /// A message has come from a device that is logged in; from any other it is ignored.
    pub fn handle_message(&mut self, connection: ConnectionId, message: ToServer) {
        let Some(&id) = self.connections.get(&connection) else {
            return;
        };
        match message {
            ToServer::Login(_) => {
                // Out of order (docs/protocol.md §3.3).
                self.forget(connection);
                self.outputs.push_back(Output::Close { to: connection, goodbye: None });
            }
            ToServer::Watch(watch) => self.watch(id, &watch),
            ToServer::EnterRoom(room) => self.enter_room(id, room),
            ToServer::LeaveRoom(room) => self.leave_room(id, &room),
            ToServer::OpenInvite(token) => self.open_invite(id, token),
            ToServer::CloseInvite(token) => self.close_invite(id, &token),
            ToServer::Relay(relay) => self.relay(connection, id, relay),
            ToServer::IceRequest => {
                self.outputs.push_back(Output::SendIce { to: connection, device: id });
            }
        }
    }

    /// A connection is gone, whether or not anybody logged in on it.
    pub fn handle_disconnected(&mut self, connection: ConnectionId) {
        self.forget(connection);
    }

    /// The server logs in another way from now on; everybody is told.
    pub fn handle_notice(&mut self, notice: Notice) {
        if notice == self.notice {
            return;
        }
        for connection in self.connections.keys() {
            let message = ToDevice::Notice(notice.clone());
            self.outputs.push_back(Output::Send { to: *connection, message });
        }
        self.notice = notice;
    }

    /// The server stops; each device comes back after its own time.
    pub fn handle_shutdown(&mut self, mut retry_after_s: impl FnMut() -> u32) {
        for (connection, _) in std::mem::take(&mut self.connections) {
            self.close(connection, GoodbyeReason::ShuttingDown, SHUTTING_DOWN, retry_after_s());
        }
        self.devices.clear();
        self.rooms = Rooms::default();
        self.invites.clear();
    }

    fn refuse_second(&mut self, second: ConnectionId, first: ConnectionId, known: bool) {
        if !known {
            self.send(first, ToDevice::Intruder);
        }
        self.outputs.push_back(Output::Probe(first));
        let retry_after_s = if known { LATER_REFUSAL_S } else { FIRST_REFUSAL_S };
        let text = "another running device uses this identity";
        self.close(second, GoodbyeReason::IdentityInUse, text, retry_after_s);
    }

    fn watch(&mut self, id: ClientId, watch: &Watch) {
        for peer in &watch.remove {
            let Some(device) = self.devices.get_mut(&id) else {
                return;
            };
            if device.watches.remove(peer)
                && let Some(other) = self.devices.get(peer)
                && other.watches.contains(&id)
            {
                let to = other.connection;
                self.send(to, presence(id, false));
            }
        }
        for &peer in &watch.add {
            let Some(device) = self.devices.get_mut(&id) else {
                return;
            };
            // Nobody is told of itself.
            if peer == id || !device.watches.insert(peer) {
                continue;
            }
            let own = device.connection;
            if device.watches.len() > WATCHED_MAX {
                self.forget(own);
                self.close(own, GoodbyeReason::TooMany, "too many contacts are watched", 0);
                return;
            }
            if let Some(other) = self.devices.get(&peer)
                && other.watches.contains(&id)
            {
                let to = other.connection;
                self.send(own, presence(peer, true));
                self.send(to, presence(id, true));
            }
        }
    }

    fn enter_room(&mut self, id: ClientId, room: Token) {
        let Some(device) = self.devices.get_mut(&id) else {
            return;
        };
        let own = device.connection;
        if device.rooms.contains(&room) {
            return;
        }
        if device.rooms.len() >= ROOMS_MAX {
            self.forget(own);
            self.close(own, GoodbyeReason::TooMany, "too many rooms are entered", 0);
            return;
        }
        if !self.rooms.enter(room, id) {
            self.send(own, ToDevice::RoomFull(room));
            return;
        }
        device.rooms.insert(room);
        for peer in self.rooms.others(&room, id) {
            self.send(own, room_presence(room, peer, true));
        }
        self.tell_room(room, id, true);
    }

    fn leave_room(&mut self, id: ClientId, room: &Token) {
        if let Some(device) = self.devices.get_mut(&id)
            && device.rooms.remove(room)
        {
            self.rooms.leave(room, id);
            self.tell_room(*room, id, false);
        }
    }

    /// Tells the others in a room of `peer`.
    fn tell_room(&mut self, room: Token, peer: ClientId, present: bool) {
        for other in self.rooms.others(&room, peer) {
            if let Some(device) = self.devices.get(&other) {
                let to = device.connection;
                self.send(to, room_presence(room, peer, present));
            }
        }
    }

    fn open_invite(&mut self, id: ClientId, token: Token) {
        let Some(device) = self.devices.get_mut(&id) else {
            return;
        };
        if self.invites.contains_key(&token) {
            return;
        }
        if device.invites.len() >= INVITES_MAX {
            let own = device.connection;
            self.forget(own);
            self.close(own, GoodbyeReason::TooMany, "too many invites are open", 0);
            return;
        }
        device.invites.insert(token);
        self.invites.insert(token, Invite { holder: id, users: BTreeSet::new() });
    }

    fn close_invite(&mut self, id: ClientId, token: &Token) {
        if let Some(device) = self.devices.get_mut(&id)
            && device.invites.remove(token)
        {
            self.invites.remove(token);
        }
    }

    fn relay(&mut self, connection: ConnectionId, from: ClientId, relay: Relay) {
        let Relay { to, via, payload } = relay;
        let routed = if payload.len() > RELAY_BYTES_MAX {
            Err(UndeliveredReason::TooLarge)
        } else {
            match via {
                Via::Contact => self.route_contact(from, to),
                Via::Invite(token) => self.route_invite(from, to, &token),
                Via::Room(room) => self.route_room(from, to, &room),
            }
        };
        match routed {
            Ok(receiver) => {
                self.send(receiver, ToDevice::Relayed(Relayed { from, via, payload }));
            }
            Err(reason) => {
                self.send(connection, ToDevice::Undelivered(Undelivered { to, via, reason }));
            }
        }
    }

    fn route_contact(&self, from: ClientId, to: ClientId) -> Result<ConnectionId, UndeliveredReason> {
        let watched = self.devices.get(&from).is_some_and(|device| device.watches.contains(&to));
        match self.devices.get(&to) {
            Some(device) if watched && device.watches.contains(&from) => Ok(device.connection),
            _ => Err(UndeliveredReason::NotReachable),
        }
    }

    fn route_invite(&mut self, from: ClientId, to: ClientId, token: &Token) -> Result<ConnectionId, UndeliveredReason> {
        let invite = self.invites.get_mut(token).ok_or(UndeliveredReason::NoSuchInvite)?;
        if from == invite.holder {
            if !invite.users.contains(&to) {
                return Err(UndeliveredReason::NotReachable);
            }
        } else if to == invite.holder {
            if invite.users.len() >= INVITE_USERS_MAX && !invite.users.contains(&from) {
                return Err(UndeliveredReason::TooMany);
            }
            if invite.users.insert(from) {
                self.outputs.push_back(Output::Pairing { inviter: to, invitee: from });
            }
        } else {
            // Whether somebody else holds this token open is nobody's business.
            return Err(UndeliveredReason::NoSuchInvite);
        }
        self.devices.get(&to).map(|device| device.connection).ok_or(UndeliveredReason::NotReachable)
    }

    fn route_room(&self, from: ClientId, to: ClientId, room: &Token) -> Result<ConnectionId, UndeliveredReason> {
        let is_inside = |id: &ClientId| self.devices.get(id).is_some_and(|device| device.rooms.contains(room));
        match self.devices.get(&to) {
            Some(device) if from != to && is_inside(&from) && is_inside(&to) => Ok(device.connection),
            _ => Err(UndeliveredReason::NotReachable),
        }
    }

    /// Takes a device out and tells those who were told of it.
    fn forget(&mut self, connection: ConnectionId) {
        let Some(id) = self.connections.remove(&connection) else {
            return;
        };
        let Some(device) = self.devices.remove(&id) else {
            return;
        };
        for token in &device.invites {
            self.invites.remove(token);
        }
        for peer in &device.watches {
            if let Some(other) = self.devices.get(peer)
                && other.watches.contains(&id)
            {
                let to = other.connection;
                self.send(to, presence(id, false));
            }
        }
        for room in &device.rooms {
            self.rooms.leave(room, id);
            self.tell_room(*room, id, false);
        }
    }

    fn send(&mut self, to: ConnectionId, message: ToDevice) {
        self.outputs.push_back(Output::Send { to, message });
    }

    fn close(&mut self, to: ConnectionId, reason: GoodbyeReason, text: &str, retry_after_s: u32) {
        let goodbye = Some(Goodbye { reason, text: text.to_owned(), retry_after_s });
        self.outputs.push_back(Output::Close { to, goodbye });
    }
}

fn room_presence(room: Token, peer: ClientId, present: bool) -> ToDevice {
    ToDevice::RoomPresence(RoomPresence { room, peer, present })
}

fn presence(peer: ClientId, online: bool) -> ToDevice {
    ToDevice::Presence(Presence { peer, online })
}

mod rooms;

use rooms::Rooms;

#[cfg(test)]
mod tests;
