//! A store in memory with the rules of the real one. It survives its device's crashes.

use std::collections::BTreeMap;

use kith_crypto::identity::ClientId;
use kith_engine::{
    CommitError, ContactRecord, ConversationId, ConversationRecord, Direction, Expiring, ExpiryRecord, Incarnation,
    Load, Loaded, Mark, MessageId, MessageRecord, MessageState, MissingRecord, Op, ProfileRecord, ReachRecord,
    ReadMark, ReadingRecord, RoomId, RoomRecord, StandingRecord, StoredContact, StoredRoom, StoredState, StoredWaiting,
};

#[derive(Clone, Default, PartialEq)]
struct Conversation {
    record: ConversationRecord,
    /// By the peer whose messages they are of.
    marks: BTreeMap<ClientId, Vec<Mark>>,
    missing: MissingRecord,
    standing: StandingRecord,
    expiry: ExpiryRecord,
    readings: BTreeMap<ClientId, ReadingRecord>,
    /// By sequence number, where the time of a message began to count later than it came.
    counts_since: BTreeMap<u64, u64>,
    /// By writer and id, the numbers of messages that have disappeared.
    gone: BTreeMap<(Direction, MessageId), u64>,
    messages: BTreeMap<u64, MessageRecord>,
    /// By number and addressee.
    outbox: BTreeMap<(u64, ClientId), u64>,
    keys: BTreeMap<String, MessageId>,
}

#[derive(Clone, PartialEq)]
pub(crate) struct Disk {
    profile: ProfileRecord,
    reach: Option<ReachRecord>,
    contacts: BTreeMap<ClientId, ContactRecord>,
    rooms: BTreeMap<RoomId, RoomRecord>,
    conversations: BTreeMap<ConversationId, Conversation>,
    inbox: BTreeMap<u64, (ConversationId, u64)>,
    cursors: BTreeMap<String, u64>,
    sends_receipts: bool,
    /// Refuse commits that need space.
    pub(crate) full: bool,
    /// A defect on purpose: no high-water mark is kept, and no message id is compared.
    pub(crate) forgets_marks: bool,
    /// A defect on purpose: the last commits before a crash are lost, though they were reported
    /// as written.
    pub(crate) lies_about_fsync: bool,
    durable: Option<Box<Disk>>,
    undurable: usize,
}

/// How many commits a disk that lies holds back.
const UNDURABLE_MAX: usize = 4;

impl Disk {
    pub(crate) fn new(profile: ProfileRecord) -> Self {
        Self {
            profile,
            reach: None,
            contacts: BTreeMap::new(),
            rooms: BTreeMap::new(),
            conversations: BTreeMap::new(),
            inbox: BTreeMap::new(),
            cursors: BTreeMap::new(),
            sends_receipts: true,
            full: false,
            forgets_marks: false,
            lies_about_fsync: false,
            durable: None,
            undurable: 0,
        }
    }

    /// What a power cut leaves.
    pub(crate) fn lose_power(&mut self) {
        if let Some(durable) = self.durable.take() {
            *self = *durable;
        }
    }

    pub(crate) fn state(&self) -> StoredState {
        let contacts = self.contacts.iter().map(|(peer, contact)| {
            let conversation = self.conversations.get(&(*peer).into()).cloned().unwrap_or_default();
            StoredContact {
                contact: contact.clone(),
                conversation: conversation.record,
                marks: conversation.marks.get(peer).cloned().unwrap_or_default(),
                outbox_count: conversation.outbox.len() as u64,
                missing: conversation.missing,
                standing: conversation.standing,
                expiry: conversation.expiry,
                reading: conversation.readings.get(peer).copied().unwrap_or_default(),
            }
        });
        StoredState {
            reach: self.reach,
            profile: self.profile.clone(),
            contacts: contacts.collect(),
            rooms: self.rooms.values().map(|room| self.stored_room(room)).collect(),
            inbox_seq: self.inbox.keys().last().copied().unwrap_or(0),
            sends_receipts: self.sends_receipts,
        }
    }

    fn stored_room(&self, record: &RoomRecord) -> StoredRoom {
        let conversation = self.conversations.get(&record.room.into()).cloned().unwrap_or_default();
        let members = record.members();
        let mut waiting: BTreeMap<u64, StoredWaiting> = BTreeMap::new();
        for ((number, peer), seq) in conversation.outbox {
            if members.contains(&peer) {
                let id = conversation.messages[&seq].id;
                let waits = StoredWaiting { number, seq, id, peers: Vec::new() };
                waiting.entry(number).or_insert(waits).peers.push(peer);
            }
        }
        StoredRoom {
            record: record.clone(),
            conversation: conversation.record,
            expiry: conversation.expiry,
            marks: conversation.marks.into_iter().collect(),
            readings: conversation.readings.into_iter().collect(),
            waiting: waiting.into_values().collect(),
        }
    }

