//! A value of every kind, with every byte changed, cut off at every place, and moved to every other row:
//! all of it is found, and none of it believed.

use kith_engine::{ConversationRecord, Load, Loaded, Mark, MissingRecord, StandingRecord};
use redb::Durability;

use super::super::{
    super::{
        ReadError, RetentionChoice,
        batch::Batch,
        check::Progress,
        fault::Fault,
        rows::{Rows, Walk},
        state,
    },
    *,
};
use crate::{handle::Read, task::Cancelled};

const CONSUMER: &str = "display";
const KEY: &str = "k";

/// What the store says when it is asked for something.
#[derive(Debug, PartialEq)]
enum Answer {
    Said(String),
    /// That it is damaged, and whom that affects.
    Damaged(String),
}

impl Answer {
    fn of(answer: Result<String, Fault>) -> Self {
        match answer {
            Ok(text) => Self::Said(text),
            Err(fault) if fault.is_damage() => Self::Damaged(fault.to_string()),
            Err(fault) => panic!("{fault}"),
        }
    }

    fn of_page(answer: Result<String, ReadError>) -> Self {
        match answer {
            Ok(text) => Self::Said(text),
            Err(ReadError::Corrupt(text)) => Self::Damaged(text),
            Err(error) => panic!("{error}"),
        }
    }

    fn of_load(answer: Loaded) -> Self {
        match answer {
            Loaded::Failed(text) => Self::Damaged(text),
            loaded => Self::Said(format!("{loaded:?}")),
        }
    }
}

/// A row as it lies in the file.
type RawRow = (Table, Vec<u8>, Vec<u8>);

/// A store with a value of each kind, each of which can be changed behind its back.
struct Small {
    peer: ClientId,
    newcomer: ContactRecord,
    door: Arc<Door>,
    sealer: Sealer,
    reader: Reader,
    rows: Vec<RawRow>,
    answers: Vec<Answer>,
    _dir: TempDir,
}

impl Small {
    fn new() -> Self {
        let (mut device, peer) = Device::new().with_contact("Ada");
        let mut ops = receiving(peer, &message(1, Direction::Incoming, b"in"), 1);
        ops.extend(sending(peer, &message(2, Direction::Outgoing, b"out")));
        ops.extend([
            Op::ClaimKey { conversation: peer.into(), key: KEY.to_owned(), id: id(2) },
            Op::PutCursor { consumer: CONSUMER.to_owned(), inbox_seq: 1 },
            Op::PutMarks {
                conversation: peer.into(),
                peer,
                marks: vec![Mark { incarnation: Incarnation([7; 16]), number: 1 }],
            },
            Op::PutMissing(peer, MissingRecord { watching: true, count: 2 }),
            Op::PutStanding(peer, StandingRecord::default()),
            Op::PutConversation(
                peer.into(),
                ConversationRecord { last_seq: 2, read_seq: 1, unread: 1, sent_number: 2 },
            ),
        ]);
        device.commit(ops).unwrap();
        let choice = RetentionChoice { days_max: Some(90), ..RetentionChoice::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(device.writer.trimmer().choose(choice)).unwrap();
        device.writer.keyholder().set_pin(Some(b"2580")).unwrap();
        let (dir, door, sealer) = below_the_thread(device);
        let reader = Reader::new(door.clone());
        let mut rows = Vec::new();
        for table in Table::ALL {
            let walked = reader.page(|tx, _| {
                tx.with_table(table, |readable| {
                    readable.walk(&[], &[u8::MAX; 32], &mut |row_key, value| {
                        rows.push((table, row_key.to_vec(), value.to_vec()));
                        Ok(Walk::On)
                    })
                })
            });
            walked.unwrap();
        }
        // One of each kind, and two messages with their ids.
        assert_eq!(rows.len(), 21);
        let newcomer = contact("Bob");
        let mut small = Self { peer, newcomer, door, sealer, reader, rows, answers: Vec::new(), _dir: dir };
        small.answers = small.ask();
        let sound = |answer: &Answer| matches!(answer, Answer::Said(_));
        assert!(small.answers.iter().all(sound), "{:?}", small.answers);
        small
    }

    /// Asks for everything that any value is needed for.
    fn ask(&mut self) -> Vec<Answer> {
        let peer = self.peer;
        let load = |load| Answer::of_load(self.reader.load(load));
        let read = |read| Answer::of_page(self.reader.read(read).map(|rows| format!("{rows:?}")));
        let start = self.reader.page(|tx, keys| {
            let (identity, state) = state::load(tx, keys)?;
            Ok(format!("{:?} {state:?}", identity.to_secret_bytes()))
        });
        let inbox = |consumer: &str| Read::Inbox { consumer: consumer.to_owned(), cursor: 0, count_max: 9 };
        let mut answers = vec![
            Answer::of_page(start),
            read(Read::History { conversation: peer.into(), after: 0, count_max: 9 }),
            read(inbox(CONSUMER)),
            read(inbox("another")),
            Answer::of_page(self.reader.has_pin().map(|has_pin| has_pin.to_string())),
            load(Load::Outbox { conversation: peer.into(), peer, after: 0, count_max: 9 }),
            load(Load::Message { conversation: peer.into(), peer, id: id(1) }),
            load(Load::Message { conversation: peer.into(), peer, id: id(2) }),
            load(Load::Received { conversation: peer.into(), after: 0, up_to: 9 }),
            Answer::of_page(self.reader.retention_choice().map(|choice| format!("{choice:?}"))),
        ];
        answers.extend(self.try_out());
        answers
    }

    /// Asks the write side, and keeps nothing of it.
    fn try_out(&mut self) -> [Answer; 5] {
        let (peer, newcomer) = (self.peer, self.newcomer.client_id());
        let tx = self.door.begin_write().unwrap();
        let mut rows = Batch::new(&tx, &mut self.sealer);
        let claims = [
            Op::ClaimKey { conversation: peer.into(), key: KEY.to_owned(), id: id(3) },
            Op::ClaimId { conversation: peer.into(), peer, id: id(1) },
        ];
        let claims = claims.map(|claim| Answer::of(rows.check(&[claim]).map(|refusal| format!("{refusal:?}"))));
        let [key, message_id] = claims;
        let mut apply = |op: &Op| Answer::of(rows.apply(op).map(|()| String::new()));
        let delivered = apply(&Op::Delivered { conversation: peer.into(), peer, number: 2, seq: 2, utc_ms: 1 });
        let cursor = apply(&Op::PutCursor { consumer: CONSUMER.to_owned(), inbox_seq: 1 });
        let paired = rows.apply(&Op::PutContact(self.newcomer.clone()));
        let paired = paired.and_then(|()| tx.number_of(rows.keys(), newcomer.into()));
        [key, message_id, delivered, cursor, Answer::of(paired.map(|number| format!("{number:?}")))]
    }

    /// Puts something into a row, past all checks; `None` takes the row away.
    fn put(&self, table: Table, row_key: &[u8], value: Option<&[u8]>) {
        let mut tx = self.door.begin_write().unwrap();
        tx.set_durability(Durability::None).unwrap();
        {
            let mut rows = tx.open_table(table.definition()).unwrap();
            match value {
                Some(value) => drop(rows.insert(row_key, value).unwrap()),
                None => drop(rows.remove(row_key).unwrap()),
            }
        }
        tx.commit().unwrap();
    }

    /// With this in a row, the check names the row's table, and whatever the store says is what it
    /// said before, or that it is damaged.
    #[track_caller]
    fn notices(&mut self, table: Table, row_key: &[u8], value: &[u8]) {
        self.put(table, row_key, Some(value));
        let old = self.rows.iter().find(|(of, key, _)| *of == table && key == row_key);
        let old = old.map(|(_, _, value)| value.clone());
        let before = std::mem::take(&mut self.answers);
        let answers = self.ask();
        // The start counts the rows of the outbox, and looks where the inbox ends, by their keys alone.
        let is_counted = old.is_none() && [Table::Outbox, Table::Inbox].contains(&table);
        for (now, before) in answers.iter().zip(&before).skip(usize::from(is_counted)) {
            match now {
                Answer::Damaged(text) => assert!(text.contains("this affects"), "{text}"),
                Answer::Said(_) => assert_eq!(now, before, "`{table}` {row_key:?}"),
            }
        }
        self.answers = before;
        let report = self.reader.check(&mut Unwatched).unwrap();
        let (of, affects) = (format!("A value in table `{table}` does not "), table.affects());
        let is_named = |text: &String| text.starts_with(&of) && text.contains(&format!("this affects {affects}"));
        assert!(report.findings.iter().any(is_named), "{of}…: {report:?}");
        self.put(table, row_key, old.as_deref());
    }
}

struct Unwatched;

impl Progress for Unwatched {
    fn expect(&mut self, _: u64) {}

