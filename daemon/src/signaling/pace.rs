//! How fast a server may talk. What it says beyond that waits in the socket, and then with the server:
//! whatever follows from a message here (events on the bus, lines in the log) keeps pace.

use std::time::Duration;

use tokio::time::Instant;

/// Messages taken at once: offers and candidates of a dozen contacts that come online together.
const AT_ONCE_MAX: u32 = 256;

/// After so long one more is taken: 256 a second, so that a roster of 1,024 contacts that come online
/// with the server is heard within four seconds.
const EACH: Duration = Duration::from_micros(1_000_000 / 256);

/// Counts what was taken.
#[derive(Debug)]
pub(super) struct Pace {
    left: u32,
    counted: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: AT_ONCE_MAX, counted: now }
    }

    /// Until when nothing is to be read; none if something may be.
    pub(super) fn pause(&mut self, now: Instant) -> Option<Instant> {
        let earned = now.saturating_duration_since(self.counted).as_micros() / EACH.as_micros();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX).min(AT_ONCE_MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(AT_ONCE_MAX);
            self.counted = if self.left == AT_ONCE_MAX { now } else { self.counted + EACH * earned };
        }
        (self.left == 0).then(|| self.counted + EACH)
    }

    /// Something was read.
    pub(super) fn took(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_taken_at_once_and_then_one_at_a_time() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..AT_ONCE_MAX {
            assert_eq!(pace.pause(start), None);
            pace.took();
        }
        assert_eq!(pace.pause(start), Some(start + EACH));
        assert_eq!(pace.pause(start + EACH), None);
        pace.took();
        assert_eq!(pace.pause(start + EACH), Some(start + 2 * EACH));
    }

    #[test]
    fn whoever_was_silent_may_say_no_more_at_once_than_at_the_beginning() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let later = start + Duration::from_secs(3_600);
        let mut taken = 0;
        while pace.pause(later).is_none() {
            pace.took();
            taken += 1;
        }
        assert_eq!(taken, AT_ONCE_MAX);
    }
}
