use kith_engine::{Load, Loaded};

use super::{super::SubmitError, *};

fn group() -> (TempDir, GroupCommit, Reader, ClientId) {
    let (device, peer) = Device::new().with_contact("Ada");
    let (dir, door, sealer) = below_the_thread(device);
    (dir, GroupCommit::new(door.clone(), sealer), Reader::new(door), peer)
}

fn seqs(reader: &Reader, peer: ClientId) -> Vec<u64> {
    let rows = reader.read(Read::History { conversation: peer.into(), after: 0, count_max: 100 }).unwrap();
    rows.into_iter().map(|row| row.message.seq).collect()
}

fn claim_key(peer: ClientId, key: &str, message: MessageId) -> Op {
    Op::ClaimKey { conversation: peer.into(), key: key.to_owned(), id: message }
}

#[test]
fn completions_come_in_the_order_of_the_commits() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    let ids: Vec<_> =
        (1..=100).map(|seq| device.submit(sending(peer, &message(seq, Direction::Outgoing, b"x")))).collect();
    for id in ids {
        assert_eq!(device.completed(), (id, Ok(())));
    }
}

#[test]
fn closing_finishes_the_queue_and_gives_the_completions() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    let ids: Vec<_> =
        (1..=50).map(|seq| device.submit(sending(peer, &message(seq, Direction::Outgoing, b"x")))).collect();
    let rest = device.writer.close();
    assert_eq!(rest, ids.into_iter().map(|id| (id, Ok(()))).collect::<Vec<_>>());
    let device = Device::unlock(device.dir, device.folder);
    assert_eq!(device.stored(peer).outbox_count, 50);
}

#[test]
fn a_full_queue_refuses_and_takes_again_after_a_completion() {
    let mut device = Device::new();
    let mut taken = 0;
    let error = loop {
        match device.writer.submit(commit(taken, vec![])) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((taken, error), (1024, SubmitError::Busy));
    assert_eq!(device.completed(), (CommitId(0), Ok(())));
    device.writer.submit(commit(taken, vec![])).unwrap();
    assert_eq!(device.writer.close().len(), 1024);
}

#[test]
fn a_repeated_key_is_answered_with_the_first_message() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    device.commit(vec![claim_key(peer, "order 7", id(1))]).unwrap();
    let mut device = device.restarted();
    let again =
        vec![claim_key(peer, "order 7", id(2)), Op::PutMessage(peer.into(), message(2, Direction::Outgoing, b"x"))];
    assert_eq!(device.commit(again), Err(CommitError::Repeated(id(1))));
    assert!(seqs(&device.reader, peer).is_empty());
    device.commit(vec![claim_key(peer, "order 8", id(2))]).unwrap();
}

#[test]
fn a_key_counts_in_one_conversation() {
    let (device, first) = Device::new().with_contact("Ada");
    let (mut device, second) = device.with_contact("Bob");
    device.commit(vec![claim_key(first, "order 7", id(1))]).unwrap();
    device.commit(vec![claim_key(second, "order 7", id(2))]).unwrap();
}

#[test]
fn a_message_id_is_taken_once() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    device.commit(receiving(peer, &message(1, Direction::Incoming, b"x"), 1)).unwrap();
    let mut again = message(2, Direction::Incoming, b"another body");
    again.id = id(1);
    assert_eq!(device.commit(receiving(peer, &again, 2)), Err(CommitError::Conflict(id(1))));
    assert_eq!(seqs(&device.reader, peer), [1]);
    assert_eq!(device.restarted().state.inbox_seq, 1);
}

#[test]
fn commits_of_one_transaction_see_each_others_claims() {
    let (_dir, mut group, reader, peer) = group();
    let mut same_id = message(3, Direction::Incoming, b"x");
    same_id.id = id(1);
    let results = group.write(&[
        commit(1, receiving(peer, &message(1, Direction::Incoming, b"x"), 1)),
        commit(
            2,
            vec![claim_key(peer, "k", id(8)), Op::PutMessage(peer.into(), message(2, Direction::Outgoing, b"x"))],
        ),
        commit(3, receiving(peer, &same_id, 2)),
        commit(
            4,
            vec![claim_key(peer, "k", id(9)), Op::PutMessage(peer.into(), message(4, Direction::Outgoing, b"x"))],
        ),
        commit(5, receiving(peer, &message(5, Direction::Incoming, b"x"), 2)),
    ]);
    assert_eq!(results, [Ok(()), Ok(()), Err(CommitError::Conflict(id(1))), Err(CommitError::Repeated(id(8))), Ok(())]);
    assert_eq!(seqs(&reader, peer), [1, 2, 5]);
}

#[test]
fn claims_of_one_commit_see_each_other() {
    let (_dir, mut group, _, peer) = group();
    let results = group.write(&[
        commit(1, vec![claim_key(peer, "k", id(1)), claim_key(peer, "k", id(2))]),
        commit(
            2,
            vec![
                Op::ClaimId { conversation: peer.into(), peer, id: id(1) },
                Op::ClaimId { conversation: peer.into(), peer, id: id(1) },
            ],
        ),
        commit(3, vec![claim_key(peer, "k", id(3))]),
    ]);
    assert_eq!(results, [Err(CommitError::Repeated(id(1))), Err(CommitError::Conflict(id(1))), Ok(())]);
}

