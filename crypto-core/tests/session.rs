//! Sessions: order, closing, frames and new keys.

mod support;

use kith_crypto::invite::InviteSecret;
use kith_crypto::noise::{NoiseError, Role};
use kith_crypto::session::{Handshake, PLAINTEXT_BYTES_MAX, RECORD_BYTES_MAX, Session, SessionError};
use kith_crypto::version::Version;
use kith_crypto::wire::{BODY_BYTES_MAX, Frame, Hello, Message};
use support::{Pair, identity, pair, run, seeded, side};

/// Seals one frame and opens it at the other end.
fn pass(from: &mut Session, to: &mut Session, frame: &Frame<'_>) {
    let mut record = seal(from, frame);
    assert_eq!(to.open_frame(&mut record).unwrap().as_ref(), Some(frame));
}

fn seal(from: &mut Session, frame: &Frame<'_>) -> Vec<u8> {
    let mut record = vec![0xee; RECORD_BYTES_MAX];
    let sealed = from.seal_frame(frame, &mut record).unwrap();
    record.truncate(sealed);
    record
}

/// Opens a record that must hold a rekey message, and gives the message.
fn open_rekey(at: &mut Session, mut record: Vec<u8>) -> Vec<u8> {
    match at.open_frame(&mut record).unwrap() {
        Some(Frame::Rekey(message)) => message.to_vec(),
        other => panic!("{other:?}"),
    }
}

const PING: Frame<'static> = Frame::Ping([7; 8]);

#[test]
fn both_ends_of_a_session_agree() {
    let Pair { mut at_a, mut at_b, .. } = pair();
    assert!(at_a.is_initiator() && !at_b.is_initiator());
    assert_eq!(at_a.handshake_hash(), at_b.handshake_hash());
    let hello = Frame::Hello(Hello { version: Version::OWN, incarnation: [3; 16] });
    for _ in 0..3 {
        pass(&mut at_a, &mut at_b, &hello);
        pass(&mut at_b, &mut at_a, &PING);
    }
    assert_eq!((at_a.records(), at_b.records()), (3, 3));
}

#[test]
fn an_invite_makes_a_session() {
    let (inviter, invitee) = (identity(1), identity(2));
    let keys = InviteSecret::from_bytes([5; 32]).keys();
    let sides = (side(&invitee, 1), side(&inviter, 2));
    let (mut at_invitee, mut at_inviter) = run(
        Handshake::invited(&invitee, inviter.public(), &keys, sides.0, sides.1),
        Handshake::inviting(&inviter, invitee.public(), &keys, sides.0, sides.1),
    );
    pass(&mut at_invitee, &mut at_inviter, &PING);
    pass(&mut at_inviter, &mut at_invitee, &PING);
}

#[test]
fn an_inviter_refuses_another_static_key_than_the_cards() {
    let (inviter, invitee, other) = (identity(1), identity(2), identity(3));
    let keys = InviteSecret::from_bytes([5; 32]).keys();
    let sides = (side(&invitee, 1), side(&inviter, 2));
    let mut initiator = Handshake::invited(&other, inviter.public(), &keys, sides.0, sides.1);
    let mut responder = Handshake::inviting(&inviter, invitee.public(), &keys, sides.0, sides.1);
    let mut message = [0; 97];
    initiator.write(&mut message, &mut seeded(1)).unwrap();
    responder.read(&message[..81]).unwrap();
    responder.write(&mut message, &mut seeded(2)).unwrap();
    initiator.read(&message[..81]).unwrap();
    initiator.write(&mut message, &mut seeded(3)).unwrap();
    assert_eq!(responder.read(&message), Err(SessionError::WrongStatic));
    assert_eq!(responder.finish().unwrap_err(), SessionError::WrongStatic);
}

