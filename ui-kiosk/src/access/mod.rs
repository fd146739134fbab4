//! Who may use the pages: login tokens in the runtime folder, and the sessions that come of them.

mod folder;
mod session;
mod throttle;
mod token;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use folder::Folder;
use throttle::Throttle;

pub(crate) use session::{Role, Said, Session};
pub(crate) use token::Token;

/// Sessions at a time. A kiosk has one browser, which signs in again when it was started anew; the oldest session
/// goes when there are more.
const SESSIONS_MAX: usize = 16;

/// Why somebody was not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// The token is none, or was used before.
    #[error("the token is not good (any more)")]
    WrongToken,
    /// Too many wrong tokens.
    #[error("too many wrong tokens")]
    Throttled,
    /// The runtime folder cannot be written.
    #[error("the runtime folder cannot be written")]
    Folder(#[from] io::Error),
}

/// The login tokens and the sessions.
pub(crate) struct Access {
    inside: Mutex<Inside>,
}

struct Inside {
    folder: Folder,
    address: SocketAddr,
    throttle: Throttle,
    /// The tokens that are good for one login each.
    logins: Vec<(Role, Token)>,
    /// The oldest first.
    sessions: Vec<Arc<Session>>,
}

impl Access {
    /// Writes the login addresses, and takes the sessions of an earlier run over: a browser need not sign in again
    /// because this program was started anew.
    pub(crate) fn open(path: &Path, address: SocketAddr, visitors: bool) -> io::Result<Self> {
        let folder = Folder::open(path)?;
        let sessions = folder.read_sessions(SESSIONS_MAX).into_iter().map(Arc::new).collect();
        let mut inside = Inside { folder, address, throttle: Throttle::default(), logins: Vec::new(), sessions };
        inside.renew(Role::Staff)?;
        if visitors {
            inside.renew(Role::Visitor)?;
        } else {
            inside.folder.remove(Role::Visitor)?;
            inside.sessions.retain(|session| session.role() == Role::Staff);
        }
        Ok(Self { inside: Mutex::new(inside) })
    }

    /// Lets in whoever has a token, which is used up by that.
    pub(crate) fn log_in(&self, token: &str) -> Result<Arc<Session>, LoginError> {
        let mut inside = self.inside();
        let now = Instant::now();
        if !inside.throttle.admits(now) {
            return Err(LoginError::Throttled);
        }
        let Some(role) = inside.logins.iter().find(|(_, login)| login.is(token)).map(|(role, _)| *role) else {
            inside.throttle.count(now);
            return Err(LoginError::WrongToken);
        };
        inside.throttle = Throttle::default();
        inside.renew(role)?;
        let session = Arc::new(Session::new(role)?);
        inside.sessions.push(session.clone());
        let too_many = inside.sessions.len().saturating_sub(SESSIONS_MAX);
        inside.sessions.drain(..too_many);
        inside.folder.write_sessions(&inside.sessions)?;
        Ok(session)
    }

    /// The session with this token.
    pub(crate) fn session(&self, token: &str) -> Option<Arc<Session>> {
        self.inside().sessions.iter().find(|session| session.token().is(token)).cloned()
    }

    /// Locks a session's screen, or opens it; a restart does not change that.
    pub(crate) fn lock(&self, session: &Session, locked: bool) -> io::Result<()> {
        session.set_locked(locked);
        let inside = self.inside();
        inside.folder.write_sessions(&inside.sessions)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Nothing panics while it is held.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Puts a fresh token in the place of a role's used one.
    fn renew(&mut self, role: Role) -> io::Result<()> {
        let token = Token::random()?;
        self.folder.write_login(role, self.address, &token)?;
        self.logins.retain(|(other, _)| *other != role);
        self.logins.push((role, token));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8640);

    fn token_in(folder: &Path, file: &str) -> String {
        let address = std::fs::read_to_string(folder.join(file)).unwrap();
        address.trim().split_once('#').unwrap().1.to_owned()
    }

    #[test]
    fn a_login_token_lets_in_once_and_then_there_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path(), ADDRESS, false).unwrap();
        let token = token_in(folder.path(), "login");
        let session = access.log_in(&token).unwrap();
        assert_eq!(session.role(), Role::Staff);
        assert!(matches!(access.log_in(&token), Err(LoginError::WrongToken)));
        assert!(access.log_in(&token_in(folder.path(), "login")).is_ok());
        assert!(!folder.path().join("visitor").exists());
    }

    #[test]
    fn visitors_have_a_token_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path(), ADDRESS, true).unwrap();
        assert_eq!(access.log_in(&token_in(folder.path(), "visitor")).unwrap().role(), Role::Visitor);
        assert_eq!(access.log_in(&token_in(folder.path(), "login")).unwrap().role(), Role::Staff);
    }

    #[test]
    fn sessions_outlive_the_program_and_the_oldest_goes_when_there_are_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path(), ADDRESS, false).unwrap();
        let sessions: Vec<_> =
            (0..=SESSIONS_MAX).map(|_| access.log_in(&token_in(folder.path(), "login")).unwrap()).collect();
        access.lock(&sessions[1], true).unwrap();
        let again = Access::open(folder.path(), ADDRESS, false).unwrap();
        assert!(again.session(sessions[0].token().text()).is_none());
        let kept = again.session(sessions[1].token().text()).unwrap();
        assert!(kept.is_locked() && kept.form_token().is(sessions[1].form_token().text()));
        assert!(again.session(sessions[SESSIONS_MAX].token().text()).is_some());
    }

    #[test]
    fn whoever_guesses_has_to_wait_and_so_has_the_right_token() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path(), ADDRESS, false).unwrap();
        let throttled = (0..100).any(|_| matches!(access.log_in("wrong"), Err(LoginError::Throttled)));
        assert!(throttled);
        assert!(matches!(access.log_in(&token_in(folder.path(), "login")), Err(LoginError::Throttled)));
    }
}
