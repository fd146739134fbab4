//! Somebody is away, and comes back: every message arrives, once, in order.

use kith_dbus::LinkState;
use kith_system_tests::Logging;

use super::rounds;
use crate::{Pair, numbered, queue_all, received, send_all};

/// More than a session sends without an acknowledgement, so that the outbox has to be read again.
const MESSAGES: usize = 70;

#[tokio::test]
async fn messages_sent_while_the_peer_is_away_arrive_when_it_returns() {
    let mut pair = Pair::new().await;
    let mut expected = Vec::new();
    for round in 0..rounds() {
        let texts = numbered(&format!("round {round}"), MESSAGES);
        pair.bob.stop().unwrap();
        let queued = queue_all(&pair.to_bob, &texts).await;
        pair.bob.run_again().await.unwrap();
        pair.to_bob.wait_until_delivered(queued.last().unwrap()).await.unwrap();
        expected.extend(texts);
        assert_eq!(received(&pair.to_alice).await, expected);
    }
}

#[tokio::test]
async fn messages_pass_while_the_server_is_away_and_after_it_returns() {
    let mut pair = Pair::new().await;
    let mut expected = Vec::new();
    for round in 0..rounds() {
        // Paired devices keep their session: the server only introduces.
        pair.server.stop().unwrap();
        let without = numbered(&format!("without server, round {round}"), 5);
        send_all(&mut pair.to_bob, &without).await;
        // A device that restarts needs it to find the other again.
        pair.bob.cut_power();
        pair.bob.run_again().await.unwrap();
        let texts = numbered(&format!("nobody to introduce, round {round}"), MESSAGES);
        let queued = queue_all(&pair.to_bob, &texts).await;
        pair.server.run(Logging::Active).await.unwrap();
        pair.to_bob.wait_until_delivered(queued.last().unwrap()).await.unwrap();
        expected.extend(without);
        expected.extend(texts);
        assert_eq!(received(&pair.to_alice).await, expected);
    }
}

#[tokio::test]
async fn messages_survive_a_power_cut_of_the_sender_while_peer_and_server_are_away() {
    let mut pair = Pair::new().await;
    let mut expected = Vec::new();
    for round in 0..rounds() {
        let texts = numbered(&format!("round {round}"), MESSAGES);
        pair.bob.stop().unwrap();
        pair.server.stop().unwrap();
        let queued = queue_all(&pair.to_bob, &texts).await;
        pair.alice.cut_power();
        pair.alice.run_again().await.unwrap();
        pair.server.run(Logging::Active).await.unwrap();
        pair.bob.run_again().await.unwrap();
        pair.to_bob.wait_until_delivered(queued.last().unwrap()).await.unwrap();
        expected.extend(texts);
        assert_eq!(received(&pair.to_alice).await, expected);
    }
}

#[tokio::test]
async fn a_power_cut_of_the_receiver_in_the_middle_repeats_nothing() {
    let mut pair = Pair::new().await;
    let mut expected = Vec::new();
    for round in 0..rounds() {
        let texts = numbered(&format!("round {round}"), MESSAGES);
        let queued = queue_all(&pair.to_bob, &texts).await;
        pair.to_bob.wait_until_delivered(&queued[0]).await.unwrap();
        pair.bob.cut_power();
        pair.bob.run_again().await.unwrap();
        pair.to_bob.wait_until_delivered(queued.last().unwrap()).await.unwrap();
        expected.extend(texts);
        assert_eq!(received(&pair.to_alice).await, expected);
    }
}

#[tokio::test]
async fn two_devices_that_see_each_other_at_once_end_with_one_session() {
    let mut pair = Pair::new().await;
    for round in 0..rounds() {
        pair.server.stop().unwrap();
        pair.alice.cut_power();
        pair.bob.cut_power();
        pair.alice.run_again().await.unwrap();
        pair.bob.run_again().await.unwrap();
        // Both have something to send, both hear of each other at the same moment.
        let there = numbered(&format!("there, round {round}"), 5);
        let back = numbered(&format!("back, round {round}"), 5);
        let queued_there = queue_all(&pair.to_bob, &there).await;
        let queued_back = queue_all(&pair.to_alice, &back).await;
        pair.server.run(Logging::Active).await.unwrap();
        pair.to_bob.wait_until_delivered(queued_there.last().unwrap()).await.unwrap();
        pair.to_alice.wait_until_delivered(queued_back.last().unwrap()).await.unwrap();
        // The session that remained carries both ways.
        send_all(&mut pair.to_bob, &numbered("more", 2)).await;
        send_all(&mut pair.to_alice, &numbered("more", 2)).await;
        for conversation in [&pair.to_bob, &pair.to_alice] {
            assert_eq!(conversation.link().await.unwrap(), LinkState::Direct);
        }
        assert_eq!(received(&pair.to_alice).await.len(), (round + 1) * 7);
        assert_eq!(received(&pair.to_bob).await.len(), (round + 1) * 7);
    }
}
