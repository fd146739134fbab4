//! What a secret prints as. A change here is a decision: none of these may ever show a key, a body or an address.

mod support;

use kith_crypto::comparison::Code;
use kith_crypto::identity::ClientId;
use kith_crypto::invite::InviteSecret;
use kith_crypto::noise::{HandshakeState, Role};
use kith_crypto::primitives::generate_secret;
use kith_crypto::sealed::one_shot::Psk;
use kith_crypto::sealed::{Header, Opened, PayloadKind, SessionId};
use kith_crypto::session::Handshake;
use kith_crypto::vault::{DataKey, ITERATIONS_MIN, MasterKey, StoreKeys, TagKey};
use kith_crypto::version::Version;
use kith_crypto::wire::Message;
use support::{Pair, identity, pair, seeded, side};

#[test]
fn identities_print_their_public_name_only() {
    let identity = identity(1);
    let id = identity.client_id();
    assert_eq!(format!("{identity:?}"), format!("Identity({id}, ..)"));
    assert_eq!(format!("{:?}", identity.public()), format!("PublicIdentity({id})"));
    assert_eq!(format!("{:?}", identity.card()), format!("Card({id})"));
    assert_eq!(format!("{id:?}"), id.to_string());
}

#[test]
fn invites_print_nothing() {
    let secret = InviteSecret::from_bytes([7; 32]);
    assert_eq!(format!("{secret:?}"), "InviteSecret(..)");
    assert_eq!(format!("{:?}", secret.keys()), "InviteKeys(..)");
    let psk = Psk { key: &[7; 32], id: &[8; 16] };
    assert_eq!(format!("{psk:?}"), "Psk(..)");
}

#[test]
fn a_code_prints_nothing() {
    assert_eq!(format!("{:?}", Code::parse("KQXRWA").unwrap()), "Code(..)");
}

#[test]
fn handshakes_and_sessions_print_where_they_stand() {
    let (a, b) = (identity(1), identity(2));
    let sides = (side(&a, 1), side(&b, 2));
    let handshake = Handshake::paired(Role::Initiator, &a, b.public(), sides.0, sides.1);
    assert_eq!(format!("{handshake:?}"), "Handshake(HandshakeState { role: Initiator, next: 0, .. })");
    let mut rng = seeded(1);
    let (own, remote) = (generate_secret(&mut rng), generate_secret(&mut rng));
    let mut first = HandshakeState::kk(Role::Initiator, &[], &own, &remote.public_key());
    let mut second = HandshakeState::kk(Role::Responder, &[], &remote, &own.public_key());
    let mut message = [0; 81];
    first.write(&mut message, &mut rng).unwrap();
    second.read(&message).unwrap();
    second.write(&mut message, &mut rng).unwrap();
    assert_eq!(format!("{:?}", second.finish().unwrap()), "Outcome(..)");
    let Pair { at_a, .. } = pair();
    assert_eq!(format!("{at_a:?}"), "Session { role: Initiator, generation: 0, records: 0, .. }");
}

#[test]
fn keys_of_the_vault_print_nothing() {
    let id = ClientId::from_bytes([1; 20]);
    let master = MasterKey::derive(b"x", &id, &[0; 16], ITERATIONS_MIN).unwrap();
    assert_eq!(format!("{master:?}"), "MasterKey(..)");
    assert_eq!(format!("{:?}", master.key_encryption_key()), "KeyEncryptionKey(..)");
    assert_eq!(format!("{:?}", master.backup_key()), "BackupKey(..)");
    let data = DataKey::generate(&mut seeded(1));
    assert_eq!(format!("{data:?}"), "DataKey(..)");
    assert_eq!(format!("{:?}", TagKey::from_bytes([1; 32])), "TagKey(..)");
    let keys = StoreKeys::from_data_key(data);
    assert_eq!(format!("{keys:?}"), "StoreKeys { data: DataKey(..), tags: TagKey(..) }");
    assert_eq!(format!("{:?}", keys.table(&id, "messages")), "TableKey(\"messages\", ..)");
}

#[test]
fn messages_and_payloads_print_no_content() {
    let message = Message {
        id: [1; 16],
        conversation: [0; 16],
        number: 3,
        sent_utc_ms: 4,
        clock_trusted: true,
        content_type: "text/plain",
        reply_to: None,
        ttl_s: None,
        body: b"dear diary",
    };
    assert_eq!(format!("{message:?}"), "Message { number: 3, body_bytes: 10, .. }");
    let opened = Opened {
        header: Header { kind: PayloadKind::Candidate, session: SessionId([0; 16]), index: 1 },
        version: Version::OWN,
        body: b"192.0.2.1",
    };
    let printed = format!("{opened:?}");
    assert!(printed.starts_with("Opened { header: Header { kind: Candidate,"));
    assert!(!printed.contains("body") && printed.ends_with(".. }"));
}
