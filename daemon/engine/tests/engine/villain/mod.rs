//! One engine, and on the other side of everything a villain. He has keys of his own: what they
//! seal and sign is genuine, and what he says under them is up to him.

mod long;
mod victim;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use data_encoding::BASE32_NOPAD;
use kith_crypto::comparison::Code;
use kith_crypto::identity::{Card, ClientId, Identity};
use kith_crypto::invite::{InviteKeys, InviteSecret};
use kith_crypto::noise::Role;
use kith_crypto::sealed::{self, Header, PayloadKind, SessionId};
use kith_crypto::session::{Handshake, Session, Side};
use kith_crypto::version::Version;
use kith_crypto::wire::{Ack, Frame, Hello, Introduce, Message, tlv};
use kith_engine::{LinkId, Request, Via};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

pub(crate) use victim::{Victim, own_fingerprint};

/// Of the villain's certificate. He uses the same for every connection.
pub(crate) const FINGERPRINT: [u8; 32] = [0xee; 32];
/// Room for the largest record and the largest payload.
const BUFFER_BYTES: usize = 20_000;

/// What the villain sends, by its place in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    Offer,
    FirstOffer,
    Answer,
    Candidate,
    Withdraw,
    Card,
    /// A handshake message, counted from 1.
    Handshake(u8),
    Hello,
    Introduce,
    Message,
    Ack,
    Rekey,
    Switch,
    NewKeyMessage,
}

/// Changes what is sent.
pub(crate) type Tamper<'a> = &'a mut dyn FnMut(Thing, &mut Vec<u8>);

/// Changes nothing.
pub(crate) fn honest() -> impl FnMut(Thing, &mut Vec<u8>) {
    |_, _| {}
}

/// He, and what he knows.
pub(crate) struct Villain {
    pub(crate) identity: Arc<Identity>,
    pub(crate) id: ClientId,
    rng: ChaCha20Rng,
    /// His count of messages.
    number: u64,
}

/// A connection in which the keys are agreed on.
pub(crate) struct Channel {
    pub(crate) link: LinkId,
    pub(crate) session: Session,
    /// The first handshake message, as it went out.
    pub(crate) first_message: Vec<u8>,
}

/// The two.
pub(crate) struct Scene {
    pub(crate) victim: Victim,
    pub(crate) villain: Villain,
}

impl Villain {
    pub(crate) fn new(seed: u64) -> Self {
        let identity = identity(seed ^ 0x0bad);
        Self { id: identity.client_id(), identity, rng: ChaCha20Rng::seed_from_u64(seed), number: 0 }
    }

    pub(crate) fn session_id(&mut self) -> SessionId {
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        SessionId(id)
    }

    pub(crate) fn sealed(&mut self, to: &Card, kind: PayloadKind, session: SessionId, index: u32) -> Vec<u8> {
        let mut out = vec![0; BUFFER_BYTES];
        let header = Header { kind, session, index };
        let body = if kind == PayloadKind::Withdraw { &b""[..] } else { b"words" };
        let length =
            sealed::seal(&self.identity, to.identity(), header, Version::OWN, body, &mut out, &mut self.rng).unwrap();
        out.truncate(length);
        out
    }

    pub(crate) fn first_offer(&mut self, to: &Card, keys: &InviteKeys, session: SessionId) -> Vec<u8> {
        let mut out = vec![0; BUFFER_BYTES];
        let header = Header { kind: PayloadKind::FirstOffer, session, index: 0 };
        let (own, remote) = (&self.identity, to.identity());
        let rng = &mut self.rng;
        let length = sealed::seal_first(own, remote, keys, header, Version::OWN, b"words", &mut out, rng).unwrap();
        out.truncate(length);
        out
    }

    /// The next message of his count.
    pub(crate) fn message<'a>(&mut self, text: &'a str) -> Message<'a> {
        self.number += 1;
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        Message {
            id,
            conversation: [0; 16],
            number: self.number,
            sent_utc_ms: u64::MAX,
            clock_trusted: true,
            content_type: "text/plain",
            reply_to: None,
            ttl_s: None,
            body: text.as_bytes(),
        }
    }

    fn side(&self) -> Side {
        Side { client_id: self.id, fingerprint: FINGERPRINT, version: Version::OWN }
    }
}

