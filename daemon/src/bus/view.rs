//! What properties show, which views are worth showing, and in what two of them differ.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kith_dbus as dbus;
use kith_engine::{ConversationId, Event, PairingState, PairingView, PeerView, RoomView};
use zbus::{OwnedObjectPath, Variant};

use super::error::refusal;
use super::map;
use crate::handle::{DaemonState, Status};
use crate::task::{SummaryValue, TaskEnd, TaskView};

/// The properties of one interface that have changed, with their new values.
pub(super) type Changes = HashMap<&'static str, Variant<'static>>;

/// What `Manager1` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ManagerView {
    pub(super) status: Status,
    pub(super) display_name: String,
    pub(super) signaling: dbus::Signaling,
    pub(super) notice: dbus::Notice,
    pub(super) unread: u64,
    pub(super) sends_receipts: bool,
    pub(super) retention: dbus::Retention,
    pub(super) pin_set: bool,
    pub(super) relay_only: bool,
}

impl ManagerView {
    /// Nothing but the status is known.
    pub(super) fn new(status: Status) -> Self {
        Self {
            status,
            display_name: String::new(),
            signaling: dbus::Signaling::Unknown,
            notice: dbus::Notice::default(),
            unread: 0,
            sends_receipts: false,
            retention: dbus::Retention::default(),
            pin_set: false,
            relay_only: false,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.status.state == DaemonState::Ready
    }

    pub(super) fn state(&self) -> dbus::DaemonState {
        map::daemon_state(self.status.state)
    }

    pub(super) fn client_id(&self) -> String {
        self.status.client_id.map(|id| id.to_string()).unwrap_or_default()
    }

    /// What has changed since `old`.
    pub(super) fn changes(&self, old: &Self) -> Changes {
        let mut changes = Changes::new();
        changed(&mut changes, "State", u32::from(old.state()), u32::from(self.state()));
        changed(&mut changes, "ClientId", old.client_id(), self.client_id());
        if !self.is_ready() {
            return changes;
        }
        changed(&mut changes, "DisplayName", old.display_name.clone(), self.display_name.clone());
        changed(&mut changes, "Signaling", u32::from(old.signaling), u32::from(self.signaling));
        changed(&mut changes, "Unread", old.unread, self.unread);
        changed(&mut changes, "PinSet", old.pin_set, self.pin_set);
        changed(&mut changes, "SendReceipts", old.sends_receipts, self.sends_receipts);
        changed(&mut changes, "RelayOnly", old.relay_only, self.relay_only);
        if self.notice != old.notice {
            changes.insert("LoggingNotice", notice_variant(&self.notice));
        }
        if self.retention != old.retention {
            changes.insert("Retention", retention_variant(&self.retention));
        }
        changes
    }

    /// Which properties no longer answer, as compared to `old`.
    pub(super) fn gone(&self, old: &Self) -> &'static [&'static str] {
        let became_locked = old.is_ready() && !self.is_ready();
        const GONE: &[&str] = &[
            "DisplayName",
            "Signaling",
            "LoggingNotice",
            "Unread",
            "SendReceipts",
            "Retention",
            "PinSet",
            "RelayOnly",
        ];
        if became_locked { GONE } else { &[] }
    }
}

/// What has changed on `Peer1`.
pub(super) fn peer_changes(old: &PeerView, new: &PeerView) -> Changes {
    let mut changes = Changes::new();
    changed(&mut changes, "Name", old.name.clone(), new.name.clone());
    changed(&mut changes, "Trust", u32::from(map::trust(old.trust)), u32::from(map::trust(new.trust)));
    changed(&mut changes, "Blocked", old.blocked, new.blocked);
    changed(&mut changes, "Presence", u32::from(map::presence(old.presence)), u32::from(map::presence(new.presence)));
    changed(&mut changes, "Link", u32::from(map::link(old.link)), u32::from(map::link(new.link)));
    changed(&mut changes, "LastSeen", old.seen_utc_ms, new.seen_utc_ms);
    changes
}

