//! The vectors of docs/protocol.md, chapter 10: this crate gives each of them, and each of them is checked.
//!
//! A block is fenced by ```` ```vectors NAME ````; a line in it is `name = hex` or `name = "text"`. Whoever changes a format sees
//! here the lines as they are now, and knows that other implementations no longer understand this one.

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;

use kith_crypto::backup::{CHUNK_BYTES, CHUNK_OVERHEAD, ChunkOpener, ChunkSealer};
use kith_crypto::comparison::{Code, commitment, digits};
use kith_crypto::identity::{ClientId, Identity, LoginChallenge, safety_number, verify_login};
use kith_crypto::invite::{InviteKeys, InviteSecret, checksum};
use kith_crypto::noise::{HandshakeState, Role};
use kith_crypto::primitives::{derive, pbkdf2_sha256, point_to_uncompressed, sha256};
use kith_crypto::room::{Draft, Member, ROSTER_BYTES_MAX, RoomId, RoomSecret, Roster};
use kith_crypto::sealed::{self, Header, PayloadKind, SessionId};
use kith_crypto::session::{Handshake, Session, Side};
use kith_crypto::vault::{DataKey, MasterKey, StoreKeys};
use kith_crypto::version::Version;
use kith_crypto::wire::{Ack, Expiry, Frame, Hello, Introduce, Message, Read, Room, RosterFrame};
use p256::SecretKey;
use support::Script;

const PROTOCOL: &str = include_str!("../../docs/protocol.md");

/// The blocks that the tests below check.
const BLOCKS: [&str; 12] =
    ["identities", "invite", "sealed", "kk", "rekey", "xkpsk3", "xx", "frames", "message", "room", "vault", "backup"];

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Bytes(Vec<u8>),
    Text(String),
}

impl Value {
    fn line(&self, name: &str) -> String {
        match self {
            Self::Text(text) => format!("{name} = \"{text}\""),
            Self::Bytes(bytes) => bytes.iter().fold(format!("{name} = "), |mut line, byte| {
                let _ = write!(line, "{byte:02x}");
                line
            }),
        }
    }
}

/// A block's vectors. Dropping it checks that each was looked at.
struct Block {
    name: &'static str,
    values: BTreeMap<String, Value>,
    seen: RefCell<Vec<String>>,
    wrong: RefCell<Vec<String>>,
}

/// Every block of the page, in its order.
fn blocks() -> Vec<(&'static str, BTreeMap<String, Value>)> {
    let parts = PROTOCOL.split("```vectors ").skip(1);
    parts
        .map(|part| {
            let (name, rest) = part.split_once('\n').unwrap();
            let (lines, _) = rest.split_once("```").unwrap();
            let mut values = BTreeMap::new();
            for line in lines.lines() {
                let (name, value) = line.split_once(" = ").unwrap();
                let value = match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
                    Some(text) => Value::Text(text.to_owned()),
                    None => Value::Bytes(from_hex(value)),
                };
                assert!(values.insert(name.to_owned(), value).is_none(), "{name} twice");
            }
            (name, values)
        })
        .collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

impl Block {
    fn load(name: &'static str) -> Self {
        let values = blocks().into_iter().find(|block| block.0 == name).unwrap().1;
        Self { name, values, seen: RefCell::default(), wrong: RefCell::default() }
    }

    fn value(&self, name: &str) -> &Value {
        self.seen.borrow_mut().push(name.to_owned());
        self.values.get(name).unwrap_or_else(|| panic!("{} lacks {name}", self.name))
    }

    /// An input.
    fn bytes<const N: usize>(&self, name: &str) -> [u8; N] {
        match self.value(name) {
            Value::Bytes(bytes) => bytes[..].try_into().unwrap(),
            Value::Text(_) => panic!("{name} is text"),
        }
    }

    /// An input.
    fn text(&self, name: &str) -> &str {
        match self.value(name) {
            Value::Text(text) => text,
            Value::Bytes(_) => panic!("{name} is bytes"),
        }
    }

    /// An output.
    fn check(&self, name: &str, actual: &[u8]) {
        self.compare(name, Value::Bytes(actual.to_vec()));
    }

    /// An output.
    fn check_text(&self, name: &str, actual: &str) {
        self.compare(name, Value::Text(actual.to_owned()));
    }

