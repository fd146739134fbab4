//! Messages that disappear (docs/protocol.md §7.2): after how long, which all devices of a conversation come to
//! agree on, and when their time is over.
//!
//! A message carries its time to live. At a receiver it counts from when the message was received, at its sender
//! from when it was delivered; by the wall clock, since it goes on while the device is off, and not while that clock
//! has not been set.

use std::collections::BTreeMap;

use kith_crypto::wire::{self, Frame};

use crate::engine::{Engine, Pending, PendingLoad, Rng};
use crate::event::Event;
use crate::record::{ConversationId, Expiring, ExpiryRecord};
use crate::strand::{Lane, conversation_bytes};
use crate::{CommitError, LinkId, Load, Loaded, Now, Op, Reply, RequestError, RequestId};

/// The longest time after which messages disappear: a year.
pub const EXPIRY_S_MAX: u32 = 366 * 24 * 60 * 60;

/// Places of messages that are held, those that disappear next: one look at the disk finds so many. About 64 KiB.
const SOONEST_MAX: usize = 1_024;
/// Messages that disappear in one commit: a few milliseconds between two others.
const STEP_MESSAGES: usize = 64;
/// The longest sleep: meanwhile the wall clock may be set anew.
const LOOK_MS_MAX: u64 = 10 * 60 * 1_000;
/// Between two looks at a clock that has not been set, and after the store has failed.
const RETRY_MS: u64 = 30 * 1_000;
/// How often the other side may say in one session after how long messages disappear: each costs a commit.
const TOLD_MAX: u32 = 256;

/// The messages that disappear next.
#[derive(Default)]
pub(crate) struct Expiries {
    /// By when their time is over, milliseconds of UTC; 0 where it has not begun to count.
    soonest: BTreeMap<(u64, ConversationId, u64), Expiring>,
    /// There may be others on disk: all that are not held, or none before the last of these.
    others: bool,
    /// They are being looked for.
    finding: bool,
    /// Another one has come since, which that look may have missed.
    again: bool,
    /// A commit that lets some of them disappear is under way.
    expiring: bool,
    /// When to look at the clock.
    pub(crate) look_at: Option<u64>,
}

/// A change of after how long messages disappear, on its way to the disk.
pub(crate) struct Change {
    conversation: ConversationId,
    before: ExpiryRecord,
    /// Who asked for it on this device, if somebody did.
    request: Option<RequestId>,
}

impl Expiring {
    /// When its time is over; 0 while it does not count.
    fn due_utc_ms(&self) -> u64 {
        match self.since_utc_ms {
            ..Now::UTC_MS_MIN => 0,
            since => since.saturating_add(u64::from(self.ttl_s) * 1_000),
        }
    }
}

impl Expiries {
    fn hold(&mut self, expiring: Expiring) {
        self.soonest.insert((expiring.due_utc_ms(), expiring.conversation, expiring.seq), expiring);
        if self.soonest.len() > SOONEST_MAX {
            self.soonest.pop_last();
            self.others = true;
        }
    }
}

impl Engine {
    /// After how many seconds own messages of a conversation disappear.
    pub(crate) fn expiry_of(&mut self, conversation: ConversationId) -> Option<u32> {
        self.expiry(conversation).map(|expiry| expiry.seconds).filter(|seconds| *seconds > 0)
    }

    fn expiry(&mut self, conversation: ConversationId) -> Option<&mut ExpiryRecord> {
        match conversation {
            ConversationId::Direct(peer) => self.contacts.get_mut(&peer).map(|contact| &mut contact.expiry),
            ConversationId::Room(room) => self.rooms.get_mut(&room).map(|room| &mut room.expiry),
        }
    }

    pub(crate) fn set_expiry(
        &mut self,
        request: RequestId,
        conversation: ConversationId,
        seconds: u32,
    ) -> Result<(), RequestError> {
        if seconds > EXPIRY_S_MAX {
            return Err(RequestError::InvalidArgument("messages disappear after a year at the latest, or never (0)"));
        }
        match conversation {
            ConversationId::Direct(peer) if self.is_removing(peer) => return Err(RequestError::NotFound),
            ConversationId::Direct(peer) => {
                let contact = self.contacts.get(&peer).filter(|contact| !contact.is_introduced());
                if !contact.ok_or(RequestError::NotFound)?.is_paired() {
                    return Err(RequestError::NotPaired);
                }
            }
            ConversationId::Room(room) => drop(self.may_send_to_room(room)?),
        }
        let before = *self.expiry(conversation).ok_or(RequestError::NotFound)?;
        if before.seconds == seconds {
            self.reply(request, Ok(Reply::Done));
            return Ok(());
        }
        let after = ExpiryRecord { revision: before.revision.saturating_add(1), seconds };
        self.put_expiry(conversation, after, Some(request));
        Ok(())
    }

