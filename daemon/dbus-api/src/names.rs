//! Names on the bus and paths of objects.

use zbus::{ObjectPath, OwnedObjectPath};

/// The well-known name of the daemon.
pub const SERVICE: &str = "org.kith.Messenger1";

/// The root object: `Manager1` and `ObjectManager`.
pub const ROOT_PATH: &str = "/org/kith/Messenger1";

/// The one inbox.
pub const INBOX_PATH: &str = "/org/kith/Messenger1/inbox";

/// What precedes a client id without hyphens in a peer's path.
pub const PEER_PREFIX: &str = "/org/kith/Messenger1/peer/";

/// What precedes a room's id in a room's path.
pub const ROOM_PREFIX: &str = "/org/kith/Messenger1/room/";

/// What precedes a number in a pairing's path.
pub const PAIRING_PREFIX: &str = "/org/kith/Messenger1/pairing/";

/// What precedes a number in a task's path.
pub const TASK_PREFIX: &str = "/org/kith/Messenger1/task/";

/// Stands where an object path has to stand and there is no object.
pub const NO_OBJECT: &str = "/";

/// The daemon as a whole.
pub const MANAGER_INTERFACE: &str = "org.kith.Messenger1.Manager1";

/// What `Manager1.Wipe` has to be given, so that nobody wipes by mistake.
pub const WIPE_WORD: &str = "wipe";

/// A contact.
pub const PEER_INTERFACE: &str = "org.kith.Messenger1.Peer1";

/// A room.
pub const ROOM_INTERFACE: &str = "org.kith.Messenger1.Room1";

/// The conversation with a contact, or in a room.
pub const CONVERSATION_INTERFACE: &str = "org.kith.Messenger1.Conversation1";

/// All received messages.
pub const INBOX_INTERFACE: &str = "org.kith.Messenger1.Inbox1";

/// A pairing that is under way.
pub const PAIRING_INTERFACE: &str = "org.kith.Messenger1.Pairing1";

/// Long work.
pub const TASK_INTERFACE: &str = "org.kith.Messenger1.Task1";

/// Digits of a room's id.
const ROOM_ID_CHARS: usize = 32;

/// Characters of a client id without hyphens.
const CLIENT_ID_CHARS: usize = 32;

/// Characters between the hyphens of a client id.
const CLIENT_ID_GROUP: usize = 4;

/// The path of the contact with this client id, written with or without hyphens, in any case.
///
/// # Errors
///
/// `None` if the text has not the length and the alphabet of a client id.
pub fn peer_path(client_id: &str) -> Option<OwnedObjectPath> {
    let bare: String = client_id.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    if !is_bare_client_id(&bare) {
        return None;
    }
    OwnedObjectPath::try_from(format!("{PEER_PREFIX}{bare}")).ok()
}

/// The client id, in groups of four, of the contact with this path.
pub fn client_id_of(path: &ObjectPath<'_>) -> Option<String> {
    let bare = path.as_str().strip_prefix(PEER_PREFIX)?;
    if !is_bare_client_id(bare) {
        return None;
    }
    let mut text = String::with_capacity(CLIENT_ID_CHARS + CLIENT_ID_CHARS / CLIENT_ID_GROUP);
    for (index, character) in bare.chars().enumerate() {
        if index > 0 && index % CLIENT_ID_GROUP == 0 {
            text.push('-');
        }
        text.push(character);
    }
    Some(text)
}

/// The path of the room with this id, 32 hexadecimal digits.
///
/// # Errors
///
/// `None` if the text is not one.
pub fn room_path(id: &str) -> Option<OwnedObjectPath> {
    let bare = id.to_ascii_lowercase();
    if !is_room_id(&bare) {
        return None;
    }
    OwnedObjectPath::try_from(format!("{ROOM_PREFIX}{bare}")).ok()
}

/// The id of the room with this path.
pub fn room_id_of(path: &ObjectPath<'_>) -> Option<String> {
    let id = path.as_str().strip_prefix(ROOM_PREFIX)?;
    is_room_id(id).then(|| id.to_owned())
}

/// The path of the pairing with this number.
pub fn pairing_path(number: u32) -> OwnedObjectPath {
    OwnedObjectPath::from(ObjectPath::from_string_unchecked(format!("{PAIRING_PREFIX}{number}")))
}

/// The number of the pairing with this path.
pub fn pairing_number_of(path: &ObjectPath<'_>) -> Option<u32> {
    path.as_str().strip_prefix(PAIRING_PREFIX)?.parse().ok()
}

/// The path of the task with this number.
pub fn task_path(number: u32) -> OwnedObjectPath {
    OwnedObjectPath::from(ObjectPath::from_string_unchecked(format!("{TASK_PREFIX}{number}")))
}

/// The number of the task with this path.
pub fn task_number_of(path: &ObjectPath<'_>) -> Option<u32> {
    path.as_str().strip_prefix(TASK_PREFIX)?.parse().ok()
}

fn is_room_id(text: &str) -> bool {
    text.len() == ROOM_ID_CHARS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_bare_client_id(text: &str) -> bool {
    text.len() == CLIENT_ID_CHARS && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "abcd-efgh-ijkl-mnop-qrst-uvwx-yz23-4567";

    #[test]
    fn a_client_id_becomes_a_path_and_comes_back() {
        let path = peer_path(ID).unwrap();
        assert_eq!(path.as_str(), "/org/kith/Messenger1/peer/abcdefghijklmnopqrstuvwxyz234567");
        assert_eq!(client_id_of(&path).unwrap(), ID);
    }

    #[test]
    fn case_and_hyphens_do_not_matter() {
        assert_eq!(peer_path("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"), peer_path(ID));
    }

    #[test]
    fn what_is_not_a_client_id_has_no_path() {
        for text in
            ["", "abcd", "abcd-efgh-ijkl-mnop-qrst-uvwx-yz23-456/", "abcd-efgh-ijkl-mnop-qrst-uvwx-yz23-4567a", "é"]
        {
            assert_eq!(peer_path(text), None, "{text}");
        }
        assert_eq!(client_id_of(&ObjectPath::from_static_str(INBOX_PATH).unwrap()), None);
    }

    #[test]
    fn a_room_id_becomes_a_path_and_comes_back() {
        let id = "00112233445566778899aabbccddeeff";
        let path = room_path(&id.to_uppercase()).unwrap();
        assert_eq!(room_id_of(&path).unwrap(), id);
        assert_eq!((room_path("0011"), room_id_of(&pairing_path(7))), (None, None));
    }

    #[test]
    fn a_pairing_number_becomes_a_path_and_comes_back() {
        let path = pairing_path(7);
        assert_eq!(path.as_str(), "/org/kith/Messenger1/pairing/7");
        assert_eq!(pairing_number_of(&path), Some(7));
        assert_eq!(pairing_number_of(&peer_path(ID).unwrap()), None);
    }

    #[test]
    fn a_task_number_becomes_a_path_and_comes_back() {
        let path = task_path(7);
        assert_eq!(path.as_str(), "/org/kith/Messenger1/task/7");
        assert_eq!((task_number_of(&path), task_number_of(&pairing_path(7))), (Some(7), None));
    }
}