    fn compare(&self, name: &str, actual: Value) {
        if *self.value(name) != actual {
            self.wrong.borrow_mut().push(actual.line(name));
        }
    }

    /// Every vector was an input or an output, and every output was right.
    fn finish(self) {
        let wrong = self.wrong.into_inner();
        assert!(wrong.is_empty(), "{} would be now:\n{}", self.name, wrong.join("\n"));
        let mut unseen = self.values;
        unseen.retain(|name, _| !self.seen.borrow().contains(name));
        assert!(unseen.is_empty(), "{}: not checked: {unseen:?}", self.name);
    }
}

#[test]
fn every_block_of_the_page_has_a_test() {
    let names: Vec<_> = blocks().into_iter().map(|block| block.0).collect();
    assert_eq!(names, BLOCKS);
}

/// The two devices of all blocks.
fn devices() -> (Identity, Identity) {
    let block = Block::load("identities");
    let identity = |name| Identity::from_secret_bytes(&block.bytes(name)).unwrap();
    (identity("a_secret"), identity("b_secret"))
}

/// The private agreement key of a device.
fn agreement(identity: &Identity) -> SecretKey {
    SecretKey::from_slice(&identity.to_secret_bytes()[32..]).unwrap()
}

/// The public key in Noise's form.
fn uncompressed(key: &SecretKey) -> [u8; 65] {
    point_to_uncompressed(&key.public_key())
}

#[test]
fn identities() {
    let block = Block::load("identities");
    let (a, b) = devices();
    for (device, names) in [
        (&a, ["a_secret", "a_public", "a_client_id", "a_client_id_text", "a_card"]),
        (&b, ["b_secret", "b_public", "b_client_id", "b_client_id_text", "b_card"]),
    ] {
        let [secret, public, id, text, card] = names;
        block.check(secret, &device.to_secret_bytes()[..]);
        block.check(public, &device.public().to_bytes());
        block.check(id, device.client_id().as_bytes());
        block.check_text(text, &device.client_id().to_string());
        block.check(card, device.card().as_bytes());
        let shouted = block.text(text).to_uppercase().replace('-', "");
        assert_eq!(shouted.parse(), Ok(device.client_id()));
    }
    block.check_text("safety_number", &safety_number(a.public(), b.public()));
    assert_eq!(safety_number(a.public(), b.public()), safety_number(b.public(), a.public()));
    let challenge = LoginChallenge { server_name: block.text("login_server"), nonce: &block.bytes("login_nonce") };
    block.check("login_signature", &a.sign_login(&challenge));
    assert_eq!(verify_login(a.card(), &challenge, &block.bytes("login_signature")), Ok(()));
    block.finish();
}

fn base32(bytes: &[u8]) -> String {
    let bits = |at: usize| u64::from(bytes.get(at / 8).copied().unwrap_or(0) >> (7 - at % 8) & 1);
    let characters = (bytes.len() * 8).div_ceil(5);
    (0..characters)
        .map(|at| (0..5).fold(0, |value, bit| value << 1 | bits(at * 5 + bit)))
        .map(|value| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[value as usize]))
        .collect()
}

/// The invite of device a.
fn invite_keys() -> InviteKeys {
    InviteSecret::from_bytes(Block::load("invite").bytes("secret")).keys()
}

#[test]
fn invites() {
    let block = Block::load("invite");
    let (a, _) = devices();
    let secret: [u8; 32] = block.bytes("secret");
    let (url, name) = (block.text("url"), block.text("name"));
    let mut binary = vec![1];
    binary.extend_from_slice(a.card().as_bytes());
    binary.extend_from_slice(&secret);
    binary.extend_from_slice(&block.bytes::<8>("expires"));
    for text in [url, name] {
        binary.push(text.len() as u8);
        binary.extend_from_slice(text.as_bytes());
    }
    binary.extend_from_slice(&checksum(&binary));
    block.check("binary", &binary);
    block.check_text("text", &format!("kith:{}", base32(&binary)));

    block.check("token", &invite_keys().token);
    let key = |info: &[u8]| derive::<1>(b"kith/1 invite", &secret, &[info])[0];
    block.check("sealed_psk", &key(b"kith/1 invite sealed psk"));
    block.check("noise_psk", &key(b"kith/1 invite noise psk"));
    block.finish();
}

