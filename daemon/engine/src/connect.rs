//! From "the server says it is there" to an open channel: who offers, sealed payloads, glare,
//! retries (docs/protocol.md §5).

use kith_crypto::identity::{Card, ClientId};
use kith_crypto::sealed::{self, Header, Opened, PayloadKind, SessionId};
use kith_crypto::version::Version;

use crate::conn::{Conn, Hearing, Purpose, Stage};
use crate::dropped::Drop;
use crate::engine::{Engine, Rng};
use crate::event::{Event, SignalingState};
use crate::record::Incarnation;
use crate::{Effect, Ice, LinkId, LinkRole, LoggingNotice, Negotiation, Now, SignalOut, Via};

/// How long the contact with the higher client id waits for the other's offer.
const OFFER_WAIT_MS: u64 = 1_000;
/// How long two offers may be on their way to each other over a slow server. One that has no answer then was lost.
const CROSSING_MS: u64 = 6_000;
/// The first wait after an attempt that failed; doubles with each failure.
const RETRY_MS_MIN: u64 = 500;
/// The longest wait between attempts while the peer is online.
const RETRY_MS_MAX: u64 = 60_000;
/// A session that was in use for so long, or a presence after so long, ends the counting of failures.
const STEADY_MS: u64 = 10_000;
/// Between two reports of an intruder: a server that tells of one all the time drowns out nothing.
const INTRUDER_MS: u64 = 60_000;
/// Between two requests for the ICE configuration that got no answer.
const ICE_RETRY_MS: u64 = 10_000;

impl Engine {
    pub(crate) fn connected(&mut self, notice: LoggingNotice, now: Now, rng: Rng<'_>) {
        self.signaling = SignalingState::Online;
        self.notify(Event::Signaling(SignalingState::Online));
        self.take_notice(notice);
        // First, so that the configuration is there before the first peer is seen.
        self.request_ice(now);
        let watched = self.contacts.iter().filter(|(_, contact)| contact.is_watched());
        let add: Vec<_> = watched.map(|(peer, _)| *peer).collect();
        if !add.is_empty() {
            self.signal(SignalOut::Watch { add, remove: Vec::new() });
        }
        self.enter_rooms();
        self.pairings_connected(now, rng);
    }

    pub(crate) fn disconnected(&mut self, state: SignalingState, now: Now, rng: Rng<'_>) {
        if self.signaling != state {
            self.signaling = state;
            self.notify(Event::Signaling(state));
        }
        self.ice_refresh_at = None;
        let online: Vec<_> = self.contacts.iter().filter(|(_, c)| c.online).map(|(p, _)| *p).collect();
        for peer in online {
            self.presence(peer, false, now, rng);
        }
        self.forget_presence_in_rooms(now, rng);
    }

    pub(crate) fn take_notice(&mut self, notice: LoggingNotice) {
        if self.notice.as_ref() != Some(&notice) {
            self.notice = Some(notice.clone());
            self.notify(Event::Notice(notice));
        }
    }

    /// Somebody else uses this identity. A server tells once of each.
    pub(crate) fn intruder(&mut self, now: Now) {
        if now.boot_ms >= self.intruder_told_until {
            self.intruder_told_until = now.boot_ms.saturating_add(INTRUDER_MS);
            self.notify(Event::Intruder);
        }
    }

    pub(crate) fn request_ice(&mut self, now: Now) {
        self.ice_refresh_at = Some(now.boot_ms.saturating_add(ICE_RETRY_MS));
        self.signal(SignalOut::RequestIce);
    }

    pub(crate) fn take_ice(&mut self, ice: Ice, now: Now) {
        // Fresh ones long before these end, so that every attempt starts with valid ones.
        let refresh_ms = u64::from(ice.lifetime_s).saturating_mul(1_000) / 2;
        let refresh_ms = refresh_ms.max(ICE_RETRY_MS);
        self.ice_refresh_at = Some(now.boot_ms.saturating_add(refresh_ms));
        self.ice = Some(ice);
    }

    pub(crate) fn presence(&mut self, peer: ClientId, online: bool, now: Now, rng: Rng<'_>) {
        let Some(contact) = self.contacts.get_mut(&peer).filter(|contact| contact.is_watched()) else { return };
        if contact.online == online {
            return;
        }
        let before = contact.way();
        contact.online = online;
        self.way_changed(peer, before, now, rng);
        self.notify_peer(peer);
    }