impl Scene {
    /// The villain is a contact of the victim.
    pub(crate) fn contact(seed: u64) -> Self {
        let villain = Villain::new(seed);
        let victim = Victim::new(seed, &[villain.identity.card().clone()]);
        Self { victim, villain }
    }

    /// The villain holds an open invite of the victim.
    pub(crate) fn invite(seed: u64) -> (Self, InviteKeys) {
        let mut scene = Self { villain: Villain::new(seed), victim: Victim::new(seed, &[]) };
        scene.victim.request(Request::Invite { lifetime_s: 600 });
        let (_, text) = scene.victim.pairing();
        (scene, keys_of(&text))
    }

    pub(crate) fn relay(&mut self, via: Via, thing: Thing, mut payload: Vec<u8>, tamper: Tamper<'_>) {
        tamper(thing, &mut payload);
        self.victim.relayed(self.villain.id, via, payload);
    }

    /// The victim's side of the handshake's prologue.
    fn victim_side(&self, link: LinkId) -> Side {
        Side { client_id: self.victim.id, fingerprint: own_fingerprint(link), version: Version::OWN }
    }

    /// The villain offers to a contact and says hello; none if the victim broke off.
    pub(crate) fn connect(&mut self, tamper: Tamper<'_>) -> Option<Channel> {
        let (card, session) = (self.victim.card.clone(), self.villain.session_id());
        let links = self.victim.links.len();
        let offer = self.villain.sealed(&card, PayloadKind::Offer, session, 0);
        self.relay(Via::Contact, Thing::Offer, offer, tamper);
        let link = *self.victim.links.get(links)?;
        let candidate = self.villain.sealed(&card, PayloadKind::Candidate, session, 1);
        self.relay(Via::Contact, Thing::Candidate, candidate, tamper);
        self.victim.up(link, FINGERPRINT);
        let (own, remote) = (&self.villain.identity, card.identity());
        let handshake = Handshake::paired(Role::Initiator, own, remote, self.villain.side(), self.victim_side(link));
        self.shake_hands(link, handshake, tamper)
    }

    /// The villain uses an invite and says hello; none if the victim broke off.
    pub(crate) fn use_invite(&mut self, keys: &InviteKeys, tamper: Tamper<'_>) -> Option<Channel> {
        let (card, session) = (self.victim.card.clone(), self.villain.session_id());
        let (via, links) = (Via::Invite(keys.token), self.victim.links.len());
        let offer = self.villain.first_offer(&card, keys, session);
        self.relay(via, Thing::FirstOffer, offer, tamper);
        let link = *self.victim.links.get(links)?;
        let candidate = self.villain.sealed(&card, PayloadKind::Candidate, session, 1);
        self.relay(via, Thing::Candidate, candidate, tamper);
        self.victim.up(link, FINGERPRINT);
        let (own, remote) = (&self.villain.identity, card.identity());
        let handshake = Handshake::invited(own, remote, keys, self.villain.side(), self.victim_side(link));
        self.shake_hands(link, handshake, tamper)
    }

    /// The villain types a code that the victim shows, and says hello; none if the victim broke off.
    pub(crate) fn type_code(&mut self, code: &Code, tamper: Tamper<'_>) -> Option<Channel> {
        let keys = code.secret().keys();
        let (card, session) = (self.victim.card.clone(), self.villain.session_id());
        let links = self.victim.links.len();
        let offer = self.villain.first_offer(&card, &keys, session);
        self.relay(Via::Room(keys.token), Thing::FirstOffer, offer, tamper);
        let link = *self.victim.links.get(links)?;
        self.victim.up(link, FINGERPRINT);
        let (own, remote) = (&self.villain.identity, card.identity());
        let handshake = Handshake::comparing(Role::Initiator, own, remote, self.villain.side(), self.victim_side(link));
        self.shake_hands(link, handshake, tamper)
    }

