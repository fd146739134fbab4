//! What lies on disk: the clear header, and the plaintexts of sealed values.

use kith_crypto::identity::ClientId;
use kith_crypto::wire::tlv;
use kith_engine::{
    ContactRecord, ContactState, ConversationRecord, Direction, Incarnation, Mark, MessageId, MessageRecord,
    MessageState, MissingRecord, ProfileRecord,
};
use kithd::store::reread;

use crate::{Target, Verdict, bound, known};

/// What reads has one form, and is written in it. Lengths that lie cost nothing.
pub const STORE: Target = Target { name: "store", run, seeds };

const HEADER: u8 = 0;
const VALUE: u8 = 1;

/// A value is read into as much again, and written into one buffer; a list that grows is there twice for a moment.
const COST_BYTES_MAX: usize = 32 * 1024;

fn run(input: &[u8]) -> Verdict {
    let Some((what, bytes)) = input.split_first() else { return Verdict::Refused };
    let reread = match *what {
        HEADER => reread::header,
        _ => reread::value,
    };
    let Some(written) = bound::within(4 * bytes.len() + COST_BYTES_MAX, || reread(bytes)) else {
        return Verdict::Refused;
    };
    assert!(written.len() <= bytes.len(), "what was written is never longer than what was read");
    assert_eq!(reread(&written).as_ref(), Some(&written));
    if *what == HEADER {
        assert_eq!(written, bytes, "a header has one form");
    }
    Verdict::Read
}

fn seeds() -> Vec<Vec<u8>> {
    let headers = [
        concat!(
            "0100650131313131313131313131313131313131313131313232323232323232323232323232323200030d40",
            "34343434343434343434343470ebb208e379f45f11ee9757da39d6555ccd03f8abf8e02810da0fd547e9771585107f9bc6e5",
            "2fc0027cd427bcc72aa0"
        ),
        concat!(
            "020086010131313131313131313131313131313131313131313232323232323232323232323232323200030d40",
            "3838383838383838383838382c113fed13c4de8c21b1039b10888df4aea167f89e6f0ffb689cb819f43c414508875a76f1c3",
            "a33ee82d0e842929fa410f4145a5f798f547bd7590a2df397918cb9f659ff0f85b68a6f70dc7a807b35d"
        ),
    ];
    let mut seeds: Vec<Vec<u8>> = values().iter().map(|(kind, payload)| value(*kind, payload)).collect();
    for header in headers {
        let header = data_encoding::HEXLOWER.decode(header.as_bytes()).expect("a vector of docs/protocol.md §10.9");
        seeds.push([&[HEADER], &header[..]].concat());
    }
    seeds
}

fn value(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut value = vec![0; tlv::HEADER_BYTES + payload.len()];
    tlv::write(kind, payload, &mut value).expect("a payload fits");
    [&[VALUE], &value[..]].concat()
}

/// One payload of each kind (docs/protocol.md §8.3).
fn values() -> Vec<(u8, Vec<u8>)> {
    fn bytes(record: &impl serde::Serialize) -> Vec<u8> {
        postcard::to_allocvec(record).expect("a record can be written")
    }
    let (anna, bert) = (known::anna(), known::bert());
    let incarnation = Incarnation([5; 16]);
    let message = MessageRecord {
        seq: 300,
        id: MessageId([0x10; 16]),
        direction: Direction::Incoming,
        number: 7,
        incarnation,
        sent_utc_ms: 1_800_000_000_000,
        clock_trusted: true,
        done_utc_ms: 1_800_000_000_100,
        state: MessageState::Delivered,
        content_type: "text/plain".to_owned(),
        reply_to: Some(MessageId([0x11; 16])),
        ttl_s: Some(86_400),
        body: b"hello".to_vec(),
    };
    let contact = ContactRecord {
        card: bert.card().clone(),
        name: "Bert".to_owned(),
        state: ContactState::Paired,
        major_min: 1,
        paired_utc_ms: 1_800_000_000_000,
        seen_utc_ms: 0,
        incarnation,
    };
    let marks = [Mark { incarnation, number: 7 }, Mark { incarnation: Incarnation([6; 16]), number: 1 << 40 }];
    vec![
        (0x10, anna.to_secret_bytes().to_vec()),
        (0x11, bytes(&ProfileRecord { display_name: "Anna".to_owned(), incarnation })),
        (0x12, bytes(&3u32)),
        (0x20, bytes(&2u32)),
        (0x21, bytes(&contact)),
        (0x22, bytes(&ConversationRecord { last_seq: 300, read_seq: 299, unread: 1, sent_number: 150 })),
        (0x23, bytes(&marks.to_vec())),
        (0x24, bytes(&MissingRecord { watching: true, count: 300 })),
        (0x30, bytes(&message)),
        (0x30, bytes(&MessageRecord { reply_to: None, ttl_s: None, direction: Direction::Outgoing, ..message })),
        (0x31, bytes(&300u64)),
        (0x32, bytes(&MessageId([0x10; 16]))),
        (0x33, bytes(&300u64)),
        (0x34, bytes(&(ClientId::from_bytes([9; 20]), 2u32, 300u64))),
        (0x35, bytes(&u64::MAX)),
    ]
}
