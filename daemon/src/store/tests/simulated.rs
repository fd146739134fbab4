//! A disk in memory that remembers every step, and what of it a power cut may leave.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    sync::{Arc, Mutex},
};

use rand_core::Rng;
use redb::{Builder, Database, DatabaseError, ReadOnlyDatabase, StorageBackend};

use super::super::files::Files;

const PAGE_BYTES: usize = 4096;

/// Which file, whatever its name is.
type Inode = usize;

/// One step that reached the disk's driver.
#[derive(Clone)]
enum Step {
    Create(String, Inode),
    Rename(String, String),
    Remove(String),
    Write(Inode, u64, Arc<[u8]>),
    SetLen(Inode, u64),
    Sync(Inode),
    SyncFolder,
}

/// How a power cut treats what was not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    /// All of it has reached the disk.
    Kept,
    /// None of it has.
    Lost,
    /// All of it, but of the last write only the first half.
    Torn,
    /// Some of it, in another order, some of that torn: drawn by this seed.
    Some(u64),
}

/// A file's bytes in pages that copies share.
#[derive(Clone, Default)]
struct Content {
    len: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE_BYTES]>>,
}

/// What lies on the disk.
#[derive(Clone, Default)]
struct State {
    names: BTreeMap<String, Inode>,
    files: BTreeMap<Inode, Content>,
}

/// The disk. Clones are the same one.
#[derive(Clone, Default)]
pub(super) struct SimulatedDisk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    state: State,
    steps: Vec<Step>,
    /// What lay there after so many steps, where all of them were synced: cuts begin from there.
    checkpoints: BTreeMap<usize, State>,
    unsynced: BTreeSet<Inode>,
    has_unsynced_names: bool,
}

impl SimulatedDisk {
    /// A disk with one file.
    pub(super) fn with(name: &str, bytes: &[u8]) -> Self {
        let mut content = Content::default();
        content.write(0, bytes);
        let state = State { names: BTreeMap::from([(name.to_owned(), 0)]), files: BTreeMap::from([(0, content)]) };
        Self::from_state(state)
    }

    fn from_state(state: State) -> Self {
        let checkpoints = BTreeMap::from([(0, state.clone())]);
        Self { inner: Arc::new(Mutex::new(Inner { state, checkpoints, ..Inner::default() })) }
    }

    /// The same with one more file.
    pub(super) fn and(self, name: &str, bytes: &[u8]) -> Self {
        let mut state = self.lock().state.clone();
        // Far from those of files that are made later.
        let inode = Inode::MAX - state.names.len();
        let mut content = Content::default();
        content.write(0, bytes);
        state.names.insert(name.to_owned(), inode);
        state.files.insert(inode, content);
        Self::from_state(state)
    }

    /// How many steps it has seen.
    pub(super) fn steps(&self) -> usize {
        self.lock().steps.len()
    }

    /// All bytes of all files that have a name.
    pub(super) fn raw_bytes(&self) -> Vec<u8> {
        let inner = self.lock();
        inner.state.names.values().flat_map(|inode| inner.state.files[inode].bytes()).collect()
    }