    /// A peer came, or went, as the server says; or only the way to it has changed.
    pub(crate) fn way_changed(&mut self, peer: ClientId, before: Option<Via>, now: Now, rng: Rng<'_>) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        let after = contact.way();
        if before.is_none() && after.is_some() {
            // Whoever comes back is called at once; but not each time, if a server says so all the time.
            if now.boot_ms >= contact.came_ms.saturating_add(STEADY_MS) {
                contact.failures = 0;
                contact.came_ms = now.boot_ms;
            }
            self.schedule(peer, now, rng);
        } else if before.is_some() && after.is_none() {
            contact.connect_at = None;
            let attempt = contact.attempt;
            if let Some(link) = attempt
                && self.conns.get(&link).is_some_and(|c| matches!(c.stage, Stage::Negotiating))
            {
                self.end_conn(link, now, rng);
            }
        }
    }

    /// Plans the next attempt, if one is wanted.
    pub(crate) fn schedule(&mut self, peer: ClientId, now: Now, rng: Rng<'_>) {
        let own_id = self.own_id;
        let pairing = self.conns.values().any(|c| c.peer == peer && c.purpose != Purpose::Contact);
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        let hearing = contact.current.and_then(|link| self.conns.get(&link)).map(|conn| conn.hearing);
        let wanted =
            contact.way().is_some() && hearing != Some(Hearing::Heard) && contact.attempt.is_none() && !pairing;
        contact.connect_at = wanted.then(|| {
            // Of one that has moved the other side does not know.
            let turn = if own_id < peer || hearing == Some(Hearing::Moved) { 0 } else { OFFER_WAIT_MS };
            now.boot_ms.saturating_add(turn).saturating_add(backoff_ms(contact.failures, rng))
        });
    }

    /// Offers.
    pub(crate) fn connect(&mut self, peer: ClientId, now: Now, rng: Rng<'_>) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        contact.connect_at = None;
        let is_heard = |link| self.conns.get(&link).is_some_and(|conn| conn.hearing == Hearing::Heard);
        if contact.current.is_some_and(is_heard) || contact.attempt.is_some() {
            return;
        }
        let Some(via) = contact.way() else { return };
        let card = contact.record.card.clone();
        let link = self.open_conn(card, via, Purpose::Contact, LinkRole::Offerer, new_session_id(rng), now, rng);
        if let Some(contact) = self.contacts.get_mut(&peer) {
            contact.attempt = Some(link);
        }
    }

    #[allow(clippy::too_many_arguments)] // what a connection is, the time and the random source
    pub(crate) fn open_conn(
        &mut self,
        card: Card,
        via: Via,
        purpose: Purpose,
        role: LinkRole,
        session: SessionId,
        now: Now,
        rng: Rng<'_>,
    ) -> LinkId {
        let link = self.new_link();
        let known = self.contacts.get(&card.client_id()).map(|c| c.record.incarnation);
        let own_incarnation = known.unwrap_or_else(|| new_incarnation(rng));
        self.conns.insert(link, Conn::new(card, via, purpose, role, session, own_incarnation, now.boot_ms));
        let ice = self.ice.clone().unwrap_or_default();
        self.effect(Effect::OpenLink { link, role, ice, relay_only: self.settings.relay_only });
        link
    }

    /// Seals what a link wants to tell the other side's, and sends it.
    pub(crate) fn tell_peer(&mut self, link: LinkId, words: Negotiation, rng: Rng<'_>) {
        let Some(conn) = self.conns.get_mut(&link) else { return };
        let first = conn.offers_first();
        let (kind, body) = match words {
            Negotiation::Offer(sdp) if first => (PayloadKind::FirstOffer, sdp),
            Negotiation::Offer(sdp) => (PayloadKind::Offer, sdp),
            Negotiation::Answer(sdp) => (PayloadKind::Answer, sdp),
            Negotiation::Candidate(candidate) => (PayloadKind::Candidate, candidate),
        };
        let header = conn.header(kind);
        self.seal_and_relay(link, header, body.as_bytes(), rng);
    }

