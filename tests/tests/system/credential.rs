//! Stores that open with a credential, without a person.

use kith_dbus::DaemonState;
use kith_system_tests::{Device, Logging, Secret, Server};
use serde_json::Value;

const SET_UP: &str = "[set_up]\ndisplay_name = \"Front door\"\n";

async fn device() -> (Server, Device) {
    let server = Server::start(Logging::Active).await.unwrap();
    let mut device = Device::prepare("hall", &server.url()).unwrap();
    device.bus().run().await.unwrap();
    (server, device)
}

async fn status(device: &Device) -> Value {
    device.kithctl_json(&["status"], "").await.unwrap()
}

#[tokio::test]
async fn a_credential_sets_the_device_up_and_opens_its_store_ever_after() {
    let (_server, mut device) = device().await;
    device.configure(SET_UP).unwrap();
    device.give_credential(device.secret().text().as_bytes()).unwrap();
    device.run().unwrap();
    device.messenger().await.unwrap().wait_until(DaemonState::Ready).await.unwrap();
    let first = status(&device).await;
    assert_eq!(first["display_name"], "Front door");

    device.stop().unwrap();
    device.run().unwrap();
    let messenger = device.messenger().await.unwrap();
    messenger.wait_until(DaemonState::Ready).await.unwrap();
    assert_eq!(status(&device).await["client_id"], first["client_id"]);
    // Locked is locked: the credential is for the start.
    device.kithctl(&["lock"], "").await.unwrap();
    messenger.wait_until(DaemonState::Locked).await.unwrap();
    device.unlock().await.unwrap();
}

#[tokio::test]
async fn a_credential_alone_makes_no_identity() {
    let (_server, mut device) = device().await;
    device.give_credential(device.secret().text().as_bytes()).unwrap();
    device.run().unwrap();
    device.messenger().await.unwrap().wait_until(DaemonState::NeedsSetUp).await.unwrap();
    assert!(!device.data_folder().join("store.redb").exists());
    assert!(device.process().unwrap().errors().contains("set_up.display_name"));
    device.set_up().await.unwrap();
}

#[tokio::test]
async fn a_wrong_credential_is_logged_and_the_owner_can_still_unlock() {
    let (_server, mut device) = device().await;
    device.run().unwrap();
    device.messenger().await.unwrap();
    device.set_up().await.unwrap();
    let wrong = Secret::random().unwrap();
    for (credential, says) in [(wrong.text().as_bytes(), "does not open the store"), (b"\xff", "is not UTF-8")] {
        device.stop().unwrap();
        device.give_credential(credential).unwrap();
        device.run().unwrap();
        device.messenger().await.unwrap().wait_until(DaemonState::Locked).await.unwrap();
        device.unlock().await.unwrap();
        let errors = device.process().unwrap().errors();
        assert!(errors.contains(says) && !errors.contains(wrong.text()), "{errors}");
    }
}
