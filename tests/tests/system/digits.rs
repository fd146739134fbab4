//! Two devices that pair by comparing digits.

use kith_dbus::{Pairing1Proxy, pairing_path};
use kith_system_tests::{Conversation, Device, Logging, Server};

use crate::send_all;

/// The digits that a device shows to its owner.
async fn digits(device: &Device, pairing: u32) -> String {
    let messenger = device.messenger().await.unwrap();
    let builder = Pairing1Proxy::builder(messenger.connection()).path(pairing_path(pairing));
    let pairing = builder.build().await.unwrap();
    pairing.digits().await.unwrap()
}

#[tokio::test]
async fn two_devices_without_an_invite_pair_by_a_code_and_the_same_digits() {
    let server = Server::start(Logging::Active).await.unwrap();
    let alice = Device::start("alice", &server.url()).await.unwrap();
    let bob = Device::start("bob", &server.url()).await.unwrap();
    let shown = alice.kithctl_json(&["compare", "--no-wait"], "").await.unwrap();
    // It waits until both have digits; without a terminal the owner confirms by another command.
    let typed = bob.kithctl(&["compare", shown["code"].as_str().unwrap()], "").await.unwrap();
    let on_alice = digits(&alice, 1).await;
    assert_eq!(typed.replace(' ', "").trim(), on_alice);
    let on_bob = digits(&bob, 1).await;
    let (by_alice, by_bob) = (["confirm", "1", &on_bob], ["confirm", "1", &on_alice]);
    let (here, there) = tokio::join!(alice.kithctl(&by_alice, ""), bob.kithctl(&by_bob, ""));
    assert!(here.unwrap().contains("Paired with bob"));
    assert!(there.unwrap().contains("Paired with alice"));
    let conversation =
        async |device: &Device| -> Conversation { device.messenger().await.unwrap().conversation().await.unwrap() };
    send_all(&mut conversation(&alice).await, &["by digits".to_owned()]).await;
    send_all(&mut conversation(&bob).await, &["and back".to_owned()]).await;
}