    fn seal_and_relay(&mut self, link: LinkId, header: Header, body: &[u8], rng: Rng<'_>) {
        let Some(conn) = self.conns.get(&link) else { return };
        let remote = conn.card.identity();
        let sealed = match (header.kind, conn.purpose) {
            (PayloadKind::FirstOffer, Purpose::Accepting(pairing) | Purpose::Comparing(pairing)) => {
                let Some(pairing) = self.pairings.get(&pairing) else { return };
                let scratch = &mut self.scratch;
                sealed::seal_first(&self.identity, remote, &pairing.keys, header, Version::OWN, body, scratch, rng)
            }
            _ => sealed::seal(&self.identity, remote, header, Version::OWN, body, &mut self.scratch, rng),
        };
        let (to, via) = (conn.peer, conn.via);
        // A body that does not fit is no SDP of ours; the attempt then ends at its deadline.
        let Ok(length) = sealed else { return };
        let payload = self.scratch.get(..length).unwrap_or_default().to_vec();
        self.signal(SignalOut::Relay { to, via, payload });
    }

    /// A sealed payload came over the server.
    pub(crate) fn relayed(&mut self, from: ClientId, via: Via, mut payload: Vec<u8>, now: Now, rng: Rng<'_>) {
        if self.is_blocked(from) {
            return self.drop_payload(Drop::Unasked, now);
        }
        let Ok(header) = Header::peek(&payload) else { return self.drop_payload(Drop::NotOpened, now) };
        match (header.kind, via) {
            (PayloadKind::FirstOffer, Via::Invite(_) | Via::Room(_)) => {
                self.first_offer(from, via, &mut payload, now, rng);
            }
            (PayloadKind::Card, Via::Room(room)) => self.card_shown(from, room, &payload, now, rng),
            (PayloadKind::Offer, Via::Contact | Via::Room(_)) => {
                self.offer(from, via, header, &mut payload, now, rng);
            }
            (PayloadKind::FirstOffer, Via::Contact)
            | (PayloadKind::Offer, Via::Invite(_))
            | (PayloadKind::Card, Via::Contact | Via::Invite(_)) => {
                self.drop_payload(Drop::Unasked, now);
            }
            (PayloadKind::Answer | PayloadKind::Candidate | PayloadKind::Withdraw, _) => {
                self.reply_to_attempt(from, via, header, &mut payload, now, rng);
            }
        }
    }

    /// Whether a device may offer under this right.
    fn may_offer(&self, from: ClientId, via: Via) -> bool {
        match via {
            Via::Contact => self.contacts.get(&from).is_some_and(|contact| !contact.is_introduced()),
            Via::Room(token) => self.rooms.values().any(|room| room.token == token && room.takes_from(from)),
            Via::Invite(_) => false,
        }
    }

    fn offer(&mut self, from: ClientId, via: Via, header: Header, payload: &mut [u8], now: Now, rng: Rng<'_>) {
        let contact = self.contacts.get(&from).filter(|_| self.may_offer(from, via));
        let Some(contact) = contact else { return self.drop_payload(Drop::Unasked, now) };
        let card = contact.record.card.clone();
        let major_min = contact.record.major_min;
        if contact.has_seen_offer(header.session) {
            return self.drop_payload(Drop::Repeated, now);
        }
        if !self.budget.take(from, now.boot_ms) {
            return self.drop_payload(Drop::TooMany, now);
        }
        let identity = self.identity.clone();
        let opened = sealed::open(&identity, card.identity(), payload).ok().filter(|opened| opened.header.index == 0);
        let Some(opened) = opened else { return self.drop_payload(Drop::NotOpened, now) };
        let Some(sdp) = self.acceptable(from, &opened, major_min) else { return };
        let version = opened.version;
        let Some(contact) = self.contacts.get_mut(&from) else { return };
        contact.saw_offer(header.session);
        if let Some(attempt) = contact.attempt {
            let may_cross = |c: &Conn| now.boot_ms < c.began_ms.saturating_add(CROSSING_MS);
            let crossed = self.conns.get(&attempt).is_some_and(|c| c.is_unanswered_offer() && may_cross(c));
            if crossed && self.own_id < from {
                return;
            }
            // Ours gives way, or the other side has given up the attempt before this one.
            self.forget_conn(attempt, rng);
        }
        let link = self.open_conn(card, via, Purpose::Contact, LinkRole::Answerer, header.session, now, rng);
        if let Some(contact) = self.contacts.get_mut(&from) {
            contact.attempt = Some(link);
            contact.connect_at = None;
        }
        self.hand_over_offer(link, version, sdp);
    }

