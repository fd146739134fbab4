//! Stores that are damaged, and stores that are wiped.

use std::time::Duration;

use kith_system_tests::within;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::{Pair, numbered, received, send_all};

/// How long a few messages may take to go.
const RETENTION_MAX: Duration = Duration::from_secs(20);

/// The table of messages (docs/protocol.md §8.3).
const MESSAGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("messages");

#[tokio::test]
async fn damage_is_reported_with_what_it_affects_and_everything_else_goes_on() {
    let mut pair = Pair::new().await;
    send_all(&mut pair.to_bob, &numbered("before", 3)).await;
    let sound = pair.bob.kithctl_json(&["check"], "").await.unwrap();
    assert_eq!((&sound["damaged"], &sound["findings"]), (&0.into(), &serde_json::json!([])));
    assert!(sound["checked"].as_u64().unwrap() > 10, "{sound}");

    pair.bob.stop().unwrap();
    let database = Database::open(pair.bob.data_folder().join("store.redb")).unwrap();
    let (row_key, mut sealed) = {
        let rows = database.begin_read().unwrap().open_table(MESSAGES).unwrap();
        let row = rows.first().unwrap().unwrap();
        (row.0.value().to_vec(), row.1.value().to_vec())
    };
    *sealed.last_mut().unwrap() ^= 1;
    let tx = database.begin_write().unwrap();
    tx.open_table(MESSAGES).unwrap().insert(row_key.as_slice(), sealed.as_slice()).unwrap();
    tx.commit().unwrap();
    drop(database);
    pair.bob.run_again().await.unwrap();

    let error = format!("{:#}", pair.bob.kithctl(&["check"], "").await.unwrap_err());
    assert!(error.contains("exit status: 1"), "{error}");
    assert!(error.contains("does not open; this affects one message (number 1 with "), "{error}");
    assert!(error.contains("it cannot be read any more, all others can"), "{error}");
    let history = format!("{:#}", pair.bob.kithctl(&["history", "alice"], "").await.unwrap_err());
    assert!(history.contains("one message"), "{history}");
    // What comes now is stored and can be read.
    send_all(&mut pair.to_bob, &numbered("after", 1)).await;
    let rest = pair.bob.kithctl_json(&["history", "alice", "--after", "1"], "").await.unwrap();
    let texts: Vec<_> = rest["messages"].as_array().unwrap().iter().map(|message| &message["text"]).collect();
    assert_eq!(texts, ["before, number 2", "before, number 3", "after, number 1"]);
}

#[tokio::test]
async fn what_is_kept_is_chosen_over_the_bus_and_holds_after_a_restart() {
    let mut pair = Pair::new().await;
    send_all(&mut pair.to_bob, &numbered("mine", 5)).await;
    send_all(&mut pair.to_alice, &numbered("yours", 3)).await;
    let chosen = pair.alice.kithctl_json(&["retention", "--messages", "4"], "").await.unwrap();
    assert_eq!((&chosen["messages_max"], &chosen["total_messages_max"]), (&4.into(), &250_000.into()));
    // It goes at once; nothing tells of it but the history itself.
    let kept = within(RETENTION_MAX, "fewer messages", async {
        loop {
            let texts: Vec<_> = pair.to_bob.history().await?.into_iter().map(|row| row.body).collect();
            if texts.len() == 4 {
                return Ok(texts);
            }
        }
    });
    let expected = [numbered("mine", 5).split_off(4), numbered("yours", 3)].concat();
    assert_eq!(kept.await.unwrap(), expected.into_iter().map(String::into_bytes).collect::<Vec<_>>());

    pair.alice.stop().unwrap();
    pair.alice.run_again().await.unwrap();
    let held = pair.alice.kithctl_json(&["retention"], "").await.unwrap();
    assert_eq!(held, chosen);
    let reset = pair.alice.kithctl_json(&["retention", "--reset"], "").await.unwrap();
    assert_eq!(reset["messages_max"], 0);
    assert_eq!(pair.alice.kithctl_json(&["check"], "").await.unwrap()["damaged"], 0);
}

#[tokio::test]
async fn a_wiped_device_has_no_identity_and_can_be_set_up_anew() {
    let mut pair = Pair::new().await;
    send_all(&mut pair.to_bob, &numbered("gone", 2)).await;
    assert_eq!(received(&pair.to_alice).await.len(), 2);
    let before = pair.bob.kithctl_json(&["status"], "").await.unwrap();

    let wiped = pair.bob.kithctl_json(&["wipe", "--yes"], "").await.unwrap();
    assert_eq!(wiped["state"], "needs-set-up");
    let left = std::fs::read_dir(pair.bob.data_folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut left: Vec<_> = left.collect();
    left.sort();
    assert_eq!(left, ["attempts", "lock", "pin-attempts"]);

    // While it is locked, too; and after a restart there is still nothing.
    pair.bob.set_up().await.unwrap();
    let anew = pair.bob.kithctl_json(&["status"], "").await.unwrap();
    assert_ne!(anew["client_id"], before["client_id"]);
    pair.bob.kithctl(&["lock"], "").await.unwrap();
    pair.bob.kithctl(&["wipe", "--yes"], "").await.unwrap();
    pair.bob.stop().unwrap();
    pair.bob.run().unwrap();
    pair.bob.messenger().await.unwrap();
    assert_eq!(pair.bob.kithctl_json(&["status"], "").await.unwrap()["state"], "needs-set-up");
}
