//! The time, as it is handed in with every input.

/// One instant, read by the shell just before it calls the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never steps and counts while the device sleeps
    /// (`CLOCK_BOOTTIME`). All timers run on it.
    pub boot_ms: u64,
    /// Milliseconds of UTC since 1970: for people to read, and for when messages disappear.
    pub utc_ms: u64,
    /// Whether the wall clock has been set since boot.
    pub clock_trusted: bool,
}

impl Now {
    /// No device runs this software before it was written: an earlier time is that of a clock that had not
    /// been set. Milliseconds of UTC at the start of 2026.
    pub const UTC_MS_MIN: u64 = 1_767_225_600_000;
}
