//! The engine's words in the words of the bus: exhaustive, without decisions.

use kith_crypto::identity::ClientId;
use kith_dbus as dbus;
use kith_engine::{
    ConversationId, Direction, LinkPath, LinkState, LoggingMode, LoggingNotice, MemberView, MessageId, MessageState,
    PairingId, PairingState, Presence, RefusedBy, RequestError, RoomId, RoomState, RoomView, SignalingState, Trust,
};
use zbus::{ObjectPath, OwnedObjectPath};

use crate::config;
use crate::handle::{CallError, DaemonState, Row};
use crate::store::RetentionChoice;
use crate::task::{TaskEnd, TaskId, TaskKind};

pub(super) fn daemon_state(state: DaemonState) -> dbus::DaemonState {
    match state {
        DaemonState::NeedsSetUp => dbus::DaemonState::NeedsSetUp,
        DaemonState::Locked => dbus::DaemonState::Locked,
        DaemonState::Ready => dbus::DaemonState::Ready,
    }
}

pub(super) fn retention(retention: &config::Retention) -> dbus::Retention {
    let config::Retention { messages_max, bytes_max, total_messages_max, total_bytes_max, days_max } = *retention;
    dbus::Retention { messages_max, bytes_max, total_messages_max, total_bytes_max, days_max }
}

pub(super) fn retention_choice(choice: &dbus::RetentionChoice) -> RetentionChoice {
    let dbus::RetentionChoice { messages_max, bytes_max, total_messages_max, total_bytes_max, days_max } = *choice;
    RetentionChoice { messages_max, bytes_max, total_messages_max, total_bytes_max, days_max }
}

pub(super) fn signaling(state: SignalingState) -> dbus::Signaling {
    match state {
        SignalingState::Connecting => dbus::Signaling::Connecting,
        SignalingState::Online => dbus::Signaling::Online,
        SignalingState::Refused(RefusedBy::BadLogin) => dbus::Signaling::BadLogin,
        SignalingState::Refused(RefusedBy::IdentityInUse) => dbus::Signaling::IdentityInUse,
        SignalingState::Refused(RefusedBy::Version) => dbus::Signaling::UnsupportedVersion,
        SignalingState::Refused(RefusedBy::Busy) => dbus::Signaling::Busy,
    }
}

pub(super) fn notice(notice: &LoggingNotice) -> dbus::Notice {
    let mode = match notice.mode {
        LoggingMode::Active => dbus::LoggingMode::Active,
        LoggingMode::Disabled => dbus::LoggingMode::Disabled,
        LoggingMode::Debug => dbus::LoggingMode::Debug,
    };
    dbus::Notice { mode, text: notice.text.clone() }
}

pub(super) fn trust(trust: Trust) -> dbus::Trust {
    match trust {
        Trust::Pending => dbus::Trust::Pending,
        Trust::Paired => dbus::Trust::Paired,
        Trust::Verified => dbus::Trust::Verified,
    }
}

pub(super) fn presence(presence: Presence) -> dbus::Presence {
    match presence {
        Presence::Offline => dbus::Presence::Offline,
        Presence::Online => dbus::Presence::Online,
    }
}

pub(super) fn link(link: LinkState) -> dbus::LinkState {
    match link {
        LinkState::None => dbus::LinkState::None,
        LinkState::Up(LinkPath::Direct) => dbus::LinkState::Direct,
        LinkState::Up(LinkPath::Relayed) => dbus::LinkState::Relayed,
    }
}

pub(super) fn message_state(state: MessageState) -> dbus::MessageState {
    match state {
        MessageState::Queued => dbus::MessageState::Queued,
        MessageState::Delivered => dbus::MessageState::Delivered,
    }
}

pub(super) fn pairing_state(state: &PairingState) -> dbus::PairingState {
    match state {
        PairingState::Waiting => dbus::PairingState::Waiting,
        PairingState::Connecting => dbus::PairingState::Connecting,
        PairingState::Comparing(_) => dbus::PairingState::Comparing,
        PairingState::Confirmed => dbus::PairingState::Confirmed,
        PairingState::Done(_) => dbus::PairingState::Done,
        PairingState::Failed(_) => dbus::PairingState::Failed,
    }
}

pub(super) fn task_kind(kind: TaskKind) -> dbus::TaskKind {
    match kind {
        TaskKind::Export => dbus::TaskKind::Export,
        TaskKind::Import => dbus::TaskKind::Import,
        TaskKind::Check => dbus::TaskKind::Check,
        TaskKind::Rotation => dbus::TaskKind::Rotation,
        TaskKind::Sealing => dbus::TaskKind::Sealing,
    }
}

pub(super) fn task_state(end: &Option<TaskEnd>) -> dbus::TaskState {
    match end {
        None => dbus::TaskState::Running,
        Some(TaskEnd::Done(_)) => dbus::TaskState::Done,
        Some(TaskEnd::Failed(_)) => dbus::TaskState::Failed,
        Some(TaskEnd::Cancelled) => dbus::TaskState::Cancelled,
    }
}

