//! A loop behind the door that answers from memory, at once, in the order of the real one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use kith_crypto::identity::ClientId;
use kith_engine::{
    ConversationId, Direction, Event, Incarnation, LinkPath, LinkState, LoggingMode, LoggingNotice, MemberView,
    MessageId, MessageRecord, MessageState, NewMessage, PairingId, PairingState, PairingView, PeerView, Presence,
    Reply, Request, RequestError, RoomId, RoomState, RoomView, SignalingState, Trust,
};
use tokio::sync::{mpsc, oneshot};

use crate::backup::{BackupError, Plan};
use crate::handle::{Call, CallError, DaemonState, Desk, Handle, Read, Row, Status, door};
use crate::task::{Summary, SummaryValue, Task, TaskEnd, TaskId, TaskKind};

pub(super) const SECRET: &str = "open sesame";
pub(super) const URI: &str = "kith:aninvitethatnobodyelseshouldsee";
pub(super) const CODE: &str = "KQXRWA";
pub(super) const DIGITS: u32 = 7_042;
pub(super) const OWN: ClientId = ClientId::from_bytes([7; 20]);
pub(super) const HALL: ClientId = ClientId::from_bytes([1; 20]);
pub(super) const GATE: ClientId = ClientId::from_bytes([2; 20]);

/// What the loop takes for backups.
pub(super) const SEALED: &str = "{\"format\":\"kith sealed backup\"}\n";
pub(super) const IN_CLEAR: &str = "{\"format\":\"kith backup\"}\n";

/// What the store gives at once; small, so that clients have to ask for further pages.
const PAGE_ROWS: usize = 3;

type Act = Box<dyn FnOnce(&mut World) + Send>;

/// The test's hand on the loop.
#[derive(Clone)]
pub(super) struct Fake(mpsc::Sender<Act>);

/// All that the loop knows.
pub(super) struct World {
    desk: Option<Desk>,
    pub(super) state: DaemonState,
    pub(super) display_name: String,
    relay_only: bool,
    pub(super) peers: BTreeMap<ClientId, PeerView>,
    pub(super) rooms: BTreeMap<RoomId, RoomView>,
    pub(super) pairings: BTreeMap<PairingId, PairingView>,
    pub(super) history: BTreeMap<ConversationId, Vec<MessageRecord>>,
    pub(super) inbox: Vec<(ConversationId, u64)>,
    pub(super) acks: BTreeMap<String, u64>,
    pub(super) keys: BTreeMap<String, MessageId>,
    /// Whether what is sent arrives at once.
    pub(super) delivers: bool,
    pub(super) pin: Option<String>,
    wrong_pins: u32,
    /// What a check finds.
    pub(super) findings: Vec<String>,
    next_pairing: u32,
    next_message: u128,
}

/// Starts the loop. The contact `hall` is known, as soon as the store is open.
pub(super) fn start(state: DaemonState) -> (Handle, Fake) {
    let client_id = (state != DaemonState::NeedsSetUp).then_some(OWN);
    let (handle, desk) = door(Status { state, client_id });
    let mut world = World {
        desk: Some(desk),
        state,
        display_name: "porch".into(),
        relay_only: false,
        peers: BTreeMap::from([(HALL, peer(HALL, "hall"))]),
        rooms: BTreeMap::new(),
        pairings: BTreeMap::new(),
        history: BTreeMap::new(),
        inbox: Vec::new(),
        acks: BTreeMap::new(),
        keys: BTreeMap::new(),
        delivers: true,
        pin: None,
        wrong_pins: 0,
        findings: Vec::new(),
        next_pairing: 1,
        next_message: 1,
    };
    let (acts_in, mut acts) = mpsc::channel::<Act>(16);
    tokio::spawn(async move {
        loop {
            let Some(desk) = &mut world.desk else { return };
            tokio::select! {
                call = desk.calls.recv() => match call {
                    Some(call) => world.call(call),
                    None => return,
                },
                Some(act) = acts.recv() => act(&mut world),
            }
        }
    });
    (handle, Fake(acts_in))
}

