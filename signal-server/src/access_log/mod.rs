//! What the server writes about connections, and that it writes nothing else.
//!
//! Three modes (docs/protocol.md, "notice"): `active` writes with shortened addresses, `disabled` writes
//! nothing, `debug` writes full addresses. The addresses of devices travel through this crate as
//! [`PeerAddress`], which cannot be printed. What can be is [`Anonymised`], and the full address that this
//! module alone makes, in mode `debug` alone.

mod address;
mod files;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use kith_crypto::identity::ClientId;
use kith_signal_protocol::LoggingMode;

use address::Full;
pub(crate) use address::Network;
pub use address::{Anonymised, Loggable, PeerAddress};
use files::{Files, Kind};

/// What happened; `A` is how its address is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<A> {
    /// Somebody has connected, and has not logged in yet.
    Connected(A),
    /// A device has logged in.
    Online(ClientId, A),
    /// It is gone.
    Offline(ClientId, A),
    /// The first payload of a pairing was relayed.
    Pairing {
        /// Who holds the invite open.
        inviter: ClientId,
        /// Who used it.
        invitee: ClientId,
    },
}

impl<A> Event<A> {
    fn map<B>(self, address: impl FnOnce(A) -> B) -> Event<B> {
        match self {
            Self::Connected(of) => Event::Connected(address(of)),
            Self::Online(id, of) => Event::Online(id, address(of)),
            Self::Offline(id, of) => Event::Offline(id, address(of)),
            Self::Pairing { inviter, invitee } => Event::Pairing { inviter, invitee },
        }
    }
}

/// Only with an address that may be written is an event a line.
impl<A: Loggable> fmt::Display for Event<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected(address) => write!(f, "connected {address}"),
            Self::Online(id, address) => write!(f, "online {id} {address}"),
            Self::Offline(id, address) => write!(f, "offline {id} {address}"),
            Self::Pairing { inviter, invitee } => write!(f, "pairing {inviter} {invitee}"),
        }
    }
}

/// What is written, where, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How much is written.
    pub mode: LoggingMode,
    /// Where the files are; without it nothing can be written.
    pub folder: Option<PathBuf>,
    /// No line stays longer than this.
    pub days_max: u32,
}

/// Why the access log cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the access log in {folder}; check that the folder exists and belongs to this program's user")]
pub struct AccessLogError {
    folder: PathBuf,
    source: std::io::Error,
}

/// Writes events as the mode allows.
#[derive(Debug)]
pub struct AccessLog(Mutex<State>);

#[derive(Debug)]
struct State {
    mode: LoggingMode,
    files: Option<Files>,
    /// Whether the last write failed: the journal is told once.
    is_failing: bool,
}

impl AccessLog {
    /// Opens the log and ends what is too old.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn open(settings: &Settings) -> Result<Self, AccessLogError> {
        Ok(Self(Mutex::new(State::open(settings)?)))
    }

    /// Goes on with other settings; after an error, with the old ones.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn change(&self, settings: &Settings) -> Result<(), AccessLogError> {
        *self.lock() = State::open(settings)?;
        Ok(())
    }

    /// Writes one event, if the mode allows it.
    pub fn write(&self, event: Event<PeerAddress>) {
        let mut state = self.lock();
        let (kind, line) = match state.mode {
            LoggingMode::Disabled => return,
            LoggingMode::Active => (Kind::Active, event.map(PeerAddress::anonymised).to_string()),
            LoggingMode::Debug => (Kind::Debug, event.map(Full::of).to_string()),
        };
        let Some(files) = &mut state.files else { return };
        let written = files.append(kind, &line, now_s());
        state.report(written);
    }

    /// Removes the files that are too old, whatever the mode is now.
    pub fn end_old_files(&self) {
        let mut state = self.lock();
        let ended = state.files.as_mut().map_or(Ok(()), |files| files.end_old(now_s()));
        state.report(ended);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds this lock; its content would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn open(settings: &Settings) -> Result<Self, AccessLogError> {
        let files = match &settings.folder {
            None => None,
            Some(folder) => {
                let failed = |source| AccessLogError { folder: folder.clone(), source };
                let mut files = Files::open(folder, settings.days_max).map_err(failed)?;
                files.end_old(now_s()).map_err(failed)?;
                Some(files)
            }
        };
        Ok(Self { mode: settings.mode, files, is_failing: false })
    }

    fn report(&mut self, done: std::io::Result<()>) {
        match done {
            Ok(()) => self.is_failing = false,
            Err(error) if !self.is_failing => {
                tracing::error!(%error, "the access log is not being written; check its folder and the space on its disk");
                self.is_failing = true;
            }
            Err(_) => {}
        }
    }
}

