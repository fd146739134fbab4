//! What stands in the way: a messenger that is away, or locked.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use kith_dbus::Secret;
use maud::html;
use zeroize::Zeroizing;

use super::backup;
use super::frame::{Frame, languages, token};
use crate::bus::Task;
use crate::http::{Answer, Guest, Posted, own_page};
use crate::site::Site;

/// The messenger is away. The page becomes what it was when it is back.
pub(super) fn away(site: &Site, guest: &Guest) -> Response {
    let words = guest.language.words();
    Frame::live("away", words.away, guest, site).page_with(
        StatusCode::SERVICE_UNAVAILABLE,
        html! {
            div.center { p role="status" { (words.away_text) } }
        },
    )
}

/// The messenger is locked.
pub(super) fn page(site: &Site, guest: &Guest, tasks: &[Task], address: &str) -> Response {
    let words = guest.language.words();
    Frame::live("locked", words.locked, guest, site).page(html! {
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