pub(super) fn peer(peer: ClientId, name: &str) -> PeerView {
    PeerView {
        peer,
        name: name.into(),
        trust: Trust::Paired,
        blocked: false,
        presence: Presence::Online,
        link: LinkState::Up(LinkPath::Direct),
        seen_utc_ms: 1_700_000_000_000,
        last_seq: 0,
        unread: 0,
        expiry_s: 0,
        missing: 0,
    }
}

fn member(peer: ClientId) -> MemberView {
    let name = if peer == OWN { "porch" } else { "hall" };
    MemberView { peer, name: name.into(), present: peer != OWN }
}

impl Fake {
    /// Does something inside the loop, and waits until it is done.
    pub(super) async fn act<T: Send + 'static>(&self, act: impl FnOnce(&mut World) -> T + Send + 'static) -> T {
        let (done, result) = oneshot::channel();
        let act: Act = Box::new(|world| drop(done.send(act(world))));
        assert!(self.0.send(act).await.is_ok(), "the loop runs");
        result.await.unwrap()
    }
}

impl World {
    /// Ends the loop.
    pub(super) fn stop(&mut self) {
        self.desk = None;
    }

    pub(super) fn tell(&self, event: Event) {
        if let Some(desk) = &self.desk {
            let _ = desk.events.send(Arc::new(event));
        }
    }

    pub(super) fn set_state(&mut self, state: DaemonState) {
        self.state = state;
        if let Some(desk) = &self.desk {
            desk.status.send_replace(Status { state, client_id: Some(OWN) });
        }
    }

    pub(super) fn change_peer(&mut self, peer: ClientId, change: impl FnOnce(&mut PeerView)) {
        if let Some(view) = self.peers.get_mut(&peer) {
            change(view);
            self.tell(Event::Peer(self.peers[&peer].clone()));
        }
    }

    /// A message comes in.
    pub(super) fn receive(&mut self, peer: ClientId, content_type: &str, body: &[u8]) {
        let message = NewMessage {
            content_type: content_type.into(),
            body: body.to_vec(),
            reply_to: None,
            ttl_s: None,
            idempotency_key: None,
        };
        let (seq, id) = self.write(peer.into(), message, Direction::Incoming, MessageState::Delivered);
        self.inbox.push((peer.into(), seq));
        self.tell(Event::Received { conversation: peer.into(), peer, seq, inbox_seq: self.inbox.len() as u64, id });
        self.change_peer(peer, |view| (view.last_seq, view.unread) = (seq, view.unread + 1));
    }

    /// A member of a room says something.
    pub(super) fn receive_in_room(&mut self, room: RoomId, writer: ClientId, text: &str) {
        let message = NewMessage {
            content_type: "text/plain".into(),
            body: text.into(),
            reply_to: None,
            ttl_s: None,
            idempotency_key: None,
        };
        let direction = Direction::Member(writer);
        let (seq, id) = self.write(room.into(), message, direction, MessageState::Delivered);
        self.inbox.push((room.into(), seq));
        let inbox_seq = self.inbox.len() as u64;
        self.tell(Event::Received { conversation: room.into(), peer: writer, seq, inbox_seq, id });
        self.change_room(room, |view| (view.last_seq, view.unread) = (seq, view.unread + 1));
    }

    pub(super) fn change_room(&mut self, room: RoomId, change: impl FnOnce(&mut RoomView)) {
        if let Some(view) = self.rooms.get_mut(&room) {
            change(view);
            self.tell(Event::Room(self.rooms[&room].clone()));
        }
    }

