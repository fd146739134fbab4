//! What devices get from each other through the server, over real sockets.

use crate::devices::{Device, Ended, QUIET, Running};
use kith_signal::Deadlines;
use kith_signal_protocol::{
    GoodbyeReason, LoggingMode, Presence, ToDevice, ToServer, Undelivered, UndeliveredReason, Via,
};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

async fn befriended(server: &Running) -> (Device, Device) {
    let mut a = Device::online(server, 1).await;
    let mut b = Device::online(server, 2).await;
    a.watch(b.id()).await;
    a.settle().await;
    b.watch(a.id()).await;
    assert_eq!(a.hear().await, ToDevice::Presence(Presence { peer: b.id(), online: true }));
    assert_eq!(b.hear().await, ToDevice::Presence(Presence { peer: a.id(), online: true }));
    (a, b)
}

#[tokio::test]
async fn a_login_is_welcomed_with_the_notice_of_the_configuration() {
    let config = format!("{QUIET}text = \"Nothing is kept.\"\n");
    let server = Running::start_with(&config, Deadlines::default()).await;
    let (_, welcome) = Device::online_as(&server, 1, [0; 16]).await;
    assert_eq!(welcome.notice.mode, LoggingMode::Disabled);
    assert_eq!(welcome.notice.text, "Nothing is kept.");
}

#[tokio::test]
async fn presence_is_told_only_once_both_watch() {
    let server = Running::start().await;
    let mut a = Device::online(&server, 1).await;
    let mut b = Device::online(&server, 2).await;
    a.watch(b.id()).await;
    // The answer to the next question is the next message: no presence came before it.
    a.settle().await;
    b.settle().await;
    b.watch(a.id()).await;
    assert_eq!(a.hear().await, ToDevice::Presence(Presence { peer: b.id(), online: true }));
    assert_eq!(b.hear().await, ToDevice::Presence(Presence { peer: a.id(), online: true }));
}

#[tokio::test]
async fn a_device_that_vanishes_is_reported_offline() {
    let server = Running::start().await;
    let (mut a, b) = befriended(&server).await;
    let peer = b.id();
    drop(b);
    assert_eq!(a.hear().await, ToDevice::Presence(Presence { peer, online: false }));
}

#[tokio::test]
async fn contacts_exchange_payloads() {
    let server = Running::start().await;
    let (mut a, mut b) = befriended(&server).await;
    a.relay(b.id(), Via::Contact, b"offer").await;
    let relayed = b.hear_relayed().await;
    assert_eq!((relayed.from, relayed.via), (a.id(), Via::Contact));
    assert_eq!(relayed.payload, b"offer");
    b.relay(a.id(), Via::Contact, &[7; 32_768]).await;
    assert_eq!(a.hear_relayed().await.payload, [7; 32_768]);
}

#[tokio::test]
async fn a_payload_for_a_stranger_comes_back() {
    let server = Running::start().await;
    let mut a = Device::online(&server, 1).await;
    let b = Device::online(&server, 2).await;
    a.relay(b.id(), Via::Contact, b"offer").await;
    let undelivered = Undelivered { to: b.id(), via: Via::Contact, reason: UndeliveredReason::NotReachable };
    assert_eq!(a.hear().await, ToDevice::Undelivered(undelivered));
}

#[tokio::test]
async fn an_invite_carries_payloads_both_ways_between_strangers() {
    let server = Running::start().await;
    let mut inviter = Device::online(&server, 1).await;
    let mut invitee = Device::online(&server, 2).await;
    let via = Via::Invite([9; 16]);
    inviter.say(&ToServer::OpenInvite([9; 16])).await;
    inviter.settle().await;
    invitee.relay(inviter.id(), via, b"first offer").await;
    let relayed = inviter.hear_relayed().await;
    assert_eq!((relayed.from, relayed.via), (invitee.id(), via));
    inviter.relay(relayed.from, via, b"answer").await;
    assert_eq!(invitee.hear_relayed().await.payload, b"answer");

    inviter.say(&ToServer::CloseInvite([9; 16])).await;
    inviter.settle().await;
    invitee.relay(inviter.id(), via, b"again").await;
    let undelivered = Undelivered { to: inviter.id(), via, reason: UndeliveredReason::NoSuchInvite };
    assert_eq!(invitee.hear().await, ToDevice::Undelivered(undelivered));
}

#[tokio::test]
async fn the_same_instance_replaces_its_stale_connection_at_once() {
    let server = Running::start().await;
    let mut stale = Device::online(&server, 1).await;
    let mut fresh = Device::online(&server, 1).await;
    assert_eq!(stale.hear_goodbye().await, GoodbyeReason::Replaced);
    assert_eq!(stale.ended().await, Ended::Code(CloseCode::Normal));
    fresh.settle().await;
}

#[tokio::test]
async fn another_instance_is_refused_and_the_first_is_told() {
    let server = Running::start().await;
    let mut first = Device::online(&server, 1).await;
    let mut second = Device::connect(&server, 1).await;
    let login = second.login(&server.name(), [1; 16]);
    second.say(&login).await;
    assert_eq!(second.hear_goodbye().await, GoodbyeReason::IdentityInUse);
    assert_eq!(second.ended().await, Ended::Code(CloseCode::Normal));
    assert_eq!(first.hear().await, ToDevice::Intruder);
    first.settle().await;
}

#[tokio::test]
async fn a_first_instance_that_is_dead_makes_room_for_the_second() {
    let deadlines = Deadlines { probe: std::time::Duration::from_millis(50), ..Deadlines::default() };
    let server = Running::start_with(QUIET, deadlines).await;
    // Never polled again, so it answers no probe, as after a power cut.
    let dead = Device::online(&server, 1).await;
    let mut friend = Device::online(&server, 2).await;
    friend.watch(dead.id()).await;
    friend.settle().await;
    loop {
        let mut second = Device::connect(&server, 1).await;
        let login = second.login(&server.name(), [1; 16]);
        second.say(&login).await;
        match second.hear().await {
            ToDevice::Welcome(_) => break,
            ToDevice::Goodbye(goodbye) => {
                assert_eq!(goodbye.reason, GoodbyeReason::IdentityInUse);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_stopping_server_says_goodbye_to_all() {
    let server = Running::start().await;
    let mut online = Device::online(&server, 1).await;
    let mut challenged = Device::connect(&server, 2).await;
    let (heard, ()) = tokio::join!(
        async {
            (
                online.hear_goodbye().await,
                online.ended().await,
                challenged.hear_goodbye().await,
                challenged.ended().await,
            )
        },
        server.stop()
    );
    let restart = || Ended::Code(CloseCode::Restart);
    let reason = GoodbyeReason::ShuttingDown;
    assert_eq!(heard, (reason, restart(), reason, restart()));
}