#[test]
fn sealed_payloads() {
    let block = Block::load("sealed");
    let (a, b) = devices();
    let body = block.text("body").to_owned();
    let session = SessionId(block.bytes("session_id"));
    let header = |kind, index| Header { kind, session, index };

    let mut out = [0; 1024];
    let mut rng = Script::new(&block.bytes::<32>("candidate_ikm"));
    let candidate = header(PayloadKind::Candidate, 7);
    let length = sealed::seal(&a, b.public(), candidate, Version::OWN, body.as_bytes(), &mut out, &mut rng).unwrap();
    assert!(rng.is_done());
    block.check("candidate_payload", &out[..length]);
    let opened = sealed::open(&b, a.public(), &mut out[..length]).unwrap();
    assert_eq!((opened.header, opened.body), (candidate, body.as_bytes()));

    // The invitee is b.
    let mut rng = Script::new(&block.bytes::<32>("first_offer_ikm"));
    let first = header(PayloadKind::FirstOffer, 0);
    let keys = invite_keys();
    let length =
        sealed::seal_first(&b, a.public(), &keys, first, Version::OWN, body.as_bytes(), &mut out, &mut rng).unwrap();
    assert!(rng.is_done());
    block.check("first_offer_payload", &out[..length]);
    let opened = sealed::open_first(&a, &keys, &mut out[..length]).unwrap();
    assert_eq!((opened.card, opened.opened.body), (b.card().clone(), body.as_bytes()));
    block.finish();
}

fn hello(incarnation: u8) -> Frame<'static> {
    Frame::Hello(Hello { version: Version::OWN, incarnation: [incarnation; 16] })
}

/// Each end's hello, as the first record under its present keys.
fn check_hellos(block: &Block, initiator: &mut Session, responder: &mut Session) {
    let mut record = [0; 256];
    let length = initiator.seal_frame(&hello(1), &mut record).unwrap();
    block.check("initiator_record", &record[..length]);
    assert_eq!(responder.open_frame(&mut record[..length]), Ok(Some(hello(1))));
    let length = responder.seal_frame(&hello(2), &mut record).unwrap();
    block.check("responder_record", &record[..length]);
    assert_eq!(initiator.open_frame(&mut record[..length]), Ok(Some(hello(2))));
}

/// The sides of a block, whose prologue is put together here from the page's words.
fn sides(block: &Block, mode: u8, initiator: &Identity, responder: &Identity) -> (Side, Side) {
    let side = |identity: &Identity, fingerprint| Side {
        client_id: identity.client_id(),
        fingerprint: block.bytes(fingerprint),
        version: Version::OWN,
    };
    let sides = (side(initiator, "initiator_fingerprint"), side(responder, "responder_fingerprint"));
    let prologue = [
        b"kith/1 session",
        &[mode][..],
        &[1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
        sides.0.client_id.as_bytes(),
        sides.1.client_id.as_bytes(),
        &sides.0.fingerprint,
        &sides.1.fingerprint,
    ];
    block.check("prologue", &prologue.concat());
    sides
}

/// `snow` with a device's key and a fixed ephemeral key, in a block's prologue.
fn oracle<'a>(block: &Block, name: &str, keys: (&'a [u8], &'a [u8]), prologue: &'a [u8]) -> snow::Builder<'a> {
    let (own, ephemeral) = keys;
    assert_eq!(block.bytes::<131>("prologue"), prologue);
    snow::Builder::new(name.parse().unwrap())
        .prologue(prologue)
        .unwrap()
        .local_private_key(own)
        .unwrap()
        .fixed_ephemeral_key_for_testing_only(ephemeral)
}

/// Two `snow` sides say the block's messages, byte for byte, and seal its first records.
fn check_oracles(block: &Block, mut initiator: snow::HandshakeState, mut responder: snow::HandshakeState) {
    for number in 1.. {
        let mut message = [0; 162];
        let (writer, reader) = match number % 2 {
            1 => (&mut initiator, &mut responder),
            _ => (&mut responder, &mut initiator),
        };
        let length = writer.write_message(&[], &mut message).unwrap();
        block.check(&format!("message_{number}"), &message[..length]);
        reader.read_message(&message[..length], &mut []).unwrap();
        if reader.is_handshake_finished() {
            break;
        }
    }
    block.check("hash", initiator.get_handshake_hash());
    for (from, name, incarnation) in [(initiator, "initiator_record", 1), (responder, "responder_record", 2)] {
        let mut plaintext = [0; 128];
        hello(incarnation).encode(&mut plaintext).unwrap();
        let mut record = [0; 144];
        let mut from = from.into_transport_mode().unwrap();
        from.write_message(&plaintext, &mut record).unwrap();
        block.check(name, &record);
    }
}

