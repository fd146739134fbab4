//! The idle screen: a clock, and whether there is something to read. No word of any message.

use axum::response::Response;
use maud::{Markup, html};

use super::frame::Frame;
use crate::http::Ready;

/// The screen.
pub(super) async fn page(ready: Ready) -> Response {
    let words = ready.guest.language.words();
    let frame = Frame { back: None, ..Frame::ready("idle", words.clock, &ready) };
    frame.page(html! {
        a.idle href="/" {
            (clock())
            span #idle-unread data-live {
                @if ready.overview.unread > 0 { span.count { (ready.overview.unread) } " " (words.unread) }
            }
            span.quiet { (words.wake) }
        }
    })
}

/// Time and date, which the page's script writes.
pub(super) fn clock() -> Markup {
    html! {
        span.clock data-clock="time" aria-hidden="true" {}
        span.date data-clock="date" aria-hidden="true" {}
    }
}
