//! Inside the channel: handshake, greeting, records, rekey (docs/protocol.md §6).

use kith_crypto::noise::Role;
use kith_crypto::session::{Handshake, KEY_RECORDS_MAX, REKEY_RECORDS, Side};
use kith_crypto::version::Version;
use kith_crypto::wire::{Frame, Hello};

use crate::conn::{Conn, Purpose, Stage};
use crate::engine::{Engine, Pending, Rng};
use crate::record::{ContactState, Incarnation};
use crate::strand::Lane;
use crate::{LinkId, LinkPath, LinkRole, Now, Op};

/// A key is replaced when it is this old, idle or not: forward secrecy by the quarter hour.
const REKEY_MS: u64 = 15 * 60 * 1_000;
/// A session whose key was not replaced by then is closed.
const KEY_MS_MAX: u64 = 20 * 60 * 1_000;
/// A younger key is replaced only after many records: a peer cannot make this device compute new
/// keys all the time.
const REKEY_MS_MIN: u64 = 60 * 1_000;

impl Engine {
    /// When a connection wants attention.
    pub(crate) fn conn_timeout(conn: &Conn) -> u64 {
        match (&conn.stage, conn.purpose) {
            (Stage::Open(session), Purpose::Contact) => {
                let rekeys = session.is_initiator() && !session.is_rekeying();
                conn.key_since_ms.saturating_add(if rekeys { REKEY_MS } else { KEY_MS_MAX })
            }
            _ => conn.deadline_ms,
        }
    }

    pub(crate) fn conn_due(&mut self, link: LinkId, now: Now, rng: Rng<'_>) {
        let Some(conn) = self.conns.get(&link) else { return };
        match (&conn.stage, conn.purpose) {
            (Stage::Open(_), Purpose::Contact) if now.boot_ms >= conn.key_since_ms.saturating_add(KEY_MS_MAX) => {
                self.break_off(link, "its key is too old", now, rng);
            }
            (Stage::Open(_), Purpose::Contact) => self.start_rekey(link, now, rng),
            _ => self.link_down(link, "it took too long", now, rng),
        }
    }

    pub(crate) fn link_up(
        &mut self,
        link: LinkId,
        own_fingerprint: [u8; 32],
        remote_fingerprint: [u8; 32],
        path: LinkPath,
        now: Now,
        rng: Rng<'_>,
    ) {
        let Some(conn) = self.conns.get_mut(&link) else { return };
        let (Stage::Negotiating, Some(remote_version)) = (&conn.stage, conn.remote_version) else { return };
        conn.path = path;
        let own = Side { client_id: self.own_id, fingerprint: own_fingerprint, version: Version::OWN };
        let remote = Side { client_id: conn.peer, fingerprint: remote_fingerprint, version: remote_version };
        let identity = conn.card.identity();
        let handshake = match (conn.purpose, conn.role) {
            (Purpose::Accepting(pairing), _) => {
                let Some(pairing) = self.pairings.get(&pairing) else { return };
                Handshake::invited(&self.identity, identity, &pairing.keys, own, remote)
            }
            (Purpose::Inviting(pairing), _) => {
                let Some(pairing) = self.pairings.get(&pairing) else { return };
                Handshake::inviting(&self.identity, identity, &pairing.keys, remote, own)
            }
            (Purpose::Comparing(_), LinkRole::Offerer) => {
                Handshake::comparing(Role::Initiator, &self.identity, identity, own, remote)
            }
            (Purpose::Comparing(_), LinkRole::Answerer) => {
                Handshake::comparing(Role::Responder, &self.identity, identity, remote, own)
            }
            (Purpose::Contact, LinkRole::Offerer) => {
                Handshake::paired(Role::Initiator, &self.identity, identity, own, remote)
            }
            (Purpose::Contact, LinkRole::Answerer) => {
                Handshake::paired(Role::Responder, &self.identity, identity, remote, own)
            }
        };
        conn.stage = Stage::Handshaking(Box::new(handshake));
        self.advance_handshake(link, now, rng);
    }

    /// Sends what is this side's turn to send; goes on to the greeting when the keys are there.
    fn advance_handshake(&mut self, link: LinkId, now: Now, rng: Rng<'_>) {
        loop {
            let Some(conn) = self.conns.get_mut(&link) else { return };
            let Stage::Handshaking(handshake) = &mut conn.stage else { return };
            if handshake.is_finished() {
                return self.greet(link, now, rng);
            }
            if !handshake.is_my_turn() {
                return;
            }
            match handshake.write(&mut self.scratch, rng) {
                Ok(length) => self.transmit_scratch(link, length),
                Err(error) => return self.break_off(link, &format!("the handshake failed: {error}"), now, rng),
            }
        }
    }

