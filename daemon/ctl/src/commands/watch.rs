//! Watching: messages by a durable cursor, and what changes.
//!
//! Signals come on one connection and calls go over another: a page of messages that takes long
//! must not keep the connection from reading the signals that wait behind it.

use std::collections::{BTreeMap, HashMap};

use futures_util::StreamExt as _;
use kith_dbus::{
    CONVERSATION_INTERFACE, DaemonState, Failure, INBOX_INTERFACE, Inbox1Proxy, LoggingMode, MANAGER_INTERFACE,
    MessageState, PAIRING_INTERFACE, PEER_INTERFACE, PairingState, ROOM_INTERFACE, ROOT_PATH, RefusalName, Row,
    SERVICE, Signaling, client_id_of, pairing_number_of, room_id_of,
};
use serde_json::{Value, json};
use zbus::fdo::{DBusProxy, NameOwnerChangedStream};
use zbus::message::Type;
use zbus::names::OwnedUniqueName;
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedObjectPath, OwnedVariant};

use super::{manage, message, peers, rooms};
use crate::arguments::Arguments;
use crate::bus::{self, Peer, Room};
use crate::console::Console;
use crate::error::CommandError;
use crate::text::safe;

/// The name under which messages are fetched that nobody acknowledges.
const PASSER_BY: &str = "kithctl";

/// Messages fetched at once; the daemon may answer with fewer.
const PAGE_ROWS: u32 = 64;

type Properties = HashMap<String, OwnedVariant>;

/// Where a reader stands.
pub(super) struct Reader {
    consumer: String,
    /// Messages after this place come next; none while only new ones are wanted and none has come.
    cursor: Option<u64>,
    ack: bool,
}

impl Reader {
    /// One that the messenger knows by a name goes on where it was, and so does one that says where that is.
    pub(super) fn new(consumer: Option<&str>, after: Option<u64>, ack: bool) -> Self {
        Self { consumer: consumer.unwrap_or(PASSER_BY).to_owned(), cursor: after.or(consumer.map(|_| 0)), ack }
    }
}

struct Watch<'a, 'b> {
    console: &'a mut Console<'b>,
    json: bool,
    calls: Connection,
    /// Whose signals count. Any process can send signals that look like the daemon's.
    owner: Option<OwnedUniqueName>,
    reader: Reader,
    /// By client id.
    peers: BTreeMap<String, Peer>,
    /// By id.
    rooms: BTreeMap<String, Room>,
}

