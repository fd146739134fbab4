//! The shortest way through everything.

use crate::{Pair, numbered, received, send_all};

#[tokio::test]
async fn two_devices_pair_and_talk_both_ways() {
    let mut pair = Pair::new().await;
    let there = numbered("there", 10);
    let back = numbered("back", 10);
    send_all(&mut pair.to_bob, &there).await;
    send_all(&mut pair.to_alice, &back).await;
    assert_eq!(received(&pair.to_alice).await, there);
    assert_eq!(received(&pair.to_bob).await, back);
}
