//! Reading a backup into a device.

use std::fs::File;
use std::sync::Arc;

use kith_crypto::identity::ClientId;
use kith_crypto::vault::{BackupKey, MasterKey};
use zeroize::Zeroizing;

use super::check::Counts;
use super::error::BackupError;
use super::header::SealedHeader;
use super::source::{Beginning, Key, Source};
use crate::store::{BackupAccess, CompleteDraft, Draft, DraftHead, DraftSecret, Entry, Folder, Keyholder, ReadError};
use crate::task::{Summary, SummaryValue, Task};

/// What is asked for.
#[derive(Default)]
pub struct Plan {
    /// Only say what would be done.
    pub dry_run: bool,
    /// What the device holds is to be replaced.
    pub replace: bool,
    /// The exact bytes that were typed: opens the backup, and on a device that is not set up
    /// becomes its secret.
    pub secret: Option<Zeroizing<String>>,
}

/// The device that is restored.
#[derive(Debug)]
pub enum Access {
    /// It is not set up.
    NotSetUp,
    /// Its store is open.
    Open(ClientId, Keyholder),
}

/// What came of it.
#[derive(Debug)]
pub struct Restored {
    /// What the backup holds.
    pub summary: Summary,
    /// The store that is to take its place; `None` after a dry run.
    pub draft: Option<CompleteDraft>,
}

/// A backup that is being read, twice.
struct Reading<'a> {
    file: File,
    beginning: Beginning,
    key: Option<Key>,
    task: &'a mut Task,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { dry_run, replace, secret: _ } = self;
        f.debug_struct("Plan").field("dry_run", dry_run).field("replace", replace).finish_non_exhaustive()
    }
}

/// Reads a backup: first all of it, then again into a draft. Takes as long as deriving two keys,
/// and longer for a long history: not for the async loop's own thread.
///
/// # Errors
/// The device is as it was.
pub fn restore(
    folder: &Folder,
    access: &Access,
    file: File,
    plan: &Plan,
    task: &mut Task,
) -> Result<Restored, BackupError> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(BackupError::Unusable("a backup is read from a file, and from nothing else"));
    }
    let beginning = Beginning::read(&file)?;
    admit(access, &beginning, plan)?;
    task.expect(metadata.len().saturating_mul(if plan.dry_run { 1 } else { 2 }));
    let key = match &beginning.sealed {
        None => None,
        Some(header) => Some(key(access, &beginning.client_id, header, plan)?),
    };
    let (client_id, is_sealed) = (beginning.client_id, beginning.sealed.is_some());
    let mut reading = Reading { file, beginning, key, task };
    let (mut counts, created_ms) = reading.verify()?;
    let mut draft = None;
    if !plan.dry_run {
        // The file may have been changed since: what counts is what was written.
        let (written, complete) = reading.write(folder, access, plan)?;
        (counts, draft) = (written, Some(complete));
    }
    let number = SummaryValue::Number;
    let summary = Summary::from([
        ("client_id", SummaryValue::Text(client_id.to_string())),
        ("created_ms", number(created_ms)),
        ("contacts", number(counts.contacts)),
        ("messages", number(counts.messages)),
        ("waiting", number(counts.waiting)),
        ("encrypted", SummaryValue::Flag(is_sealed)),
        ("replaces", SummaryValue::Flag(matches!(access, Access::Open(..)))),
        ("dry_run", SummaryValue::Flag(plan.dry_run)),
    ]);
    Ok(Restored { summary, draft })
}

/// What can be refused before anything is derived or read.
fn admit(access: &Access, beginning: &Beginning, plan: &Plan) -> Result<(), BackupError> {
    let has_secret = plan.secret.as_ref().is_some_and(|secret| !secret.trim_end_matches('\n').is_empty());
    match access {
        Access::Open(own, _) if *own != beginning.client_id => Err(BackupError::OtherDevice(beginning.client_id)),
        Access::Open(..) if !plan.replace && !plan.dry_run => Err(BackupError::NeedsReplace),
        // A plain backup can be looked at without.
        Access::NotSetUp if !has_secret && (beginning.sealed.is_some() || !plan.dry_run) => {
            Err(BackupError::NeedsSecret)
        }
        Access::Open(..) | Access::NotSetUp => Ok(()),
    }
}

/// The key of a sealed backup, and what it means if it does not fit.
fn key(access: &Access, client_id: &ClientId, header: &SealedHeader, plan: &Plan) -> Result<Key, BackupError> {
    if let Access::Open(_, keyholder) = access {
        let BackupAccess { salt, iterations, key, .. } = keyholder.backup().ok_or(ReadError::Locked)?;
        if (salt, iterations) == (header.salt.0, header.iterations) {
            return Ok(Key { key, fails: BackupError::Damaged("its beginning does not open") });
        }
    }
    let Some(secret) = &plan.secret else { return Err(BackupError::OtherSecret) };
    let master = MasterKey::derive(secret.as_bytes(), client_id, &header.salt.0, header.iterations)
        .map_err(|_| BackupError::Damaged("its first line does not parse"))?;
    let key: Arc<BackupKey> = Arc::new(master.backup_key());
    Ok(Key { key, fails: BackupError::WrongSecret })
}

impl Reading<'_> {
    fn open(&self) -> Result<Source, BackupError> {
        Source::open(&self.file, &self.beginning, self.key.as_ref())
    }

    /// Reads all of it and writes nothing.
    fn verify(&mut self) -> Result<(Counts, u64), BackupError> {
        let mut source = self.open()?;
        let mut read = 0;
        while source.next()?.is_some() {
            read = self.advance(read, &source)?;
        }
        let created_ms = source.created_ms;
        Ok((source.finish()?, created_ms))
    }

    /// Reads all of it again, into a store beside the present one.
    fn write(&mut self, folder: &Folder, access: &Access, plan: &Plan) -> Result<(Counts, CompleteDraft), BackupError> {
        let secret = match (access, &plan.secret) {
            (Access::Open(_, keyholder), _) => DraftSecret::OfStore(keyholder),
            (Access::NotSetUp, Some(secret)) => DraftSecret::Typed(secret.as_bytes()),
            (Access::NotSetUp, None) => return Err(BackupError::NeedsSecret),
        };
        let mut source = self.open()?;
        let (head, mut next) = head(&mut source)?;
        let mut draft = Draft::begin(folder, head, &secret)?;
        let mut read = 0;
        while let Some(entry) = next {
            draft.put(&entry)?;
            read = self.advance(read, &source)?;
            next = source.next()?;
        }
        Ok((source.finish()?, draft.complete()?))
    }

    fn advance(&mut self, before: u64, source: &Source) -> Result<u64, BackupError> {
        let now = source.offset();
        self.task.advance(now.saturating_sub(before))?;
        Ok(now)
    }
}

/// What a draft is begun with, and the entry that follows.
fn head(source: &mut Source) -> Result<(DraftHead, Option<Entry>), BackupError> {
    let (mut identity, mut tag_key, mut display_name) = (None, None, None);
    let next = loop {
        match source.next()? {
            Some(Entry::Identity(own)) => identity = Some(*own),
            Some(Entry::TagKey(key)) => tag_key = Some(*key),
            Some(Entry::Profile(profile)) => display_name = Some(profile.display_name),
            next => break next,
        }
    };
    let whole = identity.zip(display_name).ok_or(BackupError::Damaged("it holds no device"))?;
    Ok((DraftHead { identity: whole.0, tag_key, display_name: whole.1 }, next))
}
