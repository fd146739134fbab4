//! Reading a backup: its header, then entry by entry, each of them checked.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use kith_crypto::backup::ChunkOpener;
use kith_crypto::identity::ClientId;
use kith_crypto::vault::BackupKey;
use zeroize::Zeroizing;

use super::check::{Check, Counts};
use super::error::BackupError;
use super::header::{HEADER_BYTES_MAX, Header, SealedHeader};
use super::line::{self, LINE_BYTES_MAX};
use super::seal::{Input, Pieces};
use super::sink::Sum;
use crate::store::Entry;

/// What the last line of a document begins with.
const END: &[u8] = b"{\"kind\":\"end\",";

/// The first line of a file.
pub(super) struct Beginning {
    /// Its exact bytes, with the newline.
    line: Vec<u8>,
    pub(super) client_id: ClientId,
    /// `None` for a plain backup.
    pub(super) sealed: Option<SealedHeader>,
}

impl Beginning {
    pub(super) fn read(file: &File) -> Result<Self, BackupError> {
        let mut line = vec![0; HEADER_BYTES_MAX];
        let filled = Input::at(file, 0)?.fill(&mut line)?;
        line.truncate(filled);
        let end = line.iter().position(|byte| *byte == b'\n').ok_or(BackupError::NotOne)?;
        line.truncate(end + 1);
        let header = Header::parse(&line[..end])?;
        let client_id = header.client_id()?;
        let sealed = match header {
            Header::Sealed(header) => Some(header),
            Header::Document(_) => None,
        };
        Ok(Self { line, client_id, sealed })
    }
}

/// How a sealed backup is opened.
pub(super) struct Key {
    pub(super) key: Arc<BackupKey>,
    /// What it means if not even the first chunk opens.
    pub(super) fails: BackupError,
}

/// A document that is being read.
pub(super) struct Source {
    lines: Lines,
    sum: Sum,
    check: Check,
    is_sealed: bool,
    pub(super) created_ms: u64,
}

impl Source {
    /// Reads as far as the document's header. A sealed backup needs a key.
    pub(super) fn open(file: &File, beginning: &Beginning, key: Option<&Key>) -> Result<Self, BackupError> {
        let pieces = match (&beginning.sealed, key) {
            (None, _) => Pieces::plain(Input::at(file, 0)?),
            (Some(_), None) => return Err(BackupError::NeedsSecret),
            (Some(header), Some(key)) => {
                let opener = ChunkOpener::new(&key.key, &header.file_salt.0, &beginning.line);
                Pieces::sealed(Input::at(file, beginning.line.len() as u64)?, opener, key.fails.clone())?
            }
        };
        let mut lines = Lines::new(pieces);
        let mut sum = Sum::new();
        let range = lines.next()?;
        let line = lines.at(range);
        sum.add(line);
        let Header::Document(header) = Header::parse(line)? else {
            return Err(BackupError::Damaged("it holds a sealed backup"));
        };
        let created_ms = header.created_ms;
        if Header::Document(header).client_id()? != beginning.client_id {
            return Err(BackupError::Damaged("it holds another device than it says"));
        }
        Ok(Self {
            lines,
            sum,
            check: Check::new(beginning.client_id),
            is_sealed: beginning.sealed.is_some(),
            created_ms,
        })
    }

    /// The next entry; `None` at the end, which has then been found to be whole.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, BackupError> {
        loop {
            let range = self.lines.next()?;
            let line = self.lines.at(range);
            if line.starts_with(END) {
                if line != self.sum.end_line().as_bytes() {
                    return Err(BackupError::Damaged("its sum is wrong"));
                }
                return self.lines.end().map(|()| None);
            }
            self.sum.add(line);
            if let Some(mut entry) = line::read(line)? {
                if let (Entry::Contact(stored), false) = (&mut entry, self.is_sealed) {
                    // Nothing says who has written it.
                    stored.standing.verified = false;
                }
                self.check.take(&entry)?;
                return Ok(Some(entry));
            }
        }
    }

    /// How much of the file has been read.
    pub(super) fn offset(&self) -> u64 {
        self.lines.pieces.offset()
    }

    /// After the last entry: what there was.
    pub(super) fn finish(self) -> Result<Counts, BackupError> {
        self.check.finish()
    }
}

/// Lines of a document. Only one piece and one line are in memory.
struct Lines {
    pieces: Pieces,
    buffer: Zeroizing<Vec<u8>>,
    /// Where the next line begins.
    start: usize,
}

impl Lines {
    fn new(pieces: Pieces) -> Self {
        Self { pieces, buffer: Zeroizing::new(Vec::new()), start: 0 }
    }

    /// Where the next line is, without its newline.
    fn next(&mut self) -> Result<Range<usize>, BackupError> {
        let mut searched = self.start;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let range = self.start..searched + at;
                self.start = range.end + 1;
                return Ok(range);
            }
            if self.buffer.len() - self.start > LINE_BYTES_MAX {
                return Err(BackupError::Damaged("a line is too long"));
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            searched = self.buffer.len();
            self.pieces.read(&mut self.buffer)?;
            if self.buffer.len() == searched {
                return Err(BackupError::Damaged("it is cut off"));
            }
        }
    }

    fn at(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    /// Makes sure that nothing follows.
    fn end(&mut self) -> Result<(), BackupError> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
            self.pieces.read(&mut self.buffer)?;
        }
        if self.start == self.buffer.len() { Ok(()) } else { Err(BackupError::Damaged("it goes on after its end")) }
    }
}