#[test]
fn removing_a_contact_frees_its_claims_within_the_commit() {
    let (_dir, mut group, reader, peer) = group();
    let contact = match &group.write(&[commit(1, vec![claim_key(peer, "k", id(1))])])[..] {
        [Ok(())] => contact("Bob"),
        other => panic!("{other:?}"),
    };
    let bob = contact.client_id();
    let ops = vec![Op::RemoveContact(peer), Op::PutContact(contact), claim_key(bob, "k", id(2))];
    assert_eq!(group.write(&[commit(2, ops)]), [Ok(())]);
    assert!(matches!(
        reader.load(Load::Outbox { conversation: peer.into(), peer, after: 0, count_max: 1 }),
        Loaded::Failed(_)
    ));
}

#[test]
fn a_commit_that_cannot_be_carried_out_takes_no_other_with_it() {
    let (_dir, mut group, reader, peer) = group();
    let missing = Op::Delivered { conversation: peer.into(), peer, number: 99, seq: 99, utc_ms: 1 };
    let results = group.write(&[
        commit(1, sending(peer, &message(1, Direction::Outgoing, b"x"))),
        // It claims, writes, and then fails: none of that may stay.
        commit(
            2,
            vec![
                claim_key(peer, "k", id(2)),
                Op::PutMessage(peer.into(), message(2, Direction::Outgoing, b"x")),
                missing,
            ],
        ),
        commit(
            3,
            vec![claim_key(peer, "k", id(3)), Op::PutMessage(peer.into(), message(3, Direction::Outgoing, b"x"))],
        ),
    ]);
    assert!(matches!(&results[..], [Ok(()), Err(CommitError::Failed(_)), Ok(())]), "{results:?}");
    assert_eq!(seqs(&reader, peer), [1, 3]);
}

#[test]
fn a_full_disk_is_recognised_and_writing_goes_on_when_there_is_room() {
    let (device, faults) = Device::on_false_disk();
    let (mut device, peer) = device.with_contact("Ada");
    device.commit(sending(peer, &message(1, Direction::Outgoing, b"x"))).unwrap();
    let used = std::fs::metadata(device.folder.store_file()).unwrap().len();
    faults.set_full_from(used + 256 * 1024);
    let large = (2..=200).flat_map(|seq| sending(peer, &message(seq, Direction::Outgoing, &[0; 12_288])));
    assert_eq!(device.commit(large.collect()), Err(CommitError::Full));
    // What is there can still be read, and what fits can still be written.
    assert_eq!(seqs(&device.reader, peer), [1]);
    device.commit(sending(peer, &message(2, Direction::Outgoing, b"x"))).unwrap();
    assert_eq!(seqs(&device.restarted().reader, peer), [1, 2]);
}

#[test]
fn a_database_that_cannot_be_opened_again_asks_for_a_restart() {
    let (device, faults) = Device::on_false_disk();
    let (mut device, peer) = device.with_contact("Ada");
    faults.set_writes_fail(true);
    for _ in 0..2 {
        let error = device.commit(sending(peer, &message(1, Direction::Outgoing, b"x"))).unwrap_err();
        assert!(matches!(error, CommitError::Failed(text) if text.contains("restart kithd")));
    }
    faults.set_writes_fail(false);
    let mut device = device.restarted();
    assert_eq!(device.stored(peer).outbox_count, 0);
    device.commit(sending(peer, &message(1, Direction::Outgoing, b"x"))).unwrap();
}

#[test]
fn short_space_refuses_what_grows_and_takes_what_shrinks() {
    let (device, faults) = Device::on_false_disk();
    let (mut device, peer) = device.with_contact("Ada");
    device.commit(sending(peer, &message(1, Direction::Outgoing, b"x"))).unwrap();
    faults.set_out_of_room(true);
    assert_eq!(device.commit(sending(peer, &message(2, Direction::Outgoing, b"x"))), Err(CommitError::Full));
    device.commit(vec![Op::Delivered { conversation: peer.into(), peer, number: 1, seq: 1, utc_ms: 1 }]).unwrap();
    device.commit(vec![Op::RemoveContact(peer)]).unwrap();
    faults.set_out_of_room(false);
    let (device, _) = device.with_contact("Bob");
    assert_eq!(device.restarted().state.contacts.len(), 1);
}

#[test]
fn a_failed_sync_reports_what_is_really_on_disk() {
    // The first sync puts the transaction's pages on disk, the second makes it the valid one.
    for (sync, on_disk) in [(1, false), (2, true)] {
        let (device, faults) = Device::on_false_disk();
        let (mut device, peer) = device.with_contact("Ada");
        faults.fail_sync(sync);
        let result = device.commit(sending(peer, &message(1, Direction::Outgoing, b"x")));
        assert_eq!(result.is_ok(), on_disk, "sync {sync}: {result:?}");
        // The writer has opened the database again and goes on.
        device.commit(sending(peer, &message(2, Direction::Outgoing, b"x"))).unwrap();
        let expected: &[u64] = if on_disk { &[1, 2] } else { &[2] };
        assert_eq!(seqs(&device.restarted().reader, peer), expected);
    }
}

#[test]
fn a_transaction_that_fails_takes_all_its_commits() {
    let (device, faults) = Device::on_false_disk();
    let (device, peer) = device.with_contact("Ada");
    let (dir, folder) = device.close();
    let (_, _, door, sealer) = locked(&folder).open_door(&template().1).unwrap();
    let mut group = GroupCommit::new(door, sealer);
    faults.fail_sync(1);
    let results = group.write(&[
        commit(1, vec![claim_key(peer, "k", id(1))]),
        // Refused because of the first, which is not on disk after all.
        commit(2, vec![claim_key(peer, "k", id(2))]),
    ]);
    assert!(results.iter().all(|result| matches!(result, Err(CommitError::Failed(_)))), "{results:?}");
    assert_eq!(group.write(&[commit(3, vec![claim_key(peer, "k", id(2))])]), [Ok(())]);
    drop(dir);
}
