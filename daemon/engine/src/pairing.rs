//! Pairing by invite, on both sides, and what it has in common with pairing by digits (docs/protocol.md §4).

use kith_crypto::identity::{Card, ClientId};
use kith_crypto::invite::{InviteKeys, InviteSecret};
use kith_crypto::sealed::{self, SessionId};
use kith_crypto::wire::{Frame, Introduce};
use zeroize::Zeroizing;

use crate::comparison::Comparison;
use crate::conn::{Conn, Purpose};
use crate::connect::{backoff_ms, new_incarnation, new_session_id};
use crate::dropped::Drop;
use crate::engine::{Engine, Pending, Rng};
use crate::event::{Event, PairingState, PairingView, SignalingState};
use crate::invite::Invite;
use crate::newcomer::{CONTACT_NOT_STORED, new_contact_record};
use crate::record::{ContactRecord, ContactState};
use crate::{CommitError, LinkId, LinkRole, Now, Op, PairingId, Reply, RequestError, RequestId, SignalOut, Via};

/// Pairings under way at once: the server keeps no more invites open.
const PAIRINGS_MAX: usize = 8;
/// First offers that open under one invite or code: a person who scanned or typed it may try again a few times.
const ATTEMPTS_MAX: usize = 5;
const LIFETIME_S_MIN: u32 = 10;
const LIFETIME_S_MAX: u32 = 24 * 60 * 60;
/// Attempts that may end with "no such invite": several seconds, in which a device finds a server
/// again that was restarted.
const NO_SUCH_INVITE_MAX: u32 = 4;
/// How long the invitee tries.
const ACCEPT_MS_MAX: u64 = 2 * 60 * 1_000;
/// Contacts on one device. A signaling server lets one device watch 4,096.
pub const CONTACTS_MAX: usize = 1_024;

/// A pairing under way.
pub(crate) struct Pairing {
    pub(crate) keys: InviteKeys,
    pub(crate) state: PairingState,
    pub(crate) expires_boot_ms: u64,
    pub(crate) expires_utc_ms: u64,
    pub(crate) conn: Option<LinkId>,
    pub(crate) side: Side,
}

pub(crate) enum Side {
    Inviter {
        text: Zeroizing<String>,
        /// Of the first offers that opened; each counts once.
        attempts: Vec<SessionId>,
        /// The new contact is on its way to the disk; nobody else can use the invite.
        used: bool,
    },
    Invitee {
        inviter: Box<Card>,
        /// The contact was made for this pairing and goes with it, unless the inviter may have
        /// stored this device already.
        new_contact: bool,
        introduced: bool,
        retry_at: Option<u64>,
        failures: u32,
    },
    Comparison(Comparison),
}

impl Side {
    /// Which first offers have opened, as long as more may come; where none are expected, none.
    fn attempts(&mut self) -> Option<&mut Vec<SessionId>> {
        match self {
            Self::Inviter { attempts, used, .. } => (!*used).then_some(attempts),
            Self::Invitee { .. } => None,
            Self::Comparison(comparison) => comparison.attempts(),
        }
    }
}

impl Pairing {
    pub(crate) fn view(&self, pairing: PairingId) -> PairingView {
        let (uri, code) = match &self.side {
            Side::Inviter { text, .. } => (text.to_string(), String::new()),
            Side::Invitee { .. } => Default::default(),
            Side::Comparison(comparison) => (String::new(), comparison.shown_code().to_owned()),
        };
        PairingView { pairing, state: self.state.clone(), uri, code, expires_utc_ms: self.expires_utc_ms }
    }

    pub(crate) fn timeouts(&self) -> impl Iterator<Item = u64> + use<> {
        let retry_at = match &self.side {
            Side::Invitee { retry_at, .. } => *retry_at,
            Side::Inviter { .. } | Side::Comparison(_) => None,
        };
        [Some(self.expires_boot_ms), retry_at].into_iter().flatten()
    }

    /// Under which right first offers for it come.
    fn door(&self) -> Option<Via> {
        match &self.side {
            Side::Inviter { .. } => Some(Via::Invite(self.keys.token)),
            Side::Invitee { .. } => None,
            Side::Comparison(_) => Some(Via::Room(self.keys.token)),
        }
    }

