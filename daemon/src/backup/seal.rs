//! Between a file and the document: nothing for a plain backup, sealed chunks for an encrypted one.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;

use kith_crypto::backup::{CHUNK_BYTES, CHUNK_OVERHEAD, ChunkError, ChunkOpener, ChunkSealer};
use zeroize::{Zeroize as _, Zeroizing};

use super::error::BackupError;

/// How much of a plain file is read at once.
const READ_BYTES: usize = 64 * 1024;

/// Writes a document into a file.
pub(super) enum Writer {
    Plain(BufWriter<File>),
    Sealed { file: File, sealer: ChunkSealer, chunk: Zeroizing<Vec<u8>> },
}

impl Writer {
    pub(super) fn plain(file: File) -> Self {
        Self::Plain(BufWriter::new(file))
    }

    /// After the clear header, which has been written.
    pub(super) fn sealed(file: File, sealer: ChunkSealer) -> Self {
        let chunk = Zeroizing::new(Vec::with_capacity(CHUNK_BYTES + CHUNK_OVERHEAD));
        Self::Sealed { file, sealer, chunk }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), BackupError> {
        match self {
            Self::Plain(file) => file.write_all(bytes)?,
            Self::Sealed { file, sealer, chunk } => {
                while !bytes.is_empty() {
                    // A full chunk is sealed when more comes: the last one is sealed as the last.
                    if chunk.len() == CHUNK_BYTES {
                        seal(file, sealer, chunk, false)?;
                    }
                    let (now, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - chunk.len()));
                    chunk.extend_from_slice(now);
                    bytes = rest;
                }
            }
        }
        Ok(())
    }

    /// Ends the file, and waits until it is on disk.
    pub(super) fn finish(self) -> Result<u64, BackupError> {
        let file = match self {
            Self::Plain(file) => file.into_inner().map_err(|error| error.into_error())?,
            Self::Sealed { mut file, mut sealer, mut chunk } => {
                seal(&mut file, &mut sealer, &mut chunk, true)?;
                file
            }
        };
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }
}

fn seal(file: &mut File, sealer: &mut ChunkSealer, chunk: &mut Vec<u8>, last: bool) -> Result<(), BackupError> {
    chunk.resize(chunk.len() + CHUNK_OVERHEAD, 0);
    sealer.seal(chunk, last)?;
    file.write_all(chunk)?;
    chunk.zeroize();
    Ok(())
}

/// Reads a file from its beginning, whatever its holder does with its offset.
#[derive(Debug)]
pub(super) struct Input {
    file: File,
    offset: u64,
}

impl Input {
    pub(super) fn at(file: &File, offset: u64) -> io::Result<Self> {
        Ok(Self { file: file.try_clone()?, offset })
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Fills the buffer as far as the file goes.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], self.offset) {
                Ok(0) => break,
                Ok(read) => {
                    filled += read;
                    self.offset += read as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// Gives a document, piece by piece.
pub(super) enum Pieces {
    Plain(Input),
    Sealed(Box<SealedPieces>),
}

/// Of the chunks, one is looked at while the next is here already: so the last is known.
pub(super) struct SealedPieces {
    input: Input,
    opener: ChunkOpener,
    next: Vec<u8>,
    /// What to say if the very first chunk does not open.
    key_fails: Option<BackupError>,
}

impl Pieces {
    pub(super) fn plain(input: Input) -> Self {
        Self::Plain(input)
    }

    /// `key_fails`: what it means if not even the first chunk opens.
    pub(super) fn sealed(mut input: Input, opener: ChunkOpener, key_fails: BackupError) -> Result<Self, BackupError> {
        let next = chunk(&mut input)?;
        Ok(Self::Sealed(Box::new(SealedPieces { input, opener, next, key_fails: Some(key_fails) })))
    }

    /// How much of the file has been read.
    pub(super) fn offset(&self) -> u64 {
        match self {
            Self::Plain(input) => input.offset(),
            Self::Sealed(pieces) => pieces.input.offset(),
        }
    }

    /// Adds the next piece; nothing is added at the end.
    pub(super) fn read(&mut self, out: &mut Vec<u8>) -> Result<(), BackupError> {
        match self {
            Self::Plain(input) => {
                let before = out.len();
                out.resize(before + READ_BYTES, 0);
                let read = input.fill(&mut out[before..])?;
                out.truncate(before + read);
                Ok(())
            }
            Self::Sealed(pieces) => pieces.read(out),
        }
    }
}

impl SealedPieces {
    fn read(&mut self, out: &mut Vec<u8>) -> Result<(), BackupError> {
        if self.next.is_empty() {
            // Without a single chunk there was no document; else the last one is behind.
            return self.key_fails.take().map_or(Ok(()), |_| Err(BackupError::Damaged("it is cut off")));
        }
        let following = chunk(&mut self.input)?;
        let mut present = Zeroizing::new(std::mem::replace(&mut self.next, following));
        let key_fails = self.key_fails.take();
        match (self.opener.open(&mut present, self.next.is_empty()), key_fails) {
            (Ok(text), _) => out.extend_from_slice(text),
            (Err(ChunkError::Sealed), Some(error)) => return Err(error),
            (Err(error), _) => return Err(error.into()),
        }
        Ok(())
    }
}

fn chunk(input: &mut Input) -> Result<Vec<u8>, BackupError> {
    let mut bytes = vec![0; CHUNK_BYTES + CHUNK_OVERHEAD];
    let filled = input.fill(&mut bytes)?;
    bytes.truncate(filled);
    Ok(bytes)
}
