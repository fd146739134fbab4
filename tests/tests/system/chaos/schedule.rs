//! What happens when, drawn from a seed.

use std::fmt;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// Messages of each device: a thousand together.
pub(super) const MESSAGES: usize = 500;
/// How often each device is killed.
pub(super) const KILLS: usize = 5;
/// How often each device is frozen.
pub(super) const FREEZES: usize = 2;
/// How long: longer than links live without a word.
pub(super) const FREEZE: Duration = Duration::from_secs(10);
/// How often the server is restarted in order.
pub(super) const RESTARTS: usize = 2;

/// Between two faults of a device. Together with the freezes a run takes about a minute.
const GAP_MS_MAX: u32 = 5_000;
/// How long a killed device stays away.
const AWAY_MS_MAX: u32 = 2_000;
/// Between two faults of the server.
const SERVER_GAP_MS_MAX: u32 = 12_000;
/// How long the server is away; the devices try again at the pace of their back-off.
const SERVER_AWAY_MS_MAX: u32 = 5_000;
/// Messages sent without a pause: beyond what a session sends without an acknowledgement, now and then.
const BURST_MAX: u32 = 30;
/// Between two bursts, so that the sending lasts as long as the faults.
const PAUSE_MS_MAX: u32 = 1_800;

/// Something that happens a while after the one before.
#[derive(Clone, Copy)]
pub(super) struct Step<T> {
    pub(super) after: Duration,
    pub(super) fault: T,
}

/// What happens to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeviceFault {
    Kill { away: Duration },
    Freeze { time: Duration },
}

/// What happens to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerFault {
    Restart {
        away: Duration,
    },
    Kill {
        away: Duration,
    },
    /// Nobody is told: the devices are cut off.
    Freeze {
        time: Duration,
    },
}

/// Messages that are sent one after the other, a while after those before.
#[derive(Clone, Copy)]
pub(super) struct Burst {
    pub(super) after: Duration,
    pub(super) count: usize,
}

pub(super) struct DeviceSchedule {
    pub(super) faults: Vec<Step<DeviceFault>>,
    pub(super) bursts: Vec<Burst>,
}

/// Everything that is done in a run.
pub(super) struct Schedule {
    pub(super) seed: u64,
    pub(super) alice: DeviceSchedule,
    pub(super) bob: DeviceSchedule,
    pub(super) server: Vec<Step<ServerFault>>,
}

struct Draw(ChaCha20Rng);

impl Schedule {
    pub(super) fn draw(seed: u64) -> Self {
        let mut draw = Draw(ChaCha20Rng::seed_from_u64(seed));
        Self { seed, alice: draw.device(), bob: draw.device(), server: draw.server() }
    }

    /// Nothing happens but so many messages of alice's.
    pub(super) fn quiet(count: usize) -> Self {
        let silent = || DeviceSchedule { faults: Vec::new(), bursts: Vec::new() };
        let bursts = vec![Burst { after: Duration::ZERO, count }];
        Self { seed: 0, alice: DeviceSchedule { bursts, ..silent() }, bob: silent(), server: Vec::new() }
    }
}

impl Draw {
    fn below(&mut self, limit: u32) -> u32 {
        self.0.next_u32() % limit
    }

    fn ms(&mut self, ms_max: u32) -> Duration {
        Duration::from_millis(u64::from(self.below(ms_max + 1)))
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u32 + 1) as usize;
            items.swap(last, other);
        }
    }

    fn steps<T>(&mut self, mut faults: Vec<T>, gap_ms_max: u32) -> Vec<Step<T>> {
        self.shuffle(&mut faults);
        faults.into_iter().map(|fault| Step { after: self.ms(gap_ms_max), fault }).collect()
    }

    fn device(&mut self) -> DeviceSchedule {
        let mut faults = vec![DeviceFault::Freeze { time: FREEZE }; FREEZES];
        faults.extend((0..KILLS).map(|_| DeviceFault::Kill { away: self.ms(AWAY_MS_MAX) }));
        DeviceSchedule { faults: self.steps(faults, GAP_MS_MAX), bursts: self.bursts() }
    }

    fn server(&mut self) -> Vec<Step<ServerFault>> {
        let mut faults: Vec<_> =
            (0..RESTARTS).map(|_| ServerFault::Restart { away: self.ms(SERVER_AWAY_MS_MAX) }).collect();
        faults.push(ServerFault::Kill { away: self.ms(SERVER_AWAY_MS_MAX) });
        faults.push(ServerFault::Freeze { time: self.ms(SERVER_AWAY_MS_MAX) });
        self.steps(faults, SERVER_GAP_MS_MAX)
    }

    fn bursts(&mut self) -> Vec<Burst> {
        let mut left = MESSAGES;
        let mut bursts = Vec::new();
        while left > 0 {
            let count = left.min(1 + self.below(BURST_MAX) as usize);
            bursts.push(Burst { after: self.ms(PAUSE_MS_MAX), count });
            left -= count;
        }
        bursts
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "KITH_SEED={}", self.seed)?;
        for (name, device) in [("alice", &self.alice), ("bob", &self.bob)] {
            let sent: usize = device.bursts.iter().map(|burst| burst.count).sum();
            writeln!(f, "{name}: {sent} messages in {} bursts", device.bursts.len())?;
            device.faults.iter().try_for_each(|step| writeln!(f, "  after {:?}: {:?}", step.after, step.fault))?;
        }
        writeln!(f, "server:")?;
        self.server.iter().try_for_each(|step| writeln!(f, "  after {:?}: {:?}", step.after, step.fault))
    }
}

#[test]
fn every_seed_draws_all_that_has_to_happen_and_the_same_each_time() {
    for seed in 0..200 {
        let schedule = Schedule::draw(seed);
        for device in [&schedule.alice, &schedule.bob] {
            let freezes = device.faults.iter().filter(|step| step.fault == DeviceFault::Freeze { time: FREEZE });
            assert_eq!((device.faults.len(), freezes.count()), (KILLS + FREEZES, FREEZES));
            assert_eq!(device.bursts.iter().map(|burst| burst.count).sum::<usize>(), MESSAGES);
        }
        let restarts = schedule.server.iter().filter(|step| matches!(step.fault, ServerFault::Restart { .. }));
        assert_eq!(restarts.count(), RESTARTS);
        assert_eq!(schedule.to_string(), Schedule::draw(seed).to_string());
    }
    assert_ne!(Schedule::draw(1).alice.faults[0].after, Schedule::draw(2).alice.faults[0].after);
}
