//! What of the interfaces is subject to which action of polkit.

use crate::{
    CONVERSATION_INTERFACE as CONVERSATION, INBOX_INTERFACE as INBOX, MANAGER_INTERFACE as MANAGER,
    PAIRING_INTERFACE as PAIRING, PEER_INTERFACE as PEER, ROOM_INTERFACE as ROOM, TASK_INTERFACE as TASK,
};

/// What somebody may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Read messages, and mark them as read.
    Read,
    /// Send messages.
    Send,
    /// Pair with other devices, and say how far they are trusted.
    Pair,
    /// Change settings, contacts and rooms; lock and unlock.
    Manage,
    /// Write and read backups.
    Backup,
    /// Destroy everything.
    Wipe,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Read, Self::Send, Self::Pair, Self::Manage, Self::Backup, Self::Wipe];

    /// Its name in polkit.
    pub fn id(self) -> &'static str {
        match self {
            Self::Read => "org.kith.messenger1.read",
            Self::Send => "org.kith.messenger1.send",
            Self::Pair => "org.kith.messenger1.pair",
            Self::Manage => "org.kith.messenger1.manage",
            Self::Backup => "org.kith.messenger1.backup",
            Self::Wipe => "org.kith.messenger1.wipe",
        }
    }
}

/// Each method and each writable property, by interface, with the one action that it is subject to. What is not in
/// here, nobody may call; reading a property needs no action, since properties are broadcast.
pub const ACTIONS: &[(&str, &str, Action)] = &[
    (MANAGER, "SetUp", Action::Manage),
    (MANAGER, "Unlock", Action::Manage),
    (MANAGER, "ChangeSecret", Action::Manage),
    (MANAGER, "RotateKey", Action::Manage),
    (MANAGER, "Lock", Action::Manage),
    (MANAGER, "Check", Action::Manage),
    (MANAGER, "Wipe", Action::Wipe),
    (MANAGER, "Elevate", Action::Read),
    (MANAGER, "StepDown", Action::Read),
    (MANAGER, "SetPin", Action::Manage),
    (MANAGER, "Export", Action::Backup),
    (MANAGER, "Import", Action::Backup),
    (MANAGER, "Invite", Action::Pair),
    (MANAGER, "Accept", Action::Pair),
    (MANAGER, "Compare", Action::Pair),
    (MANAGER, "CreateRoom", Action::Manage),
    (MANAGER, "DisplayName", Action::Manage),
    (MANAGER, "Retention", Action::Manage),
    (MANAGER, "SendReceipts", Action::Manage),
    (MANAGER, "RelayOnly", Action::Manage),
    (PEER, "SafetyNumber", Action::Read),
    (PEER, "MarkVerified", Action::Pair),
    (PEER, "Remove", Action::Manage),
    (PEER, "Name", Action::Manage),
    (PEER, "Blocked", Action::Manage),
    (ROOM, "Add", Action::Manage),
    (ROOM, "Remove", Action::Manage),
    (ROOM, "Rename", Action::Manage),
    (ROOM, "HandOver", Action::Manage),
    (ROOM, "Leave", Action::Manage),
    (CONVERSATION, "Send", Action::Send),
    (CONVERSATION, "List", Action::Read),
    (CONVERSATION, "MarkRead", Action::Read),
    (CONVERSATION, "ExpirySeconds", Action::Manage),
    (INBOX, "Fetch", Action::Read),
    (INBOX, "Ack", Action::Read),
    (PAIRING, "Cancel", Action::Pair),
    (PAIRING, "Uri", Action::Pair),
    (PAIRING, "Code", Action::Pair),
    (PAIRING, "Confirm", Action::Pair),
    (TASK, "Cancel", Action::Manage),
];

/// The action that a method or a writable property of an interface is subject to.
pub fn action_of(interface: &str, member: &str) -> Option<Action> {
    ACTIONS.iter().find(|(of, name, _)| *of == interface && *name == member).map(|(_, _, action)| *action)
}
