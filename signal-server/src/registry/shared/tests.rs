//! Several registries and a bus between them, which delivers in order and says where nobody hears.

use std::collections::{BTreeMap, BTreeSet};

use kith_signal_protocol::limits::ROOM_DEVICES_MAX;
use kith_signal_protocol::{
    Goodbye, GoodbyeReason, LoggingMode, Notice, Presence, Relay, Relayed, RoomPresence, ToServer, Undelivered,
    UndeliveredReason, Via, Watch,
};

use super::super::Accepted;
use super::*;

const A: ClientId = ClientId::from_bytes([1; 20]);
const B: ClientId = ClientId::from_bytes([2; 20]);
const C: ClientId = ClientId::from_bytes([3; 20]);
const TOKEN: Token = [9; 16];

/// What a device was told, and who it was.
type Told = (ClientId, ToDevice);

struct Node {
    registry: Registry,
    hears: BTreeSet<Address>,
    own: Option<NodeId>,
    devices: BTreeMap<ConnectionId, ClientId>,
    /// Hears and says nothing, as after a power cut.
    is_stuck: bool,
}

/// Servers on one bus.
struct Fleet {
    nodes: Vec<Node>,
    names: u8,
    connections: u64,
    told: Vec<Told>,
}

impl Fleet {
    fn new(count: usize) -> Self {
        let notice = Notice { mode: LoggingMode::Disabled, text: String::new() };
        let node = || Node {
            registry: Registry::new(notice.clone()),
            hears: BTreeSet::new(),
            own: None,
            devices: BTreeMap::new(),
            is_stuck: false,
        };
        let nodes = std::iter::repeat_with(node).take(count).collect();
        let mut fleet = Self { nodes, names: 0, connections: 0, told: Vec::new() };
        for at in 0..count {
            fleet.link(at);
        }
        fleet
    }

    fn link(&mut self, at: usize) {
        self.names += 1;
        let own = [self.names; 16];
        let node = &mut self.nodes[at];
        node.hears.clear();
        node.own = Some(own);
        node.registry.handle_linked(own);
        for _ in 0..node.devices.len() {
            node.registry.handle_room();
        }
        self.settle();
    }

    fn unlink(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.own = None;
        node.hears.clear();
        node.registry.handle_unlinked();
        self.settle();
    }

    /// A server is gone with all that it knew.
    fn kill(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        (node.own, node.is_stuck) = (None, true);
        node.hears.clear();
    }

    fn tick(&mut self) {
        for at in 0..self.nodes.len() {
            if !self.nodes[at].is_stuck {
                self.nodes[at].registry.handle_tick();
            }
        }
        self.settle();
    }

    fn log_in(&mut self, at: usize, id: ClientId, instance: u8) -> ConnectionId {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let node = &mut self.nodes[at];
        node.devices.insert(connection, id);
        assert_eq!(node.registry.handle_login(connection, id, [instance; 16]), Accepted::Yes);
        self.settle();
        connection
    }

    fn online(&mut self, at: usize, id: ClientId) -> ConnectionId {
        let connection = self.log_in(at, id, 0);
        assert!(matches!(self.told().as_slice(), [(told, ToDevice::Welcome(_))] if *told == id));
        connection
    }

    fn say(&mut self, at: usize, connection: ConnectionId, message: ToServer) -> Vec<Told> {
        self.nodes[at].registry.handle_message(connection, message);
        self.settle();
        self.told()
    }

    fn leave(&mut self, at: usize, connection: ConnectionId) -> Vec<Told> {
        self.nodes[at].registry.handle_disconnected(connection);
        self.settle();
        self.told()
    }

    fn told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Carries words until there are none.
    fn settle(&mut self) {
        loop {
            let at = (0..self.nodes.len()).find(|&at| self.perform(at));
            if at.is_none() {
                return;
            }
        }
    }

    fn perform(&mut self, at: usize) -> bool {
        let node = &mut self.nodes[at];
        let Some(output) = node.registry.poll_output() else {
            return false;
        };
        match output {
            Output::Send { to, message } => self.told.push((node.devices[&to], message)),
            Output::Close { to, goodbye } => {
                let device = node.devices.remove(&to).unwrap();
                self.told.extend(goodbye.map(|goodbye| (device, ToDevice::Goodbye(goodbye))));
            }
            Output::Bus(Order::Listen(address)) => {
                node.hears.insert(address);
            }
            Output::Bus(Order::Ignore(address)) => {
                node.hears.remove(&address);
            }
            Output::Bus(Order::Say { to, word, asked }) => self.carry(at, to, &word, asked),
            Output::SendIce { .. } | Output::Pairing { .. } | Output::Probe(_) => {}
        }
        true
    }

