//! A peer that cheats: real signaling, real WebRTC, keys of its own, and no scruples. It is made of
//! the daemon's own rooms for the network, and of nothing of the engine that decides.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use data_encoding::BASE32_NOPAD;
use kith_crypto::identity::{Card, ClientId, Identity};
use kith_crypto::invite::{InviteKeys, InviteSecret};
use kith_crypto::noise::Role;
use kith_crypto::sealed::{self, Header, PayloadKind, SessionId};
use kith_crypto::session::{Handshake, Session, Side};
use kith_crypto::version::Version;
use kith_crypto::wire::{Ack, Frame, Hello, Introduce, Message};
use kith_engine::{Ice, LinkEvent, LinkId, LinkRole, Negotiation, Signal, SignalOut, Via};
use kithd::link::{self, LinkReport, Links};
use kithd::network::Network;
use kithd::signaling;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::server::PATIENCE;

/// Room for the largest record and the largest payload.
const BUFFER_BYTES: usize = 20_000;

/// Messages of a flood that are on their way at once: a link queues 256.
const FLOOD_BATCH: usize = 100;

/// A victim that says nothing for so long has said all.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(3);

/// What the peer sends on its way to a session, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Payload(PayloadKind),
    /// A handshake message, counted from 1.
    Handshake(u8),
    Hello,
}

/// Changes what is sent.
pub(crate) type Tamper<'a> = &'a mut (dyn FnMut(Thing, &mut Vec<u8>) + Send);

/// Changes nothing.
pub(crate) fn honest() -> impl FnMut(Thing, &mut Vec<u8>) + Send {
    |_, _| {}
}

/// Somebody with bad intentions, who is online.
pub(crate) struct HostilePeer {
    pub(crate) identity: Arc<Identity>,
    pub(crate) id: ClientId,
    victim: Card,
    client: signaling::Client,
    signals: mpsc::Receiver<Signal>,
    links: Links,
    reports: mpsc::Receiver<(LinkId, LinkReport)>,
    next_link: u64,
    rng: ChaCha20Rng,
    number: u64,
}

/// A session with the victim.
pub(crate) struct Channel {
    pub(crate) link: LinkId,
    pub(crate) session: Session,
    /// The first handshake message, as it was before anybody changed it.
    pub(crate) first_message: Vec<u8>,
}

/// What an invite says, to whoever was given it.
pub(crate) struct Invite {
    pub(crate) card: Card,
    pub(crate) keys: InviteKeys,
}

impl Invite {
    /// Reads the text (docs/protocol.md §4.1): format, card, secret.
    pub(crate) fn read(text: &str) -> Self {
        let encoded = text.strip_prefix("kith:").unwrap().to_ascii_uppercase();
        let bytes = BASE32_NOPAD.decode(encoded.as_bytes()).unwrap();
        let secret = bytes[131..163].try_into().unwrap();
        Self { card: Card::parse(&bytes[1..131]).unwrap(), keys: InviteSecret::from_bytes(secret).keys() }
    }

    fn via(&self) -> Via {
        Via::Invite(self.keys.token)
    }
}

