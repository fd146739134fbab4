//! Messages: out of the outbox, into the history, acknowledged (docs/protocol.md §7).

use kith_crypto::identity::ClientId;
use kith_crypto::room::RoomId;
use kith_crypto::wire::{self, Ack, BODY_BYTES_MAX, Frame, Message};

use crate::engine::{Engine, Pending, PendingLoad, Rng, inbox_ops};
use crate::event::{Event, MessageState};
use crate::expiry::{EXPIRY_S_MAX, conversation_bytes};
use crate::record::{ConversationId, Direction, Incarnation, MessageId, MessageRecord};
use crate::restored::{count_new, is_same};
use crate::strand::{INBOUND_MAX, Inbounded, Lane, OUTBOX_MAX, Sent, WINDOW_MAX};
use crate::{
    CommitError, CommitId, Expiring, LinkId, Load, LoadId, Loaded, NewMessage, Now, Op, Reply, RequestError, RequestId,
};

/// The conversation between two devices has no name of its own.
pub(crate) const DIRECT: [u8; 16] = [0; 16];
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

    /// A message from the peer.
    pub(crate) fn message(&mut self, link: LinkId, message: &Message<'_>, now: Now, rng: Rng<'_>) {
        if message.number == 0 {
            return self.break_off(link, "it sent a message without a number", now, rng);
        }
        // What no conversation of this device takes from that peer stays with it, unacknowledged: the
        // two may only not have heard the same yet.
        let Some((lane, incarnation)) = self.lane_of(link, message.conversation) else { return };
        let Some(strand) = self.strand(lane) else { return };
        let hash = message.hash();
        let id = MessageId(message.id);
        if message.number <= strand.high_water(incarnation) {
            return self.repeat(link, lane, incarnation, Repeated { number: message.number, id, hash }, now, rng);
        }
        if strand.inbound.len() >= INBOUND_MAX {
            return self.break_off(link, "it sent more messages than the window allows", now, rng);
        }
        strand.inbound.waiting.push(Inbounded {
            incarnation,
            number: message.number,
            id,
            hash,
            known: false,
            message: MessageRecord {
                seq: 0,
                id,
                direction: match lane.conversation {
                    ConversationId::Direct(_) => Direction::Incoming,
                    ConversationId::Room(_) => Direction::Member(lane.peer),
                },
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
        self.commit_received(lane);
    }

    /// The strand that takes a message of this session, and under which name the sender counts in it.
    pub(crate) fn lane_of(&self, link: LinkId, conversation: [u8; 16]) -> Option<(Lane, Incarnation)> {
        let conn = self.conns.get(&link)?;
        let peer = conn.peer;
        if conversation == DIRECT {
            return self.contacts.get(&peer)?.is_paired().then_some((Lane::direct(peer), conn.incarnation?));
        }
        let room = RoomId(conversation);
        self.rooms.get(&room).filter(|known| known.takes_from(peer))?;
        let heard = conn.heard.get(&room).filter(|heard| heard.version > 0)?;
        Some((Lane { conversation: room.into(), peer }, heard.incarnation))
    }

    /// Writes what has come in, unless a commit for this strand is under way.
    pub(crate) fn commit_received(&mut self, lane: Lane) {
        let Lane { conversation, peer } = lane;
        let mut inbox_seq = self.inbox_seq;
        let Some((counters, strand)) = self.lane(lane) else { return };
        if strand.inbound.commit.is_some() || strand.inbound.waiting.is_empty() {
            return;
        }
        let mut messages = core::mem::take(&mut strand.inbound.waiting);
        let mut ops = Vec::with_capacity(messages.len() * 3 + 2);
        for message in messages.iter_mut().filter(|message| !message.known) {
            counters.last_seq += 1;
            counters.unread += 1;
            inbox_seq += 1;
            message.message.seq = counters.last_seq;
            ops.extend(inbox_ops(lane, inbox_seq, message));
            // The body is in the commit now. It is needed again only if the store should turn out to
            // have some of these messages already.
            if !strand.may_know(conversation, message.incarnation) {
                message.message.body = Vec::new();
            }
        }
        ops.push(Op::PutMarks { conversation, peer, marks: strand.marks_with(messages.iter()) });
        ops.push(Op::PutConversation(conversation, counters.clone()));
        let missing = strand.missing_with(&messages);
        if missing != strand.missing {
            ops.push(Op::PutMissing(peer, missing));
        }
        strand.inbound.first_inbox_seq = inbox_seq + 1 - count_new(&messages);
        strand.inbound.committing = messages;
        self.inbox_seq = inbox_seq;
        let id = self.commit(ops, Pending::Received { lane });
        if let Some(strand) = self.strand(lane) {
            strand.inbound.commit = Some(id);
        }
    }

    /// Received messages are on disk: acknowledge and tell; then go on with what came meanwhile.
    pub(crate) fn messages_received(
        &mut self,
        lane: Lane,
        id: CommitId,
        result: Result<(), CommitError>,
        now: Now,
        rng: Rng<'_>,
    ) {
        let Some(strand) = self.strand(lane) else { return };
        // Of a strand that was dropped meanwhile, as a member leaves a room and comes back.
        if strand.inbound.commit != Some(id) {
            return;
        }
        strand.inbound.commit = None;
        let messages = core::mem::take(&mut strand.inbound.committing);
        let Err(messages) = self.look_up_twin(lane, id, messages, &result) else { return };
        if let Err(error) = result {
            return self.receiving_failed(lane, &messages, &error, now, rng);
        }
        let Some(strand) = self.strand(lane) else { return };
        let before = strand.missing;
        strand.missing = strand.missing_with(&messages);
        strand.marks = strand.marks_with(messages.iter());
        let mut inbox_seq = strand.inbound.first_inbox_seq;
        let link = self.session_with(lane.peer);
        let conversation = lane.conversation;
        for message in &messages {
            if let Some(link) = link {
                self.send_frame(link, &Frame::Ack(Ack { id: message.id.0, hash: message.hash }), now, rng);
            }
            if !message.known {
                let (seq, id) = (message.message.seq, message.id);
                self.notify(Event::Received { conversation, peer: lane.peer, seq, inbox_seq, id });
                inbox_seq += 1;
                if let Some(ttl_s) = message.message.ttl_s {
                    let since_utc_ms = message.message.done_utc_ms;
                    self.will_expire(Expiring { conversation, seq, incoming: true, ttl_s, since_utc_ms }, now);
                }
            }
        }
        self.tell_missing(lane, before);
        if let Some(link) = link {
            self.check_key(link, now, rng);
        }
        self.notify_conversation(conversation);
        self.commit_received(lane);
    }

    fn receiving_failed(&mut self, lane: Lane, messages: &[Inbounded], error: &CommitError, now: Now, rng: Rng<'_>) {
        let Some((counters, strand)) = self.lane(lane) else { return };
        counters.unread = counters.unread.saturating_sub(count_new(messages));
        strand.inbound.waiting.clear();
        // Another commit may have carried the counters of messages that are not there.
        let op = Op::PutConversation(lane.conversation, counters.clone());
        self.commit(vec![op], Pending::Seen);
        self.trouble(lane.peer, &format!("Messages could not be stored and stay with the sender: {error}."));
        if let Some(link) = self.session_with(lane.peer) {
            self.end_conn(link, now, rng);
        }
    }

    /// A number that was taken before: acknowledged again if it is the same message.
    fn repeat(
        &mut self,
        link: LinkId,
        lane: Lane,
        incarnation: Incarnation,
        repeated: Repeated,
        now: Now,
        rng: Rng<'_>,
    ) {
        let on_its_way = self.strand(lane).and_then(|strand| strand.inbound.find(incarnation, repeated.number));
        let same = on_its_way.map(|message| message.id == repeated.id && message.hash == repeated.hash);
        let Some(conn) = self.conns.get_mut(&link) else { return };
        match same {
            // It will be acknowledged when it is on disk.
            Some(true) => {}
            Some(false) => self.break_off(link, "it sent another message under the same number", now, rng),
            None if conn.lookups >= INBOUND_MAX => {
                self.break_off(link, "it sent more messages than the window allows", now, rng);
            }
            None => {
                conn.lookups += 1;
                let Lane { conversation, peer } = lane;
                let load = Load::Message { conversation, peer, id: repeated.id };
                self.load(load, PendingLoad::Repeat { link, repeated });
            }
        }
    }

    pub(crate) fn repeat_loaded(&mut self, link: LinkId, repeated: Repeated, loaded: Loaded, now: Now, rng: Rng<'_>) {
        let Some(conn) = self.conns.get_mut(&link) else { return };
        conn.lookups = conn.lookups.saturating_sub(1);
        let Repeated { number, id, hash } = repeated;
        let is_same = match loaded {
            // A restored sender repeats under a new incarnation what is stored under an earlier one.
            Loaded::Message(stored) => stored.is_some_and(|stored| is_same(&stored, number, &hash)),
            // It was here, and its time is over.
            Loaded::Gone { number: had } => had == number,
            // Unanswered, it would keep its place in the sender's window for ever.
            _ => return self.break_off(link, "a message could not be looked up in the store", now, rng),
        };
        if is_same {
            self.send_frame(link, &Frame::Ack(Ack { id: id.0, hash }), now, rng);
        } else {
            self.break_off(link, "it sent another message under the same number", now, rng);
        }
    }
}

/// A message whose number was taken before.
#[derive(Clone, Copy)]
pub(crate) struct Repeated {
    number: u64,
    id: MessageId,
    hash: [u8; 32],
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
