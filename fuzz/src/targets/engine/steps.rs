//! What an input can make happen, one byte each and what it needs.

use kith_crypto::sealed::{Header, PayloadKind, SessionId};
use kith_crypto::version::Version;
use kith_crypto::wire::{Ack, Frame, Message};
use kith_engine::{CommitError, LinkEvent, LinkPath, Loaded, MessageId, Negotiation, NewMessage, Request, Signal, Via};
use kith_signal_protocol::ToDevice;
use kithd::signaling::map;

use super::device::Device;
use crate::script::Script;

/// The honest world goes on by so many things.
pub(super) const GO_ON: u8 = 0;
/// A channel message that nobody sealed.
pub(super) const RAW: u8 = 1;
/// Any plaintext, sealed by the peer.
pub(super) const SEALED: u8 = 2;
/// A message of the peer's, honest or not.
pub(super) const MESSAGE: u8 = 3;
/// An acknowledgement of the peer's, honest or not.
pub(super) const ACK: u8 = 4;
/// The next channel message is changed, dropped or repeated.
pub(super) const DISTORT: u8 = 5;
/// Time passes.
pub(super) const WAIT: u8 = 6;
/// The disk refuses.
pub(super) const DISK: u8 = 7;
/// The link reports.
pub(super) const LINK: u8 = 8;
/// Somebody on this device asks for something.
pub(super) const ASK: u8 = 9;
/// The server says anything at all.
pub(super) const SERVER: u8 = 10;
/// The server relays anything at all in the peer's name.
pub(super) const RELAY: u8 = 11;
/// The peer seals a payload of any kind.
pub(super) const PAYLOAD: u8 = 12;
/// The peer comes, goes, or offers.
pub(super) const PEER: u8 = 13;
/// The peer wants a new key.
pub(super) const REKEY: u8 = 14;
/// How many there are.
const STEPS: u8 = 15;