    /// A queued message arrives.
    pub(super) fn deliver(&mut self, conversation: ConversationId, id: MessageId) {
        let rows = self.history.entry(conversation).or_default();
        let Some(row) = rows.iter_mut().find(|row| row.id == id) else { return };
        (row.state, row.done_utc_ms) = (MessageState::Delivered, 5);
        let seq = row.seq;
        self.tell(Event::MessageState { conversation, seq, id, state: MessageState::Delivered });
    }

    pub(super) fn end_pairing(&mut self, pairing: PairingId, state: PairingState) {
        if let Some(view) = self.pairings.remove(&pairing) {
            self.tell(Event::Pairing(PairingView { state, ..view }));
        }
    }

    /// The third wrong one has to wait.
    fn judge(&mut self, proof: &str) -> Result<(), CallError> {
        if proof == SECRET || self.pin.as_deref() == Some(proof) {
            self.wrong_pins = 0;
            return Ok(());
        }
        self.wrong_pins += 1;
        if self.wrong_pins < 3 { Err(CallError::WrongPin) } else { Err(CallError::WaitFor(4)) }
    }

    fn call(&mut self, call: Call) {
        let refusal = match self.state {
            DaemonState::NeedsSetUp => Err(CallError::NotSetUp),
            DaemonState::Locked => Err(CallError::Locked),
            DaemonState::Ready => Ok(()),
        };
        match call {
            Call::SetUp { secret: _, display_name, done } if self.state == DaemonState::NeedsSetUp => {
                self.display_name = display_name;
                // As the real loop does: the answer first, the status a little later.
                let _ = done.send(Ok(()));
                self.set_state(DaemonState::Ready);
            }
            Call::SetUp { done, .. } => drop(done.send(Err(CallError::AlreadySetUp))),
            Call::Unlock { secret, done } => self.unlock(&secret, done),
            Call::ChangeSecret { old, new: _, done } => {
                let wrong = if *old == SECRET { Ok(()) } else { Err(CallError::WrongSecret) };
                let _ = done.send(refusal.and(wrong));
            }
            Call::RotateKey { done } => {
                let _ = done.send(refusal.and_then(|()| self.rotate()));
            }
            Call::Lock { done } => {
                if self.state == DaemonState::Ready {
                    self.set_state(DaemonState::Locked);
                    self.pairings.clear();
                    self.next_pairing = 1;
                }
                let _ = done.send(Ok(()));
            }
            Call::Wipe { done } => {
                self.state = DaemonState::NeedsSetUp;
                if let Some(desk) = &self.desk {
                    desk.status.send_replace(Status { state: self.state, client_id: None });
                }
                let _ = done.send(Ok(()));
            }
            Call::Prove { proof, done } => drop(done.send(self.judge(&proof))),
            Call::SetPin { old, new, done } => {
                let judged = refusal.and_then(|()| old.map_or(Ok(()), |old| self.judge(&old)));
                if judged.is_ok() {
                    self.pin = Some(new.to_string()).filter(|pin| !pin.is_empty());
                    if let Some(desk) = &self.desk {
                        desk.pin_set.send_replace(self.pin.is_some());
                    }
                }
                let _ = done.send(judged);
            }
            Call::ChooseRetention { choice, done } => {
                if let (Ok(()), Some(desk), Some(days_max)) = (&refusal, &self.desk, choice.days_max) {
                    desk.retention.send_modify(|retention| retention.days_max = days_max);
                }
                let _ = done.send(refusal);
            }
            Call::Check { done } => {
                let begun = refusal.and_then(|()| match &self.desk {
                    Some(desk) => desk.tasks.begin(TaskKind::Check),
                    None => Err(CallError::Stopping),
                });
                let _ = done.send(begun.map(|task| {
                    let id = task.id();
                    task.end(TaskEnd::Done(Summary::from([
                        ("checked", SummaryValue::Number(7)),
                        ("damaged", SummaryValue::Number(self.findings.len() as u64)),
                        ("findings", SummaryValue::Texts(self.findings.clone())),
                    ])));
                    id
                }));
            }
            Call::Export { mut file, plain, done } => {
                let begun = refusal.and_then(|()| self.begin_task(TaskKind::Export));
                let _ = done.send(begun.map(|task| {
                    let id = task.id();
                    file.write_all(if plain { IN_CLEAR } else { SEALED }.as_bytes()).unwrap();
                    task.end(TaskEnd::Done(Summary::from([
                        ("contacts", SummaryValue::Number(1)),
                        ("messages", SummaryValue::Number(2)),
                        ("waiting", SummaryValue::Number(1)),
                        ("bytes", SummaryValue::Number(31)),
                        ("encrypted", SummaryValue::Flag(!plain)),
                    ])));
                    id
                }));
            }
            Call::Import { file, plan, done } => {
                let begun = if self.state == DaemonState::Locked { Err(CallError::Locked) } else { Ok(()) };
                let begun = begun.and_then(|()| self.begin_task(TaskKind::Import));
                let _ = done.send(begun.map(|task| {
                    let id = task.id();
                    let end = self.import(file, &plan);
                    task.end(end);
                    id
                }));
            }
            Call::Engine { request, done } => {
                let (reply, events) = match refusal.and_then(|()| Ok(self.request(request)?)) {
                    Ok((reply, events)) => (Ok(reply), events),
                    Err(error) => (Err(error), Vec::new()),
                };
                let _ = done.send(reply);
                events.into_iter().for_each(|event| self.later(event));
            }
            Call::Read { read, done } => drop(done.send(refusal.map(|()| self.read(&read)))),
            Call::Snapshot { done } => drop(done.send(refusal.map(|()| self.snapshot()))),
        }
    }

