//! The time, as it is handed in with every input.

/// One instant, read by the shell just before it calls the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never steps and counts while the device sleeps
    /// (`CLOCK_BOOTTIME`). All timers run on it.
    pub boot_ms: u64,
    /// Milliseconds of UTC since 1970, for people to read; no decision rests on it.
    pub utc_ms: u64,
    /// Whether the wall clock has been set since boot.
    pub clock_trusted: bool,
}