    /// The SDP or candidate in a payload, if its version is one to talk to.
    pub(crate) fn acceptable(&mut self, from: ClientId, opened: &Opened<'_>, major_min: u8) -> Option<String> {
        if !opened.version.is_compatible(Version::OWN) || opened.version.major < major_min {
            self.trouble(from, "The peer speaks another version of the protocol. Update both devices.");
            return None;
        }
        core::str::from_utf8(opened.body).ok().map(str::to_owned)
    }

    pub(crate) fn hand_over_offer(&mut self, link: LinkId, version: Version, sdp: String) {
        if let Some(conn) = self.conns.get_mut(&link) {
            conn.remote_version = Some(version);
            self.effect(Effect::Negotiate(link, Negotiation::Offer(sdp)));
        }
    }

    /// Answers, candidates and withdrawals count only for a live attempt.
    fn reply_to_attempt(
        &mut self,
        from: ClientId,
        via: Via,
        header: Header,
        payload: &mut [u8],
        now: Now,
        rng: Rng<'_>,
    ) {
        let live = |c: &Conn| c.peer == from && c.via == via && c.session_id == header.session;
        let Some((&link, conn)) = self.conns.iter().find(|(_, c)| live(c)) else {
            return self.drop_payload(Drop::Unasked, now);
        };
        let expected = match header.kind {
            PayloadKind::Answer => header.index == 0 && conn.is_unanswered_offer(),
            PayloadKind::Candidate => conn.may_take_candidate(header.index),
            PayloadKind::Withdraw => header.index == 0 && matches!(conn.stage, Stage::Negotiating),
            PayloadKind::Offer | PayloadKind::FirstOffer | PayloadKind::Card => false,
        };
        if !expected {
            return self.drop_payload(Drop::Repeated, now);
        }
        if !self.budget.take(from, now.boot_ms) {
            return self.drop_payload(Drop::TooMany, now);
        }
        let (identity, card) = (self.identity.clone(), conn.card.clone());
        let Ok(opened) = sealed::open(&identity, card.identity(), payload) else {
            return self.drop_payload(Drop::NotOpened, now);
        };
        let Some(body) = self.acceptable(from, &opened, 0) else { return };
        let version = opened.version;
        let Some(conn) = self.conns.get_mut(&link) else { return };
        let words = match header.kind {
            PayloadKind::Candidate => {
                conn.took_candidate(header.index);
                Negotiation::Candidate(body)
            }
            PayloadKind::Answer => {
                conn.remote_version = Some(version);
                Negotiation::Answer(body)
            }
            PayloadKind::Offer | PayloadKind::FirstOffer | PayloadKind::Withdraw | PayloadKind::Card => {
                self.end_conn(link, now, rng);
                return;
            }
        };
        self.effect(Effect::Negotiate(link, words));
    }

    pub(crate) fn undelivered(&mut self, to: ClientId, via: Via, no_such_invite: bool, now: Now, rng: Rng<'_>) {
        let waiting = |c: &Conn| c.peer == to && c.via == via && matches!(c.stage, Stage::Negotiating);
        let Some((&link, conn)) = self.conns.iter().find(|(_, c)| waiting(c)) else { return };
        let purpose = conn.purpose;
        self.end_conn(link, now, rng);
        if let Purpose::Accepting(pairing) = purpose
            && no_such_invite
        {
            self.no_such_invite(pairing, rng);
        }
    }

    /// Ends a connection that this side found at fault, and says so.
    pub(crate) fn break_off(&mut self, link: LinkId, why: &str, now: Now, rng: Rng<'_>) {
        if let Some(conn) = self.conns.get(&link) {
            let peer = conn.peer;
            self.trouble(peer, &format!("The connection was closed: {why}."));
        }
        self.end_conn(link, now, rng);
    }

    /// A link ended by itself. Before it was in use, a person may want to know why.
    pub(crate) fn link_down(&mut self, link: LinkId, why: &str, now: Now, rng: Rng<'_>) {
        if let Some(conn) = self.conns.get(&link)
            && !conn.is_open()
        {
            let peer = conn.peer;
            self.trouble(peer, &format!("Not connected: {why}."));
        }
        self.end_conn(link, now, rng);
    }