    fn begin_task(&self, kind: TaskKind) -> Result<Task, CallError> {
        self.desk.as_ref().ok_or(CallError::Stopping)?.tasks.begin(kind)
    }

    /// What a backup holds does not matter here.
    fn import(&mut self, mut file: File, plan: &Plan) -> TaskEnd {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let is_ready = self.state == DaemonState::Ready;
        let refused = match &plan.secret {
            _ if text != SEALED && text != IN_CLEAR => Some(BackupError::NotOne),
            _ if is_ready && !plan.replace && !plan.dry_run => Some(BackupError::NeedsReplace),
            None if !is_ready => Some(BackupError::NeedsSecret),
            Some(secret) if **secret != SECRET && text == SEALED => Some(BackupError::WrongSecret),
            _ => None,
        };
        if let Some(error) = refused {
            return error.into();
        }
        if !plan.dry_run {
            self.set_state(DaemonState::Ready);
        }
        TaskEnd::Done(Summary::from([
            ("client_id", SummaryValue::Text(OWN.to_string())),
            ("created_ms", SummaryValue::Number(1_700_000_000_000)),
            ("contacts", SummaryValue::Number(1)),
            ("messages", SummaryValue::Number(2)),
            ("waiting", SummaryValue::Number(1)),
            ("encrypted", SummaryValue::Flag(text == SEALED)),
            ("replaces", SummaryValue::Flag(is_ready)),
            ("dry_run", SummaryValue::Flag(plan.dry_run)),
        ]))
    }

    /// A task that ends at once.
    fn rotate(&self) -> Result<TaskId, CallError> {
        let task = self.begin_task(TaskKind::Rotation)?;
        let id = task.id();
        task.end(TaskEnd::Done(Summary::new()));
        Ok(id)
    }

    fn unlock(&mut self, secret: &str, done: oneshot::Sender<Result<(), CallError>>) {
        match (self.state, secret) {
            (DaemonState::NeedsSetUp, _) => drop(done.send(Err(CallError::NotSetUp))),
            (DaemonState::Ready, _) => drop(done.send(Ok(()))),
            (DaemonState::Locked, SECRET) => {
                let _ = done.send(Ok(()));
                self.set_state(DaemonState::Ready);
            }
            (DaemonState::Locked, "again") => drop(done.send(Err(CallError::WaitFor(30)))),
            (DaemonState::Locked, _) => drop(done.send(Err(CallError::WrongSecret))),
        }
    }