fn direction(direction: Direction) -> dbus::Direction {
    match direction {
        Direction::Outgoing => dbus::Direction::Outgoing,
        Direction::Incoming | Direction::Member(_) => dbus::Direction::Incoming,
    }
}

/// The object of a contact.
pub(super) fn peer_path(peer: ClientId) -> OwnedObjectPath {
    dbus::peer_path(&peer.to_string()).unwrap_or_else(no_object)
}

/// The object of a room.
pub(super) fn room_path(room: RoomId) -> OwnedObjectPath {
    dbus::room_path(&format!("{:032x}", u128::from_be_bytes(room.0))).unwrap_or_else(no_object)
}

/// The object of a conversation.
pub(super) fn conversation_path(conversation: ConversationId) -> OwnedObjectPath {
    match conversation {
        ConversationId::Direct(peer) => peer_path(peer),
        ConversationId::Room(room) => room_path(room),
    }
}

/// The device that an object path names, whether or not there is an object.
pub(super) fn parse_peer(path: &ObjectPath<'_>) -> Result<ClientId, CallError> {
    let id = dbus::client_id_of(path).and_then(|id| id.parse().ok());
    id.ok_or_else(|| RequestError::InvalidArgument("a device is named by the path of a contact's object").into())
}

pub(super) fn room_state(state: RoomState) -> dbus::RoomState {
    match state {
        RoomState::Joined => dbus::RoomState::Joined,
        RoomState::Removed | RoomState::Left => dbus::RoomState::Removed,
        RoomState::Frozen => dbus::RoomState::Frozen,
    }
}

pub(super) fn members(view: &RoomView) -> Vec<dbus::RoomMember> {
    let member = |member: &MemberView| dbus::RoomMember {
        client_id: member.peer.to_string(),
        name: member.name.clone(),
        present: member.present,
    };
    view.members.iter().map(member).collect()
}

/// The object of a pairing.
pub(super) fn pairing_path(pairing: PairingId) -> OwnedObjectPath {
    dbus::pairing_path(pairing.0)
}

/// The object of a task.
pub(super) fn task_path(task: TaskId) -> OwnedObjectPath {
    dbus::task_path(task.0)
}

/// What stands where there is no object.
pub(super) fn no_object() -> OwnedObjectPath {
    ObjectPath::from_static_str_unchecked(dbus::NO_OBJECT).into()
}

/// A message's name in hexadecimal digits.
pub(super) fn message_id(id: MessageId) -> String {
    format!("{:032x}", u128::from_be_bytes(id.0))
}

/// Reads a message's name.
pub(super) fn parse_message_id(text: &str) -> Result<MessageId, CallError> {
    let is_hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match u128::from_str_radix(text, 16) {
        Ok(number) if is_hex => Ok(MessageId(number.to_be_bytes())),
        _ => Err(RequestError::InvalidArgument("a message id has 32 hexadecimal digits").into()),
    }
}

/// One row of a page.
pub(super) fn row(row: Row) -> dbus::Row {
    let message = row.message;
    let state = if row.is_read { dbus::MessageState::Read } else { message_state(message.state) };
    let in_room = matches!(row.conversation, ConversationId::Room(_));
    let read_by = row.read_by.iter().map(ClientId::to_string).collect();
    let (peer, room) = match (row.conversation, message.direction) {
        (ConversationId::Direct(peer), _) => (peer_path(peer), None),
        (ConversationId::Room(room), Direction::Member(writer)) => (peer_path(writer), Some(room_path(room))),
        (ConversationId::Room(room), Direction::Outgoing | Direction::Incoming) => (no_object(), Some(room_path(room))),
    };
    dbus::Row {
        seq: message.seq,
        id: message_id(message.id),
        peer,
        room,
        direction: direction(message.direction),
        state,
        sent_ms: message.sent_utc_ms,
        clock_trusted: message.clock_trusted,
        done_ms: message.done_utc_ms,
        content_type: message.content_type,
        body: message.body,
        reply_to: message.reply_to.map(message_id),
        ttl_s: message.ttl_s,
        inbox_seq: row.inbox_seq,
        read_by: (in_room && message.direction == Direction::Outgoing).then_some(read_by),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_comes_back() {
        let id = MessageId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff]);
        assert_eq!(message_id(id), "000102030405060708090a0b0c0d0eff");
        assert_eq!(parse_message_id("000102030405060708090A0b0c0d0eff").unwrap(), id);
        for text in ["", "+0102030405060708090a0b0c0d0eff1", "000102030405060708090a0b0c0d0ef", "é"] {
            assert!(parse_message_id(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_client_id_has_a_path() {
        let path = peer_path(ClientId::from_bytes([0xff; 20]));
        assert_eq!(dbus::client_id_of(&path).unwrap(), ClientId::from_bytes([0xff; 20]).to_string());
    }
}
