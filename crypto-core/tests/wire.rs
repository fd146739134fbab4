//! Frames: what is encoded is decoded, and no bytes make the decoder fall over.

mod support;

use kith_crypto::identity::Card;
use kith_crypto::room::{ROSTER_BYTES_MAX, RoomId, RoomSecret};
use kith_crypto::version::Version;
use kith_crypto::wire::{
    Ack, BODY_BYTES_MAX, CONTENT_TYPE_BYTES_MAX, Expiry, Frame, Hello, Introduce, Message, NAME_BYTES_MAX, Read, Room,
    RosterFrame, WireError, message_hash, tlv,
};
use proptest::prelude::*;
use support::identity;

/// What a frame of any kind is made of, owned.
#[derive(Clone, Debug)]
enum Parts {
    Hello(Version, [u8; 16]),
    Message(MessageParts),
    Ack([u8; 16], [u8; 32]),
    Introduce(String),
    Paired(String),
    Rekey(Vec<u8>),
    Switch,
    AskRekey,
    Commitment([u8; 32]),
    Nonce([u8; 32]),
    Agree,
    Ping([u8; 8]),
    Pong([u8; 8]),
    Room([u8; 16], u64, [u8; 32]),
    Roster([u8; 32], Vec<u8>),
    Dismissal([u8; 16], u64),
    Expiry([u8; 16], u64, u32),
    Read([u8; 16], [u8; 16], u64),
    Leave([u8; 16]),
}

#[derive(Clone, Debug)]
struct MessageParts {
    id: [u8; 16],
    conversation: [u8; 16],
    numbers: (u64, u64),
    clock_trusted: bool,
    content_type: String,
    reply_to: Option<[u8; 16]>,
    ttl_s: Option<u32>,
    body: Vec<u8>,
}

impl MessageParts {
    fn message(&self) -> Message<'_> {
        Message {
            id: self.id,
            conversation: self.conversation,
            number: self.numbers.0,
            sent_utc_ms: self.numbers.1,
            clock_trusted: self.clock_trusted,
            content_type: &self.content_type,
            reply_to: self.reply_to,
            ttl_s: self.ttl_s,
            body: &self.body,
        }
    }
}

impl Parts {
    fn frame<'a>(&'a self, card: &Card) -> Frame<'a> {
        match self {
            Self::Hello(version, incarnation) => Frame::Hello(Hello { version: *version, incarnation: *incarnation }),
            Self::Message(parts) => Frame::Message(parts.message()),
            Self::Ack(id, hash) => Frame::Ack(Ack { id: *id, hash: *hash }),
            Self::Introduce(name) => Frame::Introduce(Introduce { card: card.clone(), name }),
            Self::Paired(name) => Frame::Paired { name },
            Self::Rekey(message) => Frame::Rekey(message),
            Self::Switch => Frame::Switch,
            Self::AskRekey => Frame::AskRekey,
            Self::Commitment(bytes) => Frame::Commitment(*bytes),
            Self::Nonce(bytes) => Frame::Nonce(*bytes),
            Self::Agree => Frame::Agree,
            Self::Ping(token) => Frame::Ping(*token),
            Self::Pong(token) => Frame::Pong(*token),
            Self::Room(room, version, hash) => {
                Frame::Room(Room { room: RoomId(*room), version: *version, hash: *hash, incarnation: [7; 16] })
            }
            Self::Roster(secret, roster) => {
                Frame::Roster(RosterFrame { secret: RoomSecret::from_bytes(*secret), roster })
            }
            Self::Expiry(conversation, revision, seconds) => {
                Frame::Expiry(Expiry { conversation: *conversation, revision: *revision, seconds: *seconds })
            }
            Self::Read(conversation, id, number) => {
                Frame::Read(Read { conversation: *conversation, id: *id, number: *number })
            }
            Self::Dismissal(room, version) => Frame::Dismissal { room: RoomId(*room), version: *version },
            Self::Leave(room) => Frame::Leave(RoomId(*room)),
        }
    }
}

