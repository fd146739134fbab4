//! A conversation: what was said, and what is to be said.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use kith_dbus::{Failure, RoomState, Row, SendOptions, Trust};
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::{Frame, button, token};
use super::message::message;
use super::sign::{Sign, sign};
use super::text::{self, Outside};
use super::{gone, home};
use crate::access::Token;
use crate::bus::{Bus, Conversation, Overview};
use crate::http::{Answer, Guest, Posted, Ready};
use crate::site::Site;
use crate::words::Words;

/// Messages that a page shows at first, and how many more each touch of "older" adds.
const ROWS: u64 = 30;

/// Messages on one page. The page is made anew for each change, so it stays bounded.
const ROWS_MAX: u64 = 960;

/// Rows that the daemon is asked for at once: as many as it gives.
const PAGE_ROWS: u32 = 256;

/// What a person's text is.
const TEXT: &str = "text/plain";

/// How much of a conversation a page shows.
#[derive(Deserialize)]
pub(super) struct Extent {
    rows: Option<u64>,
}

/// The screen.
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    Path((kind, key)): Path<(String, String)>,
    Query(extent): Query<Extent>,
    ready: Ready,
) -> Response {
    let Some(conversation) = Conversation::parse(&kind, &key) else { return gone(&ready.guest) };
    let Some(facts) = facts(&ready, &conversation) else { return gone(&ready.guest) };
    let count = extent.rows.unwrap_or(ROWS).clamp(ROWS, ROWS_MAX);
    let rows = match read_rows(&site.bus, &conversation, facts.last_seq, count).await {
        Ok(rows) => rows,
        // It has gone, or the messenger has, since the look.
        Err(_) => return gone(&ready.guest),
    };
    let about = format!("{}/about", conversation.address());
    let words = ready.guest.language.words();
    let tools = html! {
        @if !ready.guest.is_visitor() { a.icon #about href=(about) aria-label=(words.about_conversation) { (sign(Sign::About)) } }
    };
    let trouble = site.bus.trouble(conversation.path());
    let title = text::plain(&facts.name);
    let kind = format!("conversation {}", conversation.address());
    let frame = Frame { tools, ..Frame::ready(&kind, &title, &ready) };
    let shown =
        Shown { guest: &ready.guest, overview: &ready.overview, conversation: &conversation, facts, rows, count };
    frame.page(shown.show(words, trouble.as_deref()))
}

/// What there is to know of a conversation, whether it is a contact's or a room's.
struct Facts {
    name: String,
    about: String,
    unread: u64,
    last_seq: u64,
    missing: u64,
    expiry_s: u32,
    /// Why nothing can be said.
    silent: Option<&'static str>,
}

fn facts(ready: &Ready, conversation: &Conversation) -> Option<Facts> {
    let words = ready.guest.language.words();
    let peer = ready.overview.peer(conversation).map(|peer| Facts {
        name: peer.name.clone(),
        about: home::about_peer(words, peer),
        unread: peer.unread,
        last_seq: peer.last_seq,
        missing: peer.missing,
        expiry_s: peer.expiry_s,
        silent: match (peer.blocked, peer.trust) {
            (true, _) => Some(words.silent_blocked),
            (false, Trust::Pending) => Some(words.silent_pending),
            (false, _) => None,
        },
    });
    let room = || {
        ready.overview.room(conversation).map(|room| Facts {
            name: room.name.clone(),
            about: home::about_room(words, room),
            unread: room.unread,
            last_seq: room.last_seq,
            missing: 0,
            expiry_s: room.expiry_s,
            silent: match room.state {
                RoomState::Removed => Some(words.silent_removed),
                RoomState::Frozen => Some(words.silent_frozen),
                RoomState::Unknown | RoomState::Joined => None,
            },
        })
    };
    peer.or_else(room)
}

/// The newest rows, the oldest of them first.
async fn read_rows(bus: &Bus, conversation: &Conversation, last_seq: u64, count: u64) -> Result<Vec<Row>, Failure> {
    let proxy = bus.conversation(conversation.path()).await?;
    let mut rows: Vec<Row> = Vec::new();
    let mut after = last_seq.saturating_sub(count);
    loop {
        let page = proxy.list(after, PAGE_ROWS).await?;
        let Some(last) = page.last() else { return Ok(rows) };
        after = last.seq;
        rows.extend(page);
        let too_many = rows.len().saturating_sub(usize::try_from(ROWS_MAX).unwrap_or(usize::MAX));
        rows.drain(..too_many);
        if after >= last_seq {
            return Ok(rows);
        }
    }
}

/// All of a page's middle.
struct Shown<'a> {
    guest: &'a Guest,
    overview: &'a Overview,
    conversation: &'a Conversation,
    facts: Facts,
    rows: Vec<Row>,
    count: u64,
}

