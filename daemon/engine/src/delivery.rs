//! Own messages: into the history and the outbox, to the peer, acknowledged (docs/protocol.md §7).

use kith_crypto::identity::ClientId;
use kith_crypto::wire::{self, Ack, BODY_BYTES_MAX, Frame, Message};

use crate::engine::{Engine, Pending, PendingLoad, Rng};
use crate::event::{Event, MessageState};
use crate::expiry::EXPIRY_S_MAX;
use crate::record::{ConversationId, Direction, Incarnation, MessageId, MessageRecord};
use crate::strand::{Lane, OUTBOX_MAX, Sent, WINDOW_MAX, conversation_bytes};
use crate::{CommitError, Expiring, LinkId, Load, LoadId, Loaded, NewMessage, Now, Op, Reply, RequestError, RequestId};

/// A caller's idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 64;
/// How long to wait for space before an acknowledgement is written again.
const STORAGE_RETRY_MS: u64 = 5_000;

impl Engine {
    pub(crate) fn send(
        &mut self,
        request: RequestId,
        conversation: ConversationId,
        message: NewMessage,
        now: Now,
        rng: Rng<'_>,
    ) -> Result<(), RequestError> {
        check(&message)?;
        let (to, incarnation) = match conversation {
            ConversationId::Direct(peer) => self.may_send_to_contact(peer)?,
            ConversationId::Room(room) => self.may_send_to_room(room)?,
        };
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        let id = MessageId(id);
        let ttl_s = message.ttl_s.or(self.expiry_of(conversation));
        let counters = self.counters(conversation).ok_or(RequestError::NotFound)?;
        counters.last_seq += 1;
        counters.sent_number += 1;
        let counters = counters.clone();
        let record = MessageRecord {
            seq: counters.last_seq,
            id,
            direction: Direction::Outgoing,
            number: counters.sent_number,
            incarnation,
            sent_utc_ms: now.utc_ms,
            clock_trusted: now.clock_trusted,
            done_utc_ms: 0,
            state: MessageState::Queued,
            content_type: message.content_type,
            reply_to: message.reply_to,
            ttl_s,
            body: message.body,
        };
        let claim = message.idempotency_key.map(|key| Op::ClaimKey { conversation, key, id });
        let (number, seq) = (record.number, record.seq);
        let waits = to.iter().map(|peer| Op::PutOutbox { conversation, peer: *peer, number, seq });
        let ops = claim
            .into_iter()
            .chain([Op::PutMessage(conversation, record.clone())])
            .chain(waits)
            .chain([Op::PutConversation(conversation, counters)])
            .collect();
        self.commit(ops, Pending::Sent { request, conversation, to, message: record });
        Ok(())
    }

    fn may_send_to_contact(&self, peer: ClientId) -> Result<(Vec<ClientId>, Incarnation), RequestError> {
        let contact = self.contacts.get(&peer).ok_or(RequestError::NotFound)?;
        if !contact.is_paired() {
            return Err(RequestError::NotPaired);
        }
        if contact.standing.blocked {
            return Err(RequestError::Blocked);
        }
        if contact.strand.outbox.count >= OUTBOX_MAX {
            return Err(RequestError::QuotaExceeded);
        }
        Ok((vec![peer], contact.record.incarnation))
    }