fn message_parts() -> impl Strategy<Value = MessageParts> {
    (
        any::<([u8; 16], [u8; 16], (u64, u64), bool)>(),
        "[a-z0-9][a-z0-9.+-]{0,20}/[a-zA-Z0-9][a-z0-9!#$&^_.+-]{0,40}",
        any::<(Option<[u8; 16]>, Option<u32>)>(),
        prop::collection::vec(any::<u8>(), 0..1000),
    )
        .prop_map(|((id, conversation, numbers, clock_trusted), content_type, (reply_to, ttl_s), body)| {
            MessageParts { id, conversation, numbers, clock_trusted, content_type, reply_to, ttl_s, body }
        })
}

fn parts() -> impl Strategy<Value = Parts> {
    let version = any::<(u8, u8, u32)>().prop_map(|(major, minor, features)| Version { major, minor, features });
    prop_oneof![
        (version, any::<[u8; 16]>()).prop_map(|(version, incarnation)| Parts::Hello(version, incarnation)),
        message_parts().prop_map(Parts::Message),
        any::<([u8; 16], [u8; 32])>().prop_map(|(id, hash)| Parts::Ack(id, hash)),
        "\\PC{0,16}".prop_map(Parts::Introduce),
        "\\PC{0,16}".prop_map(Parts::Paired),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Parts::Rekey),
        Just(Parts::Switch),
        Just(Parts::AskRekey),
        any::<[u8; 32]>().prop_map(Parts::Commitment),
        any::<[u8; 32]>().prop_map(Parts::Nonce),
        Just(Parts::Agree),
        any::<[u8; 8]>().prop_map(Parts::Ping),
        any::<[u8; 8]>().prop_map(Parts::Pong),
        any::<([u8; 16], u64, [u8; 32])>().prop_map(|(room, version, hash)| Parts::Room(room, version, hash)),
        (any::<[u8; 32]>(), prop::collection::vec(any::<u8>(), 0..=ROSTER_BYTES_MAX))
            .prop_map(|(secret, roster)| Parts::Roster(secret, roster)),
        any::<([u8; 16], u64)>().prop_map(|(room, version)| Parts::Dismissal(room, version)),
        any::<([u8; 16], [u8; 16], u64)>().prop_map(|(of, id, number)| Parts::Read(of, id, number)),
        any::<([u8; 16], u64, u32)>().prop_map(|(of, revision, seconds)| Parts::Expiry(of, revision, seconds)),
        any::<[u8; 16]>().prop_map(Parts::Leave),
    ]
}

fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = vec![0; 16_384];
    let length = frame.encode(&mut out).unwrap();
    out.truncate(length);
    out
}

