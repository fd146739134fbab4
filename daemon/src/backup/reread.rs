//! Lines, read and written again: what the fuzz targets call, and no API.

use super::header::Header;
use super::line;

/// A first line without its newline, written again; none if it is refused.
pub fn header(bytes: &[u8]) -> Option<Vec<u8>> {
    match Header::parse(bytes).ok()? {
        Header::Document(header) => serde_json::to_vec(&header).ok(),
        Header::Sealed(header) => serde_json::to_vec(&header).ok(),
    }
}

/// A line behind the first without its newline, written again; none if it is refused, or skipped.
pub fn line(bytes: &[u8]) -> Option<Vec<u8>> {
    let entry = line::read(bytes).ok()??;
    let mut line = Vec::new();
    line::write(&entry, &mut line).ok()?;
    line.pop();
    Some(line)
}