impl Shown<'_> {
    fn show(&self, words: &Words, trouble: Option<&str>) -> Markup {
        html! {
            div.talk {
                (self.state(words, trouble))
                (self.messages(words))
                div #composer data-live {
                    @if let Some(silent) = self.facts.silent { p.notice { (silent) } }
                }
                @if self.facts.silent.is_none() { (self.composer(words)) }
            }
        }
    }

    fn state(&self, words: &Words, trouble: Option<&str>) -> Markup {
        let address = self.conversation.address();
        html! {
            div #talk-state data-live {
                p.quiet {
                    (self.facts.about)
                    @if self.facts.expiry_s > 0 {
                        " · " (words.disappear_after) " " ((words.duration)(self.facts.expiry_s.into()))
                    }
                }
                @if self.facts.missing > 0 { p.notice { (self.facts.missing) " " (words.missing) } }
                @if let Some(trouble) = trouble {
                    div.notice.warning role="alert" {
                        p lang="en" { (Outside(trouble)) }
                        @if !self.guest.is_visitor() {
                            (button(self.guest, &format!("{address}/heard"), "", words.understood, &[]))
                        }
                    }
                }
            }
        }
    }

    fn messages(&self, words: &Words) -> Markup {
        let has_older = self.rows.first().is_some_and(|row| row.seq > 1) && self.count < ROWS_MAX;
        let unread = (self.facts.unread > 0).then_some(self.facts.last_seq);
        html! {
            div #messages data-live data-unread=[unread] tabindex="0" role="log" aria-label=(words.messages) {
                @if has_older && !self.guest.is_visitor() {
                    a.button #older href={ (self.conversation.address()) "?rows=" (self.count + ROWS) } { (words.older) }
                }
                @if self.rows.is_empty() { p.empty { (words.no_messages) } }
                ol {
                    @for row in &self.rows {
                        (message(words, self.overview, self.conversation, &self.rows, row))
                    }
                }
            }
        }
    }

    fn composer(&self, words: &Words) -> Markup {
        let address = self.conversation.address();
        // The same form sent twice is one message.
        let key = Token::random().map(|key| key.text().to_owned()).unwrap_or_default();
        html! {
            form.quick action={ (address) "/reply" } method="post" data-quiet aria-label=(words.quick_replies) {
                (token(self.guest))
                @for (index, reply) in words.replies.iter().enumerate() {
                    button name="reply" value=(index) { (reply) }
                }
            }
            @if !self.guest.is_visitor() {
                form.send #send action={ (address) "/send" } method="post" data-quiet {
                    (token(self.guest))
                    input type="hidden" name="key" value=(key);
                    label.aside for="text" { (words.message) }
                    textarea #text name="text" rows="1" maxlength="12000" required autocomplete="off"
                        placeholder=(words.message) {}
                    button.main aria-label=(words.send) { (sign(Sign::Send)) }
                    p.bad.refused role="alert" hidden {}
                }
            }
        }
    }
}

/// Sends what was typed.
pub(super) async fn send(
    State(site): State<Arc<Site>>,
    Path((kind, key)): Path<(String, String)>,
    posted: Posted,
) -> Response {
    let Some(conversation) = Conversation::parse(&kind, &key) else { return gone(&posted.guest) };
    // Browsers end lines as forms have to (HTML §4.10.21.4); messages end them as everybody else.
    let text = posted.text("text").replace("\r\n", "\n");
    let text = text.trim_end();
    if text.trim().is_empty() {
        return Answer::done(&posted, &conversation.address()).into_response();
    }
    let key = Some(posted.text("key")).filter(|key| !key.is_empty()).map(str::to_owned);
    let options = SendOptions { idempotency_key: key, ..SendOptions::default() };
    let sent = say(&site.bus, &conversation, text, &options).await;
    Answer::to(&posted, &conversation.address(), sent).into_response()
}

/// Sends one of the replies that are proposed.
pub(super) async fn reply(
    State(site): State<Arc<Site>>,
    Path((kind, key)): Path<(String, String)>,
    posted: Posted,
) -> Response {
    let reply = posted.text("reply").parse().ok().and_then(|index: usize| posted.words().replies.get(index));
    let (Some(conversation), Some(text)) = (Conversation::parse(&kind, &key), reply) else {
        return gone(&posted.guest);
    };
    let sent = say(&site.bus, &conversation, text, &SendOptions::default()).await;
    Answer::to(&posted, &conversation.address(), sent).into_response()
}

async fn say(bus: &Bus, conversation: &Conversation, text: &str, options: &SendOptions) -> Result<String, Failure> {
    bus.conversation(conversation.path()).await?.send(TEXT, text.as_bytes(), options).await
}

/// What is on the screen has been read.
pub(super) async fn read(
    State(site): State<Arc<Site>>,
    Path((kind, key)): Path<(String, String)>,
    posted: Posted,
) -> Response {
    let (Some(conversation), Ok(seq)) = (Conversation::parse(&kind, &key), posted.text("seq").parse()) else {
        return gone(&posted.guest);
    };
    let marked = async { site.bus.conversation(conversation.path()).await?.mark_read(seq).await };
    Answer::to(&posted, &conversation.address(), marked.await).into_response()
}

/// The sentence about what went wrong has been read.
pub(super) async fn heard(
    State(site): State<Arc<Site>>,
    Path((kind, key)): Path<(String, String)>,
    posted: Posted,
) -> Response {
    let Some(conversation) = Conversation::parse(&kind, &key) else { return gone(&posted.guest) };
    site.bus.forget_trouble(conversation.path());
    Answer::done(&posted, &conversation.address()).into_response()
}
