//! Pairing by comparing digits, on both sides (docs/protocol.md §4.3).
//!
//! Whoever shows the code answers and is bound to its nonce first; whoever has typed it offers.

use std::collections::VecDeque;

use kith_crypto::comparison::{Code, commitment, digits};
use kith_crypto::identity::ClientId;
use kith_crypto::sealed::{self, SessionId};
use kith_crypto::wire::Frame;

use crate::conn::Purpose;
use crate::connect::new_session_id;
use crate::dropped::Drop;
use crate::engine::{Engine, Pending, Rng};
use crate::event::PairingState;
use crate::newcomer::{CONTACT_NOT_STORED, name_of, new_contact_record};
use crate::pairing::{CONTACTS_MAX, Pairing, Side};
use crate::record::{ContactRecord, ContactState};
use crate::{CommitError, LinkId, LinkRole, Now, Op, PairingId, Reply, RequestError, RequestId, SignalOut, Token, Via};

/// How long a code waits for the other device, and then the digits for two people.
const WAIT_MS_MAX: u64 = 2 * 60 * 1_000;
/// The digits end by the pairing's time, not by the connection's.
const GRACE_MS: u64 = 1_000;
/// Devices that are shown the own card: one has typed the code, and somebody may have mistyped another.
const SHOWN_MAX: usize = 8;
/// Comparisons in a window of time. Who stands between two devices has one chance in a million in each.
const RUNS_MAX: usize = 3;
const RUNS_WINDOW_MS: u64 = 10 * 60 * 1_000;

const LOST: &str = "The connection ended before both had confirmed, or the other device cancelled. Begin again.";
const TOO_MANY: &str = "Too many comparisons in a short time. Wait ten minutes.";
const CHANGED: &str = "The other device did not keep to its share of the digits: somebody may be between. Begin again.";

/// What this device's screen is for at first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Screen {
    Shows,
    Typed,
}

/// How far it has come.
enum Step {
    /// The two look for each other and connect.
    Meeting,
    /// The one that shows is bound to its nonce.
    Bound([u8; 32]),
    /// Both nonces are known, and the digits are on both screens.
    Compared { here: bool, there: bool },
    /// Both have confirmed; they tell each other who they are.
    Agreed,
}

/// A comparison under way.
pub(crate) struct Comparison {
    code: Code,
    screen: Screen,
    nonce: [u8; 32],
    step: Step,
    /// How many devices the own card was shown to.
    shown: usize,
    /// Of the first offers that opened.
    attempts: Vec<SessionId>,
    /// Whom the own introduction goes to, or the other's came from.
    awaited: Option<ClientId>,
}

/// What follows when the connection of a comparison is lost.
pub(crate) enum Left {
    /// The code is still good.
    Waits,
    /// Everything was said; the next session between the two tells.
    Awaits,
    /// That was it: a comparison that has begun is not taken up again.
    Fails,
}

impl Comparison {
    pub(crate) fn shown_code(&self) -> &str {
        match self.screen {
            Screen::Shows => self.code.as_str(),
            Screen::Typed => "",
        }
    }

    pub(crate) fn attempts(&mut self) -> Option<&mut Vec<SessionId>> {
        let expects = self.screen == Screen::Shows && matches!(self.step, Step::Meeting);
        expects.then_some(&mut self.attempts)
    }

    pub(crate) fn link_lost(&self) -> Left {
        match (&self.step, self.screen) {
            (Step::Meeting, Screen::Shows) => Left::Waits,
            // The own introduction is on its way, or the other's on its way to the disk.
            (Step::Agreed, _) if self.awaited.is_some() => Left::Awaits,
            _ => Left::Fails,
        }
    }

    pub(crate) fn awaits_confirmation_of(&self, peer: ClientId) -> bool {
        self.awaited == Some(peer)
    }
}

/// When comparisons were begun: a person may try again, somebody who tries digits out may not.
#[derive(Default)]
pub(crate) struct Runs(VecDeque<u64>);

