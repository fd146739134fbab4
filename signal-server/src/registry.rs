//! Who is online, who watches whom, who is in which room, which invites are open: the rules, without sockets or a clock.
//!
//! Inputs are the `handle_…` methods, outputs come from [`Registry::poll_output`]; drain it after
//! every input. The same inputs give the same outputs.
//!
//! With other servers it shares a bus, or not: [`words`] are what they say to each other, and `shared` what that
//! does. Alone, nothing of it is used.

pub mod words;

mod others;
mod relay;
mod rooms;
mod shared;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kith_crypto::identity::ClientId;
use kith_crypto::version::Version;
use kith_signal_protocol::limits::{INVITES_MAX, ROOMS_MAX, WATCHED_MAX};
use kith_signal_protocol::{
    Goodbye, GoodbyeReason, Instance, Notice, Presence, RoomPresence, ToDevice, ToServer, Token, Watch, Welcome,
};

use others::{Asked, Others};
use rooms::{Entered, Rooms};
use shared::Link;
use words::{Address, Order, Pair, Word};

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
    /// Give this to the bus.
    Bus(Order),
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
    standing: Standing,
}

/// Whether a login stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Other servers have been asked whether they object.
    Claiming,
    /// Since this tick.
    Welcome(u64),
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
    others: Others,
    /// The connection to other servers, while there is one.
    link: Option<Link>,
    /// How often [`handle_tick`](Self::handle_tick) was called.
    ticks: u64,
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
            others: Others::default(),
            link: None,
            ticks: 0,
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
        if let Some(first) = self.devices.get(&id) {
            if first.instance != instance {
                let is_known = self.tell_intruder(id, instance);
                self.close_in_use(connection, is_known);
                return Accepted::No;
            }
            let stale = first.connection;
            self.forget(stale);
            self.close_replaced(stale);
        }
        let device = Device {
            connection,
            instance,
            watches: BTreeSet::new(),
            rooms: BTreeSet::new(),
            invites: BTreeSet::new(),
            intruder: None,
            standing: Standing::Claiming,
        };
        self.devices.insert(id, device);
        self.connections.insert(connection, id);
        if self.link.is_some() {
            self.claim(connection);
        } else {
            self.welcome(connection);
        }
        Accepted::Yes
    }

    /// From now on the login stands.
    fn welcome(&mut self, connection: ConnectionId) {
        let Some(&id) = self.connections.get(&connection) else {
            return;
        };
        let claiming = self.devices.get_mut(&id).filter(|device| device.standing == Standing::Claiming);
        let Some(device) = claiming else { return };
        device.standing = Standing::Welcome(self.ticks);
        let welcome = Welcome { version: Version::OWN, notice: self.notice.clone() };
        self.send(connection, ToDevice::Welcome(welcome));
        // What was seen of it at another server ends with its being here.
        for pair in self.others.lose_device(id) {
            self.tell_gone(pair);
        }
    }

    /// A message has come from a device that is logged in; from any other it is ignored.
    pub fn handle_message(&mut self, connection: ConnectionId, message: ToServer) {
        let Some(&id) = self.connections.get(&connection) else {
            return;
        };
        if self.here(&id).is_none() {
            return;
        }
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
        // Those that are not welcome yet will be told then.
        for device in self.devices.values().filter(|device| device.standing != Standing::Claiming) {
            let message = ToDevice::Notice(notice.clone());
            self.outputs.push_back(Output::Send { to: device.connection, message });
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
        self.others = Others::default();
        self.link = None;
    }

    /// A device whose login here stands.
    fn here(&self, id: &ClientId) -> Option<&Device> {
        self.devices.get(id).filter(|device| device.standing != Standing::Claiming)
    }

    /// Tells a device of another instance that wants its place, once of each, and finds out if it still lives;
    /// true if it knew.
    fn tell_intruder(&mut self, id: ClientId, instance: Instance) -> bool {
        let Some(first) = self.devices.get_mut(&id).filter(|first| first.standing != Standing::Claiming) else {
            return false;
        };
        let is_known = first.intruder.replace(instance) == Some(instance);
        let to = first.connection;
        if !is_known {
            self.send(to, ToDevice::Intruder);
        }
        self.outputs.push_back(Output::Probe(to));
        is_known
    }

    fn watch(&mut self, id: ClientId, watch: &Watch) {
        for peer in &watch.remove {
            let Some(device) = self.devices.get_mut(&id) else {
                return;
            };
            if device.watches.remove(peer) {
                self.tell_unwatched(Pair { watcher: id, watched: *peer });
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
            match self.here(&peer) {
                Some(other) if other.watches.contains(&id) => {
                    let to = other.connection;
                    self.send(own, presence(peer, true));
                    self.send(to, presence(id, true));
                }
                Some(_) => {}
                None => self.say(Address::Device(peer), Word::Watch(Pair { watcher: id, watched: peer })),
            }
        }
    }

    /// Tells the device that is no longer watched, wherever it is.
    fn tell_unwatched(&mut self, pair: Pair) {
        let Pair { watcher, watched } = pair;
        if let Some(other) = self.devices.get(&watched)
            && other.watches.contains(&watcher)
        {
            let to = other.connection;
            self.send(to, presence(watcher, false));
        }
        if self.others.unsee(watcher, watched) {
            self.say(Address::Device(watched), Word::Unwatch(pair));
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
        let asks = self.rooms.is_new(&room);
        if self.rooms.enter(room, id) == Entered::Full {
            self.send(own, ToDevice::RoomFull(room));
            return;
        }
        device.rooms.insert(room);
        if self.link.is_some() && asks {
            self.outputs.push_back(Output::Bus(Order::Listen(Address::Room(room))));
        }
        self.say(Address::Room(room), Word::Enter { room, device: id, asks });
        for peer in self.rooms.others(&room, id) {
            self.send(own, room_presence(room, peer, true));
        }
        self.tell_room(room, id, true);
    }

    fn leave_room(&mut self, id: ClientId, room: &Token) {
        if let Some(device) = self.devices.get_mut(&id)
            && device.rooms.remove(room)
        {
            self.take_out(*room, id);
        }
    }

    /// Takes a device of this server out of a room.
    fn take_out(&mut self, room: Token, id: ClientId) {
        let is_last = self.rooms.leave(&room, id);
        self.say(Address::Room(room), Word::Leave { room, device: id });
        if is_last {
            self.ignore(Address::Room(room));
        } else {
            self.tell_room(room, id, false);
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
        for &watched in &device.watches {
            self.tell_unwatched(Pair { watcher: id, watched });
        }
        for &room in &device.rooms {
            self.take_out(room, id);
        }
        self.ignore(Address::Device(id));
    }

    fn send(&mut self, to: ConnectionId, message: ToDevice) {
        self.outputs.push_back(Output::Send { to, message });
    }

    fn close_replaced(&mut self, to: ConnectionId) {
        self.close(to, GoodbyeReason::Replaced, "the same device has connected again", 0);
    }

    fn close_in_use(&mut self, to: ConnectionId, is_known: bool) {
        let retry_after_s = if is_known { LATER_REFUSAL_S } else { FIRST_REFUSAL_S };
        let text = "another running device uses this identity";
        self.close(to, GoodbyeReason::IdentityInUse, text, retry_after_s);
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

#[cfg(test)]
mod tests;
