use super::{
    super::{
        UnlockError,
        header::{Found as Header, Phase},
        table::SEALS_KEY,
        value::{Seals, SealsRow},
    },
    *,
};
use crate::{
    handle::CallError,
    task::{Summary, TaskEnd, TaskKind, Tasks},
};

const MESSAGES: u64 = 300;

fn filled() -> (Device, ClientId) {
    let (mut device, peer) = Device::new().with_contact("Ada");
    let ops: Vec<Op> = (1..=MESSAGES)
        .flat_map(|seq| receiving(peer, &message(seq, Direction::Incoming, format!("body {seq}").as_bytes()), seq))
        .collect();
    device.commit(ops).unwrap();
    (device, peer)
}

/// Rewrites the store and waits for the end.
fn rotated(device: &Device, tasks: &Tasks) -> TaskEnd {
    device.writer.keyholder().rotate(tasks.begin(TaskKind::Rotation).unwrap());
    end_of_task(tasks)
}

fn end_of_task(tasks: &Tasks) -> TaskEnd {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut board = tasks.watch();
    let board = runtime.block_on(board.wait_for(|board| board.views().values().all(|view| view.end.is_some())));
    board.unwrap().views().last_key_value().unwrap().1.end.clone().unwrap()
}

fn done() -> TaskEnd {
    TaskEnd::Done(Summary::new())
}

fn custody_of(folder: &Folder) -> Custody {
    locked(folder).custody(SECRET).unwrap()
}

#[test]
fn a_new_data_key_keeps_every_row_and_opens_no_old_value() {
    let (device, peer) = filled();
    let before = history(&device.reader, peer);
    assert_eq!(rotated(&device, &Tasks::new()), done());
    assert_eq!(history(&device.reader, peer), before);
    let (_dir, folder) = device.close();
    assert!(!folder.files().exists("store.redb.new").unwrap());

    // The old keys open nothing any more, and the row tags are the same.
    let rows = raw_rows(&folder.store_file(), Table::Messages);
    assert_eq!(rows.len() as u64, MESSAGES);
    let old = template().1.table_keys();
    assert!(rows.iter().all(|(row_key, value)| old.of(Table::Messages).open(row_key, &mut value.clone()).is_err()));
    let store = locked(&folder).open_with(&custody_of(&folder)).unwrap();
    let (_, _, mut writer, reader) = store.into_parts();
    assert_eq!(history(&reader, peer), before);
    writer.submit(commit(1, receiving(peer, &message(1, Direction::Incoming, b"again"), 9_999))).unwrap();
    assert_eq!(writer.close(), [(CommitId(1), Err(CommitError::Conflict(id(1))))]);
}

#[test]
fn commits_go_on_while_the_store_is_rewritten() {
    let (device, peer) = filled();
    let gone = contact("Gone");
    let gone_id = gone.client_id();
    let (_dir, door, sealer) = below_the_thread(device);
    let (mut group, reader) = (GroupCommit::new(door.clone(), sealer), Reader::new(door));
    let ok = |results: Vec<Result<(), CommitError>>| assert!(results.iter().all(Result::is_ok), "{results:?}");
    ok(group.write(&[commit(1, vec![Op::PutContact(gone)])]));
    ok(group.write(&[commit(2, receiving(gone_id, &message(1, Direction::Incoming, b"x"), 1_000))]));
    group.rotate(None);
    let mut next = MESSAGES;
    let mut steps = 0;
    while !group.is_idle() {
        // One new row, one that is changed, one that goes: before and behind the copy's place.
        next += 1;
        let sent = message(next, Direction::Outgoing, b"meanwhile");
        ok(group.write(&[commit(next, sending(peer, &sent))]));
        if next > MESSAGES + 1 {
            let delivered =
                Op::Delivered { conversation: peer.into(), peer, number: next - 1, seq: next - 1, utc_ms: 5 };
            ok(group.write(&[commit(next, vec![delivered])]));
        }
        if steps == 2 {
            ok(group.write(&[commit(next, vec![Op::RemoveContact(gone_id)])]));
        }
        group.step();
        steps += 1;
    }
    assert!(steps > 3, "{steps}");
    let messages = history(&reader, peer);
    assert_eq!(messages.len() as u64, next);
    let waiting = messages.iter().filter(|message| message.state == MessageState::Queued).count();
    assert_eq!(waiting, 1, "all but the last are delivered");
    assert!(reader.read(Read::History { conversation: gone_id.into(), after: 0, count_max: 9 }).is_err());
    group.close();
}

#[test]
fn a_secret_that_changes_meanwhile_opens_the_rewritten_store() {
    let (device, peer) = filled();
    let keyholder = device.writer.keyholder();
    let tasks = Tasks::new();
    keyholder.rotate(tasks.begin(TaskKind::Rotation).unwrap());
    keyholder.change_secret(SECRET, b"another").unwrap();
    assert_eq!(end_of_task(&tasks), done());
    let (dir, folder) = device.close();
    assert_eq!(locked(&folder).unlock(SECRET).unwrap_err(), UnlockError::WrongSecret);
    let store = locked(&folder).unlock(b"another").unwrap();
    assert_eq!(history(&Device::with(dir, folder, store).reader, peer).len() as u64, MESSAGES);
}