impl Runs {
    fn has_room(&mut self, boot_ms: u64) -> bool {
        self.0.retain(|begun| begun.saturating_add(RUNS_WINDOW_MS) > boot_ms);
        self.0.len() < RUNS_MAX
    }

    /// Counts one more, if there may be one.
    fn begin(&mut self, boot_ms: u64) -> bool {
        let room = self.has_room(boot_ms);
        if room {
            self.0.push_back(boot_ms);
        }
        room
    }
}

impl Engine {
    pub(crate) fn compare(
        &mut self,
        request: RequestId,
        code: Option<&str>,
        now: Now,
        rng: Rng<'_>,
    ) -> Result<(), RequestError> {
        let (code, screen) = match code {
            None => (Code::generate(rng), Screen::Shows),
            Some(text) => {
                let code = Code::parse(text).ok_or(RequestError::InvalidArgument("a code has six letters"))?;
                (code, Screen::Typed)
            }
        };
        let keys = code.secret().keys();
        let token = keys.token;
        if self.pairings.values().any(|pairing| pairing.keys.token == token) {
            return Err(RequestError::InvalidArgument("that code is in use on this device"));
        }
        if !self.runs.has_room(now.boot_ms) || self.contacts.len() >= CONTACTS_MAX {
            return Err(RequestError::RateLimited);
        }
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        let comparison =
            Comparison { code, screen, nonce, step: Step::Meeting, shown: 0, attempts: Vec::new(), awaited: None };
        let pairing = self.begin_pairing(Pairing {
            keys,
            state: PairingState::Waiting,
            expires_boot_ms: now.boot_ms.saturating_add(WAIT_MS_MAX),
            expires_utc_ms: now.utc_ms.saturating_add(WAIT_MS_MAX),
            conn: None,
            side: Side::Comparison(comparison),
        })?;
        self.signal(SignalOut::EnterRoom(token));
        self.reply(request, Ok(Reply::Pairing(pairing)));
        Ok(())
    }

    fn comparison(&mut self, id: PairingId) -> Option<&mut Comparison> {
        match self.pairings.get_mut(&id).map(|pairing| &mut pairing.side) {
            Some(Side::Comparison(comparison)) => Some(comparison),
            _ => None,
        }
    }

    /// The comparison that meets in a room.
    fn meets_in(&self, room: Token) -> Option<PairingId> {
        let meets = |p: &Pairing| p.keys.token == room && matches!(p.side, Side::Comparison(_));
        self.pairings.iter().find(|(_, p)| meets(p)).map(|(id, _)| *id)
    }

    /// Somebody else has entered the room that the code names: it is shown who is here.
    pub(crate) fn show_card(&mut self, room: Token, peer: ClientId, present: bool) {
        let Some(id) = self.meets_in(room).filter(|_| present && !self.is_blocked(peer)) else { return };
        let Some(comparison) = self.comparison(id) else { return };
        let wanted = comparison.screen == Screen::Shows && matches!(comparison.step, Step::Meeting);
        if wanted && comparison.shown < SHOWN_MAX {
            comparison.shown += 1;
            let payload = sealed::show_card(self.identity.card()).to_vec();
            self.signal(SignalOut::Relay { to: peer, via: Via::Room(room), payload });
        }
    }

    pub(crate) fn room_full(&mut self, room: Token, rng: Rng<'_>) {
        if let Some(id) = self.meets_in(room) {
            self.fail_pairing(id, "Too many devices use this code. Begin again with a new one.", rng);
        }
    }

