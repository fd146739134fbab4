//! What servers tell each other, and what comes of it.
//!
//! A server hears what is said to its own devices, to the rooms that they are in, and to itself; that it hears is
//! what makes a device present. Where nobody hears a word, the bus says so. What is said between two devices goes
//! to the address of one of them, so that words of one server arrive in their order.

use std::cmp::Ordering;
use std::collections::VecDeque;

use kith_crypto::identity::ClientId;
use kith_signal_protocol::{Instance, ToDevice, Token};

use super::words::{Address, NodeId, Order, Pair, Verdict, Word};
use super::{Asked, ConnectionId, Entered, Output, Registry, Standing, presence, room_presence};

/// A claim that nobody has answered after so many ticks stands: a server that hangs must not keep a device out.
const CLAIM_TICKS: u64 = 4;

/// The connection to other servers.
pub(super) struct Link {
    own: NodeId,
    /// Logins of which the others have not been told yet.
    unannounced: VecDeque<ConnectionId>,
    /// Claims that wait, and since when.
    claims: VecDeque<(u64, ConnectionId)>,
}

impl Registry {
    /// This server can reach others, as `own`, a name that was never used before.
    /// [`handle_room`](Self::handle_room) then tells them of the devices that are here.
    pub fn handle_linked(&mut self, own: NodeId) {
        let unannounced = self.connections.keys().copied().collect();
        self.link = Some(Link { own, unannounced, claims: VecDeque::new() });
        self.outputs.push_back(Output::Bus(Order::Listen(Address::Node(own))));
    }

    /// It can no longer: devices at other servers are gone for those here, which go on among themselves.
    pub fn handle_unlinked(&mut self) {
        let Some(link) = self.link.take() else { return };
        for (_, connection) in link.claims {
            self.welcome(connection);
        }
        for pair in self.others.lose_all() {
            self.tell_gone(pair);
        }
        for (room, device) in self.rooms.end(None) {
            self.tell_room(room, device, false);
        }
    }

    /// The bus has room for more: tells the others of one device that they do not know.
    pub fn handle_room(&mut self) {
        let Some(link) = &mut self.link else { return };
        let Some(connection) = link.unannounced.pop_front() else {
            return;
        };
        let Some(&id) = self.connections.get(&connection) else {
            return;
        };
        self.claim(connection);
        let Some(device) = self.devices.get(&id) else { return };
        let elsewhere = device.watches.iter().filter(|peer| self.here(peer).is_none());
        let watches: Vec<_> = elsewhere.map(|&watched| Pair { watcher: id, watched }).collect();
        let rooms: Vec<_> = device.rooms.iter().copied().collect();
        for pair in watches {
            self.say(Address::Device(pair.watched), Word::Watch(pair));
        }
        for room in rooms {
            self.outputs.push_back(Output::Bus(Order::Listen(Address::Room(room))));
            self.say(Address::Room(room), Word::Enter { room, device: id, asks: true });
        }
    }

    /// Some time has passed, always the same: looks after the other servers and after what they were asked.
    pub fn handle_tick(&mut self) {
        self.ticks += 1;
        let Some(link) = &mut self.link else { return };
        let late = link.claims.iter().take_while(|(since, _)| since + CLAIM_TICKS <= self.ticks).count();
        let stand: Vec<_> = link.claims.drain(..late).collect();
        for (_, connection) in stand {
            self.welcome(connection);
        }
        for (node, number) in self.others.probe_all() {
            self.outputs.push_back(Output::Bus(Order::Say {
                to: Address::Node(node),
                word: Word::Probe,
                asked: Some(number),
            }));
        }
    }

    /// Nobody has heard what was asked with this number.
    pub fn handle_unheard(&mut self, number: u64) {
        match self.others.answered(number) {
            Some(Asked::Claim(connection)) => self.welcome(connection),
            Some(Asked::Relay { from, to, via, is_permitted }) => self.lose_passed(from, to, via, is_permitted),
            Some(Asked::Probe(node)) => {
                for pair in self.others.lose_node(node) {
                    self.tell_gone(pair);
                }
                for (room, device) in self.rooms.end(Some(node)) {
                    self.tell_room(room, device, false);
                }
            }
            None => {}
        }
    }

    /// Another server has said something.
    pub fn handle_word(&mut self, from: NodeId, word: Word) {
        let is_other = self.link.as_ref().is_some_and(|link| link.own != from);
        if !is_other || !self.others.admit(from) {
            return;
        }
        match word {
            Word::Claim { number, device, instance, age } => {
                let verdict = self.judge(from, device, instance, age);
                self.say(Address::Node(from), Word::Claimed { number, verdict });
            }
            Word::Claimed { number, verdict } => self.settle(number, verdict),
            Word::Watch(pair) => {
                if self.see(from, pair) {
                    let back = Pair { watcher: pair.watched, watched: pair.watcher };
                    self.say(Address::Device(pair.watcher), Word::WatchedBack(back));
                }
            }
            Word::WatchedBack(pair) => {
                self.see(from, pair);
            }
            Word::Unwatch(Pair { watcher, watched }) => {
                if self.others.node_of(&watcher) == Some(from) && self.others.unsee(watched, watcher) {
                    self.tell_gone(Pair { watcher: watched, watched: watcher });
                }
            }
            Word::Relay(passed) => self.take_passed(from, passed),
            Word::Undelivered { from, undelivered } => self.tell_undelivered(from, undelivered),
            Word::Enter { room, device, asks } => self.enter_elsewhere(from, room, device, asks),
            Word::Inside { room, devices } => {
                for device in devices {
                    if self.rooms.enter_elsewhere(&room, device, from) == Entered::New {
                        self.tell_room(room, device, true);
                    }
                }
            }
            Word::Full { room, device } => self.turn_away(room, device),
            Word::Leave { room, device } => {
                if self.rooms.leave_elsewhere(&room, device, from) {
                    self.tell_room(room, device, false);
                }
            }
            Word::Probe => {}
        }
    }