proptest! {
    #[test]
    fn a_frame_survives_its_encoding(parts in parts()) {
        let identity = identity(1);
        let frame = parts.frame(identity.card());
        let bytes = encoded(&frame);
        prop_assert_eq!(Frame::decode(&bytes), Ok(Some(frame.clone())));
        // It fits exactly, and not into less.
        prop_assert_eq!(frame.encode(&mut vec![0; bytes.len()]), Ok(bytes.len()));
        prop_assert_eq!(frame.encode(&mut vec![0; bytes.len() - 1]), Err(WireError::NoSpace));
    }

    #[test]
    fn no_part_of_a_frame_is_a_frame(parts in parts(), cut in any::<prop::sample::Index>()) {
        let bytes = encoded(&parts.frame(identity(1).card()));
        prop_assert!(Frame::decode(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(Frame::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Frame::decode(&bytes);
        let _ = tlv::read(&bytes);
        let _ = Card::parse(&bytes);
    }

    #[test]
    fn arbitrary_payloads_of_every_kind_never_panic(
        kind in prop_oneof![0x01..=0x08u8, 0x89..=0x8au8],
        payload in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut out = vec![0; 400];
        let length = tlv::write(kind, &payload, &mut out).unwrap();
        if let Ok(Some(frame)) = Frame::decode(&out[..length]) {
            // What was decoded can be sent on.
            let again = encoded(&frame);
            prop_assert_eq!(Frame::decode(&again), Ok(Some(frame)));
        }
    }

    #[test]
    fn a_tlv_survives_its_encoding(
        kind in any::<u8>(),
        payload in prop::collection::vec(any::<u8>(), 0..300),
        after in prop::collection::vec(any::<u8>(), 0..10),
    ) {
        let mut out = vec![0; 400];
        let length = tlv::write(kind, &payload, &mut out).unwrap();
        let bytes = [&out[..length], &after].concat();
        let (read, rest) = tlv::read(&bytes).unwrap();
        prop_assert_eq!((read.kind, read.payload, rest), (kind, &payload[..], &after[..]));
        prop_assert_eq!(read.is_optional(), kind >= 0x80);
    }
}

fn message<'a>(content_type: &'a str, body: &'a [u8]) -> Message<'a> {
    Message {
        id: [1; 16],
        conversation: [0; 16],
        number: 1,
        sent_utc_ms: 2,
        clock_trusted: true,
        content_type,
        reply_to: None,
        ttl_s: None,
        body,
    }
}

#[test]
fn what_is_over_its_limit_is_neither_written_nor_read() {
    let mut out = vec![0; 20_000];
    let long = "n".repeat(NAME_BYTES_MAX + 1);
    assert_eq!(Frame::Paired { name: &long }.encode(&mut out), Err(WireError::TooLong));
    assert!(Frame::Paired { name: &long[1..] }.encode(&mut out).is_ok());
    let length = tlv::write(0x05, &[&[65], long.as_bytes()].concat(), &mut out).unwrap();
    assert_eq!(Frame::decode(&out[..length]), Err(WireError::TooLong));

    let body = vec![0; BODY_BYTES_MAX + 1];
    let frame = Frame::Message(message("text/plain", &body));
    assert_eq!(frame.encode(&mut out), Err(WireError::TooLong));
    let mut over = vec![0; 20_000];
    let payload = postcard::to_slice(&message("text/plain", &body), &mut over).unwrap();
    let length = tlv::write(0x02, payload, &mut out).unwrap();
    assert_eq!(Frame::decode(&out[..length]), Err(WireError::TooLong));

    let content_type = format!("text/{}", "x".repeat(CONTENT_TYPE_BYTES_MAX - 4));
    assert_eq!(Frame::Message(message(&content_type, b"")).encode(&mut out), Err(WireError::TooLong));
}

#[test]
fn a_content_type_has_the_form_of_rfc_6838() {
    let mut out = [0; 256];
    for good in ["text/plain", "a/b", "application/vnd.kith.position+json", "x/y_!#$&-^_.+1"] {
        assert!(Frame::Message(message(good, b"")).encode(&mut out).is_ok(), "{good}");
    }
    for bad in ["", "/", "text", "text/", "/plain", "text/plain; charset=utf-8", "te xt/plain", "a/b/c", "ä/b", ".a/b"]
    {
        let refused = Frame::Message(message(bad, b"")).encode(&mut out);
        assert_eq!(refused, Err(WireError::ContentType), "{bad}");
    }
}

#[test]
fn an_unknown_optional_kind_is_none_and_another_an_error() {
    assert_eq!(Frame::decode(&[0xff, 0, 0]), Ok(None));
    assert_eq!(Frame::decode(&[0x81, 0, 1, 9]), Ok(None));
    assert_eq!(Frame::decode(&[0x7f, 0, 0]), Err(WireError::UnknownKind(0x7f)));
    assert_eq!(Frame::decode(&[0x1c, 0, 0]), Err(WireError::UnknownKind(0x1c)));
    assert_eq!(Frame::decode(&[0x07, 0, 1, 0]), Err(WireError::Malformed));
    assert_eq!(Frame::decode(&[0x07, 0]), Err(WireError::Truncated));
}

#[test]
fn an_introduction_with_a_changed_card_is_refused() {
    let identity = identity(1);
    let introduce = Frame::Introduce(Introduce { card: identity.card().clone(), name: "Ann" });
    let bytes = encoded(&introduce);
    assert_eq!(bytes.len(), 3 + 130 + 1 + 3);
    assert_eq!(bytes[3..133], *identity.card().as_bytes());
    for at in (3..133).step_by(9) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert_eq!(Frame::decode(&changed), Err(WireError::Malformed), "byte {at}");
    }
}

#[test]
fn a_message_is_named_by_all_that_it_says() {
    let hash = message_hash(&[1; 16], 1, "text/plain", b"body");
    assert_eq!(message("text/plain", b"body").hash(), hash);
    assert_ne!(message_hash(&[2; 16], 1, "text/plain", b"body"), hash);
    assert_ne!(message_hash(&[1; 16], 2, "text/plain", b"body"), hash);
    assert_ne!(message_hash(&[1; 16], 1, "text/plai", b"nbody"), hash);
    assert_ne!(message_hash(&[1; 16], 1, "text/plain", b"bodx"), hash);
}
