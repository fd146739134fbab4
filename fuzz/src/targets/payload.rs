//! A sealed signaling payload: from a contact, from the holder of an invite, from anybody.

use kith_crypto::identity::Identity;
use kith_crypto::sealed::{self, Header, PayloadKind, SessionId};
use kith_crypto::version::Version;

use crate::script::{Script, Writer};
use crate::{Target, Verdict, bound, known};

/// What opens is what was sealed, and nothing that was changed on its way opens.
pub const PAYLOAD: Target = Target { name: "payload", run, seeds };

const STRANGER: u8 = 0;
const STRANGER_FIRST: u8 = 1;
const TAMPERED: u8 = 2;
const TAMPERED_FIRST: u8 = 3;

fn run(input: &[u8]) -> Verdict {
    let (anna, bert) = (known::anna(), known::bert());
    let mut script = Script::new(input);
    match script.byte() % 4 {
        STRANGER => {
            let mut payload = script.rest().to_vec();
            let seen = Header::peek(&payload);
            let opened = bound::within(0, || sealed::open(&bert, anna.public(), &mut payload));
            let Ok(opened) = opened else { return Verdict::Refused };
            assert_eq!(seen, Ok(opened.header));
            assert_ne!(opened.header.kind, PayloadKind::FirstOffer);
        }
        STRANGER_FIRST => {
            let mut payload = script.rest().to_vec();
            let keys = known::invite_keys();
            let first = bound::within(0, || sealed::open_first(&anna, &keys, &mut payload));
            let Ok(first) = first else { return Verdict::Refused };
            assert_eq!(first.opened.header.kind, PayloadKind::FirstOffer);
        }
        kind => tampered(&mut script, &anna, &bert, kind == TAMPERED_FIRST),
    }
    Verdict::Read
}

/// Seals the rest of the input as a body, changes one byte of the payload, and opens it before and after.
fn tampered(script: &mut Script<'_>, anna: &Identity, bert: &Identity, first: bool) {
    let kinds = [PayloadKind::Offer, PayloadKind::Answer, PayloadKind::Candidate, PayloadKind::Withdraw];
    let kind = if first { PayloadKind::FirstOffer } else { kinds[usize::from(script.byte() % 4)] };
    let header = Header { kind, session: SessionId([script.byte(); 16]), index: u32::from(script.short()) };
    let version = Version { major: script.byte(), minor: script.byte(), features: u32::from(script.byte()) };
    let (place, change) = (usize::from(script.short()), script.byte());
    let body = script.rest();
    let (keys, mut rng) = (known::invite_keys(), known::seeded(0));
    let mut payload = vec![0; body.len() + sealed::FIRST_OVERHEAD];
    let length = if first {
        sealed::seal_first(bert, anna.public(), &keys, header, version, body, &mut payload, &mut rng)
    } else {
        sealed::seal(bert, anna.public(), header, version, body, &mut payload, &mut rng)
    };
    assert_eq!(length.is_err(), body.len() > sealed::BODY_BYTES_MAX, "the length alone decides");
    let Ok(length) = length else { return };
    payload.truncate(length);
    let mut whole = payload.clone();
    let opened = if first {
        sealed::open_first(anna, &keys, &mut whole).map(|first| first.opened)
    } else {
        sealed::open(anna, bert.public(), &mut whole)
    };
    let opened = opened.expect("an honest payload opens");
    assert_eq!((opened.header, opened.version, opened.body), (header, version, body));
    if change != 0 {
        let place = place % payload.len();
        payload[place] ^= change;
        assert!(sealed::open(anna, bert.public(), &mut payload.clone()).is_err(), "byte {place}");
        assert!(sealed::open_first(anna, &keys, &mut payload).is_err(), "byte {place}");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let (anna, bert) = (known::anna(), known::bert());
    let (keys, mut rng) = (known::invite_keys(), known::seeded(1));
    let session = SessionId([0x23; 16]);
    let body = b"candidate:1 1 udp 2130706431 198.51.100.7 50000 typ host";
    let mut out = [0; 512];
    let header = Header { kind: PayloadKind::Candidate, session, index: 7 };
    let length = sealed::seal(&anna, bert.public(), header, Version::OWN, body, &mut out, &mut rng);
    let candidate = [&[STRANGER], &out[..length.expect("a candidate fits")]].concat();
    let header = Header { kind: PayloadKind::FirstOffer, session, index: 0 };
    let length = sealed::seal_first(&bert, anna.public(), &keys, header, Version::OWN, body, &mut out, &mut rng);
    let first = [&[STRANGER_FIRST], &out[..length.expect("an offer fits")]].concat();
    let tampered = |kind: u8, place: u16| {
        let start = Writer::default().byte(kind).byte(2).byte(9).short(7).byte(1).byte(0).byte(0);
        [start.short(place).byte(0x41).0, body.to_vec()].concat()
    };
    vec![candidate, first, tampered(TAMPERED, 0), tampered(TAMPERED, 60), tampered(TAMPERED_FIRST, 100)]
}
