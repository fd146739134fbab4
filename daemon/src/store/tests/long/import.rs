//! Power cuts at every step of an import, with all that a disk may make of them.

use super::super::{
    import::{entries, filled, incoming, messages},
    simulated::{Cut, SimulatedDisk},
    *,
};
use crate::store::{
    DraftSecret,
    files::Files as _,
    folder::{IMPORT_FILE, STORE_FILE},
};

/// Drawn cuts at each step, beside those that keep, lose and tear.
const DRAWN: u64 = 3;
/// What every message says.
const PLAINTEXT: &[u8] = b"a known message";
/// Messages in the backup: several pages.
const MESSAGES: u64 = 40;

/// An import on a disk that remembers.
struct Run {
    disk: SimulatedDisk,
    folder: Folder,
    peer: ClientId,
    /// What the device held when the import began; `None` on a device without a store.
    before: Option<Vec<MessageRecord>>,
    /// What the backup holds.
    backup: Vec<MessageRecord>,
    /// The first step of the import.
    from: usize,
    /// From this step on the new store may be there, and from the other on it must.
    begun: usize,
    done: usize,
    _dir: TempDir,
}

fn on_simulated_disk(name: &str, bytes: &[u8]) -> (TempDir, Folder, SimulatedDisk) {
    let (dir, disk) = (folder_for_tests(), SimulatedDisk::with(name, bytes));
    let folder = Folder::open(dir.path()).unwrap().with_files(Arc::new(disk.clone()));
    (dir, folder, disk)
}

/// A device that is replaced with an earlier state of its own.
fn replacing() -> Run {
    let (dir, folder, disk) = on_simulated_disk(STORE_FILE, &template().0);
    let (mut device, peer) = Device::unlock(dir, folder).with_contact("Ada");
    for seq in 1..=MESSAGES {
        device.commit(incoming(peer, seq, &PLAINTEXT.repeat(20))).unwrap();
    }
    let (backup, taken) = (messages(&device.reader, peer), entries(&device.reader));
    device.commit(incoming(peer, MESSAGES + 1, PLAINTEXT)).unwrap();
    let before = Some(messages(&device.reader, peer));
    let (keyholder, from) = (device.writer.keyholder(), disk.steps());
    let draft = filled(&device.folder, taken, &DraftSecret::OfStore(&keyholder)).unwrap().complete().unwrap();
    let (dir, folder) = device.close();
    let begun = disk.steps();
    let store = draft.publish().unwrap();
    let done = disk.steps();
    store.into_parts().2.close();
    Run { disk, folder, peer, before, backup, from, begun, done, _dir: dir }
}

/// A device without a store that becomes another one.
fn becoming() -> Run {
    let (mut source, peer) = Device::new().with_contact("Ada");
    source.commit(incoming(peer, 1, PLAINTEXT)).unwrap();
    let (backup, taken) = (messages(&source.reader, peer), entries(&source.reader));
    let (dir, folder, disk) = on_simulated_disk("another", b"");
    let draft = filled(&folder, taken, &DraftSecret::Typed(SECRET)).unwrap().complete().unwrap();
    let begun = disk.steps();
    draft.publish().unwrap().into_parts().2.close();
    let done = disk.steps();
    Run { disk, folder, peer, before: None, backup, from: 0, begun, done, _dir: dir }
}

impl Run {
    /// Opens what a cut has left.
    fn check(&self, after: usize, how: Cut) {
        let case = format!("after step {after} of {}, {how:?}", self.disk.steps());
        let disk = self.disk.cut(after, how);
        let folder = self.folder.clone().with_files(Arc::new(disk.clone()));
        let found = match open(&folder).unwrap_or_else(|error| panic!("{case}: {error}")) {
            Found::Locked(store) => Some(self.history(&store, &case)),
            _ => None,
        };
        let is_new = found.as_ref() == Some(&self.backup);
        assert!(is_new || found == self.before, "{case}: {} messages", found.map_or(0, |found| found.len()));
        assert!(after >= self.begun || !is_new, "{case}: too early");
        assert!(after < self.done || is_new, "{case}: too late");
        assert!(!disk.exists(IMPORT_FILE).unwrap(), "{case}: something is left");
    }

    fn history(&self, store: &LockedStore, case: &str) -> Vec<MessageRecord> {
        let custody = store.custody(SECRET).unwrap_or_else(|error| panic!("{case}: {error}"));
        let (_, _, door, _) = store.open_door(&custody).unwrap_or_else(|error| panic!("{case}: {error}"));
        let history = messages(&Reader::new(door.clone()), self.peer);
        door.close();
        history
    }

    /// Every cut; how many they were.
    fn check_all(&self) -> u64 {
        let mut cuts = 0;
        for after in self.from..=self.disk.steps() {
            let drawn = (0..DRAWN).map(|which| Cut::Some(after as u64 * DRAWN + which));
            for how in [Cut::Kept, Cut::Lost, Cut::Torn].into_iter().chain(drawn) {
                self.check(after, how);
                cuts += 1;
            }
        }
        cuts
    }
}

#[test]
fn every_power_cut_of_an_import_leaves_the_old_device_or_that_of_the_backup() {
    for run in [replacing(), becoming()] {
        let cuts = run.check_all();
        eprintln!("{cuts} of {cuts} power cuts during an import recovered");
        assert!(cuts > 100, "{cuts}");
        let raw = run.disk.raw_bytes();
        assert!(!raw.windows(PLAINTEXT.len()).any(|window| window == PLAINTEXT), "plaintext");
    }
}
