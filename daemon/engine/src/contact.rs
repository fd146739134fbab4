//! One other device: its pinned identity, its counters, and what is under way with it. Mostly a
//! contact; or known only as a member of a room.

use std::collections::{BTreeSet, VecDeque};

use kith_crypto::identity::ClientId;
use kith_crypto::sealed::SessionId;

use crate::event::{LinkState, PeerView, Presence, Trust};
use crate::record::{ContactRecord, ContactState, ConversationRecord, ExpiryRecord, StandingRecord, StoredContact};
use crate::strand::Strand;
use crate::{LinkId, Token, Via};

/// Session ids of offers that were taken, so that a replay is dropped before it costs a
/// connection.
const SEEN_OFFERS_MAX: usize = 16;

pub(crate) struct Contact {
    pub(crate) record: ContactRecord,
    pub(crate) conversation: ConversationRecord,
    pub(crate) expiry: ExpiryRecord,
    /// Of the conversation of two.
    pub(crate) strand: Strand,
    pub(crate) standing: StandingRecord,
    /// The server says that it is there.
    pub(crate) online: bool,
    /// The rooms, by token, in which the server says that it is there.
    pub(crate) in_rooms: BTreeSet<Token>,
    /// The session in use.
    pub(crate) current: Option<LinkId>,
    /// A connection on its way.
    pub(crate) attempt: Option<LinkId>,
    /// When to try to connect.
    pub(crate) connect_at: Option<u64>,
    /// Attempts that failed since the last session.
    pub(crate) failures: u32,
    /// When the server last said that it has come, and was believed.
    pub(crate) came_ms: u64,
    seen_offers: VecDeque<SessionId>,
}

impl Contact {
    pub(crate) fn new(stored: StoredContact) -> Self {
        Self {
            record: stored.contact,
            conversation: stored.conversation,
            expiry: stored.expiry,
            strand: Strand::new(stored.marks, stored.outbox_count, stored.missing, stored.reading),
            standing: stored.standing,
            online: false,
            in_rooms: BTreeSet::new(),
            current: None,
            attempt: None,
            connect_at: None,
            failures: 0,
            came_ms: 0,
            seen_offers: VecDeque::new(),
        }
    }

    pub(crate) fn is_paired(&self) -> bool {
        self.record.state == ContactState::Paired
    }

    /// Whether it is in no list of contacts: known only as a member of a room.
    pub(crate) fn is_introduced(&self) -> bool {
        self.record.state == ContactState::Introduced
    }

    /// Whether the server is to tell of it, and it of this device.
    pub(crate) fn is_watched(&self) -> bool {
        !self.is_introduced() && !self.standing.blocked
    }

    /// Under which right the server passes payloads to it, if it is there.
    pub(crate) fn way(&self) -> Option<Via> {
        match self.online {
            true => Some(Via::Contact),
            false => self.in_rooms.first().copied().map(Via::Room),
        }
    }

    /// Whether this offer was taken before.
    pub(crate) fn has_seen_offer(&self, session: SessionId) -> bool {
        self.seen_offers.contains(&session)
    }

    /// Remembers an offer that was taken.
    pub(crate) fn saw_offer(&mut self, session: SessionId) {
        if self.seen_offers.len() == SEEN_OFFERS_MAX {
            self.seen_offers.pop_front();
        }
        self.seen_offers.push_back(session);
    }

    pub(crate) fn view(&self, peer: ClientId, link: LinkState) -> PeerView {
        let online = self.online || self.current.is_some();
        PeerView {
            peer,
            name: self.record.name.clone(),
            trust: match self.record.state {
                ContactState::Pending | ContactState::Introduced => Trust::Pending,
                ContactState::Paired if self.standing.verified => Trust::Verified,
                ContactState::Paired => Trust::Paired,
            },
            blocked: self.standing.blocked,
            presence: if online { Presence::Online } else { Presence::Offline },
            link,
            seen_utc_ms: self.record.seen_utc_ms,
            last_seq: self.conversation.last_seq,
            unread: self.conversation.unread,
            expiry_s: self.expiry.seconds,
            missing: self.strand.missing.count,
        }
    }
}
