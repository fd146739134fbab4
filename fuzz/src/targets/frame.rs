//! A frame between peers, and the messages in it.

use kith_crypto::version::Version;
use kith_crypto::wire::{Ack, Frame, Hello, Introduce, Message, tlv};

use crate::{Target, Verdict, bound, known};

/// Decoding copies nothing; a decoded frame has one encoding, which decodes to the same frame.
pub const FRAME: Target = Target { name: "frame", run, seeds };

/// Room for the longest TLV.
const ENCODED_BYTES_MAX: usize = tlv::HEADER_BYTES + u16::MAX as usize;

fn run(input: &[u8]) -> Verdict {
    let Ok(Some(frame)) = bound::within(0, || Frame::decode(input)) else { return Verdict::Refused };
    let encoded = encoded(&frame);
    assert!(encoded.len() <= input.len(), "an encoding is never longer than what it was decoded from");
    let again = Frame::decode(&encoded).expect("what was encoded decodes").expect("to a known kind");
    assert_eq!(again, frame);
    assert_eq!(self::encoded(&again), encoded);
    if let (Frame::Message(one), Frame::Message(other)) = (&frame, &again) {
        assert_eq!(one.hash(), other.hash());
    }
    Verdict::Read
}

/// The bytes of a frame.
pub(crate) fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = vec![0; ENCODED_BYTES_MAX];
    let length = frame.encode(&mut out).expect("what was decoded can be encoded");
    out.truncate(length);
    out
}

fn seeds() -> Vec<Vec<u8>> {
    frames(encoded)
}

/// One frame of each kind, and what becomes of it.
pub(crate) fn frames<T>(mut each: impl FnMut(&Frame<'_>) -> T) -> Vec<T> {
    let short = Message {
        id: [0x10; 16],
        conversation: [0; 16],
        number: 1,
        sent_utc_ms: 1_800_000_000_000,
        clock_trusted: true,
        content_type: "text/plain",
        reply_to: None,
        ttl_s: None,
        body: b"hello",
    };
    let long_body = [0x42; 1_500];
    let long = Message {
        id: [0x11; 16],
        number: 300,
        clock_trusted: false,
        content_type: "application/vnd.example.reading+json",
        reply_to: Some([0x10; 16]),
        ttl_s: Some(86_400),
        body: &long_body,
        ..short
    };
    let hash = short.hash();
    [
        Frame::Hello(Hello { version: Version::OWN, incarnation: [1; 16] }),
        Frame::Message(short),
        Frame::Message(long),
        Frame::Ack(Ack { id: [0x10; 16], hash }),
        Frame::Introduce(Introduce { card: known::anna().card().clone(), name: "Anna" }),
        Frame::Introduce(Introduce { card: known::bert().card().clone(), name: "Bert" }),
        Frame::Paired { name: "Bärbel" },
        Frame::Rekey(&[0x13; 81]),
        Frame::Switch,
        Frame::AskRekey,
        Frame::Commitment([0x16; 32]),
        Frame::Nonce([0x17; 32]),
        Frame::Agree,
        Frame::Ping([0x14; 8]),
        Frame::Pong([0x15; 8]),
    ]
    .iter()
    .map(&mut each)
    .collect()
}
