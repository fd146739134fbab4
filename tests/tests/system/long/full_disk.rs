//! Disks without space, real ones: what is refused, what waits, and what goes on when there is space again.

use std::path::Path;

use kith_system_tests::{Device, Logging, Server};

use crate::{Pair, numbered, queue_all, received, send_all};

/// Room for the stores of this test and for what they keep in reserve.
const DISK_BYTES: u64 = 40 * 1024 * 1024;

/// What the rest of the device has filled the disk with.
struct Filler<'a>(&'a Path);

impl<'a> Filler<'a> {
    /// Takes all the space but this.
    fn leave(path: &'a Path, bytes: u64) -> Self {
        let folder = path.parent().unwrap();
        let at = rustix::fs::statvfs(folder).unwrap();
        let taken = (at.f_bavail * at.f_frsize).saturating_sub(bytes);
        std::fs::write(path, vec![0x5a; usize::try_from(taken).unwrap()]).unwrap();
        let at = rustix::fs::statvfs(folder).unwrap();
        assert!(at.f_bavail * at.f_frsize <= bytes, "there is still space");
        Self(path)
    }
}

impl Drop for Filler<'_> {
    fn drop(&mut self) {
        // In vain where the disk has ended with its daemon.
        let _ = std::fs::remove_file(self.0);
    }
}

async fn pair() -> Pair {
    let server = Server::start(Logging::Active).await.unwrap();
    let alice = Device::start("alice", &server.url()).await.unwrap();
    let bob = Device::start_on_small_disk("bob", &server.url(), DISK_BYTES).await.unwrap();
    bob.accept(&alice.invite().await.unwrap()).await.unwrap();
    let to_bob = alice.messenger().await.unwrap().conversation().await.unwrap();
    let to_alice = bob.messenger().await.unwrap().conversation().await.unwrap();
    Pair { server, alice, bob, to_bob, to_alice }
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing_and_goes_on_when_there_is_space_again() {
    let mut pair = pair().await;
    send_all(&mut pair.to_bob, &numbered("before", 3)).await;
    let filler = pair.bob.data_folder_inside().unwrap().join("filler");
    // Less than the reserve, and then nothing at all.
    for (round, bytes) in [8 * 1024 * 1024, 0].into_iter().enumerate() {
        let heard =
            pair.to_alice.hear_of_trouble("Messages could not be stored and stay with the sender").await.unwrap();
        let full = Filler::leave(&filler, bytes);
        let refused = format!("{:#}", pair.bob.kithctl(&["send", "alice", "x"], "").await.unwrap_err());
        assert!(refused.contains("No space is left on the device: free some and try again."), "{refused}");
        let queued = queue_all(&pair.to_bob, &numbered(&format!("round {round}"), 3)).await;
        heard.await.unwrap().unwrap();
        // It was not acknowledged, and what was there can be read.
        let sent = pair.to_bob.history().await.unwrap();
        assert!(sent.iter().filter(|row| row.state == kith_dbus::MessageState::Queued).count() == 3, "{sent:?}");
        assert_eq!(received(&pair.to_alice).await.len(), 3 + 3 * round);

        drop(full);
        pair.to_bob.wait_until_delivered(queued.last().unwrap()).await.unwrap();
        send_all(&mut pair.to_alice, &numbered("answer", 1)).await;
    }
    let expected = [numbered("before", 3), numbered("round 0", 3), numbered("round 1", 3)].concat();
    assert_eq!(received(&pair.to_alice).await, expected);
    let check = pair.bob.kithctl_json(&["check"], "").await.unwrap();
    assert_eq!(check["damaged"], 0);
}
