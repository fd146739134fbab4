use kith_signal_protocol::limits::{RELAY_BYTES_MAX, ROOM_DEVICES_MAX};
use kith_signal_protocol::{Relay, Relayed, Undelivered, UndeliveredReason, Via};
use rand_chacha::rand_core::SeedableRng;

use super::relay::INVITE_USERS_MAX;
use super::*;

const A: ConnectionId = ConnectionId(1);
const B: ConnectionId = ConnectionId(2);
const C: ConnectionId = ConnectionId(3);
const TOKEN: Token = [7; 16];

fn id(connection: ConnectionId) -> ClientId {
    ClientId::from_bytes([u8::try_from(connection.0).unwrap(); 20])
}

fn registry(connections: &[ConnectionId]) -> Registry {
    let notice = Notice { mode: kith_signal_protocol::LoggingMode::Disabled, text: String::new() };
    let mut registry = Registry::new(notice);
    for &connection in connections {
        assert_eq!(registry.handle_login(connection, id(connection), [0; 16]), Accepted::Yes);
    }
    drain(&mut registry);
    registry
}

/// What is to be done, without what is only written down.
fn drain(registry: &mut Registry) -> Vec<Output> {
    let outputs = std::iter::from_fn(|| registry.poll_output());
    outputs.filter(|output| !matches!(output, Output::Pairing { .. })).collect()
}

fn say(registry: &mut Registry, connection: ConnectionId, message: ToServer) -> Vec<Output> {
    registry.handle_message(connection, message);
    drain(registry)
}

fn watch(add: &[ClientId], remove: &[ClientId]) -> ToServer {
    ToServer::Watch(Watch { add: add.to_vec(), remove: remove.to_vec() })
}

fn relay(to: ConnectionId, via: Via) -> ToServer {
    ToServer::Relay(Relay { to: id(to), via, payload: b"sealed".to_vec() })
}

fn told(to: ConnectionId, peer: ConnectionId, online: bool) -> Output {
    Output::Send { to, message: presence(id(peer), online) }
}

fn relayed(to: ConnectionId, from: ConnectionId, via: Via) -> Output {
    let message = Relayed { from: id(from), via, payload: b"sealed".to_vec() };
    Output::Send { to, message: ToDevice::Relayed(message) }
}

fn undelivered(from: ConnectionId, to: ConnectionId, via: Via, reason: UndeliveredReason) -> Output {
    let message = Undelivered { to: id(to), via, reason };
    Output::Send { to: from, message: ToDevice::Undelivered(message) }
}

fn goodbye(output: &Output) -> (ConnectionId, GoodbyeReason, u32) {
    match output {
        Output::Close { to, goodbye: Some(goodbye) } => (*to, goodbye.reason, goodbye.retry_after_s),
        other => panic!("no goodbye: {other:?}"),
    }
}

fn befriend(registry: &mut Registry, a: ConnectionId, b: ConnectionId) {
    say(registry, a, watch(&[id(b)], &[]));
    say(registry, b, watch(&[id(a)], &[]));
}

#[test]
fn a_login_is_welcomed_with_the_notice() {
    let mut registry = registry(&[]);
    registry.handle_login(A, id(A), [0; 16]);
    let outputs = drain(&mut registry);
    assert!(matches!(outputs.as_slice(), [Output::Send { to: A, message: ToDevice::Welcome(_) }]));
    assert_eq!(registry.online(), 1);
}

#[test]
fn a_watch_of_one_side_tells_nobody_anything() {
    let mut registry = registry(&[A, B]);
    assert_eq!(say(&mut registry, A, watch(&[id(B)], &[])), []);
    registry.handle_disconnected(B);
    assert_eq!(drain(&mut registry), []);
}

#[test]
fn both_are_told_when_the_second_watches_and_the_other_when_one_goes() {
    let mut registry = registry(&[A, B]);
    say(&mut registry, A, watch(&[id(B)], &[]));
    assert_eq!(say(&mut registry, B, watch(&[id(A)], &[])), [told(B, A, true), told(A, B, true)]);
    // Watching again says nothing new.
    assert_eq!(say(&mut registry, B, watch(&[id(A)], &[])), []);
    registry.handle_disconnected(A);
    assert_eq!(drain(&mut registry), [told(B, A, false)]);
}