    /// The events that follow the reply; all others have been told before it.
    fn request(&mut self, request: Request) -> Result<(Reply, Vec<Later>), RequestError> {
        match request {
            Request::Invite { lifetime_s } if lifetime_s > 86_400 => {
                Err(RequestError::InvalidArgument("an invite lives 10 seconds to 24 hours"))
            }
            Request::Invite { lifetime_s } => {
                let pairing = self.begin(PairingState::Waiting, URI, u64::from(lifetime_s) * 1_000);
                Ok((Reply::Pairing(pairing), Vec::new()))
            }
            Request::Accept { uri, other_server } => match uri.as_str() {
                "kith:elsewhere" if !other_server => Err(RequestError::OtherServer("wss://b.example".into())),
                "kith:old" => Err(RequestError::InviteExpired),
                "kith:gate" | "kith:elsewhere" => {
                    let pairing = self.begin(PairingState::Connecting, "", 9);
                    Ok((Reply::Pairing(pairing), vec![Later::Paired(pairing, GATE)]))
                }
                _ => Err(RequestError::InvalidInvite("it does not begin with kith:")),
            },
            Request::Compare { code } => match code.as_deref() {
                None => {
                    let pairing = self.begin(PairingState::Waiting, "", 120_000);
                    self.pairings.entry(pairing).and_modify(|view| view.code = CODE.into());
                    self.tell(Event::Pairing(self.pairings[&pairing].clone()));
                    Ok((Reply::Pairing(pairing), Vec::new()))
                }
                Some(CODE) => {
                    let pairing = self.begin(PairingState::Comparing(DIGITS), "", 120_000);
                    Ok((Reply::Pairing(pairing), Vec::new()))
                }
                Some(_) => Err(RequestError::InvalidArgument("a code has six letters")),
            },
            Request::ConfirmPairing(pairing) => {
                let view = self.pairings.get(&pairing).ok_or(RequestError::NotFound)?;
                if !matches!(view.state, PairingState::Comparing(_)) {
                    return Err(RequestError::InvalidArgument("there are no digits to confirm"));
                }
                Ok((Reply::Done, vec![Later::Paired(pairing, GATE)]))
            }
            Request::CancelPairing(pairing) => {
                if !self.pairings.contains_key(&pairing) {
                    return Err(RequestError::NotFound);
                }
                self.end_pairing(pairing, PairingState::Failed("Cancelled.".into()));
                Ok((Reply::Done, Vec::new()))
            }
            Request::Send { conversation, message } => self.send(conversation, message),
            Request::MarkRead { conversation, seq: _ } => {
                match conversation {
                    ConversationId::Direct(peer) => self.change_peer(peer, |view| view.unread = 0),
                    ConversationId::Room(room) => self.change_room(room, |view| view.unread = 0),
                }
                Ok((Reply::Done, Vec::new()))
            }
            Request::AckInbox { consumer, seq } => {
                self.acks.insert(consumer, seq);
                Ok((Reply::Done, Vec::new()))
            }
            Request::RenamePeer { peer, name } => {
                self.change_peer(peer, |view| view.name = name.trim().into());
                Ok((Reply::Done, Vec::new()))
            }
            Request::MarkVerified { peer, verified } => {
                let trust = if verified { Trust::Verified } else { Trust::Paired };
                self.change_peer(peer, |view| view.trust = trust);
                Ok((Reply::Done, Vec::new()))
            }
            Request::SendReceipts(sends) => {
                self.tell(Event::SendsReceipts(sends));
                Ok((Reply::Done, Vec::new()))
            }
            Request::SetExpiry { conversation, seconds } => {
                match conversation {
                    ConversationId::Direct(peer) => self.change_peer(peer, |view| view.expiry_s = seconds),
                    ConversationId::Room(room) => self.change_room(room, |view| view.expiry_s = seconds),
                }
                Ok((Reply::Done, Vec::new()))
            }
            Request::Block { peer, blocked } => {
                self.change_peer(peer, |view| view.blocked = blocked);
                Ok((Reply::Done, Vec::new()))
            }
            Request::RemovePeer(peer) => {
                self.peers.remove(&peer).ok_or(RequestError::NotFound)?;
                self.tell(Event::PeerRemoved(peer));
                Ok((Reply::Done, Vec::new()))
            }
            Request::CreateRoom { name, members } => {
                let room = RoomId([self.rooms.len() as u8 + 1; 16]);
                let members = members.into_iter().chain([OWN]).map(member).collect();
                let state = RoomState::Joined;
                let view = RoomView {
                    room,
                    name,
                    state,
                    owner: OWN,
                    version: 1,
                    members,
                    last_seq: 0,
                    unread: 0,
                    expiry_s: 0,
                };
                self.rooms.insert(room, view.clone());
                self.tell(Event::Room(view));
                Ok((Reply::Room(room), Vec::new()))
            }
            Request::AddMember { room, peer } => {
                self.change_room(room, |view| view.members.push(member(peer)));
                Ok((Reply::Room(room), Vec::new()))
            }
            Request::RemoveMember { room, peer } => {
                self.change_room(room, |view| view.members.retain(|member| member.peer != peer));
                Ok((Reply::Room(room), Vec::new()))
            }
            Request::RenameRoom { room, name } => {
                self.change_room(room, |view| view.name = name);
                Ok((Reply::Room(room), Vec::new()))
            }
            Request::HandOver { room, peer } => {
                self.change_room(room, |view| view.owner = peer);
                Ok((Reply::Room(room), Vec::new()))
            }
            Request::LeaveRoom(room) => {
                let left = self.rooms.get(&room).ok_or(RequestError::NotFound)?;
                if left.owner == OWN && left.members.len() > 1 {
                    return Err(RequestError::OwnsRoom);
                }
                self.rooms.remove(&room);
                self.tell(Event::RoomRemoved(room));
                Ok((Reply::Done, Vec::new()))
            }
            Request::SetDisplayName(name) => {
                self.display_name = name.trim().into();
                self.tell(Event::DisplayName(self.display_name.clone()));
                Ok((Reply::Done, Vec::new()))
            }
            Request::SetRelayOnly(relay_only) => {
                self.relay_only = relay_only;
                self.tell(Event::RelayOnly(relay_only));
                Ok((Reply::Done, Vec::new()))
            }
            Request::SafetyNumber(_) => Ok((Reply::SafetyNumber(["12345"; 12].join(" ")), Vec::new())),
        }
    }

