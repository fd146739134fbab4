use super::{
    super::check::{CheckError, CheckReport, Progress},
    *,
};
use crate::task::Cancelled;

/// Counts, and cancels after so many calls.
struct Watcher {
    expected: u64,
    advanced: u64,
    steps_left: u32,
}

impl Progress for Watcher {
    fn expect(&mut self, values: u64) {
        self.expected = values;
    }

    fn advance(&mut self, values: u64) -> Result<(), Cancelled> {
        self.advanced += values;
        self.steps_left = self.steps_left.checked_sub(1).ok_or(Cancelled)?;
        Ok(())
    }
}

fn watcher() -> Watcher {
    Watcher { expected: 0, advanced: 0, steps_left: u32::MAX }
}

pub(super) fn check(device: &Device) -> CheckReport {
    device.reader.check(&mut watcher()).unwrap()
}

/// A contact and something in every table.
fn full() -> (Device, ClientId) {
    let (mut device, peer) = Device::new().with_contact("Ada");
    for seq in 1..=300 {
        device.submit(receiving(peer, &message(seq, Direction::Incoming, b"in"), seq));
    }
    for _ in 1..=300 {
        device.completed().1.unwrap();
    }
    let mut brief = message(302, Direction::Incoming, b"brief");
    brief.ttl_s = Some(60);
    device.commit(vec![Op::PutMessage(peer.into(), brief)]).unwrap();
    let mut ops = sending(peer, &message(301, Direction::Outgoing, b"out"));
    ops.push(Op::ClaimKey { conversation: peer.into(), key: "k".to_owned(), id: id(301) });
    ops.push(Op::PutCursor { consumer: "display".to_owned(), inbox_seq: 3 });
    ops.push(Op::PutMarks {
        conversation: peer.into(),
        peer,
        marks: vec![kith_engine::Mark { incarnation: Incarnation([7; 16]), number: 300 }],
    });
    ops.push(Op::PutMissing(peer, kith_engine::MissingRecord { watching: true, count: 2 }));
    ops.push(Op::PutStanding(peer, kith_engine::StandingRecord { verified: true, blocked: true }));
    ops.push(Op::PutRoom(super::rooms::room(&[&contact("Bob")])));
    device.commit(ops).unwrap();
    (device, peer)
}

#[test]
fn a_sound_store_has_no_findings_and_every_value_is_looked_at() {
    let (device, _) = full();
    let mut seen = watcher();
    let report = device.reader.check(&mut seen).unwrap();
    assert_eq!((report.damaged, report.findings.len()), (0, 0));
    let (_dir, folder) = device.close();
    let rows: usize = Table::ALL.iter().map(|table| raw_rows(&folder.store_file(), *table).len()).sum();
    assert_eq!((report.checked, seen.advanced, seen.expected), (rows as u64, rows as u64, rows as u64));
}

#[test]
fn every_damaged_value_is_found_with_what_it_affects_and_what_to_do() {
    // Without these the store does not open at all.
    let needed = [Table::Own, Table::Peers, Table::Contacts, Table::Rooms, Table::Conversations, Table::Marks];
    for table in Table::ALL.into_iter().filter(|table| !needed.contains(table)) {
        let (device, peer) = full();
        let (dir, folder) = device.close();
        let rows = raw_rows(&folder.store_file(), table);
        let (row_key, mut sealed) = rows.last().unwrap().clone();
        *sealed.last_mut().unwrap() ^= 1;
        put_raw(&folder.store_file(), table, &row_key, &sealed);

        let report = check(&Device::unlock(dir, folder));
        assert!(report.damaged >= 1, "{table}");
        let sentence =
            report.findings.iter().find(|sentence| sentence.contains(&format!("in table `{table}` does not open")));
        let sentence = sentence.unwrap_or_else(|| panic!("{table}: {:?}", report.findings));
        assert!(sentence.contains(table.affects()) && sentence.ends_with('.'), "{sentence}");
        let names_the_contact = sentence.contains(&peer.to_string());
        assert_eq!(names_the_contact, Table::OF_CONVERSATION.contains(&table), "{sentence}");
        assert!(!sentence.contains("Ada"), "{sentence}");
    }
}

#[test]
fn a_row_that_points_to_nothing_is_found() {
    let (device, _) = full();
    let (dir, folder) = device.close();
    let rows = raw_rows(&folder.store_file(), Table::Messages);
    let database = Database::open(folder.store_file()).unwrap();
    let tx = database.begin_write().unwrap();
    tx.open_table(Table::Messages.definition()).unwrap().remove(rows[300].0.as_slice()).unwrap();
    tx.commit().unwrap();
    drop(database);
    let report = check(&Device::unlock(dir, folder));
    // Its id and its place in the outbox.
    assert_eq!(report.damaged, 2, "{:?}", report.findings);
    assert!(report.findings.iter().all(|sentence| sentence.contains("`messages` that is not there")));
}

#[test]
fn many_findings_are_counted_and_the_first_described() {
    let (device, _) = full();
    let (dir, folder) = device.close();
    for (row_key, mut sealed) in raw_rows(&folder.store_file(), Table::Inbox).into_iter().take(40) {
        sealed[0] ^= 1;
        put_raw(&folder.store_file(), Table::Inbox, &row_key, &sealed);
    }
    let report = check(&Device::unlock(dir, folder));
    assert_eq!((report.damaged, report.findings.len()), (40, 32));
}

#[test]
fn a_check_can_be_cancelled_and_ends_when_the_store_is_locked() {
    let (device, _) = full();
    let mut impatient = Watcher { steps_left: 1, ..watcher() };
    assert_eq!(device.reader.check(&mut impatient), Err(CheckError::Cancelled(Cancelled)));
    device.reader.revoke();
    assert_eq!(device.reader.check(&mut watcher()), Err(CheckError::Read(super::super::ReadError::Locked)));
}
