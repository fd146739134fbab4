//! One contact: its pinned identity, its counters, and what is under way with it.

use std::collections::{BTreeMap, VecDeque};

use kith_crypto::identity::ClientId;
use kith_crypto::sealed::SessionId;

use crate::event::{LinkState, PeerView, Presence, Trust};
use crate::record::{
    ContactRecord, ContactState, ConversationRecord, Incarnation, Mark, MessageId, MissingRecord, StandingRecord,
    StoredContact,
};
use crate::{CommitId, LinkId, LoadId};

/// Own messages that are sent and not acknowledged (docs/protocol.md §7). With the largest
/// bodies this is 1 MiB on its way per peer.
pub(crate) const WINDOW_MAX: usize = 64;
/// Messages that wait for one peer. At the largest bodies about 120 MiB on disk.
pub(crate) const OUTBOX_MAX: u64 = 10_000;
/// Received messages that wait for the disk, per peer: the sender's window.
pub(crate) const INBOUND_MAX: usize = WINDOW_MAX;
/// Session ids of offers that were taken, so that a replay is dropped before it costs a
/// connection.
const SEEN_OFFERS_MAX: usize = 16;

pub(crate) struct Contact {
    pub(crate) record: ContactRecord,
    pub(crate) conversation: ConversationRecord,
    pub(crate) marks: Vec<Mark>,
    pub(crate) missing: MissingRecord,
    pub(crate) standing: StandingRecord,
    /// The server says that it is there.
    pub(crate) online: bool,
    /// The session in use.
    pub(crate) current: Option<LinkId>,
    /// A connection on its way.
    pub(crate) attempt: Option<LinkId>,
    /// When to try to connect.
    pub(crate) connect_at: Option<u64>,
    /// Attempts that failed since the last session.
    pub(crate) failures: u32,
    /// When the server last said that it has come, and was believed.
    pub(crate) came_ms: u64,
    seen_offers: VecDeque<SessionId>,
    pub(crate) outbox: Outbox,
    pub(crate) inbound: Inbound,
}

/// A message on its way.
#[derive(Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) seq: u64,
    pub(crate) id: MessageId,
    pub(crate) hash: [u8; 32],
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

/// Received messages on their way to the disk: one commit at a time per peer, the next takes all
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

impl Contact {
    pub(crate) fn new(stored: StoredContact) -> Self {
        let mut outbox = Outbox { count: stored.outbox_count, ..Outbox::default() };
        outbox.rewind();
        Self {
            record: stored.contact,
            conversation: stored.conversation,
            marks: stored.marks,
            missing: stored.missing,
            standing: stored.standing,
            online: false,
            current: None,
            attempt: None,
            connect_at: None,
            failures: 0,
            came_ms: 0,
            seen_offers: VecDeque::new(),
            outbox,
            inbound: Inbound::default(),
        }
    }

    pub(crate) fn is_paired(&self) -> bool {
        self.record.state == ContactState::Paired
    }

    /// Whether this offer was taken before.
    pub(crate) fn has_seen_offer(&self, session: SessionId) -> bool {
        self.seen_offers.contains(&session)
    }

    /// Remembers an offer that was taken.
    pub(crate) fn saw_offer(&mut self, session: SessionId) {
        if self.seen_offers.len() == SEEN_OFFERS_MAX {
            self.seen_offers.pop_front();
        }
        self.seen_offers.push_back(session);
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

    pub(crate) fn view(&self, peer: ClientId, link: LinkState) -> PeerView {
        let online = self.online || self.current.is_some();
        PeerView {
            peer,
            name: self.record.name.clone(),
            trust: match self.record.state {
                ContactState::Pending => Trust::Pending,
                ContactState::Paired if self.standing.verified => Trust::Verified,
                ContactState::Paired => Trust::Paired,
            },
            blocked: self.standing.blocked,
            presence: if online { Presence::Online } else { Presence::Offline },
            link,
            seen_utc_ms: self.record.seen_utc_ms,
            last_seq: self.conversation.last_seq,
            unread: self.conversation.unread,
            missing: self.missing.count,
        }
    }
}