    /// What an import of this disk, taken as a backup, makes of it.
    pub(crate) fn restored(mut self, nth: u8) -> Self {
        for (at, (peer, contact)) in (1..).zip(self.contacts.iter_mut()) {
            let incarnation = Incarnation([nth, at, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]);
            *contact = contact.clone().restored(incarnation);
            let conversation = self.conversations.entry((*peer).into()).or_default();
            conversation.missing = conversation.missing.restored();
        }
        self
    }

    /// Everything in a conversation, in order.
    pub(crate) fn history(&self, conversation: impl Into<ConversationId>) -> Vec<&MessageRecord> {
        self.conversations.get(&conversation.into()).map(|c| c.messages.values().collect()).unwrap_or_default()
    }

    /// How many messages of a conversation wait, counted for each addressee.
    pub(crate) fn waiting(&self, conversation: impl Into<ConversationId>) -> usize {
        self.conversations.get(&conversation.into()).map_or(0, |conversation| conversation.outbox.len())
    }

    pub(crate) fn cursor(&self, consumer: &str) -> u64 {
        self.cursors.get(consumer).copied().unwrap_or(0)
    }

    pub(crate) fn inbox_len(&self) -> usize {
        self.inbox.len()
    }

    pub(crate) fn commit(&mut self, ops: &[Op]) -> Result<(), CommitError> {
        if self.full {
            return Err(CommitError::Full);
        }
        if self.lies_about_fsync && (self.durable.is_none() || self.undurable >= UNDURABLE_MAX) {
            self.durable = None;
            self.durable = Some(Box::new(self.clone()));
            self.undurable = 0;
        }
        self.undurable += 1;
        // Claims come first in a commit; nothing is written before one is refused.
        let claims = |op: &Op| matches!(op, Op::ClaimId { .. } | Op::ClaimKey { .. });
        let before = ops.iter().any(claims).then(|| self.clone());
        for op in ops {
            if let Err(error) = self.apply(op) {
                if let Some(before) = before {
                    *self = before;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn apply(&mut self, op: &Op) -> Result<(), CommitError> {
        match op.clone() {
            Op::PutProfile(profile) => self.profile = profile,
            Op::PutReach(reach) => self.reach = Some(reach),
            Op::PutContact(contact) => drop(self.contacts.insert(contact.client_id(), contact)),
            Op::PutConversation(conversation, record) => self.conversation(conversation).record = record,
            Op::PutMarks { .. } | Op::ClaimId { .. } if self.forgets_marks => {}
            Op::PutMarks { conversation, peer, marks } => {
                drop(self.conversation(conversation).marks.insert(peer, marks));
            }
            Op::PutMissing(peer, missing) => self.conversation(peer.into()).missing = missing,
            Op::PutStanding(peer, standing) => self.conversation(peer.into()).standing = standing,
            Op::PutReceipts(sends) => self.sends_receipts = sends,
            Op::PutReading { conversation, peer, reading } => {
                self.conversation(conversation).readings.insert(peer, reading);
            }
            Op::PutExpiry(conversation, expiry) => self.conversation(conversation).expiry = expiry,
            Op::StartExpiry { conversation, seq, utc_ms } => {
                self.conversation(conversation).counts_since.insert(seq, utc_ms);
            }
            Op::Expire { conversation, seq } => {
                let conversation = self.conversation(conversation);
                if let Some(message) = conversation.messages.remove(&seq) {
                    conversation.gone.insert((message.direction, message.id), message.number);
                }
            }
            Op::RemoveContact(peer) => {
                self.contacts.remove(&peer);
                self.forget(peer.into());
            }
            Op::PutRoom(room) => drop(self.rooms.insert(room.room, room)),
            Op::RemoveRoom(room) => {
                self.rooms.remove(&room);
                self.forget(room.into());
            }
            Op::DropMember { room, peer, utc_ms } => self.drop_member(room, peer, utc_ms),
            Op::ClaimKey { conversation, key, id } => {
                if let Some(known) = self.conversation(conversation).keys.get(&key) {
                    return Err(CommitError::Repeated(*known));
                }
                self.conversation(conversation).keys.insert(key, id);
            }
            Op::ClaimId { conversation, peer, id } => {
                let gone = self.gone(conversation, peer, id);
                if self.written_by(conversation, peer, id).is_some() || gone.is_some() {
                    return Err(CommitError::Conflict(id));
                }
            }
            Op::PutMessage(conversation, message) => {
                drop(self.conversation(conversation).messages.insert(message.seq, message));
            }
            Op::PutOutbox { conversation, peer, number, seq } => {
                self.conversation(conversation).outbox.insert((number, peer), seq);
            }
            Op::Delivered { conversation, peer, number, seq, utc_ms } => {
                let conversation = self.conversation(conversation);
                conversation.outbox.remove(&(number, peer));
                conversation.settle(number, seq, utc_ms);
            }
            Op::PutInbox { inbox_seq, conversation, peer: _, seq } => {
                self.inbox.insert(inbox_seq, (conversation, seq));
            }
            Op::PutCursor { consumer, inbox_seq } => {
                let cursor = self.cursors.entry(consumer).or_default();
                *cursor = (*cursor).max(inbox_seq);
            }
        }
        Ok(())
    }

    fn forget(&mut self, conversation: ConversationId) {
        self.conversations.remove(&conversation);
        self.inbox.retain(|_, (owner, _)| *owner != conversation);
    }

    fn drop_member(&mut self, room: RoomId, peer: ClientId, utc_ms: u64) {
        let conversation = self.conversation(room.into());
        conversation.marks.remove(&peer);
        conversation.readings.remove(&peer);
        let dropped: Vec<_> =
            conversation.outbox.iter().filter(|((_, to), _)| *to == peer).map(|((n, _), seq)| (*n, *seq)).collect();
        conversation.outbox.retain(|(_, to), _| *to != peer);
        for (number, seq) in dropped {
            conversation.settle(number, seq, utc_ms);
        }
    }

    fn written_by(&self, conversation: ConversationId, peer: ClientId, id: MessageId) -> Option<&MessageRecord> {
        let mut messages = self.conversations.get(&conversation)?.messages.values();
        messages.find(|message| match message.direction {
            Direction::Member(writer) => message.id == id && writer == peer,
            Direction::Outgoing | Direction::Incoming => message.id == id && conversation == peer.into(),
        })
    }

    fn gone(&self, conversation: ConversationId, peer: ClientId, id: MessageId) -> Option<u64> {
        let direction = match conversation {
            ConversationId::Direct(_) => Direction::Incoming,
            ConversationId::Room(_) => Direction::Member(peer),
        };
        self.conversations.get(&conversation)?.gone.get(&(direction, id)).copied()
    }

    /// What disappears next.
    fn expiring(&self, count_max: usize) -> Loaded {
        let all = self.conversations.iter().flat_map(|(id, conversation)| {
            let delivered = conversation.messages.values().filter(|m| m.state == MessageState::Delivered);
            delivered.filter_map(|message| {
                let since_utc_ms = *conversation.counts_since.get(&message.seq).unwrap_or(&message.done_utc_ms);
                let (seq, incoming) = (message.seq, message.direction.is_incoming());
                Some(Expiring { conversation: *id, seq, incoming, ttl_s: message.ttl_s?, since_utc_ms })
            })
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|expiring| expiring.since_utc_ms + u64::from(expiring.ttl_s) * 1_000);
        let others = all.len() > count_max;
        all.truncate(count_max);
        Loaded::Expiring(all, others)
    }

    pub(crate) fn load(&self, load: &Load) -> Loaded {
        let of = |conversation: &ConversationId| self.conversations.get(conversation).cloned().unwrap_or_default();
        match load {
            Load::Outbox { conversation, peer, after, count_max } => {
                let conversation = of(conversation);
                let waiting = conversation.outbox.iter().filter(|((n, to), _)| n > after && to == peer);
                Loaded::Outbox(waiting.take(*count_max).map(|(_, seq)| conversation.messages[seq].clone()).collect())
            }
            Load::Received { conversation, after, up_to } => {
                let conversation = of(conversation);
                let range = conversation.messages.range(after + 1..=*up_to);
                let received: Vec<_> = range.map(|(_, m)| m).filter(|m| m.direction.is_incoming()).collect();
                let newest = received.iter().map(|m| (m.direction, ReadMark { id: m.id, number: m.number })).collect();
                Loaded::Received(received.len() as u64, newest)
            }
            Load::Message { conversation, peer, id } => match self.gone(*conversation, *peer, *id) {
                Some(number) => Loaded::Gone { number },
                None => Loaded::Message(self.written_by(*conversation, *peer, *id).cloned()),
            },
            Load::Expiring { count_max } => self.expiring(*count_max),
        }
    }

    fn conversation(&mut self, conversation: ConversationId) -> &mut Conversation {
        self.conversations.entry(conversation).or_default()
    }
}

impl Conversation {
    /// Delivered, once it waits for nobody.
    fn settle(&mut self, number: u64, seq: u64, utc_ms: u64) {
        let waits = self.outbox.keys().any(|(other, _)| *other == number);
        if let Some(message) = self.messages.get_mut(&seq).filter(|_| !waits) {
            message.state = MessageState::Delivered;
            message.done_utc_ms = utc_ms;
        }
    }
}
