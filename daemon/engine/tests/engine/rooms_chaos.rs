//! Seeded runs of rooms in which everything goes wrong: members crash, lose the server and each other, are
//! added, removed and leave, the owner changes, disks are full. Whoever is in the room at the end agrees on
//! the roster and has, of each other, every message that was sent to it, once and in its writer's order.
//!
//! A failure prints its seed; `KITH_SEED=n` replays it, `KITH_RUNS=n` sets how many are tried: a fortieth of n.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use kith_crypto::identity::ClientId;
use kith_engine::{Reply, Request, RequestId, RoomId, RoomState};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

use crate::rooms::{heard_of, room_of};
use crate::world::{Faults, World};

/// Enough for the everyday loop.
const RUNS_DEFAULT: u64 = 60;
/// One run costs as much as so many of two devices.
const RUN_COSTS: u64 = 40;
const STEPS: usize = 24;
const PAUSES_MS: [u64; 6] = [0, 3, 40, 200, 2_000, 20_000];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Devices that are all contacts of the first, in a room of the first half of them. Pairing costs most of a
/// run's time: all runs branch from one of these.
pub(crate) struct Base {
    world: World,
    room: RoomId,
    devices: usize,
}

impl Base {
    pub(crate) fn new(devices: usize) -> Self {
        let pairs: Vec<_> = (1..devices).map(|other| (0, other)).collect();
        let mut world = World::with_pairs(700 + devices as u64, devices, &pairs);
        let first: Vec<_> = (0..=devices / 2).collect();
        let room = room_of(&mut world, &first);
        world.run_for(100);
        Self { world, room, devices }
    }
}

struct Run {
    world: World,
    room: RoomId,
    devices: usize,
    rng: ChaCha20Rng,
    /// Members from the beginning whom nobody has asked to go.
    steady: BTreeSet<usize>,
    /// What each device was asked to say.
    asked: BTreeMap<usize, Vec<(RequestId, String)>>,
}