#[test]
fn who_compares_refuses_another_static_key_than_the_cards_on_either_side() {
    let (shows, typed, other) = (identity(1), identity(2), identity(3));
    let sides = (side(&typed, 1), side(&shows, 2));
    for (initiators, responders) in [(&typed, &other), (&other, &shows)] {
        let mut initiator = Handshake::comparing(Role::Initiator, initiators, shows.public(), sides.0, sides.1);
        let mut responder = Handshake::comparing(Role::Responder, responders, typed.public(), sides.0, sides.1);
        let mut message = [0; 162];
        initiator.write(&mut message, &mut seeded(1)).unwrap();
        responder.read(&message[..65]).unwrap();
        responder.write(&mut message, &mut seeded(2)).unwrap();
        let read = initiator.read(&message);
        if responders.client_id() == other.client_id() {
            assert_eq!(read, Err(SessionError::WrongStatic));
            continue;
        }
        initiator.write(&mut message, &mut seeded(3)).unwrap();
        assert_eq!(responder.read(&message[..97]), Err(SessionError::WrongStatic));
    }
}

#[test]
fn a_handshake_needs_the_same_prologue_on_both_sides() {
    let (a, b) = (identity(1), identity(2));
    let right = (side(&a, 1), side(&b, 2));
    let mut newer = right;
    newer.1.version.minor = 1;
    let mut swapped = right;
    swapped.0.client_id = b.client_id();
    for wrong in [(side(&a, 9), right.1), (right.0, side(&b, 9)), newer, swapped] {
        let mut initiator = Handshake::paired(Role::Initiator, &a, b.public(), right.0, right.1);
        let mut responder = Handshake::paired(Role::Responder, &b, a.public(), wrong.0, wrong.1);
        let mut message = [0; 81];
        initiator.write(&mut message, &mut seeded(1)).unwrap();
        let refused = responder.read(&message);
        assert_eq!(refused, Err(SessionError::Noise(NoiseError::Sealed)));
        assert!(responder.finish().is_err());
    }
}

#[test]
fn a_handshake_refuses_messages_of_another_length_and_out_of_turn() {
    let (a, b) = (identity(1), identity(2));
    let sides = (side(&a, 1), side(&b, 2));
    let mut initiator = Handshake::paired(Role::Initiator, &a, b.public(), sides.0, sides.1);
    assert_eq!(initiator.read(&[0; 81]), Err(NoiseError::Turn.into()));
    assert_eq!(initiator.write(&mut [0; 80], &mut seeded(1)), Err(NoiseError::NoSpace.into()));
    let mut message = [0; 82];
    assert_eq!(initiator.write(&mut message, &mut seeded(1)), Ok(81));
    assert_eq!(initiator.write(&mut message, &mut seeded(1)), Err(NoiseError::Turn.into()));
    for length in [0, 80, 82] {
        let mut responder = Handshake::paired(Role::Responder, &b, a.public(), sides.0, sides.1);
        assert_eq!(responder.read(&message[..length]), Err(NoiseError::Length.into()));
        assert_eq!(responder.read(&message[..81]), Err(NoiseError::Turn.into()));
    }
    assert!(initiator.finish().is_err());
}

#[test]
fn each_byte_of_a_handshake_message_counts() {
    let (a, b) = (identity(1), identity(2));
    let sides = (side(&a, 1), side(&b, 2));
    let mut message = [0; 81];
    let mut initiator = Handshake::paired(Role::Initiator, &a, b.public(), sides.0, sides.1);
    initiator.write(&mut message, &mut seeded(1)).unwrap();
    for at in 0..message.len() {
        let mut changed = message;
        changed[at] ^= 1;
        let mut responder = Handshake::paired(Role::Responder, &b, a.public(), sides.0, sides.1);
        assert!(responder.read(&changed).is_err(), "byte {at}");
    }
}

#[test]
fn records_are_padded_to_a_few_lengths() {
    let Pair { mut at_a, mut at_b, .. } = pair();
    let mut buf = [0xcc; RECORD_BYTES_MAX];
    for (plaintext, record) in [
        (0, 144),
        (1, 144),
        (128, 144),
        (129, 528),
        (513, 1296),
        (1281, 4368),
        (4353, 8464),
        (8449, 12560),
        (12545, 16384),
        (16368, 16384),
    ] {
        buf.fill(0xcc);
        assert_eq!(at_a.seal(&mut buf, plaintext), Ok(record));
        let opened = at_b.open(&mut buf[..record]).unwrap();
        assert!(opened[..plaintext].iter().all(|byte| *byte == 0xcc));
        assert!(opened[plaintext..].iter().all(|byte| *byte == 0));
    }
    assert_eq!(at_a.seal(&mut buf, PLAINTEXT_BYTES_MAX + 1), Err(SessionError::TooLong));
    assert_eq!(at_a.seal(&mut buf[..143], 100), Err(SessionError::NoSpace));
    assert_eq!(at_a.seal(&mut buf, 100), Ok(144));
    assert!(at_b.open(&mut buf[..144]).is_ok());
}