    fn put_expiry(&mut self, conversation: ConversationId, after: ExpiryRecord, request: Option<RequestId>) {
        let Some(expiry) = self.expiry(conversation) else { return };
        // In memory at once, so that the next change builds on this one.
        let before = core::mem::replace(expiry, after);
        let change = Change { conversation, before, request };
        self.commit(vec![Op::PutExpiry(conversation, after)], Pending::Expiry(Box::new(change)));
    }

    /// It is on disk: all devices of the conversation that are there hear of it.
    pub(crate) fn expiry_written(&mut self, change: Change, result: Result<(), CommitError>, now: Now, rng: Rng<'_>) {
        let Change { conversation, before, request } = change;
        match &result {
            Ok(()) => {
                let others: Vec<_> = match conversation {
                    ConversationId::Direct(peer) => vec![peer],
                    ConversationId::Room(room) => {
                        self.rooms.get(&room).map(|room| room.strands.keys().copied().collect()).unwrap_or_default()
                    }
                };
                for peer in others {
                    if let Some(link) = self.open_link(Lane { conversation, peer }) {
                        self.tell_expiry(link, conversation, now, rng);
                    }
                }
            }
            // Whoever has told it tells it again in the next session.
            Err(_) => {
                if let Some(expiry) = self.expiry(conversation) {
                    *expiry = before;
                }
            }
        }
        self.notify_conversation(conversation);
        if let Some(request) = request {
            self.reply(request, result.map(|()| Reply::Done).map_err(RequestError::from));
        }
    }

    /// Tells the other side of a session after how long messages disappear, if anybody has ever set it.
    pub(crate) fn tell_expiry(&mut self, link: LinkId, conversation: ConversationId, now: Now, rng: Rng<'_>) {
        let Some(ExpiryRecord { revision, seconds }) = self.expiry(conversation).copied() else { return };
        if revision > 0 {
            let conversation = conversation_bytes(conversation);
            self.send_frame(link, &Frame::Expiry(wire::Expiry { conversation, revision, seconds }), now, rng);
        }
    }

    /// The other side says after how long messages disappear.
    pub(crate) fn expiry_told(&mut self, link: LinkId, told: &wire::Expiry, now: Now, rng: Rng<'_>) {
        let Some((lane, _)) = self.lane_of(link, told.conversation) else { return };
        let Some(conn) = self.conns.get_mut(&link) else { return };
        conn.expiries += 1;
        if conn.expiries > TOLD_MAX || told.seconds > EXPIRY_S_MAX {
            return self.break_off(
                link,
                "it said too often, or too long, after which time messages disappear",
                now,
                rng,
            );
        }
        let told = ExpiryRecord { revision: told.revision, seconds: told.seconds };
        if self.expiry(lane.conversation).is_some_and(|expiry| told > *expiry) {
            self.put_expiry(lane.conversation, told, None);
        }
    }

    /// A message begins to count.
    pub(crate) fn will_expire(&mut self, expiring: Expiring, now: Now) {
        let expiries = &mut self.expiries;
        expiries.again |= expiries.finding;
        let last = expiries.soonest.last_key_value().map_or(0, |(key, _)| key.0);
        // Behind those that are held there may be others before it.
        if !expiries.others || expiring.due_utc_ms() < last {
            expiries.hold(expiring);
        }
        self.arm_expiry(now);
    }

    /// Looks on the disk for what disappears next.
    pub(crate) fn find_expiring(&mut self) {
        if core::mem::replace(&mut self.expiries.finding, true) {
            self.expiries.again = true;
            return;
        }
        self.load(Load::Expiring { count_max: SOONEST_MAX }, PendingLoad::Expiring);
    }

