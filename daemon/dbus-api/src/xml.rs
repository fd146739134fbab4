//! The introspection XML, as it is installed under `dbus-1/interfaces`.

/// Each interface's name and its XML.
pub const INTERFACES: &[(&str, &str)] = &[
    (crate::MANAGER_INTERFACE, include_str!("../xml/org.kith.Messenger1.Manager1.xml")),
    (crate::PEER_INTERFACE, include_str!("../xml/org.kith.Messenger1.Peer1.xml")),
    (crate::ROOM_INTERFACE, include_str!("../xml/org.kith.Messenger1.Room1.xml")),
    (crate::CONVERSATION_INTERFACE, include_str!("../xml/org.kith.Messenger1.Conversation1.xml")),
    (crate::INBOX_INTERFACE, include_str!("../xml/org.kith.Messenger1.Inbox1.xml")),
    (crate::PAIRING_INTERFACE, include_str!("../xml/org.kith.Messenger1.Pairing1.xml")),
    (crate::TASK_INTERFACE, include_str!("../xml/org.kith.Messenger1.Task1.xml")),
];
