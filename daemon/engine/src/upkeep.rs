//! The small requests: names, read marks, the inbox's cursors, removal.

use kith_crypto::identity::{self, ClientId};
use kith_crypto::wire::NAME_BYTES_MAX;

use crate::engine::{Engine, Pending, PendingLoad, Rng};
use crate::event::Event;
use crate::record::ProfileRecord;
use crate::{CommitError, Load, Loaded, Now, Op, Reply, RequestError, RequestId, SignalOut};

/// The name of a consumer of the inbox, in bytes.
const CONSUMER_BYTES_MAX: usize = 64;

impl Engine {
    pub(crate) fn mark_read(&mut self, request: RequestId, peer: ClientId, seq: u64) -> Result<(), RequestError> {
        let contact = self.contacts.get(&peer).ok_or(RequestError::NotFound)?;
        let from = contact.conversation.read_seq;
        // What is not on disk yet nobody can have read.
        let on_its_way = contact.inbound.committing.first().map(|m| m.message.seq.saturating_sub(1));
        let seq = seq.min(on_its_way.unwrap_or(contact.conversation.last_seq));
        if seq <= from {
            self.reply(request, Ok(Reply::Done));
        } else {
            self.load(
                Load::CountReceived { peer, after: from, up_to: seq },
                PendingLoad::Read { request, peer, from, seq },
            );
        }
        Ok(())
    }

    pub(crate) fn read_counted(&mut self, request: RequestId, peer: ClientId, from: u64, seq: u64, loaded: Loaded) {
        let Some(contact) = self.contacts.get_mut(&peer) else {
            return self.reply(request, Err(RequestError::NotFound));
        };
        let count = match loaded {
            Loaded::Count(count) => count,
            Loaded::Failed(why) => return self.reply(request, Err(RequestError::Storage(why))),
            Loaded::Outbox(_) | Loaded::Message(_) => return self.reply(request, Err(RequestError::NotFound)),
        };
        if contact.conversation.read_seq != from {
            // Another request was quicker; count again from where it left.
            if let Err(error) = self.mark_read(request, peer, seq) {
                self.reply(request, Err(error));
            }
            return;
        }
        contact.conversation.read_seq = seq;
        contact.conversation.unread = contact.conversation.unread.saturating_sub(count);
        let op = Op::PutConversation(peer, contact.conversation.clone());
        self.commit(vec![op], Pending::Done { request });
        self.notify_peer(peer);
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
        let record = &mut self.contacts.get_mut(&peer).ok_or(RequestError::NotFound)?.record;
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

    pub(crate) fn remove(&mut self, request: RequestId, peer: ClientId) -> Result<(), RequestError> {
        if !self.contacts.contains_key(&peer) {
            return Err(RequestError::NotFound);
        }
        self.commit(vec![Op::RemoveContact(peer)], Pending::Removed { request: Some(request), peer });
        Ok(())
    }

    pub(crate) fn removed(
        &mut self,
        request: Option<RequestId>,
        peer: ClientId,
        result: Result<(), CommitError>,
        now: Now,
        rng: Rng<'_>,
    ) {
        if result.is_ok() && self.contacts.contains_key(&peer) {
            self.fail_pairings_with(peer, "The contact was removed while the devices paired.", rng);
            self.contacts.remove(&peer);
            self.end_conns_with(peer, now, rng);
            self.signal(SignalOut::Watch { add: Vec::new(), remove: vec![peer] });
            self.notify(Event::PeerRemoved(peer));
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
