//! Eight devices in one room, killed and started again at random, with messages from all sides.

use std::collections::BTreeMap;
use std::time::Duration;

use kith_dbus::Direction;
use kith_system_tests::{Conversation, Device};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use super::rounds;
use crate::rooms::House;

const DEVICES: usize = 8;
/// From all of them together, in each round.
const MESSAGES: usize = 1_000;
/// Who speaks and who is killed when; where in their work the programs are then differs from run to run.
const SEED: u64 = 1;
/// How often a device is killed in each round, at most.
const KILLS: usize = 24;

/// What a device sends, and what the others have of it.
fn text(device: usize, number: usize) -> String {
    format!("{device} says {number}")
}

#[tokio::test]
async fn eight_devices_killed_at_random_end_with_the_same_thousand_messages_each_once_and_in_order() {
    let seed = std::env::var("KITH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    eprintln!("KITH_SEED={seed}");
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut house = House::new(DEVICES).await;
    for device in 0..DEVICES {
        house.room_on(device).await;
    }
    let mut said = vec![0; DEVICES];
    for _ in 0..rounds() {
        round(&mut house, &mut said, &mut rng).await;
        judge(&house, &said).await;
    }
}

/// Every device says its share; between, one after the other is killed and comes back.
async fn round(house: &mut House, said: &mut [usize], rng: &mut ChaCha20Rng) {
    let share = MESSAGES / DEVICES;
    let goal: Vec<_> = said.iter().map(|count| count + share).collect();
    let mut kills = KILLS;
    while said.iter().zip(&goal).any(|(count, goal)| count < goal) {
        let device = below(rng, DEVICES);
        let burst = (1 + below(rng, 20)).min(goal[device] - said[device]);
        let room = house.room_on(device).await;
        for _ in 0..burst {
            said[device] += 1;
            // Only what is queued counts, and it is queued when this returns.
            room.send(&text(device, said[device])).await.unwrap();
        }
        if kills > 0 && below(rng, 3) == 0 {
            kills -= 1;
            let victim = below(rng, DEVICES);
            house.devices[victim].cut_power();
            tokio::time::sleep(Duration::from_millis(below(rng, 1_500) as u64)).await;
            house.devices[victim].run_again().await.unwrap();
        }
    }
    for device in 0..DEVICES {
        let room = house.room_on(device).await;
        room.wait_until_nothing_waits().await.unwrap_or_else(|error| panic!("device {device}: {error:#}"));
    }
}

fn below(rng: &mut ChaCha20Rng, limit: usize) -> usize {
    rng.next_u32() as usize % limit
}

async fn judge(house: &House, said: &[usize]) {
    for device in 0..DEVICES {
        let heard = heard(&house.room_on(device).await).await;
        let mut ids = BTreeMap::new();
        for other in &house.devices {
            ids.insert(client_id(other).await, ids.len());
        }
        for (writer, texts) in heard {
            let writer = ids[&writer];
            let expected: Vec<_> = (1..=said[writer]).map(|number| text(writer, number)).collect();
            assert_eq!(texts, expected, "device {device} of {writer}");
        }
    }
    let total: usize = said.iter().sum();
    eprintln!("{total} messages on {DEVICES} devices: none lost, none twice, each writer's in order");
}

/// What a device has received, by writer, in its own order.
async fn heard(room: &Conversation) -> BTreeMap<String, Vec<String>> {
    let mut heard: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let rows = room.history().await.unwrap();
    for row in rows.into_iter().filter(|row| row.direction == Direction::Incoming) {
        let writer = kith_dbus::client_id_of(&row.peer).unwrap();
        heard.entry(writer).or_default().push(String::from_utf8(row.body).unwrap());
    }
    assert_eq!(heard.len(), DEVICES - 1, "every other device was heard");
    heard
}

async fn client_id(device: &Device) -> String {
    let status = device.kithctl_json(&["status"], "").await.unwrap();
    status["client_id"].as_str().unwrap().to_owned()
}
