//! A contact: who it is, how far it is trusted, and what it learns of this device.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use kith_dbus::{Failure, LinkState, Trust};
use maud::{Markup, html};

use super::frame::{Frame, button, careful, token};
use super::text::{self, Outside};
use super::{expiry, gone, home, qr};
use crate::bus::{Bus, Conversation, Peer};
use crate::http::{Answer, Guest, Posted, Ready};
use crate::site::Site;
use crate::words::Words;

/// The screen.
pub(super) async fn page(State(site): State<Arc<Site>>, Path(key): Path<String>, ready: Ready) -> Response {
    let conversation = Conversation::parse("peer", &key);
    let Some(peer) = conversation.and_then(|it| ready.overview.peer(&it).cloned()) else {
        return gone(&ready.guest);
    };
    let number = async { site.bus.peer(peer.conversation.path()).await?.safety_number().await };
    let number = number.await.ok();
    let back = peer.conversation.address();
    let title = text::plain(&peer.name);
    let kind = format!("contact {back}");
    let frame = Frame { back: Some(&back), ..Frame::ready(&kind, &title, &ready) };
    frame.page(show(ready.guest.language.words(), &ready.guest, &peer, number.as_deref()))
}

fn show(words: &Words, guest: &Guest, peer: &Peer, number: Option<&str>) -> Markup {
    let action = format!("{}/about", peer.conversation.address());
    let act = |class: &str, name: &str, what: &str| button(guest, &action, class, name, &[("do", what)]);
    html! {
        div #contact-state data-live {
            section.card {
                p { (home::about_peer(words, peer)) }
                @if peer.last_seen_ms > 0 { p.quiet { (words.last_seen) " " (text::time(peer.last_seen_ms)) } }
                p { (link(words, peer.link)) }
            }
            section.card {
                h2 { (words.safety_number) }
                @if peer.trust == Trust::Verified { p.good { "✓ " (words.verified) } }
                @else { p { (words.safety_text) } }
                @if let Some(number) = number {
                    div.number {
                        p.digits { @for group in number.split_whitespace() { span { (group) } " " } }
                        (qr::code(number, words.safety_number))
                    }
                }
                @if peer.trust == Trust::Verified { (act("", words.unverify, "unverify")) }
                @else if peer.trust == Trust::Paired { (act("main", words.verify, "verify")) }
            }
            (expiry::card(words, guest, &action, peer.expiry_s))
            section.card {
                h2 { (words.block) }
                p { (if peer.blocked { words.blocked_text } else { words.block_text }) }
                @if peer.blocked { (act("", words.unblock, "unblock")) } @else { (act("", words.block, "block")) }
            }
        }
        section.card {
            h2 { (words.name) }
            form.line action=(action) method="post" {
                (token(guest))
                input type="hidden" name="do" value="rename";
                label.aside for="name" { (words.name) }
                input #name name="name" value=(Outside(&peer.name)) maxlength="64" required autocomplete="off";
                button { (words.save) }
            }
            p.quiet { (words.client_id) ": " span.id { (peer.client_id) } }
        }
        (careful(guest, &action, (words.remove, words.remove_question), &[("do", "remove")]))
    }
}

/// What the way between the two devices means.
fn link(words: &Words, link: LinkState) -> &'static str {
    match link {
        LinkState::Unknown | LinkState::None => words.link_none_text,
        LinkState::Direct => words.link_direct_text,
        LinkState::Relayed => words.link_relayed_text,
    }
}

/// What the buttons do.
pub(super) async fn change(State(site): State<Arc<Site>>, Path(key): Path<String>, posted: Posted) -> Response {
    let Some(conversation) = Conversation::parse("peer", &key) else { return gone(&posted.guest) };
    let done = act(&site.bus, &conversation, &posted).await;
    let page = match posted.text("do") {
        "remove" if done.is_ok() => "/".to_owned(),
        _ => format!("{}/about", conversation.address()),
    };
    Answer::to(&posted, &page, done).into_response()
}

async fn act(bus: &Bus, conversation: &Conversation, posted: &Posted) -> Result<(), Failure> {
    let peer = bus.peer(conversation.path()).await?;
    match posted.text("do") {
        "verify" => peer.mark_verified(true).await,
        "unverify" => peer.mark_verified(false).await,
        "block" => Ok(peer.set_blocked(true).await?),
        "unblock" => Ok(peer.set_blocked(false).await?),
        "expiry" => expiry::set(bus, conversation, posted).await,
        "rename" => Ok(peer.set_name(posted.text("name").trim()).await?),
        "remove" => peer.remove().await,
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Language;

    #[test]
    fn each_way_to_a_contact_says_what_the_contact_learns() {
        for language in Language::ALL {
            let words = language.words();
            let all = [LinkState::None, LinkState::Direct, LinkState::Relayed].map(|state| link(words, state));
            assert!(all[0] != all[1] && all[1] != all[2] && all.iter().all(|text| !text.is_empty()));
        }
    }
}
