//! Slows down who tries tokens.

use std::time::{Duration, Instant};

/// Wrong tokens that cost nothing: a used address may be opened again by a browser that restores its tabs.
const FREE: u32 = 5;

/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Counts wrong tokens in a row.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    wrong: u32,
    until: Option<Instant>,
}

impl Throttle {
    /// Whether a token may be tried now.
    pub(super) fn admits(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// One more was wrong: after the free ones each wait is twice the one before.
    pub(super) fn count(&mut self, now: Instant) {
        self.wrong = self.wrong.saturating_add(1);
        if let Some(doubled) = self.wrong.checked_sub(FREE + 1) {
            let wait = Duration::from_secs(1 << doubled.min(6)).min(WAIT_MAX);
            self.until = now.checked_add(wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        let (mut throttle, mut now) = (Throttle::default(), Instant::now());
        for _ in 0..FREE {
            throttle.count(now);
            assert!(throttle.admits(now));
        }
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            throttle.count(now);
            assert!(!throttle.admits(now + Duration::from_secs(seconds) - Duration::from_millis(1)));
            now += Duration::from_secs(seconds);
            assert!(throttle.admits(now));
        }
    }
}
