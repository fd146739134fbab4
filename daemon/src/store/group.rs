//! Group commit: many commits, one transaction, one fsync; and the chores between them.

use std::sync::Arc;

use kith_engine::{Commit, CommitError, Op};
use redb::{Durability, WriteTransaction};

use super::{
    batch::{self, Batch},
    changes::Changes,
    chore::{self, Chore, Chores, RotateError},
    custody::Wrapping,
    disk::{Door, SwitchError},
    fault::Fault,
    folder::NEW_FILE,
    pin::PinRow,
    rebuild::{Rebuild, is_migrating},
    retention::{Retention, RetentionChoice},
    rows::Rows,
    stale::Stale,
    table::Table,
    trim::{self, Trimmed},
    value::Sealer,
};
use crate::task::Task;

/// What the writer thread writes with.
pub(super) struct GroupCommit {
    door: Arc<Door>,
    sealer: Sealer,
    chores: Chores,
    stale: Stale,
    /// Why nothing can be written any more.
    broken: Option<String>,
}

/// How one attempt at a transaction ended.
enum Attempt {
    /// It is on disk, or it was empty; each commit has its result.
    Done(Vec<Result<(), CommitError>>),
    /// This commit cannot be carried out; the others can, without it.
    Without(usize, Fault),
    /// The database failed.
    Failed(Fault, Changes, Vec<Result<(), CommitError>>),
}

impl GroupCommit {
    pub(super) fn new(door: Arc<Door>, sealer: Sealer) -> Self {
        Self { door, sealer, chores: Chores::new(), stale: Stale::default(), broken: None }
    }

    /// Writes a batch in one transaction: without the commits that cannot be carried out, until
    /// one attempt succeeds or the database fails.
    pub(super) fn write(&mut self, batch: &[Commit]) -> Vec<Result<(), CommitError>> {
        let mut barred: Vec<Option<CommitError>> = vec![None; batch.len()];
        if !self.door.disk().has_room() {
            for (commit, bar) in batch.iter().zip(&mut barred) {
                *bar = commit.ops.iter().any(batch::grows).then_some(CommitError::Full);
            }
        }
        if batch.iter().flat_map(|commit| &commit.ops).any(|op| matches!(op, Op::RemoveContact(_))) {
            self.stale.expect_many();
        }
        let gone = batch.iter().flat_map(|commit| &commit.ops).filter(|op| matches!(op, Op::Expire { .. })).count();
        self.stale.expect(gone as u64);
        // Each turn bars one more commit, so there are at most as many turns as commits.
        loop {
            if let Err(error) = self.can_write() {
                return vec![Err(error); batch.len()];
            }
            match self.attempt(batch, &barred) {
                Attempt::Done(results) => return results,
                Attempt::Without(at, fault) => barred[at] = Some(fault.into()),
                Attempt::Failed(fault, changes, results) => {
                    return match self.settle(fault, changes) {
                        Ok(()) => results,
                        Err(error) => vec![Err(error); batch.len()],
                    };
                }
            }
        }
    }

    /// Puts the store's keys under what another secret gives, in one step.
    pub(super) fn change_secret(&mut self, wrapping: Wrapping) -> Result<(), CommitError> {
        let custody = self.door.custody().ok_or_else(|| CommitError::Failed("the store is locked".to_owned()))?;
        let custody = custody.under(wrapping);
        self.transact(|_, rows| rows.put_header(&custody))?;
        self.door.set_custody(custody);
        Ok(())
    }

    /// Takes some old messages away, in a transaction of its own.
    pub(super) fn trim(&mut self, keep: &Retention, utc_ms: Option<u64>) -> Result<Trimmed, CommitError> {
        let mut stale = self.stale.clone();
        let trimmed = self.transact(|tx, rows| trim::step(tx, rows, keep, utc_ms, &mut stale))?;
        self.stale = stale;
        Ok(trimmed)
    }

    /// Writes how much history somebody wants to be kept.
    pub(super) fn put_choice(&mut self, choice: RetentionChoice) -> Result<(), CommitError> {
        self.transact(|_, rows| rows.put_choice(&choice))
    }

    /// Writes what the PIN is recognised by.
    pub(super) fn put_pin(&mut self, pin: &PinRow) -> Result<(), CommitError> {
        self.transact(|_, rows| rows.put_pin(pin))
    }

    /// An error if the database could not be opened again after a failure.
    fn can_write(&self) -> Result<(), CommitError> {
        self.broken.as_ref().map_or(Ok(()), |why| Err(CommitError::Failed(why.clone())))
    }

