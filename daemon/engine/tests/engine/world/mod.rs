//! Engines in virtual time, with a signaling server, links and disks that behave. Everything is
//! seeded: the same seed gives the same run.

pub(crate) mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kith_crypto::identity::{ClientId, Identity};
use kith_engine::{
    Commit, CommitError, CommitId, Effect, Engine, Event, Ice, Incarnation, LinkEvent, LinkId, LinkPath, LinkRole,
    LoadId, Loaded, LoggingMode, LoggingNotice, MessageId, MessageState, Negotiation, NewMessage, Now, PairingState,
    PairingView, PeerView, ProfileRecord, Reply, Request, RequestError, RequestId, Settings, Signal, SignalOut, Token,
    Via,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

use disk::Disk;

/// The start of virtual time: no clock is at zero.
const BOOT_MS: u64 = 50_000;
/// 2026-06-01, in milliseconds of UTC.
const UTC_MS: u64 = 1_780_272_000_000;

/// Changes bytes on their way.
pub(crate) type Tamper = Box<dyn FnMut(&mut Vec<u8>)>;

/// How long things take.
#[derive(Clone, Copy)]
pub(crate) struct Delays {
    pub(crate) signal_ms: u64,
    pub(crate) channel_ms: u64,
    pub(crate) disk_ms: u64,
}

impl Default for Delays {
    fn default() -> Self {
        Self { signal_ms: 5, channel_ms: 2, disk_ms: 3 }
    }
}

pub(crate) struct Device {
    pub(crate) id: ClientId,
    identity: Arc<Identity>,
    pub(crate) engine: Option<Engine>,
    pub(crate) disk: Disk,
    /// Counts restarts, so that what was meant for an earlier run reaches nobody.
    run: u64,
    rng: ChaCha20Rng,
    next_request: u64,
    pub(crate) replies: BTreeMap<RequestId, Result<Reply, RequestError>>,
    pub(crate) events: Vec<Event>,
    pub(crate) peers: BTreeMap<ClientId, PeerView>,
    pub(crate) pairings: BTreeMap<u32, PairingView>,
    /// Whether the network to the server works.
    pub(crate) reaches_server: bool,
    logged_in: bool,
    links: BTreeMap<LinkId, Link>,
}

impl Device {
    fn new(identity: Arc<Identity>, disk: Disk, rng: ChaCha20Rng) -> Self {
        Self {
            id: identity.client_id(),
            identity,
            engine: None,
            disk,
            run: 0,
            rng,
            next_request: 1,
            replies: BTreeMap::new(),
            events: Vec::new(),
            peers: BTreeMap::new(),
            pairings: BTreeMap::new(),
            reaches_server: true,
            logged_in: false,
            links: BTreeMap::new(),
        }
    }
}

struct Link {
    /// The other end, once an answer was given.
    other: Option<(usize, LinkId)>,
    up: bool,
}

#[derive(Default)]
struct Server {
    up: bool,
    watches: BTreeMap<usize, BTreeSet<ClientId>>,
    invites: BTreeMap<Token, usize>,
    /// Who has used a token, so that the holder may answer.
    used: BTreeSet<(Token, usize)>,
    visible: BTreeSet<(usize, usize)>,
}

enum Happening {
    ToServer(usize, u64, SignalOut),
    FromServer(usize, u64, Signal),
    Committed(usize, u64, Commit),
    Loaded(usize, u64, LoadId, kith_engine::Load),
    Link(usize, u64, LinkId, LinkEvent),
    Frame(usize, u64, LinkId, Vec<u8>),
    Login(usize, u64),
}

pub(crate) struct World {
    pub(crate) boot_ms: u64,
    pub(crate) delays: Delays,
    pub(crate) devices: Vec<Device>,
    server: Server,
    queue: BTreeMap<(u64, u64), Happening>,
    order: u64,
    /// Every frame that was put on a channel: sender, bytes.
    pub(crate) frames: u64,
    pub(crate) links_opened: u64,
    /// Called for every sealed payload that the server relays; may change it.
    pub(crate) tamper_payload: Option<Tamper>,
    /// Called for every channel message; may change it.
    pub(crate) tamper_frame: Option<Tamper>,
    /// Give the two ends of a link different certificates than the ones they see.
    pub(crate) swap_fingerprints: bool,
    /// The server says of the first that it is the second.
    pub(crate) rename_sender: Option<(ClientId, ClientId)>,
    /// What the way to the server does, and the moment of a crash.
    pub(crate) faults: Faults,
    fault_rng: ChaCha20Rng,
    /// How far the wall clock is off, milliseconds.
    pub(crate) utc_offset_ms: i64,
    pub(crate) clock_trusted: bool,
}

/// What goes wrong by chance.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Of a hundred messages to or from the server.
    pub(crate) signal_lost: u32,
    pub(crate) signal_doubled: u32,
    /// Added to the delay, so that messages overtake each other.
    pub(crate) signal_jitter_ms: u64,
    /// Of ten thousand effects, so many are followed by a crash of their device.
    pub(crate) crash_after_effect: u32,
}