    fn begin(&mut self, state: PairingState, uri: &str, expires_utc_ms: u64) -> PairingId {
        let pairing = PairingId(self.next_pairing);
        self.next_pairing += 1;
        let view = PairingView { pairing, state, uri: uri.into(), code: String::new(), expires_utc_ms };
        self.pairings.insert(pairing, view.clone());
        self.tell(Event::Pairing(view));
        pairing
    }

    fn send(&mut self, conversation: ConversationId, message: NewMessage) -> Result<(Reply, Vec<Later>), RequestError> {
        if message.body.len() > 12_288 {
            return Err(RequestError::TooLarge);
        }
        if let ConversationId::Direct(peer) = conversation {
            let peer = self.peers.get(&peer).ok_or(RequestError::NotFound)?;
            if peer.trust == Trust::Pending {
                return Err(RequestError::NotPaired);
            }
            if peer.blocked {
                return Err(RequestError::Blocked);
            }
        }
        if let Some(id) = message.idempotency_key.as_ref().and_then(|key| self.keys.get(key)) {
            return Ok((Reply::Message(*id), Vec::new()));
        }
        let key = message.idempotency_key.clone();
        let (seq, id) = self.write(conversation, message, Direction::Outgoing, MessageState::Queued);
        self.keys.extend(key.map(|key| (key, id)));
        Ok((Reply::Message(id), vec![Later::Queued(conversation, seq, id)]))
    }