    /// Somebody in the room shows who it is; with a typed code this device offers.
    pub(crate) fn card_shown(&mut self, from: ClientId, room: Token, payload: &[u8], now: Now, rng: Rng<'_>) {
        let waits = |p: &Pairing| {
            let waiting = p.conn.is_none() && p.state == PairingState::Waiting;
            waiting && matches!(&p.side, Side::Comparison(c) if c.screen == Screen::Typed)
        };
        let waiting = self.meets_in(room).filter(|id| self.pairings.get(id).is_some_and(waits));
        let Some(id) = waiting.filter(|_| from != self.own_id) else {
            return self.drop_payload(Drop::Unasked, now);
        };
        if !self.budget.take_first(now.boot_ms) {
            return self.drop_payload(Drop::TooMany, now);
        }
        let card = sealed::shown_card(payload).ok().filter(|card| card.client_id() == from);
        let Some(card) = card else { return self.drop_payload(Drop::NotOpened, now) };
        let (via, session) = (Via::Room(room), new_session_id(rng));
        let link = self.open_conn(card, via, Purpose::Comparing(id), LinkRole::Offerer, session, now, rng);
        self.set_pairing(id, PairingState::Connecting, Some(link));
    }

    /// The channel is proven to end at the two cards' holders, whoever they are. From here on the run counts.
    pub(crate) fn commit_to_nonce(&mut self, link: LinkId, id: PairingId, now: Now, rng: Rng<'_>) {
        let Some(hash) = self.handshake_hash(link) else { return };
        let Some(comparison) = self.comparison(id).filter(|comparison| comparison.screen == Screen::Shows) else {
            return;
        };
        let bound = commitment(&hash, &comparison.nonce);
        comparison.step = Step::Bound(bound);
        if !self.runs.begin(now.boot_ms) {
            return self.fail_pairing(id, TOO_MANY, rng);
        }
        self.send_frame(link, &Frame::Commitment(bound), now, rng);
    }

    fn handshake_hash(&mut self, link: LinkId) -> Option<[u8; 32]> {
        self.conns.get_mut(&link)?.session().map(|session| *session.handshake_hash())
    }

    pub(crate) fn comparison_frame(&mut self, link: LinkId, id: PairingId, frame: &Frame<'_>, now: Now, rng: Rng<'_>) {
        let (Some(hash), Some(peer)) = (self.handshake_hash(link), self.conns.get(&link).map(|conn| conn.peer)) else {
            return;
        };
        let Some(comparison) = self.comparison(id) else { return };
        let own = comparison.nonce;
        match (frame, comparison.screen, &mut comparison.step) {
            (Frame::Commitment(bound), Screen::Typed, Step::Meeting) => {
                comparison.step = Step::Bound(*bound);
                if !self.runs.begin(now.boot_ms) {
                    return self.fail_pairing(id, TOO_MANY, rng);
                }
                self.send_frame(link, &Frame::Nonce(own), now, rng);
            }
            (Frame::Nonce(theirs), Screen::Shows, Step::Bound(_)) => {
                self.send_frame(link, &Frame::Nonce(own), now, rng);
                self.show_digits(link, id, digits(&hash, theirs, &own), now);
            }
            (Frame::Nonce(theirs), Screen::Typed, Step::Bound(bound)) => {
                if commitment(&hash, theirs) != *bound {
                    return self.fail_pairing(id, CHANGED, rng);
                }
                self.show_digits(link, id, digits(&hash, &own, theirs), now);
            }
            (Frame::Agree, _, Step::Compared { there, .. }) if !*there => {
                *there = true;
                self.agree_if_both(link, id, now, rng);
            }
            (Frame::Introduce(introduce), Screen::Shows, Step::Agreed)
                if comparison.awaited.is_none() && introduce.card.client_id() == peer =>
            {
                comparison.awaited = Some(peer);
                self.introduction(link, id, introduce, now, rng);
            }
            (Frame::Paired { name }, Screen::Typed, Step::Agreed) if comparison.awaited.is_some() => {
                self.take_name(link, name);
                self.paired(link, id, now, rng);
            }
            _ => self.break_off(link, "a frame came out of its place", now, rng),
        }
    }

