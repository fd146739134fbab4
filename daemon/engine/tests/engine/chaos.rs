//! Seeded runs of two, three or four devices in which everything goes wrong: crashes between any two effects, broken
//! links, lost, doubled, delayed and reordered signaling, a server that comes and goes, full disks, clocks that jump,
//! and new keys in between.
//!
//! A failure prints its seed and the messages; `KITH_SEED=n` replays it, `KITH_RUNS=n` sets how many seeds are
//! tried, `KITH_FIRST_SEED=n` where they begin.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use kith_engine::{Reply, Request, RequestId};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

use crate::world::{Delays, Faults, World};

/// Enough for the everyday loop; the whole test run asks for 10,000.
const RUNS_DEFAULT: u64 = 400;
const STEPS: u32 = 24;
/// How many devices a run has: mostly two, since each pair of them costs handshakes.
const DEVICES: [usize; 8] = [2, 2, 2, 2, 2, 2, 3, 4];
/// Between two steps.
const PAUSES_MS: [u64; 8] = [0, 1, 3, 10, 40, 200, 2_000, 20_000];
/// Now and then instead: longer than a key lives.
const LONG_PAUSE_MS: u64 = 1_000_000;
const LONG_PAUSE_OF: usize = 48;

/// What one run came to; each message with its way, its step and its place there.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    sent: usize,
    lost: Vec<String>,
    twice: Vec<String>,
    out_of_order: Vec<String>,
    unfinished: usize,
}

impl Outcome {
    fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.twice.is_empty() && self.out_of_order.is_empty() && self.unfinished == 0
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Worlds of two, three and four devices. Pairing costs most of a run's time and is not what is tried here: all runs
/// branch from one of these.
fn bases() -> [World; 3] {
    [2, 3, 4].map(|devices| World::acquainted(1, devices))
}

/// From whom to whom.
type Way = (usize, usize);

struct Run {
    world: World,
    rng: ChaCha20Rng,
    /// In the order in which they were asked for.
    asked: BTreeMap<Way, Vec<(RequestId, String)>>,
    /// The texts that were confirmed as queued.
    queued: BTreeMap<Way, Vec<String>>,
}

impl Run {
    fn below(&mut self, limit: usize) -> usize {
        self.rng.next_u32() as usize % limit
    }

    fn ms(&mut self, ms_max: usize) -> u64 {
        self.below(ms_max + 1) as u64
    }

    fn devices(&self) -> usize {
        self.world.devices.len()
    }

    fn ways(&self) -> Vec<Way> {
        let all = 0..self.devices();
        all.clone().flat_map(|from| all.clone().map(move |to| (from, to))).filter(|(from, to)| from != to).collect()
    }

    fn step(&mut self, step: u32) {
        let device = self.below(self.devices());
        match self.below(14) {
            0..=4 => self.send(device, step),
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
            11 => {
                let (signal_ms, channel_ms, disk_ms) = (self.ms(1_500), self.ms(300), self.ms(200));
                self.world.delays = Delays { signal_ms, channel_ms, disk_ms };
            }
            _ => {}
        }
        let pause_ms = PAUSES_MS[self.below(PAUSES_MS.len())];
        let pause_ms = if self.below(LONG_PAUSE_OF) == 0 { LONG_PAUSE_MS } else { pause_ms };
        self.world.run_for(pause_ms);
    }

