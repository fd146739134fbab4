//! A device starts in whatever order the machine comes up.

use std::time::Duration;

use kith_system_tests::{Device, Logging, Server};

use crate::{numbered, received, send_all};

#[tokio::test]
async fn a_daemon_that_is_there_before_its_bus_and_its_server_waits_for_both() {
    let mut server = Server::start(Logging::Active).await.unwrap();
    let url = server.url();
    server.stop().unwrap();

    let mut alice = Device::prepare("alice", &url).unwrap();
    alice.run().unwrap();
    alice.bus().run().await.unwrap();
    let messenger = alice.messenger().await.unwrap();
    alice.set_up().await.unwrap();

    server.run(Logging::Active).await.unwrap();
    messenger.wait_until_online().await.unwrap();
    let bob = Device::start("bob", &url).await.unwrap();
    bob.accept(&alice.invite().await.unwrap()).await.unwrap();
    let mut to_bob = messenger.conversation().await.unwrap();
    let to_alice = bob.messenger().await.unwrap().conversation().await.unwrap();
    let texts = numbered("late", 3);
    send_all(&mut to_bob, &texts).await;
    assert_eq!(received(&to_alice).await, texts);
}

#[tokio::test]
async fn a_daemon_outlives_its_bus() {
    let mut server = Server::start(Logging::Active).await.unwrap();
    let mut alice = Device::start("alice", &server.url()).await.unwrap();
    alice.bus().stop().unwrap();
    alice.bus().run().await.unwrap();
    let messenger = alice.messenger().await.unwrap();
    messenger.wait_until_online().await.unwrap();
    assert!(alice.stop().is_ok());
    assert!(server.stop().is_ok());
}

#[tokio::test]
async fn everything_ends_at_once_when_it_is_asked_to() {
    let mut server = Server::start(Logging::Active).await.unwrap();
    let mut alice = Device::start("alice", &server.url()).await.unwrap();
    let start = std::time::Instant::now();
    alice.stop().unwrap();
    server.stop().unwrap();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}
