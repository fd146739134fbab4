//! Pairing by invite, with all that can go wrong on the way.

use crate::world::World;
use kith_engine::{PairingState, Reply, Request, RequestError, Trust};

fn failed(world: &World, device: usize, pairing: u32) -> Option<&str> {
    match &world.devices[device].pairings[&pairing].state {
        PairingState::Failed(why) => Some(why),
        _ => None,
    }
}

#[test]
fn an_invite_makes_contacts_of_two_devices() {
    let mut world = World::new(1, 2);
    world.pair(0, 1);
    assert!(world.run_while(10_000, |w| !w.connected(0, 1)));
    for (own, other) in [(0, 1), (1, 0)] {
        let view = &world.devices[own].peers[&world.devices[other].id];
        assert_eq!(view.trust, Trust::Paired);
        assert_eq!(view.name, format!("device {other}"));
        assert_eq!(world.devices[own].disk.state().contacts.len(), 1);
    }
    assert!(world.troubles(0).is_empty() && world.troubles(1).is_empty(), "{:?}", world.troubles(0));
}

#[test]
fn the_session_of_a_pairing_carries_messages_at_once() {
    let mut world = World::new(2, 2);
    world.pair(0, 1);
    world.send(1, 0, "from the invitee");
    assert!(world.run_while(1_000, |w| w.received(0, 1).is_empty()));
}

#[test]
fn an_invite_pairs_one_device_only() {
    let mut world = World::new(3, 3);
    let uri = world.invite(0);
    world.accept(1, &uri);
    let late = world.accept(2, &uri);
    assert!(world.run_while(200_000, |w| failed(w, 2, late).is_none()));
    world.run_for(200_000);
    let contacts = world.devices[0].disk.state().contacts;
    assert_eq!(contacts.len(), 1);
    assert!(world.devices[2].disk.state().contacts.is_empty(), "the late one keeps no contact");
}

#[test]
fn an_expired_invite_is_refused_by_the_inviter() {
    let mut world = World::new(4, 2);
    let reply = world.ask(0, Request::Invite { lifetime_s: 10 });
    let Ok(Reply::Pairing(id)) = reply else { panic!("{reply:?}") };
    let uri = world.devices[0].pairings[&id.0].uri.clone();
    world.run_for(11_000);
    assert!(failed(&world, 0, id.0).is_some());
    let refused = world.ask(1, Request::Accept { uri, other_server: false });
    assert_eq!(refused, Err(RequestError::InviteExpired));
}

#[test]
fn a_restart_of_the_inviter_closes_its_invites() {
    let mut world = World::new(5, 2);
    let uri = world.invite(0);
    world.crash(0);
    world.start(0);
    let id = world.accept(1, &uri);
    assert!(world.run_while(10_000, |w| failed(w, 1, id).is_none()));
    assert!(failed(&world, 1, id).is_some_and(|why| why.contains("not open")));
    assert!(world.run_while(1_000, |w| !w.devices[1].disk.state().contacts.is_empty()));
}

#[test]
fn an_invite_with_another_secret_opens_nothing() {
    let mut world = World::new(6, 3);
    let uri = world.invite(0);
    let other = world.invite(2);
    // The first device's card with the third's secret: the server knows no such token.
    let forged = forge(&uri, &other);
    let id = world.accept(1, &forged);
    assert!(world.run_while(200_000, |w| failed(w, 1, id).is_none()));
    assert!(world.devices[0].disk.state().contacts.is_empty());
}

fn forge(card_of: &str, secret_of: &str) -> String {
    let decode = |uri: &str| data_encoding::BASE32_NOPAD.decode(uri[5..].to_uppercase().as_bytes()).unwrap();
    let (mut forged, secret) = (decode(card_of), decode(secret_of));
    forged[131..163].copy_from_slice(&secret[131..163]);
    let end = forged.len() - 4;
    let sum = kith_crypto::invite::checksum(&forged[..end]);
    forged[end..].copy_from_slice(&sum);
    format!("kith:{}", data_encoding::BASE32_NOPAD.encode(&forged))
}

#[test]
fn an_invite_that_was_mistyped_says_so() {
    let mut world = World::new(7, 2);
    let uri = world.invite(0);
    let mut cases = vec![String::new(), "kith:".to_owned(), "http://x".to_owned(), uri[..uri.len() - 9].to_owned()];
    for place in 5..uri.len() {
        let mut wrong = uri.clone().into_bytes();
        wrong[place] = if wrong[place] == b'a' { b'b' } else { b'a' };
        cases.push(String::from_utf8(wrong).unwrap());
    }
    for case in cases {
        let refused = world.ask(1, Request::Accept { uri: case, other_server: false });
        assert!(matches!(refused, Err(RequestError::InvalidInvite(_))), "{refused:?}");
    }
    let upper = uri.to_uppercase();
    assert!(world.ask(1, Request::Accept { uri: upper, other_server: false }).is_ok());
}

