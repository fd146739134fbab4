use super::*;

const BODY: &[u8] = b"meet me at the north gate at nine";
const NAME: &str = "Wilhelmina of the third floor";
const KEY: &str = "order-7f3a-0001";
const CONSUMER: &str = "lobby-display-consumer";

#[test]
fn the_file_shows_nothing_that_was_put_in() {
    let mut device = Device::new();
    let contact = contact(NAME);
    let peer = contact.client_id();
    let received = message(1, Direction::Incoming, BODY);
    let mut ops = vec![
        Op::PutContact(contact.clone()),
        Op::ClaimKey { conversation: peer.into(), key: KEY.to_owned(), id: id(5) },
    ];
    ops.extend(receiving(peer, &received, 1));
    ops.push(Op::PutCursor { consumer: CONSUMER.to_owned(), inbox_seq: 1 });
    device.commit(ops).unwrap();
    let own = device.client_id;
    let while_open = std::fs::read(device.folder.store_file()).unwrap();
    let (dir, folder) = device.close();
    let closed = std::fs::read(folder.store_file()).unwrap();

    for bytes in [while_open, closed] {
        let contains = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        let hidden: [(&str, &[u8]); 11] = [
            ("body", BODY),
            ("start of the body", &BODY[..12]),
            ("peer name", NAME.as_bytes()),
            ("display name", DISPLAY_NAME.as_bytes()),
            ("peer's client id", peer.as_bytes()),
            ("peer's card", &contact.card.as_bytes()[..33]),
            ("message id", &received.id.0),
            ("idempotency key", KEY.as_bytes()),
            ("consumer", CONSUMER.as_bytes()),
            ("incarnation", &received.incarnation.0),
            ("content type", b"text/plain"),
        ];
        for (what, needle) in hidden {
            assert!(!contains(needle), "the {what} lies in clear in the file");
        }
        // The search itself works: the own client id is in the clear header.
        assert!(contains(own.as_bytes()));
    }
    drop(dir);
}

#[test]
fn keys_and_stores_print_nothing_secret() {
    let (dir, folder) = Device::new().close();
    let locked = locked(&folder);
    assert_eq!(format!("{:?}", template().1.table_keys()), "Keys(..)");
    assert!(format!("{:?}", template().1).ends_with("}, .. }"));
    let store = locked.open_with(&template().1).unwrap();
    assert_eq!(format!("{store:?}"), format!("Store {{ client_id: {:?}, .. }}", locked.client_id()));
    drop(dir);
}