#[test]
fn who_comes_later_is_seen_once_it_watches() {
    let mut registry = registry(&[A]);
    say(&mut registry, A, watch(&[id(B)], &[]));
    registry.handle_login(B, id(B), [0; 16]);
    assert_eq!(drain(&mut registry).len(), 1);
    assert_eq!(say(&mut registry, B, watch(&[id(A)], &[])), [told(B, A, true), told(A, B, true)]);
}

#[test]
fn ending_a_watch_looks_like_going_offline() {
    let mut registry = registry(&[A, B]);
    befriend(&mut registry, A, B);
    assert_eq!(say(&mut registry, A, watch(&[], &[id(B)])), [told(B, A, false)]);
    assert_eq!(
        say(&mut registry, B, relay(A, Via::Contact)),
        [undelivered(B, A, Via::Contact, UndeliveredReason::NotReachable)]
    );
    // What B does next reaches A no more.
    registry.handle_disconnected(B);
    assert_eq!(drain(&mut registry), []);
}

#[test]
fn nobody_watches_itself() {
    let mut registry = registry(&[A]);
    assert_eq!(say(&mut registry, A, watch(&[id(A)], &[])), []);
    assert_eq!(
        say(&mut registry, A, relay(A, Via::Contact)),
        [undelivered(A, A, Via::Contact, UndeliveredReason::NotReachable)]
    );
}

#[test]
fn a_relay_to_a_contact_needs_both_to_watch() {
    let mut registry = registry(&[A, B]);
    let refused = [undelivered(A, B, Via::Contact, UndeliveredReason::NotReachable)];
    assert_eq!(say(&mut registry, A, relay(B, Via::Contact)), refused);
    say(&mut registry, A, watch(&[id(B)], &[]));
    assert_eq!(say(&mut registry, A, relay(B, Via::Contact)), refused);
    say(&mut registry, B, watch(&[id(A)], &[]));
    assert_eq!(say(&mut registry, A, relay(B, Via::Contact)), [relayed(B, A, Via::Contact)]);
    // Offline looks exactly as "does not watch you" did.
    registry.handle_disconnected(B);
    drain(&mut registry);
    assert_eq!(say(&mut registry, A, relay(B, Via::Contact)), refused);
}

#[test]
fn a_payload_that_is_too_large_comes_back_as_such() {
    let mut registry = registry(&[A, B]);
    befriend(&mut registry, A, B);
    let payload = vec![0; RELAY_BYTES_MAX + 1];
    let outputs = say(&mut registry, A, ToServer::Relay(Relay { to: id(B), via: Via::Contact, payload }));
    assert_eq!(outputs, [undelivered(A, B, Via::Contact, UndeliveredReason::TooLarge)]);
}

#[test]
fn an_invite_lets_strangers_reach_its_holder_and_the_holder_answer() {
    let mut registry = registry(&[A, B, C]);
    let via = Via::Invite(TOKEN);
    assert_eq!(say(&mut registry, B, relay(A, via)), [undelivered(B, A, via, UndeliveredReason::NoSuchInvite)]);
    say(&mut registry, A, ToServer::OpenInvite(TOKEN));
    // The holder cannot reach whoever has not used the token.
    assert_eq!(say(&mut registry, A, relay(B, via)), [undelivered(A, B, via, UndeliveredReason::NotReachable)]);
    assert_eq!(say(&mut registry, B, relay(A, via)), [relayed(A, B, via)]);
    assert_eq!(say(&mut registry, A, relay(B, via)), [relayed(B, A, via)]);
    // Strangers cannot reach each other by somebody else's token, and learn nothing from trying.
    assert_eq!(say(&mut registry, C, relay(B, via)), [undelivered(C, B, via, UndeliveredReason::NoSuchInvite)]);
    say(&mut registry, A, ToServer::CloseInvite(TOKEN));
    assert_eq!(say(&mut registry, B, relay(A, via)), [undelivered(B, A, via, UndeliveredReason::NoSuchInvite)]);
}

