//! What one side encodes the other decodes; whatever else arrives is an error, never a panic.

use kith_crypto::identity::{ClientId, Identity, LoginChallenge};
use kith_crypto::version::Version;
use kith_signal_protocol::limits::{
    ICE_SERVERS_MAX, MESSAGE_BYTES_MAX, RELAY_BYTES_MAX, TEXT_BYTES_MAX, WATCH_IDS_MAX,
};
use kith_signal_protocol::{
    Challenge, Goodbye, GoodbyeReason, IceServer, IceServers, LoggingMode, Login, Notice, Presence, ProtocolError,
    Relay, Relayed, RoomPresence, ToDevice, ToServer, Undelivered, UndeliveredReason, Via, Watch, Welcome,
};
use proptest::collection::vec;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

fn client_id() -> impl Strategy<Value = ClientId> {
    any::<[u8; 20]>().prop_map(ClientId::from_bytes)
}

fn via() -> impl Strategy<Value = Via> {
    prop_oneof![Just(Via::Contact), any::<[u8; 16]>().prop_map(Via::Invite), any::<[u8; 16]>().prop_map(Via::Room)]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..2_000)
}

fn version() -> impl Strategy<Value = Version> {
    any::<(u8, u8, u32)>().prop_map(|(major, minor, features)| Version { major, minor, features })
}

fn notice() -> impl Strategy<Value = Notice> {
    let mode = prop_oneof![Just(LoggingMode::Active), Just(LoggingMode::Disabled), Just(LoggingMode::Debug)];
    (mode, "\\PC{0,100}").prop_map(|(mode, text)| Notice { mode, text })
}

fn login(seed: u8, version: Version) -> ToServer {
    let identity = Identity::generate(&mut ChaCha20Rng::from_seed([seed; 32]));
    let challenge = LoginChallenge { server_name: "signal.example", nonce: &[seed; 32] };
    ToServer::Login(Box::new(Login {
        version,
        card: identity.card().clone(),
        instance: [seed; 16],
        signature: identity.sign_login(&challenge),
    }))
}

fn to_server() -> impl Strategy<Value = ToServer> {
    let ids = || vec(client_id(), 0..50);
    prop_oneof![
        (any::<u8>(), version()).prop_map(|(seed, version)| login(seed, version)),
        (ids(), ids()).prop_map(|(add, remove)| ToServer::Watch(Watch { add, remove })),
        any::<[u8; 16]>().prop_map(ToServer::EnterRoom),
        any::<[u8; 16]>().prop_map(ToServer::LeaveRoom),
        any::<[u8; 16]>().prop_map(ToServer::OpenInvite),
        any::<[u8; 16]>().prop_map(ToServer::CloseInvite),
        (client_id(), via(), payload()).prop_map(|(to, via, payload)| ToServer::Relay(Relay { to, via, payload })),
        Just(ToServer::IceRequest),
    ]
}

fn ice_server() -> impl Strategy<Value = IceServer> {
    (vec("turn:[a-z]{1,20}:3478", 0..4), "[0-9]{10}:[0-9a-f]{16}", "[A-Za-z0-9+/]{27}=")
        .prop_map(|(urls, username, password)| IceServer { urls, username, password })
}

fn to_device() -> impl Strategy<Value = ToDevice> {
    prop_oneof![
        (version(), any::<[u8; 32]>()).prop_map(|(version, nonce)| ToDevice::Challenge(Challenge { version, nonce })),
        (version(), notice()).prop_map(|(version, notice)| ToDevice::Welcome(Welcome { version, notice })),
        (any::<u8>(), "\\PC{0,100}", any::<u32>()).prop_map(|(reason, text, retry_after_s)| {
            ToDevice::Goodbye(Goodbye { reason: GoodbyeReason::from(reason), text, retry_after_s })
        }),
        Just(ToDevice::Intruder),
        notice().prop_map(ToDevice::Notice),
        (client_id(), any::<bool>()).prop_map(|(peer, online)| ToDevice::Presence(Presence { peer, online })),
        (any::<[u8; 16]>(), client_id(), any::<bool>())
            .prop_map(|(room, peer, present)| ToDevice::RoomPresence(RoomPresence { room, peer, present })),
        any::<[u8; 16]>().prop_map(ToDevice::RoomFull),
        (client_id(), via(), payload()).prop_map(|(from, via, payload)| ToDevice::Relayed(Relayed {
            from,
            via,
            payload
        })),
        (client_id(), via(), any::<u8>()).prop_map(|(to, via, reason)| {
            let reason = UndeliveredReason::from(reason);
            ToDevice::Undelivered(Undelivered { to, via, reason })
        }),
        (vec(ice_server(), 0..ICE_SERVERS_MAX), any::<u32>())
            .prop_map(|(servers, lifetime_s)| { ToDevice::IceServers(IceServers { servers, lifetime_s }) }),
    ]
}

proptest! {
    #[test]
    fn what_a_device_says_is_what_the_server_hears(message in to_server()) {
        let bytes = message.encode().unwrap();
        prop_assert_eq!(ToServer::decode(&bytes).unwrap(), Some(message));
    }

    #[test]
    fn what_the_server_says_is_what_a_device_hears(message in to_device()) {
        let bytes = message.encode().unwrap();
        prop_assert_eq!(ToDevice::decode(&bytes).unwrap(), Some(message));
    }

    #[test]
    fn arbitrary_bytes_never_panic(kind in any::<u8>(), bytes in vec(any::<u8>(), 0..300)) {
        let _ = ToServer::decode(&bytes);
        let _ = ToDevice::decode(&bytes);
        // Behind a right header more of the payload's reader is reached.
        let mut framed = vec![kind, 0, 0];
        framed[1..].copy_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
        framed.extend_from_slice(&bytes);
        let _ = ToServer::decode(&framed);
        let _ = ToDevice::decode(&framed);
    }

    #[test]
    fn a_message_that_is_cut_or_longer_is_refused(message in to_server(), at in any::<prop::sample::Index>()) {
        let mut bytes = message.encode().unwrap();
        prop_assert!(ToServer::decode(&bytes[..at.index(bytes.len())]).is_err());
        bytes.push(0);
        prop_assert!(ToServer::decode(&bytes).is_err());
    }
}

