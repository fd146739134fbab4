//! Destroying a store: its keys first, then its files.
//!
//! Without its header a store is random bytes, so the headers go before anything else: every copy of
//! them that the database has left in its file is overwritten and fsynced. Then all files of the
//! folder are removed but those that guard it. A marker file, written first, makes the next start
//! go on where a power cut has interrupted this. What flash memory keeps of overwritten pages by
//! itself is out of reach; docs/threat-model.md says so.

use std::io;

use kith_crypto::identity::{CLIENT_ID_BYTES, ClientId};

use super::{
    attempts,
    files::Files,
    folder::{Folder, LOCK_FILE},
    header::HEADER_BYTES_MAX,
};

/// There is a wipe to be finished. It holds the client id, by which headers are found.
const MARKER_FILE: &str = "wiping";

/// The marker while it is written.
const UNFINISHED_MARKER_FILE: &str = "wiping.new";

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
    let files = folder.files();
    // Whole before it has its name: whoever finds it knows what to look for.
    files.create(UNFINISHED_MARKER_FILE)?;
    files.write_at(UNFINISHED_MARKER_FILE, 0, client_id.as_bytes())?;
    files.sync(UNFINISHED_MARKER_FILE)?;
    files.rename(UNFINISHED_MARKER_FILE, MARKER_FILE)?;
    files.sync_folder()?;
    go_on(files, Some(client_id))
}

/// Finishes a wipe that a power cut has interrupted, if there is one.
///
/// # Errors
///
/// As [`wipe`].
pub(super) fn finish(folder: &Folder) -> io::Result<()> {
    let files = folder.files();
    if !files.exists(MARKER_FILE)? {
        // One that is not finished has begun nothing.
        return files.remove(UNFINISHED_MARKER_FILE);
    }
    let mut id = [0; CLIENT_ID_BYTES];
    let is_whole = files.bytes(MARKER_FILE)? == id.len() as u64 && files.read_at(MARKER_FILE, 0, &mut id)? == id.len();
    // Without an id there is nothing to look for, and all is to go all the same.
    go_on(files, is_whole.then(|| ClientId::from_bytes(id)).as_ref())
}

fn go_on(files: &dyn Files, client_id: Option<&ClientId>) -> io::Result<()> {
    let mut rest = files.names()?;
    rest.retain(|name| !GUARDS.contains(&name.as_str()));
    if let Some(client_id) = client_id {
        for name in &rest {
            destroy_headers(files, name, client_id)?;
        }
    }
    for name in &rest {
        files.remove(name)?;
    }
    files.sync_folder()?;
    files.remove(MARKER_FILE)?;
    files.sync_folder()
}

/// Overwrites each place where the client id stands in clear, with all of a header around it.
fn destroy_headers(files: &dyn Files, name: &str, client_id: &ClientId) -> io::Result<()> {
    let length = files.bytes(name)?;
    let id = client_id.as_bytes();
    let mut buffer = vec![0; SEARCH_BYTES];
    let mut at = 0;
    while at < length {
        let read = files.read_at(name, at, &mut buffer)?;
        for found in (0..read.saturating_sub(id.len() - 1)).filter(|from| buffer[*from..].starts_with(id)) {
            let from = (at + found as u64).saturating_sub(HEADER_BYTES_MAX as u64);
            let to = (at + found as u64 + HEADER_BYTES_MAX as u64).min(length);
            let zeros = vec![0; usize::try_from(to - from).unwrap_or(0)];
            files.write_at(name, from, &zeros)?;
        }
        // An id that lies across the border is found in the next turn.
        at += (SEARCH_BYTES - (id.len() - 1)) as u64;
    }
    files.sync(name)
}

#[cfg(test)]
pub(super) fn destroy_headers_of(folder: &Folder, client_id: &ClientId) {
    destroy_headers(folder.files(), super::folder::STORE_FILE, client_id).unwrap();
}
