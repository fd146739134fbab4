//! Between the engine's words and the protocol's, by exhaustive matches without decisions.

use kith_engine::{Ice, IceServer, LoggingMode, LoggingNotice, RefusedBy, Signal, SignalOut, Via};
use kith_signal_protocol as wire;
use wire::{GoodbyeReason, ToDevice, ToServer, UndeliveredReason};

pub(super) fn to_server(signal: SignalOut) -> ToServer {
    match signal {
        SignalOut::Watch { add, remove } => ToServer::Watch(wire::Watch { add, remove }),
        SignalOut::OpenInvite(token) => ToServer::OpenInvite(token),
        SignalOut::CloseInvite(token) => ToServer::CloseInvite(token),
        SignalOut::Relay { to, via, payload } => ToServer::Relay(wire::Relay { to, via: via_out(via), payload }),
        SignalOut::RequestIce => ToServer::IceRequest,
    }
}

/// What the server says after the welcome; `None` for the messages that end or begin a
/// connection.
pub(super) fn from_server(message: ToDevice) -> Option<Signal> {
    match message {
        ToDevice::Notice(notice) => Some(Signal::Notice(self::notice(notice))),
        ToDevice::Intruder => Some(Signal::Intruder),
        ToDevice::Presence(wire::Presence { peer, online }) => Some(Signal::Presence { peer, online }),
        ToDevice::Relayed(wire::Relayed { from, via, payload }) => {
            Some(Signal::Relayed { from, via: via_in(via), payload })
        }
        ToDevice::Undelivered(wire::Undelivered { to, via, reason }) => {
            Some(Signal::Undelivered { to, via: via_in(via), no_such_invite: reason == UndeliveredReason::NoSuchInvite })
        }
        ToDevice::IceServers(ice) => Some(Signal::Ice(self::ice(ice))),
        ToDevice::Challenge(_) | ToDevice::Welcome(_) | ToDevice::Goodbye(_) => None,
    }
}

pub(super) fn notice(notice: wire::Notice) -> LoggingNotice {
    let mode = match notice.mode {
        wire::LoggingMode::Active => LoggingMode::Active,
        wire::LoggingMode::Disabled => LoggingMode::Disabled,
        wire::LoggingMode::Debug => LoggingMode::Debug,
    };
    LoggingNotice { mode, text: notice.text }
}

pub(super) fn refused(reason: GoodbyeReason) -> RefusedBy {
    match reason {
        GoodbyeReason::BadLogin => RefusedBy::BadLogin,
        GoodbyeReason::IdentityInUse => RefusedBy::IdentityInUse,
        GoodbyeReason::UnsupportedVersion => RefusedBy::Version,
        GoodbyeReason::TooSlow
        | GoodbyeReason::TooMany
        | GoodbyeReason::ShuttingDown
        | GoodbyeReason::Replaced
        | GoodbyeReason::Other(_) => RefusedBy::Busy,
    }
}

fn ice(ice: wire::IceServers) -> Ice {
    let servers = ice.servers.into_iter().map(|server| IceServer {
        urls: server.urls,
        username: server.username,
        password: server.password,
    });
    Ice { servers: servers.collect(), lifetime_s: ice.lifetime_s }
}

fn via_out(via: Via) -> wire::Via {
    match via {
        Via::Contact => wire::Via::Contact,
        Via::Invite(token) => wire::Via::Invite(token),
    }
}

fn via_in(via: wire::Via) -> Via {
    match via {
        wire::Via::Contact => Via::Contact,
        wire::Via::Invite(token) => Via::Invite(token),
    }
}
