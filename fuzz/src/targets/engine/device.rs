//! The device under test: its engine, what the engine has asked for, and what has to hold of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kith_crypto::identity::ClientId;
use kith_crypto::invite::InviteSecret;
use kith_crypto::sealed::{HEADER_BYTES, Header, PayloadKind, SessionId};
use kith_crypto::session::RECORD_BYTES_MAX;
use kith_crypto::version::Version;
use kith_engine::invite::Invite;
use kith_engine::{
    Commit, CommitError, ContactRecord, ContactState, ConversationRecord, Direction, Effect, Engine, Event,
    Incarnation, LinkEvent, LinkId, LinkPath, LinkRole, Load, LoadId, Loaded, LoggingMode, LoggingNotice, Mark,
    MessageId, MessageRecord, MissingRecord, Negotiation, Now, Op, PairingId, ProfileRecord, Request, RequestId,
    Settings, Signal, SignalOut, StandingRecord, StoredContact, StoredState, Via,
};
use rand_chacha::ChaCha20Rng;

use super::peer::{FINGERPRINTS, Peer, Relation};
use crate::known;

/// In the first byte of an input: the device was restored from a backup.
pub(super) const RESTORED: u8 = 4;
const URL: &str = "wss://signal.example:8443";
/// The most that one input may make the engine do: all that a full window of messages entails.
const EFFECTS_MAX: usize = 1_024;
/// The timers that one wait serves as they become due, some of which cost a new connection; then it skips to its end.
const TIMERS_MAX: usize = 16;
/// The longest payload that a server relays (docs/protocol.md §3.3).
const RELAY_BYTES_MAX: usize = 32_768;

pub(super) struct Device {
    pub(super) engine: Engine,
    pub(super) peer: Peer,
    pub(super) now: Now,
    pub(super) rng: ChaCha20Rng,
    /// The latest link, if it is open, and who offered.
    pub(super) link: Option<(LinkId, LinkRole)>,
    /// Whether the latest link's channel is open.
    is_up: bool,
    pub(super) commits: VecDeque<Commit>,
    pub(super) loads: VecDeque<(LoadId, Load)>,
    /// Payloads on their way to the peer.
    payloads: VecDeque<Vec<u8>>,
    /// What is on disk, by id.
    stored: BTreeMap<MessageId, MessageRecord>,
    outbox: BTreeMap<u64, MessageRecord>,
    /// Messages that the peer's session has carried, honest or not.
    said: BTreeSet<MessageId>,
    pub(super) pairing: PairingId,
    next_request: u64,
}

impl Device {
    /// A device with a contact, or about to pair, that is connected to the server.
    pub(super) fn begin(mode: u8) -> Self {
        let relation = match mode % 4 {
            0 | 1 => Relation::Contact,
            2 => Relation::Invitee,
            _ => Relation::Inviter,
        };
        let contacts = if relation == Relation::Contact { vec![contact(mode & RESTORED != 0)] } else { Vec::new() };
        let profile = ProfileRecord { display_name: "Anna".to_owned(), incarnation: Incarnation([1; 16]) };
        let settings = Settings { signaling_urls: vec![URL.to_owned()], relay_only: false };
        let stored =
            StoredState { reach: None, profile, contacts, rooms: Vec::new(), inbox_seq: 0, sends_receipts: true };
        let mut device = Self {
            engine: Engine::new(known::anna(), settings, stored),
            peer: Peer::new(relation, known::invite_keys()),
            now: Now { boot_ms: 1_000, utc_ms: 1_800_000_000_000, clock_trusted: true },
            rng: known::seeded(6),
            link: None,
            is_up: false,
            commits: VecDeque::new(),
            loads: VecDeque::new(),
            payloads: VecDeque::new(),
            stored: BTreeMap::new(),
            outbox: BTreeMap::new(),
            said: BTreeSet::new(),
            pairing: PairingId(0),
            next_request: 1,
        };
        device.signal(Signal::Connected(LoggingNotice { mode: LoggingMode::Active, text: String::new() }));
        match relation {
            Relation::Contact if mode % 4 == 1 => {
                device.offer(PayloadKind::Offer);
                device.online(true);
            }
            Relation::Contact => device.online(true),
            Relation::Invitee => {
                device.request(Request::Invite { lifetime_s: 600 });
                device.offer(PayloadKind::FirstOffer);
            }
            Relation::Inviter => {
                let request = Request::Accept { uri: berts_invite(), other_server: false };
                device.request(request);
            }
        }
        device
    }

