//! Messages: out of the outbox, into the history, acknowledged (docs/protocol.md §7).

use kith_crypto::identity::ClientId;
use kith_crypto::wire::{self, Ack, BODY_BYTES_MAX, Frame, Message};

use crate::contact::{INBOUND_MAX, Inbounded, OUTBOX_MAX, Sent, WINDOW_MAX};
use crate::engine::{Engine, Pending, PendingLoad, Rng, inbox_ops};
use crate::event::{Event, MessageState};
use crate::record::{Direction, MessageId, MessageRecord};
use crate::restored::{count_new, is_same};
use crate::{CommitError, CommitId, LinkId, Load, LoadId, Loaded, NewMessage, Now, Op, Reply, RequestError, RequestId};

/// The conversation between two devices has no name of its own.
const DIRECT: [u8; 16] = [0; 16];
/// A caller's idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 64;
/// How long to wait for space before an acknowledgement is written again.
const STORAGE_RETRY_MS: u64 = 5_000;

impl Engine {
    pub(crate) fn send(
        &mut self,
        request: RequestId,
        peer: ClientId,
        message: NewMessage,
        now: Now,
        rng: Rng<'_>,
    ) -> Result<(), RequestError> {
        check(&message)?;
        let contact = self.contacts.get_mut(&peer).ok_or(RequestError::NotFound)?;
        if !contact.is_paired() {
            return Err(RequestError::NotPaired);
        }
        if contact.standing.blocked {
            return Err(RequestError::Blocked);
        }
        if contact.outbox.count >= OUTBOX_MAX {
            return Err(RequestError::QuotaExceeded);
        }
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        let id = MessageId(id);
        let incarnation = contact.record.incarnation;
        contact.conversation.last_seq += 1;
        contact.conversation.sent_number += 1;
        let record = MessageRecord {
            seq: contact.conversation.last_seq,
            id,
            direction: Direction::Outgoing,
            number: contact.conversation.sent_number,
            incarnation,
            sent_utc_ms: now.utc_ms,
            clock_trusted: now.clock_trusted,
            done_utc_ms: 0,
            state: MessageState::Queued,
            content_type: message.content_type,
            reply_to: message.reply_to,
            ttl_s: message.ttl_s,
            body: message.body,
        };
        let claim = message.idempotency_key.map(|key| Op::ClaimKey { peer, key, id });
        let ops = claim.into_iter().chain([
            Op::PutMessage(peer, record.clone()),
            Op::PutOutbox { peer, number: record.number, seq: record.seq },
            Op::PutConversation(peer, contact.conversation.clone()),
        ]);
        let ops = ops.collect();
        self.commit(ops, Pending::Sent { request, peer, message: record });
        Ok(())
    }

    /// A message survives a power cut from here.
    pub(crate) fn message_queued(
        &mut self,
        request: RequestId,
        peer: ClientId,
        message: MessageRecord,
        result: Result<(), CommitError>,
        now: Now,
        rng: Rng<'_>,
    ) {
        match result {
            Ok(()) => {}
            Err(CommitError::Repeated(earlier)) => return self.reply(request, Ok(Reply::Message(earlier))),
            Err(error) => return self.reply(request, Err(error.into())),
        }
        self.reply(request, Ok(Reply::Message(message.id)));
        let (seq, id) = (message.seq, message.id);
        self.notify(Event::MessageState { peer, seq, id, state: MessageState::Queued });
        self.notify_peer(peer);
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        contact.outbox.count += 1;
        let outbox = &mut contact.outbox;
        // A page that was read meanwhile has brought it already.
        if message.number <= outbox.sent_number {
            return;
        }
        let link = contact.current;
        let direct = link.is_some() && !outbox.backlog && outbox.loading.is_none() && outbox.has_room();
        match link {
            Some(link) if direct => self.transmit_message(link, peer, &message, now, rng),
            _ => {
                outbox.backlog = true;
                outbox.grown = true;
                self.fill_window(peer);
            }
        }
    }

