//! What a commit costs the disk. Prints its figures; asserts only that each is synced.

use super::*;

/// Fills the history so that the trees have their usual height.
fn filled(count: u64) -> (Device, ClientId, Arc<Faults>) {
    let (device, faults) = Device::on_false_disk();
    let (mut device, peer) = device.with_contact("Ada");
    for first in (1..=count).step_by(500) {
        let ops =
            (first..first + 500).map(|seq| Op::PutMessage(peer.into(), message(seq, Direction::Incoming, &[1; 100])));
        device.commit(ops.collect()).unwrap();
    }
    (device, peer, faults)
}

/// Bytes and syncs of one transaction.
fn measure(faults: &Faults, write: impl FnOnce()) -> (u64, u64) {
    let before = faults.written();
    write();
    let after = faults.written();
    (after.0 - before.0, after.1 - before.1)
}

#[test]
#[allow(clippy::print_stdout)]
fn what_a_commit_writes() {
    const ROUNDS: u64 = 10;
    for history in [0, 2_000] {
        let (device, peer, faults) = filled(history);
        let (_dir, folder) = device.close();
        let (_, _, door, sealer) = locked(&folder).open_door(&template().1).unwrap();
        let mut group = GroupCommit::new(door, sealer);
        let mut seq = history;
        for burst in [1, 32] {
            let mut sums = [(0, 0); 3];
            for _ in 0..ROUNDS {
                let first = seq + 1;
                let commits: Vec<_> = (first..first + burst)
                    .map(|seq| commit(seq, sending(peer, &message(seq, Direction::Outgoing, &[1; 100]))))
                    .collect();
                let acks: Vec<_> = (first..first + burst)
                    .map(|seq| {
                        commit(
                            seq,
                            vec![Op::Delivered { conversation: peer.into(), peer, number: seq, seq, utc_ms: 1 }],
                        )
                    })
                    .collect();
                let received: Vec<_> = (first + burst..first + 2 * burst)
                    .map(|seq| commit(seq, receiving(peer, &message(seq, Direction::Incoming, &[1; 100]), seq)))
                    .collect();
                seq += 2 * burst;
                for (sum, batch) in sums.iter_mut().zip([commits, acks, received]) {
                    let (bytes, syncs) = measure(&faults, || {
                        assert!(group.write(&batch).iter().all(Result::is_ok));
                    });
                    assert!(syncs >= 2, "two phases, two syncs");
                    sum.0 += bytes;
                    sum.1 += syncs;
                }
            }
            let syncs = sums.iter().map(|(_, syncs)| syncs).sum::<u64>() as f64 / (3 * ROUNDS) as f64;
            let [queued, delivered, received] = sums.map(|(bytes, _)| bytes / ROUNDS);
            println!(
                "history {history}, {burst} commits in one transaction: \
                 {queued} bytes queued, {delivered} delivered, {received} received; {syncs:.1} syncs"
            );
        }
        group.close();
    }
}