/// Seconds since 1970; a clock before that counts as 1970.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const ID: ClientId = ClientId::from_bytes([7; 20]);

    fn logged(mode: LoggingMode, address: &str) -> Vec<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { mode, folder: Some(folder.path().to_owned()), days_max: 30 };
        let log = AccessLog::open(&settings).unwrap();
        let address = PeerAddress::new(address.parse::<IpAddr>().unwrap());
        log.write(Event::Connected(address));
        log.write(Event::Online(ID, address));
        log.write(Event::Pairing { inviter: ID, invitee: ID });
        log.write(Event::Offline(ID, address));
        let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        files
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, std::fs::read_to_string(path).unwrap())
            })
            .collect()
    }

    /// The lines without their times.
    fn events(text: &str) -> Vec<&str> {
        text.lines().map(|line| line.split_once(' ').unwrap().1).collect()
    }

    #[test]
    fn active_mode_writes_who_came_and_went_with_a_shortened_address() {
        for (address, short) in [
            ("203.0.113.77", "203.0.113.0"),
            ("::ffff:203.0.113.77", "203.0.113.0"),
            ("2001:db8:1234:5678:9abc:def0:1234:5678", "2001:db8:1234::"),
        ] {
            let files = logged(LoggingMode::Active, address);
            let [(name, text)] = files.as_slice() else { panic!("{files:?}") };
            assert!(name.starts_with("active-"), "{name}");
            let expected = [
                format!("connected {short}"),
                format!("online {ID} {short}"),
                format!("pairing {ID} {ID}"),
                format!("offline {ID} {short}"),
            ];
            assert_eq!(events(text), expected);
        }
    }

    #[test]
    fn disabled_mode_makes_no_file() {
        assert_eq!(logged(LoggingMode::Disabled, "203.0.113.77"), []);
    }

    #[test]
    fn debug_mode_writes_the_full_address_into_a_file_of_its_own() {
        let files = logged(LoggingMode::Debug, "::ffff:203.0.113.77");
        let [(name, text)] = files.as_slice() else { panic!("{files:?}") };
        assert!(name.starts_with("debug-"), "{name}");
        assert_eq!(events(text)[0], "connected 203.0.113.77");
    }

    #[test]
    fn after_a_change_of_mode_nothing_of_the_new_one_goes_into_the_old_files() {
        let folder = tempfile::tempdir().unwrap();
        let of = |mode| Settings { mode, folder: Some(folder.path().to_owned()), days_max: 30 };
        let log = AccessLog::open(&of(LoggingMode::Debug)).unwrap();
        let address = PeerAddress::new("203.0.113.77".parse().unwrap());
        log.write(Event::Connected(address));
        log.change(&of(LoggingMode::Active)).unwrap();
        log.write(Event::Connected(address));
        log.change(&of(LoggingMode::Disabled)).unwrap();
        log.write(Event::Connected(address));
        let mut files: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .map(|text| events(&text).join("|"))
            .collect();
        files.sort();
        assert_eq!(files, ["connected 203.0.113.0", "connected 203.0.113.77"]);
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_an_error_that_names_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let folder = Some(file.path().join("logs"));
        let problem =
            AccessLog::open(&Settings { mode: LoggingMode::Active, folder, days_max: 30 }).unwrap_err().to_string();
        assert!(problem.contains("logs; check that the folder"), "{problem}");
    }
}
