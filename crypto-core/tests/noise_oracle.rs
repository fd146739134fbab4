//! Our handshakes against `snow`, an independent implementation of Noise, in both roles.

mod support;

use kith_crypto::invite::InviteSecret;
use kith_crypto::noise::{HandshakeState, Outcome, Role};
use kith_crypto::primitives::{aead_open, aead_seal, generate_secret, point_to_uncompressed};
use kith_crypto::session::{Handshake, Session, Side};
use p256::SecretKey;
use support::{identity, seeded, side};

const KK: &str = "Noise_KK_P256_AESGCM_SHA256";
const XK_PSK3: &str = "Noise_XKpsk3_P256_AESGCM_SHA256";
const XX: &str = "Noise_XX_P256_AESGCM_SHA256";
const PROLOGUE: &[u8] = b"a prologue of the test's own";
const PSK: [u8; 32] = [0x5a; 32];

fn public(secret: &SecretKey) -> [u8; 65] {
    point_to_uncompressed(&secret.public_key())
}

/// A `snow` side. `remote` is given where the pattern supposes it known.
fn oracle(
    name: &str,
    role: Role,
    prologue: &[u8],
    own: &SecretKey,
    remote: Option<[u8; 65]>,
    psk: Option<&[u8; 32]>,
) -> snow::HandshakeState {
    let own = own.to_bytes();
    let mut builder =
        snow::Builder::new(name.parse().unwrap()).prologue(prologue).unwrap().local_private_key(&own).unwrap();
    if let Some(remote) = &remote {
        builder = builder.remote_public_key(remote).unwrap();
    }
    if let Some(psk) = psk {
        builder = builder.psk(3, psk).unwrap();
    }
    match role {
        Role::Initiator => builder.build_initiator().unwrap(),
        Role::Responder => builder.build_responder().unwrap(),
    }
}

/// Drives both to the end and gives the lengths of the messages.
fn drive(ours: &mut HandshakeState, theirs: &mut snow::HandshakeState) -> Vec<usize> {
    let mut rng = seeded(7);
    let mut lengths = Vec::new();
    while !ours.is_finished() {
        let mut message = [0; 200];
        let written = if ours.is_my_turn() {
            let written = ours.write(&mut message, &mut rng).unwrap();
            assert_eq!(theirs.read_message(&message[..written], &mut []).unwrap(), 0);
            written
        } else {
            let written = theirs.write_message(&[], &mut message).unwrap();
            ours.read(&message[..written]).unwrap();
            written
        };
        lengths.push(written);
    }
    assert!(theirs.is_handshake_finished());
    lengths
}

fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce
}

/// Both ends agree on the hash and open each other's transport messages.
fn check_transport(mut ours: HandshakeState, theirs: snow::HandshakeState) {
    let hash = theirs.get_handshake_hash().to_vec();
    let mut theirs = theirs.into_transport_mode().unwrap();
    let outcome: Outcome = ours.finish().unwrap();
    assert!(ours.finish().is_err(), "the keys are given out once");
    assert_eq!(outcome.hash[..], hash);
    for counter in 0..5 {
        let mut record = vec![0x11; 100 + counter as usize];
        let text = record.clone();
        let tag = aead_seal(&outcome.sealing, &nonce(counter), &[], &mut record).unwrap();
        record.extend_from_slice(&tag);
        let mut opened = vec![0; record.len()];
        let length = theirs.read_message(&record, &mut opened).unwrap();
        assert_eq!(opened[..length], text);

        let mut record = vec![0; text.len() + 16];
        theirs.write_message(&text, &mut record).unwrap();
        let (buf, tag) = record.split_last_chunk_mut::<16>().unwrap();
        aead_open(&outcome.opening, &nonce(counter), &[], buf, tag).unwrap();
        assert_eq!(buf, text);
    }
}

fn keys() -> (SecretKey, SecretKey) {
    let mut rng = seeded(3);
    (generate_secret(&mut rng), generate_secret(&mut rng))
}

#[test]
fn kk_as_initiator_agrees_with_snow() {
    let (own, remote) = keys();
    let mut ours = HandshakeState::kk(Role::Initiator, PROLOGUE, &own, &remote.public_key());
    let mut theirs = oracle(KK, Role::Responder, PROLOGUE, &remote, Some(public(&own)), None);
    assert_eq!(drive(&mut ours, &mut theirs), [81, 81]);
    check_transport(ours, theirs);
}