    /// The disk as it is when the power comes back, having gone after so many steps.
    pub(super) fn cut(&self, after: usize, how: Cut) -> Self {
        let inner = self.lock();
        let (from, state) = inner.checkpoints.range(..=after).next_back().unwrap();
        let mut state = state.clone();
        state.apply_all(&survivors(&inner.steps[*from..after], how));
        // What has no name any more is gone.
        let named: Vec<Inode> = state.names.values().copied().collect();
        state.files.retain(|inode, _| named.contains(inode));
        Self::from_state(state)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn step(&self, step: Step) {
        let mut inner = self.lock();
        inner.state.apply(&step);
        match &step {
            Step::Write(inode, ..) | Step::SetLen(inode, _) => drop(inner.unsynced.insert(*inode)),
            Step::Sync(inode) => drop(inner.unsynced.remove(inode)),
            Step::SyncFolder => inner.has_unsynced_names = false,
            Step::Create(..) | Step::Rename(..) | Step::Remove(_) => inner.has_unsynced_names = true,
        }
        inner.steps.push(step);
        if inner.unsynced.is_empty() && !inner.has_unsynced_names {
            let (at, state) = (inner.steps.len(), inner.state.clone());
            inner.checkpoints.insert(at, state);
        }
    }

    fn inode(&self, name: &str) -> io::Result<Inode> {
        self.lock().state.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn backend(&self, name: &str) -> io::Result<Backend> {
        Ok(Backend { disk: self.clone(), inode: self.inode(name)? })
    }
}

/// The steps that are on disk afterwards. What was synced is, in its order; of the rest `how`
/// decides. Names change in their order: some of the last changes may be missing, none between.
fn survivors(steps: &[Step], how: Cut) -> Vec<Step> {
    let synced_until =
        |inode: &Inode| steps.iter().rposition(|step| matches!(step, Step::Sync(synced) if synced == inode));
    let names_until = steps.iter().rposition(|step| matches!(step, Step::SyncFolder));
    let is_name = |step: &Step| matches!(step, Step::Create(..) | Step::Rename(..) | Step::Remove(_));
    let is_synced = |at: usize, step: &Step| match step {
        Step::Write(inode, ..) | Step::SetLen(inode, _) => synced_until(inode).is_some_and(|until| at < until),
        _ => names_until.is_some_and(|until| at < until),
    };
    let (mut kept, mut loose, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Sync(_) | Step::SyncFolder => {}
            step if is_synced(at, step) => kept.push(step.clone()),
            step if is_name(step) => names.push(step.clone()),
            step => loose.push(step.clone()),
        }
    }
    match how {
        Cut::Lost => return kept,
        Cut::Kept => {}
        Cut::Torn => {
            if let Some(last) = loose.pop() {
                loose.push(torn(last, 1, 2));
            }
        }
        Cut::Some(seed) => {
            let mut rng = seeded(seed);
            names.truncate(below(&mut rng, names.len() + 1));
            let mut drawn = Vec::new();
            for step in loose {
                if below(&mut rng, 2) == 0 {
                    let step = if below(&mut rng, 4) == 0 { torn(step, below(&mut rng, 8), 8) } else { step };
                    drawn.insert(below(&mut rng, drawn.len() + 1), step);
                }
            }
            loose = drawn;
        }
    }
    // A name that is on disk leads to a file that is; its bytes may be missing.
    kept.into_iter().chain(names).chain(loose).collect()
}

fn torn(step: Step, part: usize, of: usize) -> Step {
    match step {
        Step::Write(inode, at, bytes) => Step::Write(inode, at, bytes[..bytes.len() * part / of].into()),
        step => step,
    }
}

fn seeded(seed: u64) -> impl Rng {
    use rand_core::SeedableRng;
    rand_chacha::ChaCha8Rng::seed_from_u64(seed)
}

fn below(rng: &mut impl Rng, end: usize) -> usize {
    (rng.next_u64() % end as u64) as usize
}

impl State {
    fn apply_all(&mut self, steps: &[Step]) {
        for step in steps {
            self.apply(step);
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Create(name, inode) => {
                self.names.insert(name.clone(), *inode);
                self.files.entry(*inode).or_default();
            }
            Step::Rename(from, to) => {
                if let Some(inode) = self.names.remove(from) {
                    self.names.insert(to.clone(), inode);
                }
            }
            Step::Remove(name) => drop(self.names.remove(name)),
            Step::Write(inode, at, bytes) => self.files.entry(*inode).or_default().write(*at, bytes),
            Step::SetLen(inode, len) => self.files.entry(*inode).or_default().set_len(*len),
            Step::Sync(_) | Step::SyncFolder => {}
        }
    }
}

impl Content {
    fn write(&mut self, at: u64, bytes: &[u8]) {
        self.len = self.len.max(at + bytes.len() as u64);
        let mut done = 0;
        while done < bytes.len() {
            let place = at + done as u64;
            let (page, within) = (place / PAGE_BYTES as u64, (place % PAGE_BYTES as u64) as usize);
            let count = (PAGE_BYTES - within).min(bytes.len() - done);
            let page = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(page)[within..within + count].copy_from_slice(&bytes[done..done + count]);
            done += count;
        }
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.pages.retain(|page, _| page * (PAGE_BYTES as u64) < len);
            let within = (len % PAGE_BYTES as u64) as usize;
            if within != 0
                && let Some(page) = self.pages.get_mut(&(len / PAGE_BYTES as u64))
            {
                Arc::make_mut(page)[within..].fill(0);
            }
        }
        self.len = len;
    }

    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        if at + out.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        while done < out.len() {
            let place = at + done as u64;
            let (page, within) = (place / PAGE_BYTES as u64, (place % PAGE_BYTES as u64) as usize);
            let count = (PAGE_BYTES - within).min(out.len() - done);
            match self.pages.get(&page) {
                Some(page) => out[done..done + count].copy_from_slice(&page[within..within + count]),
                None => out[done..done + count].fill(0),
            }
            done += count;
        }
        Ok(())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        self.read(0, &mut bytes).unwrap();
        bytes
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedDisk(..)")
    }
}

impl Files for SimulatedDisk {
    fn exists(&self, name: &str) -> io::Result<bool> {
        Ok(self.inode(name).is_ok())
    }

    fn create(&self, name: &str) -> io::Result<()> {
        let inode = self.steps() + 1;
        self.step(Step::Create(name.to_owned(), inode));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inode(from)?;
        self.step(Step::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if self.inode(name).is_ok() {
            self.step(Step::Remove(name.to_owned()));
        }
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.step(Step::Sync(self.inode(name)?));
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.step(Step::SyncFolder);
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().state.names.keys().cloned().collect())
    }

    fn bytes(&self, name: &str) -> io::Result<u64> {
        let inode = self.inode(name)?;
        Ok(self.lock().state.files[&inode].len)
    }

    fn read_at(&self, name: &str, at: u64, out: &mut [u8]) -> io::Result<usize> {
        let length = self.bytes(name)?.saturating_sub(at).min(out.len() as u64) as usize;
        let inode = self.inode(name)?;
        self.lock().state.files[&inode].read(at, &mut out[..length])?;
        Ok(length)
    }

    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.step(Step::Write(self.inode(name)?, at, bytes.into()));
        Ok(())
    }

    fn forget_unwritten(&self, name: &str) -> io::Result<()> {
        self.sync(name)
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }

    fn database(&self, builder: &Builder, name: &str) -> Result<Database, DatabaseError> {
        builder.create_with_backend(self.backend(name)?)
    }

    fn read_only(&self, builder: &Builder, name: &str) -> Result<ReadOnlyDatabase, DatabaseError> {
        builder.open_read_only_with_backend(self.backend(name)?)
    }
}

#[derive(Debug)]
struct Backend {
    disk: SimulatedDisk,
    inode: Inode,
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().state.files[&self.inode].len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.lock().state.files[&self.inode].read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.step(Step::SetLen(self.inode, len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.step(Step::Sync(self.inode));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.step(Step::Write(self.inode, offset, data.into()));
        Ok(())
    }
}
