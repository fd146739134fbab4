//! Sealed payloads that are dropped without a word to whoever sent them (docs/protocol.md §9):
//! counted, and told to the observers.

use crate::Now;
use crate::engine::Engine;
use crate::event::Event;

/// Between two reports: one who sends payloads without end does not write the log.
const REPORT_MS: u64 = 10_000;

/// Why a payload was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drop {
    /// Its sender may have sent it, or not: it does not open, or says what it may not say.
    NotOpened,
    /// It was taken before, or its place is taken.
    Repeated,
    /// Nobody here waits for it: another sender, another attempt, no such invite.
    Unasked,
    /// There were too many to look at them all.
    TooMany,
}

/// How many payloads were dropped since the last report, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// They did not open: changed on their way, or sealed by somebody else.
    pub not_opened: u64,
    /// They were taken before. Some are in the nature of things.
    pub repeated: u64,
    /// Nobody here waited for them. Some are in the nature of things.
    pub unasked: u64,
    /// There were too many to look at.
    pub too_many: u64,
}

/// What is counted, and when to tell.
#[derive(Default)]
pub(crate) struct Drops {
    counted: Dropped,
    /// The next report comes no earlier; none while nothing was dropped for a while.
    pub(crate) report_at: Option<u64>,
}

impl Engine {
    /// Counts a payload that is dropped.
    pub(crate) fn drop_payload(&mut self, why: Drop, now: Now) {
        let counted = &mut self.drops.counted;
        let count = match why {
            Drop::NotOpened => &mut counted.not_opened,
            Drop::Repeated => &mut counted.repeated,
            Drop::Unasked => &mut counted.unasked,
            Drop::TooMany => &mut counted.too_many,
        };
        *count = count.saturating_add(1);
        // The first one at once.
        self.drops.report_at.get_or_insert(now.boot_ms);
    }

    /// Tells of what was counted, and is quiet for a while then.
    pub(crate) fn report_dropped(&mut self, now: Now) {
        let counted = core::mem::take(&mut self.drops.counted);
        if counted == Dropped::default() {
            self.drops.report_at = None;
            return;
        }
        self.drops.report_at = Some(now.boot_ms.saturating_add(REPORT_MS));
        self.notify(Event::Dropped(counted));
    }
}
