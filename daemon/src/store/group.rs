//! Group commit: many commits, one transaction, one fsync.

use std::sync::Arc;

use kith_engine::{Commit, CommitError, Op};
use redb::{Durability, WriteTransaction};

use super::{
    batch::{self, Batch, Witness},
    custody::Custody,
    disk::Door,
    fault::Fault,
    retention::{Retention, RetentionChoice},
    stale::Stale,
    table::{HEADER, HEADER_KEY},
    trim::{self, Trimmed},
    value::Sealer,
};

/// What the writer thread writes with.
pub(super) struct GroupCommit {
    door: Arc<Door>,
    sealer: Sealer,
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
    Failed(Fault, Option<Witness>, Vec<Result<(), CommitError>>),
}

impl GroupCommit {
    pub(super) fn new(door: Arc<Door>, sealer: Sealer) -> Self {
        Self { door, sealer, stale: Stale::default(), broken: None }
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
        // Each turn bars one more commit, so there are at most as many turns as commits.
        loop {
            if let Err(error) = self.can_write() {
                return vec![Err(error); batch.len()];
            }
            match self.attempt(batch, &barred) {
                Attempt::Done(results) => return results,
                Attempt::Without(at, fault) => barred[at] = Some(fault.into()),
                Attempt::Failed(fault, witness, results) => {
                    return match self.settle(fault, witness) {
                        Ok(()) => results,
                        Err(error) => vec![Err(error); batch.len()],
                    };
                }
            }
        }
    }

    /// Puts another header in the place of the store's, in one step: the keys stay the same.
    pub(super) fn put_header(&mut self, custody: Custody) -> Result<(), CommitError> {
        self.can_write()?;
        let header = custody.header().encode();
        let written = self.door.begin_write().and_then(prepare).and_then(|tx| {
            tx.open_table(HEADER)?.insert(HEADER_KEY, header.as_slice())?;
            Ok(tx.commit()?)
        });
        if let Err(fault) = written {
            self.settle(fault, Some(Witness::new(HEADER, HEADER_KEY, Some(&header))))?;
        }
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

    /// Does something in a transaction of its own.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&WriteTransaction, &mut Batch<'_>) -> Result<T, Fault>,
    ) -> Result<T, CommitError> {
        self.can_write()?;
        let sealer = &mut self.sealer;
        let worked = self.door.begin_write().and_then(prepare).and_then(|tx| {
            let mut rows = Batch::new(&tx, sealer);
            let done = work(&tx, &mut rows)?;
            let witness = rows.into_witness()?;
            Ok((tx, done, witness))
        });
        let (tx, done, witness) = match worked {
            Ok(worked) => worked,
            Err(fault) if fault.is_of_database() => {
                let text = CommitError::Failed(fault.to_string());
                return self.settle(fault, None).and(Err(text));
            }
            Err(fault) => return Err(fault.into()),
        };
        // Where nothing has changed there is no fsync: dropping the transaction aborts it.
        if witness.is_some()
            && let Err(error) = tx.commit()
        {
            self.settle(error.into(), witness)?;
        }
        Ok(done)
    }

    /// An error if the database could not be opened again after a failure.
    fn can_write(&self) -> Result<(), CommitError> {
        self.broken.as_ref().map_or(Ok(()), |why| Err(CommitError::Failed(why.clone())))
    }

    /// Closes the database.
    pub(super) fn close(self) {
        self.door.close();
    }

    fn attempt(&mut self, batch: &[Commit], barred: &[Option<CommitError>]) -> Attempt {
        let failed = |fault| Attempt::Failed(fault, None, Vec::new());
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
        let witness = match rows.into_witness() {
            Ok(witness) => witness,
            Err(fault) => return failed(fault),
        };
        if witness.is_none() {
            // Nothing has changed: no fsync for a refusal. Dropping the transaction aborts it.
            return Attempt::Done(results);
        }
        match tx.commit() {
            Ok(()) => Attempt::Done(results),
            Err(error) => Attempt::Failed(error.into(), witness, results),
        }
    }

    /// After a failure: opens the database again and finds out whether the transaction is in it
    /// all the same.
    fn settle(&mut self, fault: Fault, witness: Option<Witness>) -> Result<(), CommitError> {
        let is_in = self.door.reopen().and_then(|()| match witness {
            Some(witness) => self.door.is_in(&witness),
            None => Ok(false),
        });
        match is_in {
            Ok(true) => Ok(()),
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