    pub(crate) fn expiring_found(&mut self, loaded: Loaded, now: Now) {
        self.expiries.finding = false;
        if core::mem::take(&mut self.expiries.again) {
            return self.find_expiring();
        }
        match loaded {
            Loaded::Expiring(soonest, others) => {
                self.expiries.soonest.clear();
                self.expiries.others = others;
                soonest.into_iter().for_each(|expiring| self.expiries.hold(expiring));
                self.arm_expiry(now);
            }
            _ => {
                self.expiries.others = true;
                self.expiries.look_at = Some(now.boot_ms.saturating_add(RETRY_MS));
            }
        }
    }

    /// A conversation is gone, and all its messages.
    pub(crate) fn forget_expiring(&mut self, conversation: ConversationId) {
        self.expiries.soonest.retain(|(_, of, _), _| *of != conversation);
        self.expiries.again |= self.expiries.finding;
    }

    /// Sets the timer for the next one.
    fn arm_expiry(&mut self, now: Now) {
        let expiries = &mut self.expiries;
        let wait_ms = match expiries.soonest.first_key_value() {
            _ if expiries.expiring => None,
            // They are looked for as soon as that may succeed.
            None => expiries.others.then_some(RETRY_MS),
            Some(_) if !now.clock_trusted => Some(RETRY_MS),
            Some(((due_utc_ms, ..), _)) => Some(due_utc_ms.saturating_sub(now.utc_ms).clamp(1, LOOK_MS_MAX)),
        };
        expiries.look_at = wait_ms.map(|ms| now.boot_ms.saturating_add(ms));
    }

    /// Lets messages disappear whose time is over, as many as one step may take.
    pub(crate) fn expire(&mut self, now: Now) {
        self.expiries.look_at = None;
        if self.expiries.expiring || !now.clock_trusted {
            return self.arm_expiry(now);
        }
        if self.expiries.soonest.is_empty() && self.expiries.others {
            return self.find_expiring();
        }
        let due = self.expiries.soonest.iter().take(STEP_MESSAGES).take_while(|((at, ..), _)| *at <= now.utc_ms);
        let due: Vec<_> = due.map(|(key, expiring)| (*key, *expiring)).collect();
        if due.is_empty() {
            return self.arm_expiry(now);
        }
        let (mut ops, mut gone, mut started) = (Vec::new(), Vec::new(), Vec::new());
        for (key, expiring) in due {
            self.expiries.soonest.remove(&key);
            let Expiring { conversation, seq, .. } = expiring;
            // It was removed meanwhile, with its conversation.
            let Some(counters) = self.counters(conversation) else { continue };
            if key.0 == 0 {
                ops.push(Op::StartExpiry { conversation, seq, utc_ms: now.utc_ms });
                started.push(Expiring { since_utc_ms: now.utc_ms, ..expiring });
                continue;
            }
            ops.push(Op::Expire { conversation, seq });
            if expiring.incoming && seq > counters.read_seq {
                counters.unread = counters.unread.saturating_sub(1);
                ops.push(Op::PutConversation(conversation, counters.clone()));
            }
            gone.push(expiring);
        }
        started.into_iter().for_each(|expiring| self.expiries.hold(expiring));
        self.expiries.expiring = true;
        self.commit(ops, Pending::Expired(gone));
    }

    /// They are gone; or it is tried again.
    pub(crate) fn expired(&mut self, gone: Vec<Expiring>, result: Result<(), CommitError>, now: Now) {
        self.expiries.expiring = false;
        if result.is_err() {
            for Expiring { conversation, seq, incoming, .. } in gone {
                if let Some(counters) = self.counters(conversation).filter(|counters| seq > counters.read_seq) {
                    counters.unread += u64::from(incoming);
                }
            }
            self.expiries.soonest.clear();
            self.expiries.others = true;
            self.expiries.look_at = Some(now.boot_ms.saturating_add(RETRY_MS));
            return;
        }
        let mut by_conversation: BTreeMap<ConversationId, Vec<u64>> = BTreeMap::new();
        for expiring in gone {
            by_conversation.entry(expiring.conversation).or_default().push(expiring.seq);
        }
        for (conversation, seqs) in by_conversation {
            self.notify(Event::Disappeared { conversation, seqs });
            self.notify_conversation(conversation);
        }
        self.arm_expiry(now);
        if self.expiries.soonest.is_empty() && self.expiries.others {
            self.find_expiring();
        }
    }
}
