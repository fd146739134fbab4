//! The D-Bus contract of Kith, shared by the daemon that serves it and the programs that speak it:
//! names, values, rows, errors, client proxies and the introspection XML.
//!
//! Invariants:
//! - Enumerations are integers with 0 = unknown; a value that this crate does not know reads as
//!   unknown, so an older client survives a newer daemon.
//! - A reader ignores keys of a dictionary that it does not know; the daemon refuses options that
//!   it does not know, so that none is dropped in silence.
//! - No type here shows a secret or a message body in its `Debug`.
//!
//! Deliberately absent: decisions about messages, cryptography, and the sentences of the errors,
//! which the daemon writes and the client only shows.

mod access;
mod dict;
mod failure;
mod names;
mod proxy;
mod secret;
mod values;
mod xml;

pub use access::{ACTIONS, Action, action_of};
pub use dict::{
    AcceptOptions, CompareOptions, CreateRoomOptions, ExportOptions, ImportOptions, InviteOptions, Notice, Retention,
    RetentionChoice, RoomMember, Row, SendOptions, SetUpOptions,
};
pub use failure::{Failure, Refusal, RefusalName, Result};
pub use names::{
    CONVERSATION_INTERFACE, INBOX_INTERFACE, INBOX_PATH, MANAGER_INTERFACE, NO_OBJECT, PAIRING_INTERFACE,
    PAIRING_PREFIX, PEER_INTERFACE, PEER_PREFIX, ROOM_INTERFACE, ROOM_PREFIX, ROOT_PATH, SERVICE, TASK_INTERFACE,
    TASK_PREFIX, WIPE_WORD, client_id_of, pairing_number_of, pairing_path, peer_path, room_id_of, room_path,
    task_number_of, task_path,
};
pub use proxy::{
    Available, Conversation1Proxy, Finished, Inbox1Proxy, Intruder, Manager1Proxy, Pairing1Proxy, Peer1Proxy,
    Room1Proxy, StateChanged, StateChangedStream, Task1Proxy, Trouble,
};
pub use secret::Secret;
pub use values::{
    DaemonState, Direction, LinkState, LoggingMode, MessageState, PairingState, Presence, RoomState, Signaling,
    TaskKind, TaskState, Trust,
};
pub use xml::INTERFACES;
