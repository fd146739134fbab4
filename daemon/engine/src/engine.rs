//! The engine: its state, its inputs, its outputs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use kith_crypto::identity::{ClientId, Identity};
use kith_crypto::room::RoomId;
use kith_crypto::session::RECORD_BYTES_MAX;
use rand_core::CryptoRng;

use crate::arrival::Repeated;
use crate::budget::Budget;
use crate::comparison::Runs;
use crate::conn::{Conn, Hearing, Stage};
use crate::contact::Contact;
use crate::dropped::Drops;
use crate::event::{Event, LinkState, SignalingState};
use crate::expiry::{Change, Expiries};
use crate::pairing::Pairing;
use crate::record::{
    ContactRecord, ConversationId, MessageId, MessageRecord, ProfileRecord, ReachRecord, RoomState, StandingRecord,
    StoredState,
};
use crate::room::Room;
use crate::roster::Adoption;
use crate::strand::{Inbounded, Lane, Sent};
use crate::{
    Commit, CommitError, CommitId, Effect, Expiring, Ice, LinkEvent, LinkId, Load, LoadId, Loaded, LoggingNotice, Now,
    Op, PairingId, Reply, Request, RequestError, RequestId, Signal, SignalOut,
};

/// The random source of an input.
pub(crate) type Rng<'a> = &'a mut dyn CryptoRng;

/// What the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The URLs of the signaling servers that this device uses, of which the first stands in invites.
    pub signaling_urls: Vec<String>,
    /// Use no direct path, so that no peer sees this device's address.
    pub relay_only: bool,
}

/// What to do when a commit is complete.
pub(crate) enum Pending {
    Sent { request: RequestId, conversation: ConversationId, to: Vec<ClientId>, message: MessageRecord },
    Delivered { lane: Lane, number: u64, sent: Sent },
    Received { lane: Lane },
    Accepted { request: RequestId, pairing: PairingId, contact: Option<ContactRecord> },
    Agreed { link: LinkId, pairing: PairingId, contact: ContactRecord },
    Introduced { link: LinkId, pairing: PairingId, contact: ContactRecord },
    Confirmed { peer: ClientId },
    Removed { request: Option<RequestId>, peer: ClientId, introduced: Option<ContactRecord> },
    Renamed { request: RequestId, peer: ClientId, before: String },
    Standing { request: RequestId, peer: ClientId, before: StandingRecord },
    Profile { request: RequestId, profile: ProfileRecord },
    Reach { request: RequestId, reach: ReachRecord },
    Roster(Box<Adoption>),
    LeftRoom { request: RequestId, room: RoomId },
    Expiry(Box<Change>),
    Expired(Vec<Expiring>),
    Reading { lane: Lane, before: u64, id: MessageId },
    Receipts { request: RequestId, before: bool },
    Done { request: RequestId },
    Seen,
}

/// What to do when a load is complete.
pub(crate) enum PendingLoad {
    Outbox { lane: Lane },
    Repeat { link: LinkId, repeated: Repeated },
    Twin { lane: Lane, id: MessageId },
    Read { request: RequestId, conversation: ConversationId, from: u64, seq: u64 },
    Expiring,
}

/// The messenger. See the crate's documentation for how to drive it.
pub struct Engine {
    pub(crate) identity: Arc<Identity>,
    pub(crate) own_id: ClientId,
    pub(crate) settings: Settings,
    pub(crate) profile: ProfileRecord,
    pub(crate) signaling: SignalingState,
    pub(crate) notice: Option<LoggingNotice>,
    /// Until when no more intruders are told of.
    pub(crate) intruder_told_until: u64,
    pub(crate) ice: Option<Ice>,
    /// When to ask for fresh credentials.
    pub(crate) ice_refresh_at: Option<u64>,
    pub(crate) contacts: BTreeMap<ClientId, Contact>,
    pub(crate) rooms: BTreeMap<RoomId, Room>,
    /// Rooms whose first roster is on its way to the disk.
    pub(crate) joining: BTreeSet<RoomId>,
    pub(crate) conns: BTreeMap<LinkId, Conn>,
    pub(crate) pairings: BTreeMap<PairingId, Pairing>,
    /// The comparisons of digits of the last minutes.
    pub(crate) runs: Runs,
    pub(crate) budget: Budget,
    pub(crate) drops: Drops,
    pub(crate) inbox_seq: u64,
    pub(crate) expiries: Expiries,
    /// Whether others are told what was read here.
    pub(crate) sends_receipts: bool,
    pending: BTreeMap<CommitId, Pending>,
    loads: BTreeMap<LoadId, PendingLoad>,
    next_link: u64,
    next_commit: u64,
    next_load: u64,
    pub(crate) next_pairing: u32,
    effects: VecDeque<Effect>,
    /// Where handshake messages, records and payloads are made before they go out.
    pub(crate) scratch: Vec<u8>,
}