pub(super) async fn watch(
    arguments: &Arguments,
    console: &mut Console<'_>,
    reader: Reader,
) -> Result<(), CommandError> {
    let ears = bus::connect(arguments).await?;
    let calls = bus::connect(arguments).await?;
    // Before anything is asked, so that nothing falls between the answers and the signals.
    let rule = MatchRule::builder().msg_type(Type::Signal).sender(SERVICE).path_namespace(ROOT_PATH).build()?;
    let signals = MessageStream::for_match_rule(rule, &ears, None).await?;
    let owners = DBusProxy::new(&ears).await?.receive_name_owner_changed_with_args(&[(0, SERVICE)]).await?;
    bus::require_ready(&calls).await?;
    let owner = DBusProxy::new(&calls).await?.get_name_owner(SERVICE.try_into()?).await?;
    let (peers, rooms) = (BTreeMap::new(), BTreeMap::new());
    let mut watch = Watch { console, json: arguments.json, calls, owner: Some(owner), reader, peers, rooms };
    tokio::select! {
        ended = watch.run(signals, owners) => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

impl Watch<'_, '_> {
    async fn run(
        &mut self,
        mut signals: MessageStream,
        mut owners: NameOwnerChangedStream,
    ) -> Result<(), CommandError> {
        tolerate(self.catch_up().await)?;
        loop {
            tokio::select! {
                biased;
                changed = owners.next() => {
                    let Some(changed) = changed else { return Err(closed()) };
                    self.owner = changed.args()?.new_owner.as_ref().map(|owner| owner.to_owned().into());
                    tolerate(self.owner_changed().await)?;
                }
                signal = signals.next() => match signal {
                    Some(signal) => tolerate(self.signal(&signal?).await)?,
                    None => return Err(closed()),
                },
            }
        }
    }

    /// A daemon that comes back is mostly locked; one that only lost the bus is ready at once.
    async fn owner_changed(&mut self) -> Result<(), CommandError> {
        self.peers.clear();
        self.rooms.clear();
        if self.owner.is_none() {
            return self.event(&json!({ "event": "daemon", "state": "gone" }), "The daemon is gone.");
        }
        match bus::manager(&self.calls).await?.state().await? {
            DaemonState::Ready => self.catch_up().await,
            state => self.not_ready(state),
        }
    }

    fn not_ready(&mut self, state: DaemonState) -> Result<(), CommandError> {
        let line = format!("The messenger is {}.", state.word());
        self.event(&json!({ "event": "daemon", "state": state.word() }), &line)
    }

    /// Shows the present state, then what this reader has not had.
    async fn catch_up(&mut self) -> Result<(), CommandError> {
        let manager = bus::manager(&self.calls).await?;
        let (state, signaling) = (manager.state().await?, manager.signaling().await?);
        self.event(&json!({ "event": "daemon", "state": state.word() }), "The messenger is ready.")?;
        self.signaling(signaling)?;
        for peer in bus::peers(&self.calls).await? {
            self.peer(&peer)?;
            self.peers.insert(peer.client_id.clone(), peer);
        }
        for room in bus::rooms(&self.calls).await? {
            self.room(&room)?;
            self.rooms.insert(room.id.clone(), room);
        }
        self.fetch().await
    }

    async fn signal(&mut self, signal: &Message) -> Result<(), CommandError> {
        let header = signal.header();
        let (Some(path), Some(interface), Some(member)) = (header.path(), header.interface(), header.member()) else {
            return Ok(());
        };
        if header.sender() != self.owner.as_deref() {
            return Ok(());
        }
        let body = signal.body();
        match (interface.as_str(), member.as_str()) {
            (INBOX_INTERFACE, "Available") => self.available(body.deserialize()?).await,
            (CONVERSATION_INTERFACE, "StateChanged") => {
                let (id, state) = body.deserialize()?;
                self.message_state(&path.to_owned().into(), id, state)
            }
            (CONVERSATION_INTERFACE, "Read") => {
                let (reader, id) = body.deserialize()?;
                self.read(&path.to_owned().into(), reader, id)
            }
            (CONVERSATION_INTERFACE, "Disappeared") => self.disappeared(&path.to_owned().into(), &body.deserialize()?),
            (PEER_INTERFACE, "Trouble") => self.trouble(&path.to_owned().into(), body.deserialize()?),
            (MANAGER_INTERFACE, "Intruder") => {
                self.event(&json!({ "event": "intruder" }), "WARNING: another device tried to use this identity.")
            }
            ("org.freedesktop.DBus.Properties", "PropertiesChanged") => {
                let (interface, properties, _): (String, Properties, Vec<String>) = body.deserialize()?;
                self.changed(path.to_owned().into(), &interface, properties).await
            }
            ("org.freedesktop.DBus.ObjectManager", "InterfacesAdded") => {
                let (path, interfaces): (OwnedObjectPath, HashMap<String, Properties>) = body.deserialize()?;
                for (interface, properties) in interfaces {
                    self.changed(path.clone(), &interface, properties).await?;
                }
                Ok(())
            }
            ("org.freedesktop.DBus.ObjectManager", "InterfacesRemoved") => {
                let (path, interfaces): (OwnedObjectPath, Vec<String>) = body.deserialize()?;
                if interfaces.iter().any(|interface| interface == PEER_INTERFACE) {
                    self.removed(&path)
                } else if interfaces.iter().any(|interface| interface == ROOM_INTERFACE) {
                    self.room_removed(&path)
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        }
    }

    async fn changed(
        &mut self,
        path: OwnedObjectPath,
        interface: &str,
        properties: Properties,
    ) -> Result<(), CommandError> {
        match interface {
            MANAGER_INTERFACE => self.manager_changed(properties).await,
            PAIRING_INTERFACE => self.pairing_changed(&path, &properties),
            ROOM_INTERFACE => self.room_changed(path, properties),
            PEER_INTERFACE | CONVERSATION_INTERFACE => self.peer_changed(path, interface, properties),
            _ => Ok(()),
        }
    }

    async fn manager_changed(&mut self, mut properties: Properties) -> Result<(), CommandError> {
        if let Some(state) = number(&mut properties, "State").map(DaemonState::from) {
            if state == DaemonState::Ready {
                return self.catch_up().await;
            }
            self.peers.clear();
            self.rooms.clear();
            self.not_ready(state)?;
        }
        if let Some(signaling) = number(&mut properties, "Signaling").map(Signaling::from) {
            self.signaling(signaling)?;
        }
        if let Some(notice) = properties.remove("LoggingNotice") {
            let mut notice = Properties::try_from(notice)?;
            let mode = number(&mut notice, "mode").map(LoggingMode::from).unwrap_or_default();
            let text = notice.remove("text").and_then(|text| String::try_from(text).ok()).unwrap_or_default();
            let line = format!("The signaling server's log: {}.", manage::log_notice(mode, &text));
            self.event(&json!({ "event": "notice", "mode": mode.word(), "text": text }), &line)?;
        }
        Ok(())
    }

    fn signaling(&mut self, signaling: Signaling) -> Result<(), CommandError> {
        let line = format!("Signaling server: {}.", signaling.word());
        self.event(&json!({ "event": "signaling", "state": signaling.word() }), &line)
    }

    fn pairing_changed(&mut self, path: &OwnedObjectPath, properties: &Properties) -> Result<(), CommandError> {
        let state = properties.get("State").and_then(|state| u32::try_from(state).ok());
        let (Some(state), Some(pairing)) = (state.map(PairingState::from), pairing_number_of(path)) else {
            return Ok(());
        };
        let line = format!("Pairing {pairing}: {}.", state.word());
        self.event(&json!({ "event": "pairing", "pairing": pairing, "state": state.word() }), &line)
    }

    fn peer_changed(
        &mut self,
        path: OwnedObjectPath,
        interface: &str,
        properties: Properties,
    ) -> Result<(), CommandError> {
        let Some(fresh) = Peer::new(path) else { return Ok(()) };
        let old = self.peers.get(&fresh.client_id).cloned();
        let mut new = old.clone().unwrap_or(fresh);
        new.apply(interface, properties);
        self.peers.insert(new.client_id.clone(), new.clone());
        let shown = |peer: &Peer| (peer.name.clone(), peer.trust, peer.presence, peer.link);
        // The conversation's properties may be announced a moment before the contact's own.
        let is_news = interface == PEER_INTERFACE && old.is_none_or(|old| shown(&old) != shown(&new));
        if is_news { self.peer(&new) } else { Ok(()) }
    }

    fn room_changed(&mut self, path: OwnedObjectPath, properties: Properties) -> Result<(), CommandError> {
        let Some(fresh) = Room::new(path) else { return Ok(()) };
        let mut room = self.rooms.remove(&fresh.id).unwrap_or(fresh);
        room.apply(ROOM_INTERFACE, properties);
        self.room(&room)?;
        self.rooms.insert(room.id.clone(), room);
        Ok(())
    }

    fn room(&mut self, room: &Room) -> Result<(), CommandError> {
        let mut value = room.json();
        value["event"] = json!("room");
        self.event(&value, &format!("Room {}: {}.", safe(&room.name), rooms::description(room)))
    }

    fn room_removed(&mut self, path: &OwnedObjectPath) -> Result<(), CommandError> {
        let Some(room) = room_id_of(path).and_then(|id| self.rooms.remove(&id)) else { return Ok(()) };
        let line = format!("The room {} is not shown any more.", safe(&room.name));
        self.event(&json!({ "event": "room-removed", "room": room.id }), &line)
    }

    fn removed(&mut self, path: &OwnedObjectPath) -> Result<(), CommandError> {
        let Some(peer) = client_id_of(path).and_then(|id| self.peers.remove(&id)) else { return Ok(()) };
        let line = format!("{} is not shown any more.", safe(&peer.name));
        self.event(&json!({ "event": "peer-removed", "peer": peer.client_id }), &line)
    }

    fn peer(&mut self, peer: &Peer) -> Result<(), CommandError> {
        let mut value = peer.json();
        value["event"] = json!("peer");
        self.event(&value, &format!("{}: {}.", safe(&peer.name), peers::description(peer)))
    }

    fn message_state(&mut self, path: &OwnedObjectPath, id: &str, state: MessageState) -> Result<(), CommandError> {
        let line = format!("To {}: {} {}.", self.name(path), safe(id), state.word());
        let (peer, room) = (client_id_of(path), room_id_of(path));
        let value = json!({ "event": "state", "peer": peer, "room": room, "id": id, "state": state.word() });
        self.event(&value, &line)
    }

    fn read(&mut self, path: &OwnedObjectPath, reader: &str, id: &str) -> Result<(), CommandError> {
        let line = format!("With {}: {} has read {} and all before it.", self.name(path), safe(reader), safe(id));
        let (peer, room) = (client_id_of(path), room_id_of(path));
        self.event(&json!({ "event": "read", "peer": peer, "room": room, "by": reader, "id": id }), &line)
    }

    fn disappeared(&mut self, path: &OwnedObjectPath, seqs: &Vec<u64>) -> Result<(), CommandError> {
        let line = format!("With {}: {} messages have disappeared.", self.name(path), seqs.len());
        let (peer, room) = (client_id_of(path), room_id_of(path));
        self.event(&json!({ "event": "disappeared", "peer": peer, "room": room, "seqs": seqs }), &line)
    }

    fn trouble(&mut self, path: &OwnedObjectPath, text: &str) -> Result<(), CommandError> {
        let line = format!("{}: {}", self.name(path), safe(text));
        self.event(&json!({ "event": "trouble", "peer": client_id_of(path), "text": text }), &line)
    }

    async fn available(&mut self, seq: u64) -> Result<(), CommandError> {
        // Without a name of its own, a reader begins with the first message that it hears of.
        self.reader.cursor.get_or_insert(seq.saturating_sub(1));
        if self.reader.cursor.is_some_and(|cursor| cursor < seq) { self.fetch().await } else { Ok(()) }
    }

    /// Shows all messages after the cursor, and acknowledges what has been written.
    async fn fetch(&mut self) -> Result<(), CommandError> {
        let inbox = Inbox1Proxy::new(&self.calls).await?;
        while let Some(cursor) = self.reader.cursor {
            let rows = inbox.fetch(&self.reader.consumer, cursor, PAGE_ROWS).await?;
            let Some(last) = rows.last().map(|row| row.inbox_seq) else { break };
            for row in &rows {
                let name = self.writer(row);
                let mut value = message::json(row);
                value["event"] = json!("message");
                self.event(&value, &message::line(row, &name))?;
            }
            self.reader.cursor = Some(last.max(cursor + 1));
            if self.reader.ack {
                inbox.ack(&self.reader.consumer, last).await?;
            }
        }
        Ok(())
    }

    /// Who wrote a message, and in which room.
    fn writer(&self, row: &Row) -> String {
        let room = row.room.as_ref().and_then(|room| room_id_of(room));
        match room.and_then(|id| self.rooms.get(&id)) {
            Some(room) => {
                format!("{} in {}", room.member_name(client_id_of(&row.peer).unwrap_or_default()), room.name)
            }
            None => self.at(&row.peer).map(|peer| peer.name.clone()).unwrap_or_default(),
        }
    }

    fn at(&self, path: &OwnedObjectPath) -> Option<&Peer> {
        client_id_of(path).and_then(|id| self.peers.get(&id))
    }

    fn name(&self, path: &OwnedObjectPath) -> String {
        match self.at(path) {
            Some(peer) => safe(&peer.name),
            None => match room_id_of(path).and_then(|id| self.rooms.get(&id)) {
                Some(room) => safe(&room.name),
                None => client_id_of(path).unwrap_or_default(),
            },
        }
    }

    fn event(&mut self, value: &Value, line: &str) -> Result<(), CommandError> {
        self.console.result(self.json, value, line)
    }
}

fn number(properties: &mut Properties, name: &str) -> Option<u32> {
    properties.remove(name).and_then(|value| u32::try_from(value).ok())
}

/// A daemon that is locked or goes away in the middle of an answer says so by other signals.
fn tolerate(result: Result<(), CommandError>) -> Result<(), CommandError> {
    match result {
        Err(CommandError::Failure(Failure::NotReachable(_) | Failure::NoObject)) => Ok(()),
        Err(CommandError::Failure(Failure::Refused(refusal)))
            if matches!(refusal.name, RefusalName::Locked | RefusalName::NotSetUp | RefusalName::Stopping) =>
        {
            Ok(())
        }
        result => result,
    }
}

fn closed() -> CommandError {
    Failure::NotReachable("the bus closed the connection".to_owned()).into()
}
