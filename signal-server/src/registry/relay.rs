//! Who may pass a payload on to whom, here and at other servers.

use kith_crypto::identity::ClientId;
use kith_signal_protocol::limits::RELAY_BYTES_MAX;
use kith_signal_protocol::{Relay, Relayed, ToDevice, Token, Undelivered, UndeliveredReason, Via};

use super::others::Asked;
use super::words::{Address, NodeId, Order, Passed, Word};
use super::{ConnectionId, Output, Registry};

/// Devices that may use one invite: its holder allows five attempts, and some come in vain.
pub(super) const INVITE_USERS_MAX: usize = 16;

/// The way of a payload.
enum Route {
    /// To a device of this server.
    Here(ConnectionId),
    /// To another server.
    Elsewhere {
        /// Whether the right to it is known here.
        is_permitted: bool,
    },
}

impl Registry {
    /// A device of this server has a payload for another.
    pub(super) fn relay(&mut self, connection: ConnectionId, from: ClientId, relay: Relay) {
        let Relay { to, via, payload } = relay;
        match self.route(from, to, via, payload.len()) {
            Ok(Route::Here(receiver)) => {
                self.send(receiver, ToDevice::Relayed(Relayed { from, via, payload }));
            }
            Ok(Route::Elsewhere { is_permitted }) => {
                let number = self.others.ask(Asked::Relay { from, to, via, is_permitted });
                let word = Word::Relay(Passed { from, to, via, is_permitted, payload });
                self.outputs.push_back(Output::Bus(Order::Say { to: Address::Device(to), word, asked: Some(number) }));
            }
            Err(reason) => {
                self.send(connection, ToDevice::Undelivered(Undelivered { to, via, reason }));
            }
        }
    }

    /// Another server has a payload for a device of this one.
    pub(super) fn take_passed(&mut self, node: NodeId, passed: Passed) {
        let Passed { from, to, via, is_permitted, payload } = passed;
        match self.route_passed(from, to, via, is_permitted, payload.len()) {
            Ok(receiver) => self.send(receiver, ToDevice::Relayed(Relayed { from, via, payload })),
            Err(reason) => {
                let undelivered = Undelivered { to, via, reason };
                self.say(Address::Node(node), Word::Undelivered { from, undelivered });
            }
        }
    }

    /// Nobody heard that payload.
    pub(super) fn lose_passed(&mut self, from: ClientId, to: ClientId, via: Via, is_permitted: bool) {
        let reason = unreachable(via, is_permitted);
        self.tell_undelivered(from, Undelivered { to, via, reason });
    }

    /// Tells a device of this server what became of its payload.
    pub(super) fn tell_undelivered(&mut self, from: ClientId, undelivered: Undelivered) {
        if let Some(device) = self.here(&from) {
            let to = device.connection;
            self.send(to, ToDevice::Undelivered(undelivered));
        }
    }

    fn route(&mut self, from: ClientId, to: ClientId, via: Via, bytes: usize) -> Result<Route, UndeliveredReason> {
        if bytes > RELAY_BYTES_MAX {
            return Err(UndeliveredReason::TooLarge);
        }
        match via {
            Via::Contact => self.route_contact(from, to),
            Via::Invite(token) => self.route_invite(from, to, &token),
            Via::Room(room) => self.route_room(from, to, &room),
        }
    }

    fn route_contact(&self, from: ClientId, to: ClientId) -> Result<Route, UndeliveredReason> {
        let watched = self.devices.get(&from).is_some_and(|device| device.watches.contains(&to));
        match self.here(&to) {
            Some(device) if watched && device.watches.contains(&from) => Ok(Route::Here(device.connection)),
            None if watched && self.others.is_seen(from, to) => Ok(Route::Elsewhere { is_permitted: false }),
            _ => Err(UndeliveredReason::NotReachable),
        }
    }

    fn route_invite(&mut self, from: ClientId, to: ClientId, token: &Token) -> Result<Route, UndeliveredReason> {
        let is_elsewhere = self.link.is_some() && self.here(&to).is_none();
        let Some(invite) = self.invites.get_mut(token) else {
            // Whoever holds it may be at another server.
            let elsewhere = Route::Elsewhere { is_permitted: false };
            return if is_elsewhere { Ok(elsewhere) } else { Err(UndeliveredReason::NoSuchInvite) };
        };
        if from == invite.holder {
            if !invite.users.contains(&to) {
                return Err(UndeliveredReason::NotReachable);
            }
        } else if to == invite.holder {
            if invite.users.len() >= INVITE_USERS_MAX && !invite.users.contains(&from) {
                return Err(UndeliveredReason::TooMany);
            }
            if invite.users.insert(from) {
                self.outputs.push_back(Output::Pairing { inviter: to, invitee: from });
            }
        } else {
            // Whether somebody else holds this token open is nobody's business.
            return Err(UndeliveredReason::NoSuchInvite);
        }
        match self.here(&to) {
            Some(device) => Ok(Route::Here(device.connection)),
            None if is_elsewhere => Ok(Route::Elsewhere { is_permitted: true }),
            None => Err(UndeliveredReason::NotReachable),
        }
    }

    fn route_room(&self, from: ClientId, to: ClientId, room: &Token) -> Result<Route, UndeliveredReason> {
        let is_inside = |id: &ClientId| self.devices.get(id).is_some_and(|device| device.rooms.contains(room));
        match self.here(&to) {
            Some(device) if from != to && is_inside(&from) && is_inside(&to) => Ok(Route::Here(device.connection)),
            None if is_inside(&from) && self.rooms.is_elsewhere(room, to) => {
                Ok(Route::Elsewhere { is_permitted: false })
            }
            _ => Err(UndeliveredReason::NotReachable),
        }
    }

    /// The other server has looked at its side of the right; this is the other side.
    fn route_passed(
        &mut self,
        from: ClientId,
        to: ClientId,
        via: Via,
        is_permitted: bool,
        bytes: usize,
    ) -> Result<ConnectionId, UndeliveredReason> {
        if bytes > RELAY_BYTES_MAX {
            return Err(UndeliveredReason::TooLarge);
        }
        let gone = unreachable(via, is_permitted);
        let device = self.here(&to).ok_or(gone)?;
        let receiver = device.connection;
        let is_wanted = match via {
            Via::Contact => device.watches.contains(&from),
            Via::Room(room) => device.rooms.contains(&room) && self.rooms.is_elsewhere(&room, from),
            Via::Invite(_) if is_permitted => true,
            Via::Invite(token) => return self.route_invite(from, to, &token).map(|_| receiver),
        };
        if is_wanted { Ok(receiver) } else { Err(gone) }
    }
}

/// What it means that nobody is there.
fn unreachable(via: Via, is_permitted: bool) -> UndeliveredReason {
    match via {
        Via::Invite(_) if !is_permitted => UndeliveredReason::NoSuchInvite,
        Via::Contact | Via::Invite(_) | Via::Room(_) => UndeliveredReason::NotReachable,
    }
}
