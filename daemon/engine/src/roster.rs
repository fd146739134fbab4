//! How the members of a room come to hold the same roster (docs/protocol.md §7.1).
//!
//! Whoever is in a session with another member tells which roster it holds; the one with the newer
//! hands it on. A roster counts by its owner's signature, whoever brings it.

use std::collections::BTreeSet;

use kith_crypto::identity::{Card, ClientId};
use kith_crypto::room::{Member, RoomId, Roster};
use kith_crypto::wire::{self, Frame, RosterFrame};

use crate::connect::new_incarnation;
use crate::contact::Contact;
use crate::engine::{Engine, Pending, Rng};
use crate::event::{Event, MessageState};
use crate::record::{
    ContactRecord, ContactState, ConversationId, Incarnation, RoomRecord, RoomState, StoredContact, StoredRoom,
};
use crate::room::{Heard, ROOMS_MAX, Room};
use crate::upkeep::cleaned_name;
use crate::{CommitError, LinkId, Now, Op, Reply, RequestId, SignalOut};

/// Rosters handed to one peer in one session: each costs it a few bytes to ask for and this device
/// several thousand to send.
const PUSHES_MAX: u32 = 256;

/// A roster on its way to the disk.
pub(crate) struct Adoption {
    record: RoomRecord,
    /// Who was on the roster before and is not any more.
    gone: BTreeSet<ClientId>,
    /// Members that are known by this roster only.
    introduced: Vec<ContactRecord>,
    /// Who asked for it on this device, if somebody did.
    request: Option<RequestId>,
    /// On which session it came, if it did.
    link: Option<LinkId>,
}

impl Engine {
    /// Sends a roster to the disk that is to be in force, with what follows from it.
    pub(crate) fn adopt(
        &mut self,
        record: RoomRecord,
        request: Option<RequestId>,
        link: Option<LinkId>,
        now: Now,
        rng: Rng<'_>,
    ) {
        let Ok(roster) = Roster::parse(&record.roster) else { return };
        let id = record.room;
        let known = self.rooms.get(&id);
        let gone: BTreeSet<_> = known
            .map(|room| room.strands.keys().copied().filter(|peer| !roster.has(*peer)).collect())
            .unwrap_or_default();
        let mut ops = vec![Op::PutRoom(record.clone())];
        ops.extend(gone.iter().map(|peer| Op::DropMember { room: id, peer: *peer, utc_ms: now.utc_ms }));
        let strangers = roster.members().filter(|member| {
            let device = member.client_id();
            device != self.own_id && !self.contacts.contains_key(&device)
        });
        let introduced: Vec<_> = strangers
            .filter_map(|member| Some((Card::parse(member.card).ok()?, member.name)))
            .map(|(card, name)| introduced_record(&card, name, new_incarnation(rng)))
            .collect();
        ops.extend(introduced.iter().cloned().map(Op::PutContact));
        match self.rooms.get_mut(&id) {
            Some(room) => room.changing = Some(gone.clone()),
            None => drop(self.joining.insert(id)),
        }
        let adoption = Adoption { record, gone, introduced, request, link };
        self.commit(ops, Pending::Roster(Box::new(adoption)));
    }

    /// The roster is on disk and in force.
    pub(crate) fn adopted(&mut self, adoption: Adoption, result: Result<(), CommitError>, now: Now, rng: Rng<'_>) {
        let Adoption { record, gone, introduced, request, link } = adoption;
        let id = record.room;
        self.joining.remove(&id);
        if let Some(room) = self.rooms.get_mut(&id) {
            room.changing = None;
        }
        if let Err(error) = result {
            self.stay(id, &gone, now, rng);
            match request {
                Some(request) => self.reply(request, Err(error.into())),
                None => self.roster_not_stored(id, link, &error, now, rng),
            }
            return;
        }
        let before = self.rooms.get(&id).filter(|room| room.is_joined()).map(|room| room.token);
        let Some(done) = self.put_in_force(record) else { return };
        self.move_to_token(before, id, now, rng);
        for record in introduced {
            self.meet_device(record, now, rng);
        }
        self.look_around(id, now, rng);
        if !done.is_empty() {
            // Some of them may have a time to live.
            self.find_expiring();
        }
        for (seq, message) in done {
            let conversation = ConversationId::Room(id);
            self.notify(Event::MessageState { conversation, seq, id: message, state: MessageState::Delivered });
        }
        self.notify_room(id);
        if let Some(request) = request {
            self.reply(request, Ok(Reply::Room(id)));
        }
        self.tell_members(id, &gone, now, rng);
        self.forget_introduced(gone.into_iter(), now, rng);
        self.let_go(id, now, rng);
    }