/// Room for the largest record and the largest sealed payload.
const SCRATCH_BYTES: usize = RECORD_BYTES_MAX + 512;

impl Engine {
    /// Starts with what the store holds; observers hear of every contact.
    pub fn new(identity: Arc<Identity>, mut settings: Settings, stored: StoredState) -> Self {
        if let Some(reach) = stored.reach {
            settings.relay_only = reach.relay_only;
        }
        let contacts: BTreeMap<_, _> =
            stored.contacts.into_iter().map(|c| (c.contact.client_id(), Contact::new(c))).collect();
        let own_id = identity.client_id();
        // A roster was verified before it was stored; what is no roster is no room.
        let rooms =
            stored.rooms.into_iter().filter_map(|r| Some((r.record.room, Room::new(r, own_id).ok()?))).collect();
        let mut engine = Self {
            own_id,
            identity,
            settings,
            profile: stored.profile,
            signaling: SignalingState::Connecting,
            notice: None,
            intruder_told_until: 0,
            ice: None,
            ice_refresh_at: None,
            contacts,
            rooms,
            joining: BTreeSet::new(),
            conns: BTreeMap::new(),
            pairings: BTreeMap::new(),
            runs: Runs::default(),
            budget: Budget::default(),
            drops: Drops::default(),
            inbox_seq: stored.inbox_seq,
            expiries: Expiries::default(),
            sends_receipts: stored.sends_receipts,
            pending: BTreeMap::new(),
            loads: BTreeMap::new(),
            next_link: 1,
            next_commit: 1,
            next_load: 1,
            next_pairing: 1,
            effects: VecDeque::new(),
            scratch: vec![0; SCRATCH_BYTES],
        };
        for event in engine.snapshot() {
            engine.notify(event);
        }
        engine.find_expiring();
        engine
    }

    /// The present state as the events that would build it.
    pub fn snapshot(&self) -> Vec<Event> {
        let mut events = vec![
            Event::DisplayName(self.profile.display_name.clone()),
            Event::Signaling(self.signaling),
            Event::SendsReceipts(self.sends_receipts),
        ];
        events.push(Event::RelayOnly(self.settings.relay_only));
        events.extend(self.notice.clone().map(Event::Notice));
        events.extend(self.contacts.keys().filter_map(|peer| self.peer_view(*peer)).map(Event::Peer));
        let rooms = self.rooms.values().filter(|room| room.record.state != RoomState::Left);
        events.extend(rooms.map(Room::view).map(Event::Room));
        events.extend(self.pairings.iter().map(|(id, pairing)| Event::Pairing(pairing.view(*id))));
        events
    }

    /// How often the keys of the session with a contact were replaced; `None` without a session in use.
    pub fn key_generation(&self, peer: ClientId) -> Option<u64> {
        let current = self.contacts.get(&peer)?.current?;
        match &self.conns.get(&current)?.stage {
            Stage::Open(session) => Some(session.key_generation()),
            Stage::Negotiating | Stage::Handshaking(_) | Stage::Greeting(_) => None,
        }
    }

    /// The next thing to do. Call until `None` after every input.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`Engine::handle_timeout`], in milliseconds of the boot clock.
    pub fn poll_timeout(&self) -> Option<u64> {
        let conns = self.conns.values().map(Self::conn_timeout);
        let contacts = self.contacts.values().filter_map(|c| c.connect_at);
        let retries = self.retries().map(|(at, _)| at);
        let pairings = self.pairings.values().flat_map(Pairing::timeouts);
        conns
            .chain(contacts)
            .chain(retries)
            .chain(pairings)
            .chain(self.ice_refresh_at)
            .chain(self.expiries.look_at)
            .chain(self.drops.report_at)
            .min()
    }