impl Device {
    /// Takes one step of a script.
    pub(super) fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % STEPS {
            GO_ON => {
                let count = script.byte() % 32;
                for _ in 0..=count {
                    if !self.go_on() {
                        break;
                    }
                }
            }
            RAW => self.frame(script.bytes().to_vec()),
            SEALED => self.sealed(script.bytes()),
            MESSAGE => self.message(script),
            ACK => self.acknowledge(script),
            DISTORT => self.distort(script),
            WAIT => {
                let (count, doublings) = (u64::from(script.byte()), script.byte() % 24);
                self.wait(count << doublings);
            }
            DISK => self.disk(script.byte()),
            LINK => self.link_reports(script.byte()),
            ASK => self.ask(script),
            SERVER => {
                let message = ToDevice::decode(script.bytes());
                if let Ok(Some(signal)) = message.map(|message| message.and_then(map::to_engine)) {
                    self.signal(signal);
                }
            }
            RELAY => {
                let from = self.peer.identity.client_id();
                let via = if script.byte() & 1 == 0 { self.via() } else { Via::Invite([script.byte(); 16]) };
                self.signal(Signal::Relayed { from, via, payload: script.bytes().to_vec() });
            }
            PAYLOAD => self.payload(script),
            PEER => match script.byte() % 4 {
                0 => self.online(true),
                1 => self.online(false),
                2 => self.offer(PayloadKind::Offer),
                _ => self.offer(PayloadKind::FirstOffer),
            },
            _ => self.peer.rekey(),
        }
    }

    fn sealed(&mut self, plaintext: &[u8]) {
        if let Ok(Some(Frame::Message(message))) =
            Frame::decode(plaintext.get(..frame_bytes(plaintext)).unwrap_or_default())
        {
            self.said(message.id);
        }
        self.peer.say_bytes(plaintext);
    }

    fn message(&mut self, script: &mut Script<'_>) {
        let (id, number) = ([script.byte(); 16], u64::from(script.byte()));
        // The highest numbers there are, too.
        let number = if script.byte() & 1 == 0 { number } else { u64::MAX - number };
        let body = script.bytes();
        let message = Message {
            id,
            conversation: [0; 16],
            number,
            sent_utc_ms: u64::MAX,
            clock_trusted: false,
            content_type: "text/plain",
            reply_to: None,
            ttl_s: Some(0),
            body,
        };
        self.said(id);
        self.peer.say(&Frame::Message(message));
    }

    fn acknowledge(&mut self, script: &mut Script<'_>) {
        let (at, change) = (usize::from(script.byte()), script.byte());
        let Some((id, mut hash)) = self.peer.received.get(at).copied() else { return };
        hash[0] ^= change;
        self.peer.say(&Frame::Ack(Ack { id, hash }));
    }

    fn distort(&mut self, script: &mut Script<'_>) {
        let (how, place, change) = (script.byte() % 4, usize::from(script.short()), script.byte());
        let Some(mut message) = self.peer.arriving.pop_front() else { return };
        match how {
            0 => {
                let place = place % message.len();
                message[place] ^= change;
                self.frame(message);
            }
            1 => {}
            2 => {
                self.frame(message.clone());
                self.frame(message);
            }
            _ => {
                message.truncate(place);
                self.frame(message);
            }
        }
    }

    fn disk(&mut self, how: u8) {
        let failed = || "the disk is broken".to_owned();
        match how % 6 {
            0 => self.commit(Err(CommitError::Full)),
            1 => self.commit(Err(CommitError::Conflict(MessageId([1; 16])))),
            2 => self.commit(Err(CommitError::Failed(failed()))),
            3 => self.commit(Err(CommitError::Repeated(MessageId([7; 16])))),
            other => {
                if let Some((id, _)) = self.loads.pop_front() {
                    self.loaded(id, if other == 4 { Loaded::Failed(failed()) } else { Loaded::Message(None) });
                }
            }
        }
    }

    fn link_reports(&mut self, what: u8) {
        self.link_event(match what % 6 {
            0 => LinkEvent::Down("it broke".to_owned()),
            1 => LinkEvent::Path(LinkPath::Relayed),
            2 => LinkEvent::Up { own_fingerprint: [1; 32], remote_fingerprint: [2; 32], path: LinkPath::Direct },
            3 => LinkEvent::Local(Negotiation::Candidate("candidate".to_owned())),
            4 => LinkEvent::Local(Negotiation::Candidate("x".repeat(20_000))),
            _ => LinkEvent::Local(Negotiation::Offer("again".to_owned())),
        });
    }

    fn ask(&mut self, script: &mut Script<'_>) {
        let peer = self.peer.identity.client_id();
        let what = script.byte() % 10;
        let number = script.byte();
        let text = String::from_utf8_lossy(script.bytes()).into_owned();
        let request = match what {
            0 => Request::Send { conversation: peer.into(), message: new_message(text, number) },
            1 => Request::MarkRead { conversation: peer.into(), seq: u64::from(number) },
            2 => Request::AckInbox { consumer: text, seq: u64::from(number) },
            3 => Request::RenamePeer { peer, name: text },
            4 => Request::RemovePeer(peer),
            5 => Request::SetDisplayName(text),
            6 => Request::SafetyNumber(peer),
            7 => Request::Invite { lifetime_s: u32::from(number) },
            8 => Request::CancelPairing(self.pairing),
            _ => Request::Accept { uri: text, other_server: true },
        };
        self.request(request);
    }

    fn payload(&mut self, script: &mut Script<'_>) {
        let kind = match script.byte() % 5 {
            0 => PayloadKind::Offer,
            1 => PayloadKind::Answer,
            2 => PayloadKind::Candidate,
            3 => PayloadKind::FirstOffer,
            _ => PayloadKind::Withdraw,
        };
        let attempt = script.byte();
        let session = if attempt == 0 { self.peer.attempt } else { SessionId([attempt; 16]) };
        let header = Header { kind, session, index: u32::from(script.byte()) };
        let version = Version { major: 1 + (script.byte() & 1), ..Version::OWN };
        self.relay(header, version, script.bytes());
    }
}

fn new_message(text: String, number: u8) -> NewMessage {
    NewMessage {
        content_type: if number == 255 { text.clone() } else { "text/plain".to_owned() },
        body: text.into_bytes(),
        reply_to: None,
        ttl_s: None,
        idempotency_key: (number > 200).then(|| number.to_string()),
    }
}

/// The length of the one TLV that a plaintext begins with.
fn frame_bytes(plaintext: &[u8]) -> usize {
    kith_crypto::wire::tlv::read(plaintext).map_or(0, |(_, rest)| plaintext.len() - rest.len())
}