    fn show_digits(&mut self, link: LinkId, id: PairingId, digits: u32, now: Now) {
        let Some(comparison) = self.comparison(id) else { return };
        comparison.step = Step::Compared { here: false, there: false };
        if let Some(pairing) = self.pairings.get_mut(&id) {
            pairing.expires_boot_ms = now.boot_ms.saturating_add(WAIT_MS_MAX);
            pairing.expires_utc_ms = now.utc_ms.saturating_add(WAIT_MS_MAX);
        }
        if let Some(conn) = self.conns.get_mut(&link) {
            conn.deadline_ms = now.boot_ms.saturating_add(WAIT_MS_MAX + GRACE_MS);
        }
        self.set_pairing(id, PairingState::Comparing(digits), Some(link));
    }

    /// The person here says that the digits are the same.
    pub(crate) fn confirm_digits(
        &mut self,
        request: RequestId,
        id: PairingId,
        now: Now,
        rng: Rng<'_>,
    ) -> Result<(), RequestError> {
        let pairing = self.pairings.get_mut(&id).ok_or(RequestError::NotFound)?;
        let conn = pairing.conn;
        let (Side::Comparison(Comparison { step: Step::Compared { here, .. }, .. }), Some(link)) =
            (&mut pairing.side, conn)
        else {
            return Err(RequestError::InvalidArgument("there are no digits to confirm"));
        };
        if !core::mem::replace(here, true) {
            self.set_pairing(id, PairingState::Confirmed, conn);
            self.send_frame(link, &Frame::Agree, now, rng);
            self.agree_if_both(link, id, now, rng);
        }
        self.reply(request, Ok(Reply::Done));
        Ok(())
    }

    /// Once both have confirmed, the one that has typed stores the other and says who it is.
    fn agree_if_both(&mut self, link: LinkId, id: PairingId, now: Now, rng: Rng<'_>) {
        let Some(conn) = self.conns.get(&link) else { return };
        let (peer, card, incarnation) = (conn.peer, conn.card.clone(), conn.own_incarnation);
        let Some(comparison) = self.comparison(id) else { return };
        if !matches!(comparison.step, Step::Compared { here: true, there: true }) {
            return;
        }
        comparison.step = Step::Agreed;
        if comparison.screen == Screen::Shows {
            return;
        }
        comparison.awaited = Some(peer);
        if self.contacts.get(&peer).is_some_and(|contact| !contact.is_introduced()) {
            return self.introduce(link, id, now, rng);
        }
        let contact = new_contact_record(&card, "", ContactState::Pending, incarnation, now);
        let ops = vec![Op::PutContact(contact.clone())];
        self.commit(ops, Pending::Agreed { link, pairing: id, contact });
    }

    pub(crate) fn agreement_stored(
        &mut self,
        link: LinkId,
        id: PairingId,
        contact: ContactRecord,
        result: Result<(), CommitError>,
        now: Now,
        rng: Rng<'_>,
    ) {
        if result.is_err() {
            return self.fail_pairing(id, CONTACT_NOT_STORED, rng);
        }
        self.add_contact(contact);
        self.introduce(link, id, now, rng);
    }

    /// What the other side calls itself, for a contact that has no name yet.
    fn take_name(&mut self, link: LinkId, name: &str) {
        let Some(conn) = self.conns.get(&link) else { return };
        if let Some(contact) = self.contacts.get_mut(&conn.peer)
            && contact.record.state == ContactState::Pending
        {
            contact.record.name = name_of(&conn.card, name);
        }
    }

    /// The connection of a comparison is lost.
    pub(crate) fn comparison_left(&mut self, id: PairingId, left: Left, rng: Rng<'_>) {
        match left {
            Left::Waits => self.set_pairing(id, PairingState::Waiting, None),
            Left::Awaits => {
                if let Some(pairing) = self.pairings.get_mut(&id) {
                    pairing.conn = None;
                }
            }
            Left::Fails => self.fail_pairing(id, LOST, rng),
        }
    }
}
