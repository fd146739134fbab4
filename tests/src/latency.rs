//! Times of many messages, summed up.

use std::fmt;
use std::time::Duration;

/// How long messages took.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    took: Vec<Duration>,
}

impl Latencies {
    /// One more.
    pub fn push(&mut self, took: Duration) {
        self.took.push(took);
    }

    /// The smallest time that `percent` of a hundred messages stayed within (nearest rank).
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, p50, p99) = (self.took.len(), self.percentile(50), self.percentile(99));
        write!(f, "{count} messages, p50 {}, p99 {}", Millis(p50), Millis(p99))
    }
}

/// A duration in milliseconds with one decimal.
#[derive(Clone, Copy, Debug)]
pub struct Millis(pub Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.0.as_secs_f64() * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(99), Duration::ZERO);
        for ms in (1..=100).rev() {
            latencies.push(Duration::from_millis(ms));
        }
        assert_eq!(latencies.percentile(50), Duration::from_millis(50));
        assert_eq!(latencies.percentile(99), Duration::from_millis(99));
        assert_eq!(latencies.to_string(), "100 messages, p50 50.0 ms, p99 99.0 ms");
    }
}
