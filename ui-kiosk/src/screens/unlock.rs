//! What stands in the way: a messenger that is away, or locked.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use kith_dbus::{RefusalName, Secret};
use maud::html;
use zeroize::Zeroizing;

use super::backup;
use super::frame::{Frame, languages, token};
use super::idle;
use crate::bus::{Look, Task};
use crate::http::{Answer, Guest, Posted, own_page};
use crate::site::Site;

/// The messenger is away. The page becomes what it was when it is back.
pub(super) fn away(guest: &Guest) -> Response {
    let words = guest.language.words();
    Frame::live("away", words.away, guest).page_with(
        StatusCode::SERVICE_UNAVAILABLE,
        html! {
            div.center { p role="status" { (words.away_text) } }
        },
    )
}

/// The messenger is locked.
pub(super) fn page(guest: &Guest, tasks: &[Task], address: &str) -> Response {
    let words = guest.language.words();
    Frame::live("locked", words.locked, guest).page(html! {
        form.card action="/unlock" method="post" {
            (token(guest))
            input type="hidden" name="back" value=(address);
            p { (words.locked_text) }
            label for="secret" { (words.secret) }
            input #secret name="secret" type="password" required autofocus autocomplete="current-password";
            button.main { (words.unlock) }
        }
        (backup::running(words, guest, tasks))
        (languages(guest, address))
    })
}

/// Opens the store.
pub(super) async fn unlock(State(site): State<Arc<Site>>, posted: Posted) -> Answer {
    let secret = Secret::from(Zeroizing::new(posted.text("secret").to_owned()));
    let done = async { site.bus.manager().await?.unlock(&secret).await };
    Answer::to(&posted, own_page(posted.text("back")), done.await)
}

/// Closes the store.
pub(super) async fn shut(State(site): State<Arc<Site>>, posted: Posted) -> Answer {
    let done = async { site.bus.manager().await?.lock().await };
    Answer::to(&posted, "/", done.await)
}

/// The screen is locked: a clock, and the PIN. No name and no word of anybody.
pub(crate) fn screen_locked(guest: &Guest) -> Response {
    let words = guest.language.words();
    Frame::live("screen-locked", words.screen_locked, guest).page(html! {
        div.center { (idle::clock()) }
        form.card.center action="/pin" method="post" {
            (token(guest))
            label for="pin" { (words.pin_or_secret) }
            input #pin name="pin" type="password" required autocomplete="off";
            button.main { (words.unlock) }
        }
        (languages(guest, "/"))
    })
}

/// Locks the screen, where there is a PIN to open it with.
pub(super) async fn lock_screen(State(site): State<Arc<Site>>, posted: Posted) -> Answer {
    let can = matches!(site.bus.look().await, Look::Ready(overview) if overview.pin_set);
    match can.then(|| site.access.lock(&posted.session, true)) {
        Some(Err(_)) => Answer::badly(&posted, "/", posted.words().not_kept.to_owned()),
        Some(Ok(())) | None => Answer::done(&posted, "/"),
    }
}

/// Opens the screen with the PIN, or with the store's secret. Whether it is right is for the daemon to say, which
/// counts the wrong ones; what it grants besides is given back at once. A store that is locked or new has no PIN to ask
/// for, and nothing to hide but its own pages.
pub(super) async fn open_screen(State(site): State<Arc<Site>>, posted: Posted) -> Answer {
    let pin = Secret::from(Zeroizing::new(posted.text("pin").to_owned()));
    let opened = async { site.bus.elevated(&pin).await?.step_down().await };
    match opened.await {
        Err(failure) if failure.refusal() != Some(RefusalName::NotSetUp) => {
            Answer::badly(&posted, "/", posted.words().failure(&failure))
        }
        _ => match site.access.lock(&posted.session, false) {
            Ok(()) => Answer::done(&posted, "/"),
            Err(_) => Answer::badly(&posted, "/", posted.words().not_kept.to_owned()),
        },
    }
}
