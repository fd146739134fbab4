//! What a person has decided about a contact: verified, blocked.
//!
//! A blocked contact reaches nothing. The server is told not to watch it any more, so it sees this
//! device offline, as if it were switched off; what it sends all the same is dropped before it costs
//! or shows anything.

use kith_crypto::identity::ClientId;

use crate::engine::{Engine, Pending, Rng};
use crate::record::StandingRecord;
use crate::{CommitError, Now, Op, Reply, RequestError, RequestId, SignalOut};

impl Engine {
    /// Whether nothing of this device may get in. Strangers are not blocked: they have no way in.
    pub(crate) fn is_blocked(&self, peer: ClientId) -> bool {
        self.contacts.get(&peer).is_some_and(|contact| contact.standing.blocked)
    }

    pub(crate) fn mark_verified(
        &mut self,
        request: RequestId,
        peer: ClientId,
        verified: bool,
    ) -> Result<(), RequestError> {
        let contact = self.contacts.get(&peer).ok_or(RequestError::NotFound)?;
        if !contact.is_paired() {
            return Err(RequestError::NotPaired);
        }
        let standing = StandingRecord { verified, ..contact.standing };
        self.put_standing(request, peer, standing)
    }

    pub(crate) fn block(&mut self, request: RequestId, peer: ClientId, blocked: bool) -> Result<(), RequestError> {
        let contact = self.contacts.get(&peer).ok_or(RequestError::NotFound)?;
        let standing = StandingRecord { blocked, ..contact.standing };
        self.put_standing(request, peer, standing)
    }

    fn put_standing(
        &mut self,
        request: RequestId,
        peer: ClientId,
        standing: StandingRecord,
    ) -> Result<(), RequestError> {
        if self.is_removing(peer) {
            return Err(RequestError::NotFound);
        }
        let contact = self.contacts.get_mut(&peer).ok_or(RequestError::NotFound)?;
        // In memory at once, so that the next decision builds on this one.
        let before = core::mem::replace(&mut contact.standing, standing);
        self.commit(vec![Op::PutStanding(peer, standing)], Pending::Standing { request, peer, before });
        Ok(())
    }

    /// The decision is on disk, and takes effect; or it is taken back.
    pub(crate) fn standing_written(
        &mut self,
        request: RequestId,
        peer: ClientId,
        before: StandingRecord,
        result: Result<(), CommitError>,
        now: Now,
        rng: Rng<'_>,
    ) {
        if let Some(contact) = self.contacts.get_mut(&peer) {
            if result.is_err() {
                contact.standing = before;
            }
            match (before.blocked, contact.standing.blocked) {
                (false, true) => self.shut_out(peer, now, rng),
                (true, false) => self.let_in(peer, now, rng),
                (false, false) | (true, true) => {}
            }
            self.notify_peer(peer);
        }
        self.reply(request, result.map(|()| Reply::Done).map_err(RequestError::from));
    }

    fn let_in(&mut self, peer: ClientId, now: Now, rng: Rng<'_>) {
        self.signal(SignalOut::Watch { add: vec![peer], remove: Vec::new() });
        let rooms: Vec<_> = self.rooms.keys().copied().collect();
        for room in rooms {
            self.look_around(room, now, rng);
        }
    }

    /// Ends all that is under way with a contact. What it has sent and is not on its way to the disk
    /// stays with it, unacknowledged.
    fn shut_out(&mut self, peer: ClientId, now: Now, rng: Rng<'_>) {
        self.fail_pairings_with(peer, "The contact was blocked while the devices paired.", rng);
        self.signal(SignalOut::Watch { add: Vec::new(), remove: vec![peer] });
        if let Some(contact) = self.contacts.get_mut(&peer) {
            contact.online = false;
            contact.in_rooms.clear();
        }
        for lane in self.lanes_with(peer) {
            if let Some(strand) = self.strand(lane) {
                strand.inbound.waiting.clear();
            }
        }
        self.end_conns_with(peer, now, rng);
    }
}