    fn transmit_message(&mut self, link: LinkId, peer: ClientId, record: &MessageRecord, now: Now, rng: Rng<'_>) {
        let message = Message {
            id: record.id.0,
            conversation: DIRECT,
            number: record.number,
            sent_utc_ms: record.sent_utc_ms,
            clock_trusted: record.clock_trusted,
            content_type: &record.content_type,
            reply_to: record.reply_to.map(|id| id.0),
            ttl_s: record.ttl_s,
            body: &record.body,
        };
        let sent = Sent { seq: record.seq, id: record.id, hash: message.hash() };
        if self.send_frame(link, &Frame::Message(message), now, rng)
            && let Some(contact) = self.contacts.get_mut(&peer)
        {
            contact.outbox.sent.insert(record.number, sent);
            contact.outbox.sent_number = record.number;
            self.check_key(link, now, rng);
        }
    }

    /// Asks for the next page of the outbox, if there may be one and there is room for it.
    pub(crate) fn fill_window(&mut self, peer: ClientId) {
        let Some(contact) = self.contacts.get(&peer) else { return };
        let outbox = &contact.outbox;
        let wanted = contact.current.is_some() && contact.is_paired() && outbox.backlog && outbox.loading.is_none();
        // In large steps: at least half a window at a time.
        if !wanted || outbox.sent.len() > WINDOW_MAX / 2 {
            return;
        }
        let load = Load::Outbox { peer, after: outbox.sent_number, count_max: WINDOW_MAX - outbox.sent.len() };
        let id = self.load(load, PendingLoad::Outbox { peer });
        if let Some(contact) = self.contacts.get_mut(&peer) {
            contact.outbox.loading = Some(id);
            contact.outbox.grown = false;
        }
    }

    pub(crate) fn outbox_loaded(&mut self, peer: ClientId, id: LoadId, loaded: Loaded, now: Now, rng: Rng<'_>) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        // A page that was asked for in an earlier session is of no use.
        if contact.outbox.loading != Some(id) {
            return;
        }
        contact.outbox.loading = None;
        let link = contact.current;
        match (loaded, link) {
            (Loaded::Outbox(messages), Some(link)) => {
                if messages.is_empty() && !contact.outbox.grown {
                    contact.outbox.backlog = false;
                }
                for message in messages {
                    self.transmit_loaded(link, peer, &message, now, rng);
                }
                self.fill_window(peer);
            }
            (Loaded::Failed(why), Some(link)) => {
                self.trouble(peer, &format!("Queued messages could not be read: {why}."));
                self.end_conn(link, now, rng);
            }
            (_, _) => {}
        }
    }

    fn transmit_loaded(&mut self, link: LinkId, peer: ClientId, message: &MessageRecord, now: Now, rng: Rng<'_>) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        let outbox = &mut contact.outbox;
        if message.number <= outbox.sent_number {
            return;
        }
        if outbox.delivering.contains_key(&message.number) {
            outbox.sent_number = message.number;
            return;
        }
        self.transmit_message(link, peer, message, now, rng);
    }

    /// The peer says that a message is on its disk.
    pub(crate) fn ack(&mut self, link: LinkId, ack: Ack, now: Now, rng: Rng<'_>) {
        let Some(peer) = self.conns.get(&link).map(|c| c.peer) else { return };
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        let waiting = contact.outbox.sent.iter().find(|(_, sent)| sent.id.0 == ack.id);
        // Nothing waits for a repeated acknowledgement.
        let Some((&number, &sent)) = waiting else { return };
        if sent.hash != ack.hash {
            return self.break_off(link, "it acknowledged a message that it was not sent", now, rng);
        }
        contact.outbox.sent.remove(&number);
        contact.outbox.delivering.insert(number, sent);
        self.write_delivered(peer, number, sent, now);
        self.fill_window(peer);
    }

    fn write_delivered(&mut self, peer: ClientId, number: u64, sent: Sent, now: Now) {
        let op = Op::Delivered { peer, number, seq: sent.seq, utc_ms: now.utc_ms };
        self.commit(vec![op], Pending::Delivered { peer, number, sent });
    }

