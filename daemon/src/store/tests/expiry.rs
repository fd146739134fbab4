//! Messages that disappear leave nothing but what keeps them from coming back.

use kith_engine::{CommitError, ConversationRecord, Expiring, ExpiryRecord, Load, Loaded, Mark};

use super::{
    super::{KEPT_MESSAGES, Retention},
    check::check,
    *,
};

const NOW_MS: u64 = 1_800_000_000_000;

/// Receives a message that lives so long.
fn receive(device: &mut Device, peer: ClientId, seq: u64, ttl_s: Option<u32>) {
    let mut received = message(seq, Direction::Incoming, format!("body {seq}").as_bytes());
    (received.ttl_s, received.done_utc_ms) = (ttl_s, NOW_MS);
    let mut ops = receiving(peer, &received, seq);
    ops.push(Op::PutMarks {
        conversation: peer.into(),
        peer,
        marks: vec![Mark { incarnation: received.incarnation, number: seq }],
    });
    ops.push(Op::PutConversation(peer.into(), ConversationRecord { last_seq: seq, ..Default::default() }));
    device.commit(ops).unwrap();
}

fn expiring(device: &Device, count_max: usize) -> (Vec<Expiring>, bool) {
    match device.reader.load(Load::Expiring { count_max }) {
        Loaded::Expiring(soonest, others) => (soonest, others),
        other => panic!("{other:?}"),
    }
}

fn sweep(device: &Device) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    while runtime.block_on(device.writer.trimmer().step(&Retention::default(), None)).unwrap().more {}
}

#[test]
fn a_message_disappears_from_disk_with_all_that_says_what_was_in_it_and_is_known_if_it_comes_again() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    receive(&mut device, peer, 1, Some(60));
    receive(&mut device, peer, 2, None);
    device.commit(vec![Op::Expire { conversation: peer.into(), seq: 1 }]).unwrap();
    let left: Vec<_> = history(&device.reader, peer).into_iter().map(|message| message.seq).collect();
    assert_eq!(left, [2]);
    assert_eq!(expiring(&device, 9), (Vec::new(), false));
    let load = Load::Message { conversation: peer.into(), peer, id: id(1) };
    assert_eq!(device.reader.load(load.clone()), Loaded::Gone { number: 1 });
    let again = receiving(peer, &message(1, Direction::Incoming, b"again"), 3);
    assert_eq!(device.commit(again), Err(CommitError::Conflict(id(1))));
    assert_eq!(check(&device).findings, Vec::<String>::new());
    // Twice is fine; so is one that was never there.
    device.commit(vec![1, 7].into_iter().map(|seq| Op::Expire { conversation: peer.into(), seq }).collect()).unwrap();

    let device = device.restarted();
    assert_eq!(device.reader.load(load), Loaded::Gone { number: 1 });
    let (_dir, folder) = device.close();
    assert_eq!(raw_rows(&folder.store_file(), Table::Messages).len(), 1);
    assert!(raw_rows(&folder.store_file(), Table::Expiring).is_empty());
}

#[test]
fn what_keeps_a_message_from_coming_back_goes_once_its_sender_cannot_send_it_again() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    let count = KEPT_MESSAGES + 100;
    for seq in 1..=count {
        receive(&mut device, peer, seq, Some(60));
    }
    let all = (1..=count).map(|seq| Op::Expire { conversation: peer.into(), seq });
    device.commit(all.collect()).unwrap();
    sweep(&device);
    let gone = |device: &Device, number: u64| {
        device.reader.load(Load::Message { conversation: peer.into(), peer, id: id(number) })
    };
    assert_eq!(gone(&device, 100), Loaded::Message(None));
    assert_eq!(gone(&device, 101), Loaded::Gone { number: 101 });
    // Two hundred more: as many go.
    for seq in count + 1..=count + 200 {
        receive(&mut device, peer, seq, Some(60));
        device.commit(vec![Op::Expire { conversation: peer.into(), seq }]).unwrap();
    }
    sweep(&device);
    assert_eq!(gone(&device, 300), Loaded::Message(None));
    let (_dir, folder) = device.close();
    assert_eq!(raw_rows(&folder.store_file(), Table::Ids).len() as u64, KEPT_MESSAGES);
    assert_eq!(raw_rows(&folder.store_file(), Table::Inbox).len(), 1);
}

