//! Destroying a store: its keys first, then its files.
//!
//! Without its header a store is random bytes, so the headers go before anything else: every copy of
//! them that the database has left in its file is overwritten and fsynced. Then all files of the
//! folder are removed but those that guard it. A marker file, written first, makes the next start
//! go on where a power cut has interrupted this. What flash memory keeps of overwritten pages by
//! itself is out of reach; docs/threat-model.md says so.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use kith_crypto::identity::ClientId;

use super::{
    attempts,
    files::FILE_MODE,
    folder::{Folder, LOCK_FILE},
    header::HEADER_BYTES_MAX,
};

/// There is a wipe to be finished. It holds the client id, by which headers are found.
const MARKER_FILE: &str = "wiping";

/// What stays: it guards the folder.
const GUARDS: [&str; 4] = [LOCK_FILE, MARKER_FILE, attempts::FILE, attempts::PIN_FILE];

/// How much of a file is searched at a time.
const SEARCH_BYTES: usize = 256 * 1024;

/// Destroys whatever the folder holds, of the store of this client id. Nothing may have the store
/// open. Reads the whole file: not for the async loop's own thread.
///
/// # Errors
///
/// The file system's; then the next start tries again.
pub fn wipe(folder: &Folder, client_id: &ClientId) -> io::Result<()> {
    let marker = folder.path().join(MARKER_FILE);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(marker)?;
    file.write_all_at(client_id.as_bytes(), 0)?;
    file.sync_all()?;
    sync(folder.path())?;
    go_on(folder, Some(client_id))
}

/// Finishes a wipe that a power cut has interrupted, if there is one.
///
/// # Errors
///
/// As [`wipe`].
pub(super) fn finish(folder: &Folder) -> io::Result<()> {
    match std::fs::read(folder.path().join(MARKER_FILE)) {
        // Cut off while the marker was written: nothing has been destroyed, and all is to be.
        Ok(bytes) => go_on(folder, bytes.try_into().ok().map(ClientId::from_bytes).as_ref()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn go_on(folder: &Folder, client_id: Option<&ClientId>) -> io::Result<()> {
    let mut rest = Vec::new();
    for entry in std::fs::read_dir(folder.path())? {
        let entry = entry?;
        let guards = GUARDS.iter().any(|name| entry.file_name() == **name);
        if !guards && entry.file_type()?.is_file() {
            rest.push(entry.path());
        }
    }
    if let Some(client_id) = client_id {
        for path in &rest {
            destroy_headers(path, client_id)?;
        }
    }
    for path in &rest {
        std::fs::remove_file(path)?;
    }
    sync(folder.path())?;
    std::fs::remove_file(folder.path().join(MARKER_FILE))?;
    sync(folder.path())
}

/// Overwrites each place where the client id stands in clear, with all of a header around it.
fn destroy_headers(path: &Path, client_id: &ClientId) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let id = client_id.as_bytes();
    let mut buffer = vec![0; SEARCH_BYTES];
    let mut at = 0;
    while at < length {
        let read = read_some(&file, &mut buffer, at)?;
        for found in (0..read.saturating_sub(id.len() - 1)).filter(|from| buffer[*from..].starts_with(id)) {
            let from = (at + found as u64).saturating_sub(HEADER_BYTES_MAX as u64);
            let to = (at + found as u64 + HEADER_BYTES_MAX as u64).min(length);
            let zeros = vec![0; usize::try_from(to - from).unwrap_or(0)];
            file.write_all_at(&zeros, from)?;
        }
        // An id that lies across the border is found in the next turn.
        at += (SEARCH_BYTES - (id.len() - 1)) as u64;
    }
    file.sync_all()
}

/// As much as there is, up to the buffer's length.
fn read_some(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], at + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
pub(super) fn destroy_headers_of(folder: &Folder, client_id: &ClientId) {
    destroy_headers(&folder.store_file(), client_id).unwrap();
}
