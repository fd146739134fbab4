//! What a process holds in its memory, as a debugger with root's rights sees it (proc_pid_mem(5)).

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, ensure};

/// Read at once; a needle may lie across the border of two pieces.
const PIECE_BYTES: usize = 1024 * 1024;

/// By its first bytes a needle is looked up.
const HEAD_BYTES: usize = 8;

/// What is looked for. Numbers may lie in memory with their lowest byte first: both orders are looked for.
#[derive(Clone, Default)]
pub struct Needles {
    by_head: BTreeMap<[u8; HEAD_BYTES], Vec<(String, Vec<u8>)>>,
    bytes_max: usize,
}

/// A place where a needle lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// The needle's name.
    pub name: String,
    /// Where.
    pub address: u64,
    /// What the kernel says of the mapping: its name, or nothing.
    pub mapping: String,
}

impl Needles {
    /// One more, of at least eight bytes.
    pub fn push(&mut self, name: &str, bytes: &[u8]) {
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        for (name, bytes) in [(name.to_owned(), bytes.to_vec()), (format!("{name}, reversed"), reversed)] {
            let head = bytes.first_chunk().copied().unwrap_or_default();
            self.bytes_max = self.bytes_max.max(bytes.len());
            self.by_head.entry(head).or_default().push((name, bytes));
        }
    }

    /// Where they lie in the writable memory of a process. It should stand still meanwhile.
    pub fn search(&self, pid: i32) -> Result<Vec<Found>> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let memory = File::open(format!("/proc/{pid}/mem"))?;
        let mut heads = vec![false; 1 << 16];
        self.by_head.keys().for_each(|head| heads[place(head)] = true);
        let mut found = Vec::new();
        let mut searched = 0;
        for mapping in maps.lines().filter_map(Mapping::parse) {
            searched += self.search_mapping(&memory, &mapping, &heads, &mut found)?;
        }
        ensure!(searched > 0, "process {pid} has no memory");
        Ok(found)
    }

    fn search_mapping(&self, memory: &File, mapping: &Mapping, heads: &[bool], found: &mut Vec<Found>) -> Result<u64> {
        let mut piece = vec![0; PIECE_BYTES + self.bytes_max];
        let mut at = mapping.start;
        while at < mapping.end {
            let length = usize::try_from(mapping.end - at)?.min(piece.len());
            memory.read_exact_at(&mut piece[..length], at).with_context(|| format!("{mapping:?}"))?;
            let starts = length.min(PIECE_BYTES);
            for (offset, window) in piece[..length].windows(HEAD_BYTES).enumerate().take(starts) {
                if heads[place(window)] {
                    self.compare(&piece[offset..length], |name| {
                        let address = at + offset as u64;
                        found.push(Found { name: name.to_owned(), address, mapping: mapping.name.clone() });
                    });
                }
            }
            at += starts as u64;
        }
        Ok(mapping.end - mapping.start)
    }

    fn compare(&self, bytes: &[u8], mut found: impl FnMut(&str)) {
        let needles = bytes.first_chunk().and_then(|head| self.by_head.get(head));
        for (name, needle) in needles.into_iter().flatten() {
            if bytes.starts_with(needle) {
                found(name);
            }
        }
    }
}

impl fmt::Debug for Needles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Needles(..)")
    }
}

#[derive(Debug)]
struct Mapping {
    start: u64,
    end: u64,
    name: String,
}

impl Mapping {
    /// A line of /proc/PID/maps, if the process can write there. Only memory of its own holds what it was not given
    /// in a file.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let is_writable = words.next()?.starts_with("rw");
        let name = words.nth(3).unwrap_or_default().to_owned();
        let address = |text| u64::from_str_radix(text, 16).ok();
        is_writable.then_some(Self { start: address(start)?, end: address(end)?, name })
    }
}

/// Where the first two bytes are looked up.
fn place(bytes: &[u8]) -> usize {
    bytes.first_chunk().map_or(0, |head| usize::from(u16::from_be_bytes(*head)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::Process;

    #[tokio::test]
    async fn what_a_process_holds_is_found_in_either_order_and_what_it_does_not_hold_is_not() {
        let folder = tempfile::tempdir().unwrap();
        // Put together by the program itself, so that its command line does not hold it.
        let script = "a=needle-in; b=-the-hay; c=$a$b; echo ready; while :; do sleep 600; done";
        let mut process = Process::start("shell", Path::new("sh"), &["-c", script], folder.path()).unwrap();
        process.wait_for_line("ready", Duration::from_secs(10)).await.unwrap();
        process.freeze().unwrap();

        let mut needles = Needles::default();
        needles.push("held", b"needle-in-the-hay");
        needles.push("held backwards", b"yah-eht-ni-eldeen");
        needles.push("not held", b"needle-in-the-mow");
        let found = needles.search(process.pid()).unwrap();
        let is_found = |name: &str| found.iter().any(|found| found.name == name);
        assert!(is_found("held") && is_found("held backwards, reversed"), "{found:?}");
        assert!(!found.iter().any(|found| found.name.starts_with("not held")), "{found:?}");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(Needles::default().search(i32::MAX).is_err());
    }
}