    fn send(&mut self, device: usize, step: u32) {
        let other = (device + 1 + self.below(self.devices() - 1)) % self.devices();
        let peer = self.world.devices[other].id;
        for n in 0..=self.below(4) {
            if self.world.devices[device].engine.is_none() {
                return;
            }
            let text = format!("{device} to {other}, step {step}, {n}");
            let id =
                self.world.request(device, Request::Send { conversation: peer.into(), message: World::message(&text) });
            self.asked.entry((device, other)).or_default().push((id, text));
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
        self.world.utc_offset_ms = i64::from(self.rng.next_u32()) - i64::from(u32::MAX / 2);
        self.world.clock_trusted = self.below(2) == 0;
    }

    /// Which of the asked messages are promised to arrive.
    fn collect(&mut self) {
        for (way, asked) in &self.asked {
            let replies = &self.world.devices[way.0].replies;
            let confirmed = |id: &RequestId| matches!(replies.get(id), Some(Ok(Reply::Message(_))));
            let texts = asked.iter().filter(|(id, _)| confirmed(id)).map(|(_, text)| text.clone());
            self.queued.insert(*way, texts.collect());
        }
    }

    /// Everything works again; what was promised must arrive.
    fn settle(&mut self) {
        self.world.heal();
        self.collect();
        let ways = self.ways();
        self.world.run_while(600_000, |w| ways.iter().any(|(from, to)| w.queued(*from, *to) > 0));
    }

    fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        for (from, to) in self.ways() {
            let received = self.world.received(to, from);
            let order: Vec<&str> = self.asked.get(&(from, to)).into_iter().flatten().map(|(_, text)| &**text).collect();
            let place = |text: &String| order.iter().position(|asked| asked == text);
            let seen = |n: usize| received[..n].contains(&received[n]);
            let late = |n: usize| n > 0 && !seen(n) && place(&received[n - 1]) > place(&received[n]);
            outcome.sent += order.len();
            let promised = self.queued.get(&(from, to)).into_iter().flatten();
            outcome.lost.extend(promised.filter(|text| !received.contains(text)).cloned());
            outcome.twice.extend((0..received.len()).filter(|n| seen(*n)).map(|n| received[n].clone()));
            outcome.out_of_order.extend((0..received.len()).filter(|n| late(*n)).map(|n| received[n].clone()));
            outcome.unfinished += self.world.queued(from, to);
        }
        outcome
    }
}

fn run(bases: &[World; 3], seed: u64, prepare: fn(&mut World)) -> Outcome {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let devices = DEVICES[rng.next_u32() as usize % DEVICES.len()];
    let mut world = bases[devices - 2].branched(seed);
    world.faults = Faults {
        signal_lost: rng.next_u32() % 20,
        signal_doubled: rng.next_u32() % 20,
        signal_jitter_ms: u64::from(rng.next_u32() % 50),
        frame_lost: [0, 0, 20, 200][(rng.next_u32() % 4) as usize],
        crash_after_effect: [0, 0, 10, 50, 200][(rng.next_u32() % 5) as usize],
    };
    prepare(&mut world);
    let mut run = Run { world, rng, asked: BTreeMap::new(), queued: BTreeMap::new() };
    for step in 0..STEPS {
        run.step(step);
    }
    run.settle();
    run.outcome()
}

/// Runs all seeds on all processors; gives the outcomes that are not clean.
fn runs(count: u64, prepare: fn(&mut World)) -> (usize, Vec<(u64, Outcome)>) {
    let first = number("KITH_FIRST_SEED").unwrap_or(1);
    let (first, count) = number("KITH_SEED").map_or((first, count), |seed| (seed, 1));
    let next = AtomicU64::new(first);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<_> = std::thread::scope(|scope| {
        let worker = || {
            let bases = bases();
            let mut sent = 0;
            let mut unclean = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return (sent, unclean);
                }
                let outcome = catch_unwind(AssertUnwindSafe(|| run(&bases, seed, prepare)));
                let outcome = outcome.unwrap_or_else(|panic| {
                    eprintln!("KITH_SEED={seed} panicked");
                    resume_unwind(panic)
                });
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
    assert!(unclean.iter().any(|(_, outcome)| !outcome.twice.is_empty()), "{unclean:?}");
}

#[test]
fn without_fsync_before_the_acknowledgement_the_runs_show_losses() {
    let (_, unclean) = runs(60, |world| world.devices.iter_mut().for_each(|d| d.disk.lies_about_fsync = true));
    assert!(unclean.iter().any(|(_, outcome)| !outcome.lost.is_empty()), "{unclean:?}");
}
