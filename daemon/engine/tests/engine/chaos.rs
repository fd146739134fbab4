//! Seeded runs in which everything goes wrong: crashes between any two effects, broken links,
//! lost, doubled and reordered signaling, a server that comes and goes, clocks that jump.
//!
//! A failure prints its seed; `KITH_SEED=n` replays it, `KITH_RUNS=n` sets how many seeds are
//! tried.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use kith_engine::{Reply, Request, RequestId};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

use crate::world::{Faults, World};

/// Enough for the everyday loop; the whole test run asks for 10,000.
const RUNS_DEFAULT: u64 = 400;
const STEPS: u32 = 24;

/// What one run came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    sent: usize,
    lost: usize,
    twice: usize,
    out_of_order: usize,
    unfinished: usize,
}

impl Outcome {
    fn is_clean(&self) -> bool {
        self.lost + self.twice + self.out_of_order + self.unfinished == 0
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Pairing costs most of a run's time and is not what is tried here: all runs branch from one.
fn base() -> World {
    World::paired(1)
}

struct Run {
    world: World,
    rng: ChaCha20Rng,
    /// Messages of each device, in the order in which they were asked for.
    asked: [Vec<(RequestId, String)>; 2],
    /// The texts that were confirmed as queued.
    queued: [Vec<String>; 2],
}

impl Run {
    fn below(&mut self, limit: u32) -> u32 {
        self.rng.next_u32() % limit
    }

    fn step(&mut self, seed: u64, step: u32) {
        let device = self.below(2) as usize;
        match self.below(14) {
            0..=4 => self.send(device, seed, step),
            5 => self.stop_or_start(device),
            6 => self.world.break_link(device),
            7 => self.server(),
            8 => {
                let reaches = !self.world.devices[device].reaches_server;
                self.world.set_reaches_server(device, reaches);
            }
            9 => self.jump_clock(),
            10 => {
                self.world.devices[device].disk.full = !self.world.devices[device].disk.full;
            }
            11 => self.world.delays.signal_ms = u64::from(self.below(1_500)),
            _ => {}
        }
        let pause = [0, 1, 3, 10, 40, 200, 2_000, 20_000][self.below(8) as usize];
        self.world.run_for(pause);
    }

    fn send(&mut self, device: usize, seed: u64, step: u32) {
        let peer = self.world.devices[1 - device].id;
        for n in 0..=self.below(4) {
            if self.world.devices[device].engine.is_none() {
                return;
            }
            let text = format!("{seed} {step} {n}");
            let id = self.world.request(device, Request::Send { peer, message: World::message(&text) });
            self.asked[device].push((id, text));
        }
    }

    fn stop_or_start(&mut self, device: usize) {
        if self.world.devices[device].engine.is_some() {
            self.world.crash(device);
        } else {
            self.world.start(device);
        }
    }

    fn server(&mut self) {
        if self.below(2) == 0 {
            self.world.stop_server();
        } else {
            self.world.start_server();
        }
    }

    fn jump_clock(&mut self) {
        self.world.utc_offset_ms = i64::from(self.below(u32::MAX)) - i64::from(u32::MAX / 2);
        self.world.clock_trusted = self.below(2) == 0;
    }

    /// Which of the asked messages are promised to arrive.
    fn collect(&mut self) {
        for device in 0..2 {
            let replies = &self.world.devices[device].replies;
            let confirmed = |id: &RequestId| matches!(replies.get(id), Some(Ok(Reply::Message(_))));
            let texts = self.asked[device].iter().filter(|(id, _)| confirmed(id)).map(|(_, text)| text.clone());
            self.queued[device] = texts.collect();
        }
    }

    /// Everything works again; what was promised must arrive.
    fn settle(&mut self) {
        self.world.faults = Faults::default();
        self.world.delays = Default::default();
        for device in 0..2 {
            self.world.devices[device].disk.full = false;
            self.world.devices[device].reaches_server = true;
            if self.world.devices[device].engine.is_none() {
                self.world.start(device);
            }
        }
        self.world.stop_server();
        self.world.run_for(100);
        self.world.start_server();
        self.collect();
        let queued = self.queued.clone();
        self.world.run_while(600_000, |w| {
            (0..2).any(|d| {
                let received = w.received(1 - d, d);
                queued[d].iter().any(|text| !received.contains(text)) || w.queued(d, 1 - d) > 0
            })
        });
    }

    fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        for device in 0..2 {
            let received = self.world.received(1 - device, device);
            let order: Vec<_> = self.asked[device].iter().map(|(_, text)| text.as_str()).collect();
            let places: Vec<_> = received.iter().map(|text| order.iter().position(|asked| asked == text)).collect();
            outcome.sent += order.len();
            outcome.lost += self.queued[device].iter().filter(|text| !received.contains(text)).count();
            outcome.out_of_order += places.windows(2).filter(|pair| pair[0] > pair[1]).count();
            outcome.twice += (1..received.len()).filter(|n| received[..*n].contains(&received[*n])).count();
            outcome.unfinished += self.world.queued(device, 1 - device);
        }
        outcome
    }
}

fn run(base: &World, seed: u64, prepare: fn(&mut World)) -> Outcome {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut world = base.branched(seed);
    world.faults = Faults {
        signal_lost: rng.next_u32() % 20,
        signal_doubled: rng.next_u32() % 20,
        signal_jitter_ms: u64::from(rng.next_u32() % 50),
        crash_after_effect: [0, 0, 10, 50, 200][(rng.next_u32() % 5) as usize],
    };
    prepare(&mut world);
    let mut run = Run { world, rng, asked: Default::default(), queued: Default::default() };
    for step in 0..STEPS {
        run.step(seed, step);
    }
    run.settle();
    run.outcome()
}

/// Runs all seeds on all processors; gives the outcomes that are not clean.
fn runs(count: u64, prepare: fn(&mut World)) -> (usize, Vec<(u64, Outcome)>) {
    let (first, count) = number("KITH_SEED").map_or((1, count), |seed| (seed, 1));
    let next = AtomicU64::new(first);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<_> = std::thread::scope(|scope| {
        let worker = || {
            let base = base();
            let mut sent = 0;
            let mut unclean = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return (sent, unclean);
                }
                let outcome = run(&base, seed, prepare);
                sent += outcome.sent;
                if !outcome.is_clean() {
                    unclean.push((seed, outcome));
                }
            }
        };
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        handles.into_iter().map(|handle| handle.join().expect("a run panicked")).collect()
    });
    let sent = results.iter().map(|(sent, _)| sent).sum();
    (sent, results.into_iter().flat_map(|(_, unclean)| unclean).collect())
}