    pub(crate) fn message_delivered(
        &mut self,
        peer: ClientId,
        number: u64,
        sent: Sent,
        result: Result<(), CommitError>,
        now: Now,
    ) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        if result.is_err() {
            contact.outbox.retry_at.get_or_insert(now.boot_ms.saturating_add(STORAGE_RETRY_MS));
            return;
        }
        if contact.outbox.delivering.remove(&number).is_some() {
            contact.outbox.count = contact.outbox.count.saturating_sub(1);
            self.notify(Event::MessageState { peer, seq: sent.seq, id: sent.id, state: MessageState::Delivered });
        }
    }

    /// There may be space again.
    pub(crate) fn retry_delivered(&mut self, peer: ClientId, now: Now) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        contact.outbox.retry_at = None;
        for (number, sent) in contact.outbox.delivering.clone() {
            self.write_delivered(peer, number, sent, now);
        }
    }

    /// A message from the peer.
    pub(crate) fn message(&mut self, link: LinkId, message: &Message<'_>, now: Now, rng: Rng<'_>) {
        let Some(conn) = self.conns.get(&link) else { return };
        let (peer, Some(incarnation)) = (conn.peer, conn.incarnation) else { return };
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        if message.conversation != DIRECT || message.number == 0 {
            return self.break_off(link, "it sent a message to a conversation that is not there", now, rng);
        }
        let hash = message.hash();
        let id = MessageId(message.id);
        if message.number <= contact.high_water(incarnation) {
            return self.repeat(link, peer, message.number, id, hash, now, rng);
        }
        if contact.inbound.len() >= INBOUND_MAX {
            return self.break_off(link, "it sent more messages than the window allows", now, rng);
        }
        contact.inbound.waiting.push(Inbounded {
            incarnation,
            number: message.number,
            id,
            hash,
            known: false,
            message: MessageRecord {
                seq: 0,
                id,
                direction: Direction::Incoming,
                number: message.number,
                incarnation,
                sent_utc_ms: message.sent_utc_ms,
                clock_trusted: message.clock_trusted,
                done_utc_ms: now.utc_ms,
                state: MessageState::Delivered,
                content_type: message.content_type.to_owned(),
                reply_to: message.reply_to.map(MessageId),
                ttl_s: message.ttl_s,
                body: message.body.to_vec(),
            },
        });
        self.commit_received(peer);
    }

    /// Writes what has come in, unless a commit for this peer is under way.
    pub(crate) fn commit_received(&mut self, peer: ClientId) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        if contact.inbound.commit.is_some() || contact.inbound.waiting.is_empty() {
            return;
        }
        let mut messages = core::mem::take(&mut contact.inbound.waiting);
        let mut ops = Vec::with_capacity(messages.len() * 3 + 2);
        for message in messages.iter_mut().filter(|message| !message.known) {
            contact.conversation.last_seq += 1;
            contact.conversation.unread += 1;
            self.inbox_seq += 1;
            message.message.seq = contact.conversation.last_seq;
            ops.extend(inbox_ops(peer, self.inbox_seq, message));
            // The body is in the commit now. It is needed again only if the store should turn out to
            // have some of these messages already.
            if !contact.may_know(message.incarnation) {
                message.message.body = Vec::new();
            }
        }
        ops.push(Op::PutMarks(peer, contact.marks_with(messages.iter())));
        ops.push(Op::PutConversation(peer, contact.conversation.clone()));
        let missing = contact.missing_with(&messages);
        if missing != contact.missing {
            ops.push(Op::PutMissing(peer, missing));
        }
        contact.inbound.first_inbox_seq = self.inbox_seq + 1 - count_new(&messages);
        contact.inbound.committing = messages;
        let id = self.commit(ops, Pending::Received { peer });
        if let Some(contact) = self.contacts.get_mut(&peer) {
            contact.inbound.commit = Some(id);
        }
    }

    /// Received messages are on disk: acknowledge and tell; then go on with what came meanwhile.
    pub(crate) fn messages_received(
        &mut self,
        peer: ClientId,
        id: CommitId,
        result: Result<(), CommitError>,
        now: Now,
        rng: Rng<'_>,
    ) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        contact.inbound.commit = None;
        let messages = core::mem::take(&mut contact.inbound.committing);
        let Err(messages) = self.look_up_twin(peer, id, messages, &result) else { return };
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        if let Err(error) = result {
            contact.conversation.unread = contact.conversation.unread.saturating_sub(count_new(&messages));
            contact.inbound.waiting.clear();
            // Another commit may have carried the counters of messages that are not there.
            let op = Op::PutConversation(peer, contact.conversation.clone());
            let link = contact.current;
            self.commit(vec![op], Pending::Seen);
            self.trouble(peer, &format!("Messages could not be stored and stay with the sender: {error}."));
            if let Some(link) = link {
                self.end_conn(link, now, rng);
            }
            return;
        }
        let before = contact.missing;
        contact.missing = contact.missing_with(&messages);
        contact.marks = contact.marks_with(messages.iter());
        let (link, mut inbox_seq) = (contact.current, contact.inbound.first_inbox_seq);
        for message in &messages {
            if let Some(link) = link {
                self.send_frame(link, &Frame::Ack(Ack { id: message.id.0, hash: message.hash }), now, rng);
            }
            if !message.known {
                let (seq, id) = (message.message.seq, message.id);
                self.notify(Event::Received { peer, seq, inbox_seq, id });
                inbox_seq += 1;
            }
        }
        self.tell_missing(peer, before);
        if let Some(link) = link {
            self.check_key(link, now, rng);
        }
        self.notify_peer(peer);
        self.commit_received(peer);
    }

    /// A number that was taken before: acknowledged again if it is the same message.
    #[allow(clippy::too_many_arguments)]
    fn repeat(
        &mut self,
        link: LinkId,
        peer: ClientId,
        number: u64,
        id: MessageId,
        hash: [u8; 32],
        now: Now,
        rng: Rng<'_>,
    ) {
        let Some(conn) = self.conns.get_mut(&link) else { return };
        let Some(incarnation) = conn.incarnation else { return };
        let on_its_way = self.contacts.get(&peer).and_then(|c| c.inbound.find(incarnation, number));
        match on_its_way {
            // It will be acknowledged when it is on disk.
            Some(message) if message.id == id && message.hash == hash => {}
            Some(_) => self.break_off(link, "it sent another message under the same number", now, rng),
            None if conn.lookups >= INBOUND_MAX => {
                self.break_off(link, "it sent more messages than the window allows", now, rng);
            }
            None => {
                conn.lookups += 1;
                self.load(Load::Message { peer, id }, PendingLoad::Repeat { link, number, id, hash });
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn repeat_loaded(
        &mut self,
        link: LinkId,
        number: u64,
        id: MessageId,
        hash: [u8; 32],
        loaded: Loaded,
        now: Now,
        rng: Rng<'_>,
    ) {
        let Some(conn) = self.conns.get_mut(&link) else { return };
        conn.lookups = conn.lookups.saturating_sub(1);
        let Loaded::Message(stored) = loaded else {
            // Unanswered, it would keep its place in the sender's window for ever.
            return self.break_off(link, "a message could not be looked up in the store", now, rng);
        };
        // A restored sender repeats under a new incarnation what is stored under an earlier one.
        if stored.is_some_and(|stored| is_same(&stored, number, &hash)) {
            self.send_frame(link, &Frame::Ack(Ack { id: id.0, hash }), now, rng);
        } else {
            self.break_off(link, "it sent another message under the same number", now, rng);
        }
    }
}

fn check(message: &NewMessage) -> Result<(), RequestError> {
    if message.body.len() > BODY_BYTES_MAX {
        return Err(RequestError::TooLarge);
    }
    let content_type = &message.content_type;
    if !wire::is_content_type(content_type) {
        return Err(RequestError::InvalidArgument(
            "a content type looks like text/plain, without parameters, and has at most 64 bytes",
        ));
    }
    if message.idempotency_key.as_ref().is_some_and(|key| key.is_empty() || key.len() > KEY_BYTES_MAX) {
        return Err(RequestError::InvalidArgument("an idempotency key has 1 to 64 bytes"));
    }
    Ok(())
}
