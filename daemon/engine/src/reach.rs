//! Whether peers may see this device's address.

use crate::conn::Hearing;
use crate::engine::{Engine, Pending, Rng};
use crate::event::Event;
use crate::record::ReachRecord;
use crate::{CommitError, LinkPath, Now, Op, Reply, RequestError, RequestId};

impl Engine {
    pub(crate) fn set_relay_only(&mut self, request: RequestId, relay_only: bool) -> Result<(), RequestError> {
        let reach = ReachRecord { relay_only };
        self.commit(vec![Op::PutReach(reach)], Pending::Reach { request, reach });
        Ok(())
    }

    pub(crate) fn reach_written(
        &mut self,
        request: RequestId,
        reach: ReachRecord,
        result: Result<(), CommitError>,
        now: Now,
        rng: Rng<'_>,
    ) {
        let before = self.settings.relay_only;
        if result.is_ok() && reach.relay_only != before {
            self.settings.relay_only = reach.relay_only;
            self.notify(Event::RelayOnly(reach.relay_only));
            if reach.relay_only {
                self.end_what_is_not_relayed(now, rng);
            } else {
                self.look_for_direct_paths(now, rng);
            }
        }
        self.reply(request, result.map(|()| Reply::Done).map_err(RequestError::from));
    }

    /// Not one more packet goes from the own address to a peer's; what was begun has offered it.
    fn end_what_is_not_relayed(&mut self, now: Now, rng: Rng<'_>) {
        let shows = self.conns.iter().filter(|(_, conn)| !conn.is_open() || conn.path == LinkPath::Direct);
        let shows: Vec<_> = shows.map(|(link, conn)| (*link, conn.peer)).collect();
        for (link, peer) in shows {
            self.end_conn(link, now, rng);
            // It has not failed.
            if let Some(contact) = self.contacts.get_mut(&peer) {
                contact.failures = 0;
            }
            self.schedule(peer, now, rng);
        }
    }

    /// A new connection beside each relayed session may find a direct path.
    fn look_for_direct_paths(&mut self, now: Now, rng: Rng<'_>) {
        let relayed = self.conns.iter().filter(|(_, conn)| conn.is_open() && conn.path == LinkPath::Relayed);
        let relayed: Vec<_> = relayed.map(|(link, _)| *link).collect();
        for link in relayed {
            self.hear(link, Hearing::Moved, now, rng);
        }
    }
}