#[test]
fn an_own_message_counts_from_its_delivery_and_leaves_nothing() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    let mut own = message(1, Direction::Outgoing, b"own");
    own.ttl_s = Some(60);
    let mut ops = sending(peer, &own);
    ops.push(Op::ClaimKey { conversation: peer.into(), key: "key".to_owned(), id: own.id });
    device.commit(ops).unwrap();
    assert_eq!(expiring(&device, 9).0, []);
    let delivered = Op::Delivered { conversation: peer.into(), peer, number: 1, seq: 1, utc_ms: NOW_MS };
    device.commit(vec![delivered]).unwrap();
    let expected = Expiring { conversation: peer.into(), seq: 1, incoming: false, ttl_s: 60, since_utc_ms: NOW_MS };
    assert_eq!(expiring(&device, 9).0, [expected]);
    let start = Op::StartExpiry { conversation: peer.into(), seq: 1, utc_ms: NOW_MS + 5 };
    device.commit(vec![start]).unwrap();
    assert_eq!(expiring(&device, 9).0, [Expiring { since_utc_ms: NOW_MS + 5, ..expected }]);
    device.commit(vec![Op::Expire { conversation: peer.into(), seq: 1 }]).unwrap();
    sweep(&device);
    let (_dir, folder) = device.close();
    for table in [Table::Messages, Table::Ids, Table::Keys, Table::Expiring] {
        assert!(raw_rows(&folder.store_file(), table).is_empty(), "{table}");
    }
}

#[test]
fn those_that_disappear_next_are_found_among_many() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    for seq in 1..=20 {
        receive(&mut device, peer, seq, Some(1_000 - seq as u32));
    }
    let (soonest, others) = expiring(&device, 3);
    assert_eq!((soonest.iter().map(|expiring| expiring.seq).collect::<Vec<_>>(), others), (vec![20, 19, 18], true));
    assert!(!expiring(&device, 20).1);
    device.commit(vec![Op::RemoveContact(peer)]).unwrap();
    assert_eq!(expiring(&device, 3), (Vec::new(), false));
}

#[test]
fn old_messages_that_are_taken_away_are_not_waited_for() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    for seq in 1..=KEPT_MESSAGES + 10 {
        receive(&mut device, peer, seq, Some(3_600));
    }
    let keep = Retention { messages_max: Some(1), ..Retention::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    while runtime.block_on(device.writer.trimmer().step(&keep, None)).unwrap().more {}
    assert_eq!(expiring(&device, 1_000).0.len() as u64, KEPT_MESSAGES);
    assert_eq!(check(&device).findings, Vec::<String>::new());
}

#[test]
fn a_message_that_is_damaged_disappears_too() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    receive(&mut device, peer, 1, Some(60));
    let (dir, folder) = device.close();
    let (row_key, mut sealed) = raw_rows(&folder.store_file(), Table::Messages)[0].clone();
    *sealed.last_mut().unwrap() ^= 1;
    put_raw(&folder.store_file(), Table::Messages, &row_key, &sealed);
    let mut device = Device::unlock(dir, folder);
    device.commit(vec![Op::Expire { conversation: peer.into(), seq: 1 }]).unwrap();
    assert_eq!(expiring(&device, 9).0, []);
    let (_dir, folder) = device.close();
    assert!(raw_rows(&folder.store_file(), Table::Messages).is_empty());
}

#[test]
fn after_how_long_messages_disappear_is_kept() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    let room = super::rooms::room(&[&contact("Bob")]);
    let expiry = ExpiryRecord { revision: 2, seconds: 60 };
    let ops = vec![
        Op::PutRoom(room.clone()),
        Op::PutExpiry(peer.into(), expiry),
        Op::PutExpiry(room.room.into(), ExpiryRecord { seconds: 5, ..expiry }),
    ];
    device.commit(ops).unwrap();
    let device = device.restarted();
    assert_eq!(device.stored(peer).expiry, expiry);
    assert_eq!(device.state.rooms[0].expiry.seconds, 5);
    assert_eq!(check(&device).findings, Vec::<String>::new());
}