    /// The villain shows its card where the victim has typed a code, and says hello; none if the victim broke off.
    pub(crate) fn show_code(&mut self, code: &Code, tamper: Tamper<'_>) -> Option<Channel> {
        let via = Via::Room(code.secret().keys().token);
        let (card, links) = (self.victim.card.clone(), self.victim.links.len());
        let shown = sealed::show_card(self.villain.identity.card()).to_vec();
        self.relay(via, Thing::Card, shown, tamper);
        let link = *self.victim.links.get(links)?;
        let session = Header::peek(&self.victim.last_relay(self.villain.id)).unwrap().session;
        let answer = self.villain.sealed(&card, PayloadKind::Answer, session, 0);
        self.relay(via, Thing::Answer, answer, tamper);
        self.victim.up(link, FINGERPRINT);
        let (own, remote) = (&self.villain.identity, card.identity());
        let handshake = Handshake::comparing(Role::Responder, own, remote, self.victim_side(link), self.villain.side());
        self.shake_hands(link, handshake, tamper)
    }

    /// The victim offers to its contact, the villain answers; none if the victim broke off.
    pub(crate) fn be_connected(&mut self, tamper: Tamper<'_>) -> Option<Channel> {
        self.victim.signal(kith_engine::Signal::Presence { peer: self.villain.id, online: true });
        self.victim.pass(5_000);
        let link = *self.victim.links.last()?;
        let session = Header::peek(&self.victim.last_relay(self.villain.id)).unwrap().session;
        let card = self.victim.card.clone();
        let words = self.victim.words.len();
        let answer = self.villain.sealed(&card, PayloadKind::Answer, session, 0);
        self.relay(Via::Contact, Thing::Answer, answer, tamper);
        self.victim.words.get(words)?;
        self.victim.up(link, FINGERPRINT);
        let (own, remote) = (&self.villain.identity, card.identity());
        let handshake = Handshake::paired(Role::Responder, own, remote, self.victim_side(link), self.villain.side());
        self.shake_hands(link, handshake, tamper)
    }

    /// Any handshake, whoever begins it, and both hellos.
    pub(crate) fn shake_hands(
        &mut self,
        link: LinkId,
        mut handshake: Handshake,
        tamper: Tamper<'_>,
    ) -> Option<Channel> {
        let (mut count, mut first_message) = (0, Vec::new());
        while !handshake.is_finished() {
            if !handshake.is_my_turn() {
                handshake.read(&self.next_frame(link)?).ok()?;
                continue;
            }
            let mut message = vec![0; BUFFER_BYTES];
            let length = handshake.write(&mut message, &mut self.villain.rng).unwrap();
            message.truncate(length);
            if first_message.is_empty() {
                first_message = message.clone();
            }
            count += 1;
            tamper(Thing::Handshake(count), &mut message);
            self.victim.frame(link, message);
        }
        let session = handshake.finish().unwrap();
        let mut channel = Channel { link, session, first_message };
        let hello = Frame::Hello(Hello { version: Version::OWN, incarnation: [0x77; 16] });
        self.say(&mut channel, &hello, Thing::Hello, tamper);
        let mut record = self.next_frame(link)?;
        let theirs = channel.session.open_frame(&mut record);
        assert!(matches!(theirs, Ok(Some(Frame::Hello(_)))), "{theirs:?} instead of hello");
        self.is_live(link).then_some(channel)
    }

    pub(crate) fn is_live(&self, link: LinkId) -> bool {
        self.victim.live_links().contains(&link)
    }

    /// The next thing that the victim sent on this link.
    pub(crate) fn next_frame(&mut self, link: LinkId) -> Option<Vec<u8>> {
        let place = self.victim.frames.iter().position(|(on, _)| *on == link)?;
        self.victim.frames.remove(place).map(|(_, frame)| frame)
    }

    pub(crate) fn say(&mut self, channel: &mut Channel, frame: &Frame<'_>, thing: Thing, tamper: Tamper<'_>) {
        let mut record = seal(channel, frame);
        tamper(thing, &mut record);
        self.victim.frame(channel.link, record);
    }

    /// Says a plaintext that may be no frame at all.
    pub(crate) fn say_raw(&mut self, channel: &mut Channel, plaintext: &[u8]) {
        let mut record = vec![0; BUFFER_BYTES];
        record[..plaintext.len()].copy_from_slice(plaintext);
        let length = channel.session.seal(&mut record, plaintext.len()).unwrap();
        record.truncate(length);
        self.victim.frame(channel.link, record);
    }

    pub(crate) fn say_kind(&mut self, channel: &mut Channel, kind: u8, payload: &[u8]) {
        let mut plaintext = vec![0; BUFFER_BYTES];
        let length = tlv::write(kind, payload, &mut plaintext).unwrap();
        self.say_raw(channel, &plaintext[..length]);
    }

