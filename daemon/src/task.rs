//! Long work that is watched and may be cancelled: whoever works long shows how far it is.
//!
//! The loop begins a [`Task`] on the board and hands it to the worker, which counts on it and ends
//! it; a worker that drops it has failed. The facades see all tasks as views, and cancel through
//! the board, so that the loop need not wait for either.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::handle::CallError;

/// Tasks that have ended and stay readable, so that whoever asks late still learns how one ended.
const ENDED_MAX: usize = 8;

/// Into how many steps the way of a task is divided for its observers: each is announced to all
/// of them.
const STEPS: u64 = 100;

/// Names a task; counts from 1 in each run of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u32);

/// What a task works at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Writes a backup.
    Export,
    /// Reads a backup.
    Import,
    /// Checks every value of the store.
    Check,
    /// Rewrites the store under a new data key.
    Rotation,
    /// Seals what lies in clear in the store.
    Sealing,
}

/// A task, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskView {
    /// What it works at.
    pub kind: TaskKind,
    /// How much is done, in the task's own unit.
    pub done: u64,
    /// How much there is to do; 0 as long as nobody knows.
    pub total: u64,
    /// How it ended, once it has.
    pub end: Option<TaskEnd>,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskEnd {
    /// All of it was done.
    Done(Summary),
    /// It could not be done; nothing has been changed, unless the sentence says so.
    Failed(CallError),
    /// Somebody cancelled it; nothing has been changed.
    Cancelled,
}

/// What came of a task. It is broadcast: counts and names of kinds, no content.
pub type Summary = BTreeMap<&'static str, SummaryValue>;

/// One entry of a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SummaryValue {
    /// A count or a time.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// A word or a sentence.
    Text(String),
    /// Several sentences.
    Texts(Vec<String>),
}

/// Why a worker stops before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// Where tasks are begun, seen and cancelled. All clones are the same board.
#[derive(Clone, Debug)]
pub struct Tasks {
    board: Arc<watch::Sender<Board>>,
}

/// All tasks that run, and the latest that ended.
#[derive(Clone, Debug, Default)]
pub struct Board {
    views: BTreeMap<TaskId, TaskView>,
    /// The latest number, and how to cancel its task: there is one at a time.
    latest: u32,
    cancel: Arc<AtomicBool>,
}

/// The worker's end of a task.
#[derive(Debug)]
pub struct Task {
    id: TaskId,
    board: Arc<watch::Sender<Board>>,
    cancel: Arc<AtomicBool>,
    done: u64,
    total: u64,
    shown_step: u64,
    ended: bool,
}

impl Tasks {
    /// An empty board.
    pub fn new() -> Self {
        Self { board: Arc::new(watch::Sender::new(Board::default())) }
    }

    /// Begins a task. One runs at a time: each walks the whole store, and none may see it change
    /// under another.
    ///
    /// # Errors
    /// [`CallError::Busy`] while another task runs.
    pub fn begin(&self, kind: TaskKind) -> Result<Task, CallError> {
        let mut begun = Err(CallError::Busy);
        self.board.send_if_modified(|board| {
            if board.views.values().any(|view| view.end.is_none()) {
                return false;
            }
            while board.views.len() >= ENDED_MAX {
                board.views.pop_first();
            }
            board.latest = board.latest.saturating_add(1);
            board.cancel = Arc::default();
            let id = TaskId(board.latest);
            board.views.insert(id, TaskView { kind, done: 0, total: 0, end: None });
            let (board_in, cancel) = (self.board.clone(), board.cancel.clone());
            begun = Ok(Task { id, board: board_in, cancel, done: 0, total: 0, shown_step: 0, ended: false });
            true
        });
        begun
    }

    /// Tells a task's worker to stop; says whether the task was running.
    pub fn cancel(&self, id: TaskId) -> bool {
        let board = self.board.borrow();
        let runs = board.views.get(&id).is_some_and(|view| view.end.is_none());
        if runs {
            board.cancel.store(true, Ordering::Relaxed);
        }
        runs
    }

    /// Tells the worker of whatever runs to stop.
    pub fn cancel_all(&self) {
        self.board.borrow().cancel.store(true, Ordering::Relaxed);
    }