#[test]
fn the_longest_message_fits() {
    let Pair { mut at_a, mut at_b, .. } = pair();
    let message = Frame::Message(Message {
        id: [1; 16],
        conversation: [2; 16],
        number: u64::MAX,
        sent_utc_ms: u64::MAX,
        clock_trusted: true,
        content_type: &format!("application/{}", "x".repeat(52)),
        reply_to: Some([3; 16]),
        ttl_s: Some(u32::MAX),
        body: &[0x5a; BODY_BYTES_MAX],
    });
    assert_eq!(seal(&mut at_b, &message).len(), 12544 + 16);
    pass(&mut at_a, &mut at_b, &message);
}

#[test]
fn a_repeated_record_closes_the_session() {
    let Pair { mut at_a, mut at_b, .. } = pair();
    let record = seal(&mut at_a, &PING);
    assert!(at_b.open_frame(&mut record.clone()).is_ok());
    assert_eq!(at_b.open_frame(&mut record.clone()), Err(SessionError::Record));
    let mut next = seal(&mut at_a, &PING);
    assert_eq!(at_b.open_frame(&mut next), Err(SessionError::Closed));
    assert_eq!(at_b.seal_frame(&PING, &mut [0; 200]), Err(SessionError::Closed));
}

#[test]
fn a_gap_closes_the_session() {
    let Pair { mut at_a, mut at_b, .. } = pair();
    let _lost = seal(&mut at_a, &PING);
    let mut next = seal(&mut at_a, &PING);
    assert_eq!(at_b.open_frame(&mut next), Err(SessionError::Record));
    assert_eq!(at_b.open_frame(&mut next), Err(SessionError::Closed));
}

#[test]
fn any_flipped_bit_closes_the_session() {
    for at in 0..144 {
        let Pair { mut at_a, mut at_b, .. } = pair();
        let mut record = seal(&mut at_a, &PING);
        record[at] ^= 0x80;
        assert_eq!(at_b.open_frame(&mut record), Err(SessionError::Record), "byte {at}");
        assert_eq!(at_b.open(&mut record), Err(SessionError::Closed));
    }
}

#[test]
fn a_record_of_another_length_closes_the_session() {
    for length in [0, 15, 16, 143, 145, 16385] {
        let Pair { mut at_b, .. } = pair();
        assert_eq!(at_b.open(&mut vec![0; length]), Err(SessionError::Record));
        assert_eq!(at_b.open(&mut [0; 144]), Err(SessionError::Closed));
    }
}

#[test]
fn ones_own_record_does_not_open() {
    let Pair { mut at_a, .. } = pair();
    let mut record = seal(&mut at_a, &PING);
    assert_eq!(at_a.open(&mut record), Err(SessionError::Record));
}

#[test]
fn padding_that_is_not_zero_closes_the_session() {
    let Pair { mut at_a, mut at_b, .. } = pair();
    let mut buf = [0; 144];
    let plaintext = PING.encode(&mut buf).unwrap();
    buf[127] = 1;
    assert_eq!(plaintext, 11);
    assert_eq!(at_a.seal(&mut buf, 128), Ok(144));
    assert_eq!(at_b.open_frame(&mut buf), Err(SessionError::Padding));
    assert_eq!(at_b.open(&mut buf), Err(SessionError::Closed));
}

#[test]
fn an_unknown_optional_frame_is_skipped_and_another_closes_the_session() {
    let Pair { mut at_a, mut at_b, .. } = pair();
    let mut buf = [0; 144];
    buf[..5].copy_from_slice(&[0xff, 0, 2, 1, 1]);
    at_a.seal(&mut buf, 5).unwrap();
    assert_eq!(at_b.open_frame(&mut buf), Ok(None));
    buf[..5].copy_from_slice(&[0x7f, 0, 2, 1, 1]);
    at_a.seal(&mut buf, 5).unwrap();
    assert!(matches!(at_b.open_frame(&mut buf), Err(SessionError::Frame(_))));
    assert_eq!(at_b.open(&mut buf), Err(SessionError::Closed));
}

