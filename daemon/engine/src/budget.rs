//! How much public-key work a stranger's bytes may cost.

use std::collections::BTreeMap;

use kith_crypto::identity::ClientId;

/// Budgets are counted per window of this length.
const WINDOW_MS: u64 = 10_000;
/// One connection attempt costs an offer or an answer and up to a dozen candidates; this allows
/// several attempts in a row from one peer.
const PER_SENDER_MAX: u32 = 96;
/// About 0.7 ms of work each on a small board: at most a third of its time.
const TOTAL_MAX: u32 = 1_024;

/// Counts openings of sealed payloads before they are paid for.
#[derive(Default)]
pub(crate) struct Budget {
    window: u64,
    total: u32,
    by_sender: BTreeMap<ClientId, u32>,
}

impl Budget {
    /// Whether one more payload of this sender may be opened now.
    pub(crate) fn take(&mut self, sender: ClientId, boot_ms: u64) -> bool {
        let window = boot_ms / WINDOW_MS;
        if window != self.window {
            *self = Self { window, ..Self::default() };
        }
        if self.total >= TOTAL_MAX {
            return false;
        }
        // Senders are counted only while the total has room, which bounds the map.
        let count = self.by_sender.entry(sender).or_default();
        if *count >= PER_SENDER_MAX {
            return false;
        }
        *count += 1;
        self.total += 1;
        true
    }
}
