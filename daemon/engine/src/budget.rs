//! How much public-key work a stranger's bytes may cost.

use std::collections::BTreeMap;

use kith_crypto::identity::ClientId;

/// Budgets are counted per window of this length.
const WINDOW_MS: u64 = 10_000;
/// One connection attempt costs an offer or an answer and up to a dozen candidates; this allows
/// several attempts in a row from one peer.
const PER_SENDER_MAX: u32 = 96;
/// About 0.7 ms of work each on a small board: at most a third of its time, for all contacts.
const TOTAL_MAX: u32 = 1_024;
/// First offers of strangers, who may have any number of names. Somebody with an invite needs a
/// handful, and those without one must not keep contacts out.
const STRANGERS_MAX: u32 = 128;

/// Counts openings of sealed payloads before they are paid for.
#[derive(Default)]
pub(crate) struct Budget {
    window: u64,
    total: u32,
    strangers: u32,
    by_sender: BTreeMap<ClientId, u32>,
}

impl Budget {
    /// Whether one more first offer may be opened now, whoever says to have sent it.
    pub(crate) fn take_first(&mut self, boot_ms: u64) -> bool {
        self.move_window(boot_ms);
        let room = self.strangers < STRANGERS_MAX;
        self.strangers += u32::from(room);
        room
    }

    /// Whether one more payload of this contact, or of a device that pairs, may be opened now.
    pub(crate) fn take(&mut self, sender: ClientId, boot_ms: u64) -> bool {
        self.move_window(boot_ms);
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

    fn move_window(&mut self, boot_ms: u64) {
        let window = boot_ms / WINDOW_MS;
        if window != self.window {
            *self = Self { window, ..Self::default() };
        }
    }
}
