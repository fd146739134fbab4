//! How long to wait before the next attempt.

use std::time::Duration;

/// The ceiling of the first wait.
const FIRST_MS: u64 = 200;

/// The ceiling of all waits: a server that is back is found within half a minute.
const MAX_MS: u64 = 30_000;

/// The shortest wait after a refusal that needs a person.
const REFUSED_MS_MIN: u64 = 30_000;

/// The longest such wait.
const REFUSED_MS_MAX: u64 = 60_000;

/// The longest wait that a server may ask for.
const ASKED_S_MAX: u32 = 300;

/// What the last attempt says about the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// The network has changed: what failed on the old one says nothing about the new one.
    Now,
    /// Something failed that passes by itself.
    Soon,
    /// A person has to do something first.
    Refused,
    /// The server has named a time.
    Asked {
        /// At least this long.
        after_s: u32,
    },
}

/// Exponential back-off with full jitter, so that the devices of a server that restarts do not come
/// all at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// A login that lasted: the next failure is a first one.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next wait; `random` is uniform.
    pub(super) fn next(&mut self, pause: Pause, random: u64) -> Duration {
        let ceiling = FIRST_MS.saturating_mul(1 << self.failures.min(32)).min(MAX_MS);
        self.failures = self.failures.saturating_add(1);
        let wait_ms = match pause {
            Pause::Now => {
                self.reset();
                0
            }
            Pause::Soon => random % (ceiling + 1),
            Pause::Refused => REFUSED_MS_MIN + random % (REFUSED_MS_MAX - REFUSED_MS_MIN + 1),
            Pause::Asked { after_s } => {
                let asked = u64::from(after_s.min(ASKED_S_MAX)) * 1_000;
                asked + random % (asked / 2 + 1)
            }
        };
        Duration::from_millis(wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest(backoff: &mut Backoff, pause: Pause) -> u64 {
        let ceiling_of = |random| Backoff { failures: backoff.failures }.next(pause, random);
        let longest = (0..=MAX_MS * 2).step_by(50).map(ceiling_of).max().unwrap();
        backoff.next(pause, 0);
        u64::try_from(longest.as_millis()).unwrap()
    }

    #[test]
    fn waits_double_up_to_half_a_minute_and_start_anywhere_from_zero() {
        let mut backoff = Backoff::default();
        let longest: Vec<_> = (0..9).map(|_| longest(&mut backoff, Pause::Soon)).collect();
        let near = |ms: u64, ceiling: u64| ms <= ceiling && ms + 50 >= ceiling;
        for (n, ceiling) in [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000].into_iter().enumerate() {
            assert!(near(longest[n], ceiling), "{longest:?}");
        }
        assert_eq!(backoff.next(Pause::Soon, 0), Duration::ZERO);
    }

    #[test]
    fn a_network_that_has_changed_is_tried_at_once_and_counts_as_the_first_attempt() {
        let mut backoff = Backoff { failures: 9 };
        assert_eq!(backoff.next(Pause::Now, u64::MAX), Duration::ZERO);
        assert!(backoff.next(Pause::Soon, u64::MAX) <= Duration::from_millis(FIRST_MS));
    }

    #[test]
    fn many_failures_do_not_overflow_and_a_login_that_lasted_forgets_them() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert!(backoff.next(Pause::Soon, u64::MAX) <= Duration::from_millis(MAX_MS));
        backoff.reset();
        assert!(backoff.next(Pause::Soon, u64::MAX) <= Duration::from_millis(FIRST_MS));
    }

    #[test]
    fn a_refusal_is_tried_again_slowly_or_when_the_server_says() {
        let mut backoff = Backoff::default();
        for random in [0, 1, 12_345, u64::MAX] {
            let refused = backoff.next(Pause::Refused, random);
            assert!((Duration::from_secs(30)..=Duration::from_secs(60)).contains(&refused));
            let asked = backoff.next(Pause::Asked { after_s: 10 }, random);
            assert!((Duration::from_secs(10)..=Duration::from_secs(15)).contains(&asked));
            let long = backoff.next(Pause::Asked { after_s: u32::MAX }, random);
            assert!(long <= Duration::from_secs(450));
        }
    }
}
