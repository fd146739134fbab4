//! The runs themselves, and what they show when a device breaks a rule.

use kith_system_tests::Snapshot;

use super::schedule::{MESSAGES, Schedule};
use super::verdict::Verdict;
use super::{run, tamper, texts};
use crate::Pair;
use crate::long::rounds;
use kith_dbus::Direction;

/// Messages of the runs with a broken device: more than a session sends without an acknowledgement.
const FEW: usize = 100;

/// Another one each time, unless `KITH_SEED` says which.
fn seed() -> u64 {
    match std::env::var("KITH_SEED") {
        Ok(seed) => seed.parse().expect("KITH_SEED is a number"),
        // Short enough to be typed.
        Err(_) => u64::from(getrandom::u32().expect("randomness")),
    }
}

#[tokio::test]
async fn a_thousand_messages_survive_kills_freezes_and_restarts_once_and_in_order() {
    for _ in 0..rounds() {
        let schedule = Schedule::draw(seed());
        let mut pair = Pair::new().await;
        let verdict = match run(&mut pair, &schedule).await {
            Ok(verdict) => verdict,
            Err(error) => panic!("{error:#}; replay with\n{schedule}"),
        };
        assert!(verdict.is_clean() && verdict.delivered == 2 * MESSAGES, "{verdict}; replay with\n{schedule}");
        eprintln!("KITH_SEED={}: {verdict}", schedule.seed);
    }
}

/// Two devices, of which the first has sent and the second has acknowledged everything.
struct Delivered {
    pair: Pair,
    asked: Vec<String>,
    /// What the sender's disk held when all was queued and nothing acknowledged.
    queued: Snapshot,
    /// What the receiver's disk held at that time.
    unreceived: Snapshot,
}

impl Delivered {
    async fn new() -> Self {
        let mut pair = Pair::new().await;
        // Marks and ids exist from the first message on.
        let first = run(&mut pair, &Schedule::quiet(1)).await.unwrap();
        assert!(first.is_clean(), "{first}");
        let mut asked = texts(&pair.to_alice, Direction::Incoming).await.unwrap();
        pair.bob.cut_power();
        let unreceived = pair.bob.snapshot().unwrap();
        for number in 1..=FEW {
            let text = format!("message {number}");
            pair.to_bob.send(&text).await.unwrap();
            asked.push(text);
        }
        let queued = pair.alice.snapshot().unwrap();
        pair.bob.run_again().await.unwrap();
        pair.to_bob.wait_until_nothing_waits().await.unwrap();
        let verdict = Verdict::new(&asked, &texts(&pair.to_alice, Direction::Incoming).await.unwrap());
        assert!(verdict.is_clean(), "{verdict}");
        Self { pair, asked, queued, unreceived }
    }

    /// The sender's disk as it was before the acknowledgements.
    fn roll_back_sender(&mut self) {
        self.pair.alice.cut_power();
        self.pair.alice.put_back(&self.queued).unwrap();
    }

    /// Starts what does not run, sends once more, and judges when that has arrived.
    async fn verdict(mut self) -> Verdict {
        for device in [&mut self.pair.alice, &mut self.pair.bob] {
            if !device.is_running() {
                device.run_again().await.unwrap();
            }
        }
        self.pair.to_bob.send("last").await.unwrap();
        self.pair.to_bob.wait_until_nothing_waits().await.unwrap();
        self.asked.push("last".to_owned());
        Verdict::new(&self.asked, &texts(&self.pair.to_alice, Direction::Incoming).await.unwrap())
    }
}

#[tokio::test]
async fn a_receiver_that_acknowledges_before_its_disk_has_it_shows_as_losses() {
    let mut delivered = Delivered::new().await;
    // The power cut of a disk that had said "written" too early.
    delivered.pair.bob.cut_power();
    delivered.pair.bob.put_back(&delivered.unreceived).unwrap();
    let verdict = delivered.verdict().await;
    assert_eq!(verdict.lost.len(), FEW, "{verdict}");
}

#[tokio::test]
async fn a_sender_that_forgot_the_acknowledgements_repeats_and_nothing_is_shown_twice() {
    let mut delivered = Delivered::new().await;
    delivered.roll_back_sender();
    let verdict = delivered.verdict().await;
    assert!(verdict.is_clean() && verdict.delivered == FEW + 2, "{verdict}");
}

#[tokio::test]
async fn a_receiver_without_high_water_marks_shows_duplicates() {
    let mut delivered = Delivered::new().await;
    delivered.roll_back_sender();
    delivered.pair.bob.cut_power();
    tamper::forget_marks(&delivered.pair.bob).unwrap();
    let verdict = delivered.verdict().await;
    assert_eq!(verdict.twice.len(), FEW, "{verdict}");
}