    fn is_final(&self) -> bool {
        matches!(self.state, PairingState::Done(_) | PairingState::Failed(_))
    }
}

impl Engine {
    pub(crate) fn invite(
        &mut self,
        request: RequestId,
        lifetime_s: u32,
        now: Now,
        rng: Rng<'_>,
    ) -> Result<(), RequestError> {
        if !(LIFETIME_S_MIN..=LIFETIME_S_MAX).contains(&lifetime_s) {
            return Err(RequestError::InvalidArgument("an invite lives 10 seconds to 24 hours"));
        }
        let lifetime_ms = u64::from(lifetime_s) * 1_000;
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(secret.as_mut());
        let expires_utc_ms = now.utc_ms.saturating_add(lifetime_ms);
        let invite = Invite {
            card: self.identity.card().clone(),
            secret: InviteSecret::from_bytes(*secret),
            expires_utc_s: expires_utc_ms / 1_000,
            url: self.settings.signaling_urls.first().cloned().unwrap_or_default(),
            name: self.profile.display_name.clone(),
        };
        let keys = invite.secret.keys();
        let token = keys.token;
        let pairing = self.begin_pairing(Pairing {
            keys,
            state: PairingState::Waiting,
            expires_boot_ms: now.boot_ms.saturating_add(lifetime_ms),
            expires_utc_ms,
            conn: None,
            side: Side::Inviter { text: invite.to_text(), attempts: Vec::new(), used: false },
        })?;
        self.signal(SignalOut::OpenInvite(token));
        self.reply(request, Ok(Reply::Pairing(pairing)));
        Ok(())
    }

    pub(crate) fn begin_pairing(&mut self, pairing: Pairing) -> Result<PairingId, RequestError> {
        if self.pairings.len() >= PAIRINGS_MAX {
            return Err(RequestError::RateLimited);
        }
        let id = PairingId(self.next_pairing);
        self.next_pairing = self.next_pairing.wrapping_add(1);
        let view = pairing.view(id);
        self.pairings.insert(id, pairing);
        self.notify(Event::Pairing(view));
        Ok(id)
    }

    pub(crate) fn accept(
        &mut self,
        request: RequestId,
        text: &str,
        other_server: bool,
        now: Now,
        rng: Rng<'_>,
    ) -> Result<(), RequestError> {
        let invite = Invite::parse(text).map_err(RequestError::InvalidInvite)?;
        let peer = invite.card.client_id();
        if peer == self.own_id {
            return Err(RequestError::InvalidInvite("it is this device's own"));
        }
        if self.is_blocked(peer) {
            return Err(RequestError::Blocked);
        }
        if !self.settings.signaling_urls.contains(&invite.url) && !other_server {
            return Err(RequestError::OtherServer(invite.url));
        }
        if now.clock_trusted && invite.expires_utc_s.saturating_mul(1_000) < now.utc_ms {
            return Err(RequestError::InviteExpired);
        }
        if !self.acceptances_of(peer).is_empty() || self.is_removing(peer) || self.contacts.len() >= CONTACTS_MAX {
            return Err(RequestError::RateLimited);
        }
        let known = self.contacts.get(&peer).filter(|contact| !contact.is_introduced());
        let new_contact = known.is_none();
        let contact = new_contact
            .then(|| new_contact_record(&invite.card, &invite.name, ContactState::Pending, new_incarnation(rng), now));
        let pairing = self.begin_pairing(Pairing {
            keys: invite.secret.keys(),
            state: PairingState::Connecting,
            expires_boot_ms: now.boot_ms.saturating_add(ACCEPT_MS_MAX),
            expires_utc_ms: now.utc_ms.saturating_add(ACCEPT_MS_MAX),
            conn: None,
            side: Side::Invitee {
                inviter: Box::new(invite.card),
                new_contact,
                introduced: false,
                retry_at: None,
                failures: 0,
            },
        })?;
        let ops = contact.iter().cloned().map(Op::PutContact).collect();
        self.commit(ops, Pending::Accepted { request, pairing, contact });
        Ok(())
    }

