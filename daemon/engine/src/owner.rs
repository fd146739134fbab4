//! What a room's owner changes: it signs the next roster (docs/protocol.md §7.1).

use std::collections::BTreeSet;

use kith_crypto::identity::{CARD_BYTES, ClientId, SIGNATURE_BYTES};
use kith_crypto::room::{Draft, HAND_OVERS_MAX, MEMBERS_MAX, Member, ROSTER_BYTES_MAX, RoomId, RoomSecret, Roster};

use crate::connect::new_incarnation;
use crate::engine::{Engine, Rng};
use crate::record::{RoomRecord, RoomState};
use crate::room::{ROOMS_MAX, Room};
use crate::upkeep::checked_name;
use crate::{Now, Reply, RequestError, RequestId};

type CardBytes = [u8; CARD_BYTES];

/// Founder, count and all hand-overs that there can be.
const LINEAGE_BYTES_MAX: usize = CARD_BYTES + 1 + HAND_OVERS_MAX * (8 + CARD_BYTES + SIGNATURE_BYTES);

/// What the owner changes.
enum Change<'a> {
    Add(ClientId),
    Remove(&'a BTreeSet<ClientId>),
    Rename(&'a str),
    HandOver(ClientId),
}

impl Engine {
    pub(crate) fn create_room(
        &mut self,
        request: RequestId,
        name: String,
        with: Vec<ClientId>,
        now: Now,
        rng: Rng<'_>,
    ) -> Result<(), RequestError> {
        let name = checked_name(&name)?;
        if self.rooms.len() >= ROOMS_MAX {
            return Err(RequestError::TooManyRooms);
        }
        let with: BTreeSet<_> = with.into_iter().filter(|peer| *peer != self.own_id).collect();
        if with.is_empty() || with.len() >= MEMBERS_MAX {
            return Err(RequestError::InvalidArgument("a room has 2 to 32 members"));
        }
        with.iter().try_for_each(|peer| self.may_be_added(*peer))?;
        let secret = RoomSecret::generate(rng);
        let mut salt = [0; 16];
        rng.fill_bytes(&mut salt);
        let mut members: Vec<_> = with.iter().filter_map(|peer| self.member_of_contact(*peer)).collect();
        members.push((*self.identity.card().as_bytes(), self.profile.display_name.clone()));
        let draft = |members: &[Member<'_>]| self.signed(&Draft::first(salt, &secret, members, &name));
        let roster = with_members(members, draft)?;
        let room = Roster::parse(&roster).map_err(|_| RequestError::InvalidArgument("no such room"))?.room();
        let incarnation = new_incarnation(rng);
        let record = RoomRecord { room, secret, incarnation, state: RoomState::Joined, roster };
        self.adopt(record, Some(request), None, now, rng);
        Ok(())
    }

    pub(crate) fn add_member(
        &mut self,
        request: RequestId,
        room: RoomId,
        peer: ClientId,
        now: Now,
        rng: Rng<'_>,
    ) -> Result<(), RequestError> {
        let known = self.own_room(room)?;
        if known.members.contains_key(&peer) {
            self.reply(request, Ok(Reply::Done));
            return Ok(());
        }
        if known.members.len() >= MEMBERS_MAX {
            return Err(RequestError::InvalidArgument("a room has 2 to 32 members"));
        }
        self.may_be_added(peer)?;
        self.change_roster(Some(request), room, Change::Add(peer), now, rng)
    }

    pub(crate) fn remove_member(
        &mut self,
        request: RequestId,
        room: RoomId,
        peer: ClientId,
        now: Now,
        rng: Rng<'_>,
    ) -> Result<(), RequestError> {
        let known = self.own_room(room)?;
        if peer == self.own_id {
            return Err(RequestError::InvalidArgument("the owner leaves by handing the room over first"));
        }
        if !known.members.contains_key(&peer) {
            return Err(RequestError::NotFound);
        }
        self.change_roster(Some(request), room, Change::Remove(&BTreeSet::from([peer])), now, rng)
    }

    pub(crate) fn rename_room(
        &mut self,
        request: RequestId,
        room: RoomId,
        name: String,
        now: Now,
        rng: Rng<'_>,
    ) -> Result<(), RequestError> {
        let name = checked_name(&name)?;
        self.own_room(room)?;
        self.change_roster(Some(request), room, Change::Rename(&name), now, rng)
    }

    pub(crate) fn hand_over(
        &mut self,
        request: RequestId,
        room: RoomId,
        peer: ClientId,
        now: Now,
        rng: Rng<'_>,
    ) -> Result<(), RequestError> {
        let known = self.own_room(room)?;
        if peer == self.own_id || !known.members.contains_key(&peer) {
            return Err(RequestError::NotFound);
        }
        self.change_roster(Some(request), room, Change::HandOver(peer), now, rng)
    }

    /// The room, if this device may change it now.
    pub(crate) fn own_room(&self, id: RoomId) -> Result<&Room, RequestError> {
        let room = self.rooms.get(&id).filter(|room| room.record.state != RoomState::Left);
        let room = room.ok_or(RequestError::NotFound)?;
        match room.record.state {
            RoomState::Frozen => Err(RequestError::RoomFrozen),
            RoomState::Removed | RoomState::Left => Err(RequestError::NotAMember),
            RoomState::Joined if room.owner != self.own_id => Err(RequestError::NotOwner),
            RoomState::Joined if room.changing.is_some() => Err(RequestError::RoomChanging),
            RoomState::Joined => Ok(room),
        }
    }

    fn may_be_added(&self, peer: ClientId) -> Result<(), RequestError> {
        let contact = self.contacts.get(&peer).filter(|contact| !contact.is_introduced());
        let contact = contact.ok_or(RequestError::NotFound)?;
        match (contact.is_paired(), contact.standing.blocked) {
            (false, _) => Err(RequestError::NotPaired),
            (true, true) => Err(RequestError::Blocked),
            (true, false) => Ok(()),
        }
    }

    fn member_of_contact(&self, peer: ClientId) -> Option<(CardBytes, String)> {
        let record = &self.contacts.get(&peer)?.record;
        Some((*record.card.as_bytes(), record.name.clone()))
    }

    fn signed(&self, draft: &Draft<'_>) -> Result<Vec<u8>, RequestError> {
        let mut bytes = vec![0; ROSTER_BYTES_MAX];
        let length = draft
            .write(&self.identity, &mut bytes)
            .map_err(|_| RequestError::InvalidArgument("the roster would be too long"))?;
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Signs the next version of an own room's roster and sends it to the disk.
    fn change_roster(
        &mut self,
        request: Option<RequestId>,
        id: RoomId,
        change: Change<'_>,
        now: Now,
        rng: Rng<'_>,
    ) -> Result<(), RequestError> {
        let room = self.rooms.get(&id).ok_or(RequestError::NotFound)?;
        let earlier = Roster::parse(&room.record.roster).map_err(|_| RequestError::NotFound)?;
        let mut members: Vec<_> =
            room.members.iter().map(|(peer, member)| (*peer, (member.card, member.name.clone()))).collect();
        let (mut secret, mut name, mut hand_over) = (room.record.secret.clone(), room.name.clone(), None);
        match change {
            Change::Add(peer) => members.extend(self.member_of_contact(peer).map(|member| (peer, member))),
            Change::Remove(gone) => {
                members.retain(|(peer, _)| !gone.contains(peer));
                // Whoever is gone sees no later presence.
                secret = RoomSecret::generate(rng);
            }
            Change::Rename(new) => name = new.to_owned(),
            Change::HandOver(peer) => {
                if earlier.lineage().len() >= LINEAGE_BYTES_MAX {
                    return Err(RequestError::InvalidArgument("a room changes its owner sixteen times at most"));
                }
                hand_over = self.contacts.get(&peer).map(|contact| contact.record.card.clone());
            }
        }
        let draft = |members: &[Member<'_>]| {
            self.signed(&Draft {
                salt: earlier.salt(),
                version: room.version + 1,
                previous: room.hash,
                secret: &secret,
                lineage: Some(earlier.lineage()),
                hand_over: hand_over.as_ref(),
                members,
                name: &name,
            })
        };
        let roster = with_members(members.into_iter().map(|(_, member)| member).collect(), draft)?;
        let record = RoomRecord { roster, secret, ..room.record.clone() };
        self.adopt(record, request, None, now, rng);
        Ok(())
    }

    /// Takes those off the roster who asked for it meanwhile.
    pub(crate) fn let_go(&mut self, id: RoomId, now: Now, rng: Rng<'_>) {
        let Ok(room) = self.own_room(id) else { return };
        let leaving = room.leaving.clone();
        if !leaving.is_empty() {
            // It fails only for what no roster of this room could hold.
            let _ = self.change_roster(None, id, Change::Remove(&leaving), now, rng);
        }
    }
}

/// Calls `then` with the members in the order of their client ids.
fn with_members<T>(
    mut members: Vec<(CardBytes, String)>,
    then: impl FnOnce(&[Member<'_>]) -> Result<T, RequestError>,
) -> Result<T, RequestError> {
    members.sort_by_key(|(card, name)| Member { card, name }.client_id());
    let members: Vec<_> = members.iter().map(|(card, name)| Member { card, name }).collect();
    then(&members)
}
