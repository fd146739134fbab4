//! What becomes of a message, on both sides: read, or gone after its time.

use redb::{Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, TableDefinition};

use crate::{Pair, numbered, send_all};

/// The table of messages (docs/protocol.md §8.3).
const MESSAGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("messages");

#[tokio::test]
async fn messages_disappear_on_both_devices_and_from_their_disks() {
    let mut pair = Pair::new().await;
    send_all(&mut pair.to_bob, &numbered("stays", 1)).await;
    let set = pair.alice.kithctl_json(&["expiry", "bob", "2s"], "").await.unwrap();
    assert_eq!(set["expiry_s"], 2);
    pair.to_alice.wait_for_expiry(2).await.unwrap();
    let (there, back) = (numbered("there", 3), numbered("back", 2));
    let (on_alice, on_bob) = tokio::join!(pair.to_bob.wait_for_disappearing(5), async {
        let gone = pair.to_alice.wait_for_disappearing(5);
        let sent = async {
            for text in &there {
                pair.to_bob.send(text).await.unwrap();
            }
            for text in &back {
                pair.to_alice.send(text).await.unwrap();
            }
        };
        tokio::join!(gone, sent).0
    });
    for left in [on_alice.unwrap(), on_bob.unwrap()] {
        let texts: Vec<_> = left.into_iter().map(|row| String::from_utf8(row.body).unwrap()).collect();
        assert_eq!(texts, numbered("stays", 1));
    }
    let never = pair.bob.kithctl_json(&["expiry", "alice", "never"], "").await.unwrap();
    assert_eq!(never["expiry_s"], 0);
    pair.to_bob.wait_for_expiry(0).await.unwrap();
    for device in [&mut pair.alice, &mut pair.bob] {
        assert_eq!(device.kithctl_json(&["check"], "").await.unwrap()["damaged"], 0);
        device.stop().unwrap();
        let database = Database::open(device.data_folder().join("store.redb")).unwrap();
        let rows = database.begin_read().unwrap().open_table(MESSAGES).unwrap();
        assert_eq!(rows.len().unwrap(), 1, "{:?}", rows.first().unwrap().map(|row| row.0.value().to_vec()));
    }
}