    fn carry(&mut self, from: usize, to: Address, word: &Word, asked: Option<u64>) {
        let Some(own) = self.nodes[from].own else { return };
        let hearers: Vec<_> =
            (0..self.nodes.len()).filter(|&at| at != from && self.nodes[at].hears.contains(&to)).collect();
        for &at in &hearers {
            if !self.nodes[at].is_stuck {
                self.nodes[at].registry.handle_word(own, word.clone());
            }
        }
        if let (true, Some(number)) = (hearers.is_empty(), asked) {
            self.nodes[from].registry.handle_unheard(number);
        }
    }
}

fn watch(peer: ClientId) -> ToServer {
    ToServer::Watch(Watch { add: vec![peer], remove: Vec::new() })
}

fn unwatch(peer: ClientId) -> ToServer {
    ToServer::Watch(Watch { add: Vec::new(), remove: vec![peer] })
}

fn online(to: ClientId, peer: ClientId, online: bool) -> Told {
    (to, ToDevice::Presence(Presence { peer, online }))
}

fn present(to: ClientId, peer: ClientId, present: bool) -> Told {
    (to, ToDevice::RoomPresence(RoomPresence { room: TOKEN, peer, present }))
}

fn relay(to: ClientId, via: Via) -> ToServer {
    ToServer::Relay(Relay { to, via, payload: vec![5] })
}

fn relayed(to: ClientId, from: ClientId, via: Via) -> Told {
    (to, ToDevice::Relayed(Relayed { from, via, payload: vec![5] }))
}

fn undelivered(from: ClientId, to: ClientId, via: Via, reason: UndeliveredReason) -> Told {
    (from, ToDevice::Undelivered(Undelivered { to, via, reason }))
}

fn goodbye(told: &Told) -> (ClientId, GoodbyeReason, u32) {
    match told {
        (id, ToDevice::Goodbye(Goodbye { reason, retry_after_s, .. })) => (*id, *reason, *retry_after_s),
        other => panic!("no goodbye: {other:?}"),
    }
}

/// A on the first server and B on the second, which watch each other.
fn friends() -> (Fleet, ConnectionId, ConnectionId) {
    let mut fleet = Fleet::new(2);
    let (a, b) = (fleet.online(0, A), fleet.online(1, B));
    assert_eq!(fleet.say(0, a, watch(B)), []);
    assert_eq!(sorted(fleet.say(1, b, watch(A))), [online(A, B, true), online(B, A, true)]);
    (fleet, a, b)
}

fn sorted(mut told: Vec<Told>) -> Vec<Told> {
    told.sort_by_key(|(id, _)| *id);
    told
}

#[test]
fn who_watches_each_other_is_told_across_servers_and_when_one_goes() {
    let (mut fleet, a, b) = friends();
    assert_eq!(fleet.say(0, a, unwatch(B)), [online(B, A, false)]);
    assert_eq!(sorted(fleet.say(0, a, watch(B))), [online(A, B, true), online(B, A, true)]);
    assert_eq!(fleet.leave(1, b), [online(A, B, false)]);
}

#[test]
fn a_watch_of_one_side_tells_nobody_anything_across_servers() {
    let mut fleet = Fleet::new(2);
    let (a, b) = (fleet.online(0, A), fleet.online(1, B));
    assert_eq!(fleet.say(0, a, watch(B)), []);
    let refused = [undelivered(A, B, Via::Contact, UndeliveredReason::NotReachable)];
    assert_eq!(fleet.say(0, a, relay(B, Via::Contact)), refused);
    assert_eq!(fleet.leave(1, b), []);
}

#[test]
fn payloads_of_contacts_pass_both_ways_until_one_watches_no_more() {
    let (mut fleet, a, b) = friends();
    assert_eq!(fleet.say(0, a, relay(B, Via::Contact)), [relayed(B, A, Via::Contact)]);
    assert_eq!(fleet.say(1, b, relay(A, Via::Contact)), [relayed(A, B, Via::Contact)]);
    fleet.say(1, b, unwatch(A));
    let refused = [undelivered(A, B, Via::Contact, UndeliveredReason::NotReachable)];
    assert_eq!(fleet.say(0, a, relay(B, Via::Contact)), refused);
}