    pub(super) fn online(&mut self, online: bool) {
        let peer = self.peer.identity.client_id();
        self.signal(Signal::Presence { peer, online });
    }

    /// Under which right the peer's payloads come.
    pub(super) fn via(&self) -> Via {
        match self.peer.relation {
            Relation::Contact => Via::Contact,
            Relation::Invitee | Relation::Inviter => Via::Invite(self.peer.keys.token),
        }
    }

    /// The peer offers.
    pub(super) fn offer(&mut self, kind: PayloadKind) {
        self.peer.attempt = SessionId([self.peer.attempt.0[0].wrapping_add(1); 16]);
        let header = Header { kind, session: self.peer.attempt, index: 0 };
        self.relay(header, Version::OWN, b"offer");
    }

    /// A payload that the peer seals as it ought to.
    pub(super) fn relay(&mut self, header: Header, version: Version, body: &[u8]) {
        if let Some(payload) = self.peer.seal(header, version, body) {
            let (from, via) = (self.peer.identity.client_id(), self.via());
            self.signal(Signal::Relayed { from, via, payload });
        }
    }

    pub(super) fn signal(&mut self, signal: Signal) {
        self.engine.handle_signal(signal, self.now, &mut self.rng);
        self.drain();
    }

    pub(super) fn request(&mut self, request: Request) {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.engine.handle_request(id, request, self.now, &mut self.rng);
        self.drain();
    }

    pub(super) fn frame(&mut self, mut message: Vec<u8>) {
        if let Some((link, _)) = self.link {
            self.engine.handle_frame(link, &mut message, self.now, &mut self.rng);
            self.drain();
        }
    }

    pub(super) fn link_event(&mut self, event: LinkEvent) {
        if let Some((link, _)) = self.link {
            self.engine.handle_link(link, event, self.now, &mut self.rng);
            self.drain();
        }
    }

    /// Time passes; what is due by then is done, as it becomes due.
    pub(super) fn wait(&mut self, ms: u64) {
        let until = self.now.boot_ms.saturating_add(ms);
        for _ in 0..TIMERS_MAX {
            let due = self.engine.poll_timeout().filter(|at| *at <= until);
            self.set_clock(due.unwrap_or(until).max(self.now.boot_ms));
            self.engine.handle_timeout(self.now, &mut self.rng);
            self.drain();
            let next = self.engine.poll_timeout();
            assert!(next.is_none_or(|at| at > self.now.boot_ms), "a timer that was served is due again at once");
            if due.is_none() {
                return;
            }
        }
        self.set_clock(until);
        self.engine.handle_timeout(self.now, &mut self.rng);
        self.drain();
    }

    fn set_clock(&mut self, boot_ms: u64) {
        let passed = boot_ms - self.now.boot_ms;
        self.now.boot_ms = boot_ms;
        self.now.utc_ms = self.now.utc_ms.saturating_add(passed);
    }

    /// The next thing that an honest world would do; whether there was one.
    pub(super) fn go_on(&mut self) -> bool {
        if let Some(commit) = self.commits.front() {
            let taken = self.taken(commit);
            self.commit(taken.map_or(Ok(()), |id| Err(CommitError::Conflict(id))));
        } else if let Some((id, load)) = self.loads.pop_front() {
            let loaded = self.look_up(&load);
            self.loaded(id, loaded);
        } else if let Some(message) = self.peer.arriving.pop_front() {
            self.frame(message);
        } else if let Some(payload) = self.payloads.pop_front() {
            self.peer_reads(&payload);
        } else if !self.is_up && self.link.is_some() {
            self.link_up();
        } else {
            return false;
        }
        true
    }

