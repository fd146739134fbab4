//! The small requests: names, read marks, the inbox's cursors, removal.

use kith_crypto::identity::{self, ClientId};

use crate::engine::{Engine, NAME_BYTES_MAX, Pending, PendingLoad, Rng};
use crate::event::Event;
use crate::pairing::cleaned_name;
use crate::record::ProfileRecord;
use crate::{CommitError, Load, Loaded, Now, Op, Reply, RequestError, RequestId, SignalOut};

/// The name of a consumer of the inbox, in bytes.
const CONSUMER_BYTES_MAX: usize = 64;

impl Engine {
    pub(crate) fn mark_read(&mut self, request: RequestId, peer: ClientId, seq: u64) -> Result<(), RequestError> {
        let conversation = &self.contacts.get(&peer).ok_or(RequestError::NotFound)?.conversation;
        if seq <= conversation.read_seq {
            self.reply(request, Ok(Reply::Done));
        } else {
            let seq = seq.min(conversation.last_seq);
            self.load(Load::Unread { peer, after: seq }, PendingLoad::Unread { request, peer, seq });
        }
        Ok(())
    }

    pub(crate) fn unread_counted(&mut self, request: RequestId, peer: ClientId, seq: u64, loaded: Loaded) {
        let Some(contact) = self.contacts.get(&peer) else { return self.reply(request, Err(RequestError::NotFound)) };
        match loaded {
            Loaded::Unread(unread) => {
                let mut conversation = contact.conversation.clone();
                conversation.read_seq = conversation.read_seq.max(seq);
                conversation.unread = unread;
                let op = Op::PutConversation(peer, conversation);
                self.commit(vec![op], Pending::Read { request, peer, seq, unread });
            }
            Loaded::Failed(why) => self.reply(request, Err(RequestError::Storage(why))),
            Loaded::Outbox(_) | Loaded::Message(_) => self.reply(request, Err(RequestError::Storage("wrong answer".into()))),
        }
    }

    pub(crate) fn read_written(
        &mut self,
        request: RequestId,
        peer: ClientId,
        seq: u64,
        unread: u64,
        result: Result<(), CommitError>,
    ) {
        if result.is_ok()
            && let Some(contact) = self.contacts.get_mut(&peer)
        {
            contact.conversation.read_seq = contact.conversation.read_seq.max(seq);
            contact.conversation.unread = unread;
            self.notify_peer(peer);
        }
        self.reply(request, result.map(|()| Reply::Done).map_err(RequestError::from));
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
        let mut record = self.contacts.get(&peer).ok_or(RequestError::NotFound)?.record.clone();
        record.name.clone_from(&name);
        self.commit(vec![Op::PutContact(record)], Pending::Renamed { request, peer, name });
        Ok(())
    }

    pub(crate) fn renamed(&mut self, request: RequestId, peer: ClientId, name: String, result: Result<(), CommitError>) {
        if result.is_ok()
            && let Some(contact) = self.contacts.get_mut(&peer)
        {
            contact.record.name = name;
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
        if result.is_ok() && self.contacts.remove(&peer).is_some() {
            let links: Vec<_> = self.conns.iter().filter(|(_, c)| c.peer == peer).map(|(l, _)| *l).collect();
            for link in links {
                self.end_conn(link, "the contact was removed", now, rng);
            }
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

    pub(crate) fn profile_written(&mut self, request: RequestId, profile: ProfileRecord, result: Result<(), CommitError>) {
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

fn checked_name(name: &str) -> Result<String, RequestError> {
    let cleaned = cleaned_name(name);
    if cleaned.is_empty() || cleaned != name.trim() {
        return Err(RequestError::InvalidArgument(const { assert!(NAME_BYTES_MAX == 64); "a name has 1 to 64 bytes and no control characters" }));
    }
    Ok(cleaned)
}
