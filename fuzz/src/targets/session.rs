//! Records: two sides of a session, and a network between them that does what it likes.

use std::collections::VecDeque;
use std::sync::Arc;

use kith_crypto::identity::Identity;
use kith_crypto::session::{PLAINTEXT_BYTES_MAX, RECORD_BYTES_MAX, Session, SessionError};
use kith_crypto::wire::{Frame, tlv};
use rand_chacha::ChaCha20Rng;

use crate::script::{Script, Writer};
use crate::targets::frame::frames;
use crate::targets::handshake::sessions;
use crate::{Target, Verdict, known};

/// What opens is what was sealed, in its order, under whichever key; anything else closes the session for good.
pub const SESSION: Target = Target { name: "session", run, seeds };

const SEAL: u8 = 0;
const DELIVER: u8 = 1;
const CHANGE: u8 = 2;
const DROP: u8 = 3;
const REPEAT: u8 = 4;
const REKEY: u8 = 5;
const STEPS: u8 = 6;

/// What a record is longer than its plaintext.
const TAG_BYTES: usize = RECORD_BYTES_MAX - PLAINTEXT_BYTES_MAX;

/// A record on its way.
#[derive(Clone)]
struct Record {
    sealed: Vec<u8>,
    /// What was sealed, padding and all; none where the session made the plaintext itself.
    plaintext: Option<Vec<u8>>,
    number: u64,
}

/// One device: its session, and what is on its way to it.
struct End {
    session: Session,
    arriving: VecDeque<Record>,
    sent: u64,
    opened: u64,
    is_closed: bool,
}

struct Channel {
    ends: [End; 2],
    rng: ChaCha20Rng,
    /// Somebody sealed a step of a rekey by hand, so that the keys may part.
    is_forged: bool,
}

fn run(input: &[u8]) -> Verdict {
    let end = |session| End { session, arriving: VecDeque::new(), sent: 0, opened: 0, is_closed: false };
    let mut channel = Channel { ends: sessions().map(end), rng: known::seeded(4), is_forged: false };
    let mut script = Script::new(input);
    while !script.is_over() {
        let step = script.byte();
        channel.step(usize::from(step & 1), (step >> 1) % STEPS, &mut script);
    }
    Verdict::Read
}

impl Channel {
    fn step(&mut self, at: usize, step: u8, script: &mut Script<'_>) {
        match step {
            SEAL => self.seal(at, script.bytes()),
            DELIVER => {
                if let Some(record) = self.ends[at].arriving.pop_front() {
                    self.deliver(at, record, false);
                }
            }
            CHANGE => {
                let (place, change) = (usize::from(script.short()), script.byte());
                if let Some(mut record) = self.ends[at].arriving.pop_front() {
                    let place = place % record.sealed.len();
                    record.sealed[place] ^= change;
                    self.deliver(at, record, change != 0);
                }
            }
            DROP => drop(self.ends[at].arriving.pop_front()),
            REPEAT => {
                if let Some(record) = self.ends[at].arriving.front().cloned() {
                    self.ends[at].arriving.push_front(record);
                }
            }
            _ => self.start_rekey(at),
        }
    }

    fn seal(&mut self, at: usize, plaintext: &[u8]) {
        let mut record = vec![0; RECORD_BYTES_MAX.max(plaintext.len())];
        record[..plaintext.len()].copy_from_slice(plaintext);
        let is_closed = self.ends[at].is_closed;
        let length = self.ends[at].session.seal(&mut record, plaintext.len());
        assert_eq!(length.is_ok(), plaintext.len() <= PLAINTEXT_BYTES_MAX && !is_closed);
        let Ok(length) = length else { return };
        record.truncate(length);
        // Padding may complete a frame whose last bytes are zeros.
        let mut padded = plaintext.to_vec();
        padded.resize(length - TAG_BYTES, 0);
        self.is_forged |= matches!(expected(&padded), Some(Some(Frame::Rekey(_) | Frame::Switch)));
        self.send(at, record, Some(padded));
    }

    fn send(&mut self, from: usize, sealed: Vec<u8>, plaintext: Option<Vec<u8>>) {
        let number = self.ends[from].sent;
        self.ends[from].sent += 1;
        self.ends[1 - from].arriving.push_back(Record { sealed, plaintext, number });
    }

