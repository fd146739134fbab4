//! Home: all conversations.

use axum::response::Response;
use kith_dbus::{LinkState, Presence, RoomState, Trust};
use maud::{Markup, html};

use super::frame::Frame;
use super::sign::{Sign, sign};
use super::{notice, text};
use crate::bus::{Conversation, Overview, Peer, Room};
use crate::http::Ready;
use crate::words::Words;

/// Conversations on one page: what a screen can show, and the page stays bounded. Those with unread messages come first.
const CONVERSATIONS_MAX: usize = 200;

/// The screen.
pub(super) async fn page(ready: Ready) -> Response {
    let words = ready.guest.language.words();
    let title = text::plain(&ready.overview.name);
    let tools = html! {
        a.icon href="/settings" aria-label=(words.settings) { (sign(Sign::Settings)) }
    };
    let frame = Frame { back: None, tools, ..Frame::ready("home", &title, &ready) };
    frame.page(show(words, &ready.overview))
}

fn show(words: &Words, overview: &Overview) -> Markup {
    html! {
        div #talks data-live {
            @if overview.peers.is_empty() && overview.rooms.is_empty() { p.empty { (words.no_contacts) } }
            ul.talks {
                @for entry in entries(words, overview).iter().take(CONVERSATIONS_MAX) { (entry.show(words)) }
            }
            @if let Some(more) = (overview.peers.len() + overview.rooms.len()).checked_sub(CONVERSATIONS_MAX + 1) {
                p.empty { (more + 1) " " (words.more_contacts) }
            }
        }
        nav.actions aria-label=(words.actions) {
            a.button href="/pair" { (words.pair) }
            @if !overview.peers.is_empty() { a.button href="/rooms/new" { (words.new_room) } }
        }
        div #server data-live {
            p.quiet { (notice::signaling(words, overview.signaling)) }
            @if overview.notice.mode != kith_dbus::LoggingMode::Debug { (notice::logging(words, overview)) }
        }
    }
}

/// One conversation in the list.
struct Entry<'a> {
    conversation: &'a Conversation,
    name: &'a str,
    unread: u64,
    present: bool,
    about: String,
}

fn entries<'a>(words: &Words, overview: &'a Overview) -> Vec<Entry<'a>> {
    let peers = overview.peers.iter().map(|peer| Entry {
        conversation: &peer.conversation,
        name: &peer.name,
        unread: peer.unread,
        present: peer.presence == Presence::Online && !peer.blocked,
        about: about_peer(words, peer),
    });
    let rooms = overview.rooms.iter().map(|room| Entry {
        conversation: &room.conversation,
        name: &room.name,
        unread: room.unread,
        present: room.state == RoomState::Joined && room.members.iter().any(|member| member.present),
        about: about_room(words, room),
    });
    let mut entries: Vec<_> = peers.chain(rooms).collect();
    // Each group stays in the order of the names.
    entries.sort_by_key(|entry| entry.unread == 0);
    entries
}

impl Entry<'_> {
    fn show(&self, words: &Words) -> Markup {
        html! {
            li {
                a href=(self.conversation.address()) {
                    span.dot.present[self.present] aria-hidden="true" {
                        @if self.conversation.is_room() { "#" } @else { (initial(self.name)) }
                    }
                    span.who { strong { (text::name(self.name)) } span.quiet { (self.about) } }
                    @if self.unread > 0 {
                        span.count { (self.unread) span.aside { " " (words.unread) } }
                    }
                }
            }
        }
    }
}

fn initial(name: &str) -> String {
    name.chars().find(|c| c.is_alphanumeric()).map(|c| c.to_uppercase().collect()).unwrap_or_default()
}

/// What there is to know of a contact, in a few words.
pub(super) fn about_peer(words: &Words, peer: &Peer) -> String {
    if peer.blocked {
        return words.blocked.to_owned();
    }
    if peer.trust == Trust::Pending {
        return words.pending.to_owned();
    }
    let presence = if peer.presence == Presence::Online { words.online } else { words.offline };
    match peer.link {
        LinkState::Direct => format!("{presence} · {}", words.link_direct),
        LinkState::Relayed => format!("{presence} · {}", words.link_relayed),
        LinkState::Unknown | LinkState::None => presence.to_owned(),
    }
}

/// What there is to know of a room, in a few words.
pub(super) fn about_room(words: &Words, room: &Room) -> String {
    match room.state {
        RoomState::Removed => words.room_removed.to_owned(),
        RoomState::Frozen => words.room_frozen.to_owned(),
        RoomState::Joined | RoomState::Unknown => format!("{} {}", room.members.len(), words.members),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Language;

    fn peer(name: &str, key: char, unread: u64) -> Peer {
        Peer {
            conversation: Conversation::parse("peer", &key.to_string().repeat(32)).unwrap(),
            name: name.to_owned(),
            client_id: String::new(),
            trust: Trust::Paired,
            blocked: false,
            presence: Presence::Online,
            link: LinkState::Direct,
            last_seen_ms: 0,
            unread,
            last_seq: 0,
            expiry_s: 0,
            missing: 0,
        }
    }

    #[test]
    fn conversations_with_unread_messages_come_first() {
        let peers = vec![peer("alice", 'a', 0), peer("bob", 'b', 3), peer("carol", 'c', 0)];
        let shown = show(Language::English.words(), &Overview { peers, ..Overview::default() }).into_string();
        let at = |name: &str| shown.find(&format!("<bdi>{name}</bdi>")).unwrap();
        assert!(at("bob") < at("alice") && at("alice") < at("carol"), "{shown}");
        assert!(shown.contains("3<span"), "{shown}");
    }

    #[test]
    fn a_page_of_many_contacts_stays_bounded_and_says_so() {
        let peers = vec![peer("bob", 'b', 0); CONVERSATIONS_MAX + 3];
        let words = Language::English.words();
        let shown = show(words, &Overview { peers, ..Overview::default() }).into_string();
        assert_eq!(shown.matches("<bdi>bob</bdi>").count(), CONVERSATIONS_MAX);
        assert!(shown.contains(&format!("3 {}", words.more_contacts)), "{shown}");
    }

    #[test]
    fn whether_a_contact_sees_this_device_s_address_is_in_the_list() {
        let words = Language::German.words();
        let relayed = Peer { link: LinkState::Relayed, ..peer("bob", 'b', 0) };
        assert!(about_peer(words, &relayed).contains(words.link_relayed));
        assert_eq!(about_peer(words, &Peer { blocked: true, ..relayed }), words.blocked);
    }
}
