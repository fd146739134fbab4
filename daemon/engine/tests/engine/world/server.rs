//! The signaling server and the way to it.

use std::collections::{BTreeMap, BTreeSet};

use kith_crypto::identity::ClientId;
use kith_engine::{Ice, LoggingMode, LoggingNotice, Signal, SignalOut, Token, Via};
use rand_chacha::rand_core::Rng as _;

use super::{Happening, World};

#[derive(Default)]
pub(super) struct Server {
    up: bool,
    watches: BTreeMap<usize, BTreeSet<ClientId>>,
    invites: BTreeMap<Token, usize>,
    rooms: BTreeMap<Token, BTreeSet<usize>>,
    /// Who has used a token, so that the holder may answer.
    used: BTreeSet<(Token, usize)>,
    visible: BTreeSet<(usize, usize)>,
}

impl Server {
    /// One that knows nobody yet.
    pub(super) fn started() -> Self {
        Self { up: true, ..Self::default() }
    }
}

impl World {
    pub(crate) fn stop_server(&mut self) {
        self.server.up = false;
        for index in 0..self.devices.len() {
            self.log_out(index);
        }
    }

    pub(crate) fn start_server(&mut self) {
        self.server = Server::started();
        for index in 0..self.devices.len() {
            let run = self.devices[index].run;
            self.push(self.delays.signal_ms, Happening::Login(index, run));
        }
    }

    pub(crate) fn set_reaches_server(&mut self, index: usize, reaches: bool) {
        self.devices[index].reaches_server = reaches;
        if reaches {
            let run = self.devices[index].run;
            self.push(self.delays.signal_ms, Happening::Login(index, run));
        } else {
            self.log_out(index);
        }
    }

    pub(super) fn log_out(&mut self, index: usize) {
        let was = core::mem::replace(&mut self.devices[index].logged_in, false);
        self.server.watches.remove(&index);
        self.server.invites.retain(|_, holder| *holder != index);
        self.server.used.retain(|(_, user)| *user != index);
        let rooms: Vec<_> = self.server.rooms.keys().copied().collect();
        rooms.into_iter().for_each(|room| self.leave_room(index, room));
        if was {
            let run = self.devices[index].run;
            self.push(1, Happening::FromServer(index, run, Signal::Disconnected));
        }
        self.tell_presence();
    }

    /// Tells everybody whose view has changed.
    fn tell_presence(&mut self) {
        let mut visible = BTreeSet::new();
        for (watcher, watched) in &self.server.watches {
            for (other, others) in &self.server.watches {
                if watched.contains(&self.devices[*other].id) && others.contains(&self.devices[*watcher].id) {
                    visible.insert((*watcher, *other));
                }
            }
        }
        let before = core::mem::replace(&mut self.server.visible, visible.clone());
        for (watcher, other) in before.symmetric_difference(&visible) {
            let online = visible.contains(&(*watcher, *other));
            if self.devices[*watcher].logged_in {
                let (peer, run) = (self.devices[*other].id, self.devices[*watcher].run);
                let presence = Signal::Presence { peer, online };
                self.push(self.delays.signal_ms, Happening::FromServer(*watcher, run, presence));
            }
        }
    }

    /// On the way to or from the server.
    pub(super) fn push_signal(&mut self, happening: Happening) {
        let faults = self.faults;
        if self.chance(faults.signal_lost * 100) {
            return;
        }
        let doubled = match &happening {
            Happening::ToServer(index, run, signal @ SignalOut::Relay { .. })
                if self.chance(faults.signal_doubled * 100) =>
            {
                Some(Happening::ToServer(*index, *run, signal.clone()))
            }
            _ => None,
        };
        for happening in [Some(happening), doubled].into_iter().flatten() {
            let jitter = u64::from(self.fault_rng.next_u32()) % (faults.signal_jitter_ms + 1);
            self.push(self.delays.signal_ms + jitter, happening);
        }
    }

    pub(super) fn login(&mut self, index: usize, run: u64) {
        let device = &mut self.devices[index];
        if device.run != run || device.engine.is_none() || !device.reaches_server || !self.server.up || device.logged_in
        {
            return;
        }
        device.logged_in = true;
        self.server.watches.insert(index, BTreeSet::new());
        let notice = LoggingNotice { mode: LoggingMode::Active, text: String::new() };
        self.push(self.delays.signal_ms, Happening::FromServer(index, run, Signal::Connected(notice)));
    }