    /// Begins to rewrite the store under a new data key.
    pub(super) fn rotate(&mut self, task: Option<Task>) {
        let begun = match self.door.custody() {
            None => Err(RotateError::Locked),
            // A sweep that failed leaves what only a migrating store reads.
            Some(custody) if !self.chores.is_idle() || is_migrating(&custody) => Err(RotateError::Busy),
            Some(custody) => Rebuild::begin(self.door.disk().folder(), &custody).map_err(RotateError::from),
        };
        match begun {
            Ok(rebuild) => self.chores.begin_rebuild(rebuild, self.rows_in_all(), task),
            Err(error) => chore::refuse(error, task),
        }
    }

    /// Lets a task show what is being done.
    pub(super) fn show_to(&mut self, task: Task) {
        self.chores.show_to(Some(task));
    }

    /// Whether there is nothing to do between the commits. Finds what has to be done by itself.
    pub(super) fn is_idle(&mut self) -> bool {
        if self.chores.is_idle() && !self.chores.has_failed && self.broken.is_none() {
            if self.door.custody().is_some_and(|custody| is_migrating(&custody)) {
                let total = self.rows_in_all();
                self.chores.begin_sweep(total);
            } else if self.sealer.seals().are_used_up() {
                self.rotate(None);
            }
        }
        self.chores.is_idle()
    }

    /// Does one step of a chore, if there is one.
    pub(super) fn step(&mut self) {
        let result = match &mut self.chores.chore {
            Chore::None => return,
            _ if self.broken.is_some() => Err(RotateError::Failed("the database failed; restart kithd".to_owned())),
            Chore::Sweep(_) => self.sweep(),
            Chore::Rebuild(_) => self.copy(),
        };
        if let Err(error) = result {
            self.chores.fail(error);
        }
    }

    /// Closes the database; a copy that is not finished is thrown away.
    pub(super) fn close(mut self) {
        if !self.chores.is_idle() {
            self.chores.fail(RotateError::Locked);
        }
        self.door.close();
    }

    fn sweep(&mut self) -> Result<(), RotateError> {
        let Chore::Sweep(mut sweep) = std::mem::replace(&mut self.chores.chore, Chore::None) else { return Ok(()) };
        let before = sweep.looked();
        let stepped = self.transact(|tx, rows| sweep.step(tx, rows)).map_err(|error| match error {
            CommitError::Full => RotateError::Full,
            error => RotateError::Failed(error.to_string()),
        });
        let (unreadable, looked) = (sweep.unreadable(), sweep.looked() - before);
        match (stepped?, unreadable) {
            (false, _) => self.chores.chore = Chore::Sweep(sweep),
            (true, Some(table)) => self.chores.leave_unreadable(table),
            (true, None) => {
                let custody = self.door.custody().ok_or(RotateError::Locked)?;
                self.chores.go_on_with(Rebuild::begin(self.door.disk().folder(), &custody)?);
            }
        }
        self.chores.advance(looked)
    }

    fn copy(&mut self) -> Result<(), RotateError> {
        let Chore::Rebuild(rebuild) = &mut self.chores.chore else { return Ok(()) };
        let before = rebuild.copied();
        let at_end = rebuild.step(&self.door)?;
        let copied = rebuild.copied() - before;
        self.chores.advance(copied)?;
        if at_end { self.switch() } else { Ok(()) }
    }

    /// Puts the finished copy in the store's place.
    fn switch(&mut self) -> Result<(), RotateError> {
        let custody = self.door.custody().ok_or(RotateError::Locked)?;
        let Chore::Rebuild(rebuild) = std::mem::replace(&mut self.chores.chore, Chore::None) else { return Ok(()) };
        let switched = rebuild
            .finish(&self.door, &custody)
            .map_err(SwitchError::Stayed)
            .and_then(|(custody, sealer)| self.door.switch(custody).map(|()| sealer));
        match switched {
            Ok(sealer) => {
                self.sealer = sealer;
                self.chores.succeed();
                Ok(())
            }
            Err(SwitchError::Stayed(fault)) => {
                // What cannot be removed is in nobody's way; the next unlocking tries again.
                let _ = self.door.disk().folder().files().remove(NEW_FILE);
                Err(fault.into())
            }
            Err(SwitchError::Unknown(fault)) => {
                let why = format!("the rewritten store may not be in its place: {fault}; restart kithd");
                self.broken = Some(why.clone());
                Err(RotateError::Failed(why))
            }
        }
    }