#[test]
fn whatever_happens_each_message_arrives_once_and_in_order() {
    let count = number("KITH_RUNS").unwrap_or(RUNS_DEFAULT);
    let (sent, unclean) = runs(count, |_| {});
    let mut report = String::new();
    for (seed, outcome) in unclean.iter().take(5) {
        let _ = writeln!(report, "KITH_SEED={seed}: {outcome:?}");
    }
    assert!(unclean.is_empty(), "{} of {count} runs failed; replay with\n{report}", unclean.len());
    assert!(sent as u64 > count, "the runs sent only {sent} messages");
    eprintln!("{count} runs, {sent} messages: 0 lost, 0 twice, 0 out of order");
}

#[test]
fn without_high_water_marks_the_runs_show_duplicates() {
    // The window is between the commit and the acknowledgement: many crashes find it.
    let (_, unclean) = runs(120, |world| {
        world.faults.crash_after_effect = 300;
        world.devices.iter_mut().for_each(|d| d.disk.forgets_marks = true);
    });
    assert!(unclean.iter().any(|(_, outcome)| outcome.twice > 0), "{unclean:?}");
}

#[test]
fn without_fsync_before_the_acknowledgement_the_runs_show_losses() {
    let (_, unclean) = runs(60, |world| world.devices.iter_mut().for_each(|d| d.disk.lies_about_fsync = true));
    assert!(unclean.iter().any(|(_, outcome)| outcome.lost > 0), "{unclean:?}");
}