/// One whole rekey; records of both sides cross it.
fn rekey(pair: &mut Pair, round: u64) {
    let Pair { a, b, at_a, at_b } = pair;
    let mut rng = seeded(1000 + round);
    let mut out = vec![0; 1024];
    let length = at_a.start_rekey(a, b.public(), &mut out, &mut rng).unwrap();
    let first = out[..length].to_vec();
    assert!(at_a.is_rekeying());
    // The initiator goes on under the old key; so does the responder, who has not seen the first message yet.
    let crossing = (seal(at_a, &PING), seal(at_b, &PING));

    let message = open_rekey(at_b, first);
    let length = at_b.answer_rekey(&message, b, a.public(), &mut out, &mut rng).unwrap();
    let second = out[..length].to_vec();
    // The responder seals under the new key and still opens the old.
    let under_new = seal(at_b, &PING);
    let late = seal(at_a, &PING);
    assert!(at_b.open_frame(&mut crossing.0.clone()).is_ok());
    assert!(at_b.open_frame(&mut late.clone()).is_ok());
    assert!(at_b.is_rekeying());

    assert!(at_a.open_frame(&mut crossing.1.clone()).is_ok());
    let message = open_rekey(at_a, second);
    let length = at_a.finish_rekey(&message, a, b.public(), &mut out).unwrap();
    let mut switch = out[..length].to_vec();
    assert!(!at_a.is_rekeying());
    assert!(at_a.open_frame(&mut under_new.clone()).is_ok());
    let mut after = seal(at_a, &PING);
    assert_eq!(at_b.open_frame(&mut switch), Ok(Some(Frame::Switch)));
    at_b.switch().unwrap();
    assert!(!at_b.is_rekeying());
    assert!(at_b.open_frame(&mut after).is_ok());
}

#[test]
fn keys_are_renewed_again_and_again_with_records_crossing() {
    let mut pair = pair();
    let mut hashes = vec![*pair.at_a.handshake_hash()];
    for generation in 1..=4 {
        pass(&mut pair.at_a, &mut pair.at_b, &PING);
        pass(&mut pair.at_b, &mut pair.at_a, &PING);
        rekey(&mut pair, generation);
        assert_eq!(pair.at_a.key_generation(), generation);
        assert_eq!(pair.at_b.key_generation(), generation);
        assert_eq!(pair.at_a.handshake_hash(), pair.at_b.handshake_hash());
        assert!(!hashes.contains(pair.at_a.handshake_hash()));
        hashes.push(*pair.at_a.handshake_hash());
        assert_eq!((pair.at_a.records(), pair.at_b.records()), (1, 1));
        pass(&mut pair.at_b, &mut pair.at_a, &PING);
    }
}

#[test]
fn a_session_of_an_invite_renews_its_keys_too() {
    let (a, b) = (identity(2), identity(1));
    let keys = InviteSecret::from_bytes([5; 32]).keys();
    let sides = (side(&a, 1), side(&b, 2));
    let (at_a, at_b) = run(
        Handshake::invited(&a, b.public(), &keys, sides.0, sides.1),
        Handshake::inviting(&b, a.public(), &keys, sides.0, sides.1),
    );
    let mut pair = Pair { a, b, at_a, at_b };
    rekey(&mut pair, 1);
    pass(&mut pair.at_a, &mut pair.at_b, &PING);
}

#[test]
fn only_the_initiator_starts_a_rekey_and_one_at_a_time() {
    let Pair { a, b, mut at_a, mut at_b } = pair();
    let mut out = [0; 1024];
    let refused = at_b.start_rekey(&b, a.public(), &mut out, &mut seeded(1));
    assert_eq!(refused, Err(SessionError::OutOfPlace));
    let length = at_a.start_rekey(&a, b.public(), &mut out, &mut seeded(1)).unwrap();
    let mut first = out[..length].to_vec();
    let refused = at_a.start_rekey(&a, b.public(), &mut out, &mut seeded(1));
    assert_eq!(refused, Err(SessionError::OutOfPlace));
    // Neither refusal has cost anything.
    pass(&mut at_b, &mut at_a, &PING);
    assert!(at_b.open_frame(&mut first).is_ok());
}