#[test]
fn a_pairing_is_written_down_once() {
    let mut registry = registry(&[A, B]);
    let via = Via::Invite(TOKEN);
    say(&mut registry, A, ToServer::OpenInvite(TOKEN));
    let mut pairings = 0;
    for (from, to) in [(B, A), (A, B), (B, A)] {
        registry.handle_message(from, relay(to, via));
        while let Some(output) = registry.poll_output() {
            if let Output::Pairing { inviter, invitee } = output {
                assert_eq!((inviter, invitee), (id(A), id(B)));
                pairings += 1;
            }
        }
    }
    assert_eq!(pairings, 1);
}

#[test]
fn a_change_of_logging_is_told_to_everybody_and_welcomed_with_from_then_on() {
    let mut registry = registry(&[A, B]);
    let notice = Notice { mode: kith_signal_protocol::LoggingMode::Debug, text: "For a day.".to_owned() };
    registry.handle_notice(notice.clone());
    let told = |to| Output::Send { to, message: ToDevice::Notice(notice.clone()) };
    assert_eq!(drain(&mut registry), [told(A), told(B)]);
    // The same again is no news.
    registry.handle_notice(notice.clone());
    assert_eq!(drain(&mut registry), []);
    registry.handle_login(C, id(C), [0; 16]);
    let welcome = Welcome { version: Version::OWN, notice: notice.clone() };
    assert_eq!(drain(&mut registry), [Output::Send { to: C, message: ToDevice::Welcome(welcome) }]);
}

#[test]
fn a_user_of_an_invite_that_went_away_is_not_reachable() {
    let mut registry = registry(&[A, B]);
    let via = Via::Invite(TOKEN);
    say(&mut registry, A, ToServer::OpenInvite(TOKEN));
    say(&mut registry, B, relay(A, via));
    registry.handle_disconnected(B);
    assert_eq!(say(&mut registry, A, relay(B, via)), [undelivered(A, B, via, UndeliveredReason::NotReachable)]);
}

#[test]
fn the_first_holder_of_a_token_keeps_it() {
    let mut registry = registry(&[A, B, C]);
    let via = Via::Invite(TOKEN);
    say(&mut registry, A, ToServer::OpenInvite(TOKEN));
    assert_eq!(say(&mut registry, B, ToServer::OpenInvite(TOKEN)), []);
    say(&mut registry, B, ToServer::CloseInvite(TOKEN));
    assert_eq!(say(&mut registry, C, relay(A, via)), [relayed(A, C, via)]);
}

#[test]
fn an_invite_ends_with_its_holders_connection() {
    let mut registry = registry(&[A, B]);
    let via = Via::Invite(TOKEN);
    say(&mut registry, A, ToServer::OpenInvite(TOKEN));
    registry.handle_login(C, id(A), [0; 16]);
    drain(&mut registry);
    assert_eq!(say(&mut registry, B, relay(A, via)), [undelivered(B, A, via, UndeliveredReason::NoSuchInvite)]);
    // The token is free again.
    say(&mut registry, C, ToServer::OpenInvite(TOKEN));
    assert_eq!(say(&mut registry, B, relay(A, via)), [relayed(C, B, via)]);
}

#[test]
fn an_invite_has_room_for_a_bounded_number_of_devices() {
    let mut registry = registry(&[A]);
    let via = Via::Invite(TOKEN);
    say(&mut registry, A, ToServer::OpenInvite(TOKEN));
    for n in 0..=u64::try_from(INVITE_USERS_MAX).unwrap() {
        let stranger = ConnectionId(10 + n);
        registry.handle_login(stranger, id(stranger), [0; 16]);
        drain(&mut registry);
        let outputs = say(&mut registry, stranger, relay(A, via));
        if n < u64::try_from(INVITE_USERS_MAX).unwrap() {
            assert_eq!(outputs, [relayed(A, stranger, via)]);
        } else {
            assert_eq!(outputs, [undelivered(stranger, A, via, UndeliveredReason::TooMany)]);
        }
    }
}

fn room(to: ConnectionId, peer: ConnectionId, present: bool) -> Output {
    Output::Send { to, message: room_presence(TOKEN, id(peer), present) }
}

