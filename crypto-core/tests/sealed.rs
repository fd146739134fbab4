//! Sealed signaling payloads: who can open what.

mod support;

use kith_crypto::identity::Identity;
use kith_crypto::invite::{InviteKeys, InviteSecret};
use kith_crypto::sealed::{
    BODY_BYTES_MAX, FIRST_OVERHEAD, Header, OVERHEAD, PayloadKind, SealedError, SessionId, open, open_first, seal,
    seal_first, show_card, shown_card,
};
use kith_crypto::version::Version;
use support::{identity, seeded};

const BODY: &[u8] = b"v=0 and the rest of an SDP";

fn header(kind: PayloadKind) -> Header {
    Header { kind, session: SessionId([0x5e; 16]), index: 0x0102_0304 }
}

fn keys() -> InviteKeys {
    InviteSecret::from_bytes([0x11; 32]).keys()
}

fn sealed(from: &Identity, to: &Identity, kind: PayloadKind, body: &[u8]) -> Vec<u8> {
    let mut payload = vec![0; OVERHEAD + body.len()];
    let length = seal(from, to.public(), header(kind), Version::OWN, body, &mut payload, &mut seeded(5)).unwrap();
    assert_eq!(length, payload.len());
    payload
}

fn sealed_first(from: &Identity, to: &Identity, body: &[u8]) -> Vec<u8> {
    let mut payload = vec![0; FIRST_OVERHEAD + body.len()];
    let header = header(PayloadKind::FirstOffer);
    let length =
        seal_first(from, to.public(), &keys(), header, Version::OWN, body, &mut payload, &mut seeded(5)).unwrap();
    assert_eq!(length, payload.len());
    payload
}

#[test]
fn the_receiver_opens_what_was_sealed_for_it() {
    let (a, b) = (identity(1), identity(2));
    for kind in [PayloadKind::Offer, PayloadKind::Answer, PayloadKind::Candidate, PayloadKind::Withdraw] {
        for body in [BODY, b""] {
            let mut payload = sealed(&a, &b, kind, body);
            assert_eq!(Header::peek(&payload), Ok(header(kind)));
            let opened = open(&b, a.public(), &mut payload).unwrap();
            assert_eq!((opened.header, opened.version, opened.body), (header(kind), Version::OWN, body));
        }
    }
}

#[test]
fn the_inviter_opens_a_first_offer_and_learns_who_sent_it() {
    let (invitee, inviter) = (identity(1), identity(2));
    let mut payload = sealed_first(&invitee, &inviter, BODY);
    let first = open_first(&inviter, &keys(), &mut payload).unwrap();
    assert_eq!(first.card, *invitee.card());
    assert_eq!(first.opened.header, header(PayloadKind::FirstOffer));
    assert_eq!((first.opened.version, first.opened.body), (Version::OWN, BODY));
}

#[test]
fn any_changed_byte_is_refused() {
    let (a, b) = (identity(1), identity(2));
    let payload = sealed(&a, &b, PayloadKind::Candidate, BODY);
    for at in 0..payload.len() {
        for bit in [0x01, 0x80] {
            let mut changed = payload.clone();
            changed[at] ^= bit;
            assert!(open(&b, a.public(), &mut changed).is_err(), "byte {at}");
        }
    }
}

#[test]
fn any_changed_byte_of_a_first_offer_is_refused() {
    let (a, b) = (identity(1), identity(2));
    let payload = sealed_first(&a, &b, BODY);
    for at in 0..payload.len() {
        let mut changed = payload.clone();
        changed[at] ^= 1;
        assert!(open_first(&b, &keys(), &mut changed).is_err(), "byte {at}");
    }
}

#[test]
fn any_other_length_is_refused() {
    let (a, b) = (identity(1), identity(2));
    let payload = sealed(&a, &b, PayloadKind::Offer, BODY);
    for length in 0..payload.len() {
        assert!(open(&b, a.public(), &mut payload[..length].to_vec()).is_err(), "{length}");
    }
    assert!(open(&b, a.public(), &mut [&payload[..], &[0]].concat()).is_err());
    let payload = sealed_first(&a, &b, BODY);
    for length in (0..payload.len()).step_by(7) {
        assert!(open_first(&b, &keys(), &mut payload[..length].to_vec()).is_err(), "{length}");
    }
}

#[test]
fn only_the_named_sender_and_receiver_open() {
    let (a, b, other) = (identity(1), identity(2), identity(3));
    let payload = sealed(&a, &b, PayloadKind::Offer, BODY);
    let refused = open(&b, other.public(), &mut payload.clone()).map(|_| ());
    assert_eq!(refused, Err(SealedError::Sealed));
    let refused = open(&other, a.public(), &mut payload.clone()).map(|_| ());
    assert_eq!(refused, Err(SealedError::Sealed));
    let refused = open(&a, b.public(), &mut payload.clone()).map(|_| ());
    assert_eq!(refused, Err(SealedError::Sealed));
    // The same agreement key under another signing key is another identity.
    let mut secrets = a.to_secret_bytes();
    secrets[..32].copy_from_slice(&other.to_secret_bytes()[..32]);
    let half = Identity::from_secret_bytes(&secrets).unwrap();
    let refused = open(&b, half.public(), &mut payload.clone()).map(|_| ());
    assert_eq!(refused, Err(SealedError::Sealed));
}