#[test]
fn a_rekey_step_out_of_its_place_closes_the_session() {
    let mut out = [0; 1024];
    let Pair { a, b, mut at_a, mut at_b } = pair();
    assert_eq!(at_b.switch(), Err(SessionError::OutOfPlace));
    assert_eq!(at_b.open(&mut [0; 144]), Err(SessionError::Closed));
    let refused = at_a.finish_rekey(&[0; 81], &a, b.public(), &mut out);
    assert_eq!(refused, Err(SessionError::OutOfPlace));
    assert_eq!(at_a.seal(&mut out, 1), Err(SessionError::Closed));

    let Pair { a, b, mut at_a, mut at_b } = pair();
    let refused = at_a.answer_rekey(&[0; 81], &a, b.public(), &mut out, &mut seeded(1));
    assert_eq!(refused, Err(SessionError::OutOfPlace));
    let mut changed = [4; 81];
    changed[0] = 5;
    let refused = at_b.answer_rekey(&changed, &b, a.public(), &mut out, &mut seeded(1));
    assert_eq!(refused, Err(SessionError::Noise(NoiseError::Point)));
    assert_eq!(at_b.seal(&mut out, 1), Err(SessionError::Closed));
}

#[test]
fn a_changed_rekey_answer_closes_the_session() {
    let Pair { a, b, mut at_a, mut at_b } = pair();
    let mut out = [0; 1024];
    let length = at_a.start_rekey(&a, b.public(), &mut out, &mut seeded(1)).unwrap();
    let message = open_rekey(&mut at_b, out[..length].to_vec());
    let length = at_b.answer_rekey(&message, &b, a.public(), &mut out, &mut seeded(2)).unwrap();
    let mut message = open_rekey(&mut at_a, out[..length].to_vec());
    message[80] ^= 1;
    let refused = at_a.finish_rekey(&message, &a, b.public(), &mut out);
    assert_eq!(refused, Err(SessionError::Noise(NoiseError::Sealed)));
    assert_eq!(at_a.seal(&mut out, 1), Err(SessionError::Closed));
}

#[test]
fn a_rekey_needs_the_sessions_identities() {
    let Pair { a, b, mut at_a, mut at_b } = pair();
    let other = identity(3);
    let mut out = [0; 1024];
    let refused = at_a.start_rekey(&a, other.public(), &mut out, &mut seeded(1));
    assert_eq!(refused, Err(SessionError::WrongIdentity));
    let refused = at_a.start_rekey(&other, b.public(), &mut out, &mut seeded(1));
    assert_eq!(refused, Err(SessionError::WrongIdentity));
    pass(&mut at_a, &mut at_b, &PING);
}

#[test]
fn a_rekey_that_lacks_space_can_be_tried_again() {
    let Pair { a, b, mut at_a, mut at_b } = pair();
    let mut out = [0; 1024];
    let mut rng = seeded(1);
    assert!(at_a.start_rekey(&a, b.public(), &mut out[..100], &mut rng).is_err());
    assert!(!at_a.is_rekeying());
    let length = at_a.start_rekey(&a, b.public(), &mut out, &mut rng).unwrap();
    let message = open_rekey(&mut at_b, out[..length].to_vec());
    assert!(at_b.answer_rekey(&message, &b, a.public(), &mut out[..100], &mut rng).is_err());
    let length = at_b.answer_rekey(&message, &b, a.public(), &mut out, &mut rng).unwrap();
    let message = open_rekey(&mut at_a, out[..length].to_vec());
    assert!(at_a.finish_rekey(&message, &a, b.public(), &mut out[..100]).is_err());
    let length = at_a.finish_rekey(&message, &a, b.public(), &mut out).unwrap();
    assert_eq!(at_b.open_frame(&mut out[..length]), Ok(Some(Frame::Switch)));
    at_b.switch().unwrap();
    pass(&mut at_a, &mut at_b, &PING);
}

#[test]
fn an_idle_session_is_small() {
    // 4,096 contacts on a small board: what a session holds is keys, a prologue and a rekey that may run.
    assert!(size_of::<Session>() <= 1024, "{}", size_of::<Session>());
    assert!(size_of::<Handshake>() <= 1024, "{}", size_of::<Handshake>());
}
