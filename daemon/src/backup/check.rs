//! Which entry may follow which, and what they say together.

use std::collections::BTreeSet;

use kith_crypto::identity::ClientId;
use kith_engine::{CONTACTS_MAX, Direction, MessageRecord, MessageState};

use super::error::BackupError;
use crate::store::Entry;

/// What a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) contacts: u64,
    pub(super) messages: u64,
    /// Of the messages, those that wait to be sent.
    pub(super) waiting: u64,
}

/// How far the entries have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Identity,
    Tags,
    Profile,
    Retention,
    Contacts,
    Inbox,
    Cursors,
}

/// Checks the entries of one backup, in order.
pub(super) struct Check {
    client_id: ClientId,
    part: Option<Part>,
    contacts: BTreeSet<ClientId>,
    counters: Counters,
    last_place: u64,
    counts: Counts,
}

/// Of the latest contact.
#[derive(Default)]
struct Counters {
    last_seq: u64,
    sent_number: u64,
    /// The latest message's.
    seq: u64,
    number: u64,
}

impl Check {
    pub(super) fn new(client_id: ClientId) -> Self {
        Self {
            client_id,
            part: None,
            contacts: BTreeSet::new(),
            counters: Counters::default(),
            last_place: 0,
            counts: Counts::default(),
        }
    }

    /// Takes the next entry.
    pub(super) fn take(&mut self, entry: &Entry) -> Result<(), BackupError> {
        let fits = match entry {
            Entry::Identity(identity) => self.enter(Part::Identity) && identity.client_id() == self.client_id,
            Entry::TagKey(_) => self.enter(Part::Tags),
            Entry::Profile(_) => self.enter(Part::Profile),
            Entry::Retention(_) => self.part == Some(Part::Profile) && self.enter(Part::Retention),
            Entry::Contact(stored) => {
                let (last_seq, sent_number) = (stored.conversation.last_seq, stored.conversation.sent_number);
                self.counters = Counters { last_seq, sent_number, seq: 0, number: 0 };
                self.counts.contacts += 1;
                let peer = stored.contact.client_id();
                let is_new = peer != self.client_id && self.contacts.insert(peer);
                self.reach(Part::Contacts) && is_new && self.contacts.len() <= CONTACTS_MAX
            }
            Entry::Message(message) => self.is_in_contact() && self.message(message),
            Entry::Key { .. } => self.is_in_contact(),
            Entry::Inbox { place, peer, .. } => {
                let ascends = *place > self.last_place;
                self.last_place = *place;
                self.reach(Part::Inbox) && ascends && self.contacts.contains(peer)
            }
            Entry::Cursor { .. } => self.reach(Part::Cursors),
        };
        if fits { Ok(()) } else { Err(BackupError::Damaged("a line does not fit to those before it")) }
    }

    /// After the last entry.
    pub(super) fn finish(self) -> Result<Counts, BackupError> {
        let whole = self.part >= Some(Part::Profile);
        if whole { Ok(self.counts) } else { Err(BackupError::Damaged("it holds no device")) }
    }

    /// Sequence numbers rise, and so do own numbers; the counters are above both.
    fn message(&mut self, message: &MessageRecord) -> bool {
        let counters = &mut self.counters;
        let mut fits = message.seq > counters.seq && message.seq <= counters.last_seq;
        counters.seq = message.seq;
        if message.direction == Direction::Outgoing {
            fits &= message.number > counters.number && message.number <= counters.sent_number;
            counters.number = message.number;
            self.counts.waiting += u64::from(message.state == MessageState::Queued);
        }
        self.counts.messages += 1;
        fits
    }

    fn is_in_contact(&self) -> bool {
        self.part == Some(Part::Contacts)
    }

    /// Into a part that has one entry.
    fn enter(&mut self, part: Part) -> bool {
        let fits = self.part < Some(part) && (part != Part::Profile || self.part.is_some());
        let begins = part == Part::Identity || self.part.is_some();
        self.part = self.part.max(Some(part));
        fits && begins
    }

    /// Into a part that has any number of entries.
    fn reach(&mut self, part: Part) -> bool {
        let fits = self.part >= Some(Part::Profile) && self.part <= Some(part);
        self.part = self.part.max(Some(part));
        fits
    }
}