    /// The pending contact is on disk: the invitee may begin.
    pub(crate) fn accepted(
        &mut self,
        request: RequestId,
        id: PairingId,
        contact: Option<ContactRecord>,
        result: Result<(), CommitError>,
        now: Now,
        rng: Rng<'_>,
    ) {
        if let Err(error) = result {
            self.fail_pairing(id, "The contact could not be stored.", rng);
            return self.reply(request, Err(error.into()));
        }
        if let Some(record) = contact {
            self.add_contact(record);
        }
        self.reply(request, Ok(Reply::Pairing(id)));
        self.try_pairing(id, now, rng);
    }

    /// The invitee offers.
    fn try_pairing(&mut self, id: PairingId, now: Now, rng: Rng<'_>) {
        let online = self.signaling == SignalingState::Online;
        let Some(pairing) = self.pairings.get_mut(&id) else { return };
        let Side::Invitee { inviter, retry_at, .. } = &mut pairing.side else { return };
        *retry_at = None;
        // Without a server, `pairings_connected` comes back to this.
        if !online || pairing.conn.is_some() || pairing.state != PairingState::Connecting {
            return;
        }
        let (card, via) = (Card::clone(inviter), Via::Invite(pairing.keys.token));
        let session = new_session_id(rng);
        let link = self.open_conn(card, via, Purpose::Accepting(id), LinkRole::Offerer, session, now, rng);
        if let Some(pairing) = self.pairings.get_mut(&id) {
            pairing.conn = Some(link);
        }
    }

    /// The server is there (again).
    pub(crate) fn pairings_connected(&mut self, now: Now, rng: Rng<'_>) {
        let ids: Vec<_> = self.pairings.keys().copied().collect();
        for id in ids {
            let Some(pairing) = self.pairings.get(&id) else { continue };
            match pairing.side {
                Side::Inviter { .. } => self.signal(SignalOut::OpenInvite(pairing.keys.token)),
                Side::Invitee { .. } => self.try_pairing(id, now, rng),
                Side::Comparison(_) => self.signal(SignalOut::EnterRoom(pairing.keys.token)),
            }
        }
    }

    /// Somebody uses an invite, or has typed a code.
    pub(crate) fn first_offer(&mut self, from: ClientId, via: Via, payload: &mut [u8], now: Now, rng: Rng<'_>) {
        let open = self.pairings.iter_mut().find(|(_, p)| p.door() == Some(via));
        let Some((&id, pairing)) = open.filter(|(_, p)| now.boot_ms < p.expires_boot_ms) else {
            return self.drop_payload(Drop::Unasked, now);
        };
        if !self.budget.take_first(now.boot_ms) {
            return self.drop_payload(Drop::TooMany, now);
        }
        let identity = self.identity.clone();
        let first = sealed::open_first(&identity, &pairing.keys, payload).ok();
        let first = first.filter(|first| first.card.client_id() == from && first.opened.header.index == 0);
        let Some(first) = first else { return self.drop_payload(Drop::NotOpened, now) };
        let session = first.opened.header.session;
        let Some(attempts) = pairing.side.attempts().filter(|attempts| !attempts.contains(&session)) else {
            return self.drop_payload(Drop::Repeated, now);
        };
        attempts.push(session);
        let too_many = attempts.len() > ATTEMPTS_MAX;
        let earlier = pairing.conn;
        let (purpose, worn_out) = match pairing.side {
            Side::Comparison(_) => (Purpose::Comparing(id), "Too many attempts. Begin again."),
            Side::Inviter { .. } | Side::Invitee { .. } => {
                (Purpose::Inviting(id), "Too many attempts. Make a new invite.")
            }
        };
        if too_many {
            return self.fail_pairing(id, worn_out, rng);
        }
        if let Some(earlier) = earlier {
            // Another device that holds the invite or knows the code waits until this attempt has ended.
            if self.conns.get(&earlier).is_some_and(|c| c.peer != from) {
                return self.drop_payload(Drop::Unasked, now);
            }
            self.forget_conn(earlier, rng);
        }
        let (card, version) = (first.card, first.opened.version);
        let Some(sdp) = self.acceptable(from, &first.opened, 0) else { return };
        let link = self.open_conn(card, via, purpose, LinkRole::Answerer, session, now, rng);
        self.set_pairing(id, PairingState::Connecting, Some(link));
        self.hand_over_offer(link, version, sdp);
    }