/// Writes message `number` at one end and reads it at the other.
fn pass(block: &Block, number: u8, from: &mut Handshake, to: &mut Handshake, ephemeral: &[u8]) {
    let (mut message, mut rng) = ([0; 162], Script::new(ephemeral));
    let length = from.write(&mut message, &mut rng).unwrap();
    assert!(rng.is_done());
    block.check(&format!("message_{number}"), &message[..length]);
    to.read(&message[..length]).unwrap();
}

/// The session of the block `kk` between a and b.
fn kk(block: &Block) -> (Session, Session) {
    let (a, b) = devices();
    let (initiator, responder) = sides(block, 1, &a, &b);
    let mut at_a = Handshake::paired(Role::Initiator, &a, b.public(), initiator, responder);
    let mut at_b = Handshake::paired(Role::Responder, &b, a.public(), initiator, responder);
    pass(block, 1, &mut at_a, &mut at_b, &block.bytes::<32>("initiator_ephemeral"));
    pass(block, 2, &mut at_b, &mut at_a, &block.bytes::<32>("responder_ephemeral"));
    (at_a.finish().unwrap(), at_b.finish().unwrap())
}

#[test]
fn a_handshake_between_contacts() {
    let block = Block::load("kk");
    let (mut at_a, mut at_b) = kk(&block);
    block.check("hash", at_a.handshake_hash());
    block.check("hash", at_b.handshake_hash());
    check_hellos(&block, &mut at_a, &mut at_b);

    // The same from the page's prologue alone.
    let (a, b) = devices();
    let prologue: [u8; 131] = block.bytes("prologue");
    let remote = agreement(&b).public_key();
    let mut noise = HandshakeState::kk(Role::Initiator, &prologue, &agreement(&a), &remote);
    let mut message = [0; 81];
    let mut rng = Script::new(&block.bytes::<32>("initiator_ephemeral"));
    noise.write(&mut message, &mut rng).unwrap();
    block.check("message_1", &message);

    // And from another implementation.
    let (own, other) = (agreement(&a), agreement(&b));
    let (own_public, other_public) = (uncompressed(&own), uncompressed(&other));
    let (own, other) = (own.to_bytes(), other.to_bytes());
    let ephemerals: [[u8; 32]; 2] = [block.bytes("initiator_ephemeral"), block.bytes("responder_ephemeral")];
    let name = "Noise_KK_P256_AESGCM_SHA256";
    let initiator = oracle(&block, name, (&own, &ephemerals[0]), &prologue).remote_public_key(&other_public).unwrap();
    let responder = oracle(&block, name, (&other, &ephemerals[1]), &prologue).remote_public_key(&own_public).unwrap();
    check_oracles(&block, initiator.build_initiator().unwrap(), responder.build_responder().unwrap());
    block.finish();
}