    fn deliver(&mut self, at: usize, record: Record, is_changed: bool) {
        let end = &mut self.ends[at];
        let in_order = record.number == end.opened && !is_changed;
        let mut sealed = record.sealed.clone();
        let result = end.session.open_frame(&mut sealed);
        if end.is_closed {
            return assert_eq!(result, Err(SessionError::Closed));
        }
        match result {
            Ok(frame) => {
                assert!(in_order, "a record opens once, unchanged and in its place");
                end.opened += 1;
                if let Some(plaintext) = &record.plaintext {
                    assert_eq!(Some(&frame), expected(plaintext).as_ref());
                }
                match frame {
                    Some(Frame::Rekey(message)) => self.answer(at, message),
                    Some(Frame::Switch) => self.ends[at].is_closed = self.ends[at].session.switch().is_err(),
                    _ => {}
                }
            }
            Err(error) => {
                end.is_closed = true;
                let is_sound = record.plaintext.as_deref().is_none_or(|plaintext| expected(plaintext).is_some());
                assert!(!in_order || !is_sound || self.is_forged, "an honest record did not open: {error}");
            }
        }
    }

    fn start_rekey(&mut self, at: usize) {
        let (own, remote) = identities(at);
        let mut record = vec![0; RECORD_BYTES_MAX];
        let session = &mut self.ends[at].session;
        let may = session.is_initiator() && !session.is_rekeying() && !self.ends[at].is_closed;
        let started = self.ends[at].session.start_rekey(&own, remote.public(), &mut record, &mut self.rng);
        assert_eq!(started.is_ok(), may);
        if let Ok(length) = started {
            record.truncate(length);
            self.send(at, record, None);
        }
    }

    fn answer(&mut self, at: usize, message: &[u8]) {
        let (own, remote) = identities(at);
        let mut record = vec![0; RECORD_BYTES_MAX];
        let session = &mut self.ends[at].session;
        let answered = if session.is_initiator() {
            session.finish_rekey(message, &own, remote.public(), &mut record)
        } else {
            session.answer_rekey(message, &own, remote.public(), &mut record, &mut self.rng)
        };
        match answered {
            Ok(length) => {
                record.truncate(length);
                self.send(at, record, None);
            }
            Err(error) => {
                self.ends[at].is_closed = true;
                assert!(self.is_forged, "an honest rekey failed: {error}");
            }
        }
    }
}

/// The two identities, from one end.
fn identities(at: usize) -> (Arc<Identity>, Arc<Identity>) {
    let (anna, bert) = (known::anna(), known::bert());
    if at == 0 { (anna, bert) } else { (bert, anna) }
}

/// What has to come out of a plaintext, padding and all; none if it has to be refused.
fn expected(plaintext: &[u8]) -> Option<Option<Frame<'_>>> {
    let (tlv, rest) = tlv::read(plaintext).ok()?;
    if rest.iter().any(|byte| *byte != 0) {
        return None;
    }
    Frame::from_tlv(tlv).ok()
}

fn seeds() -> Vec<Vec<u8>> {
    let seal = |at: u8, frame: &Frame<'_>| {
        let mut out = [0; 2_048];
        let length = frame.encode(&mut out).expect("it fits");
        Writer::default().byte(at | SEAL << 1).bytes(&out[..length]).0
    };
    let step = |at: u8, step: u8| vec![at | step << 1];
    let deliver = |at| step(at, DELIVER);
    let ping = |at| seal(at, &Frame::Ping([7; 8]));
    let rekey = [step(0, REKEY), deliver(1), deliver(0), deliver(1)].concat();
    let mut seeds = frames(|frame| [seal(0, frame), deliver(1), seal(1, frame), deliver(0)].concat());
    seeds.push([ping(0), rekey.clone(), ping(0), ping(1), deliver(0), deliver(1), rekey].concat());
    seeds.push([step(0, REKEY), ping(0), deliver(1), ping(1), deliver(1), deliver(0), deliver(0)].concat());
    seeds.push([ping(0), step(1, REPEAT), deliver(1), deliver(1), ping(1), deliver(0)].concat());
    seeds.push([ping(0), ping(0), step(1, DROP), deliver(1)].concat());
    seeds.push([ping(1), Writer::default().byte(CHANGE << 1).short(40).byte(1).0, ping(0), deliver(1)].concat());
    seeds.push(Writer::default().byte(SEAL << 1).bytes(&[0xff, 0, 0, 0, 1]).byte(1 | DELIVER << 1).0);
    seeds
}