    pub(crate) fn set_pairing(&mut self, id: PairingId, state: PairingState, conn: Option<LinkId>) {
        let Some(pairing) = self.pairings.get_mut(&id) else { return };
        pairing.conn = conn;
        if pairing.state != state {
            pairing.state = state;
            let view = pairing.view(id);
            self.notify(Event::Pairing(view));
        }
    }

    /// The invitee, once the channel is proven: who it is.
    pub(crate) fn introduce(&mut self, link: LinkId, id: PairingId, now: Now, rng: Rng<'_>) {
        if let Some(Side::Invitee { introduced, .. }) = self.pairings.get_mut(&id).map(|p| &mut p.side) {
            *introduced = true;
        }
        let (card, name) = (self.identity.card().clone(), self.profile.display_name.clone());
        self.send_frame(link, &Frame::Introduce(Introduce { card, name: &name }), now, rng);
    }

    /// The inviter hears who it is, and stores it before it confirms.
    pub(crate) fn introduction(
        &mut self,
        link: LinkId,
        id: PairingId,
        introduce: &Introduce<'_>,
        now: Now,
        rng: Rng<'_>,
    ) {
        let Some(conn) = self.conns.get(&link) else { return };
        if introduce.card != conn.card {
            return self.break_off(link, "it introduced itself as somebody else", now, rng);
        }
        if let Some(Side::Inviter { used, .. }) = self.pairings.get_mut(&id).map(|p| &mut p.side)
            && core::mem::replace(used, true)
        {
            return self.break_off(link, "the invite is used", now, rng);
        }
        if self.contacts.len() >= CONTACTS_MAX {
            return self.fail_pairing(id, "There are too many contacts. Remove one first.", rng);
        }
        let known = self.contacts.get(&conn.peer).map(|c| c.record.name.clone());
        let name = known.as_deref().unwrap_or(introduce.name);
        let contact = new_contact_record(&conn.card, name, ContactState::Paired, conn.own_incarnation, now);
        self.commit(vec![Op::PutContact(contact.clone())], Pending::Introduced { link, pairing: id, contact });
    }

    pub(crate) fn introduced(
        &mut self,
        link: LinkId,
        id: PairingId,
        contact: ContactRecord,
        result: Result<(), CommitError>,
        now: Now,
        rng: Rng<'_>,
    ) {
        if result.is_err() {
            self.fail_pairing(id, CONTACT_NOT_STORED, rng);
            return self.end_conn(link, now, rng);
        }
        let peer = contact.client_id();
        self.add_contact(contact);
        let name = self.profile.display_name.clone();
        if self.conns.get(&link).is_some_and(Conn::is_open)
            && self.send_frame(link, &Frame::Paired { name: &name }, now, rng)
        {
            self.take_into_use(link, now, rng);
        }
        self.finish_pairing(id, PairingState::Done(peer));
    }

    /// The invitee hears that it is stored.
    pub(crate) fn paired(&mut self, link: LinkId, id: PairingId, now: Now, rng: Rng<'_>) {
        let Some(conn) = self.conns.get(&link) else { return };
        let peer = conn.peer;
        if !self.contacts.contains_key(&peer) {
            self.fail_pairing(id, "The contact was removed while the devices paired.", rng);
            return self.end_conn(link, now, rng);
        }
        self.take_into_use(link, now, rng);
        self.finish_pairing(id, PairingState::Done(peer));
    }

    /// A contact that was pending is confirmed, on disk.
    pub(crate) fn confirmed(&mut self, peer: ClientId, result: Result<(), CommitError>) {
        if let Err(error) = result {
            // In memory it stays confirmed; the next session writes it again.
            return self.trouble(peer, &format!("The contact could not be stored: {error}."));
        }
        for id in self.acceptances_of(peer) {
            self.finish_pairing(id, PairingState::Done(peer));
        }
    }