    /// Asks the other servers whether a login may stand, and hears what is said to the device from now on.
    pub(super) fn claim(&mut self, connection: ConnectionId) {
        let Some(&device) = self.connections.get(&connection) else {
            return;
        };
        let (Some(link), Some(own)) = (&mut self.link, self.devices.get(&device)) else {
            return;
        };
        let (instance, age) = (own.instance, own.standing.age(self.ticks));
        if own.standing == Standing::Claiming {
            link.claims.push_back((self.ticks, connection));
        }
        let number = self.others.ask(Asked::Claim(connection));
        let to = Address::Device(device);
        self.outputs.push_back(Output::Bus(Order::Listen(to)));
        let word = Word::Claim { number, device, instance, age };
        self.outputs.push_back(Output::Bus(Order::Say { to, word, asked: Some(number) }));
    }

    /// Who keeps an identity that another server claims: of two logins of one daemon the younger, so that a stale
    /// connection never keeps its own device out; of two daemons the one that was there first.
    fn judge(&mut self, from: NodeId, id: ClientId, instance: Instance, age: u64) -> Verdict {
        let own_node = self.link.as_ref().map(|link| link.own);
        let Some(own) = self.devices.get(&id) else {
            return Verdict::Granted;
        };
        let is_same = own.instance == instance;
        let stays = match own.standing.age(self.ticks).cmp(&age) {
            Ordering::Less => is_same,
            Ordering::Greater => !is_same,
            // Both at once: any rule will do that both servers know.
            Ordering::Equal => own_node > Some(from),
        };
        let connection = own.connection;
        match (stays, is_same) {
            (true, true) => Verdict::Outdone,
            (true, false) => Verdict::InUse { is_known: self.tell_intruder(id, instance) },
            (false, _) => {
                self.forget(connection);
                if is_same {
                    self.close_replaced(connection);
                } else {
                    self.close_in_use(connection, false);
                }
                Verdict::Granted
            }
        }
    }

    /// Another server has answered a claim.
    fn settle(&mut self, number: u64, verdict: Verdict) {
        let Some(Asked::Claim(connection)) = self.others.answered(number) else {
            return;
        };
        if !self.connections.contains_key(&connection) {
            return;
        }
        match verdict {
            Verdict::Granted => self.welcome(connection),
            Verdict::Outdone => {
                self.forget(connection);
                self.close_replaced(connection);
            }
            Verdict::InUse { is_known } => {
                self.forget(connection);
                self.close_in_use(connection, is_known);
            }
        }
    }

    /// A device of another server watches one of this; true if the latter watches it too.
    fn see(&mut self, node: NodeId, pair: Pair) -> bool {
        let Pair { watcher: peer, watched: own } = pair;
        // A word that is older than the peer's login here.
        if self.here(&peer).is_some() {
            return false;
        }
        let Some(device) = self.here(&own).filter(|device| device.watches.contains(&peer)) else {
            return false;
        };
        let to = device.connection;
        if self.others.node_of(&peer).is_some_and(|known| known != node) {
            for pair in self.others.lose_device(peer) {
                self.tell_gone(pair);
            }
        }
        if self.others.see(own, peer, node) {
            self.send(to, presence(peer, true));
        }
        true
    }

    /// Tells a device of this server that one elsewhere is gone.
    pub(super) fn tell_gone(&mut self, pair: Pair) {
        if let Some(device) = self.devices.get(&pair.watcher) {
            let to = device.connection;
            self.send(to, presence(pair.watched, false));
        }
    }

    fn enter_elsewhere(&mut self, node: NodeId, room: Token, device: ClientId, asks: bool) {
        if self.rooms.is_new(&room) {
            return;
        }
        match self.rooms.enter_elsewhere(&room, device, node) {
            Entered::New => self.tell_room(room, device, true),
            Entered::Known => {}
            Entered::Full => {
                self.say(Address::Device(device), Word::Full { room, device });
                return;
            }
        }
        if asks {
            let devices = self.rooms.here(&room);
            self.say(Address::Room(room), Word::Inside { room, devices });
        }
    }

    /// Another server has no place left in a room that this device was let into here.
    fn turn_away(&mut self, room: Token, id: ClientId) {
        if let Some(device) = self.devices.get_mut(&id)
            && device.rooms.remove(&room)
        {
            let to = device.connection;
            for peer in self.rooms.others(&room, id) {
                self.send(to, room_presence(room, peer, false));
            }
            self.take_out(room, id);
            self.send(to, ToDevice::RoomFull(room));
        }
    }

    /// Says something to other servers, if there is a way to them.
    pub(super) fn say(&mut self, to: Address, word: Word) {
        if self.link.is_some() {
            self.outputs.push_back(Output::Bus(Order::Say { to, word, asked: None }));
        }
    }

    /// Hears no longer what is said to this address.
    pub(super) fn ignore(&mut self, address: Address) {
        if self.link.is_some() {
            self.outputs.push_back(Output::Bus(Order::Ignore(address)));
        }
    }
}

impl Standing {
    /// For how many ticks it has stood; 0 if it does not.
    fn age(self, ticks: u64) -> u64 {
        match self {
            Self::Claiming => 0,
            Self::Welcome(since) => 1 + ticks.saturating_sub(since),
        }
    }
}

#[cfg(test)]
mod tests;
