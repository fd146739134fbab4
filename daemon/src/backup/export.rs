//! Writing a backup of an open store.

use std::fs::File;
use std::io::{Seek as _, Write as _};

use getrandom::{SysRng, rand_core::UnwrapErr};
use kith_crypto::backup::ChunkSealer;
use kith_engine::{Direction, MessageState};

use super::check::Counts;
use super::error::BackupError;
use super::header::{DocumentHeader, SealedHeader};
use super::seal::Writer;
use super::sink::Sink;
use crate::store::{BackupAccess, Entry, Reader};
use crate::task::{Summary, SummaryValue, Task};

/// How a backup lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Sealed under the key of the store.
    Encrypted,
    /// In clear: whoever has it has the identity.
    Plain,
}

/// Writes a backup into an empty file. Takes as long as reading the whole store: not for the async
/// loop's own thread.
///
/// # Errors
/// What is in the file then is of no use.
pub fn export(
    reader: &Reader,
    access: &BackupAccess,
    form: Form,
    mut file: File,
    utc_ms: u64,
    task: &mut Task,
) -> Result<Summary, BackupError> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > 0 {
        return Err(BackupError::Unusable("a backup is written into an empty file, and into nothing else"));
    }
    file.rewind()?;
    let writer = match form {
        Form::Plain => Writer::plain(file),
        Form::Encrypted => sealed(file, access)?,
    };
    task.expect(reader.count_entries()?);
    let mut sink = Sink::begin(writer, &DocumentHeader::new(&access.client_id, utc_ms))?;
    let mut counts = Counts::default();
    reader.copy(&mut |entry| -> Result<(), BackupError> {
        count(&mut counts, &entry);
        sink.put(&entry)?;
        Ok(task.advance(1)?)
    })?;
    let bytes = sink.finish()?;
    Ok(Summary::from([
        ("contacts", SummaryValue::Number(counts.contacts)),
        ("messages", SummaryValue::Number(counts.messages)),
        ("waiting", SummaryValue::Number(counts.waiting)),
        ("bytes", SummaryValue::Number(bytes)),
        ("encrypted", SummaryValue::Flag(form == Form::Encrypted)),
    ]))
}

fn sealed(mut file: File, access: &BackupAccess) -> Result<Writer, BackupError> {
    let mut file_salt = [0; 32];
    rand_core::Rng::fill_bytes(&mut UnwrapErr(SysRng), &mut file_salt);
    let header = SealedHeader::new(&access.client_id, access.iterations, access.salt, file_salt);
    let mut line = serde_json::to_vec(&header).map_err(|error| BackupError::Io(error.to_string()))?;
    line.push(b'\n');
    file.write_all(&line)?;
    Ok(Writer::sealed(file, ChunkSealer::new(&access.key, &file_salt, &line)))
}

fn count(counts: &mut Counts, entry: &Entry) {
    match entry {
        Entry::Contact(_) => counts.contacts += 1,
        Entry::Message(message) => {
            counts.messages += 1;
            let waits = message.direction == Direction::Outgoing && message.state == MessageState::Queued;
            counts.waiting += u64::from(waits);
        }
        _ => {}
    }
}
