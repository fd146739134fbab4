//! Messages as they are shown.

use kith_dbus::{Direction, MessageState, Row};
use maud::{Markup, Render as _, html};

use super::text::{self, Outside};
use crate::bus::{Conversation, Overview};
use crate::words::Words;

/// Characters of a message that stand above the one that answers it.
const QUOTE_CHARS_MAX: usize = 80;

/// A message among others of its conversation.
pub(super) fn message(
    words: &Words,
    overview: &Overview,
    conversation: &Conversation,
    rows: &[Row],
    row: &Row,
) -> Markup {
    let own = row.direction == Direction::Outgoing;
    let author = (conversation.is_room() && !own).then(|| author(overview, conversation, row));
    let answered = row.reply_to.as_ref().and_then(|id| rows.iter().find(|other| other.id == *id));
    html! {
        li.own[own] id={ "m" (row.seq) } {
            @if let Some(author) = author { p.author { (text::name(&author)) } }
            @if let Some(answered) = answered { blockquote { (quote(answered)) } }
            (body(words, row))
            p.about {
                (text::time(if own { row.sent_ms } else { row.done_ms }))
                @if own { " · " (state(words, row.state)) }
                @if let Some(ttl_s) = row.ttl_s { " · " (words.disappears_after) " " ((words.duration)(ttl_s.into())) }
            }
        }
    }
}

/// Who wrote a message in a room: by the contact's name here, else by the one that the room's owner gave.
fn author(overview: &Overview, conversation: &Conversation, row: &Row) -> String {
    let peer = Conversation::of(row.peer.clone());
    let contact = peer.as_ref().and_then(|peer| overview.peer(peer)).map(|peer| peer.name.clone());
    let client_id = kith_dbus::client_id_of(&row.peer).unwrap_or_default();
    let members = overview.room(conversation).map(|room| room.members.as_slice()).unwrap_or_default();
    let member = members.iter().find(|member| member.client_id == client_id).map(|member| member.name.clone());
    contact.or(member).unwrap_or(client_id)
}

/// The text of a message, if it is one for people.
fn words_of(row: &Row) -> Option<&str> {
    row.content_type.starts_with("text/").then(|| std::str::from_utf8(&row.body).ok()).flatten()
}

fn body(words: &Words, row: &Row) -> Markup {
    html! {
        @match words_of(row) {
            Some(text) => p.body dir="auto" { (Outside(text)) },
            None => p.body.quiet { (words.no_text) " (" (Outside(&row.content_type)) ", " (row.body.len()) " B)" },
        }
    }
}

fn quote(row: &Row) -> Markup {
    let text: String = words_of(row).unwrap_or(&row.content_type).chars().take(QUOTE_CHARS_MAX).collect();
    Outside(&text).render()
}

fn state(words: &Words, state: MessageState) -> &'static str {
    match state {
        MessageState::Unknown | MessageState::Queued => words.queued,
        MessageState::Delivered => words.delivered,
        MessageState::Read => words.read,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::words::Language;

    const KEY: &str = "abcdefghijklmnopqrstuvwxyz234567";

    pub(crate) fn row(seq: u64, direction: Direction, content_type: &str, body: &[u8]) -> Row {
        Row {
            seq,
            id: format!("{seq:032x}"),
            peer: kith_dbus::peer_path(KEY).unwrap(),
            room: None,
            direction,
            state: MessageState::Queued,
            sent_ms: 1,
            clock_trusted: true,
            done_ms: 0,
            content_type: content_type.to_owned(),
            body: body.to_vec(),
            reply_to: None,
            ttl_s: None,
            read_by: None,
            inbox_seq: 0,
        }
    }

    fn shown(rows: &[Row], row: &Row) -> String {
        let conversation = Conversation::parse("peer", KEY).unwrap();
        message(Language::English.words(), &Overview::default(), &conversation, rows, row).into_string()
    }

    #[test]
    fn a_script_in_a_message_is_text() {
        let evil = row(1, Direction::Incoming, "text/html", b"<script>alert(1)</script><img src=x onerror=y>");
        let shown = shown(&[], &evil);
        assert!(!shown.contains("<script") && !shown.contains("<img"), "{shown}");
        assert!(shown.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{shown}");
    }

    #[test]
    fn what_is_no_text_is_named_and_not_shown() {
        for (content_type, body) in [("application/json", b"{}".as_slice()), ("text/plain", b"\xff\xfe")] {
            let shown = shown(&[], &row(1, Direction::Incoming, content_type, body));
            assert!(shown.contains(content_type) && shown.contains("2 B"), "{shown}");
        }
    }

    #[test]
    fn a_message_says_how_far_it_has_come_and_what_it_answers() {
        let words = Language::English.words();
        let first = row(1, Direction::Incoming, "text/plain", b"is anybody there?");
        let answer = Row { reply_to: Some(first.id.clone()), ..row(2, Direction::Outgoing, "text/plain", b"yes") };
        let waiting = shown(&[first.clone(), answer.clone()], &answer);
        assert!(waiting.contains("<blockquote>is anybody there?</blockquote>") && waiting.contains(words.queued));
        let there = Row { state: MessageState::Delivered, ttl_s: Some(3600), ..answer };
        let there = shown(&[first, there.clone()], &there);
        assert!(there.contains(words.delivered) && there.contains(words.disappears_after), "{there}");
    }
}
