//! The other device: it knows its keys, and tells the truth unless the input says otherwise.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use kith_crypto::identity::Identity;
use kith_crypto::invite::InviteKeys;
use kith_crypto::noise::Role;
use kith_crypto::sealed::{self, Header, PayloadKind, SessionId};
use kith_crypto::session::{Handshake, RECORD_BYTES_MAX, Session, Side};
use kith_crypto::version::Version;
use kith_crypto::wire::{Frame, Hello, Introduce};
use kith_engine::{LinkRole, MessageId};
use rand_chacha::ChaCha20Rng;

use crate::known;

/// The fingerprints of the link's two certificates, the device's own first.
pub(super) const FINGERPRINTS: [[u8; 32]; 2] = [[0x26; 32], [0x27; 32]];

/// What the peer is to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Contact,
    /// It has an invite of the device's.
    Invitee,
    /// The device has an invite of its.
    Inviter,
}

/// Its side of the channel.
enum Channel {
    Closed,
    Handshaking(Box<Handshake>),
    Open(Box<Session>),
}

pub(super) struct Peer {
    pub(super) identity: Arc<Identity>,
    device: Arc<Identity>,
    pub(super) relation: Relation,
    pub(super) keys: InviteKeys,
    /// Of the latest attempt.
    pub(super) attempt: SessionId,
    channel: Channel,
    /// On their way to the device.
    pub(super) arriving: VecDeque<Vec<u8>>,
    /// Messages that came, with their hashes.
    pub(super) received: Vec<([u8; 16], [u8; 32])>,
    /// Messages that the device has acknowledged.
    pub(super) acknowledged: BTreeSet<MessageId>,
    rng: ChaCha20Rng,
}

impl Peer {
    pub(super) fn new(relation: Relation, keys: InviteKeys) -> Self {
        Self {
            identity: known::bert(),
            device: known::anna(),
            relation,
            keys,
            attempt: SessionId([0; 16]),
            channel: Channel::Closed,
            arriving: VecDeque::new(),
            received: Vec::new(),
            acknowledged: BTreeSet::new(),
            rng: known::seeded(5),
        }
    }

    /// Seals a payload for the device.
    pub(super) fn seal(&mut self, header: Header, version: Version, body: &[u8]) -> Option<Vec<u8>> {
        let mut payload = vec![0; body.len() + sealed::FIRST_OVERHEAD];
        let (own, device, rng) = (&self.identity, self.device.public(), &mut self.rng);
        let length = if header.kind == PayloadKind::FirstOffer {
            sealed::seal_first(own, device, &self.keys, header, version, body, &mut payload, rng)
        } else {
            sealed::seal(own, device, header, version, body, &mut payload, rng)
        };
        payload.truncate(length.ok()?);
        Some(payload)
    }

    /// The channel is open: its side of the handshake begins.
    pub(super) fn link_up(&mut self, device_role: LinkRole) {
        let side = |id, mark| Side { client_id: id, fingerprint: FINGERPRINTS[mark], version: Version::OWN };
        let (device, own) = (side(self.device.client_id(), 0), side(self.identity.client_id(), 1));
        let remote = self.device.public();
        self.arriving.clear();
        self.channel = Channel::Handshaking(Box::new(match (self.relation, device_role) {
            (Relation::Invitee, _) => Handshake::invited(&self.identity, remote, &self.keys, own, device),
            (Relation::Inviter, _) => Handshake::inviting(&self.identity, remote, &self.keys, device, own),
            (Relation::Contact, LinkRole::Offerer) => {
                Handshake::paired(Role::Responder, &self.identity, remote, device, own)
            }
            (Relation::Contact, LinkRole::Answerer) => {
                Handshake::paired(Role::Initiator, &self.identity, remote, own, device)
            }
        }));
        self.go_on();
    }

