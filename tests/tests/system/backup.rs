//! Backups of real devices: one that is lost goes on as another.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kith_system_tests::{Device, run_to_end};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Pair, numbered, queue_all, received, send_all};

/// Debian's, which has Debian's package `python3-cryptography`.
const PYTHON: &str = "/usr/bin/python3";

/// How long the independent reader may take: it derives a key.
const READER_MAX: Duration = Duration::from_secs(60);

fn path_in(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

#[tokio::test]
async fn a_device_restored_from_a_backup_of_100_messages_ago_goes_on_with_its_peer() {
    let mut pair = Pair::new().await;
    let folder = tempfile::tempdir().unwrap();
    let backup = path_in(&folder, "bob.enc.json");
    let [early, back] = ["early", "back"].map(|what| numbered(what, 3));
    send_all(&mut pair.to_bob, &early).await;
    send_all(&mut pair.to_alice, &back).await;
    // Two messages wait while the backup is made, and arrive after it.
    pair.alice.stop().unwrap();
    let waiting = numbered("waiting", 2);
    let queued = queue_all(&pair.to_alice, &waiting).await;
    let made = pair.bob.kithctl_json(&["export", &backup], "").await.unwrap();
    assert_eq!((&made["messages"], &made["waiting"], &made["encrypted"]), (&json!(8), &json!(2), &json!(true)));
    pair.alice.run_again().await.unwrap();
    pair.to_alice.wait_until_delivered(queued.last().unwrap()).await.unwrap();
    let [lost, unremembered] = ["lost", "unremembered"].map(|what| numbered(what, 50));
    send_all(&mut pair.to_bob, &lost).await;
    send_all(&mut pair.to_alice, &unremembered).await;
    pair.bob.stop().unwrap();

    let bob = Device::start_new("bob", &pair.server.url()).await.unwrap();
    let wrong = format!("{:#}", bob.kithctl(&["import", &backup], "wrong").await.unwrap_err());
    assert!(wrong.contains("The secret does not open the backup: "), "{wrong}");
    let restored = bob.kithctl_json(&["import", &backup], pair.bob.secret().text()).await.unwrap();
    assert_eq!((&restored["messages"], &restored["replaces"]), (&json!(8), &json!(false)));
    let mut to_alice = bob.messenger().await.unwrap().conversation().await.unwrap();
    // What waited comes once more, and is acknowledged once more.
    to_alice.wait_until_nothing_waits().await.unwrap();
    let new = numbered("new", 3);
    send_all(&mut to_alice, &new).await;
    let told = to_alice.hear_of_trouble("50 messages of this contact came after the backup").await.unwrap();
    let after = numbered("after", 3);
    send_all(&mut pair.to_bob, &after).await;
    told.await.unwrap().unwrap();
    assert_eq!(to_alice.missing().await.unwrap(), 50);
    assert_eq!(received(&to_alice).await, [early, after].concat());
    assert_eq!(received(&pair.to_bob).await, [back, waiting, unremembered, new].concat());
}

#[tokio::test]
async fn a_device_takes_its_own_backup_back_and_no_other() {
    let mut pair = Pair::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (sealed, plain) = (path_in(&folder, "bob.enc.json"), path_in(&folder, "bob.json"));
    let early = numbered("early", 3);
    send_all(&mut pair.to_bob, &early).await;
    pair.bob.kithctl(&["export", &sealed], "").await.unwrap();
    pair.bob.kithctl(&["export", "--plain", &plain], pair.bob.secret().text()).await.unwrap();
    send_all(&mut pair.to_bob, &numbered("later", 2)).await;

    let other = format!("{:#}", pair.alice.kithctl(&["import", "--replace", &plain], "").await.unwrap_err());
    assert!(other.contains("import it on a device that is not set up, or wipe this one first."), "{other}");
    let unasked = format!("{:#}", pair.bob.kithctl(&["import", &sealed], "").await.unwrap_err());
    assert!(unasked.contains("This device is set up: "), "{unasked}");
    let dry = pair.bob.kithctl_json(&["import", "--dry-run", &sealed], "").await.unwrap();
    assert_eq!((&dry["messages"], &dry["replaces"], &dry["dry_run"]), (&json!(3), &json!(true), &json!(true)));
    for backup in [&sealed, &plain] {
        pair.bob.kithctl(&["import", "--replace", backup], "").await.unwrap();
        assert_eq!(pair.bob.kithctl_json(&["status"], "").await.unwrap()["state"], "ready");
        let sound = pair.bob.kithctl_json(&["check"], "").await.unwrap();
        assert_eq!(sound["damaged"], json!(0), "{sound}");
    }
    let to_alice = pair.bob.messenger().await.unwrap().conversation().await.unwrap();
    assert_eq!(received(&to_alice).await, early);
    send_all(&mut pair.to_bob, &numbered("after", 1)).await;
    assert_eq!(to_alice.missing().await.unwrap(), 2);
    // It is on disk, under the same secret.
    pair.bob.stop().unwrap();
    pair.bob.run_again().await.unwrap();
    assert_eq!(to_alice.missing().await.unwrap(), 2);
}

async fn read_independently(backup: &str, secret: &str) -> anyhow::Result<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/read_backup.py");
    let args = [&script.display().to_string(), backup];
    let summary = run_to_end(&PathBuf::from(PYTHON), &args, secret, READER_MAX).await?;
    Ok(serde_json::from_str(&summary)?)
}

#[tokio::test]
async fn a_reader_that_knows_only_the_protocol_opens_both_forms() {
    let mut pair = Pair::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (sealed, plain) = (path_in(&folder, "bob.enc.json"), path_in(&folder, "bob.json"));
    let texts = numbered("grüße \"quoted\" \u{1}\n", 3);
    send_all(&mut pair.to_bob, &texts).await;
    // More than one chunk.
    let long = vec!["x".repeat(12_000); 8];
    send_all(&mut pair.to_alice, &long).await;
    let ack = ["send", "alice", "later", "--key", "reading-17"];
    pair.alice.stop().unwrap();
    pair.bob.kithctl(&ack, "").await.unwrap();
    let secret = pair.bob.secret().text().to_owned();
    pair.bob.kithctl(&["export", &sealed], "").await.unwrap();
    pair.bob.kithctl(&["export", "--plain", &plain], &secret).await.unwrap();

    let (own, alice) =
        (pair.bob.messenger().await.unwrap().client_id().await.unwrap(), pair.to_alice.peer().await.unwrap());
    let body_bytes = texts.iter().chain(&long).map(String::len).sum::<usize>() + "later".len();
    for (backup, encrypted, secret) in [(&sealed, true, secret.as_str()), (&plain, false, "")] {
        let mut summary = read_independently(backup, secret).await.unwrap();
        assert!(summary["created_ms"].take().as_u64().unwrap() > 1_767_225_600_000);
        let expected = json!({
            "client_id": own,
            "encrypted": encrypted,
            "identity": true,
            "display_name": "bob",
            "contacts": [{ "client_id": alice, "name": "alice", "messages": 12 }],
            "messages": 12,
            "waiting": 1,
            "body_bytes": body_bytes,
            "inbox": 3,
            "keys": 1,
            "consumers": 0,
            "created_ms": null,
        });
        assert_eq!(summary, expected);
    }
    let error = format!("{:#}", read_independently(&sealed, "wrong").await.unwrap_err());
    assert!(error.contains("the secret does not open it"), "{error}");
}