#[test]
fn devices_in_a_room_see_each_other_come_and_go_and_nobody_else_does() {
    let mut registry = registry(&[A, B, C]);
    assert_eq!(say(&mut registry, A, ToServer::EnterRoom(TOKEN)), []);
    assert_eq!(say(&mut registry, B, ToServer::EnterRoom(TOKEN)), [room(B, A, true), room(A, B, true)]);
    // Entering again says nothing new, and another token is another room.
    assert_eq!(say(&mut registry, B, ToServer::EnterRoom(TOKEN)), []);
    assert_eq!(say(&mut registry, C, ToServer::EnterRoom([8; 16])), []);
    assert_eq!(say(&mut registry, A, ToServer::LeaveRoom(TOKEN)), [room(B, A, false)]);
    assert_eq!(say(&mut registry, A, ToServer::EnterRoom(TOKEN)), [room(A, B, true), room(B, A, true)]);
    registry.handle_disconnected(B);
    assert_eq!(drain(&mut registry), [room(A, B, false)]);
}

#[test]
fn a_payload_passes_between_devices_in_the_same_room_only() {
    let mut registry = registry(&[A, B, C]);
    let via = Via::Room(TOKEN);
    for inside in [A, B] {
        say(&mut registry, inside, ToServer::EnterRoom(TOKEN));
    }
    assert_eq!(say(&mut registry, A, relay(B, via)), [relayed(B, A, via)]);
    for (from, to) in [(A, C), (C, A), (A, A)] {
        let refused = undelivered(from, to, via, UndeliveredReason::NotReachable);
        assert_eq!(say(&mut registry, from, relay(to, via)), [refused]);
    }
    say(&mut registry, B, ToServer::LeaveRoom(TOKEN));
    assert_eq!(say(&mut registry, A, relay(B, via)), [undelivered(A, B, via, UndeliveredReason::NotReachable)]);
}

#[test]
fn a_room_that_is_full_says_so_and_has_a_place_again_when_somebody_leaves() {
    let mut registry = registry(&[]);
    for n in 0..=u64::try_from(ROOM_DEVICES_MAX).unwrap() {
        let mut bytes = [9; 20];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        registry.handle_login(ConnectionId(n), ClientId::from_bytes(bytes), [0; 16]);
        drain(&mut registry);
        let outputs = say(&mut registry, ConnectionId(n), ToServer::EnterRoom(TOKEN));
        assert_eq!(u64::try_from(outputs.len()).unwrap(), if n < 256 { 2 * n } else { 1 });
    }
    let late = ConnectionId(256);
    assert_eq!(
        say(&mut registry, late, ToServer::EnterRoom([8; 16])),
        [],
        "being refused by one room leaves the others open"
    );
    registry.handle_disconnected(A);
    drain(&mut registry);
    assert_eq!(say(&mut registry, late, ToServer::EnterRoom(TOKEN)).len(), 2 * 255);
}

#[test]
fn one_room_too_many_ends_the_connection_and_an_empty_room_is_forgotten() {
    let mut registry = registry(&[A]);
    for n in 0..u8::try_from(ROOMS_MAX).unwrap() {
        assert_eq!(say(&mut registry, A, ToServer::EnterRoom([n; 16])), []);
    }
    assert_eq!(registry.rooms(), ROOMS_MAX);
    let outputs = say(&mut registry, A, ToServer::EnterRoom([0xff; 16]));
    assert_eq!(goodbye(&outputs[0]), (A, GoodbyeReason::TooMany, 0));
    assert_eq!(registry.rooms(), 0);
}

#[test]
fn the_same_instance_replaces_its_stale_connection() {
    let mut registry = registry(&[A, B]);
    befriend(&mut registry, A, B);
    assert_eq!(registry.handle_login(C, id(A), [0; 16]), Accepted::Yes);
    let outputs = drain(&mut registry);
    assert_eq!(outputs[0], told(B, A, false));
    assert_eq!(goodbye(&outputs[1]), (A, GoodbyeReason::Replaced, 0));
    assert!(matches!(outputs[2], Output::Send { to: C, message: ToDevice::Welcome(_) }));
    // The end of the stale connection does not take the new one with it.
    registry.handle_disconnected(A);
    assert_eq!(registry.online(), 2);
    assert_eq!(say(&mut registry, C, watch(&[id(B)], &[])), [told(C, B, true), told(B, A, true)]);
}