    /// The link's channel is open on both sides.
    fn link_up(&mut self) {
        let Some((_, role)) = self.link else { return };
        self.is_up = true;
        self.peer.link_up(role);
        let [own_fingerprint, remote_fingerprint] = FINGERPRINTS;
        self.link_event(LinkEvent::Up { own_fingerprint, remote_fingerprint, path: LinkPath::Direct });
    }

    /// The peer answers an offer.
    fn peer_reads(&mut self, payload: &[u8]) {
        let Ok(header) = Header::peek(payload) else { return };
        if matches!(header.kind, PayloadKind::Offer | PayloadKind::FirstOffer) {
            self.peer.attempt = header.session;
            self.relay(Header { kind: PayloadKind::Answer, index: 0, ..header }, Version::OWN, b"answer");
        }
    }

    /// An id that a commit claims and a stored message has.
    fn taken(&self, commit: &Commit) -> Option<MessageId> {
        commit.ops.iter().find_map(|op| match op {
            Op::ClaimId { id, .. } if self.stored.contains_key(id) => Some(*id),
            _ => None,
        })
    }

    pub(super) fn commit(&mut self, result: Result<(), CommitError>) {
        let Some(commit) = self.commits.pop_front() else { return };
        if result.is_ok() {
            commit.ops.into_iter().for_each(|op| self.store(op));
        }
        self.engine.handle_committed(commit.id, result, self.now, &mut self.rng);
        self.drain();
    }

    fn store(&mut self, op: Op) {
        match op {
            Op::PutMessage(_, message) => {
                if message.direction == Direction::Outgoing {
                    self.outbox.insert(message.number, message.clone());
                }
                self.stored.insert(message.id, message);
            }
            Op::Delivered { number, .. } => drop(self.outbox.remove(&number)),
            Op::RemoveContact(_) => {
                self.outbox.clear();
                self.stored.clear();
                self.peer.acknowledged.clear();
            }
            _ => {}
        }
    }

    fn look_up(&self, load: &Load) -> Loaded {
        match load {
            Load::Outbox { after, count_max, .. } => {
                let above = self.outbox.range(after.saturating_add(1)..).map(|(_, message)| message.clone());
                Loaded::Outbox(above.take(*count_max).collect())
            }
            Load::Received { after, up_to, .. } => Loaded::Received(up_to.saturating_sub(*after), Default::default()),
            Load::Expiring { .. } => Loaded::Expiring(Vec::new(), false),
            Load::Message { id, .. } => Loaded::Message(self.stored.get(id).cloned()),
        }
    }

    pub(super) fn loaded(&mut self, id: LoadId, loaded: Loaded) {
        self.engine.handle_loaded(id, loaded, self.now, &mut self.rng);
        self.drain();
    }

    /// Notes that the peer has said this message, or may have.
    pub(super) fn said(&mut self, id: [u8; 16]) {
        self.said.insert(MessageId(id));
    }

