//! A room as this device holds it: its roster in force, a strand with each other member, and who is
//! there.

use std::collections::{BTreeMap, BTreeSet};

use kith_crypto::identity::{CARD_BYTES, ClientId};
use kith_crypto::room::{RoomId, Roster, RosterError};

use crate::engine::{Engine, Rng};
use crate::event::{Event, MemberView, RoomView};
use crate::record::{
    ConversationId, ConversationRecord, ExpiryRecord, Incarnation, MessageId, MessageRecord, RoomRecord, RoomState,
    StoredRoom, StoredWaiting,
};
use crate::strand::{Lane, Strand};
use crate::{LinkId, Now, RequestError, SignalOut, Token};

/// Rooms on one device: a signaling server lets one device into so many.
pub(crate) const ROOMS_MAX: usize = 64;
/// Devices that a signaling server lets into one room.
const PRESENT_MAX: usize = 256;
/// Own messages in one room that wait for anybody.
const ROOM_OUTBOX_MAX: usize = 2_000;

pub(crate) struct Room {
    pub(crate) record: RoomRecord,
    /// All that the server gets.
    pub(crate) token: Token,
    pub(crate) version: u64,
    pub(crate) hash: [u8; 32],
    pub(crate) owner: ClientId,
    pub(crate) name: String,
    pub(crate) members: BTreeMap<ClientId, Member>,
    pub(crate) conversation: ConversationRecord,
    pub(crate) expiry: ExpiryRecord,
    /// With each other member.
    pub(crate) strands: BTreeMap<ClientId, Strand>,
    /// Own messages that wait, by number.
    waiting: BTreeMap<u64, Waiting>,
    /// Who is there, as the server says: a device may come before the roster that it is on.
    present: BTreeSet<ClientId>,
    /// Who leaves by the change that is on its way to the disk.
    pub(crate) changing: Option<BTreeSet<ClientId>>,
    /// Who has asked the owner to be let go meanwhile.
    pub(crate) leaving: BTreeSet<ClientId>,
}

/// One device on the roster.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) card: [u8; CARD_BYTES],
    pub(crate) name: String,
}

/// An own message that is not with every member yet.
struct Waiting {
    seq: u64,
    id: MessageId,
    peers: BTreeSet<ClientId>,
}

/// Which roster another device holds, and how it counts its messages.
#[derive(Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) version: u64,
    pub(crate) hash: [u8; 32],
    pub(crate) incarnation: Incarnation,
}

impl Room {
    pub(crate) fn new(stored: StoredRoom, own: ClientId) -> Result<Self, RosterError> {
        let mut room = Self {
            token: stored.record.secret.token(),
            version: 0,
            hash: [0; 32],
            owner: own,
            name: String::new(),
            members: BTreeMap::new(),
            conversation: stored.conversation,
            expiry: stored.expiry,
            strands: BTreeMap::new(),
            waiting: BTreeMap::new(),
            present: BTreeSet::new(),
            changing: None,
            leaving: BTreeSet::new(),
            record: stored.record.clone(),
        };
        room.take_over(stored.record, own)?;
        for waits in stored.waiting {
            let StoredWaiting { number, seq, id, peers } = waits;
            room.waiting.insert(number, Waiting { seq, id, peers: peers.into_iter().collect() });
        }
        for (peer, strand) in &mut room.strands {
            let marks = stored.marks.iter().find(|(of, _)| of == peer).map(|(_, marks)| marks.clone());
            let waits = room.waiting.values().filter(|waits| waits.peers.contains(peer)).count() as u64;
            let reading = stored.readings.iter().find(|(of, _)| of == peer).map(|(_, reading)| *reading);
            *strand = Strand::new(marks.unwrap_or_default(), waits, Default::default(), reading.unwrap_or_default());
        }
        Ok(room)
    }