    fn write(
        &mut self,
        conversation: ConversationId,
        message: NewMessage,
        direction: Direction,
        state: MessageState,
    ) -> (u64, MessageId) {
        let rows = self.history.entry(conversation).or_default();
        let (seq, id) = (rows.len() as u64 + 1, MessageId(self.next_message.to_be_bytes()));
        self.next_message += 1;
        rows.push(MessageRecord {
            seq,
            id,
            direction,
            number: seq,
            incarnation: Incarnation([0; 16]),
            sent_utc_ms: 1_700_000_000_000 + seq,
            clock_trusted: true,
            done_utc_ms: if direction.is_incoming() { 4 } else { 0 },
            state,
            content_type: message.content_type,
            reply_to: message.reply_to,
            ttl_s: message.ttl_s,
            body: message.body,
        });
        (seq, id)
    }

    fn later(&mut self, later: Later) {
        match later {
            Later::Queued(conversation, seq, id) => {
                self.tell(Event::MessageState { conversation, seq, id, state: MessageState::Queued });
                match conversation {
                    ConversationId::Direct(peer) => self.change_peer(peer, |view| view.last_seq = seq),
                    ConversationId::Room(room) => self.change_room(room, |view| view.last_seq = seq),
                }
                if self.delivers {
                    self.deliver(conversation, id);
                }
            }
            Later::Paired(pairing, id) => {
                self.peers.insert(id, peer(id, "gate"));
                self.tell(Event::Peer(self.peers[&id].clone()));
                self.end_pairing(pairing, PairingState::Done(id));
            }
        }
    }

    fn read(&self, read: &Read) -> Vec<Row> {
        match read {
            Read::History { conversation, after, count_max } => {
                let rows = self.history.get(conversation).into_iter().flatten().filter(|row| row.seq > *after);
                let rows = rows.map(|message| Row {
                    conversation: *conversation,
                    inbox_seq: 0,
                    message: message.clone(),
                    read_by: Vec::new(),
                    is_read: false,
                });
                rows.take(PAGE_ROWS.min(*count_max as usize)).collect()
            }
            Read::Inbox { consumer, cursor, count_max } => {
                let cursor = self.acks.get(consumer).copied().unwrap_or_default().max(*cursor);
                let rows = (1..).zip(&self.inbox).filter(|(inbox_seq, _)| *inbox_seq > cursor);
                let rows = rows.map(|(inbox_seq, (conversation, seq))| Row {
                    conversation: *conversation,
                    inbox_seq,
                    message: self.history[conversation][*seq as usize - 1].clone(),
                    read_by: Vec::new(),
                    is_read: false,
                });
                rows.take(PAGE_ROWS.min(*count_max as usize)).collect()
            }
        }
    }

    fn snapshot(&self) -> Vec<Event> {
        let notice = LoggingNotice { mode: LoggingMode::Active, text: "Kept for a week.".into() };
        let mut events = vec![Event::DisplayName(self.display_name.clone())];
        events.extend([Event::Signaling(SignalingState::Online), Event::Notice(notice)]);
        events.push(Event::RelayOnly(self.relay_only));
        events.extend(self.peers.values().cloned().map(Event::Peer));
        events.extend(self.rooms.values().cloned().map(Event::Room));
        events.extend(self.pairings.values().cloned().map(Event::Pairing));
        events
    }
}

/// What happens after the reply.
enum Later {
    Queued(ConversationId, u64, MessageId),
    Paired(PairingId, ClientId),
}
