//! The runtime folder: login addresses for the kiosk's browser, and the sessions of before a restart. It lies in
//! memory and is gone when the device is switched off.

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Role, Session, Token};

/// The file of the sessions: a line each.
const SESSIONS: &str = "sessions";

/// What a session's line says of a screen that is not locked, and of one that is.
const LOCKED: [&str; 2] = ["open", "locked"];

/// More than all sessions take.
const SESSIONS_BYTES_MAX: u64 = 8 * 1024;

/// The folder, which belongs to this user.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Opens it, and makes it if it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = std::fs::symlink_metadata(path)?;
        if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0 {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a folder that only this user may write"));
        }
        Ok(Self(path.to_owned()))
    }

    /// Writes the address that lets a role in.
    pub(super) fn write_login(&self, role: Role, address: SocketAddr, token: &Token) -> io::Result<()> {
        self.put(role.word(), &format!("http://{address}/enter#{}\n", token.text()))
    }

    /// Removes a role's address.
    pub(super) fn remove(&self, role: Role) -> io::Result<()> {
        match std::fs::remove_file(self.0.join(role.word())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes the sessions, the oldest first.
    pub(super) fn write_sessions(&self, sessions: &[Arc<Session>]) -> io::Result<()> {
        let line = |session: &Arc<Session>| {
            let (token, form_token) = (session.token().text(), session.form_token().text());
            format!("{} {} {token} {form_token}\n", session.role().word(), LOCKED[usize::from(session.is_locked())])
        };
        self.put(SESSIONS, &sessions.iter().map(line).collect::<String>())
    }

    /// Reads the sessions; lines that are none are passed over.
    pub(super) fn read_sessions(&self, sessions_max: usize) -> Vec<Session> {
        let mut text = String::new();
        // Without the file there were no sessions.
        let read =
            File::open(self.0.join(SESSIONS)).and_then(|file| file.take(SESSIONS_BYTES_MAX).read_to_string(&mut text));
        read.map(|_| text.lines().filter_map(parse_session).take(sessions_max).collect()).unwrap_or_default()
    }

    /// Puts a file there whole, readable by this user only.
    fn put(&self, name: &str, text: &str) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
        file.write_all(text.as_bytes())?;
        file.persist(self.0.join(name))?;
        Ok(())
    }
}

fn parse_session(line: &str) -> Option<Session> {
    let [role, locked, token, form_token] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let locked = LOCKED.iter().position(|word| *word == locked)? == 1;
    Some(Session::from_parts(Role::parse(role)?, Token::parse(token)?, Token::parse(form_token)?, locked))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(Folder::open(folder.path()).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn what_lies_there_is_for_this_user_only() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("kith-kiosk");
        let folder = Folder::open(&path).unwrap();
        folder.write_sessions(&[Arc::new(Session::new(Role::Visitor).unwrap())]).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join(SESSIONS))), (0o700, 0o600));
        assert_eq!(folder.read_sessions(9).len(), 1);
    }

    #[test]
    fn lines_that_are_no_sessions_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(SESSIONS), "login open a b\n\nnonsense\nadmin open a b\n").unwrap();
        assert!(Folder::open(folder.path()).unwrap().read_sessions(9).is_empty());
    }
}
