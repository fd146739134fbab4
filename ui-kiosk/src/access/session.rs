//! One browser that has signed in.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Token;

/// What a browser is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything; what is dangerous is granted by the daemon, after the PIN.
    Staff,
    /// One conversation, with quick replies.
    Visitor,
}

impl Role {
    /// The name of its login file, and its word where sessions are kept.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Staff => "login",
            Self::Visitor => "visitor",
        }
    }

    /// Reads its word.
    pub(super) fn parse(word: &str) -> Option<Self> {
        [Self::Staff, Self::Visitor].into_iter().find(|role| role.word() == word)
    }
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    role: Role,
    token: Token,
    form_token: Token,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The screen is locked until somebody gives the PIN.
    locked: bool,
    /// A sentence for the next page.
    said: Option<Said>,
}

/// A sentence about what somebody just did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It went well.
    Well(String),
    /// It did not.
    Badly(String),
}

impl Session {
    /// A fresh one.
    pub(super) fn new(role: Role) -> io::Result<Self> {
        Ok(Self::from_parts(role, Token::random()?, Token::random()?, false))
    }

    /// One that was kept.
    pub(super) fn from_parts(role: Role, token: Token, form_token: Token, locked: bool) -> Self {
        Self { role, token, form_token, state: Mutex::new(State { locked, said: None }) }
    }

    /// What it is for.
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// What its cookie holds.
    pub(crate) fn token(&self) -> &Token {
        &self.token
    }

    /// What each of its forms holds: another site can make a browser send a form, and does not know this.
    pub(crate) fn form_token(&self) -> &Token {
        &self.form_token
    }

    /// Locks the screen, or opens it.
    pub(super) fn set_locked(&self, locked: bool) {
        self.state().locked = locked;
    }

    /// Whether the screen is locked.
    pub(crate) fn is_locked(&self) -> bool {
        self.state().locked
    }

    /// Keeps a sentence for the next page.
    pub(crate) fn say(&self, said: Said) {
        self.state().said = Some(said);
    }

    /// The sentence that was kept, once.
    pub(crate) fn take_said(&self) -> Option<Said> {
        self.state().said.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