    pub(crate) fn handshake_message(&mut self, link: LinkId, message: &mut [u8], now: Now, rng: Rng<'_>) {
        let Some(Conn { stage: Stage::Handshaking(handshake), .. }) = self.conns.get_mut(&link) else { return };
        match handshake.read(message) {
            Ok(()) => self.advance_handshake(link, now, rng),
            Err(error) => self.break_off(link, &format!("the handshake failed: {error}"), now, rng),
        }
    }

    fn greet(&mut self, link: LinkId, now: Now, rng: Rng<'_>) {
        let Some(conn) = self.conns.get_mut(&link) else { return };
        let stage = core::mem::replace(&mut conn.stage, Stage::Negotiating);
        let Stage::Handshaking(handshake) = stage else { return };
        match handshake.finish() {
            Ok(session) => {
                conn.stage = Stage::Greeting(Box::new(session));
                conn.key_since_ms = now.boot_ms;
                let hello = Hello { version: Version::OWN, incarnation: conn.own_incarnation.0 };
                self.send_frame(link, &Frame::Hello(hello), now, rng);
            }
            Err(error) => self.break_off(link, &format!("the handshake failed: {error}"), now, rng),
        }
    }

    /// Seals a frame and sends it. A session that cannot seal any more is closed.
    pub(crate) fn send_frame(&mut self, link: LinkId, frame: &Frame<'_>, now: Now, rng: Rng<'_>) -> bool {
        let Some(conn) = self.conns.get_mut(&link) else { return false };
        let (Stage::Greeting(session) | Stage::Open(session)) = &mut conn.stage else { return false };
        match session.seal_frame(frame, &mut self.scratch) {
            Ok(length) => {
                self.transmit_scratch(link, length);
                true
            }
            Err(error) => {
                self.break_off(link, &format!("a record could not be sealed: {error}"), now, rng);
                false
            }
        }
    }

    /// The other side's first record. Only after it has opened is anything shown, stored or sent.
    pub(crate) fn greeting(&mut self, link: LinkId, record: &mut [u8], now: Now, rng: Rng<'_>) {
        let Some(conn) = self.conns.get_mut(&link) else { return };
        let Stage::Greeting(session) = &mut conn.stage else { return };
        let hello = match session.open_frame(record) {
            Ok(Some(Frame::Hello(hello))) => hello,
            Ok(_) => return self.break_off(link, "its first frame was not hello", now, rng),
            Err(error) => return self.break_off(link, &format!("a record did not open: {error}"), now, rng),
        };
        if !hello.version.is_compatible(Version::OWN) {
            return self.break_off(link, "it speaks another version of the protocol; update both devices", now, rng);
        }
        conn.incarnation = Some(Incarnation(hello.incarnation));
        let stage = core::mem::replace(&mut conn.stage, Stage::Negotiating);
        if let Stage::Greeting(session) = stage {
            conn.stage = Stage::Open(session);
        }
        match conn.purpose {
            Purpose::Contact => self.take_into_use(link, now, rng),
            Purpose::Accepting(pairing) => self.introduce(link, pairing, now, rng),
            Purpose::Inviting(_) => {}
            Purpose::Comparing(pairing) => self.commit_to_nonce(link, pairing, now, rng),
        }
    }

    /// Makes an open connection the one in use with a contact, in place of an older one.
    pub(crate) fn take_into_use(&mut self, link: LinkId, now: Now, rng: Rng<'_>) {
        let Some(conn) = self.conns.get_mut(&link) else { return };
        conn.purpose = Purpose::Contact;
        conn.in_use_since_ms = now.boot_ms;
        let peer = conn.peer;
        if self.is_removing(peer) || self.is_blocked(peer) {
            return self.end_conn(link, now, rng);
        }
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        contact.connect_at = None;
        contact.record.seen_utc_ms = now.utc_ms;
        let attempt = contact.attempt.take();
        let older = contact.current.replace(link);
        let confirmed = contact.record.state == ContactState::Pending;
        if confirmed {
            contact.record.state = ContactState::Paired;
        }
        let op = Op::PutContact(contact.record.clone());
        for other in [attempt, older].into_iter().flatten().filter(|other| *other != link) {
            self.forget_conn(other, rng);
        }
        self.commit(vec![op], if confirmed { Pending::Confirmed { peer } } else { Pending::Seen });
        self.rewind(peer);
        self.notify_peer(peer);
        self.fill_window(Lane::direct(peer));
        self.tell_expiry(link, peer.into(), now, rng);
        self.tell_read(Lane::direct(peer), now, rng);
        self.tell_rooms(link, peer, now, rng);
    }