    /// A device is known from now on, by a room only. The server may have told of it before.
    pub(crate) fn meet_device(&mut self, record: ContactRecord, now: Now, rng: Rng<'_>) {
        let peer = record.client_id();
        self.contacts.entry(peer).or_insert_with(|| Contact::new(StoredContact::new(record)));
        let rooms: Vec<_> = self.rooms.keys().copied().collect();
        for room in rooms {
            self.look_around(room, now, rng);
        }
    }

    /// They stay in the room after all. What they sent meanwhile was not taken: they send it again when they hear
    /// that both hold the same roster.
    pub(crate) fn stay(&mut self, id: RoomId, peers: &BTreeSet<ClientId>, now: Now, rng: Rng<'_>) {
        for peer in peers {
            if let Some(link) = self.session_with(*peer) {
                self.tell_room(link, id, now, rng);
            }
        }
    }

    /// Whoever brought it, or wanted to be let go, comes again with it in the next session.
    fn roster_not_stored(&mut self, id: RoomId, link: Option<LinkId>, error: &CommitError, now: Now, rng: Rng<'_>) {
        let links: Vec<_> = match (link, self.rooms.get_mut(&id)) {
            (Some(link), _) => vec![link],
            (None, Some(room)) => {
                let leaving = std::mem::take(&mut room.leaving);
                leaving.into_iter().filter_map(|peer| self.session_with(peer)).collect()
            }
            (None, None) => Vec::new(),
        };
        for link in links {
            if let Some(peer) = self.conns.get(&link).map(|conn| conn.peer) {
                self.trouble(peer, &format!("A room's roster could not be stored: {error}."));
            }
            self.end_conn(link, now, rng);
        }
    }

    fn put_in_force(&mut self, record: RoomRecord) -> Option<Vec<(u64, crate::MessageId)>> {
        let (id, own_id) = (record.room, self.own_id);
        match self.rooms.get_mut(&id) {
            Some(room) => room.take_over(record, own_id).ok(),
            None => {
                let stored = StoredRoom::new(record);
                self.rooms.insert(id, Room::new(stored, own_id).ok()?);
                Some(Vec::new())
            }
        }
    }

    /// Leaves the room at the server under the token before, and enters it under the present one.
    fn move_to_token(&mut self, before: Option<[u8; 16]>, id: RoomId, now: Now, rng: Rng<'_>) {
        let after = self.rooms.get(&id).filter(|room| room.is_joined()).map(|room| room.token);
        if before == after {
            return;
        }
        if let Some(token) = before {
            self.signal(SignalOut::LeaveRoom(token));
            self.forget_presence_in(token, now, rng);
        }
        if let Some(token) = after {
            self.signal(SignalOut::EnterRoom(token));
        }
    }

    /// All members in a session with this device hear of the new roster; the owner tells those who
    /// are not on it any more.
    fn tell_members(&mut self, id: RoomId, gone: &BTreeSet<ClientId>, now: Now, rng: Rng<'_>) {
        let Some(room) = self.rooms.get(&id) else { return };
        if !room.is_joined() {
            return;
        }
        let (members, owns, version) = (room.members.clone(), room.owner == self.own_id, room.version);
        for peer in members.into_keys() {
            if let Some(link) = self.session_with(peer) {
                self.tell_room(link, id, now, rng);
                self.meet(link, id, peer, now, rng);
            }
        }
        for peer in gone.iter().filter(|_| owns) {
            if let Some(link) = self.session_with(*peer) {
                self.send_frame(link, &Frame::Dismissal { room: id, version }, now, rng);
            }
        }
    }

    /// A session with a peer begins: which rosters this device holds of the rooms that both are in.
    pub(crate) fn tell_rooms(&mut self, link: LinkId, peer: ClientId, now: Now, rng: Rng<'_>) {
        let shared = self.rooms.iter().filter(|(_, room)| room.is_joined() && room.members.contains_key(&peer));
        let shared: Vec<_> = shared.map(|(id, _)| *id).collect();
        let left = self.rooms.iter().filter(|(_, room)| room.record.state == RoomState::Left && room.owner == peer);
        let left: Vec<_> = left.map(|(id, _)| *id).collect();
        for room in shared {
            self.tell_room(link, room, now, rng);
        }
        for room in left {
            self.send_frame(link, &Frame::Leave(room), now, rng);
        }
    }

