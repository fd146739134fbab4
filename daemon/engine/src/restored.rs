//! After a restoring, on both sides (docs/protocol.md §7): what a restored device sends again is
//! recognised by its id, and what it has lost is counted.

use kith_crypto::wire;

use crate::engine::{Engine, Pending, PendingLoad, Rng};
use crate::record::{ContactRecord, ConversationId, Incarnation, MessageId, MessageRecord, MissingRecord};
use crate::strand::{Inbounded, Lane, Strand};
use crate::{CommitError, CommitId, Load, Loaded, Now, Op};

impl ContactRecord {
    /// The contact, on a device that is restored from a backup: its count of own messages goes on
    /// under a new name, which must be random.
    pub fn restored(self, incarnation: Incarnation) -> Self {
        Self { incarnation, ..self }
    }
}

impl MissingRecord {
    /// The record, on a device that is restored: the contact's next message tells how many came
    /// after the backup.
    pub fn restored(self) -> Self {
        Self { watching: true, ..self }
    }
}

impl Strand {
    /// Whether the peer's store has had other incarnations: then a message may be here already. In a
    /// room it always may: a member that was removed and came back counts anew.
    pub(crate) fn may_know(&self, conversation: ConversationId, incarnation: Incarnation) -> bool {
        matches!(conversation, ConversationId::Room(_)) || self.marks.iter().any(|mark| mark.incarnation != incarnation)
    }

    /// What is missing once these messages are here. Numbers count without gaps while nobody is
    /// restored, so the first message after a restoring shows how many were lost with the old
    /// device. Where nothing had come before the backup, all numbers below it were. Under an incarnation
    /// that is not known beside others the number says nothing.
    pub(crate) fn missing_with(&self, messages: &[Inbounded]) -> MissingRecord {
        let (true, Some(first)) = (self.missing.watching, messages.first()) else { return self.missing };
        let mark = self.marks.iter().find(|mark| mark.incarnation == first.incarnation).map(|mark| mark.number);
        let before = mark.or(self.marks.is_empty().then_some(0));
        let lost = before.map_or(0, |before| first.number.saturating_sub(before).saturating_sub(1));
        MissingRecord { watching: false, count: self.missing.count.saturating_add(lost) }
    }
}

/// Whether a stored message is the one that came, by all that the hash covers.
pub(crate) fn is_same(stored: &MessageRecord, number: u64, hash: &[u8; 32]) -> bool {
    stored.direction.is_incoming()
        && stored.number == number
        && wire::message_hash(&stored.id.0, stored.number, &stored.content_type, &stored.body) == *hash
}

impl Engine {
    /// The store has a message with an id that came under a new incarnation: it is looked up.
    /// Nothing else from this peer is written meanwhile. Gives the messages back if that is no way.
    pub(crate) fn look_up_twin(
        &mut self,
        lane: Lane,
        commit: CommitId,
        messages: Vec<Inbounded>,
        result: &Result<(), CommitError>,
    ) -> Result<(), Vec<Inbounded>> {
        let Some((counters, strand)) = self.lane(lane) else { return Err(messages) };
        let Err(CommitError::Conflict(id)) = result else { return Err(messages) };
        if !messages.iter().all(|message| strand.may_know(lane.conversation, message.incarnation)) {
            return Err(messages);
        }
        counters.unread = counters.unread.saturating_sub(count_new(&messages));
        strand.inbound.committing = messages;
        strand.inbound.commit = Some(commit);
        let Lane { conversation, peer } = lane;
        let load = Load::Message { conversation, peer, id: *id };
        self.load(load, PendingLoad::Twin { lane, id: *id });
        Ok(())
    }

    /// What the store has under that id: the same message is acknowledged again with the next
    /// commit, and not stored twice; anything else ends the session.
    pub(crate) fn twin_loaded(&mut self, lane: Lane, id: MessageId, loaded: Loaded, now: Now, rng: Rng<'_>) {
        let Some((counters, strand)) = self.lane(lane) else { return };
        strand.inbound.commit = None;
        let mut messages = core::mem::take(&mut strand.inbound.committing);
        let twin = messages.iter_mut().find(|message| message.id == id && !message.known);
        match (twin, loaded) {
            (Some(twin), Loaded::Message(Some(stored))) if is_same(&stored, twin.number, &twin.hash) => {
                twin.known = true;
                messages.append(&mut strand.inbound.waiting);
                strand.inbound.waiting = messages;
                self.commit_received(lane);
            }
            // It has disappeared since: it does not come back.
            (Some(twin), Loaded::Gone { number }) if number == twin.number => {
                twin.known = true;
                messages.append(&mut strand.inbound.waiting);
                strand.inbound.waiting = messages;
                self.commit_received(lane);
            }
            (_, _) => {
                strand.inbound.waiting.clear();
                let op = Op::PutConversation(lane.conversation, counters.clone());
                self.commit(vec![op], Pending::Seen);
                if let Some(link) = self.session_with(lane.peer) {
                    self.break_off(link, "it sent another message under the id of an earlier one", now, rng);
                }
            }
        }
    }

    /// Tells a person what was lost.
    pub(crate) fn tell_missing(&mut self, lane: Lane, before: MissingRecord) {
        let Some(after) = self.strand(lane).map(|strand| strand.missing) else { return };
        let peer = lane.peer;
        match after.count.saturating_sub(before.count) {
            0 => {}
            1 => self
                .trouble(peer, "One message of this contact came after the backup and is missing: ask for it again."),
            lost => self.trouble(
                peer,
                &format!("{lost} messages of this contact came after the backup and are missing: ask for them again."),
            ),
        }
    }
}

/// How many of these messages the store does not have.
pub(crate) fn count_new(messages: &[Inbounded]) -> u64 {
    messages.iter().filter(|message| !message.known).count() as u64
}
