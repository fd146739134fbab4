//! A restored device beside the old one.

use kith_dbus::Signaling;
use kith_system_tests::Device;

use crate::{Pair, numbered, received, send_all};

#[tokio::test]
async fn two_devices_with_one_identity_are_told_and_the_first_one_goes_on_until_it_ends() {
    let mut pair = Pair::new().await;
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("bob.enc.json").display().to_string();
    pair.bob.kithctl(&["export", &backup], "").await.unwrap();
    let second = Device::start_new("bob", &pair.server.url()).await.unwrap();
    let told = pair.bob.messenger().await.unwrap().hear_of_intruder().await.unwrap();
    second.kithctl(&["import", &backup], pair.bob.secret().text()).await.unwrap();
    let messenger = second.messenger().await.unwrap();
    messenger.wait_for_signaling(Signaling::IdentityInUse).await.unwrap();
    assert_eq!(second.kithctl_json(&["status"], "").await.unwrap()["signaling"], "identity-in-use");
    told.await.unwrap().unwrap();
    send_all(&mut pair.to_bob, &numbered("to the first", 2)).await;

    pair.bob.stop().unwrap();
    messenger.wait_until_online().await.unwrap();
    let to_alice = messenger.conversation().await.unwrap();
    let after = numbered("to the second", 2);
    send_all(&mut pair.to_bob, &after).await;
    assert_eq!(received(&to_alice).await, after);
    // What went to the first one is not lost in silence.
    assert_eq!(to_alice.missing().await.unwrap(), 2);
}