    /// Puts a roster in force. Gives the messages that wait for nobody any more: place and name.
    pub(crate) fn take_over(
        &mut self,
        record: RoomRecord,
        own: ClientId,
    ) -> Result<Vec<(u64, MessageId)>, RosterError> {
        let roster = Roster::parse(&record.roster)?;
        let members = roster
            .members()
            .map(|member| (member.client_id(), Member { card: *member.card, name: member.name.to_owned() }));
        self.members = members.collect();
        (self.version, self.hash, self.owner) = (roster.version(), roster.hash(), roster.owner());
        self.name = roster.name().to_owned();
        let token = record.secret.token();
        if token != self.token {
            self.present.clear();
        }
        self.token = token;
        self.record = record;
        let members = &self.members;
        let others = members.keys().filter(|member| **member != own);
        let is_member = |peer: &ClientId| members.contains_key(peer);
        self.strands.retain(|peer, _| is_member(peer));
        self.leaving.retain(is_member);
        for peer in others {
            self.strands.entry(*peer).or_default();
        }
        self.waiting.values_mut().for_each(|waits| waits.peers.retain(is_member));
        let done = self.waiting.values().filter(|waits| waits.peers.is_empty()).map(|waits| (waits.seq, waits.id));
        let done = done.collect();
        self.waiting.retain(|_, waits| !waits.peers.is_empty());
        Ok(done)
    }

    pub(crate) fn is_joined(&self) -> bool {
        self.record.state == RoomState::Joined
    }

    /// Whether messages of that device are taken.
    pub(crate) fn takes_from(&self, peer: ClientId) -> bool {
        let leaves = self.changing.as_ref().is_some_and(|gone| gone.contains(&peer));
        self.is_joined() && self.members.contains_key(&peer) && !leaves
    }

    pub(crate) fn view(&self) -> RoomView {
        let member = |(peer, member): (&ClientId, &Member)| MemberView {
            peer: *peer,
            name: member.name.clone(),
            present: self.is_joined() && self.present.contains(peer),
        };
        RoomView {
            room: self.record.room,
            name: self.name.clone(),
            state: self.record.state,
            owner: self.owner,
            version: self.version,
            members: self.members.iter().map(member).collect(),
            last_seq: self.conversation.last_seq,
            unread: self.conversation.unread,
            expiry_s: self.expiry.seconds,
        }
    }
}

impl Engine {
    /// A conversation's counters.
    pub(crate) fn counters(&mut self, conversation: ConversationId) -> Option<&mut ConversationRecord> {
        match conversation {
            ConversationId::Direct(peer) => self.contacts.get_mut(&peer).map(|contact| &mut contact.conversation),
            ConversationId::Room(room) => self.rooms.get_mut(&room).map(|room| &mut room.conversation),
        }
    }

    /// A strand with its conversation's counters.
    pub(crate) fn lane(&mut self, lane: Lane) -> Option<(&mut ConversationRecord, &mut Strand)> {
        match lane.conversation {
            ConversationId::Direct(peer) => {
                self.contacts.get_mut(&peer).map(|contact| (&mut contact.conversation, &mut contact.strand))
            }
            ConversationId::Room(room) => {
                let room = self.rooms.get_mut(&room)?;
                Some((&mut room.conversation, room.strands.get_mut(&lane.peer)?))
            }
        }
    }

    pub(crate) fn strand(&mut self, lane: Lane) -> Option<&mut Strand> {
        self.lane(lane).map(|(_, strand)| strand)
    }

    /// The session in use with a peer.
    pub(crate) fn session_with(&self, peer: ClientId) -> Option<LinkId> {
        self.contacts.get(&peer)?.current
    }

    /// The session in use on which a strand's messages may go out.
    pub(crate) fn open_link(&self, lane: Lane) -> Option<LinkId> {
        let link = self.session_with(lane.peer)?;
        let open = match lane.conversation {
            ConversationId::Direct(peer) => self.contacts.get(&peer)?.is_paired(),
            ConversationId::Room(room) => {
                let room = self.rooms.get(&room)?;
                room.takes_from(lane.peer) && self.agrees(room, lane.peer)
            }
        };
        open.then_some(link)
    }

