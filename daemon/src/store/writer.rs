//! The write side: one thread, one queue in, one queue out.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use kith_engine::{Commit, CommitError, CommitId};
use tokio::sync::{Notify, mpsc};

use super::{
    disk::Door,
    group::GroupCommit,
    keyholder::Keyholder,
    orders::Order,
    trim::{self, Trimmer},
    value::Sealer,
};
use crate::run::wiped;

/// Commits that are submitted and whose completion has not been taken. The engine sends and
/// receives at most 64 unacknowledged messages per session, so this serves sixteen peers that all
/// send at full speed; with bodies of the largest size it is 12 MiB.
const COMMITS_MAX: usize = 1024;

/// Orders that wait beside the commits: changes of the secret and the like come from people.
const ORDERS_MAX: usize = 8;

/// Commits in one transaction. Bounds the pages that redb holds in memory until the fsync, and
/// the time that the first of them waits for the last.
const BATCH_COMMITS_MAX: usize = 256;

/// The end of one commit.
pub type Completion = (CommitId, Result<(), CommitError>);

/// Why a commit was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Too many commits wait for the disk.
    #[error("too many commits wait for the disk; try again when some have completed")]
    Busy,
    /// The writer has ended.
    #[error("the store has been closed")]
    Closed,
}

/// The loop's end of the write side.
#[derive(Debug)]
pub struct Writer {
    door: Arc<Door>,
    news: Arc<Notify>,
    queue: mpsc::Sender<Order>,
    completions: mpsc::Receiver<Completion>,
    pending: usize,
    thread: JoinHandle<()>,
}

impl Writer {
    pub(super) fn start(door: Arc<Door>, sealer: Sealer) -> std::io::Result<Self> {
        let (queue, orders) = mpsc::channel(COMMITS_MAX + ORDERS_MAX);
        let (completed, completions) = mpsc::channel(COMMITS_MAX);
        let group = GroupCommit::new(door.clone(), sealer);
        let news = Arc::new(Notify::new());
        let told = news.clone();
        let thread = thread::Builder::new()
            .name("kith-store".to_owned())
            .spawn(move || wiped(|| work(group, orders, completed, &told)))?;
        Ok(Self { door, news, queue, completions, pending: 0, thread })
    }

    /// Who changes the secret and the data key. It does not keep the writer from closing.
    pub fn keyholder(&self) -> Keyholder {
        Keyholder::new(self.door.clone(), self.queue.downgrade())
    }

    /// Who takes old messages away. It does not keep the writer from closing.
    pub fn trimmer(&self) -> Trimmer {
        Trimmer::new(self.queue.downgrade(), self.news.clone())
    }

    /// Queues a commit. Never blocks.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Busy`] if 1,024 commits are pending. The commit is not taken then, and no
    /// completion will come for it.
    pub fn submit(&mut self, commit: Commit) -> Result<(), SubmitError> {
        if self.pending == COMMITS_MAX {
            return Err(SubmitError::Busy);
        }
        self.queue.try_send(Order::Commit(commit)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SubmitError::Busy,
            mpsc::error::TrySendError::Closed(_) => SubmitError::Closed,
        })?;
        self.pending += 1;
        Ok(())
    }

    /// Commits whose completion has not been taken.
    #[cfg(test)]
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    /// The next completion, in the order in which the commits were submitted; `None` if the
    /// writer has ended. Nothing is lost if the future is dropped.
    pub async fn completed(&mut self) -> Option<Completion> {
        let completion = self.completions.recv().await?;
        self.pending = self.pending.saturating_sub(1);
        Some(completion)
    }

    /// Writes what is queued, wipes the keys, closes the database, and returns the completions
    /// that have not been taken. Waits for the disk: not for the async loop's own thread.
    pub fn close(self) -> Vec<Completion> {
        let Self { door: _, news: _, queue, mut completions, pending, thread } = self;
        // The thread ends when the queue is empty and nobody can add to it. An error means that
        // it panicked; there is nothing left to save then.
        drop(queue);
        let _ = thread.join();
        let mut rest = Vec::with_capacity(pending);
        while let Ok(completion) = completions.try_recv() {
            rest.push(completion);
        }
        rest
    }
}

/// The thread: writes until nobody can submit any more and the queue is empty. Between two batches
/// it does one step of a chore.
fn work(mut group: GroupCommit, mut orders: mpsc::Receiver<Order>, completed: mpsc::Sender<Completion>, news: &Notify) {
    let mut batch = Vec::with_capacity(BATCH_COMMITS_MAX);
    loop {
        let first = if group.is_idle() {
            let Some(first) = orders.blocking_recv() else { break };
            Some(first)
        } else {
            match orders.try_recv() {
                Ok(first) => Some(first),
                Err(mpsc::error::TryRecvError::Empty) => None,
                Err(mpsc::error::TryRecvError::Disconnected) => break,
            }
        };
        // Commits that follow each other share a transaction; another order waits for them.
        let mut next = first;
        while let Some(Order::Commit(commit)) = next {
            batch.push(commit);
            next = if batch.len() < BATCH_COMMITS_MAX { orders.try_recv().ok() } else { None };
        }
        let is_news = batch.iter().flat_map(|commit| &commit.ops).any(trim::is_news);
        wiped(|| write(&mut group, &mut batch, &completed));
        if is_news {
            news.notify_one();
        }
        match next {
            // Whoever asked may have gone.
            Some(Order::Secret(wrapping, done)) => drop(done.send(wiped(|| group.change_secret(*wrapping)))),
            Some(Order::Choose(choice, done)) => drop(done.send(wiped(|| group.put_choice(choice)))),
            Some(Order::Pin(pin, done)) => drop(done.send(wiped(|| group.put_pin(&pin)))),
            Some(Order::Trim { keep, utc_ms, done }) => drop(done.send(wiped(|| group.trim(&keep, utc_ms)))),
            Some(Order::Rotate(task)) => wiped(|| group.rotate(Some(task))),
            Some(Order::Show(task)) => group.show_to(task),
            Some(Order::Commit(_)) | None => {}
        }
        wiped(|| group.step());
    }
    group.close();
}

fn write(group: &mut GroupCommit, batch: &mut Vec<Commit>, completed: &mpsc::Sender<Completion>) {
    if batch.is_empty() {
        return;
    }
    let results = group.write(batch);
    for (commit, result) in batch.drain(..).zip(results) {
        // As many places as commits can be pending, so it is never full; closed means that nobody
        // wants to know.
        let _ = completed.try_send((commit.id, result));
    }
}
