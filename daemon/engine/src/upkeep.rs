//! The small requests: names, read marks, the inbox's cursors, removal.

use kith_crypto::identity::{self, ClientId};
use kith_crypto::wire::NAME_BYTES_MAX;

use crate::connect::new_incarnation;
use crate::contact::Contact;
use crate::engine::{Engine, Pending, PendingLoad, Rng};
use crate::event::Event;
use crate::record::{ContactRecord, ConversationId, ProfileRecord};
use crate::roster::introduced_record;
use crate::strand::Strand;
use crate::{CommitError, Load, Loaded, Now, Op, Reply, RequestError, RequestId, SignalOut};

/// The name of a consumer of the inbox, in bytes.
const CONSUMER_BYTES_MAX: usize = 64;

impl Engine {
    pub(crate) fn mark_read(
        &mut self,
        request: RequestId,
        conversation: ConversationId,
        seq: u64,
    ) -> Result<(), RequestError> {
        let counters = self.counters(conversation).ok_or(RequestError::NotFound)?;
        let (from, last_seq) = (counters.read_seq, counters.last_seq);
        // What is not on disk yet nobody can have read.
        let on_its_way = self.first_on_its_way(conversation).map(|seq| seq.saturating_sub(1));
        let seq = seq.min(on_its_way.unwrap_or(last_seq));
        if seq <= from {
            self.reply(request, Ok(Reply::Done));
        } else {
            self.load(
                Load::Received { conversation, after: from, up_to: seq },
                PendingLoad::Read { request, conversation, from, seq },
            );
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn read_counted(
        &mut self,
        request: RequestId,
        conversation: ConversationId,
        from: u64,
        seq: u64,
        loaded: Loaded,
        now: Now,
        rng: Rng<'_>,
    ) {
        let Some(counters) = self.counters(conversation) else {
            return self.reply(request, Err(RequestError::NotFound));
        };
        let (count, newest) = match loaded {
            Loaded::Received(count, newest) => (count, newest),
            Loaded::Failed(why) => return self.reply(request, Err(RequestError::Storage(why))),
            Loaded::Outbox(_) | Loaded::Message(_) | Loaded::Gone { .. } | Loaded::Expiring(..) => {
                return self.reply(request, Err(RequestError::NotFound));
            }
        };
        if counters.read_seq != from {
            // Another request was quicker; count again from where it left.
            if let Err(error) = self.mark_read(request, conversation, seq) {
                self.reply(request, Err(error));
            }
            return;
        }
        counters.read_seq = seq;
        counters.unread = counters.unread.saturating_sub(count);
        let mut ops = vec![Op::PutConversation(conversation, counters.clone())];
        ops.extend(self.note_read(conversation, newest, now, rng));
        self.commit(ops, Pending::Done { request });
        self.notify_conversation(conversation);
    }

    /// The place of the first received message that is not on disk yet.
    fn first_on_its_way(&self, conversation: ConversationId) -> Option<u64> {
        let first = |strand: &Strand| strand.inbound.committing.iter().find(|m| !m.known).map(|m| m.message.seq);
        match conversation {
            ConversationId::Direct(peer) => first(&self.contacts.get(&peer)?.strand),
            ConversationId::Room(room) => self.rooms.get(&room)?.strands.values().filter_map(first).min(),
        }
    }

    pub(crate) fn ack_inbox(&mut self, request: RequestId, consumer: String, seq: u64) -> Result<(), RequestError> {
        if consumer.is_empty() || consumer.len() > CONSUMER_BYTES_MAX {
            return Err(RequestError::InvalidArgument("a consumer's name has 1 to 64 bytes"));
        }
        if seq > self.inbox_seq {
            return Err(RequestError::InvalidArgument("the inbox does not reach so far"));
        }
        self.commit(vec![Op::PutCursor { consumer, inbox_seq: seq }], Pending::Done { request });
        Ok(())
    }

    pub(crate) fn rename(&mut self, request: RequestId, peer: ClientId, name: String) -> Result<(), RequestError> {
        let name = checked_name(&name)?;
        if self.is_removing(peer) {
            return Err(RequestError::NotFound);
        }
        let contact = self.contacts.get_mut(&peer).filter(|contact| !contact.is_introduced());
        let record = &mut contact.ok_or(RequestError::NotFound)?.record;
        // In memory at once, so that whatever else writes the contact meanwhile writes this name.
        let before = core::mem::replace(&mut record.name, name);
        let op = Op::PutContact(record.clone());
        self.commit(vec![op], Pending::Renamed { request, peer, before });
        Ok(())
    }

    pub(crate) fn renamed(
        &mut self,
        request: RequestId,
        peer: ClientId,
        before: String,
        result: Result<(), CommitError>,
    ) {
        if let Some(contact) = self.contacts.get_mut(&peer) {
            if result.is_err() {
                contact.record.name = before;
            }
            self.notify_peer(peer);
        }
        self.reply(request, result.map(|()| Reply::Done).map_err(RequestError::from));
    }

    pub(crate) fn remove(&mut self, request: RequestId, peer: ClientId, rng: Rng<'_>) -> Result<(), RequestError> {
        if self.contacts.get(&peer).is_none_or(Contact::is_introduced) {
            return Err(RequestError::NotFound);
        }
        self.forget_contact(Some(request), peer, rng);
        Ok(())
    }

    /// Forgets a contact. A room that both are in still needs to know the device.
    pub(crate) fn forget_contact(&mut self, request: Option<RequestId>, peer: ClientId, rng: Rng<'_>) {
        let card = self.contacts.get(&peer).map(|contact| contact.record.card.clone());
        let introduced =
            card.filter(|_| self.shares_a_room(peer)).map(|card| introduced_record(&card, "", new_incarnation(rng)));
        let mut ops = vec![Op::RemoveContact(peer)];
        ops.extend(introduced.clone().map(Op::PutContact));
        self.commit(ops, Pending::Removed { request, peer, introduced });
    }

    pub(crate) fn removed(
        &mut self,
        request: Option<RequestId>,
        peer: ClientId,
        introduced: Option<ContactRecord>,
        result: Result<(), CommitError>,
        now: Now,
        rng: Rng<'_>,
    ) {
        if result.is_ok() && self.contacts.contains_key(&peer) {
            self.fail_pairings_with(peer, "The contact was removed while the devices paired.", rng);
            self.contacts.remove(&peer);
            self.forget_expiring(peer.into());
            self.end_conns_with(peer, now, rng);
            self.signal(SignalOut::Watch { add: Vec::new(), remove: vec![peer] });
            self.notify(Event::PeerRemoved(peer));
            if let Some(record) = introduced {
                self.meet_device(record, now, rng);
            }
        }
        if let Some(request) = request {
            self.reply(request, result.map(|()| Reply::Done).map_err(RequestError::from));
        }
    }

    pub(crate) fn set_display_name(&mut self, request: RequestId, name: String) -> Result<(), RequestError> {
        let display_name = checked_name(&name)?;
        let profile = ProfileRecord { display_name, ..self.profile.clone() };
        self.commit(vec![Op::PutProfile(profile.clone())], Pending::Profile { request, profile });
        Ok(())
    }

    pub(crate) fn profile_written(
        &mut self,
        request: RequestId,
        profile: ProfileRecord,
        result: Result<(), CommitError>,
    ) {
        if result.is_ok() {
            self.profile = profile;
            self.notify(Event::DisplayName(self.profile.display_name.clone()));
        }
        self.reply(request, result.map(|()| Reply::Done).map_err(RequestError::from));
    }

    pub(crate) fn safety_number(&mut self, request: RequestId, peer: ClientId) -> Result<(), RequestError> {
        let contact = self.contacts.get(&peer).ok_or(RequestError::NotFound)?;
        let digits = identity::safety_number(self.identity.public(), contact.record.card.identity());
        self.reply(request, Ok(Reply::SafetyNumber(digits.as_str().to_owned())));
        Ok(())
    }
}

/// A name as it may be stored: without white space around it.
///
/// # Errors
/// Empty, longer than [`NAME_BYTES_MAX`] bytes, or with control characters.
pub fn checked_name(name: &str) -> Result<String, RequestError> {
    let cleaned = cleaned_name(name);
    if cleaned.is_empty() || cleaned != name.trim() {
        return Err(RequestError::InvalidArgument("a name has 1 to 64 bytes and no control characters"));
    }
    Ok(cleaned)
}

/// A name as it may be shown: no control characters, not too long.
pub(crate) fn cleaned_name(name: &str) -> String {
    let mut cleaned = String::new();
    for character in name.trim().chars().filter(|c| !c.is_control()) {
        if cleaned.len() + character.len_utf8() > NAME_BYTES_MAX {
            break;
        }
        cleaned.push(character);
    }
    cleaned
}
