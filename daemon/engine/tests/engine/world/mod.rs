//! Engines in virtual time, with a signaling server, links and disks that behave. Everything is
//! seeded: the same seed gives the same run.

pub(crate) mod disk;
mod faults;
mod links;
mod owner;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;

use kith_crypto::identity::{ClientId, Identity};
use kith_crypto::residue;
use kith_engine::{
    Commit, CommitError, CommitId, Effect, Engine, Event, Incarnation, LinkEvent, LinkId, LinkRole, LoadId, Loaded,
    Negotiation, Now, PairingView, PeerView, ProfileRecord, Reply, RequestError, RequestId, RoomId, RoomView, Settings,
    Signal, SignalOut,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

use disk::Disk;
pub(crate) use faults::Faults;
use links::Link;
use server::Server;

/// The start of virtual time: no clock is at zero.
const BOOT_MS: u64 = 50_000;
/// 2026-06-01, in milliseconds of UTC.
const UTC_MS: u64 = 1_780_272_000_000;

/// Overwritten of the stack after an input, where it is.
const STACK_BYTES: usize = 64 * 1024;
/// Random bytes that are enough for a test with one session.
const RANDOM_BYTES: usize = 16 * 1024;

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
    pub(crate) identity: Arc<Identity>,
    pub(crate) engine: Option<Engine>,
    pub(crate) disk: Disk,
    /// Counts restarts, so that what was meant for an earlier run reaches nobody.
    run: u64,
    rng: ChaCha20Rng,
    next_request: u64,
    pub(crate) replies: BTreeMap<RequestId, Result<Reply, RequestError>>,
    pub(crate) events: Vec<Event>,
    pub(crate) peers: BTreeMap<ClientId, PeerView>,
    pub(crate) rooms: BTreeMap<RoomId, RoomView>,
    pub(crate) pairings: BTreeMap<u32, PairingView>,
    /// Whether the network to the server works.
    pub(crate) reaches_server: bool,
    logged_in: bool,
    links: BTreeMap<LinkId, Link>,
    /// When the disk has done what it was asked for: commits end in their order.
    disk_busy_until_ms: u64,
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
            rooms: BTreeMap::new(),
            pairings: BTreeMap::new(),
            reaches_server: true,
            logged_in: false,
            links: BTreeMap::new(),
            disk_busy_until_ms: 0,
        }
    }
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
    /// Of the last link that each device opened, whether it was to be relayed only.
    pub(crate) relay_only: BTreeMap<usize, bool>,
    /// Called for every sealed payload that the server relays; may change it.
    pub(crate) tamper_payload: Option<Tamper>,
    /// Called for every channel message; may change it.
    pub(crate) tamper_frame: Option<Tamper>,
    /// Give the two ends of a link different certificates than the ones they see.
    pub(crate) swap_fingerprints: bool,
    /// Which devices the server lets meet in rooms, the lower place first; `None`: all.
    pub(crate) meetings: Option<Vec<(usize, usize)>>,
    /// The server says of the first that it is the second.
    pub(crate) rename_sender: Option<(ClientId, ClientId)>,
    /// What the way to the server does, and the moment of a crash.
    pub(crate) faults: Faults,
    fault_rng: ChaCha20Rng,
    /// How far the wall clock is off, milliseconds.
    pub(crate) utc_offset_ms: i64,
    pub(crate) clock_trusted: bool,
    /// Overwrite the stack after each input, as the daemon does. It takes as long as the rest of a run.
    pub(crate) wipes_stack: bool,
}

