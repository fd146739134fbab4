//! What waits to be written to one connection.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Bytes that wait for one connection: a full watch list coming online at once, or eight of the
/// largest payloads. Whoever is slower than that connects again.
const OUTBOX_BYTES_MAX: usize = 262_144;

/// What a frame costs besides its bytes.
const FRAME_OVERHEAD_BYTES: usize = 32;

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
    /// Messages to send, in order.
    pub(crate) frames: VecDeque<Vec<u8>>,
    /// Whether to find out if the other end still lives.
    pub(crate) probe: bool,
    /// Close after the frames.
    pub(crate) close: Option<CloseCode>,
    bytes: usize,
}

impl Outbox {
    /// Adds a message; where there is no room, everything is dropped and the connection closes.
    pub(crate) fn push(&self, frame: Vec<u8>) {
        let mut waiting = self.lock();
        if waiting.close.is_some() {
            return;
        }
        waiting.bytes += frame.len() + FRAME_OVERHEAD_BYTES;
        if waiting.bytes > OUTBOX_BYTES_MAX {
            *waiting = Waiting { close: Some(CloseCode::Again), ..Waiting::default() };
        } else {
            waiting.frames.push_back(frame);
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
        self.changed.notify_one();
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
        if !waiting.frames.is_empty() || waiting.probe || waiting.close.is_some() {
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
        outbox.push(vec![1]);
        outbox.push(vec![2]);
        outbox.close(CloseCode::Normal);
        outbox.push(vec![3]);
        let waiting = outbox.take();
        assert_eq!(waiting.frames, [[1], [2]]);
        assert_eq!(waiting.close, Some(CloseCode::Normal));
        assert!(outbox.take().frames.is_empty());
    }

    #[test]
    fn a_reader_that_is_too_slow_is_closed_and_nothing_is_kept_for_it() {
        let outbox = Outbox::default();
        for _ in 0..=OUTBOX_BYTES_MAX / 1_024 {
            outbox.push(vec![0; 1_024]);
        }
        assert!(outbox.has_overflowed());
        let waiting = outbox.take();
        assert!(waiting.frames.is_empty());
        assert_eq!(waiting.close, Some(CloseCode::Again));
    }

    #[test]
    fn a_whole_watch_list_that_comes_online_at_once_fits() {
        let outbox = Outbox::default();
        for _ in 0..kith_signal_protocol::limits::WATCHED_MAX {
            outbox.push(vec![0; 24]);
        }
        assert!(!outbox.has_overflowed());
    }
}