#[test]
fn an_own_invite_and_a_foreign_server_need_thought() {
    let mut world = World::new(8, 2);
    let uri = world.invite(0);
    let own = world.ask(0, Request::Accept { uri: uri.clone(), other_server: false });
    assert!(matches!(own, Err(RequestError::InvalidInvite(_))));
    let mut bytes = data_encoding::BASE32_NOPAD.decode(uri[5..].to_uppercase().as_bytes()).unwrap();
    let place = bytes.windows(6).position(|w| w == b"signal").unwrap();
    bytes[place] = b'S';
    let end = bytes.len() - 4;
    let sum = kith_crypto::invite::checksum(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum);
    let uri = format!("kith:{}", data_encoding::BASE32_NOPAD.encode(&bytes));
    let refused = world.ask(1, Request::Accept { uri: uri.clone(), other_server: false });
    assert!(matches!(refused, Err(RequestError::OtherServer(url)) if url.contains("Signal")));
    assert!(world.ask(1, Request::Accept { uri, other_server: true }).is_ok());
}

#[test]
fn a_cancelled_invite_is_closed_at_the_server() {
    let mut world = World::new(9, 2);
    let uri = world.invite(0);
    world.ask(0, Request::CancelPairing(kith_engine::PairingId(1))).unwrap();
    world.run_for(100);
    let id = world.accept(1, &uri);
    assert!(world.run_while(10_000, |w| failed(w, 1, id).is_none()));
}

#[test]
fn a_pairing_begun_without_the_server_goes_on_when_it_returns() {
    let mut world = World::new(10, 2);
    let uri = world.invite(0);
    world.stop_server();
    world.run_for(100);
    let id = world.accept(1, &uri);
    world.run_for(20_000);
    world.start_server();
    assert!(world.run_while(60_000, |w| !matches!(w.devices[1].pairings[&id].state, PairingState::Done(_))));
}

#[test]
fn an_invitee_that_missed_the_confirmation_is_confirmed_by_the_next_session() {
    // Crash the invitee at each millisecond around the confirmation.
    for crash_after in 0..60 {
        let mut world = World::new(11, 2);
        let uri = world.invite(0);
        world.accept(1, &uri);
        world.run_for(crash_after);
        world.crash(1);
        world.run_for(100);
        world.start(1);
        world.run_for(150_000);
        let inviter = world.devices[0].disk.state().contacts.len();
        let invitee = world.devices[1].disk.state().contacts;
        if inviter == 1 {
            assert_eq!(invitee.len(), 1, "after {crash_after} ms");
            assert_eq!(invitee[0].contact.state, kith_engine::ContactState::Paired, "after {crash_after} ms");
            assert!(world.connected(0, 1), "after {crash_after} ms");
        }
    }
}

#[test]
fn an_invitee_waits_for_an_inviter_that_finds_the_server_again_a_little_later() {
    let mut world = World::new(16, 2);
    let uri = world.invite(0);
    world.stop_server();
    world.devices[0].reaches_server = false;
    let id = world.accept(1, &uri);
    world.start_server();
    world.run_for(1_500);
    world.set_reaches_server(0, true);
    assert!(world.run_while(60_000, |w| !matches!(w.devices[1].pairings[&id].state, PairingState::Done(_))));
}

#[test]
fn a_contact_removed_while_it_pairs_ends_the_pairing() {
    for after in 0..40 {
        let mut world = World::new(14, 2);
        let uri = world.invite(0);
        let id = world.accept(1, &uri);
        world.run_for(after);
        let peer = world.devices[0].id;
        let removed = world.ask(1, Request::RemovePeer(peer));
        world.run_for(150_000);
        let contacts = world.devices[1].disk.state().contacts;
        assert!(removed.is_ok() && contacts.is_empty() && world.devices[1].peers.is_empty(), "after {after} ms");
        let state = &world.devices[1].pairings[&id].state;
        assert!(matches!(state, PairingState::Done(_) | PairingState::Failed(_)), "after {after} ms: {state:?}");
        assert!(!world.connected(0, 1), "after {after} ms");
    }
}

#[test]
fn a_first_offer_that_the_server_replays_counts_once() {
    let mut world = World::new(15, 2);
    world.faults.signal_doubled = 100;
    world.pair(0, 1);
    assert!(world.run_while(10_000, |w| !w.connected(0, 1)));
}

#[test]
fn pairing_again_with_a_known_device_keeps_history_and_name() {
    let mut world = World::paired(12);
    let peer = world.devices[1].id;
    world.ask(0, Request::RenamePeer { peer, name: "front door".to_owned() }).unwrap();
    world.send(0, 1, "before");
    world.run_for(1_000);
    world.pair(0, 1);
    world.send(0, 1, "after");
    assert!(world.run_while(10_000, |w| w.received(1, 0) != ["before", "after"]));
    assert_eq!(world.devices[0].peers[&peer].name, "front door");
}

#[test]
fn swapped_fingerprints_end_every_attempt_without_a_contact() {
    let mut world = World::new(13, 2);
    world.swap_fingerprints = true;
    let uri = world.invite(0);
    let id = world.accept(1, &uri);
    assert!(world.run_while(200_000, |w| failed(w, 1, id).is_none()));
    world.run_for(100);
    assert!(world.devices[0].disk.state().contacts.is_empty());
    assert!(world.devices[1].disk.state().contacts.is_empty());
    assert!(world.troubles(0).iter().any(|t| t.contains("handshake failed")), "{:?}", world.troubles(0));
}
