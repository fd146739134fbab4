//! How a message is shown.

use data_encoding::BASE64;
use kith_dbus::{Direction, MessageState, Row, client_id_of, room_id_of};
use serde_json::{Value, json};

use crate::text::{safe, utc};

/// As JSON shows it. The body is under `text` if it is UTF-8, else under `base64`.
pub(super) fn json(row: &Row) -> Value {
    let mut value = json!({
        "seq": row.seq,
        "id": row.id,
        "peer": client_id_of(&row.peer),
        "room": row.room.as_ref().and_then(|room| room_id_of(room)),
        "direction": row.direction.word(),
        "state": row.state.word(),
        "sent_ms": row.sent_ms,
        "clock_trusted": row.clock_trusted,
        "done_ms": row.done_ms,
        "type": row.content_type,
        "reply_to": row.reply_to,
        "ttl_s": row.ttl_s,
    });
    if let Some(read_by) = &row.read_by {
        value["read_by"] = json!(read_by);
    }
    match std::str::from_utf8(&row.body) {
        Ok(text) => value["text"] = json!(text),
        Err(_) => value["base64"] = json!(BASE64.encode(&row.body)),
    }
    if row.inbox_seq > 0 {
        value["inbox_seq"] = json!(row.inbox_seq);
    }
    value
}

/// On one line, for people.
pub(super) fn line(row: &Row, peer_name: &str) -> String {
    // A sender whose clock was not set does not know when it wrote.
    let time = if row.clock_trusted { utc(row.sent_ms) } else { format!("{:20}", "(clock not set)") };
    let (who, mark) = match row.direction {
        Direction::Outgoing if row.state == MessageState::Queued => ("me".to_owned(), "  [queued]"),
        Direction::Outgoing if row.state == MessageState::Read => ("me".to_owned(), "  [read]"),
        Direction::Outgoing => ("me".to_owned(), ""),
        Direction::Incoming | Direction::Unknown => (safe(peer_name), ""),
    };
    format!("{:>5}  {time}  {who}: {}{mark}", row.seq, body(row))
}

fn body(row: &Row) -> String {
    let (kind, text) = (row.content_type.as_str(), std::str::from_utf8(&row.body));
    match text {
        Ok(text) if kind == "text/plain" => safe(text),
        Ok(text) if kind.starts_with("text/") || kind == "application/json" => {
            format!("[{}] {}", safe(kind), safe(text))
        }
        _ => format!("[{}, {} bytes]", safe(kind), row.body.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(content_type: &str, body: &[u8]) -> Row {
        Row {
            seq: 12,
            id: "00".repeat(16),
            peer: kith_dbus::peer_path("abcdefghijklmnopqrstuvwxyz234567").unwrap(),
            room: None,
            direction: Direction::Incoming,
            state: MessageState::Delivered,
            sent_ms: 0,
            clock_trusted: true,
            done_ms: 1,
            content_type: content_type.to_owned(),
            body: body.to_vec(),
            reply_to: None,
            ttl_s: None,
            inbox_seq: 0,
            read_by: None,
        }
    }

    #[test]
    fn text_is_shown_safely_and_other_content_by_its_size() {
        assert_eq!(
            line(&row("text/plain", b"hi\x1b[2J"), "hall\n"),
            "   12  1970-01-01 00:00:00Z  hall\\n: hi\\u{1b}[2J"
        );
        assert!(line(&row("application/json", b"{}"), "x").ends_with("x: [application/json] {}"));
        assert!(line(&row("image/png", b"abc"), "x").ends_with("x: [image/png, 3 bytes]"));
        assert!(line(&row("text/plain", b"\xff"), "x").ends_with("x: [text/plain, 1 bytes]"));
    }

    #[test]
    fn own_messages_say_what_has_not_arrived() {
        let mut own = row("text/plain", b"hi");
        own.direction = Direction::Outgoing;
        own.state = MessageState::Queued;
        assert!(line(&own, "x").ends_with("me: hi  [queued]"));
    }

    #[test]
    fn a_body_is_under_one_of_two_keys() {
        assert_eq!(json(&row("text/plain", b"hi"))["text"], "hi");
        let binary = json(&row("text/plain", b"\xff\x00"));
        assert_eq!((&binary["base64"], binary.get("text")), (&json!("/wA="), None));
    }
}
