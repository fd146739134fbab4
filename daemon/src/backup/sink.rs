//! Writing a document: its header, a line for each entry, and the end.

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use super::error::BackupError;
use super::header::DocumentHeader;
use super::line;
use super::seal::Writer;
use crate::store::Entry;

/// Before all that the sum of a document covers.
const SUM_LABEL: &[u8] = b"kith/1 backup";

/// The sum over the lines of a document.
#[derive(Clone)]
pub(super) struct Sum {
    hash: Sha256,
    lines: u64,
}

impl Sum {
    pub(super) fn new() -> Self {
        Self { hash: Sha256::new_with_prefix(SUM_LABEL), lines: 0 }
    }

    /// Adds a line, without its newline.
    pub(super) fn add(&mut self, line: &[u8]) {
        self.hash.update(line);
        self.hash.update(b"\n");
        self.lines += 1;
    }

    /// The last line of the document, without its newline. There is one way to write it.
    pub(super) fn end_line(&self) -> String {
        let digest = HEXLOWER.encode(&self.hash.clone().finalize());
        format!("{{\"kind\":\"end\",\"lines\":{},\"sha256\":\"{digest}\"}}", self.lines)
    }
}

/// A document that is being written.
pub(super) struct Sink {
    writer: Writer,
    sum: Sum,
    line: Zeroizing<Vec<u8>>,
}

impl Sink {
    pub(super) fn begin(writer: Writer, header: &DocumentHeader) -> Result<Self, BackupError> {
        let mut sink = Self { writer, sum: Sum::new(), line: Zeroizing::new(Vec::with_capacity(line::LINE_BYTES_MAX)) };
        let header = serde_json::to_vec(header).map_err(|error| BackupError::Io(error.to_string()))?;
        sink.line.extend_from_slice(&header);
        sink.line.push(b'\n');
        sink.put_line()?;
        Ok(sink)
    }

    pub(super) fn put(&mut self, entry: &Entry) -> Result<(), BackupError> {
        line::write(entry, &mut self.line)?;
        self.put_line()
    }

    /// Writes the end, and gives the length of the file.
    pub(super) fn finish(mut self) -> Result<u64, BackupError> {
        let end = self.sum.end_line();
        self.writer.write(end.as_bytes())?;
        self.writer.write(b"\n")?;
        self.writer.finish()
    }

    fn put_line(&mut self) -> Result<(), BackupError> {
        let bare = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        self.sum.add(bare);
        self.writer.write(&self.line)?;
        // Its length is set to 0, its room stays.
        self.line.zeroize();
        Ok(())
    }
}
