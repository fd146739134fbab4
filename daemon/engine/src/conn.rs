//! One connection to a peer: a link, the handshake in it, and the session that comes of it.

use std::collections::{BTreeMap, BTreeSet};

use kith_crypto::identity::{Card, ClientId};
use kith_crypto::room::RoomId;
use kith_crypto::sealed::{Header, PayloadKind, SessionId};
use kith_crypto::session::{Handshake, Session};
use kith_crypto::version::Version;

use crate::record::Incarnation;
use crate::room::Heard;
use crate::{LinkPath, LinkRole, PairingId, Via};

/// From the offer to the other side's `hello`. Relayed paths through slow networks need a few
/// seconds; a person waits no longer than this.
pub(crate) const CONNECT_MS_MAX: u64 = 20_000;
/// Candidates taken from the other side of one attempt. A device has a handful of addresses.
pub(crate) const CANDIDATES_MAX: usize = 64;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To talk with a contact.
    Contact,
    /// To pair, by the other side's invite.
    Accepting(PairingId),
    /// To pair, by an own invite.
    Inviting(PairingId),
    /// To pair, by comparing digits. Who has typed the code offers.
    Comparing(PairingId),
}

/// How far it has come. Each stage has only what it may use.
pub(crate) enum Stage {
    /// Offer, answer, candidates.
    Negotiating,
    /// The channel is open, the Noise handshake runs.
    Handshaking(Box<Handshake>),
    /// Keys are there, the other side's `hello` is not.
    Greeting(Box<Session>),
    /// In use.
    Open(Box<Session>),
}

/// Whether the other side of a connection in use is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// As far as is known.
    Heard,
    /// Nothing has come for a moment.
    Silent,
    /// This device's own address is another: it is up to this side to make a new connection.
    Moved,
}

pub(crate) struct Conn {
    pub(crate) peer: ClientId,
    pub(crate) card: Card,
    pub(crate) via: Via,
    pub(crate) purpose: Purpose,
    pub(crate) role: LinkRole,
    pub(crate) session_id: SessionId,
    /// From the sealed offer or answer.
    pub(crate) remote_version: Option<Version>,
    candidates_sent: u32,
    candidates_seen: BTreeSet<u32>,
    pub(crate) stage: Stage,
    pub(crate) path: LinkPath,
    pub(crate) hearing: Hearing,
    /// Of the own count of messages to this peer, for `hello`.
    pub(crate) own_incarnation: Incarnation,
    /// Of the other side's, from its `hello`.
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) began_ms: u64,
    /// The connection ends here if it is not in use by then.
    pub(crate) deadline_ms: u64,
    /// Since when the session is in use.
    pub(crate) in_use_since_ms: u64,
    /// Since when the present key is in use.
    pub(crate) key_since_ms: u64,
    pub(crate) key_generation: u64,
    /// Repeats whose stored message is being looked up.
    pub(crate) lookups: usize,
    /// Which rosters the other side holds, as it says: of rooms that this device may not know yet.
    pub(crate) heard: BTreeMap<RoomId, Heard>,
    /// Rosters handed to the other side.
    pub(crate) pushes: u32,
    /// How often the other side has said after how long messages disappear.
    pub(crate) expiries: u32,
}

impl Conn {
    pub(crate) fn new(
        card: Card,
        via: Via,
        purpose: Purpose,
        role: LinkRole,
        session_id: SessionId,
        own_incarnation: Incarnation,
        boot_ms: u64,
    ) -> Self {
        Self {
            peer: card.client_id(),
            card,
            via,
            purpose,
            role,
            session_id,
            remote_version: None,
            candidates_sent: 0,
            candidates_seen: BTreeSet::new(),
            stage: Stage::Negotiating,
            path: LinkPath::Direct,
            hearing: Hearing::Heard,
            own_incarnation,
            incarnation: None,
            began_ms: boot_ms,
            deadline_ms: boot_ms.saturating_add(CONNECT_MS_MAX),
            in_use_since_ms: boot_ms,
            key_since_ms: boot_ms,
            key_generation: 0,
            lookups: 0,
            heard: BTreeMap::new(),
            pushes: 0,
            expiries: 0,
        }
    }

    /// The header of the next own payload of this kind.
    pub(crate) fn header(&mut self, kind: PayloadKind) -> Header {
        let index = match kind {
            PayloadKind::Candidate => {
                self.candidates_sent = self.candidates_sent.saturating_add(1);
                self.candidates_sent
            }
            PayloadKind::Offer
            | PayloadKind::FirstOffer
            | PayloadKind::Answer
            | PayloadKind::Withdraw
            | PayloadKind::Card => 0,
        };
        Header { kind, session: self.session_id, index }
    }

    /// Whether the other side's candidate with this index may be taken. It counts only once
    /// [`Conn::took_candidate`] is told that it has opened, so that a forged one blocks nothing.
    pub(crate) fn may_take_candidate(&self, index: u32) -> bool {
        index > 0 && self.candidates_seen.len() < CANDIDATES_MAX && !self.candidates_seen.contains(&index)
    }

    pub(crate) fn took_candidate(&mut self, index: u32) {
        self.candidates_seen.insert(index);
    }

    /// Whether its offer is a first one, which brings the own card along.
    pub(crate) fn offers_first(&self) -> bool {
        match self.purpose {
            Purpose::Accepting(_) => true,
            Purpose::Comparing(_) => self.role == LinkRole::Offerer,
            Purpose::Contact | Purpose::Inviting(_) => false,
        }
    }

    /// An own offer that has not been answered.
    pub(crate) fn is_unanswered_offer(&self) -> bool {
        self.role == LinkRole::Offerer && self.remote_version.is_none()
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// The session in use.
    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        match &mut self.stage {
            Stage::Open(session) => Some(session),
            Stage::Negotiating | Stage::Handshaking(_) | Stage::Greeting(_) => None,
        }
    }
}
