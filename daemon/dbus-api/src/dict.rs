//! The `a{sv}` dictionaries: options of methods, and rows that methods return.

use std::fmt;

use zbus::{DeserializeDict, OwnedObjectPath, SerializeDict, Type};

use crate::{Direction, LoggingMode, MessageState, Secret};

/// Options of `Manager1.SetUp`.
#[derive(Clone, SerializeDict, DeserializeDict, Type, PartialEq, Eq)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct SetUpOptions {
    /// The secret that will unlock the store, exactly as typed.
    pub secret: Secret,
    /// The name that invites carry.
    pub display_name: Option<String>,
}

/// Options of `Manager1.Invite`.
#[derive(Clone, Debug, Default, SerializeDict, DeserializeDict, Type, PartialEq, Eq)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct InviteOptions {
    /// How long the invite stays open, seconds.
    pub lifetime_s: Option<u32>,
}

/// Options of `Manager1.Accept`.
#[derive(Clone, Debug, Default, SerializeDict, DeserializeDict, Type, PartialEq, Eq)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct AcceptOptions {
    /// Whether a signaling server other than the own one is fine.
    pub other_server: Option<bool>,
}

/// Options of `Manager1.Compare`.
#[derive(Clone, Debug, Default, SerializeDict, DeserializeDict, Type, PartialEq, Eq)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct CompareOptions {
    /// The code that the other device shows; without it, this one shows a new one.
    pub code: Option<String>,
}

/// Options of `Manager1.Export`.
#[derive(Clone, Debug, Default, SerializeDict, DeserializeDict, Type, PartialEq, Eq)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct ExportOptions {
    /// Whether the backup is to lie there in clear.
    pub plain: Option<bool>,
}

/// Options of `Manager1.Import`.
#[derive(Clone, Default, SerializeDict, DeserializeDict, Type, PartialEq, Eq)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct ImportOptions {
    /// Whether to say only what would be done.
    pub dry_run: Option<bool>,
    /// Whether the backup is to replace what the device holds.
    pub replace: Option<bool>,
    /// The secret that opens the backup; the new one, where a plain backup makes the device.
    pub secret: Option<Secret>,
}

/// Options of `Manager1.CreateRoom`.
#[derive(Clone, Debug, Default, SerializeDict, DeserializeDict, Type, PartialEq, Eq)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct CreateRoomOptions {
    /// 1 to 64 bytes; needed.
    pub name: Option<String>,
    /// The contacts' objects; needed.
    pub members: Option<Vec<OwnedObjectPath>>,
}

/// One member of a room, as `Room1.Members` shows it.
#[derive(Clone, Debug, Default, SerializeDict, DeserializeDict, Type, PartialEq, Eq)]
#[zbus(signature = "a{sv}")]
pub struct RoomMember {
    /// Its client id, in groups of four.
    pub client_id: String,
    /// The owner's name for it.
    pub name: String,
    /// Whether it is there.
    pub present: bool,
}

/// Options of `Conversation1.Send`.
#[derive(Clone, Debug, Default, SerializeDict, DeserializeDict, Type, PartialEq, Eq)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct SendOptions {
    /// The id of the message that this one answers.
    pub reply_to: Option<String>,
    /// Seconds after which it disappears.
    pub ttl_s: Option<u32>,
    /// At most 64 bytes: the same key again gives the same message.
    pub idempotency_key: Option<String>,
}

/// What the operator of the signaling server says about its logging.
#[derive(Clone, Debug, Default, SerializeDict, DeserializeDict, Type, PartialEq, Eq)]
#[zbus(signature = "a{sv}")]
pub struct Notice {
    /// How the server logs.
    pub mode: LoggingMode,
    /// In the operator's words.
    pub text: String,
}

/// How much history is kept: `Manager1.Retention`, read. 0 is without end.
#[derive(Clone, Debug, Default, SerializeDict, DeserializeDict, Type, PartialEq, Eq)]
#[zbus(signature = "a{sv}")]
pub struct Retention {
    /// Messages of one conversation.
    pub messages_max: u64,
    /// Bytes of one conversation's messages, as they are stored.
    pub bytes_max: u64,
    /// Messages of all conversations.
    pub total_messages_max: u64,
    /// Bytes of all conversations' messages.
    pub total_bytes_max: u64,
    /// Days since a message was received or delivered.
    pub days_max: u64,
}

/// What of it is to hold instead: `Manager1.Retention`, written. What is left out stays; an empty one goes back to
/// the configuration.
#[derive(Clone, Debug, Default, SerializeDict, DeserializeDict, Type, PartialEq, Eq)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub struct RetentionChoice {
    /// Messages of one conversation.
    pub messages_max: Option<u64>,
    /// Bytes of one conversation's messages, as they are stored.
    pub bytes_max: Option<u64>,
    /// Messages of all conversations.
    pub total_messages_max: Option<u64>,
    /// Bytes of all conversations' messages.
    pub total_bytes_max: Option<u64>,
    /// Days since a message was received or delivered.
    pub days_max: Option<u64>,
}

