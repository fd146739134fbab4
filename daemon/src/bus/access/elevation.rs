//! Which connections may do what is dangerous, and until when.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long an elevation lasts, seconds: long enough to choose a file and to answer a question, short enough to be over
/// when somebody else comes to the screen.
pub(in crate::bus) const ELEVATED_S: u32 = 300;

/// Elevations at once; one more ends the one that would end first. People make them.
const ELEVATED_MAX: usize = 32;

/// Counts how often all elevations have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::bus) struct Epoch(u64);

/// By unique name. The bus never gives one to another connection, so an elevation is over when its connection is; its
/// entry goes later.
#[derive(Debug, Default)]
pub(super) struct Elevations {
    epoch: Epoch,
    until: BTreeMap<String, Instant>,
}

impl Elevations {
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Elevates a connection, unless all elevations have ended since then.
    pub(super) fn grant(&mut self, caller: &str, begun: Epoch, now: Instant) -> bool {
        if begun != self.epoch {
            return false;
        }
        self.until.retain(|_, until| *until > now);
        self.until.insert(caller.to_owned(), now + Duration::from_secs(ELEVATED_S.into()));
        if self.until.len() > ELEVATED_MAX
            && let Some(first) = self.until.iter().min_by_key(|(_, until)| **until).map(|(name, _)| name.clone())
        {
            self.until.remove(&first);
        }
        true
    }

    pub(super) fn holds(&self, caller: &str, now: Instant) -> bool {
        self.until.get(caller).is_some_and(|until| *until > now)
    }

    pub(super) fn end(&mut self, caller: &str) {
        self.until.remove(caller);
    }

    pub(super) fn end_all(&mut self) {
        self.epoch.0 += 1;
        self.until.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(ELEVATED_S as u64);

    #[test]
    fn an_elevation_is_of_one_connection_and_ends_by_time_and_by_giving_it_up() {
        let (mut elevations, now) = (Elevations::default(), Instant::now());
        assert!(elevations.grant(":1.5", elevations.epoch(), now));
        assert!(elevations.holds(":1.5", now + LASTS - Duration::from_millis(1)));
        assert!(!elevations.holds(":1.5", now + LASTS) && !elevations.holds(":1.50", now));
        elevations.end(":1.5");
        assert!(!elevations.holds(":1.5", now));
    }

    #[test]
    fn what_ends_all_also_ends_those_that_are_being_judged() {
        let (mut elevations, now) = (Elevations::default(), Instant::now());
        let begun = elevations.epoch();
        assert!(elevations.grant(":1.5", begun, now));
        elevations.end_all();
        assert!(!elevations.holds(":1.5", now));
        assert!(!elevations.grant(":1.6", begun, now) && !elevations.holds(":1.6", now));
        assert!(elevations.grant(":1.6", elevations.epoch(), now));
    }

    #[test]
    fn however_many_connections_come_few_are_remembered() {
        let (mut elevations, now) = (Elevations::default(), Instant::now());
        for number in 0..1_000 {
            let later = now + Duration::from_millis(number);
            assert!(elevations.grant(&format!(":1.{number}"), elevations.epoch(), later));
        }
        assert_eq!(elevations.until.len(), ELEVATED_MAX);
        assert!(elevations.holds(":1.999", now) && !elevations.holds(":1.1", now));
        assert!(elevations.grant(":2.1", elevations.epoch(), now + LASTS * 2));
        assert_eq!(elevations.until.len(), 1);
    }
}