/// The Noise message in a rekey record.
fn rekey_message(at: &mut Session, record: &mut [u8]) -> [u8; 81] {
    match at.open_frame(record).unwrap() {
        Some(Frame::Rekey(message)) => message.try_into().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_key() {
    let block = Block::load("rekey");
    let (a, b) = devices();
    let kk_block = Block::load("kk");
    let (mut at_a, mut at_b) = kk(&kk_block);
    let mut prologue = kk_block.bytes::<131>("prologue").to_vec();
    prologue[14] = 3;
    prologue.extend_from_slice(at_a.handshake_hash());
    block.check("prologue", &prologue);

    let mut out = [0; 256];
    let mut rng = Script::new(&block.bytes::<32>("initiator_ephemeral"));
    let length = at_a.start_rekey(&a, b.public(), &mut out, &mut rng).unwrap();
    block.check("message_1_record", &out[..length]);
    let message = rekey_message(&mut at_b, &mut out[..length]);
    block.check("message_1", &message);
    let mut rng = Script::new(&block.bytes::<32>("responder_ephemeral"));
    let length = at_b.answer_rekey(&message, &b, a.public(), &mut out, &mut rng).unwrap();
    block.check("message_2_record", &out[..length]);
    let message = rekey_message(&mut at_a, &mut out[..length]);
    block.check("message_2", &message);
    let length = at_a.finish_rekey(&message, &a, b.public(), &mut out).unwrap();
    block.check("switch_record", &out[..length]);
    assert_eq!(at_b.open_frame(&mut out[..length]), Ok(Some(Frame::Switch)));
    at_b.switch().unwrap();
    block.check("hash", at_a.handshake_hash());
    block.check("hash", at_b.handshake_hash());
    check_hellos(&block, &mut at_a, &mut at_b);
    block.finish();
}

#[test]
fn a_handshake_after_an_invite() {
    let block = Block::load("xkpsk3");
    let (inviter, invitee) = devices();
    let keys = invite_keys();
    let (initiator, responder) = sides(&block, 2, &invitee, &inviter);
    let mut at_invitee = Handshake::invited(&invitee, inviter.public(), &keys, initiator, responder);
    let mut at_inviter = Handshake::inviting(&inviter, invitee.public(), &keys, initiator, responder);
    let ephemeral: [u8; 32] = block.bytes("initiator_ephemeral");
    pass(&block, 1, &mut at_invitee, &mut at_inviter, &ephemeral);
    let ephemeral: [u8; 32] = block.bytes("responder_ephemeral");
    pass(&block, 2, &mut at_inviter, &mut at_invitee, &ephemeral);
    pass(&block, 3, &mut at_invitee, &mut at_inviter, &[]);
    let (mut at_invitee, mut at_inviter) = (at_invitee.finish().unwrap(), at_inviter.finish().unwrap());
    block.check("hash", at_invitee.handshake_hash());
    block.check("hash", at_inviter.handshake_hash());
    check_hellos(&block, &mut at_invitee, &mut at_inviter);

    // The same from the page's prologue and psk alone.
    let prologue: [u8; 131] = block.bytes("prologue");
    let psk = Block::load("invite").bytes("noise_psk");
    let mut noise = HandshakeState::xk_psk3_responder(&prologue, &agreement(&inviter), &psk);
    noise.read(&block.bytes::<81>("message_1")).unwrap();
    let mut message = [0; 81];
    noise.write(&mut message, &mut Script::new(&ephemeral)).unwrap();
    block.check("message_2", &message);
    noise.read(&block.bytes::<97>("message_3")).unwrap();
    assert_eq!(noise.remote_static(), Some(&agreement(&invitee).public_key()));
    block.finish();
}

#[test]
fn a_comparison() {
    let block = Block::load("xx");
    let (shows, typed) = devices();
    let code = Code::parse(block.text("code")).unwrap();
    let secret = *code.secret().as_bytes();
    block.check("secret", &secret);
    block.check("token", &code.secret().keys().token);
    block.check("card_payload", &sealed::show_card(shows.card()));
    let (initiator, responder) = sides(&block, 4, &typed, &shows);
    let mut at_typed = Handshake::comparing(Role::Initiator, &typed, shows.public(), initiator, responder);
    let mut at_shows = Handshake::comparing(Role::Responder, &shows, typed.public(), initiator, responder);
    pass(&block, 1, &mut at_typed, &mut at_shows, &block.bytes::<32>("initiator_ephemeral"));
    pass(&block, 2, &mut at_shows, &mut at_typed, &block.bytes::<32>("responder_ephemeral"));
    pass(&block, 3, &mut at_typed, &mut at_shows, &[]);
    let (mut at_typed, mut at_shows) = (at_typed.finish().unwrap(), at_shows.finish().unwrap());
    let hash = *at_typed.handshake_hash();
    block.check("hash", &hash);
    block.check("hash", at_shows.handshake_hash());
    let (initiators, responders) = (block.bytes("initiator_nonce"), block.bytes("responder_nonce"));
    block.check("commitment", &commitment(&hash, &responders));
    block.check_text("digits", &format!("{:06}", digits(&hash, &initiators, &responders)));
    check_hellos(&block, &mut at_typed, &mut at_shows);
    block.finish();
}

#[test]
fn frames() {
    let block = Block::load("frames");
    let (a, _) = devices();
    let message = Message {
        id: [0x10; 16],
        conversation: [0; 16],
        number: 300,
        sent_utc_ms: 1_800_000_000_000,
        clock_trusted: true,
        content_type: "text/plain",
        reply_to: Some([0x11; 16]),
        ttl_s: Some(86_400),
        body: "Grüße".as_bytes(),
    };
    let plain = Message { clock_trusted: false, reply_to: None, ttl_s: None, body: &[], ..message };
    let frames = [
        ("hello", hello(1)),
        ("message", Frame::Message(message)),
        ("message_without_options", Frame::Message(plain)),
        ("ack", Frame::Ack(Ack { id: [0x10; 16], hash: [0x12; 32] })),
        ("introduce", Frame::Introduce(Introduce { card: a.card().clone(), name: "Anna" })),
        ("paired", Frame::Paired { name: "Bärbel" }),
        ("rekey", Frame::Rekey(&[0x13; 81])),
        ("switch", Frame::Switch),
        ("ask_rekey", Frame::AskRekey),
        ("commitment", Frame::Commitment([0x16; 32])),
        ("nonce", Frame::Nonce([0x17; 32])),
        ("agree", Frame::Agree),
        ("ping", Frame::Ping([0x14; 8])),
        ("pong", Frame::Pong([0x15; 8])),
        (
            "room",
            Frame::Room(Room { room: RoomId([0x16; 16]), version: 300, hash: [0x17; 32], incarnation: [0x18; 16] }),
        ),
        ("roster", Frame::Roster(RosterFrame { secret: RoomSecret::from_bytes([0x19; 32]), roster: &[0x1a; 200] })),
        ("dismissal", Frame::Dismissal { room: RoomId([0x16; 16]), version: 300 }),
        ("leave", Frame::Leave(RoomId([0x16; 16]))),
        ("read", Frame::Read(Read { conversation: [0x16; 16], id: [0x10; 16], number: 300 })),
        ("expiry", Frame::Expiry(Expiry { conversation: [0x16; 16], revision: 300, seconds: 86_400 })),
    ];
    for (name, frame) in frames {
        let mut out = [0; 1024];
        let length = frame.encode(&mut out).unwrap();
        block.check(name, &out[..length]);
        assert_eq!(Frame::decode(&out[..length]), Ok(Some(frame)));
    }
    block.finish();
}

#[test]
fn a_message_hash() {
    let block = Block::load("message");
    let number = u64::from_be_bytes(block.bytes("number"));
    let body = block.text("body");
    let hash = kith_crypto::wire::message_hash(&block.bytes("id"), number, block.text("content_type"), body.as_bytes());
    block.check("hash", &hash);
    block.finish();
}

#[test]
fn a_room() {
    let block = Block::load("room");
    let (a, b) = devices();
    let secret = RoomSecret::from_bytes(block.bytes("secret"));
    block.check("token", &secret.token());
    let mut members =
        [Member { card: a.card().as_bytes(), name: "Anna" }, Member { card: b.card().as_bytes(), name: "" }];
    members.sort_by_key(Member::client_id);
    let mut out = [0; ROSTER_BYTES_MAX];
    let first = Draft::first(block.bytes("salt"), &secret, &members, block.text("name"));
    let length = first.write(&a, &mut out).unwrap();
    block.check("roster", &out[..length]);
    let bytes = out[..length].to_vec();
    let roster = Roster::parse(&bytes).unwrap();
    assert_eq!((roster.verify(), roster.owner()), (Ok(()), a.client_id()));
    block.check("room_id", &roster.room().0);
    block.check("hash", &roster.hash());

    let lineage = Some(roster.lineage());
    let second = Draft { version: 2, previous: roster.hash(), lineage, hand_over: Some(b.card()), ..first };
    let length = second.write(&a, &mut out).unwrap();
    block.check("handed_over", &out[..length]);
    let roster = Roster::parse(&out[..length]).unwrap();
    assert_eq!((roster.verify(), roster.owner()), (Ok(()), b.client_id()));
    block.finish();
}

#[test]
fn a_vault() {
    let block = Block::load("vault");
    let client_id = ClientId::from_bytes(block.bytes("client_id"));
    let salt: [u8; 16] = block.bytes("salt");
    let iterations = u32::from_be_bytes(block.bytes("iterations"));
    let personal_hash = block.text("personal_hash");

    let full_salt = [b"kith/1 vault", &client_id.as_bytes()[..], &salt].concat();
    let mut master = [0; 32];
    pbkdf2_sha256(personal_hash.as_bytes(), &full_salt, iterations, &mut master);
    block.check("master_key", &master);
    let expand = |key: &[u8], info: &[u8]| derive::<1>(&[], key, &[info])[0];
    block.check("key_encryption_key", &expand(&master, b"kith/1 vault key-encryption key"));
    let derived = MasterKey::derive(personal_hash.as_bytes(), &client_id, &salt, iterations).unwrap();
    block.check("backup_key", derived.backup_key().as_bytes());

    let data_key: [u8; 32] = block.bytes("data_key");
    let data = DataKey::generate(&mut Script::new(&data_key));
    let header: [u8; 44] = block.bytes("header");
    let mut rng = Script::new(&block.bytes::<12>("wrap_nonce"));
    let wrapped = data.wrap(&derived.key_encryption_key(), &header, &mut rng);
    block.check("wrapped", &wrapped);
    assert!(DataKey::unwrap(&derived.key_encryption_key(), &header, &wrapped).is_ok());

    let tag_key: [u8; 32] = block.bytes("tag_key");
    let keys = StoreKeys::generate(&mut Script::new(&[data_key, tag_key].concat()));
    let pair_header: [u8; 45] = block.bytes("pair_header");
    let mut rng = Script::new(&block.bytes::<12>("pair_nonce"));
    let pair = keys.wrap(&derived.key_encryption_key(), &pair_header, &mut rng);
    block.check("pair_wrapped", &pair);
    assert!(StoreKeys::unwrap(&derived.key_encryption_key(), &pair_header, &pair).is_ok());

    assert_eq!(block.text("table"), "messages");
    let tag_of: [u8; 16] = block.bytes("row_tag_of");
    block.check("pair_row_tag", &keys.table(&client_id, "messages").row_tag(&tag_of));
    let table = StoreKeys::from_data_key(data).table(&client_id, "messages");
    block.check("table_key", &expand(&data_key, b"kith/1 table messages"));
    let row_key: [u8; 12] = block.bytes("row_key");
    let value = block.text("value").as_bytes();
    let mut buf = [0; 128];
    buf[13..13 + value.len()].copy_from_slice(value);
    let mut rng = Script::new(&block.bytes::<12>("value_nonce"));
    let length = table.seal(&row_key, &mut buf, value.len(), &mut rng).unwrap();
    block.check("sealed_value", &buf[..length]);
    assert_eq!(table.open(&row_key, &mut buf[..length]).unwrap(), value);
    block.check("row_tag", &table.row_tag(&tag_of));
    block.finish();
}

#[test]
fn a_backup() {
    let (block, vault) = (Block::load("backup"), Block::load("vault"));
    let client_id = ClientId::from_bytes(vault.bytes("client_id"));
    let (salt, iterations) = (vault.bytes("salt"), u32::from_be_bytes(vault.bytes("iterations")));
    let master = MasterKey::derive(vault.text("personal_hash").as_bytes(), &client_id, &salt, iterations).unwrap();
    let key = master.backup_key();
    block.check("backup_key", key.as_bytes());

    let file_salt: [u8; 32] = block.bytes("file_salt");
    let header = format!("{}\n", block.text("header"));
    block.check("header_hash", &sha256(&[header.as_bytes()]));
    block.check("file_key", &derive::<1>(&file_salt, key.as_bytes(), &[b"kith/1 backup file"])[0]);
    let mut sealer = ChunkSealer::new(&key, &file_salt, header.as_bytes());
    let mut first = vec![0; CHUNK_BYTES + CHUNK_OVERHEAD];
    sealer.seal(&mut first, false).unwrap();
    block.check("first_tag", &first[CHUNK_BYTES..]);
    let text = block.text("last_text").as_bytes();
    let mut last = [text, &[0; CHUNK_OVERHEAD]].concat();
    sealer.seal(&mut last, true).unwrap();
    block.check("last_chunk", &last);
    let mut opener = ChunkOpener::new(&key, &file_salt, header.as_bytes());
    assert!(opener.open(&mut first, false).unwrap().iter().all(|byte| *byte == 0));
    assert_eq!(opener.open(&mut last, true).unwrap(), text);

    let sum = sha256(&[b"kith/1 backup", block.text("line").as_bytes(), b"\n"]);
    let digits = Value::Bytes(sum.to_vec()).line("");
    let digits = digits.trim_start_matches(" = ");
    block.check_text("end_line", &format!("{{\"kind\":\"end\",\"lines\":1,\"sha256\":\"{digits}\"}}"));
    block.finish();
}
