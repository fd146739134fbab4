//! Whole systems: a server, devices with their daemons, and their owners at the command line.
//!
//! What takes more than a few seconds is in `long`; `cargo xtask test quick` leaves that out.

mod access;
mod backup;
mod chaos;
mod clients;
mod contract;
mod credential;
mod digits;
mod keep;
mod keys;
mod kiosk;
mod locked;
mod long;
mod nodes;
mod ready;
mod refused;
mod rooms;
mod talk;
mod words;

use kith_dbus::Direction;
use kith_system_tests::{Conversation, Device, Logging, Server};

/// A server, two paired devices, and their conversations.
struct Pair {
    server: Server,
    alice: Device,
    bob: Device,
    to_bob: Conversation,
    to_alice: Conversation,
}

impl Pair {
    async fn new() -> Self {
        let server = Server::start(Logging::Active).await.unwrap();
        let alice = Device::start("alice", &server.url()).await.unwrap();
        let bob = Device::start("bob", &server.url()).await.unwrap();
        bob.accept(&alice.invite().await.unwrap()).await.unwrap();
        let to_bob = alice.messenger().await.unwrap().conversation().await.unwrap();
        let to_alice = bob.messenger().await.unwrap().conversation().await.unwrap();
        Self { server, alice, bob, to_bob, to_alice }
    }
}

/// Sends numbered texts and waits until the last one is delivered: the others are before it.
async fn send_all(conversation: &mut Conversation, texts: &[String]) {
    let queued = queue_all(conversation, texts).await;
    conversation.wait_until_delivered(queued.last().unwrap()).await.unwrap();
}

/// Queues texts without waiting for their delivery.
async fn queue_all(conversation: &Conversation, texts: &[String]) -> Vec<kith_system_tests::Queued> {
    let mut queued = Vec::new();
    for text in texts {
        queued.push(conversation.send(text).await.unwrap());
    }
    queued
}

/// Texts that tell whose they are and in which order.
fn numbered(what: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{what}, number {number}")).collect()
}

/// The texts that the other side received, oldest first.
async fn received(conversation: &Conversation) -> Vec<String> {
    let rows = conversation.history().await.unwrap();
    let incoming = rows.into_iter().filter(|row| row.direction == Direction::Incoming);
    incoming.map(|row| String::from_utf8(row.body).unwrap()).collect()
}