#[test]
fn a_first_offer_opens_with_its_invite_only() {
    let (a, b) = (identity(1), identity(2));
    let payload = sealed_first(&a, &b, BODY);
    let others = InviteSecret::from_bytes([0x12; 32]).keys();
    let refused = open_first(&b, &others, &mut payload.clone()).map(|_| ());
    assert_eq!(refused, Err(SealedError::Sealed));
    // The right keys under another token.
    let mut renamed = keys();
    renamed.token[0] ^= 1;
    let refused = open_first(&b, &renamed, &mut payload.clone()).map(|_| ());
    assert_eq!(refused, Err(SealedError::Sealed));
}

#[test]
fn a_first_offer_with_a_strangers_card_is_refused() {
    let (a, b, other) = (identity(1), identity(2), identity(3));
    let mut payload = sealed_first(&a, &b, BODY);
    payload[21..151].copy_from_slice(other.card().as_bytes());
    let refused = open_first(&b, &keys(), &mut payload).map(|_| ());
    assert_eq!(refused, Err(SealedError::Sealed));
}

#[test]
fn the_two_forms_are_not_mistaken_for_each_other() {
    let (a, b) = (identity(1), identity(2));
    let mut out = vec![0; 1024];
    let first = header(PayloadKind::FirstOffer);
    let refused = seal(&a, b.public(), first, Version::OWN, BODY, &mut out, &mut seeded(1));
    assert_eq!(refused, Err(SealedError::Kind));
    let offer = header(PayloadKind::Offer);
    let refused = seal_first(&a, b.public(), &keys(), offer, Version::OWN, BODY, &mut out, &mut seeded(1));
    assert_eq!(refused, Err(SealedError::Kind));
    let refused = open(&b, a.public(), &mut sealed_first(&a, &b, BODY)).map(|_| ());
    assert_eq!(refused, Err(SealedError::Kind));
    let refused = open_first(&b, &keys(), &mut sealed(&a, &b, PayloadKind::Offer, BODY)).map(|_| ());
    assert_eq!(refused, Err(SealedError::Kind));
    for unknown in [0, 7, 255] {
        assert_eq!(Header::peek(&[unknown; 21]), Err(SealedError::Kind));
    }
    assert_eq!(Header::peek(&[1; 20]), Err(SealedError::Length));
}

#[test]
fn a_card_is_shown_in_clear_and_read_only_as_what_it_is() {
    let (a, b) = (identity(1), identity(2));
    let shown = show_card(a.card());
    assert_eq!(shown_card(&shown).as_ref(), Ok(a.card()));
    assert_eq!(open(&b, a.public(), &mut shown.to_vec()).map(|_| ()), Err(SealedError::Kind));
    assert_eq!(open_first(&b, &keys(), &mut shown.to_vec()).map(|_| ()), Err(SealedError::Kind));
    let mut out = vec![0; 1024];
    let refused = seal(&a, b.public(), header(PayloadKind::Card), Version::OWN, BODY, &mut out, &mut seeded(1));
    assert_eq!(refused, Err(SealedError::Kind));
    assert_eq!(shown_card(&sealed(&a, &b, PayloadKind::Offer, BODY)), Err(SealedError::Kind));
    for length in [0, 20, 150] {
        assert_eq!(shown_card(&shown[..length]), Err(SealedError::Length));
    }
    assert_eq!(shown_card(&[&shown[..], &[0]].concat()), Err(SealedError::Length));
    let mut changed = shown;
    changed[150] ^= 1;
    assert!(matches!(shown_card(&changed), Err(SealedError::Card(_))));
}

#[test]
fn a_body_over_the_limit_is_refused_on_both_sides() {
    let (a, b) = (identity(1), identity(2));
    let body = vec![0; BODY_BYTES_MAX + 1];
    let mut out = vec![0; OVERHEAD + body.len()];
    let offer = header(PayloadKind::Offer);
    let refused = seal(&a, b.public(), offer, Version::OWN, &body, &mut out, &mut seeded(1));
    assert_eq!(refused, Err(SealedError::Length));
    out[0] = 1;
    assert_eq!(open(&b, a.public(), &mut out).map(|_| ()), Err(SealedError::Length));
    let mut payload = sealed(&a, &b, PayloadKind::Offer, &body[1..]);
    assert!(open(&b, a.public(), &mut payload).is_ok());
    let refused = seal(&a, b.public(), offer, Version::OWN, BODY, &mut out[..OVERHEAD], &mut seeded(1));
    assert_eq!(refused, Err(SealedError::NoSpace));
}