#[test]
fn another_instance_is_refused_and_the_first_is_told_once_and_probed() {
    let mut registry = registry(&[A]);
    assert_eq!(registry.handle_login(B, id(A), [1; 16]), Accepted::No);
    let outputs = drain(&mut registry);
    assert_eq!(outputs[0], Output::Send { to: A, message: ToDevice::Intruder });
    assert_eq!(outputs[1], Output::Probe(A));
    assert_eq!(goodbye(&outputs[2]), (B, GoodbyeReason::IdentityInUse, FIRST_REFUSAL_S));

    assert_eq!(registry.handle_login(C, id(A), [1; 16]), Accepted::No);
    let outputs = drain(&mut registry);
    assert_eq!(outputs[0], Output::Probe(A));
    assert_eq!(goodbye(&outputs[1]), (C, GoodbyeReason::IdentityInUse, LATER_REFUSAL_S));

    // The refused connection's end leaves the first where it is.
    registry.handle_disconnected(B);
    assert_eq!(registry.online(), 1);
}

#[test]
fn a_second_login_on_a_connection_ends_it() {
    let mut registry = registry(&[A, B]);
    befriend(&mut registry, A, B);
    let mut random = rand_chacha::ChaCha8Rng::from_seed([0; 32]);
    let identity = kith_crypto::identity::Identity::generate(&mut random);
    let login = kith_signal_protocol::Login {
        version: Version::OWN,
        card: identity.card().clone(),
        instance: [0; 16],
        signature: [0; 64],
    };
    let outputs = say(&mut registry, A, ToServer::Login(Box::new(login)));
    assert_eq!(outputs, [told(B, A, false), Output::Close { to: A, goodbye: None }]);
}

#[test]
fn watching_too_many_ends_the_connection() {
    let mut registry = registry(&[A]);
    let mut outputs = Vec::new();
    for n in 0..=u32::try_from(WATCHED_MAX).unwrap() {
        let mut bytes = [9; 20];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        outputs.extend(say(&mut registry, A, watch(&[ClientId::from_bytes(bytes)], &[])));
    }
    assert_eq!(outputs.len(), 1);
    assert_eq!(goodbye(&outputs[0]), (A, GoodbyeReason::TooMany, 0));
    assert_eq!(registry.online(), 0);
}

#[test]
fn one_invite_too_many_ends_the_connection() {
    let mut registry = registry(&[A]);
    for n in 0..u8::try_from(INVITES_MAX).unwrap() {
        assert_eq!(say(&mut registry, A, ToServer::OpenInvite([n; 16])), []);
    }
    let outputs = say(&mut registry, A, ToServer::OpenInvite([0xff; 16]));
    assert_eq!(goodbye(&outputs[0]), (A, GoodbyeReason::TooMany, 0));
    assert!(registry.invites.is_empty());
}

#[test]
fn ice_is_asked_for_with_the_device_that_wants_it() {
    let mut registry = registry(&[A]);
    let outputs = say(&mut registry, A, ToServer::IceRequest);
    assert_eq!(outputs, [Output::SendIce { to: A, device: id(A) }]);
}

#[test]
fn a_connection_without_a_login_is_not_heard() {
    let mut registry = registry(&[A]);
    assert_eq!(say(&mut registry, B, ToServer::IceRequest), []);
}

#[test]
fn a_shutdown_says_goodbye_to_all_and_tells_nobody_of_the_others() {
    let mut registry = registry(&[A, B]);
    befriend(&mut registry, A, B);
    let mut retry_after_s = 0;
    registry.handle_shutdown(|| {
        retry_after_s += 1;
        retry_after_s
    });
    let outputs = drain(&mut registry);
    assert_eq!(
        outputs.iter().map(goodbye).collect::<Vec<_>>(),
        [(A, GoodbyeReason::ShuttingDown, 1), (B, GoodbyeReason::ShuttingDown, 2)]
    );
    assert_eq!(registry.online(), 0);
}