/// What has changed on `Conversation1`.
pub(super) fn conversation_changes(old: &PeerView, new: &PeerView) -> Changes {
    let mut changes = Changes::new();
    changed(&mut changes, "LastSeq", old.last_seq, new.last_seq);
    changed(&mut changes, "Unread", old.unread, new.unread);
    changed(&mut changes, "ExpirySeconds", old.expiry_s, new.expiry_s);
    changed(&mut changes, "Missing", old.missing, new.missing);
    changes
}

/// What has changed on `Room1`.
pub(super) fn room_changes(old: &RoomView, new: &RoomView) -> Changes {
    let mut changes = Changes::new();
    changed(&mut changes, "Name", old.name.clone(), new.name.clone());
    changed(&mut changes, "State", u32::from(map::room_state(old.state)), u32::from(map::room_state(new.state)));
    changed(&mut changes, "Owner", old.owner.to_string(), new.owner.to_string());
    changed(&mut changes, "Version", old.version, new.version);
    if old.members != new.members {
        changes.insert("Members", members_variant(new));
    }
    changes
}

/// What has changed on a room's `Conversation1`.
pub(super) fn room_conversation_changes(old: &RoomView, new: &RoomView) -> Changes {
    let mut changes = Changes::new();
    changed(&mut changes, "LastSeq", old.last_seq, new.last_seq);
    changed(&mut changes, "Unread", old.unread, new.unread);
    changed(&mut changes, "ExpirySeconds", old.expiry_s, new.expiry_s);
    changes
}

fn members_variant(view: &RoomView) -> Variant<'static> {
    let member = |member: dbus::RoomMember| -> Changes {
        HashMap::from([
            ("client_id", Variant::from(member.client_id)),
            ("name", Variant::from(member.name)),
            ("present", Variant::from(member.present)),
        ])
    };
    Variant::from(map::members(view).into_iter().map(member).collect::<Vec<_>>())
}

/// What has changed on `Pairing1`. The invite text is no property.
pub(super) fn pairing_changes(old: &PairingView, new: &PairingView) -> Changes {
    let mut changes = Changes::new();
    let state = |view: &PairingView| u32::from(map::pairing_state(&view.state));
    changed(&mut changes, "State", state(old), state(new));
    if pairing_peer(old) != pairing_peer(new) {
        changes.insert("Peer", Variant::from(pairing_peer(new).into_inner()));
    }
    changed(&mut changes, "Digits", pairing_digits(old), pairing_digits(new));
    changed(&mut changes, "Reason", pairing_reason(old), pairing_reason(new));
    changed(&mut changes, "Expires", old.expires_utc_ms, new.expires_utc_ms);
    changes
}

/// What has changed on `Task1`.
pub(super) fn task_changes(old: &TaskView, new: &TaskView) -> Changes {
    let mut changes = Changes::new();
    let state = |view: &TaskView| u32::from(map::task_state(&view.end));
    changed(&mut changes, "State", state(old), state(new));
    changed(&mut changes, "Done", old.done, new.done);
    changed(&mut changes, "Total", old.total, new.total);
    if old.end != new.end {
        changes.insert("Summary", Variant::from(task_summary(new)));
    }
    changes
}

/// What came of a task; of a failed one, the error's name and sentence.
pub(super) fn task_summary(view: &TaskView) -> Changes {
    match &view.end {
        None | Some(TaskEnd::Cancelled) => Changes::new(),
        Some(TaskEnd::Done(summary)) => summary.iter().map(|(key, value)| (*key, summary_variant(value))).collect(),
        Some(TaskEnd::Failed(error)) => {
            let refusal = refusal(error.clone());
            Changes::from([
                ("error", Variant::from(refusal.name.full())),
                ("sentence", Variant::from(refusal.sentence)),
            ])
        }
    }
}

fn summary_variant(value: &SummaryValue) -> Variant<'static> {
    match value {
        SummaryValue::Number(number) => Variant::from(*number),
        SummaryValue::Flag(flag) => Variant::from(*flag),
        SummaryValue::Text(text) => Variant::from(text.clone()),
        SummaryValue::Texts(texts) => Variant::from(texts.clone()),
    }
}

