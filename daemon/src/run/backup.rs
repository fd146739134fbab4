//! Backups, as tasks.

use std::fs::File;

use tracing::info;

use super::clock::now;
use crate::backup::{self, Access, Form, Plan, Restored};
use crate::handle::CallError;
use crate::store::{CompleteDraft, Folder, Keyholder, ReadError, Reader, Store};
use crate::task::{Summary, Task, TaskEnd};

/// What an export reads, and what it is to become.
pub(super) struct Source {
    pub(super) reader: Reader,
    pub(super) keyholder: Keyholder,
    pub(super) form: Form,
}

/// A store that is to take the place of what the device holds, and the task that ends with it.
pub(super) struct Import {
    draft: CompleteDraft,
    imported: Imported,
}

/// The task of an import that has only to be told of its end.
pub(super) struct Imported {
    task: Task,
    summary: Summary,
}

/// A store that is open, and the import that has made it, if one has.
pub(super) struct Opened {
    pub(super) store: Box<Store>,
    pub(super) imported: Option<Imported>,
}

impl Opened {
    /// Without an import.
    pub(super) fn of(store: Store) -> Self {
        Self { store: Box::new(store), imported: None }
    }
}

/// Writes a backup. Takes as long as reading the whole store: not for the async loop's own thread.
pub(super) fn export(source: &Source, file: File, mut task: Task) {
    let end = match exported(source, file, &mut task) {
        Ok(summary) => {
            info!("a backup has been written");
            TaskEnd::Done(summary)
        }
        Err(end) => end,
    };
    task.end(end);
}

fn exported(source: &Source, file: File, task: &mut Task) -> Result<Summary, TaskEnd> {
    let access = source.keyholder.backup().ok_or_else(|| TaskEnd::Failed(ReadError::Locked.into()))?;
    Ok(backup::export(&source.reader, &access, source.form, file, now().utc_ms, task)?)
}

/// Reads a backup. `None` if the task has ended with it: it failed, or nothing more was wanted. Takes
/// as long as deriving two keys, and longer for a long history: not for the async loop's own thread.
pub(super) fn import(folder: &Folder, access: &Access, file: File, plan: &Plan, mut task: Task) -> Option<Import> {
    match backup::restore(folder, access, file, plan, &mut task) {
        Ok(Restored { summary, draft: Some(draft) }) => Some(Import { draft, imported: Imported { task, summary } }),
        Ok(Restored { summary, draft: None }) => {
            task.end(TaskEnd::Done(summary));
            None
        }
        Err(error) => {
            info!("a backup was not taken: {error}");
            task.end(error.into());
            None
        }
    }
}

impl Import {
    /// Puts the store in its place, where none is open. Waits for the disk.
    ///
    /// # Errors
    /// The task has been told, too.
    pub(super) fn publish(self) -> Result<Opened, CallError> {
        let Self { draft, imported } = self;
        match draft.publish() {
            Ok(store) => {
                info!("the device has been restored from a backup");
                Ok(Opened { store: Box::new(store), imported: Some(imported) })
            }
            Err(error) => {
                let error = CallError::from(error);
                imported.task.end(TaskEnd::Failed(error.clone()));
                Err(error)
            }
        }
    }
}

impl Imported {
    /// The store is in use.
    pub(super) fn end(self) {
        self.task.end(TaskEnd::Done(self.summary));
    }
}