    pub(super) fn serve(&mut self, index: usize, signal: SignalOut) {
        match signal {
            SignalOut::Watch { add, remove } => {
                if let Some(watched) = self.server.watches.get_mut(&index) {
                    watched.extend(add);
                    remove.iter().for_each(|id| {
                        watched.remove(id);
                    });
                }
                self.tell_presence();
            }
            SignalOut::EnterRoom(room) => self.enter_room(index, room),
            SignalOut::LeaveRoom(room) => self.leave_room(index, room),
            SignalOut::OpenInvite(token) => drop(self.server.invites.entry(token).or_insert(index)),
            SignalOut::CloseInvite(token) => drop(self.server.invites.remove(&token)),
            SignalOut::RequestIce => {
                let run = self.devices[index].run;
                let ice = Ice { servers: Vec::new(), lifetime_s: 600 };
                self.push(self.delays.signal_ms, Happening::FromServer(index, run, Signal::Ice(ice)));
            }
            SignalOut::Relay { to, via, payload } => self.relay(index, to, via, payload),
        }
    }

    fn enter_room(&mut self, index: usize, room: Token) {
        if !self.devices[index].logged_in {
            return;
        }
        let others = self.server.rooms.entry(room).or_default().clone();
        self.server.rooms.entry(room).or_default().insert(index);
        for other in others.into_iter().filter(|other| *other != index) {
            self.tell_room_presence(other, room, index, true);
            self.tell_room_presence(index, room, other, true);
        }
    }

    fn leave_room(&mut self, index: usize, room: Token) {
        let Some(devices) = self.server.rooms.get_mut(&room) else { return };
        if devices.remove(&index) {
            let others = devices.clone();
            others.into_iter().for_each(|other| self.tell_room_presence(other, room, index, false));
        }
    }

    fn tell_room_presence(&mut self, to: usize, room: Token, of: usize, present: bool) {
        if self.devices[to].logged_in && self.may_meet(to, of) {
            let (peer, run) = (self.devices[of].id, self.devices[to].run);
            let presence = Signal::RoomPresence { room, peer, present };
            self.push(self.delays.signal_ms, Happening::FromServer(to, run, presence));
        }
    }

    fn relay(&mut self, index: usize, to: ClientId, via: Via, mut payload: Vec<u8>) {
        let target = self.devices.iter().position(|d| d.id == to && d.logged_in);
        let allowed = match (via, target) {
            (Via::Contact, Some(target)) => self.server.visible.contains(&(index, target)),
            (Via::Invite(token), Some(target)) => {
                let held = self.server.invites.get(&token) == Some(&target);
                if held {
                    self.server.used.insert((token, index));
                }
                held || (self.server.invites.get(&token) == Some(&index) && self.server.used.contains(&(token, target)))
            }
            (Via::Room(room), Some(target)) => {
                let inside = |index| self.server.rooms.get(&room).is_some_and(|inside| inside.contains(&index));
                inside(index) && inside(target) && self.may_meet(index, target)
            }
            (_, None) => false,
        };
        let (from, run) = (self.devices[index].id, self.devices[index].run);
        match target.filter(|_| allowed) {
            Some(target) => {
                if let Some(tamper) = &mut self.tamper_payload {
                    tamper(&mut payload);
                }
                let run = self.devices[target].run;
                let from = match self.rename_sender {
                    Some((real, shown)) if real == from => shown,
                    _ => from,
                };
                let relayed = Signal::Relayed { from, via, payload };
                self.push(self.delays.signal_ms, Happening::FromServer(target, run, relayed));
            }
            None => {
                let no_such_invite = matches!(via, Via::Invite(_));
                let undelivered = Signal::Undelivered { to, via, no_such_invite };
                self.push(self.delays.signal_ms, Happening::FromServer(index, run, undelivered));
            }
        }
    }

    /// Whether the server lets these two meet in a room.
    fn may_meet(&self, one: usize, other: usize) -> bool {
        let pair = (one.min(other), one.max(other));
        self.meetings.as_ref().is_none_or(|meetings| meetings.contains(&pair))
    }

    /// A payload out of nowhere.
    pub(crate) fn relay_raw(&mut self, to: usize, from: ClientId, payload: Vec<u8>) {
        let (now, run) = (self.now(), self.devices[to].run);
        let relayed = Signal::Relayed { from, via: Via::Contact, payload };
        self.with(to, run, |engine, rng| engine.handle_signal(relayed, now, rng));
    }
}