impl World {
    /// Devices that know nothing of each other, all online.
    pub(crate) fn new(seed: u64, count: usize) -> Self {
        let mut world = Self {
            boot_ms: BOOT_MS,
            delays: Delays::default(),
            devices: Vec::new(),
            server: Server::started(),
            queue: BTreeMap::new(),
            order: 0,
            frames: 0,
            links_opened: 0,
            relay_only: BTreeMap::new(),
            tamper_payload: None,
            tamper_frame: None,
            swap_fingerprints: false,
            meetings: None,
            rename_sender: None,
            faults: Faults::default(),
            fault_rng: ChaCha20Rng::seed_from_u64(seed ^ 0x6b69_7468),
            utc_offset_ms: 0,
            clock_trusted: true,
            wipes_stack: false,
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
        Self::acquainted(seed, 2)
    }

    /// Devices of which each is paired and connected with each other; lower client ids first.
    pub(crate) fn acquainted(seed: u64, count: usize) -> Self {
        let pairs: Vec<_> = (0..count).flat_map(|one| (one + 1..count).map(move |other| (one, other))).collect();
        Self::with_pairs(seed, count, &pairs)
    }

    /// Devices of which these are paired and connected; lower client ids first.
    pub(crate) fn with_pairs(seed: u64, count: usize, pairs: &[(usize, usize)]) -> Self {
        let mut world = Self::new(seed, count);
        world.devices.sort_by_key(|d| d.id);
        // The order of the queue names devices by their place: begin again with the right one.
        world.queue.clear();
        for index in 0..count {
            world.crash(index);
            world.start(index);
        }
        for &(one, other) in pairs {
            world.pair(one, other);
            assert!(world.run_while(60_000, |w| !w.connected(one, other)), "no session");
        }
        // What the pairing wrote reaches the disks.
        world.run_for(100);
        world
    }

    fn write_some(&mut self, index: usize) {
        let run = self.devices[index].run;
        let mut under_way = Vec::new();
        for happening in self.queue.values() {
            if let Happening::Committed(device, of_run, commit) = happening
                && (*device, *of_run) == (index, run)
            {
                under_way.push(commit.ops.clone());
            }
        }
        let written = self.faults_below(under_way.len() + 1);
        for ops in under_way.iter().take(written) {
            // Whether there was room for it is told to nobody.
            let _ = self.devices[index].disk.commit(ops);
        }
    }

    /// The one draws from now on what the other is going to draw.
    pub(crate) fn copy_randomness(&mut self, of: usize, to: usize) {
        self.devices[to].rng = self.devices[of].rng.clone();
    }

    /// What each device will draw from now on.
    pub(crate) fn randomness_to_come(&self) -> Vec<Vec<u8>> {
        let stream = |device: &Device| {
            let mut bytes = vec![0; RANDOM_BYTES];
            device.rng.clone().fill_bytes(&mut bytes);
            bytes
        };
        self.devices.iter().map(stream).collect()
    }

    /// Draws more than a source of random numbers keeps ready: nothing that was drawn is left in it.
    pub(crate) fn discard_randomness(&mut self) {
        self.devices.iter_mut().for_each(|device| device.rng.fill_bytes(&mut [0; 512]));
    }

    pub(crate) fn now(&self) -> Now {
        let utc_ms = (UTC_MS + self.boot_ms).saturating_add_signed(self.utc_offset_ms);
        Now { boot_ms: self.boot_ms, utc_ms, clock_trusted: self.clock_trusted }
    }

    pub(crate) fn start(&mut self, index: usize) {
        let device = &mut self.devices[index];
        assert!(device.engine.is_none(), "it runs already");
        let settings = Settings { signaling_urls: vec!["wss://signal.example/".to_owned()], relay_only: false };
        device.engine = Some(Engine::new(device.identity.clone(), settings, device.disk.state()));
        let run = device.run;
        self.drain(index);
        self.push(self.delays.signal_ms, Happening::Login(index, run));
    }

    /// Ends a device as a power cut does. Of what it was writing, the disk has the first few commits or none;
    /// the device never learns which.
    pub(crate) fn crash(&mut self, index: usize) {
        self.write_some(index);
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

    /// After what the disk was asked for before.
    fn push_disk(&mut self, index: usize, happening: Happening) {
        let device = &mut self.devices[index];
        device.disk_busy_until_ms = device.disk_busy_until_ms.max(self.boot_ms + self.delays.disk_ms);
        let delay_ms = device.disk_busy_until_ms - self.boot_ms;
        self.push(delay_ms, happening);
    }

    fn push(&mut self, delay_ms: u64, happening: Happening) {
        self.order += 1;
        self.queue.insert((self.boot_ms + delay_ms, self.order), happening);
    }

    /// Nothing goes wrong any more: every disk has space, every device runs and reaches the server, which is a new one.
    pub(crate) fn heal(&mut self) {
        self.faults = Faults::default();
        self.delays = Delays::default();
        for index in 0..self.devices.len() {
            self.devices[index].disk.full = false;
            self.devices[index].reaches_server = true;
            if self.devices[index].engine.is_none() {
                self.start(index);
            }
        }
        self.stop_server();
        self.run_for(2_000);
        self.start_server();
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
                input(self.wipes_stack, || engine.handle_timeout(now, &mut device.rng));
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

    fn with(&mut self, index: usize, run: u64, take: impl FnOnce(&mut Engine, &mut ChaCha20Rng)) {
        let device = &mut self.devices[index];
        if device.run == run
            && let Some(engine) = &mut device.engine
        {
            input(self.wipes_stack, || take(engine, &mut device.rng));
            self.drain(index);
        }
    }

    fn drain(&mut self, index: usize) {
        while let Some(effect) = self.devices[index].engine.as_mut().and_then(Engine::poll_effect) {
            let run = self.devices[index].run;
            // An effect that was polled may be the last thing a device does.
            let last = self.chance(self.faults.crash_after_effect);
            match effect {
                Effect::Commit(commit) => self.push_disk(index, Happening::Committed(index, run, commit)),
                Effect::Load(id, load) => self.push_disk(index, Happening::Loaded(index, run, id, load)),
                Effect::Signal(signal @ SignalOut::Relay { .. }) => {
                    self.push_signal(Happening::ToServer(index, run, signal))
                }
                Effect::Signal(signal) => self.push(self.delays.signal_ms, Happening::ToServer(index, run, signal)),
                Effect::Transmit(link, frame) => self.transmit(index, link, frame),
                Effect::OpenLink { link, role, relay_only, .. } => {
                    self.relay_only.insert(index, relay_only);
                    self.links_opened += 1;
                    self.devices[index].links.insert(link, Link::default());
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

    fn note(&mut self, index: usize, event: Event) {
        let device = &mut self.devices[index];
        match &event {
            Event::Peer(view) => drop(device.peers.insert(view.peer, view.clone())),
            Event::PeerRemoved(peer) => drop(device.peers.remove(peer)),
            Event::Room(view) => drop(device.rooms.insert(view.room, view.clone())),
            Event::RoomRemoved(room) => drop(device.rooms.remove(room)),
            Event::Pairing(view) => drop(device.pairings.insert(view.pairing.0, view.clone())),
            _ => {}
        }
        device.events.push(event);
    }
}

/// Gives an engine an input, and leaves nothing of it on the stack if that is asked for.
fn input(wipes_stack: bool, work: impl FnOnce()) {
    if wipes_stack { residue::wiped::<STACK_BYTES, _>(work) } else { work() }
}