    /// Which roster of a room a peer holds, as it has said in the present session.
    pub(crate) fn heard(&self, room: RoomId, peer: ClientId) -> Option<&Heard> {
        self.conns.get(&self.session_with(peer)?)?.heard.get(&room)
    }

    /// Whether that member holds the roster that is in force here: messages flow while it does.
    pub(crate) fn agrees(&self, room: &Room, peer: ClientId) -> bool {
        let heard = self.heard(room.record.room, peer);
        heard.is_some_and(|heard| (heard.version, heard.hash) == (room.version, room.hash))
    }

    /// All strands with a peer.
    pub(crate) fn lanes_with(&self, peer: ClientId) -> Vec<Lane> {
        let rooms = self.rooms.iter().filter(|(_, room)| room.strands.contains_key(&peer));
        let rooms = rooms.map(|(room, _)| Lane { conversation: ConversationId::Room(*room), peer });
        [Lane::direct(peer)].into_iter().chain(rooms).collect()
    }

    /// The strands whose delivered messages could not be written, and when to try again.
    pub(crate) fn retries(&self) -> impl Iterator<Item = (u64, Lane)> + '_ {
        let direct = self.contacts.iter().map(|(peer, contact)| (Lane::direct(*peer), &contact.strand));
        let rooms = self.rooms.iter().flat_map(|(room, known)| {
            let conversation = ConversationId::Room(*room);
            known.strands.iter().map(move |(peer, strand)| (Lane { conversation, peer: *peer }, strand))
        });
        direct.chain(rooms).filter_map(|(lane, strand)| Some((strand.outbox.retry_at?, lane)))
    }

    /// Forgets what was under way with a peer in a session that has ended, or begins.
    pub(crate) fn rewind(&mut self, peer: ClientId) {
        for lane in self.lanes_with(peer) {
            if let Some(strand) = self.strand(lane) {
                strand.outbox.rewind();
            }
        }
    }

    /// To whom an own message in a room goes, and under which name it is counted.
    pub(crate) fn may_send_to_room(&self, id: RoomId) -> Result<(Vec<ClientId>, Incarnation), RequestError> {
        let room = self.rooms.get(&id).filter(|room| room.record.state != RoomState::Left);
        let room = room.ok_or(RequestError::NotFound)?;
        match room.record.state {
            RoomState::Joined => {}
            RoomState::Frozen => return Err(RequestError::RoomFrozen),
            RoomState::Removed | RoomState::Left => return Err(RequestError::NotAMember),
        }
        if room.waiting.len() >= ROOM_OUTBOX_MAX {
            return Err(RequestError::QuotaExceeded);
        }
        let to: Vec<_> = room.strands.keys().copied().filter(|peer| room.takes_from(*peer)).collect();
        if to.is_empty() {
            return Err(RequestError::InvalidArgument("nobody else is in the room"));
        }
        Ok((to, room.record.incarnation))
    }

    /// An own message waits for these members.
    pub(crate) fn message_waits(&mut self, room: RoomId, message: &MessageRecord, to: &[ClientId]) {
        if let Some(room) = self.rooms.get_mut(&room) {
            let peers: BTreeSet<_> = to.iter().copied().filter(|peer| room.strands.contains_key(peer)).collect();
            if !peers.is_empty() {
                room.waiting.insert(message.number, Waiting { seq: message.seq, id: message.id, peers });
            }
        }
    }

    /// A member has it; says whether it was the last.
    pub(crate) fn waits_no_more(&mut self, room: RoomId, number: u64, peer: ClientId) -> bool {
        let Some(room) = self.rooms.get_mut(&room) else { return false };
        let Some(waits) = room.waiting.get_mut(&number) else { return false };
        waits.peers.remove(&peer);
        let last = waits.peers.is_empty();
        if last {
            room.waiting.remove(&number);
        }
        last
    }

    pub(crate) fn notify_room(&mut self, room: RoomId) {
        let shown = self.rooms.get(&room).filter(|room| room.record.state != RoomState::Left);
        if let Some(view) = shown.map(Room::view) {
            self.notify(Event::Room(view));
        }
    }

    pub(crate) fn notify_conversation(&mut self, conversation: ConversationId) {
        match conversation {
            ConversationId::Direct(peer) => self.notify_peer(peer),
            ConversationId::Room(room) => self.notify_room(room),
        }
    }

    /// Whether a device is on the roster of a room that this one is in.
    pub(crate) fn shares_a_room(&self, peer: ClientId) -> bool {
        self.rooms.values().any(|room| room.is_joined() && room.members.contains_key(&peer))
    }

    /// Enters the rooms at the server, which may be a new one.
    pub(crate) fn enter_rooms(&mut self) {
        let tokens: Vec<_> = self.rooms.values().filter(|r| r.is_joined()).map(|r| r.token).collect();
        for token in tokens {
            self.signal(SignalOut::EnterRoom(token));
        }
    }

    /// The server is gone, and with it what it said about rooms.
    pub(crate) fn forget_presence_in_rooms(&mut self, now: Now, rng: Rng<'_>) {
        let rooms: Vec<_> = self.rooms.iter().map(|(id, room)| (*id, room.token)).collect();
        for (id, token) in rooms {
            if let Some(room) = self.rooms.get_mut(&id) {
                room.present.clear();
            }
            self.forget_presence_in(token, now, rng);
            self.notify_room(id);
        }
    }

    /// Nobody is known to be there under this token any more.
    pub(crate) fn forget_presence_in(&mut self, token: Token, now: Now, rng: Rng<'_>) {
        let there = self.contacts.iter().filter(|(_, contact)| contact.in_rooms.contains(&token));
        let there: Vec<_> = there.map(|(peer, _)| *peer).collect();
        for peer in there {
            self.seen_in_room(token, peer, false, now, rng);
        }
    }

    /// The server says that a device came into a room, or left it.
    pub(crate) fn room_presence(&mut self, token: Token, peer: ClientId, present: bool, now: Now, rng: Rng<'_>) {
        let known = self.rooms.iter_mut().find(|(_, room)| room.token == token && room.is_joined());
        let Some((&id, room)) = known else { return };
        if !present {
            room.present.remove(&peer);
        } else if room.present.len() < PRESENT_MAX {
            room.present.insert(peer);
        }
        if room.members.contains_key(&peer) {
            self.notify_room(id);
            self.seen_in_room(token, peer, present, now, rng);
        }
    }

    /// Finds the members of a room that the server has told of already; forgets those who left it.
    pub(crate) fn look_around(&mut self, id: RoomId, now: Now, rng: Rng<'_>) {
        let Some(room) = self.rooms.get(&id).filter(|room| room.is_joined()) else { return };
        let token = room.token;
        let there = room.present.clone();
        let members: BTreeSet<_> = room.members.keys().copied().collect();
        for peer in there.intersection(&members) {
            self.seen_in_room(token, *peer, true, now, rng);
        }
        let gone = self.contacts.iter().filter(|(peer, c)| c.in_rooms.contains(&token) && !members.contains(peer));
        let gone: Vec<_> = gone.map(|(peer, _)| *peer).collect();
        for peer in gone {
            self.seen_in_room(token, peer, false, now, rng);
        }
    }

    fn seen_in_room(&mut self, token: Token, peer: ClientId, present: bool, now: Now, rng: Rng<'_>) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        let before = contact.way();
        let present = present && !contact.standing.blocked;
        if present {
            contact.in_rooms.insert(token)
        } else {
            contact.in_rooms.remove(&token)
        };
        self.way_changed(peer, before, now, rng);
    }
}
