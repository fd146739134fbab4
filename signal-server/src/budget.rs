//! How often something may happen.

use std::sync::atomic::{AtomicU64, Ordering};

/// So many at once, and after that so many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    burst: u64,
    /// Microseconds that one costs.
    cost_us: u64,
}

impl Rate {
    /// `burst` at once and `count` in `period_s` seconds; 0 counts as 1.
    #[must_use]
    pub const fn new(burst: u32, count: u32, period_s: u32) -> Self {
        let count = if count == 0 { 1 } else { count as u64 };
        let burst = if burst == 0 { 1 } else { burst as u64 };
        Self { burst, cost_us: period_s as u64 * 1_000_000 / count }
    }
}

/// A bucket that fills with time and from which each event takes.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    /// When the bucket would be full, in microseconds.
    full_at_us: AtomicU64,
}

impl Budget {
    /// Takes one out at `now_us`.
    pub(crate) fn take(&self, rate: Rate, now_us: u64) {
        let taken = |full_at_us: u64| Some(full_at_us.max(now_us).saturating_add(rate.cost_us));
        // It gives a value each time, so it cannot fail.
        let _ = self.full_at_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
    }

    /// How many microseconds until there is room for one; 0 if there is.
    pub(crate) fn wait_us(&self, rate: Rate, now_us: u64) -> u64 {
        let allowed = now_us.saturating_add((rate.burst - 1).saturating_mul(rate.cost_us));
        self.full_at_us.load(Ordering::Relaxed).saturating_sub(allowed)
    }

    /// Whether nothing would be lost by forgetting it.
    pub(crate) fn is_full(&self, now_us: u64) -> bool {
        self.full_at_us.load(Ordering::Relaxed) <= now_us
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Rate};

    const RATE: Rate = Rate::new(512, 64, 1);
    const SECOND_US: u64 = 1_000_000;

    fn take_all(budget: &Budget, now_us: u64) -> u64 {
        let mut taken = 0;
        while budget.wait_us(RATE, now_us) == 0 {
            budget.take(RATE, now_us);
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let budget = Budget::default();
        assert_eq!(take_all(&budget, SECOND_US), 512);
        assert!(budget.wait_us(RATE, SECOND_US) > 0);
        let taken: u64 = (1_000..11_000).map(|now_ms| take_all(&budget, now_ms * 1_000)).sum();
        assert!((10 * 64 - 1..=10 * 64).contains(&taken), "{taken}");
    }

    #[test]
    fn a_quiet_time_saves_up_no_more_than_one_burst_and_can_be_forgotten() {
        let budget = Budget::default();
        budget.take(RATE, 0);
        assert!(!budget.is_full(1));
        let later = 3_600 * SECOND_US;
        assert!(budget.is_full(later));
        assert_eq!(take_all(&budget, later), 512);
    }
}
