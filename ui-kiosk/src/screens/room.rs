//! Rooms: who is in one, what its owner may do, and a new one.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use kith_dbus::{CreateRoomOptions, Failure, RoomState, Trust, peer_path};
use maud::{Markup, html};
use zbus::OwnedObjectPath;

use super::frame::{Frame, button, careful, token};
use super::sign::{Sign, sign};
use super::text::{self, Outside};
use super::{expiry, gone, home};
use crate::bus::{Bus, Conversation, Member, Overview, Peer, Room};
use crate::http::{Answer, Guest, Posted, Ready};
use crate::site::Site;
use crate::words::Words;

/// The screen of a room.
pub(super) async fn page(Path(key): Path<String>, ready: Ready) -> Response {
    let conversation = Conversation::parse("room", &key);
    let Some(room) = conversation.and_then(|it| ready.overview.room(&it)) else { return gone(&ready.guest) };
    let back = room.conversation.address();
    let title = text::plain(&room.name);
    let kind = format!("room {back}");
    let frame = Frame { back: Some(&back), ..Frame::ready(&kind, &title, &ready) };
    frame.page(show(ready.guest.language.words(), &ready.guest, &ready.overview, room))
}

fn show(words: &Words, guest: &Guest, overview: &Overview, room: &Room) -> Markup {
    let action = format!("{}/about", room.conversation.address());
    let is_owner = room.owner == overview.client_id && room.state == RoomState::Joined;
    html! {
        div #room-state data-live {
            section.card {
                h2 { (home::about_room(words, room)) }
                ul.members { @for member in &room.members { (self::member(words, guest, overview, room, member)) } }
            }
            (expiry::card(words, guest, &action, room.expiry_s))
            @if is_owner && !candidates(overview, room).is_empty() {
                section.card {
                    h2 { (words.add_member) }
                    div.wrap {
                        @for peer in candidates(overview, room) {
                            (button(guest, &action, "", &text::plain(&peer.name), &[("do", "add"), ("who", &peer.client_id)]))
                        }
                    }
                }
            }
        }
        @if is_owner {
            section.card {
                h2 { (words.name) }
                form.line action=(action) method="post" {
                    (token(guest))
                    input type="hidden" name="do" value="rename";
                    label.aside for="name" { (words.name) }
                    input #name name="name" value=(Outside(&room.name)) maxlength="64" required autocomplete="off";
                    button { (words.save) }
                }
            }
        }
        (careful(guest, &action, (words.leave, words.leave_question), &[("do", "leave")]))
    }
}

fn member(words: &Words, guest: &Guest, overview: &Overview, room: &Room, member: &Member) -> Markup {
    let action = format!("{}/about", room.conversation.address());
    let (is_self, is_owner) = (member.client_id == overview.client_id, member.client_id == room.owner);
    let who = member.client_id.as_str();
    html! {
        li {
            span.dot.present[member.present || is_self] aria-hidden="true" {}
            span.who {
                strong { (text::name(&member.name)) }
                span.quiet {
                    @if is_self { (words.yourself) } @else if member.present { (words.online) } @else { (words.offline) }
                    @if is_owner { " · " (words.owner) }
                }
            }
            @if room.owner == overview.client_id && !is_self {
                details.careful {
                    summary aria-label={ (words.more) ": " (text::plain(&member.name)) } { (sign(Sign::More)) }
                    (button(guest, &action, "", words.hand_over, &[("do", "hand-over"), ("who", who)]))
                    (button(guest, &action, "danger", words.remove, &[("do", "remove"), ("who", who)]))
                }
            }
        }
    }
}

/// Contacts that may be taken into a room.
fn candidates<'a>(overview: &'a Overview, room: &Room) -> Vec<&'a Peer> {
    let is_in = |peer: &Peer| room.members.iter().any(|member| member.client_id == peer.client_id);
    overview.peers.iter().filter(|peer| may_join(peer) && !is_in(peer)).collect()
}

fn may_join(peer: &Peer) -> bool {
    !peer.blocked && peer.trust != Trust::Pending
}

/// What the buttons do.
pub(super) async fn change(State(site): State<Arc<Site>>, Path(key): Path<String>, posted: Posted) -> Response {
    let Some(conversation) = Conversation::parse("room", &key) else { return gone(&posted.guest) };
    let done = act(&site.bus, &conversation, &posted).await;
    let page = match posted.text("do") {
        "leave" if done.is_ok() => "/".to_owned(),
        _ => format!("{}/about", conversation.address()),
    };
    Answer::to(&posted, &page, done).into_response()
}

async fn act(bus: &Bus, conversation: &Conversation, posted: &Posted) -> Result<(), Failure> {
    let room = bus.room(conversation.path()).await?;
    let who = peer_path(posted.text("who"));
    match (posted.text("do"), who) {
        ("expiry", _) => expiry::set(bus, conversation, posted).await,
        ("rename", _) => room.rename(posted.text("name").trim()).await,
        ("leave", _) => room.leave().await,
        ("add", Some(who)) => room.add(&who).await,
        ("remove", Some(who)) => room.remove(&who).await,
        ("hand-over", Some(who)) => room.hand_over(&who).await,
        _ => Ok(()),
    }
}

/// The screen of a new room.
pub(super) async fn new_page(ready: Ready) -> Response {
    let words = ready.guest.language.words();
    let frame = Frame::ready("new-room", words.new_room, &ready);
    frame.page(html! {
        form.card action="/rooms/new" method="post" {
            (token(&ready.guest))
            label for="name" { (words.name) }
            input #name name="name" maxlength="64" required autocomplete="off";
            fieldset {
                legend { (words.members) }
                @for peer in ready.overview.peers.iter().filter(|peer| may_join(peer)) {
                    label.choice { input type="checkbox" name="member" value=(peer.client_id); (text::name(&peer.name)) }
                }
            }
            p.quiet { (words.new_room_text) }
            button.main { (words.create_room) }
        }
    })
}

/// Makes the room.
pub(super) async fn create(State(site): State<Arc<Site>>, posted: Posted) -> Answer {
    let members: Vec<OwnedObjectPath> = posted.all("member").filter_map(peer_path).collect();
    let options = CreateRoomOptions { name: Some(posted.text("name").trim().to_owned()), members: Some(members) };
    let created = async { site.bus.manager().await?.create_room(&options).await };
    let created = created.await;
    let room = created.as_ref().ok().cloned().and_then(Conversation::of);
    let page = room.map_or_else(|| "/rooms/new".to_owned(), |room| room.address());
    Answer::to(&posted, &page, created)
}
