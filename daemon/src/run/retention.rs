//! Keeping history within its bounds, a few messages at a time beside the traffic.

use std::time::Duration;

use tracing::{info, warn};

use super::clock::now;
use crate::config;
use crate::store::{Retention, TrimError, Trimmed, Trimmer};

/// Between two looks at a history within its bounds: a bound is passed by what a minute brings.
const IDLE: Duration = Duration::from_secs(60);

/// Between two steps, so that traffic comes between them.
const PAUSE: Duration = Duration::from_millis(20);

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// What a configuration asks for.
pub(super) fn of(config: &config::Retention) -> Retention {
    let bound = |value: u64| (value > 0).then_some(value);
    Retention {
        messages_max: bound(config.messages_max),
        total_messages_max: bound(config.total_messages_max),
        age_ms_max: bound(config.days_max).map(|days| days.saturating_mul(DAY_MS)),
    }
}

/// Trims until the store is closed.
pub(super) async fn run(trimmer: Trimmer, keep: Retention) {
    let mut sum = Trimmed::default();
    loop {
        let now = now();
        match trimmer.step(&keep, now.clock_trusted.then_some(now.utc_ms)).await {
            Err(TrimError::Closed) => return,
            Err(TrimError::Busy) => tokio::time::sleep(PAUSE).await,
            Err(error @ TrimError::Failed(_)) => {
                warn!("old messages could not be taken away: {error}");
                tokio::time::sleep(IDLE).await;
            }
            Ok(trimmed) => {
                sum.messages += trimmed.messages;
                sum.unacknowledged += trimmed.unacknowledged;
                if trimmed.more {
                    tokio::time::sleep(PAUSE).await;
                } else {
                    tell_operator(&std::mem::take(&mut sum));
                    tokio::time::sleep(IDLE).await;
                }
            }
        }
    }
}

fn tell_operator(sum: &Trimmed) {
    if sum.messages > 0 {
        info!(messages = sum.messages, "old messages have been taken away");
    }
    if sum.unacknowledged > 0 {
        warn!(messages = sum.unacknowledged, "messages have been taken away that a consumer had not acknowledged");
    }
}