    fn tell_room(&mut self, link: LinkId, id: RoomId, now: Now, rng: Rng<'_>) {
        let frame = match self.rooms.get(&id) {
            Some(Room { version, hash, record, .. }) => {
                wire::Room { room: id, version: *version, hash: *hash, incarnation: record.incarnation.0 }
            }
            None => wire::Room { room: id, version: 0, hash: [0; 32], incarnation: [0; 16] },
        };
        self.send_frame(link, &Frame::Room(frame), now, rng);
    }

    /// Messages flow between two members as soon as both hold the same roster.
    fn meet(&mut self, link: LinkId, id: RoomId, peer: ClientId, now: Now, rng: Rng<'_>) {
        if !self.rooms.get(&id).is_some_and(|room| self.agrees(room, peer)) {
            return;
        }
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if let Some(strand) = room.strands.get_mut(&peer) {
            strand.outbox.rewind();
        }
        self.fill_window(crate::strand::Lane { conversation: id.into(), peer });
        self.tell_expiry(link, id.into(), now, rng);
        self.tell_read(crate::strand::Lane { conversation: id.into(), peer }, now, rng);
    }

    /// The peer says which roster of a room it holds.
    pub(crate) fn room_told(&mut self, link: LinkId, told: &wire::Room, now: Now, rng: Rng<'_>) {
        let Some(conn) = self.conns.get_mut(&link) else { return };
        let (id, peer) = (told.room, conn.peer);
        if conn.heard.len() < ROOMS_MAX || conn.heard.contains_key(&id) {
            let incarnation = Incarnation(told.incarnation);
            conn.heard.insert(id, Heard { version: told.version, hash: told.hash, incarnation });
        }
        let Some(room) = self.rooms.get(&id) else { return self.unknown_room_told(link, peer, told, now, rng) };
        if told.version == 0 && room.owner == peer {
            // Its owner was alone in it and has left, or was restored without it: the room has ended.
            let version = room.version + 1;
            return self.dismissed(link, id, version, now, rng);
        }
        let is_member = room.members.contains_key(&peer);
        match room.record.state {
            RoomState::Frozen => return,
            RoomState::Left if room.owner == peer => {
                self.send_frame(link, &Frame::Leave(id), now, rng);
                return;
            }
            RoomState::Left => return,
            RoomState::Joined | RoomState::Removed => {}
        }
        let (joined, version, changing) = (room.is_joined(), room.version, room.changing.is_some());
        let agreed = is_member && self.agrees(room, peer);
        let owned = room.owner == self.own_id;
        if told.version > version {
            // It hands its roster on to whom it hears holds an older one. One that is on its way to the
            // disk may be that one; then all members hear of it.
            if !changing {
                self.tell_room(link, id, now, rng);
            }
        } else if agreed {
            self.meet(link, id, peer, now, rng);
        } else if joined && (told.version > 0 || owned) {
            // Who knows nothing of the room takes its first roster from the owner only.
            self.hand_on(link, peer, id, now, rng);
        }
    }

    /// Only the owner's own word makes a room known, and only that of a contact.
    fn unknown_room_told(&mut self, link: LinkId, peer: ClientId, told: &wire::Room, now: Now, rng: Rng<'_>) {
        let welcome = self.contacts.get(&peer).is_some_and(Contact::is_paired) && self.rooms.len() < ROOMS_MAX;
        if told.version > 0 && welcome && !self.joining.contains(&told.room) {
            self.tell_room(link, told.room, now, rng);
        }
    }

    /// Hands the roster in force to a member that holds another, or none; the owner tells everybody
    /// else that it is on none.
    fn hand_on(&mut self, link: LinkId, peer: ClientId, id: RoomId, now: Now, rng: Rng<'_>) {
        let (Some(conn), Some(room)) = (self.conns.get_mut(&link), self.rooms.get(&id)) else { return };
        conn.pushes += 1;
        if conn.pushes > PUSHES_MAX {
            return self.break_off(link, "it asked for rosters too often", now, rng);
        }
        if room.takes_from(peer) {
            let RoomRecord { secret, roster, .. } = room.record.clone();
            self.send_frame(link, &Frame::Roster(RosterFrame { secret, roster: &roster }), now, rng);
        } else if room.owner == self.own_id && !room.members.contains_key(&peer) {
            let version = room.version;
            self.send_frame(link, &Frame::Dismissal { room: id, version }, now, rng);
        }
    }

