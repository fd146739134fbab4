//! A strand: the messages of one conversation between this device and one other. The conversation of
//! two has one, a room has one with each other member.

use std::collections::BTreeMap;

use kith_crypto::identity::ClientId;

use crate::record::{ConversationId, Incarnation, Mark, MessageId, MissingRecord, ReadingRecord};
use crate::{CommitId, LoadId};

/// Own messages that are sent and not acknowledged (docs/protocol.md §7). With the largest
/// bodies this is 1 MiB on its way per strand.
pub(crate) const WINDOW_MAX: usize = 64;
/// Messages that wait for one peer. At the largest bodies about 120 MiB on disk.
pub(crate) const OUTBOX_MAX: u64 = 10_000;
/// Received messages that wait for the disk, per strand: the sender's window.
pub(crate) const INBOUND_MAX: usize = WINDOW_MAX;

/// The conversation between two devices has no name of its own.
pub(crate) const DIRECT: [u8; 16] = [0; 16];

/// How a conversation is named between two devices.
pub(crate) fn conversation_bytes(conversation: ConversationId) -> [u8; 16] {
    match conversation {
        ConversationId::Direct(_) => DIRECT,
        ConversationId::Room(room) => room.0,
    }
}

/// Which strand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane {
    pub(crate) conversation: ConversationId,
    pub(crate) peer: ClientId,
}

impl Lane {
    /// The one strand of the conversation with a contact.
    pub(crate) fn direct(peer: ClientId) -> Self {
        Self { conversation: ConversationId::Direct(peer), peer }
    }
}

#[derive(Default)]
pub(crate) struct Strand {
    pub(crate) marks: Vec<Mark>,
    pub(crate) missing: MissingRecord,
    pub(crate) reading: ReadingRecord,
    pub(crate) outbox: Outbox,
    pub(crate) inbound: Inbound,
}

/// A message on its way.
#[derive(Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) seq: u64,
    pub(crate) id: MessageId,
    pub(crate) hash: [u8; 32],
    pub(crate) ttl_s: Option<u32>,
}

/// What is known of the outbox without its bodies.
#[derive(Default)]
pub(crate) struct Outbox {
    /// On disk.
    pub(crate) count: u64,
    /// Sent in the present session and not acknowledged, by number.
    pub(crate) sent: BTreeMap<u64, Sent>,
    /// The highest number sent in the present session.
    pub(crate) sent_number: u64,
    /// More may wait on disk above `sent_number`.
    pub(crate) backlog: bool,
    /// A page is being read.
    pub(crate) loading: Option<LoadId>,
    /// The backlog has grown since that page was asked for.
    pub(crate) grown: bool,
    /// Acknowledged; the commit that says so is under way or waits for space.
    pub(crate) delivering: BTreeMap<u64, Sent>,
    /// When to try the commits in `delivering` again.
    pub(crate) retry_at: Option<u64>,
}

impl Outbox {
    /// Forgets the session: everything on disk is to be sent again, in order.
    pub(crate) fn rewind(&mut self) {
        self.sent.clear();
        self.sent_number = 0;
        self.loading = None;
        self.backlog = self.count > 0;
        self.grown = false;
    }

    pub(crate) fn has_room(&self) -> bool {
        self.sent.len() < WINDOW_MAX
    }
}

/// A received message that is not on disk yet.
pub(crate) struct Inbounded {
    pub(crate) incarnation: Incarnation,
    pub(crate) number: u64,
    pub(crate) id: MessageId,
    pub(crate) hash: [u8; 32],
    /// The store has it under an earlier incarnation; it is only acknowledged.
    pub(crate) known: bool,
    pub(crate) message: crate::MessageRecord,
}

/// Received messages on their way to the disk: one commit at a time per strand, the next takes all
/// that came meanwhile. So a mark can never reach the disk before a message below it.
#[derive(Default)]
pub(crate) struct Inbound {
    pub(crate) commit: Option<CommitId>,
    pub(crate) committing: Vec<Inbounded>,
    pub(crate) waiting: Vec<Inbounded>,
    /// The inbox place of the first new message in `committing`.
    pub(crate) first_inbox_seq: u64,
}

impl Inbound {
    pub(crate) fn len(&self) -> usize {
        self.committing.len() + self.waiting.len()
    }

    pub(crate) fn find(&self, incarnation: Incarnation, number: u64) -> Option<&Inbounded> {
        self.committing.iter().chain(&self.waiting).find(|m| m.incarnation == incarnation && m.number == number)
    }
}

impl Strand {
    /// As the store has it.
    pub(crate) fn new(marks: Vec<Mark>, outbox_count: u64, missing: MissingRecord, reading: ReadingRecord) -> Self {
        let mut outbox = Outbox { count: outbox_count, ..Outbox::default() };
        outbox.rewind();
        Self { marks, missing, reading, outbox, inbound: Inbound::default() }
    }

    /// The highest number taken from this incarnation, on disk or on its way there.
    pub(crate) fn high_water(&self, incarnation: Incarnation) -> u64 {
        let on_disk = self.marks.iter().find(|m| m.incarnation == incarnation).map_or(0, |m| m.number);
        let on_its_way = self.inbound.committing.iter().chain(&self.inbound.waiting);
        on_its_way.filter(|m| m.incarnation == incarnation).map(|m| m.number).fold(on_disk, u64::max)
    }

    /// The marks with these numbers taken in; the oldest incarnations give way.
    pub(crate) fn marks_with<'a>(&self, messages: impl Iterator<Item = &'a Inbounded>) -> Vec<Mark> {
        let mut marks = self.marks.clone();
        for message in messages {
            match marks.iter_mut().find(|m| m.incarnation == message.incarnation) {
                Some(mark) => mark.number = mark.number.max(message.number),
                None => marks.push(Mark { incarnation: message.incarnation, number: message.number }),
            }
        }
        let surplus = marks.len().saturating_sub(Mark::COUNT_MAX);
        marks.drain(..surplus);
        marks
    }
}
