//! Receipts: what was read here is told to its writer, unless that is switched off; and what others have read of
//! this device's messages (docs/protocol.md §7.3).
//!
//! A mark covers all messages before it, so one that was lost with its session is made up for by the next, and by
//! the one that each session begins with.

use std::collections::BTreeMap;

use kith_crypto::wire::{self, Frame};

use crate::engine::{Engine, Pending, Rng};
use crate::event::Event;
use crate::record::{ConversationId, Direction, MessageId, ReadMark};
use crate::strand::{Lane, conversation_bytes};
use crate::{CommitError, LinkId, Now, Op, Reply, RequestError, RequestId};

impl Engine {
    pub(crate) fn send_receipts(&mut self, request: RequestId, sends: bool) -> Result<(), RequestError> {
        let before = core::mem::replace(&mut self.sends_receipts, sends);
        self.commit(vec![Op::PutReceipts(sends)], Pending::Receipts { request, before });
        Ok(())
    }

    pub(crate) fn receipts_written(&mut self, request: RequestId, before: bool, result: Result<(), CommitError>) {
        if result.is_err() {
            self.sends_receipts = before;
        }
        self.notify(Event::SendsReceipts(self.sends_receipts));
        self.reply(request, result.map(|()| Reply::Done).map_err(RequestError::from));
    }

    /// These are the newest messages that somebody has read now, by their writers: tells these, and gives what is
    /// to be written down.
    pub(crate) fn note_read(
        &mut self,
        conversation: ConversationId,
        newest: BTreeMap<Direction, ReadMark>,
        now: Now,
        rng: Rng<'_>,
    ) -> Vec<Op> {
        let mut ops = Vec::new();
        if !self.sends_receipts {
            return ops;
        }
        for (direction, mark) in newest {
            let peer = match (direction, conversation) {
                (Direction::Incoming, ConversationId::Direct(peer)) => peer,
                (Direction::Member(peer), ConversationId::Room(_)) => peer,
                _ => continue,
            };
            let lane = Lane { conversation, peer };
            let Some(strand) = self.strand(lane) else { continue };
            if strand.reading.here.is_some_and(|here| here.number >= mark.number) {
                continue;
            }
            strand.reading.here = Some(mark);
            ops.push(Op::PutReading { conversation, peer, reading: strand.reading });
            self.tell_read(lane, now, rng);
        }
        ops
    }

    /// Tells a peer how far its messages have been read.
    pub(crate) fn tell_read(&mut self, lane: Lane, now: Now, rng: Rng<'_>) {
        let here = self.strand(lane).and_then(|strand| strand.reading.here);
        if let (true, Some(ReadMark { id, number }), Some(link)) = (self.sends_receipts, here, self.open_link(lane)) {
            let conversation = conversation_bytes(lane.conversation);
            self.send_frame(link, &Frame::Read(wire::Read { conversation, id: id.0, number }), now, rng);
        }
    }

    /// A peer has read this device's messages so far.
    pub(crate) fn read_told(&mut self, link: LinkId, told: &wire::Read) {
        let Some((lane, _)) = self.lane_of(link, told.conversation) else { return };
        let Some((counters, strand)) = self.lane(lane) else { return };
        // Nobody has read what has not been said; what is known already is no news.
        if told.number > counters.sent_number || told.number <= strand.reading.there {
            return;
        }
        let before = core::mem::replace(&mut strand.reading.there, told.number);
        let Lane { conversation, peer } = lane;
        let op = Op::PutReading { conversation, peer, reading: strand.reading };
        self.commit(vec![op], Pending::Reading { lane, before, id: MessageId(told.id) });
    }

    pub(crate) fn reading_written(&mut self, lane: Lane, before: u64, id: MessageId, result: Result<(), CommitError>) {
        let Some(strand) = self.strand(lane) else { return };
        if result.is_err() {
            // It is told again at the beginning of the next session.
            strand.reading.there = before;
            return;
        }
        let number = strand.reading.there;
        let Lane { conversation, peer } = lane;
        let by_all = match conversation {
            ConversationId::Direct(_) => true,
            ConversationId::Room(room) => self
                .rooms
                .get(&room)
                .is_some_and(|room| room.strands.values().all(|strand| strand.reading.there >= number)),
        };
        self.notify(Event::Read { conversation, peer, id, by_all });
    }
}