    /// A channel message of the device's.
    pub(super) fn read(&mut self, mut message: Vec<u8>) {
        match &mut self.channel {
            Channel::Closed => {}
            Channel::Handshaking(handshake) => {
                if handshake.read(&message).is_ok() {
                    self.go_on();
                } else {
                    self.channel = Channel::Closed;
                }
            }
            Channel::Open(session) => match session.open_frame(&mut message) {
                Ok(Some(frame)) => self.take(&frame),
                Ok(None) => {}
                Err(_) => self.channel = Channel::Closed,
            },
        }
    }

    fn take(&mut self, frame: &Frame<'_>) {
        match frame {
            Frame::Message(message) => self.received.push((message.id, message.hash())),
            Frame::Ack(ack) => drop(self.acknowledged.insert(MessageId(ack.id))),
            Frame::Introduce(_) if self.relation == Relation::Inviter => self.say(&Frame::Paired { name: "Bert" }),
            Frame::Rekey(message) => self.answer_rekey(message),
            Frame::Switch => {
                if let Channel::Open(session) = &mut self.channel
                    && session.switch().is_err()
                {
                    self.channel = Channel::Closed;
                }
            }
            Frame::Ping(token) => self.say(&Frame::Pong(*token)),
            _ => {}
        }
    }

    fn answer_rekey(&mut self, message: &[u8]) {
        let Channel::Open(session) = &mut self.channel else { return };
        let (own, remote, mut record) = (&self.identity, self.device.public(), vec![0; RECORD_BYTES_MAX]);
        let length = if session.is_initiator() {
            session.finish_rekey(message, own, remote, &mut record)
        } else {
            session.answer_rekey(message, own, remote, &mut record, &mut self.rng)
        };
        self.send(length.ok(), record);
    }

    /// Begins a new key, where it is its turn, or asks for one.
    pub(super) fn rekey(&mut self) {
        let Channel::Open(session) = &mut self.channel else { return };
        if !session.is_initiator() {
            return self.say(&Frame::AskRekey);
        }
        let mut record = vec![0; RECORD_BYTES_MAX];
        let length = session.start_rekey(&self.identity, self.device.public(), &mut record, &mut self.rng);
        self.send(length.ok(), record);
    }

    /// Seals a frame and sends it.
    pub(super) fn say(&mut self, frame: &Frame<'_>) {
        let mut out = vec![0; RECORD_BYTES_MAX];
        if let Ok(length) = frame.encode(&mut out) {
            self.say_bytes(&out[..length]);
        }
    }

    /// Seals whatever it is and sends it.
    pub(super) fn say_bytes(&mut self, plaintext: &[u8]) {
        let Channel::Open(session) = &mut self.channel else { return };
        let mut record = vec![0; RECORD_BYTES_MAX.max(plaintext.len())];
        record[..plaintext.len()].copy_from_slice(plaintext);
        let length = session.seal(&mut record, plaintext.len());
        self.send(length.ok(), record);
    }

    fn send(&mut self, length: Option<usize>, mut record: Vec<u8>) {
        if let Some(length) = length {
            record.truncate(length);
            self.arriving.push_back(record);
        }
    }

    /// Writes what is its turn to write; the session's first frames when the keys are there.
    fn go_on(&mut self) {
        let Channel::Handshaking(handshake) = &mut self.channel else { return };
        if handshake.is_my_turn() {
            let mut message = vec![0; RECORD_BYTES_MAX];
            let length = handshake.write(&mut message, &mut self.rng);
            message.truncate(length.expect("its turn, and room enough"));
            self.arriving.push_back(message);
        }
        if !handshake.is_finished() {
            return;
        }
        if let Channel::Handshaking(handshake) = core::mem::replace(&mut self.channel, Channel::Closed)
            && let Ok(session) = handshake.finish()
        {
            self.channel = Channel::Open(Box::new(session));
            self.say(&Frame::Hello(Hello { version: Version::OWN, incarnation: [9; 16] }));
            if self.relation == Relation::Invitee {
                self.say(&Frame::Introduce(Introduce { card: self.identity.card().clone(), name: "Bert" }));
            }
        }
    }
}