/// One message, as `Conversation1.List` and `Inbox1.Fetch` return it.
#[derive(Clone, SerializeDict, DeserializeDict, Type, PartialEq, Eq)]
#[zbus(signature = "a{sv}")]
pub struct Row {
    /// Its place in the conversation.
    pub seq: u64,
    /// Its name, the same on both devices: 32 hexadecimal digits.
    pub id: String,
    /// The contact's object; in a room, whose writing it is, and `/` for this device's own.
    pub peer: OwnedObjectPath,
    /// The room's object; only in rooms.
    pub room: Option<OwnedObjectPath>,
    /// Who wrote it.
    pub direction: Direction,
    /// How far it has come.
    pub state: MessageState,
    /// When the sender wrote it, milliseconds of UTC on the sender's clock.
    pub sent_ms: u64,
    /// Whether the sender's clock had been set.
    pub clock_trusted: bool,
    /// When it was received or delivered, milliseconds of UTC; 0 for not yet.
    pub done_ms: u64,
    /// `text/plain` and the like.
    #[zbus(rename = "type")]
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
    /// The id of the message that it answers.
    pub reply_to: Option<String>,
    /// Seconds after which it disappears.
    pub ttl_s: Option<u32>,
    /// Its place in the inbox; 0 in a page of history.
    pub inbox_seq: u64,
    /// The client ids of those who have read it: of this device's own in a room.
    pub read_by: Option<Vec<String>>,
}

impl fmt::Debug for SetUpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetUpOptions").field("display_name", &self.display_name).finish_non_exhaustive()
    }
}

impl fmt::Debug for ImportOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dry_run, replace, secret: _ } = self;
        f.debug_struct("ImportOptions").field("dry_run", dry_run).field("replace", replace).finish_non_exhaustive()
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("seq", &self.seq).field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use zbus::{
        Variant,
        wire::{LE, serialized::Context, to_bytes},
    };

    use super::*;

    fn row() -> Row {
        Row {
            seq: 3,
            id: "00112233445566778899aabbccddeeff".into(),
            peer: crate::peer_path("abcdefghijklmnopqrstuvwxyz234567").unwrap(),
            room: None,
            direction: Direction::Incoming,
            state: MessageState::Delivered,
            sent_ms: 1,
            clock_trusted: true,
            done_ms: 2,
            content_type: "text/plain".into(),
            body: b"hello body".to_vec(),
            reply_to: None,
            ttl_s: Some(60),
            read_by: None,
            inbox_seq: 9,
        }
    }

    #[test]
    fn a_row_comes_back() {
        let bytes = to_bytes(Context::new(LE, 0), &row()).unwrap();
        let (back, _): (Row, _) = bytes.deserialize().unwrap();
        assert_eq!(back, row());
    }

    #[test]
    fn the_keys_of_a_row_are_those_of_the_contract() {
        let bytes = to_bytes(Context::new(LE, 0), &row()).unwrap();
        let (map, _): (BTreeMap<String, Variant<'_>>, _) = bytes.deserialize().unwrap();
        let keys: Vec<(&str, String)> =
            map.iter().map(|(key, value)| (key.as_str(), value.value_signature().to_string())).collect();
        assert_eq!(
            keys,
            [
                ("body", "ay"),
                ("clock_trusted", "b"),
                ("direction", "u"),
                ("done_ms", "t"),
                ("id", "s"),
                ("inbox_seq", "t"),
                ("peer", "o"),
                ("sent_ms", "t"),
                ("seq", "t"),
                ("state", "u"),
                ("ttl_s", "u"),
                ("type", "s"),
            ]
            .map(|(key, signature)| (key, signature.to_owned()))
        );
    }

    #[test]
    fn a_key_from_a_newer_daemon_is_skipped() {
        let mut map: BTreeMap<&str, Variant<'_>> = BTreeMap::new();
        map.insert("aaa", Variant::from(vec![1u8, 2, 3]));
        map.insert("mode", Variant::from(77u32));
        map.insert("text", Variant::from("hi"));
        map.insert("zzz", Variant::from(("x", 5u64)));
        let bytes = to_bytes(Context::new(LE, 0), &map).unwrap();
        let (notice, _): (Notice, _) = bytes.deserialize().unwrap();
        assert_eq!(notice, Notice { mode: LoggingMode::Unknown, text: "hi".into() });
    }

    #[test]
    fn an_option_that_the_daemon_does_not_know_is_refused() {
        let map = BTreeMap::from([("ttl", Variant::from(5u32))]);
        let bytes = to_bytes(Context::new(LE, 0), &map).unwrap();
        assert!(bytes.deserialize::<SendOptions>().is_err());
    }

    #[test]
    fn secrets_and_bodies_do_not_show_in_debug() {
        let options = SetUpOptions { secret: "hunter2".into(), display_name: None };
        assert_eq!(format!("{options:?}"), "SetUpOptions { display_name: None, .. }");
        assert!(!format!("{:?}", row()).contains("104, 101"), "{:?}", row());
        assert_eq!(format!("{:?}", row()), "Row { seq: 3, id: \"00112233445566778899aabbccddeeff\", .. }");
    }
}