    /// A record in a session that is in use.
    pub(crate) fn record(&mut self, link: LinkId, record: &mut [u8], now: Now, rng: Rng<'_>) {
        let Some(conn) = self.conns.get_mut(&link) else { return };
        let purpose = conn.purpose;
        let Some(session) = conn.session() else { return };
        let frame = match session.open_frame(record) {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => return self.break_off(link, &format!("a record did not open: {error}"), now, rng),
        };
        match (frame, purpose) {
            (Frame::Message(message), Purpose::Contact) => self.message(link, &message, now, rng),
            (Frame::Ack(ack), Purpose::Contact) => self.ack(link, ack, now, rng),
            (Frame::Introduce(introduce), Purpose::Inviting(pairing)) => {
                self.introduction(link, pairing, &introduce, now, rng);
            }
            (Frame::Paired { .. }, Purpose::Accepting(pairing)) => self.paired(link, pairing, now, rng),
            (
                frame @ (Frame::Commitment(_)
                | Frame::Nonce(_)
                | Frame::Agree
                | Frame::Introduce(_)
                | Frame::Paired { .. }),
                Purpose::Comparing(pairing),
            ) => self.comparison_frame(link, pairing, &frame, now, rng),
            (Frame::Rekey(message), Purpose::Contact) => self.rekey(link, message, now, rng),
            (Frame::Switch, Purpose::Contact) => self.switch(link, now, rng),
            (Frame::AskRekey, Purpose::Contact) => self.asked_to_rekey(link, now, rng),
            (Frame::Room(told), Purpose::Contact) => self.room_told(link, &told, now, rng),
            (Frame::Roster(roster), Purpose::Contact) => self.roster_came(link, &roster, now, rng),
            (Frame::Dismissal { room, version }, Purpose::Contact) => self.dismissed(link, room, version, now, rng),
            (Frame::Expiry(told), Purpose::Contact) => self.expiry_told(link, &told, now, rng),
            (Frame::Read(told), Purpose::Contact) => self.read_told(link, &told),
            (Frame::Leave(room), Purpose::Contact) => self.leaves(link, room, now, rng),
            (Frame::Ping(token), _) => {
                self.send_frame(link, &Frame::Pong(token), now, rng);
            }
            (Frame::Pong(_), _) => {}
            (Frame::Hello(_), _) => self.break_off(link, "it said hello twice", now, rng),
            (_, _) => self.break_off(link, "a frame came out of its place", now, rng),
        }
        self.check_key(link, now, rng);
    }

    /// Looks at the age of the key in records, after traffic.
    pub(crate) fn check_key(&mut self, link: LinkId, now: Now, rng: Rng<'_>) {
        let Some(conn) = self.conns.get_mut(&link) else { return };
        let Stage::Open(session) = &mut conn.stage else { return };
        let (records, initiator, rekeying) = (session.records(), session.is_initiator(), session.is_rekeying());
        if session.key_generation() != conn.key_generation {
            conn.key_generation = session.key_generation();
            conn.key_since_ms = now.boot_ms;
        }
        if records >= KEY_RECORDS_MAX {
            self.break_off(link, "its key was used too often", now, rng);
        } else if records >= REKEY_RECORDS && initiator && !rekeying {
            self.start_rekey(link, now, rng);
        }
    }

    fn asked_to_rekey(&mut self, link: LinkId, now: Now, rng: Rng<'_>) {
        let Some(conn) = self.conns.get(&link) else { return };
        if now.boot_ms >= conn.key_since_ms.saturating_add(REKEY_MS_MIN) {
            self.start_rekey(link, now, rng);
        }
    }

    fn start_rekey(&mut self, link: LinkId, now: Now, rng: Rng<'_>) {
        let Some(conn) = self.conns.get_mut(&link) else { return };
        let Stage::Open(session) = &mut conn.stage else { return };
        if !session.is_initiator() || session.is_rekeying() {
            return;
        }
        match session.start_rekey(&self.identity, conn.card.identity(), &mut self.scratch, rng) {
            Ok(length) => self.transmit_scratch(link, length),
            Err(error) => self.break_off(link, &format!("the rekey failed: {error}"), now, rng),
        }
    }

    fn rekey(&mut self, link: LinkId, message: &[u8], now: Now, rng: Rng<'_>) {
        let Some(conn) = self.conns.get_mut(&link) else { return };
        let Stage::Open(session) = &mut conn.stage else { return };
        let young = now.boot_ms < conn.key_since_ms.saturating_add(REKEY_MS_MIN) && session.records() < REKEY_RECORDS;
        if young && !session.is_initiator() {
            return self.break_off(link, "it changes keys too often", now, rng);
        }
        let (identity, remote) = (&self.identity, conn.card.identity());
        let answered = if session.is_initiator() {
            session.finish_rekey(message, identity, remote, &mut self.scratch)
        } else {
            session.answer_rekey(message, identity, remote, &mut self.scratch, rng)
        };
        match answered {
            Ok(length) => self.transmit_scratch(link, length),
            Err(error) => self.break_off(link, &format!("the rekey failed: {error}"), now, rng),
        }
    }

    fn switch(&mut self, link: LinkId, now: Now, rng: Rng<'_>) {
        let Some(session) = self.conns.get_mut(&link).and_then(Conn::session) else { return };
        if let Err(error) = session.switch() {
            self.break_off(link, &format!("the rekey failed: {error}"), now, rng);
        }
    }
}