    fn advance(&mut self, _: u64) -> Result<(), Cancelled> {
        Ok(())
    }
}

#[test]
fn every_changed_byte_of_every_kind_of_value_is_noticed() {
    let mut small = Small::new();
    for (table, row_key, value) in small.rows.clone() {
        for at in 0..value.len() {
            let mut value = value.clone();
            value[at] ^= 1 << (at % 8);
            small.notices(table, &row_key, &value);
        }
    }
}

#[test]
fn every_value_that_is_cut_off_at_any_place_is_noticed() {
    let mut small = Small::new();
    for (table, row_key, value) in small.rows.clone() {
        for length in 0..value.len() {
            small.notices(table, &row_key, &value[..length]);
        }
        small.notices(table, &row_key, &[&value[..], &[0]].concat());
    }
}

#[test]
fn every_value_in_the_place_of_another_or_at_a_place_of_its_own_is_noticed() {
    let mut small = Small::new();
    let rows = small.rows.clone();
    for (from, _, value) in &rows {
        for (to, row_key, other) in &rows {
            if value != other {
                small.notices(*to, row_key, value);
            }
        }
        // Beside what is there: where nothing points to it, only the check comes across it.
        let (_, row_key, _) = rows.iter().rfind(|(table, ..)| table == from).unwrap();
        let mut next = row_key.clone();
        *next.last_mut().unwrap() = next.last().unwrap().wrapping_add(1);
        small.notices(*from, &next, value);
    }
}

#[test]
fn two_values_that_have_changed_places_are_both_noticed() {
    let mut small = Small::new();
    let rows = small.rows.clone();
    for (at, (table, row_key, value)) in rows.iter().enumerate() {
        for (other_table, other_key, other) in &rows[at + 1..] {
            small.put(*table, row_key, Some(other));
            small.notices(*other_table, other_key, value);
            small.put(*other_table, other_key, Some(value));
            small.notices(*table, row_key, other);
            small.put(*other_table, other_key, Some(other));
        }
    }
}