    /// A roster came.
    pub(crate) fn roster_came(&mut self, link: LinkId, frame: &RosterFrame<'_>, now: Now, rng: Rng<'_>) {
        let Ok(roster) = Roster::parse(frame.roster) else {
            return self.break_off(link, "it sent a roster that is none", now, rng);
        };
        let id = roster.room();
        let Some(room) = self.rooms.get(&id) else { return self.first_roster(link, frame, &roster, now, rng) };
        if !matches!(room.record.state, RoomState::Joined | RoomState::Removed) || room.changing.is_some() {
            return;
        }
        // An older one changes nothing, however well it is signed.
        if roster.version() < room.version || roster.hash() == room.hash {
            return;
        }
        let record = room.record.clone();
        let Ok(present) = Roster::parse(&record.roster) else { return };
        if roster.verify().is_err() || !roster.continues(&present) {
            return self.break_off(link, "it sent a roster that the room's owner has not signed", now, rng);
        }
        let follows = roster.version() == present.version() + 1;
        if roster.version() == present.version() || (follows && roster.previous() != present.hash()) {
            return self.freeze(record);
        }
        let state = if roster.has(self.own_id) { RoomState::Joined } else { RoomState::Removed };
        // Whoever comes back counts anew: others may have forgotten the count before.
        let incarnation = match record.state {
            RoomState::Joined => record.incarnation,
            _ => new_incarnation(rng),
        };
        self.take_roster(link, frame, RoomRecord { state, incarnation, ..record }, now, rng);
    }

    fn first_roster(&mut self, link: LinkId, frame: &RosterFrame<'_>, roster: &Roster<'_>, now: Now, rng: Rng<'_>) {
        let Some(peer) = self.conns.get(&link).map(|conn| conn.peer) else { return };
        let (id, contact) = (roster.room(), self.contacts.get(&peer));
        let welcome = contact.is_some_and(Contact::is_paired) && self.rooms.len() < ROOMS_MAX;
        if self.joining.contains(&id) || !welcome {
            return;
        }
        if roster.owner() != peer || !roster.has(self.own_id) || roster.verify().is_err() {
            return self.break_off(link, "it sent a roster of a room that is not its own", now, rng);
        }
        let (secret, incarnation) = (frame.secret.clone(), new_incarnation(rng));
        let record = RoomRecord { room: id, secret, incarnation, state: RoomState::Joined, roster: Vec::new() };
        self.take_roster(link, frame, record, now, rng);
    }

    /// Its signature is right: so must be the secret and the cards that it brings.
    fn take_roster(&mut self, link: LinkId, frame: &RosterFrame<'_>, record: RoomRecord, now: Now, rng: Rng<'_>) {
        let Ok(roster) = Roster::parse(frame.roster) else { return };
        let is_card = |member: Member<'_>| {
            let device = member.client_id();
            // A card that is pinned was verified then.
            let pinned = self.contacts.get(&device).map_or(self.identity.card(), |contact| &contact.record.card);
            pinned.as_bytes() == member.card || Card::parse(member.card).is_ok()
        };
        if !roster.is_secret(&frame.secret) || !roster.members().all(is_card) {
            return self.break_off(link, "it sent a roster that does not hold together", now, rng);
        }
        let record = RoomRecord { secret: frame.secret.clone(), roster: frame.roster.to_vec(), ..record };
        self.adopt(record, None, Some(link), now, rng);
    }

    /// The owner has signed two rosters of one version: nobody can tell which one counts.
    fn freeze(&mut self, record: RoomRecord) {
        let id = record.room;
        let record = RoomRecord { state: RoomState::Frozen, ..record };
        self.commit(vec![Op::PutRoom(record)], Pending::Seen);
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.record.state = RoomState::Frozen;
        let (token, owner) = (room.token, room.owner);
        self.signal(SignalOut::LeaveRoom(token));
        self.notify_room(id);
        self.trouble(
            owner,
            "The owner has signed two rosters of one room: the room is frozen. Leave it, and ask for a new one.",
        );
    }
}

/// A device that is known by a room only.
pub(crate) fn introduced_record(card: &Card, name: &str, incarnation: Incarnation) -> ContactRecord {
    ContactRecord {
        card: card.clone(),
        name: cleaned_name(name),
        state: ContactState::Introduced,
        major_min: kith_crypto::version::Version::OWN.major,
        paired_utc_ms: 0,
        seen_utc_ms: 0,
        incarnation,
    }
}