    /// Where it cannot be counted, progress is not shown.
    fn rows_in_all(&self) -> u64 {
        let count = || {
            let tx = self.door.begin_read()?;
            Table::ALL.iter().map(|table| tx.with_table(*table, |rows| rows.count())).sum::<Result<u64, Fault>>()
        };
        count().unwrap_or(0)
    }

    fn attempt(&mut self, batch: &[Commit], barred: &[Option<CommitError>]) -> Attempt {
        let failed = |fault| Attempt::Failed(fault, Changes::default(), Vec::new());
        let tx = match self.door.begin_write().and_then(prepare) {
            Ok(tx) => tx,
            Err(fault) => return failed(fault),
        };
        let mut results = Vec::with_capacity(batch.len());
        let mut rows = Batch::new(&tx, &mut self.sealer);
        for (at, commit) in batch.iter().enumerate() {
            let result = match &barred[at] {
                Some(error) => Ok(Err(error.clone())),
                None => carry_out(&mut rows, commit),
            };
            match result {
                Ok(result) => results.push(result),
                Err(fault) if fault.is_of_database() => return failed(fault),
                Err(fault) => return Attempt::Without(at, fault),
            }
        }
        let changes = match rows.into_changes() {
            Ok(changes) => changes,
            Err(fault) => return failed(fault),
        };
        match self.end(tx, &changes) {
            Ok(()) => Attempt::Done(results),
            Err(fault) => Attempt::Failed(fault, changes, results),
        }
    }

    /// One transaction that is not of the engine.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&WriteTransaction, &mut Batch<'_>) -> Result<T, Fault>,
    ) -> Result<T, CommitError> {
        self.can_write()?;
        let begun = self.door.begin_write().and_then(prepare).and_then(|tx| {
            let mut rows = Batch::new(&tx, &mut self.sealer);
            let result = work(&tx, &mut rows)?;
            let changes = rows.into_changes()?;
            Ok((tx, changes, result))
        });
        let (tx, changes, result) = match begun {
            Ok(begun) => begun,
            Err(fault) if fault.is_of_database() => {
                let text = CommitError::Failed(fault.to_string());
                return self.settle(fault, Changes::default()).and(Err(text));
            }
            Err(fault) => return Err(fault.into()),
        };
        if let Err(fault) = self.end(tx, &changes) {
            self.settle(fault, changes)?;
        }
        Ok(result)
    }

    /// Puts a transaction on disk.
    fn end(&mut self, tx: WriteTransaction, changes: &Changes) -> Result<(), Fault> {
        if changes.witness.is_none() {
            // Nothing has changed: no fsync for a refusal. Dropping the transaction aborts it.
            return Ok(());
        }
        tx.commit()?;
        self.is_on_disk(changes);
        Ok(())
    }

    /// Lets the count of seals and a copy that is being made follow.
    fn is_on_disk(&mut self, changes: &Changes) {
        if let Some(row) = &changes.reserved {
            self.sealer.has_reserved(row);
        }
        if let Chore::Rebuild(rebuild) = &mut self.chores.chore
            && let Err(fault) = rebuild.follow(&self.door, &changes.touched)
        {
            self.chores.fail(fault.into());
        }
    }

    /// After a failure: opens the database again and finds out whether the transaction is in it
    /// all the same.
    fn settle(&mut self, fault: Fault, changes: Changes) -> Result<(), CommitError> {
        let is_in = self.door.reopen().and_then(|()| match &changes.witness {
            Some(witness) => self.door.is_in(witness),
            None => Ok(false),
        });
        match is_in {
            Ok(true) => {
                self.is_on_disk(&changes);
                Ok(())
            }
            Ok(false) => Err(fault.into()),
            Err(why) => {
                let why = format!("{fault}; then the database could not be opened again: {why}; restart kithd");
                self.broken = Some(why.clone());
                Err(CommitError::Failed(why))
            }
        }
    }
}

/// Fsynced before `commit` returns; see the module documentation of the store for the rest.
pub(super) fn prepare(mut tx: WriteTransaction) -> Result<WriteTransaction, Fault> {
    tx.set_durability(Durability::Immediate).map_err(|error| Fault::Database(error.into()))?;
    tx.set_quick_repair(true);
    Ok(tx)
}

fn carry_out(rows: &mut Batch<'_>, commit: &Commit) -> Result<Result<(), CommitError>, Fault> {
    let claims = rows.check(&commit.ops)?;
    if claims.is_ok() {
        for op in &commit.ops {
            rows.apply(op)?;
        }
    }
    Ok(claims)
}