    /// Something that was due by now.
    pub fn handle_timeout(&mut self, now: Now, rng: Rng<'_>) {
        let due = |at: u64| at <= now.boot_ms;
        if self.ice_refresh_at.is_some_and(due) {
            self.request_ice(now);
        }
        if self.drops.report_at.is_some_and(due) {
            self.report_dropped(now);
        }
        if self.expiries.look_at.is_some_and(due) {
            self.expire(now);
        }
        let links: Vec<_> = self.conns.iter().filter(|(_, c)| due(Self::conn_timeout(c))).map(|(l, _)| *l).collect();
        for link in links {
            self.conn_due(link, now, rng);
        }
        let pairings: Vec<_> =
            self.pairings.iter().filter(|(_, p)| p.timeouts().into_iter().any(due)).map(|(id, _)| *id).collect();
        for pairing in pairings {
            self.pairing_due(pairing, now, rng);
        }
        let peers: Vec<_> =
            self.contacts.iter().filter(|(_, c)| c.connect_at.is_some_and(due)).map(|(p, _)| *p).collect();
        for peer in peers {
            self.connect(peer, now, rng);
        }
        let lanes: Vec<_> = self.retries().filter(|(at, _)| due(*at)).map(|(_, lane)| lane).collect();
        for lane in lanes {
            self.retry_delivered(lane, now);
        }
    }

    /// A program on this device asks for something.
    pub fn handle_request(&mut self, id: RequestId, request: Request, now: Now, rng: Rng<'_>) {
        let refused = match request {
            Request::Invite { lifetime_s } => self.invite(id, lifetime_s, now, rng),
            Request::Accept { uri, other_server } => self.accept(id, &uri, other_server, now, rng),
            Request::Compare { code } => self.compare(id, code.as_deref(), now, rng),
            Request::ConfirmPairing(pairing) => self.confirm_digits(id, pairing, now, rng),
            Request::CancelPairing(pairing) => self.cancel_pairing(id, pairing, rng),
            Request::Send { conversation, message } => self.send(id, conversation, message, now, rng),
            Request::MarkRead { conversation, seq } => self.mark_read(id, conversation, seq),
            Request::SendReceipts(sends) => self.send_receipts(id, sends),
            Request::SetExpiry { conversation, seconds } => self.set_expiry(id, conversation, seconds),
            Request::AckInbox { consumer, seq } => self.ack_inbox(id, consumer, seq),
            Request::RenamePeer { peer, name } => self.rename(id, peer, name),
            Request::MarkVerified { peer, verified } => self.mark_verified(id, peer, verified),
            Request::Block { peer, blocked } => self.block(id, peer, blocked),
            Request::RemovePeer(peer) => self.remove(id, peer, rng),
            Request::CreateRoom { name, members } => self.create_room(id, name, members, now, rng),
            Request::AddMember { room, peer } => self.add_member(id, room, peer, now, rng),
            Request::RemoveMember { room, peer } => self.remove_member(id, room, peer, now, rng),
            Request::RenameRoom { room, name } => self.rename_room(id, room, name, now, rng),
            Request::HandOver { room, peer } => self.hand_over(id, room, peer, now, rng),
            Request::LeaveRoom(room) => self.leave_room(id, room),
            Request::SetDisplayName(name) => self.set_display_name(id, name),
            Request::SetRelayOnly(relay_only) => self.set_relay_only(id, relay_only),
            Request::SafetyNumber(peer) => self.safety_number(id, peer),
        };
        if let Err(error) = refused {
            self.reply(id, Err(error));
        }
    }