    /// A message survives a power cut from here.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn message_queued(
        &mut self,
        request: RequestId,
        conversation: ConversationId,
        to: Vec<ClientId>,
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
        self.notify(Event::MessageState { conversation, seq, id, state: MessageState::Queued });
        self.notify_conversation(conversation);
        if let ConversationId::Room(room) = conversation {
            self.message_waits(room, &message, &to);
        }
        for peer in to {
            self.transmit_queued(Lane { conversation, peer }, &message, now, rng);
        }
    }

    fn transmit_queued(&mut self, lane: Lane, message: &MessageRecord, now: Now, rng: Rng<'_>) {
        let link = self.open_link(lane);
        let Some(strand) = self.strand(lane) else { return };
        let outbox = &mut strand.outbox;
        outbox.count += 1;
        // A page that was read meanwhile has brought it already.
        if message.number <= outbox.sent_number {
            return;
        }
        let direct = link.is_some() && !outbox.backlog && outbox.loading.is_none() && outbox.has_room();
        match link {
            Some(link) if direct => self.transmit_message(link, lane, message, now, rng),
            _ => {
                outbox.backlog = true;
                outbox.grown = true;
                self.fill_window(lane);
            }
        }
    }

    fn transmit_message(&mut self, link: LinkId, lane: Lane, record: &MessageRecord, now: Now, rng: Rng<'_>) {
        let message = Message {
            id: record.id.0,
            conversation: conversation_bytes(lane.conversation),
            number: record.number,
            sent_utc_ms: record.sent_utc_ms,
            clock_trusted: record.clock_trusted,
            content_type: &record.content_type,
            reply_to: record.reply_to.map(|id| id.0),
            ttl_s: record.ttl_s,
            body: &record.body,
        };
        let sent = Sent { seq: record.seq, id: record.id, hash: message.hash(), ttl_s: record.ttl_s };
        if self.send_frame(link, &Frame::Message(message), now, rng)
            && let Some(strand) = self.strand(lane)
        {
            strand.outbox.sent.insert(record.number, sent);
            strand.outbox.sent_number = record.number;
            self.check_key(link, now, rng);
        }
    }

    /// Asks for the next page of the outbox, if there may be one and there is room for it.
    pub(crate) fn fill_window(&mut self, lane: Lane) {
        let open = self.open_link(lane).is_some();
        let Some(strand) = self.strand(lane) else { return };
        let outbox = &strand.outbox;
        // In large steps: at least half a window at a time.
        if !open || !outbox.backlog || outbox.loading.is_some() || outbox.sent.len() > WINDOW_MAX / 2 {
            return;
        }
        let Lane { conversation, peer } = lane;
        let count_max = WINDOW_MAX - outbox.sent.len();
        let load = Load::Outbox { conversation, peer, after: outbox.sent_number, count_max };
        let id = self.load(load, PendingLoad::Outbox { lane });
        if let Some(strand) = self.strand(lane) {
            strand.outbox.loading = Some(id);
            strand.outbox.grown = false;
        }
    }

    pub(crate) fn outbox_loaded(&mut self, lane: Lane, id: LoadId, loaded: Loaded, now: Now, rng: Rng<'_>) {
        let link = self.open_link(lane);
        let Some(strand) = self.strand(lane) else { return };
        // A page that was asked for in an earlier session is of no use.
        if strand.outbox.loading != Some(id) {
            return;
        }
        strand.outbox.loading = None;
        match (loaded, link) {
            (Loaded::Outbox(messages), Some(link)) => {
                if messages.is_empty() && !strand.outbox.grown {
                    strand.outbox.backlog = false;
                }
                for message in messages {
                    self.transmit_loaded(link, lane, &message, now, rng);
                }
                self.fill_window(lane);
            }
            (Loaded::Failed(why), Some(link)) => {
                self.trouble(lane.peer, &format!("Queued messages could not be read: {why}."));
                self.end_conn(link, now, rng);
            }
            (_, _) => {}
        }
    }

    fn transmit_loaded(&mut self, link: LinkId, lane: Lane, message: &MessageRecord, now: Now, rng: Rng<'_>) {
        let Some(strand) = self.strand(lane) else { return };
        let outbox = &mut strand.outbox;
        if message.number <= outbox.sent_number {
            return;
        }
        if outbox.delivering.contains_key(&message.number) {
            outbox.sent_number = message.number;
            return;
        }
        self.transmit_message(link, lane, message, now, rng);
    }

    /// The peer says that a message is on its disk.
    pub(crate) fn ack(&mut self, link: LinkId, ack: Ack, now: Now, rng: Rng<'_>) {
        let Some(peer) = self.conns.get(&link).map(|c| c.peer) else { return };
        let waiting = self.lanes_with(peer).into_iter().find_map(|lane| {
            let (number, sent) = self.strand(lane)?.outbox.sent.iter().find(|(_, sent)| sent.id.0 == ack.id)?;
            Some((lane, *number, *sent))
        });
        // Nothing waits for a repeated acknowledgement.
        let Some((lane, number, sent)) = waiting else { return };
        if sent.hash != ack.hash {
            return self.break_off(link, "it acknowledged a message that it was not sent", now, rng);
        }
        if let Some(strand) = self.strand(lane) {
            strand.outbox.sent.remove(&number);
            strand.outbox.delivering.insert(number, sent);
        }
        self.write_delivered(lane, number, sent, now);
        self.fill_window(lane);
    }

    fn write_delivered(&mut self, lane: Lane, number: u64, sent: Sent, now: Now) {
        let Lane { conversation, peer } = lane;
        let op = Op::Delivered { conversation, peer, number, seq: sent.seq, utc_ms: now.utc_ms };
        self.commit(vec![op], Pending::Delivered { lane, number, sent });
    }

    pub(crate) fn message_delivered(
        &mut self,
        lane: Lane,
        number: u64,
        sent: Sent,
        result: Result<(), CommitError>,
        now: Now,
    ) {
        let Some(strand) = self.strand(lane) else { return };
        if result.is_err() {
            strand.outbox.retry_at.get_or_insert(now.boot_ms.saturating_add(STORAGE_RETRY_MS));
            return;
        }
        if strand.outbox.delivering.remove(&number).is_none() {
            return;
        }
        strand.outbox.count = strand.outbox.count.saturating_sub(1);
        let conversation = lane.conversation;
        let by_all = match conversation {
            ConversationId::Direct(_) => true,
            ConversationId::Room(room) => self.waits_no_more(room, number, lane.peer),
        };
        if by_all {
            let (seq, id) = (sent.seq, sent.id);
            self.notify(Event::MessageState { conversation, seq, id, state: MessageState::Delivered });
            if let Some(ttl_s) = sent.ttl_s {
                self.will_expire(Expiring { conversation, seq, incoming: false, ttl_s, since_utc_ms: now.utc_ms }, now);
            }
        }
    }

    /// There may be space again.
    pub(crate) fn retry_delivered(&mut self, lane: Lane, now: Now) {
        let Some(strand) = self.strand(lane) else { return };
        strand.outbox.retry_at = None;
        for (number, sent) in strand.outbox.delivering.clone() {
            self.write_delivered(lane, number, sent, now);
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
    if message.ttl_s.is_some_and(|ttl_s| !(1..=EXPIRY_S_MAX).contains(&ttl_s)) {
        return Err(RequestError::InvalidArgument("a message disappears after one second to one year"));
    }
    if message.idempotency_key.as_ref().is_some_and(|key| key.is_empty() || key.len() > KEY_BYTES_MAX) {
        return Err(RequestError::InvalidArgument("an idempotency key has 1 to 64 bytes"));
    }
    Ok(())
}
