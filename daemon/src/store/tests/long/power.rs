//! Power cuts at every step that the disk sees, with all that a disk may make of them.

use std::{
    ops::RangeInclusive,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::super::{
    simulated::{Cut, SimulatedDisk},
    version0::{PLAINTEXT, provisioned},
    *,
};
use crate::store::{custody::Wrapping, folder::STORE_FILE};

/// Messages that are there before the first step, in clear.
const PROVISIONED: u64 = 70;
/// Drawn cuts at each step, beside those that keep, lose and tear.
const DRAWN: u64 = 3;
/// At one cut in so many the store also finishes what it has to do, and is looked at again.
const FINISHED_EACH: usize = 8;

/// What a reader finds.
#[derive(Clone, Debug, PartialEq)]
struct Content {
    history: Vec<MessageRecord>,
    waiting: Vec<u64>,
    inbox: Vec<u64>,
}

/// A run on a disk that remembers: what was promised, and after how many steps.
struct Run {
    disk: SimulatedDisk,
    folder: Folder,
    peer: ClientId,
    /// The content after each commit; the first is what was there before.
    contents: Vec<Content>,
    /// Begun and ended commits: steps, and how many.
    begun: Vec<(usize, usize)>,
    ended: Vec<(usize, usize)>,
    set_up: usize,
    /// The first secret's and the second one's; from this step on only the second opens.
    secrets: [Custody; 2],
    changed: usize,
    _dir: TempDir,
}

struct Workload {
    disk: SimulatedDisk,
    peer: ClientId,
    group: GroupCommit,
    contents: Vec<Content>,
    begun: Vec<(usize, usize)>,
    ended: Vec<(usize, usize)>,
    next: u64,
}

impl Workload {
    /// Two commits in one transaction, then one alone: a message out, one in, an acknowledgement.
    fn commits(&mut self) {
        let (sent, received) = (self.next, self.next + 1);
        self.next += 2;
        let outgoing = message(sent, Direction::Outgoing, format!("sent {sent}").as_bytes());
        let incoming = message(received, Direction::Incoming, format!("received {received}").as_bytes());
        self.write(&[sending(self.peer, &outgoing), receiving(self.peer, &incoming, received)], |content| {
            content.history.extend([outgoing.clone(), incoming.clone()]);
            content.waiting.push(sent);
            content.inbox.push(received);
        });
        let oldest = self.contents.last().unwrap().waiting[0];
        let delivered =
            Op::Delivered { conversation: self.peer.into(), peer: self.peer, number: oldest, seq: oldest, utc_ms: 77 };
        self.write(&[vec![delivered]], |content| {
            content.waiting.retain(|number| *number != oldest);
            let message = content.history.iter_mut().find(|message| message.seq == oldest).unwrap();
            (message.state, message.done_utc_ms) = (MessageState::Delivered, 77);
        });
    }

    /// One transaction.
    fn write(&mut self, ops: &[Vec<Op>], then: impl FnOnce(&mut Content)) {
        let mut content = self.contents.last().unwrap().clone();
        then(&mut content);
        self.contents.push(content);
        let number = self.contents.len() - 1;
        self.begun.push((self.disk.steps(), number));
        let batch: Vec<_> = ops.iter().map(|ops| commit(1, ops.clone())).collect();
        assert!(self.group.write(&batch).iter().all(Result::is_ok));
        self.ended.push((self.disk.steps(), number));
    }

    /// Does its chores, with commits between their steps.
    fn chores(&mut self) {
        for step in 0.. {
            if self.group.is_idle() {
                return;
            }
            self.group.step();
            if step % 2 == 0 {
                self.commits();
            }
        }
    }
}

fn run() -> Run {
    let provisioned = provisioned(PROVISIONED);
    let bytes = std::fs::read(provisioned.folder.store_file()).unwrap();
    let disk = SimulatedDisk::with(STORE_FILE, &bytes);
    let folder = provisioned.folder.with_files(Arc::new(disk.clone()));
    let peer = provisioned.peer;
    let Found::Plain(plain) = open(&folder).unwrap() else { panic!("it lies in clear") };
    plain.set_up(SECRET, None).unwrap().into_parts().2.close();
    let set_up = disk.steps();

    let first = locked(&folder).custody(SECRET).unwrap();
    let (_, _, door, sealer) = locked(&folder).open_door(&first).unwrap();
    let contents = vec![content(&Reader::new(door.clone()), peer)];
    let group = GroupCommit::new(door.clone(), sealer);
    let mut workload =
        Workload { disk: disk.clone(), peer, group, contents, begun: vec![], ended: vec![], next: PROVISIONED + 1 };
    // The migration with its rewriting, a new secret, a new data key: each among commits.
    workload.chores();
    workload.commits();
    workload.group.change_secret(Wrapping::new(b"another", plain.client_id()).unwrap()).unwrap();
    let changed = disk.steps();
    let second = door.custody().unwrap();
    workload.commits();
    workload.group.rotate(None);
    workload.chores();
    workload.commits();
    let Workload { group, contents, begun, ended, .. } = workload;
    group.close();
    Run { disk, folder, peer, contents, begun, ended, set_up, secrets: [first, second], changed, _dir: provisioned.dir }
}

fn content(reader: &Reader, peer: ClientId) -> Content {
    let outbox = reader.load(kith_engine::Load::Outbox { conversation: peer.into(), peer, after: 0, count_max: 256 });
    let kith_engine::Loaded::Outbox(waiting) = outbox else { panic!("{outbox:?}") };
    let fetch = Read::Inbox { consumer: "nobody".to_owned(), cursor: 0, count_max: 256 };
    Content {
        history: history(reader, peer),
        waiting: waiting.iter().map(|message| message.number).collect(),
        inbox: reader.read(fetch).unwrap().iter().map(|row| row.inbox_seq).collect(),
    }
}

impl Run {
    /// The commits that may be in a store after so many steps: none that was acknowledged is
    /// missing, none is there that had not begun.
    fn allowed(&self, after: usize) -> RangeInclusive<usize> {
        let last = |events: &[(usize, usize)]| {
            events.iter().take_while(|(at, _)| *at <= after).last().map_or(0, |(_, number)| *number)
        };
        last(&self.ended)..=last(&self.begun)
    }

    /// Opens what a cut has left; whether it was recovered as it must be.
    fn check(&self, after: usize, how: Cut, is_finished: bool) {
        let disk = self.disk.cut(after, how);
        let folder = self.folder.clone().with_files(Arc::new(disk.clone()));
        let case = format!("after step {after}, {how:?}");
        let store = match open(&folder).unwrap_or_else(|error| panic!("{case}: {error}")) {
            Found::Locked(store) => store,
            Found::Plain(_) if after < self.set_up => return,
            other => panic!("{case}: {other:?}"),
        };
        let [first, second] = self.secrets.each_ref().map(|secret| secret.reopen(store.header().clone()));
        assert!(after < self.changed || first.is_none(), "{case}: the old secret opens it");
        let custody = first.or(second).unwrap_or_else(|| panic!("{case}: no secret opens it"));
        let (_, _, door, sealer) = store.open_door(&custody).unwrap_or_else(|error| panic!("{case}: {error}"));
        let reader = Reader::new(door.clone());
        let found = content(&reader, self.peer);
        let allowed = self.allowed(after);
        assert!(self.contents[allowed.clone()].contains(&found), "{case}: not what one of {allowed:?} wrote");
        if is_finished {
            let mut group = GroupCommit::new(door.clone(), sealer);
            finish_chores(&mut group);
            assert_eq!(content(&reader, self.peer), found, "{case}: finished");
            group.close();
            let bytes = disk.raw_bytes();
            assert!(!bytes.windows(PLAINTEXT.len()).any(|window| window == PLAINTEXT), "{case}: plaintext");
        }
        door.close();
    }
}

#[test]
#[allow(clippy::print_stdout)]
fn every_power_cut_leaves_what_was_acknowledged_and_no_mixture() {
    let run = run();
    let steps = run.disk.steps();
    let cuts = AtomicUsize::new(0);
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let after = next.fetch_add(1, Ordering::Relaxed);
            if after > steps {
                return;
            }
            let drawn = (0..DRAWN).map(|which| Cut::Some(after as u64 * DRAWN + which));
            for (which, how) in [Cut::Kept, Cut::Lost, Cut::Torn].into_iter().chain(drawn).enumerate() {
                run.check(after, how, (after + which).is_multiple_of(FINISHED_EACH));
                cuts.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
    let cuts = cuts.into_inner();
    println!(
        "{steps} steps of the disk, {} commits: {cuts} of {cuts} power cuts recovered, nothing acknowledged lost",
        run.contents.len() - 1
    );
    assert_eq!(cuts, (steps + 1) * (3 + DRAWN as usize));
}
