//! What the writer thread does beside the commits, one step at a time: sealing what lies in clear,
//! and rewriting the store under a new data key.

use kith_engine::RequestError;
use tracing::{info, warn};

use super::{fault::Fault, rebuild::Rebuild, sweep::Sweep, table::Table};
use crate::{
    handle::CallError,
    task::{Cancelled, Summary, Task, TaskEnd},
};

/// Why the data key stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RotateError {
    /// It is being done, or values in clear are being sealed, which ends with it.
    #[error("it is already being rewritten; wait until that has ended")]
    Busy,
    /// Whoever wanted it does not want it any more.
    #[error("cancelled")]
    Cancelled,
    /// No space left on the device.
    #[error("there is no space for a second copy of it; nothing has been changed")]
    Full,
    /// The store has been locked or closed meanwhile.
    #[error("it has been locked; nothing has been changed")]
    Locked,
    /// The store could not be read or written.
    #[error("{0}")]
    Failed(String),
}

impl From<Fault> for RotateError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::Full,
            fault => Self::Failed(fault.to_string()),
        }
    }
}

impl From<RotateError> for TaskEnd {
    fn from(error: RotateError) -> Self {
        Self::Failed(match error {
            RotateError::Cancelled => return Self::Cancelled,
            RotateError::Busy => CallError::Busy,
            RotateError::Full => RequestError::StorageFull.into(),
            RotateError::Locked => CallError::Locked,
            RotateError::Failed(text) => RequestError::Storage(text).into(),
        })
    }
}

/// What is being done.
pub(super) enum Chore {
    None,
    Sweep(Sweep),
    Rebuild(Box<Rebuild>),
}

/// The chore, and the task that shows it.
pub(super) struct Chores {
    pub(super) chore: Chore,
    pub(super) task: Option<Task>,
    /// Rows that it has to look at.
    total: u64,
    /// One ended badly: none begins by itself before the next unlocking.
    pub(super) has_failed: bool,
}

impl Chores {
    pub(super) fn new() -> Self {
        Self { chore: Chore::None, task: None, total: 0, has_failed: false }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.chore, Chore::None)
    }

    /// A sweep over so many rows; it ends with a copy of them.
    pub(super) fn begin_sweep(&mut self, rows: u64) {
        info!(rows, "sealing what lies in clear in the store");
        self.chore = Chore::Sweep(Sweep::default());
        self.total = 2 * rows;
    }

    /// A copy of so many rows.
    pub(super) fn begin_rebuild(&mut self, rebuild: Rebuild, rows: u64, task: Option<Task>) {
        info!(rows, "rewriting the store under a new data key");
        self.chore = Chore::Rebuild(Box::new(rebuild));
        self.total = rows;
        self.show_to(task);
    }

    /// The sweep is done; its copy begins.
    pub(super) fn go_on_with(&mut self, rebuild: Rebuild) {
        self.chore = Chore::Rebuild(Box::new(rebuild));
    }

    /// Lets a task show what is being done. Where nothing is, it is done.
    pub(super) fn show_to(&mut self, task: Option<Task>) {
        let Some(mut task) = task else { return };
        if self.is_idle() {
            return task.end(TaskEnd::Done(Summary::new()));
        }
        task.expect(self.total);
        self.task = Some(task);
    }

    /// So many rows more are done.
    pub(super) fn advance(&mut self, rows: u64) -> Result<(), RotateError> {
        match &mut self.task {
            Some(task) => task.advance(rows).map_err(|Cancelled| RotateError::Cancelled),
            None => Ok(()),
        }
    }

    /// The store is rewritten.
    pub(super) fn succeed(&mut self) {
        info!("the store is rewritten under a new data key");
        self.chore = Chore::None;
        if let Some(task) = self.task.take() {
            task.end(TaskEnd::Done(Summary::new()));
        }
    }

    /// Gives up. The store is as it was, and in use.
    pub(super) fn fail(&mut self, error: RotateError) {
        if let Chore::Rebuild(rebuild) = std::mem::replace(&mut self.chore, Chore::None) {
            rebuild.abandon();
        }
        self.has_failed = true;
        let task = self.task.take();
        refuse(error, task);
    }

    /// The sweep is over, but not all could be sealed.
    pub(super) fn leave_unreadable(&mut self, table: Table) {
        self.fail(RotateError::Failed(format!(
            "a value in table `{table}` lies in clear and cannot be read; this affects {}; restore it from a backup",
            table.affects()
        )));
    }
}

/// Says why the store is not rewritten.
pub(super) fn refuse(error: RotateError, task: Option<Task>) {
    match error {
        RotateError::Cancelled | RotateError::Locked => info!("the store is not rewritten: {error}"),
        RotateError::Busy | RotateError::Full | RotateError::Failed(_) => {
            warn!("the store is not rewritten: {error}");
        }
    }
    if let Some(task) = task {
        task.end(error.into());
    }
}
