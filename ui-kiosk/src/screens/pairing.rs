//! Pairing: by an invite that is shown and read, or by digits that two people compare.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use kith_dbus::{AcceptOptions, CompareOptions, Failure, InviteOptions, PairingState, pairing_number_of, pairing_path};
use maud::{Markup, html};
use zbus::OwnedObjectPath;

use super::frame::{Frame, button, token};
use super::text::{self, Outside};
use super::{gone, qr};
use crate::bus::{Bus, Overview, Pairing};
use crate::http::{Answer, Guest, Posted, Ready};
use crate::site::Site;
use crate::words::Words;

/// The screen where somebody chooses how.
pub(super) async fn choice(ready: Ready) -> Response {
    let words = ready.guest.language.words();
    let guest = &ready.guest;
    Frame::ready("pair", words.pair, &ready).page(html! {
        (under_way(words, &ready.overview))
        section.card {
            h2 { (words.invite) }
            p { (words.invite_text) }
            (button(guest, "/pair/invite", "main", words.show_invite, &[]))
        }
        form.card action="/pair/accept" method="post" {
            (token(guest))
            h2 { (words.accept) }
            p { (words.accept_text) }
            label for="uri" { (words.link) }
            input #uri name="uri" required autocomplete="off" autocapitalize="off" spellcheck="false" placeholder="kith:…";
            label.choice { input type="checkbox" name="other_server" value="yes"; (words.other_server) }
            button.main { (words.accept_button) }
        }
        section.card {
            h2 { (words.compare) }
            p { (words.compare_text) }
            (button(guest, "/pair/compare", "", words.compare_show, &[]))
            form.line action="/pair/compare" method="post" {
                (token(guest))
                label.aside for="code" { (words.compare_code) }
                input #code name="code" required autocomplete="off" autocapitalize="off" spellcheck="false"
                    placeholder=(words.compare_code);
                button { (words.compare_button) }
            }
        }
    })
}

/// Pairings that go on while somebody looks elsewhere.
fn under_way(words: &Words, overview: &Overview) -> Markup {
    html! {
        div #under-way data-live {
            @for pairing in overview.pairings.iter().filter(|pairing| !is_over(pairing.state)) {
                a.button href={ "/pair/" (pairing.number) } { (words.under_way) ": " (state(words, pairing.state)) }
            }
        }
    }
}

fn is_over(state: PairingState) -> bool {
    matches!(state, PairingState::Done | PairingState::Failed)
}

fn state(words: &Words, state: PairingState) -> &'static str {
    match state {
        PairingState::Unknown | PairingState::Waiting => words.pairing_waiting,
        PairingState::Connecting => words.pairing_connecting,
        PairingState::Done => words.pairing_done,
        PairingState::Failed => words.pairing_failed,
        PairingState::Comparing => words.pairing_comparing,
        PairingState::Confirmed => words.pairing_confirmed,
    }
}

/// The screen of one pairing.
pub(super) async fn page(State(site): State<Arc<Site>>, Path(number): Path<u32>, ready: Ready) -> Response {
    let Some(pairing) = ready.overview.pairings.iter().find(|pairing| pairing.number == number) else {
        return gone(&ready.guest);
    };
    let to_show = ToShow::ask(&site.bus, pairing).await;
    let words = ready.guest.language.words();
    let kind = format!("pairing {number}");
    let frame = Frame { back: Some("/pair"), ..Frame::ready(&kind, words.pair, &ready) };
    frame.page(show(words, &ready.guest, &ready.overview, pairing, &to_show))
}

/// What the other device needs to see: secrets, which no property shows.
#[derive(Default)]
struct ToShow {
    uri: Option<String>,
    code: Option<String>,
}

impl ToShow {
    async fn ask(bus: &Bus, pairing: &Pairing) -> Self {
        if pairing.state != PairingState::Waiting {
            return Self::default();
        }
        let Ok(proxy) = bus.pairing(&pairing.path).await else { return Self::default() };
        Self { uri: proxy.uri().await.ok(), code: proxy.code().await.ok() }
    }
}

