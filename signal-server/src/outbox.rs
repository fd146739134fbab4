//! What waits to be written to one connection.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::frames::{self, Kind};

/// Bytes that wait for one connection: a full watch list coming online at once, or eight of the
/// largest payloads. Whoever is slower than that connects again.
const OUTBOX_BYTES_MAX: usize = 262_144;

/// One queue, filled under the hub's lock and emptied in one go by the connection's task, so that
/// everything that waits goes out in one write.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

/// What a connection's task does next.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Frames to send, one behind the other.
    pub(crate) bytes: Vec<u8>,
    /// Whether a ping is among them that finds out if the other end still lives.
    pub(crate) probe: bool,
    /// Close after the frames.
    pub(crate) close: Option<CloseCode>,
}

impl Outbox {
    /// Adds a frame; where there is no room, everything is dropped and the connection closes.
    pub(crate) fn push(&self, kind: Kind, payload: &[u8]) {
        let mut waiting = self.lock();
        if waiting.close.is_some() {
            return;
        }
        if waiting.bytes.len() + payload.len() > OUTBOX_BYTES_MAX {
            *waiting = Waiting { close: Some(CloseCode::Again), ..Waiting::default() };
        } else {
            frames::append(&mut waiting.bytes, kind, payload);
        }
        drop(waiting);
        self.changed.notify_one();
    }

    /// Closes after what waits.
    pub(crate) fn close(&self, code: CloseCode) {
        self.lock().close.get_or_insert(code);
        self.changed.notify_one();
    }

    /// Asks for a sign of life.
    pub(crate) fn probe(&self) {
        self.lock().probe = true;
        self.push(Kind::Ping, &[]);
    }

    /// Takes everything that waits.
    pub(crate) fn take(&self) -> Waiting {
        let mut waiting = self.lock();
        // The order to close stays: nothing is accepted after it.
        let close = waiting.close;
        std::mem::replace(&mut *waiting, Waiting { close, ..Waiting::default() })
    }

    /// Makes [`changed`](Self::changed) end once more if something waits.
    pub(crate) fn recheck(&self) {
        let waiting = self.lock();
        if !waiting.bytes.is_empty() || waiting.close.is_some() {
            self.changed.notify_one();
        }
    }

    /// Whether it has overflowed: what is being written need not be finished.
    pub(crate) fn has_overflowed(&self) -> bool {
        self.lock().close == Some(CloseCode::Again)
    }

    /// Ends when something has been added since this last ended.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code panics while it holds this lock; its content would still be whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_taken_at_once_and_in_order() {
        let outbox = Outbox::default();
        outbox.push(Kind::Binary, &[1]);
        outbox.probe();
        outbox.push(Kind::Binary, &[2]);
        outbox.close(CloseCode::Normal);
        outbox.push(Kind::Binary, &[3]);
        let waiting = outbox.take();
        assert_eq!(waiting.bytes, [0x82, 1, 1, 0x89, 0, 0x82, 1, 2]);
        assert!(waiting.probe);
        assert_eq!(waiting.close, Some(CloseCode::Normal));
        assert!(outbox.take().bytes.is_empty());
    }

    #[test]
    fn a_reader_that_is_too_slow_is_closed_and_nothing_is_kept_for_it() {
        let outbox = Outbox::default();
        for _ in 0..=OUTBOX_BYTES_MAX / 1_024 {
            outbox.push(Kind::Binary, &[0; 1_024]);
        }
        assert!(outbox.has_overflowed());
        let waiting = outbox.take();
        assert!(waiting.bytes.is_empty());
        assert_eq!(waiting.close, Some(CloseCode::Again));
    }

    #[test]
    fn a_whole_watch_list_that_comes_online_at_once_fits() {
        let outbox = Outbox::default();
        for _ in 0..kith_signal_protocol::limits::WATCHED_MAX {
            outbox.push(Kind::Binary, &[0; 24]);
        }
        assert!(!outbox.has_overflowed());
    }
}
