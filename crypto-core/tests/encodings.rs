//! Encodings that are refused, wherever a point or a signature comes in.

mod support;

use hex_literal::hex;
use kith_crypto::identity::{Card, IdentityError, LoginChallenge, PublicIdentity, verify_login};
use kith_crypto::noise::{HandshakeState, NoiseError, Role};
use kith_crypto::primitives::{
    generate_secret, point_from_compressed, point_from_uncompressed, point_to_compressed, point_to_uncompressed,
    secret_from_bytes,
};
use kith_crypto::sealed::{self, Header, PayloadKind, SealedError, SessionId};
use kith_crypto::version::Version;
use p256::ecdsa::Signature;
use support::{identity, seeded};

/// The field prime: no coordinate is as large.
const PRIME: [u8; 32] = hex!("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
/// The order of the group.
const ORDER: [u8; 32] = hex!("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");

/// An x with no point: x³ - 3x + b is no square.
fn x_off_the_curve() -> [u8; 32] {
    (0..=255)
        .map(|last| {
            let mut x = [0; 32];
            x[31] = last;
            x
        })
        .find(|x| point_from_compressed(&[&[2], &x[..]].concat()).is_err())
        .unwrap()
}

/// What is no compressed point, beginning from one that is.
fn bad_compressed(good: &[u8; 33]) -> Vec<(&'static str, Vec<u8>)> {
    let with_tag = |tag: u8| [&[tag], &good[1..]].concat();
    vec![
        ("compact", with_tag(5)),
        ("uncompressed tag", with_tag(4)),
        ("hybrid, even", with_tag(6)),
        ("hybrid, odd", with_tag(7)),
        ("tag zero", with_tag(0)),
        ("infinity, padded", vec![0; 33]),
        ("not below the prime", [&[2], &PRIME[..]].concat()),
        ("off the curve", [&[2], &x_off_the_curve()[..]].concat()),
    ]
}

/// What is no uncompressed point, beginning from one that is; all of 65 bytes.
fn bad_uncompressed(good: &[u8; 65]) -> Vec<(&'static str, [u8; 65])> {
    let with_tag = |tag: u8| {
        let mut bytes = *good;
        bytes[0] = tag;
        bytes
    };
    let mut off = *good;
    off[64] ^= 1;
    let mut large = *good;
    large[1..33].copy_from_slice(&PRIME);
    let mut zero = [0; 65];
    zero[0] = 4;
    vec![
        ("hybrid, even", with_tag(6)),
        ("hybrid, odd", with_tag(7)),
        ("compact", with_tag(5)),
        ("compressed tag", with_tag(2)),
        ("infinity, padded", [0; 65]),
        ("zero", zero),
        ("off the curve", off),
        ("not below the prime", large),
    ]
}

#[test]
fn points_are_parsed_in_one_encoding_only() {
    let point = generate_secret(&mut seeded(1)).public_key();
    let (compressed, uncompressed) = (point_to_compressed(&point), point_to_uncompressed(&point));
    assert_eq!(point_from_compressed(&compressed), Ok(point));
    assert_eq!(point_from_uncompressed(&uncompressed), Ok(point));
    assert!(point_from_compressed(&uncompressed).is_err());
    assert!(point_from_uncompressed(&compressed).is_err());
    for (what, bytes) in bad_compressed(&compressed) {
        assert!(point_from_compressed(&bytes).is_err(), "{what}");
    }
    for (what, bytes) in bad_uncompressed(&uncompressed) {
        assert!(point_from_uncompressed(&bytes).is_err(), "{what}");
    }
    for length in [0, 1, 32, 34] {
        assert!(point_from_compressed(&vec![2; length]).is_err(), "{length}");
    }
    for length in [0, 1, 64, 66] {
        assert!(point_from_uncompressed(&vec![4; length]).is_err(), "{length}");
    }
}

#[test]
fn private_keys_lie_between_zero_and_the_order() {
    assert!(secret_from_bytes(&[0; 32]).is_err());
    assert!(secret_from_bytes(&ORDER).is_err());
    assert!(secret_from_bytes(&[0xff; 32]).is_err());
    let mut last = ORDER;
    last[31] -= 1;
    assert!(secret_from_bytes(&last).is_ok());
}

#[test]
fn an_identity_refuses_keys_in_another_encoding() {
    let good = identity(1).public().to_bytes();
    assert!(PublicIdentity::from_bytes(&good).is_ok());
    for at in [0, 33] {
        let key = good[at..at + 33].try_into().unwrap();
        for (what, bytes) in bad_compressed(&key) {
            let mut changed = good;
            changed[at..at + 33].copy_from_slice(&bytes);
            let refused = PublicIdentity::from_bytes(&changed);
            assert_eq!(refused, Err(IdentityError::Point), "{what} at {at}");
        }
    }
}

#[test]
fn a_card_refuses_any_change_and_another_length() {
    let card = *identity(1).card().as_bytes();
    assert!(Card::parse(&card).is_ok());
    for at in 0..card.len() {
        let mut changed = card;
        changed[at] ^= 1;
        assert!(Card::parse(&changed).is_err(), "byte {at}");
    }
    assert_eq!(Card::parse(&card[..129]), Err(IdentityError::Length));
    assert_eq!(Card::parse(&[&card[..], &[0]].concat()), Err(IdentityError::Length));
}

#[test]
fn nobody_bundles_anothers_signing_key() {
    let (a, b) = (identity(1), identity(2));
    let mut mixed = *a.card().as_bytes();
    mixed[33..66].copy_from_slice(&b.card().as_bytes()[33..66]);
    assert_eq!(Card::parse(&mixed), Err(IdentityError::Signature));
}

/// The same signature with s in the other half; verifies wherever the half is not checked.
fn high(signature: [u8; 64]) -> [u8; 64] {
    let low = Signature::from_slice(&signature).unwrap();
    let (r, s) = low.split_scalars();
    Signature::from_scalars(r, -s).unwrap().to_bytes().into()
}

#[test]
fn a_high_s_is_refused() {
    let identity = identity(1);
    let mut card = *identity.card().as_bytes();
    let signature = high(card[66..].try_into().unwrap());
    card[66..].copy_from_slice(&signature);
    assert_eq!(Card::parse(&card), Err(IdentityError::Signature));

    let challenge = LoginChallenge { server_name: "signal.example", nonce: &[7; 32] };
    let signature = identity.sign_login(&challenge);
    assert_eq!(verify_login(identity.card(), &challenge, &signature), Ok(()));
    let refused = verify_login(identity.card(), &challenge, &high(signature));
    assert_eq!(refused, Err(IdentityError::Signature));
}

#[test]
fn signatures_are_low_and_the_same_each_time() {
    let challenges = (0..32u8).map(|byte| [byte; 32]);
    let identity = identity(1);
    for nonce in challenges {
        let challenge = LoginChallenge { server_name: "signal.example", nonce: &nonce };
        let signature = identity.sign_login(&challenge);
        assert_eq!(signature, identity.sign_login(&challenge));
        assert!(signature[32] < 0x80);
        assert_eq!(verify_login(identity.card(), &challenge, &signature), Ok(()));
    }
}

#[test]
fn a_login_counts_for_one_server_one_nonce_and_one_device() {
    let (device, other) = (identity(1), identity(2));
    let challenge = LoginChallenge { server_name: "signal.example", nonce: &[7; 32] };
    let signature = device.sign_login(&challenge);
    let elsewhere = LoginChallenge { server_name: "signal.example:443", ..challenge };
    let later = LoginChallenge { nonce: &[8; 32], ..challenge };
    assert!(verify_login(device.card(), &elsewhere, &signature).is_err());
    assert!(verify_login(device.card(), &later, &signature).is_err());
    assert!(verify_login(other.card(), &challenge, &signature).is_err());
    assert!(verify_login(device.card(), &challenge, &[0; 64]).is_err());
}

#[test]
fn noise_refuses_ephemeral_keys_in_another_encoding() {
    let mut rng = seeded(1);
    let (own, remote) = (generate_secret(&mut rng), generate_secret(&mut rng));
    let mut message = [0; 81];
    let mut initiator = HandshakeState::kk(Role::Initiator, &[], &remote, &own.public_key());
    initiator.write(&mut message, &mut rng).unwrap();
    let good = message[..65].try_into().unwrap();
    for (what, bytes) in bad_uncompressed(&good) {
        let mut changed = message;
        changed[..65].copy_from_slice(&bytes);
        for mut responder in [
            HandshakeState::kk(Role::Responder, &[], &own, &remote.public_key()),
            HandshakeState::xk_psk3_responder(&[], &own, &[1; 32]),
        ] {
            assert_eq!(responder.read(&changed), Err(NoiseError::Point), "{what}");
            assert!(!responder.is_my_turn());
        }
    }
}

#[test]
fn sealed_payloads_refuse_encapsulated_keys_in_another_encoding() {
    let (a, b) = (identity(1), identity(2));
    let header = Header { kind: PayloadKind::Offer, session: SessionId([1; 16]), index: 0 };
    let mut payload = [0; sealed::OVERHEAD + 3];
    sealed::seal(&a, b.public(), header, Version::OWN, b"sdp", &mut payload, &mut seeded(3)).unwrap();
    assert!(sealed::open(&b, a.public(), &mut payload.clone()).is_ok());
    let good = payload[21..86].try_into().unwrap();
    for (what, bytes) in bad_uncompressed(&good) {
        let mut changed = payload;
        changed[21..86].copy_from_slice(&bytes);
        let refused = sealed::open(&b, a.public(), &mut changed);
        assert_eq!(refused, Err(SealedError::Sealed), "{what}");
    }
}