    /// A pairing's connection ended before its time.
    pub(crate) fn pairing_conn_ended(&mut self, id: PairingId, link: LinkId, now: Now, rng: Rng<'_>) {
        let Some(pairing) = self.pairings.get_mut(&id) else { return };
        if pairing.conn != Some(link) {
            return;
        }
        match &mut pairing.side {
            Side::Inviter { used: true, .. } => pairing.conn = None,
            Side::Inviter { .. } => self.set_pairing(id, PairingState::Waiting, None),
            Side::Comparison(comparison) => {
                let left = comparison.link_lost();
                self.comparison_left(id, left, rng);
            }
            Side::Invitee { retry_at, failures, .. } => {
                *failures = failures.saturating_add(1);
                *retry_at = Some(now.boot_ms.saturating_add(backoff_ms(*failures, rng)));
                pairing.conn = None;
            }
        }
    }

    pub(crate) fn pairing_due(&mut self, id: PairingId, now: Now, rng: Rng<'_>) {
        let Some(pairing) = self.pairings.get(&id) else { return };
        if now.boot_ms < pairing.expires_boot_ms {
            return self.try_pairing(id, now, rng);
        }
        let why = match pairing.side {
            Side::Inviter { .. } => "Nobody used the invite in its time.",
            Side::Invitee { .. } => "The other device did not answer. Ask for a new invite while it is online.",
            Side::Comparison(_) => "The digits were not confirmed on both devices in their time. Begin again.",
        };
        self.fail_pairing(id, why, rng);
    }

    pub(crate) fn cancel_pairing(
        &mut self,
        request: RequestId,
        id: PairingId,
        rng: Rng<'_>,
    ) -> Result<(), RequestError> {
        if !self.pairings.contains_key(&id) {
            return Err(RequestError::NotFound);
        }
        self.fail_pairing(id, "Cancelled.", rng);
        self.reply(request, Ok(Reply::Done));
        Ok(())
    }

    pub(crate) fn fail_pairing(&mut self, id: PairingId, why: &str, rng: Rng<'_>) {
        let Some(pairing) = self.pairings.get(&id) else { return };
        if let Some(link) = pairing.conn {
            self.forget_conn(link, rng);
        }
        if let Some(Pairing { side: Side::Invitee { inviter, new_contact: true, introduced: false, .. }, .. }) =
            self.pairings.get(&id)
        {
            let peer = inviter.client_id();
            if self.contacts.get(&peer).is_some_and(|c| !c.is_paired()) {
                self.forget_contact(None, peer, rng);
            }
        }
        self.finish_pairing(id, PairingState::Failed(why.to_owned()));
    }

    /// The server knows no such invite: after a restart of the server the inviter may only be on
    /// its way back, so the invitee tries a few times.
    pub(crate) fn no_such_invite(&mut self, id: PairingId, rng: Rng<'_>) {
        if let Some(Side::Invitee { failures, .. }) = self.pairings.get(&id).map(|p| &p.side)
            && *failures >= NO_SUCH_INVITE_MAX
        {
            self.fail_pairing(id, "The invite is not open (any more). Ask for a new one.", rng);
        }
    }

    /// The pairings in which this device accepts an invite of that peer.
    fn acceptances_of(&self, peer: ClientId) -> Vec<PairingId> {
        let accepts = |p: &Pairing| match &p.side {
            Side::Invitee { inviter, .. } => inviter.client_id() == peer,
            Side::Comparison(comparison) => comparison.awaits_confirmation_of(peer),
            Side::Inviter { .. } => false,
        };
        self.pairings.iter().filter(|(_, p)| accepts(p)).map(|(id, _)| *id).collect()
    }

    /// A contact was removed or blocked: what was under way to pair with it ends.
    pub(crate) fn fail_pairings_with(&mut self, peer: ClientId, why: &str, rng: Rng<'_>) {
        for id in self.acceptances_of(peer) {
            self.fail_pairing(id, why, rng);
        }
    }

    fn finish_pairing(&mut self, id: PairingId, state: PairingState) {
        let Some(mut pairing) = self.pairings.remove(&id) else { return };
        match pairing.side {
            Side::Inviter { .. } => self.signal(SignalOut::CloseInvite(pairing.keys.token)),
            Side::Invitee { .. } => {}
            Side::Comparison(_) => self.signal(SignalOut::LeaveRoom(pairing.keys.token)),
        }
        pairing.state = state;
        debug_assert!(pairing.is_final());
        self.notify(Event::Pairing(pairing.view(id)));
    }
}