#[test]
fn an_invite_is_used_across_servers_and_only_while_it_is_open() {
    let mut fleet = Fleet::new(2);
    let (a, b) = (fleet.online(0, A), fleet.online(1, B));
    let via = Via::Invite(TOKEN);
    let refused = [undelivered(B, A, via, UndeliveredReason::NoSuchInvite)];
    assert_eq!(fleet.say(1, b, relay(A, via)), refused);
    fleet.say(0, a, ToServer::OpenInvite(TOKEN));
    // Its holder answers those who used it, and nobody else.
    assert_eq!(fleet.say(0, a, relay(B, via)), [undelivered(A, B, via, UndeliveredReason::NotReachable)]);
    assert_eq!(fleet.say(1, b, relay(A, via)), [relayed(A, B, via)]);
    assert_eq!(fleet.say(0, a, relay(B, via)), [relayed(B, A, via)]);
    fleet.say(0, a, ToServer::CloseInvite(TOKEN));
    assert_eq!(fleet.say(1, b, relay(A, via)), refused);
    // A holder that is nowhere looks as one that has closed it.
    assert_eq!(fleet.say(1, b, relay(C, via)), [undelivered(B, C, via, UndeliveredReason::NoSuchInvite)]);
}

#[test]
fn a_device_that_moves_to_another_server_ends_its_stale_connection_and_is_seen_there() {
    let (mut fleet, _, b) = friends();
    fleet.log_in(1, A, 0);
    let told = fleet.told();
    assert_eq!(goodbye(&told[0]), (A, GoodbyeReason::Replaced, 0));
    assert_eq!(told[1], online(B, A, false));
    assert!(matches!(told[2], (A, ToDevice::Welcome(_))));
    let a = ConnectionId(fleet.connections);
    assert_eq!(fleet.say(1, a, watch(B)), [online(A, B, true), online(B, A, true)]);
    assert_eq!(fleet.say(1, b, relay(A, Via::Contact)), [relayed(A, B, Via::Contact)]);
}

#[test]
fn another_daemon_with_an_identity_in_use_elsewhere_is_refused_and_both_are_told() {
    let (mut fleet, a, _) = friends();
    for (n, retry_after_s) in [10, 60].into_iter().enumerate() {
        fleet.log_in(1, A, 7);
        let told = fleet.told();
        let (last, before) = told.split_last().unwrap();
        assert_eq!(goodbye(last), (A, GoodbyeReason::IdentityInUse, retry_after_s));
        // Its owner is told once.
        assert_eq!(before, if n == 0 { vec![(A, ToDevice::Intruder)] } else { vec![] });
    }
    assert_eq!(fleet.say(0, a, relay(B, Via::Contact)), [relayed(B, A, Via::Contact)]);
}

#[test]
fn of_two_logins_at_once_one_stands() {
    for same in [true, false] {
        let mut fleet = Fleet::new(2);
        let logins = [(0, ConnectionId(1), 0), (1, ConnectionId(2), u8::from(!same))];
        for (at, connection, instance) in logins {
            fleet.nodes[at].devices.insert(connection, A);
            fleet.nodes[at].registry.handle_login(connection, A, [instance; 16]);
        }
        // Each hears of itself before the other's word arrives.
        let mut said = Vec::new();
        for at in 0..2 {
            while let Some(output) = fleet.nodes[at].registry.poll_output() {
                match output {
                    Output::Bus(Order::Listen(address)) => assert!(fleet.nodes[at].hears.insert(address)),
                    Output::Bus(Order::Say { to, word, asked }) => said.push((at, to, word, asked)),
                    other => panic!("{other:?}"),
                }
            }
        }
        for (at, to, word, asked) in said {
            fleet.carry(at, to, &word, asked);
        }
        fleet.settle();
        let told = fleet.told();
        let welcomes = told.iter().filter(|(_, message)| matches!(message, ToDevice::Welcome(_))).count();
        assert_eq!((welcomes, told.len()), (1, 2), "{told:?}");
        assert_eq!(fleet.nodes.iter().map(|node| node.registry.online()).sum::<usize>(), 1);
    }
}

#[test]
fn a_server_that_hangs_keeps_no_device_out() {
    let mut fleet = Fleet::new(2);
    fleet.online(0, A);
    fleet.nodes[0].is_stuck = true;
    fleet.log_in(1, A, 0);
    assert_eq!(fleet.told(), []);
    for _ in 0..CLAIM_TICKS {
        fleet.tick();
    }
    assert!(matches!(fleet.told().as_slice(), [(A, ToDevice::Welcome(_))]));
}

#[test]
fn the_devices_of_a_killed_server_are_gone_after_one_tick() {
    let (mut fleet, _, b) = friends();
    let c = fleet.online(0, C);
    fleet.say(0, c, ToServer::EnterRoom(TOKEN));
    fleet.say(1, b, ToServer::EnterRoom(TOKEN));
    fleet.tick();
    assert_eq!(fleet.told(), []);
    fleet.kill(0);
    fleet.tick();
    assert_eq!(fleet.told(), [online(B, A, false), present(B, C, false)]);
    // They come to the other one.
    let a = fleet.online(1, A);
    assert_eq!(fleet.say(1, a, watch(B)), [online(A, B, true), online(B, A, true)]);
}

