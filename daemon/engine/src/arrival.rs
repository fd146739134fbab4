//! Messages of others: from the peer onto the disk, acknowledged, shown once (docs/protocol.md §7).

use kith_crypto::room::RoomId;
use kith_crypto::wire::{Ack, Frame, Message};

use crate::engine::{Engine, Pending, PendingLoad, Rng, inbox_ops};
use crate::event::{Event, MessageState};
use crate::record::{ConversationId, Direction, Incarnation, MessageId, MessageRecord};
use crate::restored::{count_new, is_same};
use crate::strand::{DIRECT, INBOUND_MAX, Inbounded, Lane};
use crate::{CommitError, CommitId, Expiring, LinkId, Load, Loaded, Now, Op};

impl Engine {
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
