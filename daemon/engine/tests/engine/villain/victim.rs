//! One engine with a disk that answers at once. What it says to the outside waits here.

use std::collections::VecDeque;

use kith_crypto::identity::{Card, ClientId};
use kith_engine::{
    ContactRecord, ContactState, Direction, Effect, Engine, Event, Incarnation, LinkEvent, LinkId, LinkPath, LinkRole,
    LoggingMode, LoggingNotice, MessageState, Negotiation, NewMessage, Now, Op, PairingId, PairingState, ProfileRecord,
    Request, RequestId, Settings, Signal, SignalOut, Via,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::world::disk::Disk;

/// The fingerprint of the victim's certificate on the n-th link: fresh each time.
pub(crate) fn own_fingerprint(link: LinkId) -> [u8; 32] {
    [link.0 as u8; 32]
}

/// The engine under attack.
pub(crate) struct Victim {
    engine: Engine,
    pub(crate) id: ClientId,
    pub(crate) card: Card,
    pub(crate) disk: Disk,
    pub(crate) boot_ms: u64,
    rng: ChaCha20Rng,
    pub(crate) events: Vec<Event>,
    pub(crate) signals: Vec<SignalOut>,
    /// What it sent on its links and nobody has read yet.
    pub(crate) frames: VecDeque<(LinkId, Vec<u8>)>,
    /// Its links, in the order in which they were opened.
    pub(crate) links: Vec<LinkId>,
    pub(crate) closed: Vec<LinkId>,
    /// What it handed to its links.
    pub(crate) words: Vec<(LinkId, Negotiation)>,
    next_request: u64,
}

impl Victim {
    /// An engine that is logged in and has this contact, if any.
    pub(crate) fn new(seed: u64, contacts: &[Card]) -> Self {
        let identity = super::identity(seed);
        let mut disk =
            Disk::new(ProfileRecord { display_name: "the victim".to_owned(), incarnation: Incarnation([1; 16]) });
        for card in contacts {
            disk.commit(&[Op::PutContact(contact(card))]).unwrap();
        }
        let settings = Settings { signaling_urls: vec!["wss://signal.example/".to_owned()], relay_only: false };
        let mut victim = Self {
            id: identity.client_id(),
            card: identity.card().clone(),
            engine: Engine::new(identity, settings, disk.state()),
            disk,
            boot_ms: 50_000,
            rng: ChaCha20Rng::seed_from_u64(seed),
            events: Vec::new(),
            signals: Vec::new(),
            frames: VecDeque::new(),
            links: Vec::new(),
            closed: Vec::new(),
            words: Vec::new(),
            next_request: 1,
        };
        let notice = LoggingNotice { mode: LoggingMode::Active, text: String::new() };
        victim.signal(Signal::Connected(notice));
        victim
    }

    fn now(&self) -> Now {
        Now { boot_ms: self.boot_ms, utc_ms: 1_780_272_000_000 + self.boot_ms, clock_trusted: true }
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        self.engine.handle_signal(signal, self.now(), &mut self.rng);
        self.drain();
    }

    pub(crate) fn relayed(&mut self, from: ClientId, via: Via, payload: Vec<u8>) {
        self.signal(Signal::Relayed { from, via, payload });
    }

    pub(crate) fn frame(&mut self, link: LinkId, mut message: Vec<u8>) {
        self.engine.handle_frame(link, &mut message, self.now(), &mut self.rng);
        self.drain();
    }

    /// The link's connection is up; the other side's certificate has this fingerprint.
    pub(crate) fn up(&mut self, link: LinkId, remote_fingerprint: [u8; 32]) {
        let up = LinkEvent::Up { own_fingerprint: own_fingerprint(link), remote_fingerprint, path: LinkPath::Direct };
        self.link(link, up);
    }

    pub(crate) fn request(&mut self, request: Request) {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.engine.handle_request(id, request, self.now(), &mut self.rng);
        self.drain();
    }

    pub(crate) fn send(&mut self, peer: ClientId, text: &str) {
        let message = NewMessage {
            content_type: "text/plain".to_owned(),
            body: text.as_bytes().to_vec(),
            reply_to: None,
            ttl_s: None,
            idempotency_key: None,
        };
        self.request(Request::Send { conversation: peer.into(), message });
    }

    /// Lets time pass, with everything that is due in it.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.boot_ms + ms;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            self.boot_ms = self.boot_ms.max(at);
            self.engine.handle_timeout(self.now(), &mut self.rng);
            self.drain();
        }
        self.boot_ms = end;
    }

    pub(crate) fn link(&mut self, link: LinkId, event: LinkEvent) {
        self.engine.handle_link(link, event, self.now(), &mut self.rng);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            let now = self.now();
            match effect {
                Effect::Commit(commit) => {
                    let result = self.disk.commit(&commit.ops);
                    self.engine.handle_committed(commit.id, result, now, &mut self.rng);
                }
                Effect::Load(id, load) => {
                    let loaded = self.disk.load(&load);
                    self.engine.handle_loaded(id, loaded, now, &mut self.rng);
                }
                Effect::Transmit(link, frame) => self.frames.push_back((link, frame)),
                Effect::Signal(signal) => self.signals.push(signal),
                Effect::OpenLink { link, role, .. } => {
                    self.links.push(link);
                    if role == LinkRole::Offerer {
                        self.link(link, LinkEvent::Local(Negotiation::Offer("an offer".to_owned())));
                    }
                }
                Effect::Negotiate(link, words) => {
                    let is_offer = matches!(words, Negotiation::Offer(_));
                    self.words.push((link, words));
                    if is_offer {
                        self.link(link, LinkEvent::Local(Negotiation::Answer("an answer".to_owned())));
                    }
                }
                Effect::CloseLink(link) => self.closed.push(link),
                Effect::Notify(event) => self.events.push(event),
                Effect::Reply(..) => {}
            }
        }
    }

    /// Its links that are not closed.
    pub(crate) fn live_links(&self) -> Vec<LinkId> {
        self.links.iter().filter(|link| !self.closed.contains(link)).copied().collect()
    }

    /// The latest payload that it sent to this device.
    pub(crate) fn last_relay(&self, peer: ClientId) -> Vec<u8> {
        let relays = self.signals.iter().rev().filter_map(|signal| match signal {
            SignalOut::Relay { to, payload, .. } if *to == peer => Some(payload.clone()),
            _ => None,
        });
        relays.into_iter().next().expect("it sent something")
    }

    /// What it shows of what it received from this device.
    pub(crate) fn shown(&self, peer: ClientId) -> Vec<String> {
        let incoming = |m: &&kith_engine::MessageRecord| m.direction == Direction::Incoming;
        let bodies = self.disk.history(peer).into_iter().filter(incoming).map(|m| m.body.clone());
        bodies.map(|body| String::from_utf8_lossy(&body).into_owned()).collect()
    }

    /// How many of its own messages to this device count as delivered.
    pub(crate) fn delivered(&self, peer: ClientId) -> usize {
        let delivered =
            |m: &&kith_engine::MessageRecord| m.direction == Direction::Outgoing && m.state == MessageState::Delivered;
        self.disk.history(peer).into_iter().filter(delivered).count()
    }

    /// What a person is told.
    pub(crate) fn troubles(&self) -> Vec<&str> {
        let texts =
            self.events.iter().map(|e| if let Event::Trouble { text, .. } = e { Some(text.as_str()) } else { None });
        texts.flatten().collect()
    }

    /// How the latest pairing stands, and its text.
    pub(crate) fn pairing(&self) -> (PairingState, String) {
        let latest = self.events.iter().rev().find_map(|event| match event {
            Event::Pairing(view) => Some((view.state.clone(), view.uri.clone())),
            _ => None,
        });
        latest.expect("there is a pairing")
    }

    /// The latest pairing's name, and the code that it shows.
    pub(crate) fn code(&self) -> (PairingId, String) {
        let latest = self.events.iter().rev().find_map(|event| match event {
            Event::Pairing(view) => Some((view.pairing, view.code.clone())),
            _ => None,
        });
        latest.expect("there is a pairing")
    }

    /// Who its contacts are.
    pub(crate) fn contacts(&self) -> Vec<ClientId> {
        self.disk.state().contacts.iter().map(|c| c.contact.client_id()).collect()
    }
}

fn contact(card: &Card) -> ContactRecord {
    ContactRecord {
        card: card.clone(),
        name: "a contact".to_owned(),
        state: ContactState::Paired,
        major_min: 1,
        paired_utc_ms: 0,
        seen_utc_ms: 0,
        incarnation: Incarnation([2; 16]),
    }
}