    /// Ends a connection and plans what follows.
    pub(crate) fn end_conn(&mut self, link: LinkId, now: Now, rng: Rng<'_>) {
        self.withdraw(link, rng);
        let Some(conn) = self.conns.remove(&link) else { return };
        self.effect(Effect::CloseLink(link));
        match conn.purpose {
            Purpose::Contact => {}
            Purpose::Accepting(pairing) | Purpose::Inviting(pairing) | Purpose::Comparing(pairing) => {
                self.pairing_conn_ended(pairing, link, now, rng)
            }
        }
        let Some(contact) = self.contacts.get_mut(&conn.peer) else { return };
        if contact.attempt == Some(link) {
            contact.attempt = None;
            contact.failures = contact.failures.saturating_add(1);
        }
        if contact.current == Some(link) {
            // A session that ends as soon as it begins (a full disk, a peer that misbehaves) must not
            // be made anew at once, for ever.
            let steady = now.boot_ms >= conn.in_use_since_ms.saturating_add(STEADY_MS);
            contact.failures = if steady { 0 } else { contact.failures.saturating_add(1) };
            contact.current = None;
            self.rewind(conn.peer);
            self.notify_peer(conn.peer);
        }
        self.schedule(conn.peer, now, rng);
    }

    /// A session's link tells whether anything comes over it. Where nothing comes, a new one is tried beside it.
    pub(crate) fn hear(&mut self, link: LinkId, hearing: Hearing, now: Now, rng: Rng<'_>) {
        let Some(conn) = self.conns.get_mut(&link) else { return };
        let peer = conn.peer;
        // One that has moved will fall silent, too.
        if (conn.hearing, hearing) == (Hearing::Moved, Hearing::Silent) {
            return;
        }
        conn.hearing = hearing;
        if self.contacts.get(&peer).is_some_and(|contact| contact.current == Some(link)) {
            self.schedule(peer, now, rng);
        }
    }

    /// This device's addresses have changed: what failed before says nothing about the new ones.
    pub fn handle_network(&mut self, now: Now, rng: Rng<'_>) {
        let begun = self.conns.iter().filter(|(_, c)| matches!(c.stage, Stage::Negotiating));
        let begun: Vec<_> = begun.map(|(link, _)| *link).collect();
        for link in begun {
            self.end_conn(link, now, rng);
        }
        let peers: Vec<_> = self.contacts.keys().copied().collect();
        for peer in peers {
            if let Some(contact) = self.contacts.get_mut(&peer) {
                contact.failures = 0;
            }
            self.schedule(peer, now, rng);
        }
    }

    /// Ends all connections with a peer.
    pub(crate) fn end_conns_with(&mut self, peer: ClientId, now: Now, rng: Rng<'_>) {
        let links: Vec<_> = self.conns.iter().filter(|(_, c)| c.peer == peer).map(|(l, _)| *l).collect();
        for link in links {
            self.end_conn(link, now, rng);
        }
    }

    /// Spares the other side the wait for an offer that is given up.
    fn withdraw(&mut self, link: LinkId, rng: Rng<'_>) {
        let Some(conn) = self.conns.get_mut(&link) else { return };
        if matches!(conn.stage, Stage::Negotiating) && conn.role == LinkRole::Offerer {
            let header = conn.header(PayloadKind::Withdraw);
            self.seal_and_relay(link, header, b"", rng);
        }
    }

    /// Drops a connection in favour of another.
    pub(crate) fn forget_conn(&mut self, link: LinkId, rng: Rng<'_>) {
        self.withdraw(link, rng);
        if self.conns.remove(&link).is_some() {
            self.effect(Effect::CloseLink(link));
        }
    }
}

/// Full jitter between half and the whole of a doubling wait; nothing before the first failure.
pub(crate) fn backoff_ms(failures: u32, rng: Rng<'_>) -> u64 {
    let Some(doublings) = failures.checked_sub(1) else { return 0 };
    let whole = RETRY_MS_MIN.saturating_mul(1 << doublings.min(10)).min(RETRY_MS_MAX);
    whole / 2 + u64::from(rng.next_u32()) % (whole / 2 + 1)
}

pub(crate) fn new_incarnation(rng: Rng<'_>) -> Incarnation {
    let mut incarnation = [0; 16];
    rng.fill_bytes(&mut incarnation);
    Incarnation(incarnation)
}

pub(crate) fn new_session_id(rng: Rng<'_>) -> SessionId {
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    SessionId(id)
}
