//! How much has happened: the name of an event, by which a page that was away is known to have missed some.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A place in what has happened. Two marks are equal if nothing happened between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Which run of this program: it counts changes anew.
    run: u128,
    /// The newest place in the messenger's inbox that was heard of.
    pub(super) inbox: u64,
    /// Changes of any kind.
    pub(super) changes: u64,
}

impl Mark {
    /// That of a program that has just started.
    pub(crate) fn first() -> Self {
        // Runs have to differ and need no order; a clock that is not set differs, too.
        let run = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Self { run, inbox: 0, changes: 0 }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, inbox, changes } = self;
        write!(f, "{inbox}-{changes}-{run:x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_happens_changes_the_mark() {
        let mark = Mark::first();
        let texts = [
            mark.to_string(),
            Mark { inbox: 7, ..mark }.to_string(),
            Mark { changes: 1, ..mark }.to_string(),
            Mark { run: 1, ..mark }.to_string(),
        ];
        assert!(texts.iter().enumerate().all(|(index, text)| !texts[..index].contains(text)), "{texts:?}");
    }
}