    /// All tasks, and their changes.
    pub fn watch(&self) -> watch::Receiver<Board> {
        self.board.subscribe()
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Board {
    /// The tasks by their numbers.
    pub fn views(&self) -> &BTreeMap<TaskId, TaskView> {
        &self.views
    }
}

impl Task {
    /// Its name.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Says how much there is to do in all.
    pub fn expect(&mut self, total: u64) {
        self.total = total;
        self.show(|view| view.total = total);
    }

    /// Says that so much more is done.
    ///
    /// # Errors
    /// [`Cancelled`]: the worker is to undo what it began, and to end the task so.
    pub fn advance(&mut self, by: u64) -> Result<(), Cancelled> {
        self.done = self.done.saturating_add(by);
        let step = self.done.saturating_mul(STEPS).checked_div(self.total).unwrap_or(0);
        if step != self.shown_step {
            self.shown_step = step;
            let done = self.done;
            self.show(|view| view.done = done);
        }
        if self.cancel.load(Ordering::Relaxed) { Err(Cancelled) } else { Ok(()) }
    }

    /// Ends it.
    pub fn end(mut self, end: TaskEnd) {
        self.finish(end);
    }

    fn finish(&mut self, end: TaskEnd) {
        let done = self.done;
        self.ended = true;
        self.show(|view| (view.done, view.end) = (done, Some(end)));
    }

    fn show(&self, change: impl FnOnce(&mut TaskView)) {
        self.board.send_modify(|board| {
            if let Some(view) = board.views.get_mut(&self.id) {
                change(view);
            }
        });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.ended {
            self.finish(TaskEnd::Failed(CallError::Stopping));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(tasks: &Tasks, id: TaskId) -> TaskView {
        tasks.watch().borrow().views()[&id].clone()
    }

    #[test]
    fn one_task_runs_at_a_time() {
        let tasks = Tasks::new();
        let first = tasks.begin(TaskKind::Export).unwrap();
        assert_eq!(tasks.begin(TaskKind::Import).unwrap_err(), CallError::Busy);
        first.end(TaskEnd::Cancelled);
        assert_eq!(tasks.begin(TaskKind::Import).unwrap().id(), TaskId(2));
    }

    #[test]
    fn a_cancelled_task_learns_of_it_at_its_next_step_and_the_next_task_does_not() {
        let tasks = Tasks::new();
        let mut task = tasks.begin(TaskKind::Export).unwrap();
        assert_eq!(task.advance(1), Ok(()));
        assert!(tasks.cancel(task.id()));
        assert_eq!(task.advance(1), Err(Cancelled));
        let id = task.id();
        task.end(TaskEnd::Cancelled);
        assert!(!tasks.cancel(id));
        assert_eq!(tasks.begin(TaskKind::Export).unwrap().advance(1), Ok(()));
    }

    #[test]
    fn a_task_whose_worker_is_gone_has_failed() {
        let tasks = Tasks::new();
        let id = tasks.begin(TaskKind::Export).unwrap().id();
        assert_eq!(view(&tasks, id).end, Some(TaskEnd::Failed(CallError::Stopping)));
    }

    #[test]
    fn progress_is_announced_in_a_hundred_steps_at_most() {
        let tasks = Tasks::new();
        let mut seen = tasks.watch();
        let mut task = tasks.begin(TaskKind::Export).unwrap();
        task.expect(100_000);
        seen.mark_unchanged();
        let mut announced = 0;
        for _ in 0..100_000 {
            task.advance(1).unwrap();
            if seen.has_changed().unwrap() {
                seen.mark_unchanged();
                announced += 1;
            }
        }
        assert_eq!(announced, STEPS);
        assert_eq!(view(&tasks, task.id()).done, 100_000);
    }

    #[test]
    fn the_latest_ended_tasks_stay_and_older_ones_go() {
        let tasks = Tasks::new();
        for _ in 0..2 * ENDED_MAX {
            tasks.begin(TaskKind::Export).unwrap().end(TaskEnd::Cancelled);
        }
        let ids: Vec<_> = tasks.watch().borrow().views().keys().copied().collect();
        assert_eq!(ids, (9..=16).map(TaskId).collect::<Vec<_>>());
    }
}
