//! How many messages a connection may send.

/// Messages at once: a daemon that starts with many contacts sends a watch, an offer for each one
/// that is online and its candidates.
const BURST: u64 = 512;

/// Messages a second after that; more than a device sends on its worst day.
const PER_SECOND: u64 = 64;

/// Milliseconds that one message costs, in thousandths.
const COST: u64 = 1_000_000 / PER_SECOND;

/// A bucket that fills with time and from which each message takes.
///
/// A connection whose bucket is empty is not read from until it has filled; nothing is lost, and the
/// sender feels the back pressure of TCP.
#[derive(Debug)]
pub(crate) struct Budget {
    /// When the bucket would be full, in thousandths of milliseconds.
    full_at: u64,
}

impl Budget {
    /// A full bucket.
    pub(crate) const fn new() -> Self {
        Self { full_at: 0 }
    }

    /// Takes one message out at `now_ms`.
    pub(crate) fn take(&mut self, now_ms: u64) {
        self.full_at = self.full_at.max(now_ms.saturating_mul(1_000)).saturating_add(COST);
    }

    /// How long until there is room for a message; 0 if there is.
    pub(crate) fn wait_ms(&self, now_ms: u64) -> u64 {
        let allowed = now_ms.saturating_mul(1_000).saturating_add((BURST - 1) * COST);
        self.full_at.saturating_sub(allowed).div_ceil(1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::{BURST, Budget, PER_SECOND};

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut budget = Budget::new();
        for _ in 0..BURST {
            assert_eq!(budget.wait_ms(1_000), 0);
            budget.take(1_000);
        }
        assert!(budget.wait_ms(1_000) > 0);
        let mut taken = 0;
        for now_ms in 1_000..11_000 {
            while budget.wait_ms(now_ms) == 0 {
                budget.take(now_ms);
                taken += 1;
            }
        }
        assert!((10 * PER_SECOND - 1..=10 * PER_SECOND).contains(&taken), "{taken}");
    }

    #[test]
    fn a_quiet_connection_saves_up_no_more_than_one_burst() {
        let mut budget = Budget::new();
        budget.take(0);
        let now_ms = 3_600_000;
        let mut taken = 0;
        while budget.wait_ms(now_ms) == 0 {
            budget.take(now_ms);
            taken += 1;
        }
        assert_eq!(taken, BURST);
    }
}