fn show(words: &Words, guest: &Guest, overview: &Overview, pairing: &Pairing, to_show: &ToShow) -> Markup {
    let action = format!("/pair/{}", pairing.number);
    html! {
        div #pairing data-live {
            section.card.center {
                p role="status" { (state(words, pairing.state)) }
                @if let Some(uri) = &to_show.uri {
                    // Upper-case text of base32 takes the smaller alphanumeric mode.
                    (qr::code(&uri.to_uppercase(), words.invite))
                    p { (words.invite_scan) }
                    p #uri.id { (uri) }
                }
                @if let Some(code) = &to_show.code {
                    p { (words.compare_type) }
                    p #code.big { (code) }
                }
                @if pairing.state == PairingState::Comparing {
                    p #digits.big { (pairing.digits) }
                    p { (words.compare_question) }
                    (button(guest, &action, "main", words.compare_same, &[("do", "confirm")]))
                }
                @if pairing.state == PairingState::Failed { p.bad lang="en" { (Outside(&pairing.reason)) } }
                @if let Some(peer) = pairing.peer.as_ref().filter(|_| pairing.state == PairingState::Done) {
                    @let name = overview.peer(peer).map_or("", |peer| peer.name.as_str());
                    a.button.main #done href=(peer.address()) { (words.talk_to) " " (text::name(name)) }
                    a.button href={ (peer.address()) "/about" } { (words.safety_number) }
                }
                @if !is_over(pairing.state) {
                    p.quiet { (words.open_until) " " (text::time(pairing.expires_ms)) }
                    (button(guest, &action, "", words.cancel, &[("do", "cancel")]))
                }
            }
        }
    }
}

/// Opens an invite.
pub(super) async fn invite(State(site): State<Arc<Site>>, posted: Posted) -> Answer {
    let begun = async { site.bus.manager().await?.invite(&InviteOptions::default()).await };
    begun_to(&posted, begun.await)
}

/// Accepts an invite, typed or read by a scanner that types.
pub(super) async fn accept(State(site): State<Arc<Site>>, posted: Posted) -> Answer {
    let other_server = (posted.text("other_server") == "yes").then_some(true);
    let uri: String = posted.text("uri").split_whitespace().collect();
    let begun = async { site.bus.manager().await?.accept(&uri, &AcceptOptions { other_server }).await };
    begun_to(&posted, begun.await)
}

/// Shows a code, or takes the one that the other device shows.
pub(super) async fn compare(State(site): State<Arc<Site>>, posted: Posted) -> Answer {
    let code: String = posted.text("code").split_whitespace().collect();
    let options = CompareOptions { code: Some(code).filter(|code| !code.is_empty()) };
    let begun = async { site.bus.manager().await?.compare(&options).await };
    begun_to(&posted, begun.await)
}

fn begun_to(posted: &Posted, begun: Result<OwnedObjectPath, Failure>) -> Answer {
    let number = begun.as_ref().ok().and_then(|path| pairing_number_of(path));
    let page = number.map_or_else(|| "/pair".to_owned(), |number| format!("/pair/{number}"));
    Answer::to(posted, &page, begun)
}

/// What the buttons do.
pub(super) async fn change(State(site): State<Arc<Site>>, Path(number): Path<u32>, posted: Posted) -> Response {
    let act = async {
        let pairing = site.bus.pairing(&pairing_path(number)).await?;
        match posted.text("do") {
            "cancel" => pairing.cancel().await,
            "confirm" => pairing.confirm().await,
            _ => Ok(()),
        }
    };
    let page = if posted.text("do") == "cancel" { "/pair".to_owned() } else { format!("/pair/{number}") };
    Answer::to(&posted, &page, act.await).into_response()
}
