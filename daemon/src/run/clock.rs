//! The clocks, read just before each input of the engine.

use kith_engine::Now;
use rustix::time::{ClockId, clock_gettime};

/// Reads both clocks.
pub(super) fn now() -> Now {
    let boot = clock_gettime(ClockId::Boottime);
    let utc = clock_gettime(ClockId::Realtime);
    let utc_ms = millis(utc.tv_sec, utc.tv_nsec);
    Now { boot_ms: millis(boot.tv_sec, boot.tv_nsec), utc_ms, clock_trusted: utc_ms >= Now::UTC_MS_MIN }
}

fn millis(seconds: i64, nanoseconds: i64) -> u64 {
    // Before 1970 there is no message.
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let nanoseconds = u64::try_from(nanoseconds).unwrap_or(0);
    seconds.saturating_mul(1_000).saturating_add(nanoseconds / 1_000_000)
}
