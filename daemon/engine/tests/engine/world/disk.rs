//! A store in memory with the rules of the real one. It survives its device's crashes.

use std::collections::BTreeMap;

use kith_crypto::identity::ClientId;
use kith_engine::{
    CommitError, ContactRecord, ConversationRecord, Direction, Incarnation, Load, Loaded, Mark, MessageId,
    MessageRecord, MessageState, MissingRecord, Op, ProfileRecord, StandingRecord, StoredContact, StoredState,
};

#[derive(Clone, Default)]
struct Conversation {
    record: ConversationRecord,
    marks: Vec<Mark>,
    missing: MissingRecord,
    standing: StandingRecord,
    messages: BTreeMap<u64, MessageRecord>,
    outbox: BTreeMap<u64, u64>,
    keys: BTreeMap<String, MessageId>,
}

#[derive(Clone)]
pub(crate) struct Disk {
    profile: ProfileRecord,
    contacts: BTreeMap<ClientId, ContactRecord>,
    conversations: BTreeMap<ClientId, Conversation>,
    inbox: BTreeMap<u64, (ClientId, u64)>,
    cursors: BTreeMap<String, u64>,
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
            contacts: BTreeMap::new(),
            conversations: BTreeMap::new(),
            inbox: BTreeMap::new(),
            cursors: BTreeMap::new(),
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
            let conversation = self.conversations.get(peer).cloned().unwrap_or_default();
            StoredContact {
                contact: contact.clone(),
                conversation: conversation.record,
                marks: conversation.marks,
                outbox_count: conversation.outbox.len() as u64,
                missing: conversation.missing,
                standing: conversation.standing,
            }
        });
        StoredState {
            profile: self.profile.clone(),
            contacts: contacts.collect(),
            inbox_seq: self.inbox.keys().last().copied().unwrap_or(0),
        }
    }

    /// What an import of this disk, taken as a backup, makes of it.
    pub(crate) fn restored(mut self, nth: u8) -> Self {
        for (at, (peer, contact)) in (1..).zip(self.contacts.iter_mut()) {
            let incarnation = Incarnation([nth, at, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]);
            *contact = contact.clone().restored(incarnation);
            let conversation = self.conversations.entry(*peer).or_default();
            conversation.missing = conversation.missing.restored();
        }
        self
    }

    /// Everything in the conversation with this peer, in order.
    pub(crate) fn history(&self, peer: ClientId) -> Vec<&MessageRecord> {
        self.conversations.get(&peer).map(|c| c.messages.values().collect()).unwrap_or_default()
    }

    /// How many messages to this peer wait. Their own records say the same.
    pub(crate) fn waiting(&self, peer: ClientId) -> usize {
        self.conversations.get(&peer).map_or(0, |conversation| conversation.outbox.len())
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
            Op::PutContact(contact) => drop(self.contacts.insert(contact.client_id(), contact)),
            Op::PutConversation(peer, record) => self.conversation(peer).record = record,
            Op::PutMarks(..) | Op::ClaimId { .. } if self.forgets_marks => {}
            Op::PutMarks(peer, marks) => self.conversation(peer).marks = marks,
            Op::PutMissing(peer, missing) => self.conversation(peer).missing = missing,
            Op::PutStanding(peer, standing) => self.conversation(peer).standing = standing,
            Op::RemoveContact(peer) => {
                self.contacts.remove(&peer);
                self.conversations.remove(&peer);
                self.inbox.retain(|_, (owner, _)| *owner != peer);
            }
            Op::ClaimKey { peer, key, id } => {
                if let Some(known) = self.conversation(peer).keys.get(&key) {
                    return Err(CommitError::Repeated(*known));
                }
                self.conversation(peer).keys.insert(key, id);
            }
            Op::ClaimId { peer, id } => {
                if self.conversation(peer).messages.values().any(|m| m.id == id) {
                    return Err(CommitError::Conflict(id));
                }
            }
            Op::PutMessage(peer, message) => drop(self.conversation(peer).messages.insert(message.seq, message)),
            Op::PutOutbox { peer, number, seq } => drop(self.conversation(peer).outbox.insert(number, seq)),
            Op::Delivered { peer, number, seq, utc_ms } => {
                let conversation = self.conversation(peer);
                conversation.outbox.remove(&number);
                if let Some(message) = conversation.messages.get_mut(&seq) {
                    message.state = MessageState::Delivered;
                    message.done_utc_ms = utc_ms;
                }
            }
            Op::PutInbox { inbox_seq, peer, seq } => drop(self.inbox.insert(inbox_seq, (peer, seq))),
            Op::PutCursor { consumer, inbox_seq } => {
                let cursor = self.cursors.entry(consumer).or_default();
                *cursor = (*cursor).max(inbox_seq);
            }
        }
        Ok(())
    }

    pub(crate) fn load(&self, load: &Load) -> Loaded {
        let conversation = |peer: &ClientId| self.conversations.get(peer).cloned().unwrap_or_default();
        match load {
            Load::Outbox { peer, after, count_max } => {
                let conversation = conversation(peer);
                let page = conversation.outbox.range(after + 1..).take(*count_max);
                Loaded::Outbox(page.map(|(_, seq)| conversation.messages[seq].clone()).collect())
            }
            Load::CountReceived { peer, after, up_to } => {
                let conversation = conversation(peer);
                let range = conversation.messages.range(after + 1..=*up_to);
                Loaded::Count(range.filter(|(_, m)| m.direction == Direction::Incoming).count() as u64)
            }
            Load::Message { peer, id } => {
                Loaded::Message(conversation(peer).messages.into_values().find(|m| m.id == *id))
            }
        }
    }

    fn conversation(&mut self, peer: ClientId) -> &mut Conversation {
        self.conversations.entry(peer).or_default()
    }
}
