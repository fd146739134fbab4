//! What becomes of a message, on both sides: read, or gone after its time.

use kith_dbus::MessageState;
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

#[tokio::test]
async fn the_writer_sees_that_its_messages_were_read_unless_the_reader_does_not_want_it() {
    let mut pair = Pair::new().await;
    send_all(&mut pair.to_bob, &numbered("read", 2)).await;
    let read = pair.to_bob.hear_of_reading().await.unwrap();
    let marked = pair.bob.kithctl_json(&["read", "alice"], "").await.unwrap();
    assert_eq!(marked["unread"], 0);
    let id = read.await.unwrap().unwrap();
    let rows = pair.to_bob.history().await.unwrap();
    assert_eq!(rows.last().unwrap().id, id);
    assert!(rows.iter().all(|row| row.state == MessageState::Read));

    let off = pair.bob.kithctl_json(&["receipts", "off"], "").await.unwrap();
    assert_eq!(off["send_receipts"], false);
    send_all(&mut pair.to_bob, &numbered("in silence", 1)).await;
    pair.bob.kithctl(&["read", "alice"], "").await.unwrap();
    // Whatever was said about it would come before this.
    send_all(&mut pair.to_alice, &numbered("back", 1)).await;
    pair.to_bob.wait_for_received(1).await.unwrap();
    let states: Vec<_> = pair.to_bob.history().await.unwrap().into_iter().map(|row| row.state).collect();
    let (read, delivered) = (MessageState::Read, MessageState::Delivered);
    assert_eq!(states, [read, read, delivered, delivered]);
}
