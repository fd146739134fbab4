//! What goes wrong by chance.

use rand_chacha::rand_core::Rng as _;

use super::World;

/// What goes wrong by chance.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Of a hundred messages to or from the server.
    pub(crate) signal_lost: u32,
    pub(crate) signal_doubled: u32,
    /// Added to the delay, so that messages overtake each other.
    pub(crate) signal_jitter_ms: u64,
    /// Of ten thousand frames, so many are lost, and with each its link: a channel loses nothing by itself.
    pub(crate) frame_lost: u32,
    /// Of ten thousand effects, so many are followed by a crash of their device.
    pub(crate) crash_after_effect: u32,
}

impl World {
    pub(super) fn chance(&mut self, of_ten_thousand: u32) -> bool {
        of_ten_thousand > 0 && self.fault_rng.next_u32() % 10_000 < of_ten_thousand
    }

    /// A number below a limit.
    pub(super) fn faults_below(&mut self, limit: usize) -> usize {
        self.fault_rng.next_u32() as usize % limit
    }
}