#[test]
fn the_bytes_are_the_ones_of_the_protocol_page() {
    let relay = Relay { to: ClientId::from_bytes([7; 20]), via: Via::Invite([9; 16]), payload: b"sealed".to_vec() };
    let mut expected = vec![0x30, 0, 44];
    expected.extend([7; 20]);
    expected.push(1);
    expected.extend([9; 16]);
    expected.push(6);
    expected.extend(b"sealed");
    assert_eq!(ToServer::Relay(relay).encode().unwrap(), expected);

    let room = RoomPresence { room: [9; 16], peer: ClientId::from_bytes([7; 20]), present: true };
    let expected = [&[0x14, 0, 37][..], &[9; 16], &[7; 20], &[1]].concat();
    assert_eq!(ToDevice::RoomPresence(room).encode().unwrap(), expected);
    assert_eq!(ToServer::EnterRoom([9; 16]).encode().unwrap(), [&[0x12, 0, 16][..], &[9; 16]].concat());

    let goodbye = Goodbye { reason: GoodbyeReason::IdentityInUse, text: "no".to_owned(), retry_after_s: 300 };
    let expected = [0x04, 0, 6, 2, 2, b'n', b'o', 0xac, 0x02];
    assert_eq!(ToDevice::Goodbye(goodbye).encode().unwrap(), expected);

    let login = login(1, Version { major: 1, minor: 0, features: 0 }).encode().unwrap();
    assert_eq!(login[..3], [0x02, 0, 216]);
    assert_eq!(login.len(), 3 + 6 + 130 + 16 + 64);
    assert_eq!(ToServer::IceRequest.encode().unwrap(), [0x40, 0, 0]);
}

#[test]
fn an_unknown_optional_kind_is_skipped_and_another_is_refused() {
    assert_eq!(ToServer::decode(&[0xf0, 0, 1, 5]).unwrap(), None);
    assert_eq!(ToDevice::decode(&[0xf0, 0, 0]).unwrap(), None);
    assert!(matches!(ToServer::decode(&[0x70, 0, 0]), Err(ProtocolError::UnknownKind(0x70))));
    // A kind of the other direction is unknown in this one.
    assert!(matches!(ToServer::decode(&[0x05, 0, 0]), Err(ProtocolError::UnknownKind(0x05))));
}

#[test]
fn the_largest_watch_fits_into_one_message_and_one_more_is_refused() {
    let ids = |count| vec![ClientId::from_bytes([1; 20]); count];
    let watch = |add, remove| ToServer::Watch(Watch { add: ids(add), remove: ids(remove) });
    assert!(watch(WATCH_IDS_MAX, 0).encode().unwrap().len() <= MESSAGE_BYTES_MAX);
    assert!(matches!(watch(WATCH_IDS_MAX, 1).encode(), Err(ProtocolError::OverLimit { .. })));
}

#[test]
fn the_largest_relay_fits_into_one_message() {
    let relay = |bytes| Relay { to: ClientId::from_bytes([1; 20]), via: Via::Contact, payload: vec![0; bytes] };
    assert!(ToServer::Relay(relay(RELAY_BYTES_MAX)).encode().is_ok());
    assert!(ToServer::Relay(relay(MESSAGE_BYTES_MAX)).encode().is_err());
}

#[test]
fn a_text_over_its_limit_is_refused_both_ways() {
    let notice = Notice { mode: LoggingMode::Active, text: "x".repeat(TEXT_BYTES_MAX + 1) };
    assert!(matches!(ToDevice::Notice(notice).encode(), Err(ProtocolError::OverLimit { .. })));
    let mut bytes = vec![0x06, 2, 4, 1, 0x81, 0x04];
    bytes.extend(vec![b'x'; TEXT_BYTES_MAX + 1]);
    bytes[1..3].copy_from_slice(&516u16.to_be_bytes());
    assert!(matches!(ToDevice::decode(&bytes), Err(ProtocolError::OverLimit { .. })));
}

#[test]
fn an_unknown_logging_mode_is_refused() {
    assert!(matches!(ToDevice::decode(&[0x06, 0, 2, 4, 0]), Err(ProtocolError::Payload(_))));
}

#[test]
fn credentials_do_not_show_in_debug_output() {
    let server = IceServer {
        urls: vec!["turn:relay.example".to_owned()],
        username: "1900000000:label".to_owned(),
        password: "hunter2".to_owned(),
    };
    assert_eq!(format!("{server:?}"), r#"IceServer { urls: ["turn:relay.example"], .. }"#);
}

#[test]
fn a_list_of_ice_servers_is_refused_at_the_first_one_too_many() {
    let message = |servers: u8| {
        // Each without URLs, name and password; the lifetime last.
        let payload = [&[servers][..], &vec![0; 3 * usize::from(servers)], &[0]].concat();
        [&[0x41, 0, u8::try_from(payload.len()).unwrap()][..], &payload].concat()
    };
    let most = u8::try_from(ICE_SERVERS_MAX).unwrap();
    assert!(matches!(ToDevice::decode(&message(most)), Ok(Some(ToDevice::IceServers(_)))));
    for too_many in [most + 1, 80] {
        assert!(matches!(ToDevice::decode(&message(too_many)), Err(ProtocolError::Payload(_))), "{too_many}");
    }
}
