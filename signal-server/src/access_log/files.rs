//! The files of the access log: few, small, and none for long.
//!
//! A file is called `active-TIME.log` or `debug-TIME.log`, after what is in it and when its first line was
//! written. A new one begins when the next line would make it too large, and after a fifth of the time that
//! lines are kept; it ends when its first line has been kept for that time, or as the oldest of too many.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Bytes of one file at most.
pub(super) const FILE_BYTES_MAX: u64 = 10_000_000;

/// Files at a time, of both kinds together.
pub(super) const FILES_MAX: usize = 5;

const DAY_S: u64 = 86_400;

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Shortened addresses.
    Active,
    /// Full addresses.
    Debug,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Active, Self::Debug];

    const fn prefix(self) -> &'static str {
        match self {
            Self::Active => "active-",
            Self::Debug => "debug-",
        }
    }
}

/// A folder of files and the one that is being written.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    kept_s: u64,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    started: Started,
    file: File,
    bytes: u64,
}

/// What a file's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Started {
    at_s: u64,
    kind: Kind,
}

impl Files {
    /// Takes a folder, and makes it if it is not there.
    pub(super) fn open(folder: &Path, days_max: u32) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let files = Self { folder: folder.to_owned(), kept_s: u64::from(days_max) * DAY_S, current: None };
        // Found out now, and not by the first device that comes.
        let probe = folder.join(".writable");
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&probe)?;
        std::fs::remove_file(probe)?;
        Ok(files)
    }

    /// Writes a line at `now_s`, seconds since 1970 in UTC.
    pub(super) fn append(&mut self, kind: Kind, event: &str, now_s: u64) -> io::Result<()> {
        let line = format!("{} {event}\n", stamp(now_s)?);
        let bytes = line.len() as u64;
        let kept_s = self.kept_s;
        let open = match self.current.take() {
            Some(current) => Some(current),
            None => self.resume(kind)?,
        };
        let fits = |current: &Current| current.started.kind == kind && has_room(current, bytes, now_s, kept_s);
        let current = match open.filter(fits) {
            Some(current) => current,
            None => self.begin(kind, now_s)?,
        };
        let current = self.current.insert(current);
        // One call, so that a line is whole or not there.
        current.file.write_all(line.as_bytes())?;
        current.bytes += bytes;
        Ok(())
    }

    /// Removes every file whose first line is too old, and such as claim to come from the future.
    pub(super) fn end_old(&mut self, now_s: u64) -> io::Result<()> {
        for started in self.list()? {
            if started.at_s + self.kept_s <= now_s || started.at_s > now_s + DAY_S {
                self.remove(started)?;
            }
        }
        Ok(())
    }

    /// Goes on with the youngest file, if it is of this kind: a restart begins no new one.
    fn resume(&self, kind: Kind) -> io::Result<Option<Current>> {
        let Some(&started) = self.list()?.last().filter(|started| started.kind == kind) else {
            return Ok(None);
        };
        let file = OpenOptions::new().append(true).open(self.path(started)?)?;
        let bytes = file.metadata()?.len();
        Ok(Some(Current { started, file, bytes }))
    }

    /// Begins a new file, and removes the oldest ones to make room.
    fn begin(&mut self, kind: Kind, now_s: u64) -> io::Result<Current> {
        self.end_old(now_s)?;
        let files = self.list()?;
        let excess = (files.len() + 1).saturating_sub(FILES_MAX);
        for &started in &files[..excess] {
            self.remove(started)?;
        }
        // Two files of one second, or a clock that went back: the order of the names stays the order of the lines.
        let at_s = files.last().map_or(now_s, |last| now_s.max(last.at_s + 1));
        let started = Started { at_s, kind };
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(self.path(started)?)?;
        Ok(Current { started, file, bytes: 0 })
    }

    fn remove(&mut self, started: Started) -> io::Result<()> {
        self.current.take_if(|current| current.started == started);
        match std::fs::remove_file(self.path(started)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// All files, the oldest first.
    fn list(&self) -> io::Result<Vec<Started>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            files.extend(entry?.file_name().to_str().and_then(parse));
        }
        files.sort_by_key(|started| started.at_s);
        Ok(files)
    }

    fn path(&self, started: Started) -> io::Result<PathBuf> {
        Ok(self.folder.join(format!("{}{}.log", started.kind.prefix(), stamp(started.at_s)?)))
    }
}

fn has_room(current: &Current, bytes: u64, now_s: u64, kept_s: u64) -> bool {
    current.bytes + bytes <= FILE_BYTES_MAX && now_s < current.started.at_s + kept_s / FILES_MAX as u64
}