/// Whom a pairing has given.
pub(super) fn pairing_peer(view: &PairingView) -> OwnedObjectPath {
    match view.state {
        PairingState::Done(peer) => map::peer_path(peer),
        PairingState::Waiting
        | PairingState::Connecting
        | PairingState::Comparing(_)
        | PairingState::Confirmed
        | PairingState::Failed(_) => map::no_object(),
    }
}

/// The digits that a person is to compare.
pub(super) fn pairing_digits(view: &PairingView) -> String {
    match view.state {
        PairingState::Comparing(digits) => format!("{digits:06}"),
        PairingState::Waiting
        | PairingState::Connecting
        | PairingState::Confirmed
        | PairingState::Done(_)
        | PairingState::Failed(_) => String::new(),
    }
}

/// Why a pairing gave nobody.
pub(super) fn pairing_reason(view: &PairingView) -> String {
    match &view.state {
        PairingState::Failed(reason) => reason.clone(),
        PairingState::Waiting
        | PairingState::Connecting
        | PairingState::Comparing(_)
        | PairingState::Confirmed
        | PairingState::Done(_) => String::new(),
    }
}

/// Whether a pairing has ended.
pub(super) fn is_ended(view: &PairingView) -> bool {
    matches!(view.state, PairingState::Done(_) | PairingState::Failed(_))
}

fn changed<T: PartialEq + Into<Variant<'static>>>(changes: &mut Changes, name: &'static str, old: T, new: T) {
    if old != new {
        changes.insert(name, new.into());
    }
}

fn notice_variant(notice: &dbus::Notice) -> Variant<'static> {
    let map: HashMap<&'static str, Variant<'static>> =
        HashMap::from([("mode", Variant::from(u32::from(notice.mode))), ("text", Variant::from(notice.text.clone()))]);
    Variant::from(map)
}

fn retention_variant(retention: &dbus::Retention) -> Variant<'static> {
    let dbus::Retention { messages_max, bytes_max, total_messages_max, total_bytes_max, days_max } = *retention;
    let map: HashMap<&'static str, Variant<'static>> = HashMap::from([
        ("messages_max", Variant::from(messages_max)),
        ("bytes_max", Variant::from(bytes_max)),
        ("total_messages_max", Variant::from(total_messages_max)),
        ("total_bytes_max", Variant::from(total_bytes_max)),
        ("days_max", Variant::from(days_max)),
    ]);
    Variant::from(map)
}

/// Events without the views that a later one replaces; the first of an object that is not shown yet puts it up.
pub(super) fn latest(events: Vec<Arc<Event>>, is_shown: impl Fn(ConversationId) -> bool) -> Vec<Arc<Event>> {
    let mut later = BTreeSet::new();
    let is_latest = |event: &Arc<Event>| {
        let conversation = match &**event {
            Event::Peer(view) => view.peer.into(),
            Event::Room(view) => view.room.into(),
            _ => return true,
        };
        later.insert(conversation) || !is_shown(conversation)
    };
    let mut kept: Vec<_> = events.into_iter().rev().filter(is_latest).collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(state: DaemonState) -> ManagerView {
        ManagerView::new(Status { state, client_id: None })
    }

    #[test]
    fn locking_takes_away_what_only_an_open_store_knows() {
        let mut ready = view(DaemonState::Ready);
        ready.display_name = "hall".into();
        let locked = view(DaemonState::Locked);
        let changes = locked.changes(&ready);
        assert_eq!(changes.keys().collect::<Vec<_>>(), [&"State"]);
        assert_eq!(locked.gone(&ready).len(), 8);
        assert!(ready.gone(&locked).is_empty());
        assert!(ready.changes(&locked).contains_key("DisplayName"));
    }

    #[test]
    fn equal_views_change_nothing() {
        let ready = view(DaemonState::Ready);
        assert!(ready.changes(&ready.clone()).is_empty());
    }
}