    /// Takes the engine's effects and checks them.
    fn drain(&mut self) {
        let mut count = 0;
        while let Some(effect) = self.engine.poll_effect() {
            count += 1;
            assert!(count <= EFFECTS_MAX, "one input has endless effects");
            self.perform(effect);
        }
        for id in &self.peer.acknowledged {
            assert!(self.stored.contains_key(id), "acknowledged and not on disk");
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Commit(commit) => {
                commit.ops.iter().for_each(|op| self.check(op));
                self.commits.push_back(commit);
            }
            Effect::Load(id, load) => self.loads.push_back((id, load)),
            Effect::Transmit(link, message) => {
                assert!(message.len() <= RECORD_BYTES_MAX, "a channel message over its limit");
                if self.link.is_some_and(|(latest, _)| latest == link) {
                    self.peer.read(message);
                }
            }
            Effect::Signal(SignalOut::Relay { payload, .. }) => {
                assert!((HEADER_BYTES..=RELAY_BYTES_MAX).contains(&payload.len()), "a payload over its limit");
                self.payloads.push_back(payload);
            }
            Effect::Signal(SignalOut::OpenInvite(_)) => {}
            Effect::OpenLink { link, role, .. } => {
                self.link = Some((link, role));
                self.is_up = false;
                if role == LinkRole::Offerer {
                    self.link_event_later(link);
                }
            }
            Effect::Negotiate(link, Negotiation::Offer(_)) => {
                let answer = Negotiation::Answer("answer".to_owned());
                self.engine.handle_link(link, LinkEvent::Local(answer), self.now, &mut self.rng);
            }
            Effect::CloseLink(link) => {
                if self.link.is_some_and(|(latest, _)| latest == link) {
                    self.link = None;
                }
            }
            Effect::Notify(Event::Received { id, .. }) => {
                assert!(self.stored.contains_key(&id), "shown and not on disk");
            }
            Effect::Notify(Event::Pairing(view)) => self.pairing_changed(view.pairing, &view.uri),
            Effect::Signal(_) | Effect::Negotiate(..) | Effect::Notify(_) | Effect::Reply(..) => {}
        }
    }

    /// A link that offers does so at once.
    fn link_event_later(&mut self, link: LinkId) {
        let offer = Negotiation::Offer("offer".to_owned());
        self.engine.handle_link(link, LinkEvent::Local(offer), self.now, &mut self.rng);
    }

    /// The peer scans the device's invite as soon as it is there.
    fn pairing_changed(&mut self, pairing: PairingId, uri: &str) {
        let is_new = pairing != self.pairing;
        self.pairing = pairing;
        if is_new
            && self.peer.relation == Relation::Invitee
            && let Ok(invite) = Invite::parse(uri)
        {
            self.peer.keys = invite.secret.keys();
        }
    }

    fn check(&self, op: &Op) {
        match op {
            Op::PutMessage(peer, message) if message.direction == Direction::Incoming => {
                assert_eq!(*peer, self.bert().into(), "a message of nobody's");
                assert!(self.said.contains(&message.id), "a message that the peer has not said");
            }
            Op::PutMarks { marks, .. } => assert!(marks.len() <= Mark::COUNT_MAX, "too many marks"),
            _ => {}
        }
    }

    fn bert(&self) -> ClientId {
        self.peer.identity.client_id()
    }
}

fn contact(restored: bool) -> StoredContact {
    let contact = ContactRecord {
        card: known::bert().card().clone(),
        name: "Bert".to_owned(),
        state: ContactState::Paired,
        major_min: 1,
        paired_utc_ms: 1_700_000_000_000,
        seen_utc_ms: 0,
        incarnation: Incarnation([3; 16]),
    };
    // From a backup: Bert's count was known then, under this name and under an older one.
    let marks = [8, 9].map(|incarnation| Mark { incarnation: Incarnation([incarnation; 16]), number: 2 });
    StoredContact {
        contact,
        conversation: ConversationRecord::default(),
        expiry: Default::default(),
        reading: Default::default(),
        marks: if restored { marks.to_vec() } else { Vec::new() },
        outbox_count: 0,
        missing: MissingRecord { watching: restored, count: 0 },
        standing: StandingRecord::default(),
    }
}

fn berts_invite() -> String {
    let invite = Invite {
        card: known::bert().card().clone(),
        secret: InviteSecret::from_bytes(known::INVITE_SECRET),
        expires_utc_s: 1_900_000_000,
        url: URL.to_owned(),
        name: "Bert".to_owned(),
    };
    invite.to_text().to_string()
}