    /// The signaling server says something.
    pub fn handle_signal(&mut self, signal: Signal, now: Now, rng: Rng<'_>) {
        match signal {
            Signal::Connected(notice) => self.connected(notice, now, rng),
            Signal::Disconnected => self.disconnected(SignalingState::Connecting, now, rng),
            Signal::Refused(why) => self.disconnected(SignalingState::Refused(why), now, rng),
            Signal::Intruder => self.intruder(now),
            Signal::Notice(notice) => self.take_notice(notice),
            Signal::Presence { peer, online } => self.presence(peer, online, now, rng),
            Signal::RoomPresence { room, peer, present } => {
                self.show_card(room, peer, present);
                self.room_presence(room, peer, present, now, rng);
            }
            Signal::RoomFull(room) => self.room_full(room, rng),
            Signal::Relayed { from, via, payload } => self.relayed(from, via, payload, now, rng),
            Signal::Undelivered { to, via, no_such_invite } => self.undelivered(to, via, no_such_invite, now, rng),
            Signal::Ice(ice) => self.take_ice(ice, now),
        }
    }

    /// A link reports.
    pub fn handle_link(&mut self, link: LinkId, event: LinkEvent, now: Now, rng: Rng<'_>) {
        match event {
            LinkEvent::Local(words) => self.tell_peer(link, words, rng),
            LinkEvent::Up { own_fingerprint, remote_fingerprint, path } => {
                self.link_up(link, own_fingerprint, remote_fingerprint, path, now, rng);
            }
            LinkEvent::Path(path) => {
                if let Some(conn) = self.conns.get_mut(&link) {
                    conn.path = path;
                    let peer = conn.peer;
                    self.notify_peer(peer);
                }
            }
            LinkEvent::Silent => self.hear(link, Hearing::Silent, now, rng),
            LinkEvent::Heard => self.hear(link, Hearing::Heard, now, rng),
            LinkEvent::Moved => self.hear(link, Hearing::Moved, now, rng),
            LinkEvent::Broken(why) => self.break_off(link, &why, now, rng),
            LinkEvent::Down(why) => self.link_down(link, &why, now, rng),
        }
    }

    /// A message came on a link's data channel. It is opened in place.
    pub fn handle_frame(&mut self, link: LinkId, message: &mut [u8], now: Now, rng: Rng<'_>) {
        match self.conns.get(&link).map(|c| &c.stage) {
            None => {}
            Some(Stage::Negotiating) => self.break_off(link, "it sent a message before the channel was open", now, rng),
            Some(Stage::Handshaking(_)) => self.handshake_message(link, message, now, rng),
            Some(Stage::Greeting(_)) => self.greeting(link, message, now, rng),
            Some(Stage::Open(_)) => self.record(link, message, now, rng),
        }
    }

    /// A commit is on disk, or was refused. Completions come in the order of the commits.
    pub fn handle_committed(&mut self, id: CommitId, result: Result<(), CommitError>, now: Now, rng: Rng<'_>) {
        match self.pending.remove(&id) {
            None | Some(Pending::Seen) => {}
            Some(Pending::Sent { request, conversation, to, message }) => {
                self.message_queued(request, conversation, to, message, result, now, rng)
            }
            Some(Pending::Delivered { lane, number, sent }) => self.message_delivered(lane, number, sent, result, now),
            Some(Pending::Received { lane }) => self.messages_received(lane, id, result, now, rng),
            Some(Pending::Accepted { request, pairing, contact }) => {
                self.accepted(request, pairing, contact, result, now, rng)
            }
            Some(Pending::Agreed { link, pairing, contact }) => {
                self.agreement_stored(link, pairing, contact, result, now, rng)
            }
            Some(Pending::Introduced { link, pairing, contact }) => {
                self.introduced(link, pairing, contact, result, now, rng)
            }
            Some(Pending::Confirmed { peer }) => self.confirmed(peer, result),
            Some(Pending::Removed { request, peer, introduced }) => {
                self.removed(request, peer, introduced, result, now, rng);
            }
            Some(Pending::Roster(adoption)) => self.adopted(*adoption, result, now, rng),
            Some(Pending::LeftRoom { request, room }) => self.room_left(request, room, result, now, rng),
            Some(Pending::Renamed { request, peer, before }) => self.renamed(request, peer, before, result),
            Some(Pending::Standing { request, peer, before }) => {
                self.standing_written(request, peer, before, result, now, rng);
            }
            Some(Pending::Expiry(change)) => self.expiry_written(*change, result, now, rng),
            Some(Pending::Reading { lane, before, id }) => self.reading_written(lane, before, id, result),
            Some(Pending::Receipts { request, before }) => self.receipts_written(request, before, result),
            Some(Pending::Expired(expired)) => self.expired(expired, result, now),
            Some(Pending::Profile { request, profile }) => self.profile_written(request, profile, result),
            Some(Pending::Reach { request, reach }) => self.reach_written(request, reach, result, now, rng),
            Some(Pending::Done { request }) => {
                self.reply(request, result.map(|()| Reply::Done).map_err(RequestError::from))
            }
        }
    }