#[test]
fn kk_as_responder_agrees_with_snow() {
    let (own, remote) = keys();
    let mut ours = HandshakeState::kk(Role::Responder, PROLOGUE, &own, &remote.public_key());
    let mut theirs = oracle(KK, Role::Initiator, PROLOGUE, &remote, Some(public(&own)), None);
    assert_eq!(drive(&mut ours, &mut theirs), [81, 81]);
    check_transport(ours, theirs);
}

#[test]
fn xkpsk3_as_initiator_agrees_with_snow() {
    let (own, remote) = keys();
    let mut ours = HandshakeState::xk_psk3_initiator(PROLOGUE, &own, &remote.public_key(), &PSK);
    let mut theirs = oracle(XK_PSK3, Role::Responder, PROLOGUE, &remote, None, Some(&PSK));
    assert_eq!(drive(&mut ours, &mut theirs), [81, 81, 97]);
    assert_eq!(theirs.get_remote_static().unwrap(), public(&own));
    check_transport(ours, theirs);
}

#[test]
fn xkpsk3_as_responder_agrees_with_snow() {
    let (own, remote) = keys();
    let mut ours = HandshakeState::xk_psk3_responder(PROLOGUE, &own, &PSK);
    let mut theirs = oracle(XK_PSK3, Role::Initiator, PROLOGUE, &remote, Some(public(&own)), Some(&PSK));
    assert_eq!(drive(&mut ours, &mut theirs), [81, 81, 97]);
    assert_eq!(*ours.remote_static().unwrap(), remote.public_key());
    check_transport(ours, theirs);
}

#[test]
fn xx_agrees_with_snow_in_both_roles() {
    let (own, remote) = keys();
    for (role, other) in [(Role::Initiator, Role::Responder), (Role::Responder, Role::Initiator)] {
        let mut ours = HandshakeState::xx(role, PROLOGUE, &own);
        let mut theirs = oracle(XX, other, PROLOGUE, &remote, None, None);
        assert_eq!(drive(&mut ours, &mut theirs), [65, 162, 97]);
        assert_eq!(theirs.get_remote_static().unwrap(), public(&own));
        assert_eq!(*ours.remote_static().unwrap(), remote.public_key());
        check_transport(ours, theirs);
    }
}