impl World {
    /// Devices that know nothing of each other, all online.
    pub(crate) fn new(seed: u64, count: usize) -> Self {
        let mut world = Self {
            boot_ms: BOOT_MS,
            delays: Delays::default(),
            devices: Vec::new(),
            server: Server { up: true, ..Server::default() },
            queue: BTreeMap::new(),
            order: 0,
            frames: 0,
            links_opened: 0,
            tamper_payload: None,
            tamper_frame: None,
            swap_fingerprints: false,
            rename_sender: None,
            faults: Faults::default(),
            fault_rng: ChaCha20Rng::seed_from_u64(seed ^ 0x6b69_7468),
            utc_offset_ms: 0,
            clock_trusted: true,
        };
        for index in 0..count {
            let mut rng = ChaCha20Rng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(index as u64));
            let identity = Arc::new(Identity::generate(&mut rng));
            let profile = ProfileRecord {
                display_name: format!("device {index}"),
                incarnation: Incarnation([index as u8 + 1; 16]),
            };
            world.devices.push(Device::new(identity, Disk::new(profile), rng));
            world.start(index);
        }
        world
    }

    /// A world of its own, that goes on from what these devices have on their disks.
    pub(crate) fn branched(&self, seed: u64) -> Self {
        let mut world = Self::new(seed, 0);
        for (index, device) in self.devices.iter().enumerate() {
            let rng = ChaCha20Rng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(index as u64));
            world.devices.push(Device::new(device.identity.clone(), device.disk.clone(), rng));
        }
        for index in 0..world.devices.len() {
            world.start(index);
        }
        world
    }

    /// Two devices that are paired and connected; the lower client id first.
    pub(crate) fn paired(seed: u64) -> Self {
        let mut world = Self::new(seed, 2);
        world.devices.sort_by_key(|d| d.id);
        // The order of the queue names devices by their place: begin again with the right one.
        world.queue.clear();
        for index in 0..2 {
            world.crash(index);
            world.start(index);
        }
        world.pair(0, 1);
        assert!(world.run_while(60_000, |w| !w.connected(0, 1)), "no session");
        // What the pairing wrote reaches the disks.
        world.run_for(100);
        world
    }

    pub(crate) fn now(&self) -> Now {
        let utc_ms = (UTC_MS + self.boot_ms).saturating_add_signed(self.utc_offset_ms);
        Now { boot_ms: self.boot_ms, utc_ms, clock_trusted: self.clock_trusted }
    }

    pub(crate) fn start(&mut self, index: usize) {
        let device = &mut self.devices[index];
        assert!(device.engine.is_none(), "it runs already");
        let settings = Settings { signaling_url: "wss://signal.example/".to_owned(), relay_only: false };
        device.engine = Some(Engine::new(device.identity.clone(), settings, device.disk.state()));
        let run = device.run;
        self.drain(index);
        self.push(self.delays.signal_ms, Happening::Login(index, run));
    }

    /// Ends a device as a power cut does: nothing under way is finished.
    pub(crate) fn crash(&mut self, index: usize) {
        let device = &mut self.devices[index];
        device.engine = None;
        device.disk.lose_power();
        device.run += 1;
        device.peers.clear();
        device.pairings.clear();
        let links = core::mem::take(&mut device.links);
        self.log_out(index);
        for link in links.into_values() {
            self.tell_other_end(link);
        }
    }

    fn tell_other_end(&mut self, link: Link) {
        let Some((other, other_link)) = link.other else { return };
        let run = self.devices[other].run;
        if self.devices[other].links.contains_key(&other_link) {
            let down = LinkEvent::Down("the other side closed".to_owned());
            self.push(self.delays.channel_ms, Happening::Link(other, run, other_link, down));
        }
    }

    pub(crate) fn stop_server(&mut self) {
        self.server.up = false;
        for index in 0..self.devices.len() {
            self.log_out(index);
        }
    }

    pub(crate) fn start_server(&mut self) {
        self.server = Server { up: true, ..Server::default() };
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

    fn log_out(&mut self, index: usize) {
        let was = core::mem::replace(&mut self.devices[index].logged_in, false);
        self.server.watches.remove(&index);
        self.server.invites.retain(|_, holder| *holder != index);
        self.server.used.retain(|(_, user)| *user != index);
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

    /// Ends one link of a device, as a network failure does; both sides notice.
    pub(crate) fn break_link(&mut self, index: usize) {
        let Some((&id, _)) = self.devices[index].links.iter().next_back() else { return };
        let Some(link) = self.devices[index].links.get(&id) else { return };
        let (other, run) = (link.other, self.devices[index].run);
        self.tell_other_end(Link { other, up: false });
        self.push(1, Happening::Link(index, run, id, LinkEvent::Down("the network failed".to_owned())));
    }

    fn chance(&mut self, of_ten_thousand: u32) -> bool {
        of_ten_thousand > 0 && self.fault_rng.next_u32() % 10_000 < of_ten_thousand
    }

    /// On the way to or from the server.
    fn push_signal(&mut self, happening: Happening) {
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

    fn push(&mut self, delay_ms: u64, happening: Happening) {
        self.order += 1;
        self.queue.insert((self.boot_ms + delay_ms, self.order), happening);
    }

    /// Lets things happen while the condition holds, for at most so long; true if it ended.
    pub(crate) fn run_while(&mut self, ms_max: u64, condition: impl Fn(&Self) -> bool) -> bool {
        let end = self.boot_ms + ms_max;
        while condition(self) {
            let timers = self.devices.iter().filter_map(|d| d.engine.as_ref()?.poll_timeout()).min();
            let happening = self.queue.keys().next().map(|(at, _)| *at);
            let Some(at) = timers.into_iter().chain(happening).min().filter(|at| *at <= end) else {
                self.boot_ms = end;
                return !condition(self);
            };
            self.boot_ms = self.boot_ms.max(at);
            if happening.is_some_and(|h| h <= self.boot_ms) {
                if let Some((_, happening)) = self.queue.pop_first() {
                    self.happen(happening);
                }
            } else {
                self.timeouts();
            }
        }
        true
    }

    pub(crate) fn run_for(&mut self, ms: u64) {
        self.run_while(ms, |_| true);
    }

    fn timeouts(&mut self) {
        let now = self.now();
        for index in 0..self.devices.len() {
            let device = &mut self.devices[index];
            if let Some(engine) = &mut device.engine
                && engine.poll_timeout().is_some_and(|at| at <= now.boot_ms)
            {
                engine.handle_timeout(now, &mut device.rng);
                assert!(engine.poll_timeout().is_none_or(|at| at > now.boot_ms), "a timer that stays due would spin");
                self.drain(index);
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now();
        match happening {
            Happening::Login(index, run) => self.login(index, run),
            Happening::ToServer(index, run, signal) => {
                if self.devices[index].run == run && self.devices[index].logged_in {
                    self.serve(index, signal);
                }
            }
            Happening::FromServer(index, run, signal) => {
                self.with(index, run, |engine, rng| engine.handle_signal(signal, now, rng));
            }
            Happening::Committed(index, run, commit) => {
                if self.devices[index].run != run {
                    return;
                }
                let result: Result<(), CommitError> = self.devices[index].disk.commit(&commit.ops);
                let id: CommitId = commit.id;
                self.with(index, run, |engine, rng| engine.handle_committed(id, result, now, rng));
            }
            Happening::Loaded(index, run, id, load) => {
                let loaded: Loaded = self.devices[index].disk.load(&load);
                self.with(index, run, |engine, rng| engine.handle_loaded(id, loaded, now, rng));
            }
            Happening::Link(index, run, link, event) => {
                if !self.devices[index].links.contains_key(&link) {
                    return;
                }
                if matches!(event, LinkEvent::Down(_)) {
                    self.devices[index].links.remove(&link);
                }
                self.with(index, run, |engine, rng| engine.handle_link(link, event, now, rng));
            }
            Happening::Frame(index, run, link, mut frame) => {
                if self.devices[index].links.contains_key(&link) {
                    self.with(index, run, |engine, rng| engine.handle_frame(link, &mut frame, now, rng));
                }
            }
        }
    }

    fn with(&mut self, index: usize, run: u64, input: impl FnOnce(&mut Engine, &mut ChaCha20Rng)) {
        let device = &mut self.devices[index];
        if device.run == run
            && let Some(engine) = &mut device.engine
        {
            input(engine, &mut device.rng);
            self.drain(index);
        }
    }

    fn login(&mut self, index: usize, run: u64) {
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

    fn serve(&mut self, index: usize, signal: SignalOut) {
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

    /// A payload out of nowhere.
    pub(crate) fn relay_raw(&mut self, to: usize, from: ClientId, payload: Vec<u8>) {
        let (now, run) = (self.now(), self.devices[to].run);
        let relayed = Signal::Relayed { from, via: Via::Contact, payload };
        self.with(to, run, |engine, rng| engine.handle_signal(relayed, now, rng));
    }

    fn drain(&mut self, index: usize) {
        while let Some(effect) = self.devices[index].engine.as_mut().and_then(Engine::poll_effect) {
            let run = self.devices[index].run;
            // An effect that was polled may be the last thing a device does.
            let last = self.chance(self.faults.crash_after_effect);
            match effect {
                Effect::Commit(commit) => self.push(self.delays.disk_ms, Happening::Committed(index, run, commit)),
                Effect::Load(id, load) => self.push(self.delays.disk_ms, Happening::Loaded(index, run, id, load)),
                Effect::Signal(signal @ SignalOut::Relay { .. }) => {
                    self.push_signal(Happening::ToServer(index, run, signal))
                }
                Effect::Signal(signal) => self.push(self.delays.signal_ms, Happening::ToServer(index, run, signal)),
                Effect::Transmit(link, frame) => self.transmit(index, link, frame),
                Effect::OpenLink { link, role, .. } => {
                    self.links_opened += 1;
                    self.devices[index].links.insert(link, Link { other: None, up: false });
                    if role == LinkRole::Offerer {
                        let offer = Negotiation::Offer(format!("{index} {}", link.0));
                        self.push(0, Happening::Link(index, run, link, LinkEvent::Local(offer)));
                    }
                }
                Effect::Negotiate(link, words) => self.negotiate(index, link, words),
                Effect::CloseLink(link) => {
                    if let Some(link) = self.devices[index].links.remove(&link) {
                        self.tell_other_end(link);
                    }
                }
                Effect::Notify(event) => self.note(index, event),
                Effect::Reply(id, result) => {
                    let earlier = self.devices[index].replies.insert(id, result);
                    assert!(earlier.is_none(), "a request has one reply");
                }
            }
            if last {
                self.crash(index);
            }
        }
    }

    fn transmit(&mut self, index: usize, link: LinkId, mut frame: Vec<u8>) {
        self.frames += 1;
        assert!(frame.len() <= 16_384, "a channel message is too large");
        if let Some(tamper) = &mut self.tamper_frame {
            tamper(&mut frame);
        }
        let Some(Link { other: Some((other, other_link)), up: true }) = self.devices[index].links.get(&link) else {
            return;
        };
        let (other, other_link, run) = (*other, *other_link, self.devices[*other].run);
        self.push(self.delays.channel_ms, Happening::Frame(other, run, other_link, frame));
    }

    fn negotiate(&mut self, index: usize, link: LinkId, words: Negotiation) {
        let parse = |sdp: &str| -> Option<(usize, LinkId)> {
            let (device, link) = sdp.split_once(' ')?;
            Some((device.parse().ok()?, LinkId(link.parse().ok()?)))
        };
        match words {
            Negotiation::Candidate(_) => {}
            Negotiation::Offer(sdp) => {
                let run = self.devices[index].run;
                if let Some(own) = self.devices[index].links.get_mut(&link) {
                    own.other = parse(&sdp);
                    let answer = Negotiation::Answer(format!("{index} {}", link.0));
                    self.push(0, Happening::Link(index, run, link, LinkEvent::Local(answer)));
                }
            }
            Negotiation::Answer(sdp) => {
                let Some((other, other_link)) = parse(&sdp) else { return };
                if let Some(own) = self.devices[index].links.get_mut(&link) {
                    own.other = Some((other, other_link));
                }
                for (device, own, remote) in [(index, link, (other, other_link)), (other, other_link, (index, link))] {
                    self.bring_up(device, own, remote);
                }
            }
        }
    }

    fn bring_up(&mut self, index: usize, link: LinkId, remote: (usize, LinkId)) {
        let run = self.devices[index].run;
        let swapped = self.swap_fingerprints;
        let Some(own) = self.devices[index].links.get_mut(&link) else { return };
        own.up = true;
        let fingerprint = |device: usize, link: LinkId| {
            let mut bytes = [device as u8; 32];
            bytes[..8].copy_from_slice(&link.0.to_be_bytes());
            bytes
        };
        let mut remote_fingerprint = fingerprint(remote.0, remote.1);
        remote_fingerprint[31] ^= u8::from(swapped);
        let up =
            LinkEvent::Up { own_fingerprint: fingerprint(index, link), remote_fingerprint, path: LinkPath::Direct };
        self.push(self.delays.channel_ms, Happening::Link(index, run, link, up));
    }

    fn note(&mut self, index: usize, event: Event) {
        let device = &mut self.devices[index];
        match &event {
            Event::Peer(view) => drop(device.peers.insert(view.peer, view.clone())),
            Event::PeerRemoved(peer) => drop(device.peers.remove(peer)),
            Event::Pairing(view) => drop(device.pairings.insert(view.pairing.0, view.clone())),
            _ => {}
        }
        device.events.push(event);
    }

    pub(crate) fn request(&mut self, index: usize, request: Request) -> RequestId {
        let now = self.now();
        let device = &mut self.devices[index];
        let id = RequestId(device.next_request);
        device.next_request += 1;
        let engine = device.engine.as_mut().expect("the device runs");
        engine.handle_request(id, request, now, &mut device.rng);
        self.drain(index);
        id
    }

    /// Asks and waits for the answer.
    pub(crate) fn ask(&mut self, index: usize, request: Request) -> Result<Reply, RequestError> {
        let id = self.request(index, request);
        assert!(self.run_while(10_000, |w| !w.devices[index].replies.contains_key(&id)), "no reply");
        self.devices[index].replies.remove(&id).expect("just seen")
    }

    pub(crate) fn invite(&mut self, index: usize) -> String {
        let Ok(Reply::Pairing(id)) = self.ask(index, Request::Invite { lifetime_s: 600 }) else { panic!("no invite") };
        self.run_for(50);
        self.devices[index].pairings[&id.0].uri.clone()
    }

    pub(crate) fn accept(&mut self, index: usize, uri: &str) -> u32 {
        let reply = self.ask(index, Request::Accept { uri: uri.to_owned(), other_server: false });
        let Ok(Reply::Pairing(id)) = reply else { panic!("not accepted: {reply:?}") };
        id.0
    }

    pub(crate) fn pair(&mut self, inviter: usize, invitee: usize) {
        let uri = self.invite(inviter);
        let id = self.accept(invitee, &uri);
        let done = |w: &Self| matches!(w.devices[invitee].pairings[&id].state, PairingState::Done(_));
        assert!(self.run_while(60_000, |w| !done(w)), "not paired: {:?}", self.devices[invitee].pairings[&id]);
    }

    pub(crate) fn message(text: &str) -> NewMessage {
        NewMessage {
            content_type: "text/plain".to_owned(),
            body: text.as_bytes().to_vec(),
            reply_to: None,
            ttl_s: None,
            idempotency_key: None,
        }
    }

    pub(crate) fn send(&mut self, from: usize, to: usize, text: &str) -> MessageId {
        let peer = self.devices[to].id;
        match self.ask(from, Request::Send { peer, message: Self::message(text) }) {
            Ok(Reply::Message(id)) => id,
            other => panic!("not queued: {other:?}"),
        }
    }

    /// What `reader` has received from `writer`, in order.
    pub(crate) fn received(&self, reader: usize, writer: usize) -> Vec<String> {
        let history = self.devices[reader].disk.history(self.devices[writer].id);
        let incoming = history.into_iter().filter(|m| m.direction == kith_engine::Direction::Incoming);
        incoming.map(|m| String::from_utf8_lossy(&m.body).into_owned()).collect()
    }

    /// How many of the own messages to `to` are delivered.
    pub(crate) fn delivered(&self, from: usize, to: usize) -> usize {
        let history = self.devices[from].disk.history(self.devices[to].id);
        let delivered = |m: &&kith_engine::MessageRecord| {
            m.direction == kith_engine::Direction::Outgoing && m.state == MessageState::Delivered
        };
        history.into_iter().filter(delivered).count()
    }

    /// How many own messages to `to` still wait.
    pub(crate) fn queued(&self, from: usize, to: usize) -> usize {
        let history = self.devices[from].disk.history(self.devices[to].id);
        history.into_iter().filter(|m| m.state == MessageState::Queued).count()
    }

    pub(crate) fn connected(&self, a: usize, b: usize) -> bool {
        let up = |x: usize, y: usize| {
            let view = self.devices[x].peers.get(&self.devices[y].id);
            view.is_some_and(|v| v.link != kith_engine::LinkState::None)
        };
        up(a, b) && up(b, a)
    }

    pub(crate) fn troubles(&self, index: usize) -> Vec<&str> {
        let trouble = |event: &'_ Event| matches!(event, Event::Trouble { .. });
        let events = self.devices[index].events.iter().filter(|e| trouble(e));
        events.filter_map(|e| if let Event::Trouble { text, .. } = e { Some(text.as_str()) } else { None }).collect()
    }
}