    /// A load is complete.
    pub fn handle_loaded(&mut self, id: LoadId, loaded: Loaded, now: Now, rng: Rng<'_>) {
        match self.loads.remove(&id) {
            None => {}
            Some(PendingLoad::Outbox { lane }) => self.outbox_loaded(lane, id, loaded, now, rng),
            Some(PendingLoad::Repeat { link, repeated }) => self.repeat_loaded(link, repeated, loaded, now, rng),
            Some(PendingLoad::Twin { lane, id }) => self.twin_loaded(lane, id, loaded, now, rng),
            Some(PendingLoad::Read { request, conversation, from, seq }) => {
                self.read_counted(request, conversation, from, seq, loaded, now, rng);
            }
            Some(PendingLoad::Expiring) => self.expiring_found(loaded, now),
        }
    }

    pub(crate) fn commit(&mut self, ops: Vec<Op>, pending: Pending) -> CommitId {
        let id = CommitId(self.next_commit);
        self.next_commit += 1;
        self.pending.insert(id, pending);
        self.effects.push_back(Effect::Commit(Commit { id, ops }));
        id
    }

    /// Whether a contact's removal is on its way to the disk.
    pub(crate) fn is_removing(&self, peer: ClientId) -> bool {
        self.pending
            .values()
            .any(|pending| matches!(pending, Pending::Removed { peer: removed, .. } if *removed == peer))
    }

    pub(crate) fn load(&mut self, load: Load, pending: PendingLoad) -> LoadId {
        let id = LoadId(self.next_load);
        self.next_load += 1;
        self.loads.insert(id, pending);
        self.effects.push_back(Effect::Load(id, load));
        id
    }

    pub(crate) fn new_link(&mut self) -> LinkId {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        link
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(crate) fn signal(&mut self, signal: SignalOut) {
        self.effects.push_back(Effect::Signal(signal));
    }

    pub(crate) fn notify(&mut self, event: Event) {
        self.effects.push_back(Effect::Notify(event));
    }

    pub(crate) fn reply(&mut self, request: RequestId, result: Result<Reply, RequestError>) {
        self.effects.push_back(Effect::Reply(request, result));
    }

    pub(crate) fn trouble(&mut self, peer: ClientId, text: &str) {
        self.notify(Event::Trouble { peer, text: text.to_owned() });
    }

    /// Sends the first `length` bytes of the scratch buffer on a link.
    pub(crate) fn transmit_scratch(&mut self, link: LinkId, length: usize) {
        let message = self.scratch.get(..length).unwrap_or_default().to_vec();
        self.effects.push_back(Effect::Transmit(link, message));
    }

    pub(crate) fn peer_view(&self, peer: ClientId) -> Option<crate::PeerView> {
        let contact = self.contacts.get(&peer).filter(|contact| !contact.is_introduced())?;
        let link =
            contact.current.and_then(|link| self.conns.get(&link)).map_or(LinkState::None, |c| LinkState::Up(c.path));
        Some(contact.view(peer, link))
    }

    pub(crate) fn notify_peer(&mut self, peer: ClientId) {
        if let Some(view) = self.peer_view(peer) {
            self.notify(Event::Peer(view));
        }
    }
}

/// What `Inbounded` needs when it is written.
pub(crate) fn inbox_ops(lane: Lane, inbox_seq: u64, message: &Inbounded) -> [Op; 3] {
    let Lane { conversation, peer } = lane;
    [
        Op::ClaimId { conversation, peer, id: message.id },
        Op::PutMessage(conversation, message.message.clone()),
        Op::PutInbox { inbox_seq, conversation, peer, seq: message.message.seq },
    ]
}

impl From<CommitError> for RequestError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Full => Self::StorageFull,
            CommitError::Failed(why) => Self::Storage(why),
            CommitError::Repeated(_) | CommitError::Conflict(_) => Self::Storage(error.to_string()),
        }
    }
}