impl HostilePeer {
    /// Logs in. The same seed is the same identity.
    pub(crate) async fn online(url: &str, seed: u64, victim: &Card) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let identity = Arc::new(Identity::generate(&mut rng));
        let settings = signaling::Settings {
            urls: vec![url.to_owned()],
            allow_plain: false,
            instance: [seed as u8; 16],
            network: Network::default(),
        };
        let (client, mut signals) = signaling::spawn(settings, identity.clone()).unwrap();
        let connected = timeout(PATIENCE, signals.recv()).await.unwrap();
        assert!(matches!(connected, Some(Signal::Connected(_))), "{connected:?}");
        let (links, reports) = Links::new(link::Settings {
            addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            ..link::Settings::default()
        });
        Self {
            id: identity.client_id(),
            identity,
            victim: victim.clone(),
            client,
            signals,
            links,
            reports,
            next_link: 1,
            rng,
            number: 0,
        }
    }

    pub(crate) fn session_id(&mut self) -> SessionId {
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        SessionId(id)
    }

    /// A payload to the victim; a first offer needs the invite.
    pub(crate) fn sealed(&mut self, header: Header, body: &[u8], invite: Option<&Invite>) -> Vec<u8> {
        let mut out = vec![0; BUFFER_BYTES];
        let (own, remote, rng) = (&self.identity, self.victim.identity(), &mut self.rng);
        let sealed = match (header.kind, invite) {
            (PayloadKind::FirstOffer, Some(invite)) => {
                sealed::seal_first(own, remote, &invite.keys, header, Version::OWN, body, &mut out, rng)
            }
            _ => sealed::seal(own, remote, header, Version::OWN, body, &mut out, rng),
        };
        out.truncate(sealed.unwrap());
        out
    }

    /// Sends a payload to the victim; waits while the own queue is full.
    pub(crate) async fn relay(&mut self, via: Via, payload: Vec<u8>) {
        let relay = SignalOut::Relay { to: self.victim.client_id(), via, payload };
        while !self.client.send(relay.clone()) {
            tokio::task::yield_now().await;
        }
    }

    /// Offers as a contact, and greets. An error says why the link went down.
    pub(crate) async fn connect(&mut self, tamper: Tamper<'_>) -> Result<Channel, String> {
        timeout(PATIENCE, self.negotiate(None, tamper)).await.expect("the victim reacts")
    }

    /// Offers with an invite, and greets.
    pub(crate) async fn use_invite(&mut self, invite: &Invite, tamper: Tamper<'_>) -> Result<Channel, String> {
        timeout(PATIENCE, self.negotiate(Some(invite), tamper)).await.expect("the victim reacts")
    }

    /// Becomes a contact.
    pub(crate) async fn pair(&mut self, invite: &Invite) -> Channel {
        let mut channel = self.use_invite(invite, &mut honest()).await.unwrap();
        let card = self.identity.card().clone();
        self.say(&mut channel, &Frame::Introduce(Introduce { card, name: "mallory" }));
        let mut paired = self.hear(&channel).await.unwrap();
        assert!(matches!(channel.session.open_frame(&mut paired), Ok(Some(Frame::Paired { .. }))));
        channel
    }

    async fn negotiate(&mut self, invite: Option<&Invite>, tamper: Tamper<'_>) -> Result<Channel, String> {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        let session = self.session_id();
        let via = invite.map_or(Via::Contact, Invite::via);
        self.links.open(link, LinkRole::Offerer, Ice::default(), false);
        let mut index = 0;
        let (own_fingerprint, remote_fingerprint) = loop {
            tokio::select! {
                Some((reporting, report)) = self.reports.recv() => match report {
                    _ if reporting != link => {}
                    LinkReport::Event(LinkEvent::Local(words)) => {
                        let (kind, body) = match words {
                            Negotiation::Offer(sdp) if invite.is_some() => (PayloadKind::FirstOffer, sdp),
                            Negotiation::Offer(sdp) => (PayloadKind::Offer, sdp),
                            Negotiation::Candidate(line) => (PayloadKind::Candidate, line),
                            Negotiation::Answer(_) => unreachable!("an offerer does not answer"),
                        };
                        index += u32::from(kind == PayloadKind::Candidate);
                        let header = Header { kind, session, index: if kind == PayloadKind::Candidate { index } else { 0 } };
                        let mut payload = self.sealed(header, body.as_bytes(), invite);
                        tamper(Thing::Payload(kind), &mut payload);
                        self.relay(via, payload).await;
                    }
                    LinkReport::Event(LinkEvent::Up { own_fingerprint, remote_fingerprint, .. }) => {
                        break (own_fingerprint, remote_fingerprint);
                    }
                    LinkReport::Event(LinkEvent::Down(why) | LinkEvent::Broken(why)) => return Err(why),
                    LinkReport::Event(_) | LinkReport::Frame(_) => {}
                },
                Some(signal) = self.signals.recv() => self.take_signal(link, session, signal),
            }
        };
        let side = |client_id, fingerprint| Side { client_id, fingerprint, version: Version::OWN };
        let own = side(self.id, own_fingerprint);
        let victim = side(self.victim.client_id(), remote_fingerprint);
        let (identity, remote) = (self.identity.clone(), self.victim.identity());
        let handshake = match invite {
            Some(invite) => Handshake::invited(&identity, remote, &invite.keys, own, victim),
            None => Handshake::paired(Role::Initiator, &identity, remote, own, victim),
        };
        self.greet(link, handshake, tamper).await
    }

    fn take_signal(&mut self, link: LinkId, session: SessionId, signal: Signal) {
        let Signal::Relayed { mut payload, .. } = signal else { return };
        let Ok(opened) = sealed::open(&self.identity, self.victim.identity(), &mut payload) else { return };
        let body = String::from_utf8(opened.body.to_vec()).unwrap();
        match opened.header.kind {
            _ if opened.header.session != session => {}
            PayloadKind::Answer => self.links.negotiate(link, Negotiation::Answer(body)),
            PayloadKind::Candidate => self.links.negotiate(link, Negotiation::Candidate(body)),
            PayloadKind::Offer | PayloadKind::FirstOffer | PayloadKind::Withdraw | PayloadKind::Card => {}
        }
    }

    /// The handshake in the open channel, and hello.
    async fn greet(&mut self, link: LinkId, mut handshake: Handshake, tamper: Tamper<'_>) -> Result<Channel, String> {
        let (mut count, mut first_message) = (0, Vec::new());
        while !handshake.is_finished() {
            if !handshake.is_my_turn() {
                let message = self.hear_on(link).await?;
                handshake.read(&message).map_err(|error| error.to_string())?;
                continue;
            }
            let mut message = vec![0; BUFFER_BYTES];
            let length = handshake.write(&mut message, &mut self.rng).unwrap();
            message.truncate(length);
            if first_message.is_empty() {
                first_message.clone_from(&message);
            }
            count += 1;
            tamper(Thing::Handshake(count), &mut message);
            self.links.transmit(link, message);
        }
        let mut channel = Channel { link, session: handshake.finish().unwrap(), first_message };
        let hello = Frame::Hello(Hello { version: Version::OWN, incarnation: [0x66; 16] });
        let mut record = seal(&mut channel, &hello);
        tamper(Thing::Hello, &mut record);
        self.links.transmit(link, record);
        let mut theirs = self.hear_on(link).await?;
        let theirs = channel.session.open_frame(&mut theirs).map_err(|error| error.to_string())?;
        assert!(matches!(theirs, Some(Frame::Hello(_))), "{theirs:?} instead of hello");
        Ok(channel)
    }

    /// The next channel message; an error says why the link went down.
    async fn hear_on(&mut self, link: LinkId) -> Result<Vec<u8>, String> {
        loop {
            match self.reports.recv().await {
                Some((reporting, _)) if reporting != link => {}
                Some((_, LinkReport::Frame(frame))) => return Ok(frame),
                Some((_, LinkReport::Event(LinkEvent::Down(why) | LinkEvent::Broken(why)))) => return Err(why),
                Some((_, LinkReport::Event(_))) => {}
                None => return Err("the links are gone".to_owned()),
            }
        }
    }

    /// The next channel message.
    pub(crate) async fn hear(&mut self, channel: &Channel) -> Result<Vec<u8>, String> {
        timeout(PATIENCE, self.hear_on(channel.link)).await.expect("the victim says something or leaves")
    }

    /// Waits until the victim has ended the connection.
    pub(crate) async fn is_left(&mut self, channel: &Channel) {
        while self.hear(channel).await.is_ok() {}
    }

    pub(crate) fn say(&mut self, channel: &mut Channel, frame: &Frame<'_>) {
        let record = seal(channel, frame);
        self.links.transmit(channel.link, record);
    }

    /// Says a plaintext that may be no frame at all.
    pub(crate) fn say_plaintext(&mut self, channel: &mut Channel, plaintext: &[u8]) {
        let mut record = vec![0; BUFFER_BYTES];
        record[..plaintext.len()].copy_from_slice(plaintext);
        let length = channel.session.seal(&mut record, plaintext.len()).unwrap();
        record.truncate(length);
        self.links.transmit(channel.link, record);
    }

    /// Sends bytes that may be no record at all.
    pub(crate) fn say_bytes(&mut self, channel: &Channel, bytes: Vec<u8>) {
        self.links.transmit(channel.link, bytes);
    }

    /// The next message of its count.
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

    /// So many pings and frames that nobody knows, as fast as the pings are answered.
    pub(crate) async fn flood(&mut self, channel: &mut Channel, count: usize) {
        let unknown = [&[0xff, 4, 0][..], &[7; 1024]].concat();
        for _ in 0..count / FLOOD_BATCH {
            for _ in 0..FLOOD_BATCH {
                self.say(channel, &Frame::Ping([1; 8]));
                self.say_plaintext(channel, &unknown);
            }
            for _ in 0..FLOOD_BATCH {
                let mut pong = self.hear(channel).await.unwrap();
                assert!(matches!(channel.session.open_frame(&mut pong), Ok(Some(Frame::Pong(_)))));
            }
        }
    }

    /// Reads until a message of the victim's owner comes, and acknowledges it.
    pub(crate) async fn take_message(&mut self, channel: &mut Channel) {
        let ack = self.hear_message(channel).await;
        self.say(channel, &Frame::Ack(ack));
    }

    /// Reads until a message of the victim's owner comes, and gives what would acknowledge it.
    pub(crate) async fn hear_message(&mut self, channel: &mut Channel) -> Ack {
        loop {
            let mut record = self.hear(channel).await.unwrap();
            if let Ok(Some(Frame::Message(message))) = channel.session.open_frame(&mut record) {
                return Ack { id: message.id, hash: message.hash() };
            }
        }
    }

    /// Reads until the victim acknowledges this message.
    pub(crate) async fn is_acknowledged(&mut self, channel: &mut Channel, id: [u8; 16]) {
        loop {
            let mut record = self.hear(channel).await.unwrap();
            if let Ok(Some(Frame::Ack(ack))) = channel.session.open_frame(&mut record)
                && ack.id == id
            {
                return;
            }
        }
    }

    /// Reads to the end of the connection, or until the victim is silent for a while: how many
    /// messages it acknowledged, and why it left.
    pub(crate) async fn count_acknowledged(&mut self, channel: &mut Channel) -> (usize, String) {
        let mut taken = 0;
        loop {
            match timeout(SILENCE, self.hear_on(channel.link)).await {
                Ok(Ok(mut record)) => {
                    let frame = channel.session.open_frame(&mut record);
                    taken += usize::from(matches!(frame, Ok(Some(Frame::Ack(_)))));
                }
                Ok(Err(why)) => return (taken, why),
                Err(_) => return (taken, String::new()),
            }
        }
    }

    pub(crate) fn leave(&mut self, channel: &Channel) {
        self.links.close(channel.link);
    }
}

/// Seals a frame, whether it goes out or not.
pub(crate) fn seal(channel: &mut Channel, frame: &Frame<'_>) -> Vec<u8> {
    let mut record = vec![0; BUFFER_BYTES];
    let length = channel.session.seal_frame(frame, &mut record).unwrap();
    record.truncate(length);
    record
}
