//! What a server says to a device that no honest one says.

use kith_crypto::identity::ClientId;
use kith_crypto::version::Version;
use kith_signal_protocol::limits::{MESSAGE_BYTES_MAX, RELAY_BYTES_MAX};
use kith_signal_protocol::{
    Challenge, Goodbye, GoodbyeReason, IceServer, IceServers, LoggingMode, Notice, Presence, Relayed, ToDevice,
    Undelivered, UndeliveredReason, Via, Welcome,
};
use tokio_tungstenite::tungstenite::Message;

use crate::scene::Scene;

fn notice() -> Notice {
    Notice { mode: LoggingMode::Active, text: "quiet".to_owned() }
}

/// One of each message that a server may send after the welcome.
fn one_of_each(peer: ClientId) -> Vec<ToDevice> {
    vec![
        ToDevice::Intruder,
        ToDevice::Notice(notice()),
        ToDevice::Presence(Presence { peer, online: true }),
        ToDevice::Relayed(Relayed { from: peer, via: Via::Contact, payload: vec![1; 300] }),
        ToDevice::Undelivered(Undelivered { to: peer, via: Via::Contact, reason: UndeliveredReason::Other(200) }),
        ToDevice::IceServers(IceServers {
            servers: vec![IceServer {
                urls: vec!["stun:127.0.0.1:9".to_owned(), "nonsense".to_owned()],
                username: "u".to_owned(),
                password: "p".to_owned(),
            }],
            lifetime_s: 0,
        }),
    ]
}

/// What is no message, or not one for this place. Each ends the connection.
fn malformed(peer: ClientId) -> Vec<(String, Message)> {
    let mut all = Vec::new();
    let mut add = |what: &str, bytes: Vec<u8>| all.push((what.to_owned(), Message::binary(bytes)));
    add("nothing", Vec::new());
    add("an unknown kind that matters", vec![0x55, 0, 0]);
    add("a message of a device", vec![0x40, 0, 0]);
    for message in one_of_each(peer) {
        let bytes = message.encode().unwrap();
        let what = format!("kind {:#04x}", bytes[0]);
        add(&format!("{what}, one byte more"), [bytes.as_slice(), b"x"].concat());
        let mut longer = [bytes.as_slice(), b"x"].concat();
        longer[2] += 1;
        add(&format!("{what}, a longer payload"), longer);
        if bytes.len() > 3 {
            add(&format!("{what}, one byte less"), bytes[..bytes.len() - 1].to_vec());
            let mut shorter = bytes[..bytes.len() - 1].to_vec();
            (shorter[1], shorter[2]) = (((bytes.len() - 4) >> 8) as u8, (bytes.len() - 4) as u8);
            add(&format!("{what}, a shorter payload"), shorter);
        }
    }
    let again = ToDevice::Challenge(Challenge { version: Version::OWN, nonce: [0; 32] });
    add("a second challenge", again.encode().unwrap());
    let again = ToDevice::Welcome(Welcome { version: Version::OWN, notice: notice() });
    add("a second welcome", again.encode().unwrap());
    let mut mode = ToDevice::Notice(notice()).encode().unwrap();
    mode[3] = 4;
    add("an unknown logging mode", mode);
    let mut via = ToDevice::Relayed(Relayed { from: peer, via: Via::Contact, payload: vec![1] }).encode().unwrap();
    via[23] = 2;
    add("an unknown right", via);
    let relayed = Relayed { from: peer, via: Via::Contact, payload: vec![1; RELAY_BYTES_MAX + 1] };
    let mut too_large =
        ToDevice::Relayed(Relayed { payload: vec![1; RELAY_BYTES_MAX], ..relayed.clone() }).encode().unwrap();
    // One byte over the limit, which no honest encoder writes.
    too_large.push(1);
    let (payload, length) = (too_large.len() - 3, RELAY_BYTES_MAX + 1);
    (too_large[1], too_large[2]) = ((payload >> 8) as u8, payload as u8);
    (too_large[24], too_large[25], too_large[26]) =
        (0x80 | (length & 0x7f) as u8, 0x80 | (length >> 7 & 0x7f) as u8, (length >> 14) as u8);
    add("a payload over the limit", too_large);
    add("more than a message holds", vec![0x55; MESSAGE_BYTES_MAX + 1]);
    all.push(("text".to_owned(), Message::text("hello")));
    all
}

/// Lines that say what is wrong with the server.
fn complaints(log: &str) -> usize {
    log.matches("does not follow the protocol").count() + log.matches("signaling server was lost").count()
}

#[tokio::test]
async fn whatever_a_server_says_that_is_no_message_ends_the_connection_and_nothing_else() {
    let mut scene = Scene::new().await;
    let alice = scene.alice.id;
    let all = malformed(scene.bob.id);
    for (count, (what, message)) in all.into_iter().enumerate() {
        if count % 4 == 3 {
            // The device waits longer after each failure; a new start begins anew.
            let logins = scene.server.logins(alice);
            scene.alice.lock_and_unlock().await;
            scene.server.wait_for_logins(alice, logins + 1).await;
        }
        let (logins, said) = (scene.server.logins(alice), complaints(&scene.alice.log()));
        scene.server.say_raw(alice, message).await;
        scene.server.wait_for_logins(alice, logins + 1).await;
        assert!(complaints(&scene.alice.log()) > said, "{what}: {}", scene.alice.log());
        scene.alice.is_unharmed();
    }
    scene.is_as_it_should_be("everything malformed").await;
}

#[tokio::test]
async fn lies_of_a_server_about_the_others_end_no_session() {
    let mut scene = Scene::new().await;
    let (alice, bob, stranger) = (scene.alice.id, scene.bob.id, ClientId::from_bytes([8; 20]));
    let logins = scene.server.logins(alice);
    for round in 0..100_u32 {
        for peer in [bob, alice, stranger] {
            let online = round % 2 == 1;
            scene.server.say(alice, &ToDevice::Presence(Presence { peer, online })).await;
            for via in [Via::Contact, Via::Invite([4; 16])] {
                let reason = UndeliveredReason::from((round % 7) as u8);
                scene.server.say(alice, &ToDevice::Undelivered(Undelivered { to: peer, via, reason })).await;
            }
        }
        for message in one_of_each(bob) {
            scene.server.say(alice, &message).await;
        }
        // Unknown, and optional.
        scene.server.say_raw(alice, Message::binary(vec![0xd5, 0, 1, 7])).await;
    }
    scene.is_as_it_should_be("a hundred lies of each kind").await;
    assert_eq!(scene.server.logins(alice), logins, "none of them ended the connection");
    assert!(scene.alice.has_logged("another device tried to use this identity"));
}

#[tokio::test]
async fn a_server_that_says_goodbye_is_tried_again_and_writes_only_one_line_into_the_log() {
    let mut scene = Scene::new().await;
    let alice = scene.alice.id;
    let text = "bye\n2026-01-01T00:00:00Z  INFO kithd: all is well\u{1b}[2J".to_owned();
    let goodbye = Goodbye { reason: GoodbyeReason::Other(77), text, retry_after_s: 1 };
    let logins = scene.server.logins(alice);
    scene.server.say(alice, &ToDevice::Goodbye(goodbye)).await;
    scene.server.wait_for_logins(alice, logins + 1).await;
    let log = scene.alice.log();
    assert!(log.contains("refused this device") && !log.contains('\u{1b}'), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("2026-01-01T00:00:00Z")), "{log}");
    scene.is_as_it_should_be("a goodbye").await;
}