/// The prologue of docs/protocol.md §6.1, put together without the crate's help.
fn prologue(mode: u8, initiator: Side, responder: Side) -> Vec<u8> {
    let mut bytes = b"kith/1 session".to_vec();
    bytes.push(mode);
    bytes.extend_from_slice(&[1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(initiator.client_id.as_bytes());
    bytes.extend_from_slice(responder.client_id.as_bytes());
    bytes.extend_from_slice(&initiator.fingerprint);
    bytes.extend_from_slice(&responder.fingerprint);
    bytes
}

/// Our records open in `snow`, padded, and the other way round.
fn check_records(mut session: Session, mut theirs: snow::TransportState) {
    for round in 0..3u8 {
        let mut record = [round; 1024];
        let sealed = session.seal(&mut record, 200).unwrap();
        assert_eq!(sealed, 512 + 16);
        let mut opened = [0xff; 1024];
        assert_eq!(theirs.read_message(&record[..sealed], &mut opened).unwrap(), 512);
        assert_eq!(opened[..200], [round; 200]);
        assert_eq!(opened[200..512], [0; 312]);

        let mut record = [0; 144];
        theirs.write_message(&[round; 128], &mut record).unwrap();
        assert_eq!(*session.open(&mut record).unwrap(), [round; 128]);
    }
}

#[test]
fn a_session_between_contacts_talks_to_snow() {
    let (a, b) = (identity(1), identity(2));
    let (initiator, responder) = (side(&a, 1), side(&b, 2));
    let mut ours = Handshake::paired(Role::Initiator, &a, b.public(), initiator, responder);
    let secret = SecretKey::from_slice(&b.to_secret_bytes()[32..]).unwrap();
    let a_public = public(&SecretKey::from_slice(&a.to_secret_bytes()[32..]).unwrap());
    let prologue = prologue(1, initiator, responder);
    assert_eq!(prologue.len(), 131);
    let mut theirs = oracle(KK, Role::Responder, &prologue, &secret, Some(a_public), None);

    let mut message = [0; 81];
    assert_eq!(ours.write(&mut message, &mut seeded(4)).unwrap(), 81);
    theirs.read_message(&message, &mut []).unwrap();
    theirs.write_message(&[], &mut message).unwrap();
    ours.read(&message).unwrap();
    check_records(ours.finish().unwrap(), theirs.into_transport_mode().unwrap());
}

#[test]
fn an_inviters_session_talks_to_snow() {
    let (inviter, invitee) = (identity(1), identity(2));
    let (initiator, responder) = (side(&invitee, 1), side(&inviter, 2));
    let invite = InviteSecret::from_bytes([9; 32]);
    let mut ours = Handshake::inviting(&inviter, invitee.public(), &invite.keys(), initiator, responder);
    let secret = SecretKey::from_slice(&invitee.to_secret_bytes()[32..]).unwrap();
    let inviter_public = public(&SecretKey::from_slice(&inviter.to_secret_bytes()[32..]).unwrap());
    let mut psk = [0; 32];
    hkdf::Hkdf::<sha2::Sha256>::new(Some(b"kith/1 invite"), &[9; 32])
        .expand(b"kith/1 invite noise psk", &mut psk)
        .unwrap();
    let prologue = prologue(2, initiator, responder);
    let mut theirs = oracle(XK_PSK3, Role::Initiator, &prologue, &secret, Some(inviter_public), Some(&psk));

    let mut message = [0; 97];
    theirs.write_message(&[], &mut message).unwrap();
    ours.read(&message[..81]).unwrap();
    assert_eq!(ours.write(&mut message, &mut seeded(4)).unwrap(), 81);
    theirs.read_message(&message[..81], &mut []).unwrap();
    assert_eq!(theirs.write_message(&[], &mut message).unwrap(), 97);
    ours.read(&message).unwrap();
    check_records(ours.finish().unwrap(), theirs.into_transport_mode().unwrap());
}

#[test]
fn a_session_of_a_comparison_talks_to_snow() {
    let (shows, typed) = (identity(1), identity(2));
    let (initiator, responder) = (side(&typed, 1), side(&shows, 2));
    let mut ours = Handshake::comparing(Role::Responder, &shows, typed.public(), initiator, responder);
    let secret = SecretKey::from_slice(&typed.to_secret_bytes()[32..]).unwrap();
    let mut theirs = oracle(XX, Role::Initiator, &prologue(4, initiator, responder), &secret, None, None);
    let mut message = [0; 162];
    assert_eq!(theirs.write_message(&[], &mut message).unwrap(), 65);
    ours.read(&message[..65]).unwrap();
    assert_eq!(ours.write(&mut message, &mut seeded(4)).unwrap(), 162);
    theirs.read_message(&message, &mut []).unwrap();
    assert_eq!(theirs.write_message(&[], &mut message).unwrap(), 97);
    ours.read(&message[..97]).unwrap();
    check_records(ours.finish().unwrap(), theirs.into_transport_mode().unwrap());
}

#[test]
fn another_prologue_or_psk_does_not_open() {
    let (own, remote) = keys();
    let mut ours = HandshakeState::kk(Role::Responder, b"another", &own, &remote.public_key());
    let mut theirs = oracle(KK, Role::Initiator, PROLOGUE, &remote, Some(public(&own)), None);
    let mut message = [0; 81];
    theirs.write_message(&[], &mut message).unwrap();
    assert!(ours.read(&message).is_err());
    assert!(!ours.is_my_turn() && !ours.is_finished());

    let mut ours = HandshakeState::xk_psk3_responder(PROLOGUE, &own, &[1; 32]);
    let mut theirs = oracle(XK_PSK3, Role::Initiator, PROLOGUE, &remote, Some(public(&own)), Some(&PSK));
    let mut message = [0; 97];
    theirs.write_message(&[], &mut message).unwrap();
    ours.read(&message[..81]).unwrap();
    ours.write(&mut message, &mut seeded(1)).unwrap();
    theirs.read_message(&message[..81], &mut []).unwrap();
    theirs.write_message(&[], &mut message).unwrap();
    assert!(ours.read(&message).is_err());
    assert!(ours.finish().is_err());
}
