//! What a debugger finds in the memory of a process with engines in it: the keys in use, and none that was before.
//!
//! The test runs itself once more, as the process that is looked at. Both do the same, with the same random numbers;
//! the one that looks learns all keys from them and from what went over the channel.

mod sniffer;

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use kith_system_tests::Needles;

use crate::world::World;
use sniffer::{Generation, Sniffer};

/// Tells the process that it is the one that is looked at.
const WATCHED: &str = "KITH_WATCHED";
const NAME: &str = "memory::a_process_holds_the_keys_in_use_and_none_that_was_before";

const SIDES: [&str; 2] = ["initiator", "responder"];

/// New keys while it runs, a quarter of an hour apart.
const REKEYS: u64 = 17;

/// Two devices that talk, from one new key to the next, and then are locked; calls `stage` at each.
fn talk(world: &mut World, mut stage: impl FnMut(u64)) {
    world.wipes_stack = true;
    assert!(world.run_while(60_000, |w| !w.connected(0, 1)), "no session");
    for generation in 0..=REKEYS {
        assert!(world.run_while(20 * 60_000, |w| w.key_generation(0, 1) < Some(generation)), "no new key");
        world.send(0, 1, &format!("there under key {generation}"));
        world.send(1, 0, &format!("back under key {generation}"));
        assert!(world.run_while(10_000, |w| w.queued(0, 1) + w.queued(1, 0) > 0), "not delivered");
        world.discard_randomness();
        stage(generation);
    }
    world.crash(0);
    world.crash(1);
    stage(REKEYS + 1);
}

fn world() -> World {
    World::paired(90).branched(91)
}

/// Every generation of keys, learnt by doing the same as the process that is looked at.
fn generations() -> Vec<Generation> {
    let mut world = world();
    let random = world.randomness_to_come();
    let messages = Rc::new(RefCell::new(Vec::new()));
    let seen = messages.clone();
    world.tamper_frame = Some(Box::new(move |message| seen.borrow_mut().push(message.clone())));
    talk(&mut world, |_| {});
    let identities = world.devices.iter().map(|device| device.identity.clone()).collect::<Vec<_>>();
    let fingerprints = [0, 1].map(|device| World::fingerprint(device, kith_engine::LinkId(1)));
    let mut sniffer = Sniffer::new([&identities[0], &identities[1]], fingerprints, [&random[0], &random[1]]);
    messages.borrow().iter().for_each(|message| sniffer.take(message));
    sniffer.generations
}

/// The process that is looked at: stands still at each stage until it is told to go on.
fn watched() {
    let (mut lines, mut output) = (std::io::stdin().lines(), std::io::stdout());
    let mut world = world();
    talk(&mut world, |stage| {
        // Not on the line of what the test's frame prints.
        output.write_all(format!("\nstage {stage}\n").as_bytes()).unwrap();
        // Without the one that looks there is nothing to go on for.
        if lines.next().is_none_or(|line| line.is_err()) {
            std::process::exit(1);
        }
    });
}

struct Watched {
    child: Child,
    input: ChildStdin,
    output: std::io::Lines<BufReader<ChildStdout>>,
}

impl Watched {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .env(WATCHED, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output).lines() }
    }

    fn wait_for(&mut self, stage: u64) {
        let line = format!("stage {stage}");
        assert!(self.output.any(|output| output.unwrap() == line), "it ended before stage {stage}");
    }

    fn go_on(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }
}

fn key(number: u64) -> [String; 2] {
    SIDES.map(|side| format!("key {number} of the {side}"))
}

fn ephemeral(number: u64) -> [String; 2] {
    SIDES.map(|side| format!("ephemeral key {number} of the {side}"))
}

fn needles(generations: &[Generation]) -> Needles {
    let mut needles = Needles::default();
    for (number, generation) in (0..).zip(generations) {
        let secrets = generation.keys.iter().chain(&generation.ephemerals);
        for (name, secret) in key(number).iter().chain(&ephemeral(number)).zip(secrets) {
            needles.push(name, secret);
        }
    }
    needles
}

#[test]
fn a_process_holds_the_keys_in_use_and_none_that_was_before() {
    if std::env::var_os(WATCHED).is_some() {
        return watched();
    }
    let mut process = Watched::start();
    let pid = i32::try_from(process.child.id()).unwrap();
    let generations = generations();
    assert_eq!(generations.len() as u64, REKEYS + 1);
    let needles = needles(&generations);
    for stage in 0..=REKEYS + 1 {
        process.wait_for(stage);
        let found = needles.search(pid).unwrap();
        // The source of random numbers has those ready that come next: they are no keys yet.
        let over: Vec<String> = (0..stage).flat_map(key).chain((0..=stage).flat_map(ephemeral)).collect();
        let past: Vec<_> = found.iter().filter(|found| over.iter().any(|name| found.name.starts_with(name))).collect();
        assert!(past.is_empty(), "stage {stage}: {past:?}");
        // Both directions, at both ends; none once the engines are gone.
        let present: Vec<_> = found.iter().filter(|found| key(stage).contains(&found.name)).collect();
        assert_eq!(present.len(), if stage <= REKEYS { 4 } else { 0 }, "stage {stage}: {present:?}");
        process.go_on();
    }
    assert!(process.child.wait().unwrap().success());
}