#[test]
fn rooms_span_servers() {
    let mut fleet = Fleet::new(3);
    let (a, b, c) = (fleet.online(0, A), fleet.online(1, B), fleet.online(2, C));
    assert_eq!(fleet.say(0, a, ToServer::EnterRoom(TOKEN)), []);
    assert_eq!(sorted(fleet.say(1, b, ToServer::EnterRoom(TOKEN))), [present(A, B, true), present(B, A, true)]);
    let told = fleet.say(2, c, ToServer::EnterRoom(TOKEN));
    assert_eq!(told.len(), 4, "{told:?}");
    for expected in [present(A, C, true), present(B, C, true), present(C, A, true), present(C, B, true)] {
        assert!(told.contains(&expected), "{told:?}");
    }
    let via = Via::Room(TOKEN);
    assert_eq!(fleet.say(2, c, relay(A, via)), [relayed(A, C, via)]);
    assert_eq!(sorted(fleet.say(0, a, ToServer::LeaveRoom(TOKEN))), [present(B, A, false), present(C, A, false)]);
    assert_eq!(fleet.say(2, c, relay(A, via)), [undelivered(C, A, via, UndeliveredReason::NotReachable)]);
    assert_eq!(fleet.leave(1, b), [present(C, B, false)]);
}

#[test]
fn a_room_that_is_full_elsewhere_has_no_place_here() {
    let mut fleet = Fleet::new(2);
    let member = |n: usize| {
        let mut bytes = [1; 20];
        bytes[..2].copy_from_slice(&u16::try_from(n).unwrap().to_be_bytes());
        ClientId::from_bytes(bytes)
    };
    for n in 0..ROOM_DEVICES_MAX {
        let connection = fleet.log_in(0, member(n), 0);
        fleet.say(0, connection, ToServer::EnterRoom(TOKEN));
    }
    let late = ClientId::from_bytes([0xff; 20]);
    let connection = fleet.online(1, late);
    let told = fleet.say(1, connection, ToServer::EnterRoom(TOKEN));
    assert_eq!(told.last(), Some(&(late, ToDevice::RoomFull(TOKEN))));
    assert!(told.iter().all(|(id, _)| *id == late), "nobody inside is told");
    assert_eq!(fleet.nodes[1].registry.rooms(), 0);
}

#[test]
fn without_the_bus_a_server_goes_on_with_its_own_devices_and_with_it_everything_is_as_before() {
    let (mut fleet, a, b) = friends();
    let c = fleet.online(0, C);
    fleet.say(0, a, watch(C));
    fleet.say(0, c, watch(A));
    for (at, connection) in [(0, a), (1, b)] {
        fleet.say(at, connection, ToServer::EnterRoom(TOKEN));
    }
    fleet.unlink(0);
    assert_eq!(fleet.told(), [online(A, B, false), present(A, B, false)]);
    fleet.unlink(1);
    fleet.told();
    assert_eq!(fleet.say(0, a, relay(C, Via::Contact)), [relayed(C, A, Via::Contact)]);
    assert_eq!(
        fleet.say(0, a, relay(B, Via::Contact)),
        [undelivered(A, B, Via::Contact, UndeliveredReason::NotReachable)]
    );
    let d = ClientId::from_bytes([4; 20]);
    fleet.online(0, d);
    fleet.link(0);
    assert_eq!(fleet.told(), []);
    fleet.link(1);
    let told = fleet.told();
    assert_eq!(told.len(), 4, "{told:?}");
    for expected in [online(A, B, true), online(B, A, true), present(A, B, true), present(B, A, true)] {
        assert!(told.contains(&expected), "{told:?}");
    }
    assert_eq!(fleet.say(0, a, relay(B, Via::Contact)), [relayed(B, A, Via::Contact)]);
}

#[test]
fn after_an_outage_the_younger_login_of_a_device_stands() {
    let mut fleet = Fleet::new(2);
    fleet.online(0, A);
    fleet.unlink(0);
    fleet.unlink(1);
    fleet.tick();
    fleet.tick();
    // It has moved meanwhile, and its old connection does not know.
    fleet.online(1, A);
    fleet.tick();
    fleet.link(0);
    fleet.link(1);
    let told = fleet.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(goodbye(&told[0]), (A, GoodbyeReason::Replaced, 0));
    assert_eq!((fleet.nodes[0].registry.online(), fleet.nodes[1].registry.online()), (0, 1));
}

#[test]
fn a_payload_for_a_device_that_has_just_gone_comes_back() {
    let (mut fleet, a, _) = friends();
    // Killed, and not yet found out.
    fleet.kill(1);
    let refused = [undelivered(A, B, Via::Contact, UndeliveredReason::NotReachable)];
    assert_eq!(fleet.say(0, a, relay(B, Via::Contact)), refused);
}
