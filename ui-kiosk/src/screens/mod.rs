//! The screens: each in its own room, a pure function from what there is to see to a page, and below it what its forms
//! do. They hold no state; the messenger does.

mod backup;
mod contact;
mod conversation;
mod expiry;
mod first;
mod frame;
mod home;
mod idle;
mod keyboard;
mod message;
mod notice;
mod pairing;
mod qr;
mod room;
mod settings;
mod sign;
mod text;
mod unlock;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use maud::html;

use crate::bus::{Conversation, Look};
use crate::http::{Answer, Guest, LANGUAGE_COOKIE, Posted, own_page};
use crate::site::Site;
use crate::words::Language;

pub(crate) use unlock::screen_locked;

pub(crate) use backup::{Backups, upload as upload_backup};

use frame::Frame;

/// How long a chosen language is kept, seconds: a year.
const LANGUAGE_S_MAX: u32 = 365 * 24 * 60 * 60;

/// All screens and what their forms do.
pub(crate) fn router() -> Router<Arc<Site>> {
    Router::new()
        .route("/", get(home::page))
        .route("/idle", get(idle::page))
        .route("/set-up", post(first::set_up))
        .route("/unlock", post(unlock::unlock))
        .route("/shut", post(unlock::shut))
        .route("/lock", post(unlock::lock_screen))
        .route("/pin", post(unlock::open_screen))
        .route("/language", post(language))
        .route("/c/{kind}/{key}", get(conversation::page))
        .route("/c/{kind}/{key}/send", post(conversation::send))
        .route("/c/{kind}/{key}/reply", post(conversation::reply))
        .route("/c/{kind}/{key}/read", post(conversation::read))
        .route("/c/{kind}/{key}/heard", post(conversation::heard))
        .route("/c/peer/{key}/about", get(contact::page).post(contact::change))
        .route("/c/room/{key}/about", get(room::page).post(room::change))
        .route("/rooms/new", get(room::new_page).post(room::create))
        .route("/pair", get(pairing::choice))
        .route("/pair/invite", post(pairing::invite))
        .route("/pair/accept", post(pairing::accept))
        .route("/pair/compare", post(pairing::compare))
        .route("/pair/{number}", get(pairing::page).post(pairing::change))
        .route("/settings", get(settings::page).post(settings::change))
        .route("/backup", get(backup::page).post(backup::change))
        .route("/backup/file", get(backup::download))
        .fallback(not_found)
}

/// A text that names no conversation.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` names no conversation; write peer/CLIENT-ID or room/ID")]
pub(crate) struct NoConversation(String);

/// A conversation as the command line names it: `peer/CLIENT-ID` or `room/ID`.
pub(crate) fn parse_conversation(text: &str) -> Result<Conversation, NoConversation> {
    let conversation = text.split_once('/').and_then(|(kind, key)| Conversation::parse(kind, key));
    conversation.ok_or_else(|| NoConversation(text.to_owned()))
}

/// The page for whoever has not signed in.
pub(crate) fn enter(guest: &Guest, status: StatusCode) -> Response {
    let words = guest.language.words();
    let frame = Frame { script: "enter.js", ..Frame::outside("enter", words.signed_out, guest) };
    let body = html! {
        div.center {
            p { (words.signed_out_text) }
            p #refused .bad role="alert" hidden { (words.signed_out_refused) }
        }
    };
    frame.page_with(status, body)
}

/// What is shown in the place of a page that needs a messenger in use.
pub(crate) fn in_the_way(site: &Site, guest: &Guest, look: &Look, address: &str) -> Response {
    match look {
        Look::NeedsSetUp(tasks) if !guest.is_visitor() => first::page(site, guest, tasks),
        Look::Locked(tasks) if !guest.is_visitor() => unlock::page(guest, tasks, address),
        _ => unlock::away(guest),
    }
}

/// What another program was asked for and is not there (any more).
fn gone(guest: &Guest) -> Response {
    let words = guest.language.words();
    let frame = Frame { back: Some("/"), ..Frame::live("gone", words.gone, guest) };
    frame.page_with(StatusCode::NOT_FOUND, html! { div.center { p { (words.gone_text) } } })
}

async fn not_found(guest: Guest) -> Response {
    gone(&guest)
}

/// Keeps the language that somebody chose, in the browser.
async fn language(posted: Posted) -> ([(axum::http::HeaderName, String); 1], Answer) {
    let language = Language::by_code(posted.text("language")).unwrap_or(posted.guest.language);
    let code = language.words().code;
    let cookie = format!("{LANGUAGE_COOKIE}={code}; Path=/; Max-Age={LANGUAGE_S_MAX}; HttpOnly; SameSite=Strict");
    ([(axum::http::header::SET_COOKIE, cookie)], Answer::done(&posted, own_page(posted.text("back"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visitors_are_given_a_contact_or_a_room() {
        assert!(parse_conversation("peer/abcd-efgh-ijkl-mnop-qrst-uvwx-yz23-4567").is_ok());
        assert!(parse_conversation("room/00112233445566778899aabbccddeeff").is_ok());
        for text in ["", "bob", "peer/", "task/1"] {
            assert!(parse_conversation(text).is_err(), "{text}");
        }
    }
}