fn parse(name: &str) -> Option<Started> {
    let name = name.strip_suffix(".log")?;
    Kind::ALL.into_iter().find_map(|kind| {
        let time = OffsetDateTime::parse(name.strip_prefix(kind.prefix())?, &Rfc3339).ok()?;
        Some(Started { at_s: u64::try_from(time.unix_timestamp()).ok()?, kind })
    })
}

fn stamp(at_s: u64) -> io::Result<String> {
    let time = i64::try_from(at_s).ok().and_then(|at_s| OffsetDateTime::from_unix_timestamp(at_s).ok());
    let text = time.and_then(|time| time.format(&Rfc3339).ok());
    text.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the clock shows no date"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time of day one.
    const NOW_S: u64 = 1_800_000_000;

    fn files(folder: &Path) -> Files {
        Files::open(folder, 30).unwrap()
    }

    /// What is there: file names in order, and their sizes.
    fn present(folder: &Path) -> Vec<(String, u64)> {
        let mut present: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
            .collect();
        present.sort();
        present
    }

    fn all_text(folder: &Path) -> String {
        present(folder).iter().map(|(name, _)| std::fs::read_to_string(folder.join(name)).unwrap()).collect()
    }

    #[test]
    fn a_file_that_is_full_is_followed_by_another_and_there_are_never_more_than_five() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = files(folder.path());
        let long = "x".repeat(1_000_000);
        for n in 0..70 {
            log.append(Kind::Active, &format!("{n} {long}"), NOW_S + n).unwrap();
            let present = present(folder.path());
            assert!(present.len() <= FILES_MAX, "{present:?}");
            assert!(present.iter().all(|(_, bytes)| *bytes <= FILE_BYTES_MAX), "{present:?}");
        }
        assert_eq!(present(folder.path()).len(), FILES_MAX);
        let text = all_text(folder.path());
        assert!(text.contains(" 69 x") && !text.contains(" 9 x"));
        // The youngest lines are all there.
        for n in 69 - 36..=69 {
            assert!(text.contains(&format!(" {n} x")), "{n}");
        }
    }

    #[test]
    fn no_line_is_kept_longer_than_it_may_be_and_most_of_the_time_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = files(folder.path());
        for hour in (0..24 * 90).step_by(3) {
            let now_s = NOW_S + hour * 3_600;
            log.end_old(now_s).unwrap();
            log.append(Kind::Active, &format!("hour {hour};"), now_s).unwrap();
            let text = all_text(folder.path());
            if hour >= 24 * 30 {
                assert!(!text.contains(&format!("hour {};", hour - 24 * 30)), "hour {hour}");
            }
            if hour >= 24 * 23 {
                assert!(text.contains(&format!("hour {};", hour - 24 * 23)), "hour {hour}");
            }
            assert!(present(folder.path()).len() <= FILES_MAX);
        }
        log.end_old(NOW_S + 91 * DAY_S + 30 * DAY_S).unwrap();
        assert_eq!(present(folder.path()), []);
    }

    #[test]
    fn a_restart_goes_on_with_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        files(folder.path()).append(Kind::Active, "one", NOW_S).unwrap();
        files(folder.path()).append(Kind::Active, "two", NOW_S + 5).unwrap();
        assert_eq!(present(folder.path()).len(), 1);
        assert_eq!(all_text(folder.path()), "2027-01-15T08:00:00Z one\n2027-01-15T08:00:05Z two\n");
        files(folder.path()).append(Kind::Debug, "three", NOW_S + 5).unwrap();
        let names: Vec<_> = present(folder.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["active-2027-01-15T08:00:00Z.log", "debug-2027-01-15T08:00:05Z.log"]);
    }

    #[test]
    fn a_clock_that_went_back_loses_no_line_and_a_file_of_the_future_ends() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = files(folder.path());
        log.append(Kind::Active, "one", NOW_S).unwrap();
        log.append(Kind::Debug, "two", NOW_S - 3_600).unwrap();
        assert_eq!(present(folder.path()).len(), 2);
        log.append(Kind::Active, "future", NOW_S + 400 * DAY_S).unwrap();
        log.end_old(NOW_S).unwrap();
        assert!(!all_text(folder.path()).contains("future"));
        log.append(Kind::Active, "three", NOW_S).unwrap();
        assert!(all_text(folder.path()).contains("three"));
    }

    #[test]
    fn other_files_in_the_folder_are_left_alone_and_ours_are_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("active-notes.log");
        std::fs::write(&other, "mine").unwrap();
        let mut log = files(folder.path());
        log.append(Kind::Active, "one", NOW_S).unwrap();
        let ours = folder.path().join("active-2027-01-15T08:00:00Z.log");
        assert_eq!(std::fs::metadata(&ours).unwrap().permissions().mode() & 0o777, 0o600);
        log.end_old(NOW_S + 100 * DAY_S).unwrap();
        assert!(other.exists() && !ours.exists());
    }
}