    /// Reads what the victim says until a message of its owner comes, and gives what acknowledges it.
    pub(crate) fn their_message(&mut self, channel: &mut Channel) -> Option<Ack> {
        while let Some(mut record) = self.next_frame(channel.link) {
            if let Ok(Some(Frame::Message(message))) = channel.session.open_frame(&mut record) {
                return Some(Ack { id: message.id, hash: message.hash() });
            }
        }
        None
    }

    /// Introduces the villain, which makes him a contact.
    pub(crate) fn introduce(&mut self, channel: &mut Channel, tamper: Tamper<'_>) {
        let card = self.villain.identity.card().clone();
        let introduce = Frame::Introduce(Introduce { card, name: "a friend" });
        self.say(channel, &introduce, Thing::Introduce, tamper);
    }

    /// New keys, from the villain as the initiator. The key must be a minute old.
    pub(crate) fn rekey(&mut self, channel: &mut Channel, tamper: Tamper<'_>) {
        while self.next_frame(channel.link).is_some_and(|mut record| channel.session.open_frame(&mut record).is_ok()) {}
        let card = self.victim.card.clone();
        let mut record = vec![0; BUFFER_BYTES];
        let (own, rng) = (&self.villain.identity, &mut self.villain.rng);
        let length = channel.session.start_rekey(own, card.identity(), &mut record, rng).unwrap();
        record.truncate(length);
        tamper(Thing::Rekey, &mut record);
        self.victim.frame(channel.link, record);
        let Some(mut answer) = self.next_frame(channel.link) else { return };
        let Ok(Some(Frame::Rekey(message))) = channel.session.open_frame(&mut answer) else { return };
        let (message, mut switch) = (message.to_vec(), vec![0; BUFFER_BYTES]);
        let own = &self.villain.identity;
        let length = channel.session.finish_rekey(&message, own, card.identity(), &mut switch).unwrap();
        switch.truncate(length);
        tamper(Thing::Switch, &mut switch);
        self.victim.frame(channel.link, switch);
    }

    /// After whatever was tried: an honest session, and a message each way.
    pub(crate) fn honest_exchange(&mut self, what: &str) {
        let before = self.victim.shown(self.villain.id).len();
        let delivered = self.victim.delivered(self.villain.id);
        // Offers are counted by the time; nobody minds a minute.
        self.victim.pass(60_000);
        let mut channel = self.connect(&mut honest()).unwrap_or_else(|| panic!("{what}: no honest session"));
        let message = Frame::Message(self.villain.message("honest"));
        self.say(&mut channel, &message, Thing::Message, &mut honest());
        self.victim.send(self.villain.id, "and back");
        while let Some(ack) = self.their_message(&mut channel) {
            self.say(&mut channel, &Frame::Ack(ack), Thing::Ack, &mut honest());
        }
        assert_eq!(self.victim.shown(self.villain.id).len(), before + 1, "{what}");
        assert!(self.victim.delivered(self.villain.id) > delivered, "{what}");
    }
}

fn seal(channel: &mut Channel, frame: &Frame<'_>) -> Vec<u8> {
    let mut record = vec![0; BUFFER_BYTES];
    let length = channel.session.seal_frame(frame, &mut record).unwrap();
    record.truncate(length);
    record
}

/// The same for the same seed, and made only once: thousands of runs begin with it.
fn identity(seed: u64) -> Arc<Identity> {
    static KNOWN: Mutex<BTreeMap<u64, Arc<Identity>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap();
    known.entry(seed).or_insert_with(|| Arc::new(Identity::generate(&mut ChaCha20Rng::seed_from_u64(seed)))).clone()
}

/// Reads an invite's text, as whoever was given it can.
fn keys_of(text: &str) -> InviteKeys {
    secret_of(text).keys()
}

/// The secret in an invite's text.
pub(crate) fn secret_of(text: &str) -> InviteSecret {
    let encoded = text.strip_prefix("kith:").unwrap().to_ascii_uppercase();
    let bytes = BASE32_NOPAD.decode(encoded.as_bytes()).unwrap();
    // docs/protocol.md §4.1: format, card, secret.
    InviteSecret::from_bytes(bytes[131..163].try_into().unwrap())
}