#[test]
fn a_cancelled_rewriting_leaves_the_store_as_it_was() {
    let (device, peer) = filled();
    let header = template().1.header().encode();
    let tasks = Tasks::new();
    let task = tasks.begin(TaskKind::Rotation).unwrap();
    tasks.cancel(task.id());
    device.writer.keyholder().rotate(task);
    assert_eq!(end_of_task(&tasks), TaskEnd::Cancelled);
    assert!(!device.folder.files().exists("store.redb.new").unwrap());
    let device = device.restarted();
    assert_eq!(history(&device.reader, peer).len() as u64, MESSAGES);
    let (_dir, folder) = device.close();
    assert_eq!(raw_header(&folder), header);
}

#[test]
fn a_store_that_is_closed_meanwhile_stays_as_it_was() {
    let (device, peer) = filled();
    let (dir, folder) = device.close();
    let (_, _, door, sealer) = locked(&folder).open_door(&template().1).unwrap();
    let mut group = GroupCommit::new(door, sealer);
    group.rotate(None);
    group.step();
    assert!(folder.files().exists("store.redb.new").unwrap());
    group.close();
    assert!(!folder.files().exists("store.redb.new").unwrap());
    assert_eq!(history(&Device::unlock(dir, folder).reader, peer).len() as u64, MESSAGES);
}

#[test]
fn a_full_disk_ends_the_rewriting_and_nothing_else() {
    let (device, faults) = Device::on_false_disk();
    let (mut device, peer) = device.with_contact("Ada");
    let ops = (1..=MESSAGES).map(|seq| Op::PutMessage(peer.into(), message(seq, Direction::Incoming, &[7; 12_000])));
    device.commit(ops.collect()).unwrap();
    faults.set_full_from(2 * 1024 * 1024);
    let full = TaskEnd::Failed(kith_engine::RequestError::StorageFull.into());
    assert_eq!(rotated(&device, &Tasks::new()), full);
    faults.set_full_from(0);
    device.commit(vec![Op::PutMessage(peer.into(), message(MESSAGES + 1, Direction::Incoming, b"x"))]).unwrap();
    assert_eq!(history(&device.reader, peer).len() as u64, MESSAGES + 1);
}

#[test]
fn two_are_not_made_at_once() {
    let (device, _) = filled();
    let (_dir, door, sealer) = below_the_thread(device);
    let mut group = GroupCommit::new(door, sealer);
    group.rotate(None);
    let tasks = Tasks::new();
    group.rotate(Some(tasks.begin(TaskKind::Rotation).unwrap()));
    assert_eq!(end_of_task(&tasks), TaskEnd::Failed(CallError::Busy));
    finish_chores(&mut group);
    group.close();
}

#[test]
fn seals_are_counted_ahead_and_a_new_data_key_comes_by_itself() {
    let (mut device, peer) = Device::new().with_contact("Ada");
    let seals = |folder: &Folder| {
        let custody = custody_of(folder);
        let rows = raw_rows(&folder.store_file(), Table::Own);
        let (row_key, value) = rows.into_iter().find(|row| row.0 == SEALS_KEY).unwrap();
        super::super::value::open::<SealsRow>(&custody.table_keys(), &row_key, &value).unwrap().0
    };
    device.commit(sending(peer, &message(1, Direction::Outgoing, b"x"))).unwrap();
    let (dir, folder) = device.close();
    let reserved = seals(&folder);
    assert!((4096..10_000).contains(&reserved), "{reserved}");

    // As if it had sealed almost all that one key may.
    let mut sealer = Sealer::new(template().1.table_keys(), Seals::of(0));
    let sealed = sealer.seal(&SEALS_KEY, &SealsRow(Seals::MAX - 1)).unwrap().to_vec();
    put_raw(&folder.store_file(), Table::Own, &SEALS_KEY, &sealed);
    let header = raw_header(&folder);
    let device = Device::unlock(dir, folder);
    let folder = device.folder.clone();
    let (dir, door, sealer) = below_the_thread(device);
    let mut group = GroupCommit::new(door, sealer);
    assert_eq!(finish_chores(&mut group), 0);
    assert_eq!(group.write(&[commit(2, sending(peer, &message(2, Direction::Outgoing, b"y")))]), [Ok(())]);
    assert!(finish_chores(&mut group) > 0);
    group.close();
    assert_ne!(raw_header(&folder), header);
    assert!(seals(&folder) < 10_000);
    let custody = custody_of(&folder);
    let store = locked(&folder).open_with(&custody).unwrap();
    assert_eq!(history(&Device::with(dir, folder, store).reader, peer).len(), 2);
}

#[test]
fn the_phase_is_bound_to_the_keys() {
    let (dir, folder) = Device::new().close();
    let mut header = raw_header(&folder);
    assert_eq!((header[0], header[4]), (2, 1));
    header[4] = 0;
    let Ok(Header::Sealed(migrating)) = Header::parse(&header) else { panic!("it parses") };
    assert_eq!(migrating.phase(), Phase::Migrating);
    assert!(Custody::open(migrating, SECRET).is_err());
    drop(dir);
}