impl Run {
    fn new(base: &Base, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut world = base.world.branched(seed);
        world.faults = Faults {
            signal_lost: rng.next_u32() % 10,
            signal_doubled: rng.next_u32() % 10,
            signal_jitter_ms: u64::from(rng.next_u32() % 50),
            frame_lost: [0, 0, 20, 100][(rng.next_u32() % 4) as usize],
            crash_after_effect: [0, 0, 5, 20][(rng.next_u32() % 4) as usize],
        };
        Self {
            world,
            room: base.room,
            devices: base.devices,
            rng,
            steady: (0..=base.devices / 2).collect(),
            asked: BTreeMap::new(),
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.rng.next_u32() as usize % limit
    }

    fn step(&mut self, step: usize) {
        let device = self.below(self.devices);
        match self.below(12) {
            0..=3 => self.say(device, step),
            4 if self.world.devices[device].engine.is_some() => self.world.crash(device),
            4 => self.world.start(device),
            5 => self.world.break_link(device),
            6 => {
                let reaches = !self.world.devices[device].reaches_server;
                self.world.set_reaches_server(device, reaches);
            }
            7 => self.world.devices[device].disk.full = !self.world.devices[device].disk.full,
            8 => drop(self.ask_owner(|room, peer| Request::AddMember { room, peer })),
            9 => {
                if let Some(peer) = self.ask_owner(|room, peer| Request::RemoveMember { room, peer }) {
                    self.steady.remove(&peer);
                }
            }
            10 => drop(self.ask_owner(|room, _| Request::RenameRoom { room, name: "another".to_owned() })),
            _ => self.rarely(device),
        }
        let pause_ms = PAUSES_MS[self.below(PAUSES_MS.len())];
        self.world.run_for(pause_ms);
    }

    fn say(&mut self, device: usize, step: usize) {
        for n in 0..=self.below(3) {
            if self.world.devices[device].engine.is_none() {
                return;
            }
            let text = format!("{device}, step {step}, {n}");
            let message = World::message(&text);
            let id = self.world.request(device, Request::Send { conversation: self.room.into(), message });
            self.asked.entry(device).or_default().push((id, text));
        }
    }

    /// Whoever believes to own the room, if it runs.
    fn owner(&self) -> Option<usize> {
        (0..self.devices).find(|device| {
            let device = &self.world.devices[*device];
            device.engine.is_some() && device.rooms.get(&self.room).is_some_and(|view| view.owner == device.id)
        })
    }

    /// Asks the owner for a change that concerns some device; says which.
    fn ask_owner(&mut self, request: impl FnOnce(RoomId, ClientId) -> Request) -> Option<usize> {
        let (owner, other) = (self.owner()?, self.below(self.devices));
        let peer = self.world.devices[other].id;
        self.world.request(owner, request(self.room, peer));
        Some(other)
    }

    fn rarely(&mut self, device: usize) {
        match self.below(4) {
            0 => self.world.stop_server(),
            1 => self.world.start_server(),
            2 if self.world.devices[device].engine.is_some() => {
                self.steady.remove(&device);
                self.world.request(device, Request::LeaveRoom(self.room));
            }
            _ => {}
        }
    }

    /// Everything works again; what was promised must arrive.
    fn settle(&mut self) {
        self.world.heal();
        let settled = |run: &World, members: &[usize], room| {
            members.iter().all(|member| run.devices[*member].disk.waiting(room) == 0)
        };
        for _ in 0..60 {
            self.world.run_for(10_000);
            let members = self.members();
            if self.agree(&members) && settled(&self.world, &members, self.room) {
                return;
            }
        }
    }

    /// Who is on the owner's roster. Nobody is once the owner was alone in the room and has left it: what a device that
    /// was removed before still shows is no roster any more.
    fn members(&self) -> Vec<usize> {
        let views = (0..self.devices).filter_map(|device| self.world.devices[device].rooms.get(&self.room));
        let in_it = views.filter(|view| view.state == RoomState::Joined);
        let Some(newest) = in_it.max_by_key(|view| view.version) else { return Vec::new() };
        let on_it = |device: &usize| newest.members.iter().any(|member| member.peer == self.world.devices[*device].id);
        (0..self.devices).filter(on_it).collect()
    }

    fn agree(&self, members: &[usize]) -> bool {
        let views: BTreeSet<_> = members
            .iter()
            .map(|member| {
                self.world.devices[*member]
                    .rooms
                    .get(&self.room)
                    .map(|view| (view.version, view.state == RoomState::Joined, view.members.len()))
            })
            .collect();
        views.len() <= 1 && !views.contains(&None) && views.iter().flatten().all(|(_, joined, _)| *joined)
    }

    /// What is wrong, in sentences.
    fn faults(&self) -> Vec<String> {
        let members = self.members();
        let mut faults = Vec::new();
        if !self.agree(&members) {
            faults.push(format!("the members {members:?} do not agree"));
        }
        for writer in 0..self.devices {
            let replies = &self.world.devices[writer].replies;
            let asked = self.asked.get(&writer).map(Vec::as_slice).unwrap_or_default();
            let queued = |id: &RequestId| matches!(replies.get(id), Some(Ok(Reply::Message(_))));
            let order: Vec<_> = asked.iter().map(|(_, text)| text.as_str()).collect();
            let confirmed: Vec<_> = asked.iter().filter(|(id, _)| queued(id)).map(|(_, text)| text).collect();
            for reader in (0..self.devices).filter(|reader| *reader != writer) {
                let heard = heard_of(&self.world, reader, writer, self.room);
                let places: Vec<_> = heard.iter().map(|text| order.iter().position(|asked| asked == text)).collect();
                let steady = self.steady.contains(&reader) && self.steady.contains(&writer);
                if steady && confirmed.iter().any(|text| !heard.contains(*text)) {
                    faults.push(format!("{reader} lacks messages of {writer}: it has {heard:?} of {confirmed:?}"));
                }
                if places.windows(2).any(|pair| pair[0] >= pair[1]) {
                    faults.push(format!("{reader} hears {writer} twice or out of order: {heard:?}"));
                }
            }
            if members.contains(&writer) && self.world.devices[writer].disk.waiting(self.room) > 0 {
                faults.push(format!("messages of {writer} still wait"));
            }
        }
        faults
    }
}

/// One run; gives what is wrong and how many messages were heard.
fn run(base: &Base, seed: u64) -> (Vec<String>, usize) {
    let mut run = Run::new(base, seed);
    for step in 0..STEPS {
        run.step(step);
    }
    run.settle();
    let heard = (0..run.devices).map(|device| run.world.devices[device].disk.history(run.room).len()).sum();
    (run.faults(), heard)
}

/// Runs all seeds on all processors; gives what is wrong, by seed, and how much was heard.
fn runs(count: u64, sizes: &'static [usize]) -> (Vec<(u64, Vec<String>)>, usize) {
    let (first, count) = number("KITH_SEED").map_or((1, count), |seed| (seed, 1));
    let next = AtomicU64::new(first);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<_> = std::thread::scope(|scope| {
        let worker = || {
            let bases: Vec<_> = sizes.iter().map(|size| Base::new(*size)).collect();
            let (mut wrong, mut heard) = (Vec::new(), 0);
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return (wrong, heard);
                }
                let base = &bases[seed as usize % bases.len()];
                let outcome = catch_unwind(AssertUnwindSafe(|| run(base, seed)));
                let (faults, of_run) = outcome.unwrap_or_else(|panic| {
                    eprintln!("KITH_SEED={seed} panicked");
                    resume_unwind(panic)
                });
                heard += of_run;
                if !faults.is_empty() {
                    wrong.push((seed, faults));
                }
            }
        };
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        handles.into_iter().map(|handle| handle.join().expect("a run panicked")).collect()
    });
    let heard = results.iter().map(|(_, heard)| heard).sum();
    (results.into_iter().flat_map(|(wrong, _)| wrong).collect(), heard)
}

fn all_is_well(count: u64, sizes: &'static [usize]) {
    let (wrong, heard) = runs(count, sizes);
    assert!(wrong.is_empty(), "{} of {count} runs failed: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert!(heard > 0, "nobody heard anything");
    eprintln!("{count} runs with rooms of {sizes:?}, {heard} messages: none twice, none out of order, none stuck");
}

#[test]
fn whatever_happens_the_members_of_a_room_end_with_one_roster_and_one_set_of_messages() {
    let runs = number("KITH_RUNS").map_or(RUNS_DEFAULT, |runs| runs / RUN_COSTS);
    all_is_well(runs.max(1), &[3, 3, 4, 5]);
}

mod long {
    use super::*;

    /// Runs with large rooms: one costs as much as dozens with small ones.
    const RUNS_MIN: u64 = 6;

    #[test]
    fn the_same_holds_for_rooms_of_up_to_thirty_two() {
        all_is_well((number("KITH_RUNS").unwrap_or(0) / 1_000).max(RUNS_MIN), &[8, 16, 32]);
    }
}
