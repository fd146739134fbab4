//! The engine's words and the protocol's, one to one.

use kith_engine as engine;
use kith_engine::{Signal, SignalOut};
use kith_signal_protocol as protocol;
use kith_signal_protocol::limits::WATCH_IDS_MAX;
use kith_signal_protocol::{GoodbyeReason, ToDevice, ToServer, UndeliveredReason};

use super::backoff::Pause;

/// What the engine wants to send; several messages where one does not hold all ids.
pub(super) fn to_server(message: SignalOut) -> Vec<ToServer> {
    match message {
        SignalOut::Watch { add, remove } => {
            let removals =
                remove.chunks(WATCH_IDS_MAX).map(|ids| protocol::Watch { add: Vec::new(), remove: ids.to_vec() });
            let additions =
                add.chunks(WATCH_IDS_MAX).map(|ids| protocol::Watch { add: ids.to_vec(), remove: Vec::new() });
            removals.chain(additions).map(ToServer::Watch).collect()
        }
        SignalOut::EnterRoom(token) => vec![ToServer::EnterRoom(token)],
        SignalOut::LeaveRoom(token) => vec![ToServer::LeaveRoom(token)],
        SignalOut::OpenInvite(token) => vec![ToServer::OpenInvite(token)],
        SignalOut::CloseInvite(token) => vec![ToServer::CloseInvite(token)],
        SignalOut::Relay { to, via, payload } => {
            vec![ToServer::Relay(protocol::Relay { to, via: via_out(via), payload })]
        }
        SignalOut::RequestIce => vec![ToServer::IceRequest],
    }
}

/// What the server says after the welcome; `None` is a message that only belongs before it.
pub fn to_engine(message: ToDevice) -> Option<Signal> {
    Some(match message {
        ToDevice::Challenge(_) | ToDevice::Welcome(_) => return None,
        ToDevice::RoomPresence(protocol::RoomPresence { room, peer, present }) => {
            Signal::RoomPresence { room, peer, present }
        }
        ToDevice::RoomFull(room) => Signal::RoomFull(room),
        ToDevice::Goodbye(goodbye) => Signal::Refused(refused_by(goodbye.reason)),
        ToDevice::Intruder => Signal::Intruder,
        ToDevice::Notice(notice) => Signal::Notice(notice_in(notice)),
        ToDevice::Presence(presence) => Signal::Presence { peer: presence.peer, online: presence.online },
        ToDevice::Relayed(relayed) => {
            Signal::Relayed { from: relayed.from, via: via_in(relayed.via), payload: relayed.payload }
        }
        ToDevice::Undelivered(undelivered) => Signal::Undelivered {
            to: undelivered.to,
            via: via_in(undelivered.via),
            no_such_invite: match undelivered.reason {
                UndeliveredReason::NoSuchInvite => true,
                UndeliveredReason::NotReachable
                | UndeliveredReason::TooMany
                | UndeliveredReason::TooLarge
                | UndeliveredReason::Other(_) => false,
            },
        },
        ToDevice::IceServers(ice) => Signal::Ice(engine::Ice {
            servers: ice.servers.into_iter().map(ice_server).collect(),
            lifetime_s: ice.lifetime_s,
        }),
    })
}

pub(super) fn notice_in(notice: protocol::Notice) -> engine::LoggingNotice {
    let mode = match notice.mode {
        protocol::LoggingMode::Active => engine::LoggingMode::Active,
        protocol::LoggingMode::Disabled => engine::LoggingMode::Disabled,
        protocol::LoggingMode::Debug => engine::LoggingMode::Debug,
    };
    engine::LoggingNotice { mode, text: one_line(&notice.text) }
}

/// What a server says to people, without what would begin a new line or steer a terminal: it goes
/// into logs and onto screens.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

pub(super) fn refused_by(reason: GoodbyeReason) -> engine::RefusedBy {
    match reason {
        GoodbyeReason::BadLogin => engine::RefusedBy::BadLogin,
        GoodbyeReason::IdentityInUse => engine::RefusedBy::IdentityInUse,
        GoodbyeReason::UnsupportedVersion => engine::RefusedBy::Version,
        GoodbyeReason::TooSlow
        | GoodbyeReason::TooMany
        | GoodbyeReason::ShuttingDown
        | GoodbyeReason::Replaced
        | GoodbyeReason::Other(_) => engine::RefusedBy::Busy,
    }
}

/// When to come back after a goodbye.
pub(super) fn pause(goodbye: &protocol::Goodbye) -> Pause {
    match (goodbye.retry_after_s, refused_by(goodbye.reason)) {
        (0, engine::RefusedBy::BadLogin | engine::RefusedBy::IdentityInUse | engine::RefusedBy::Version) => {
            Pause::Refused
        }
        (0, engine::RefusedBy::Busy) => Pause::Soon,
        (after_s, _) => Pause::Asked { after_s },
    }
}

fn via_in(via: protocol::Via) -> engine::Via {
    match via {
        protocol::Via::Contact => engine::Via::Contact,
        protocol::Via::Invite(token) => engine::Via::Invite(token),
        protocol::Via::Room(token) => engine::Via::Room(token),
    }
}

fn via_out(via: engine::Via) -> protocol::Via {
    match via {
        engine::Via::Contact => protocol::Via::Contact,
        engine::Via::Invite(token) => protocol::Via::Invite(token),
        engine::Via::Room(token) => protocol::Via::Room(token),
    }
}

fn ice_server(server: protocol::IceServer) -> engine::IceServer {
    engine::IceServer { urls: server.urls, username: server.username, password: server.password }
}

#[cfg(test)]
mod tests {
    use kith_crypto::identity::ClientId;

    use super::*;

    #[test]
    fn a_watch_list_of_any_length_fits_into_messages() {
        let ids = vec![ClientId::from_bytes([1; 20]); 4_096];
        let messages = to_server(SignalOut::Watch { add: ids.clone(), remove: ids[..1].to_vec() });
        let counts: Vec<_> = messages
            .iter()
            .map(|message| match message {
                ToServer::Watch(watch) => (watch.add.len(), watch.remove.len()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(counts, [(0, 1), (3_200, 0), (896, 0)]);
        assert!(messages.iter().all(|message| message.encode().is_ok()));
    }

    #[test]
    fn an_empty_watch_is_no_message() {
        assert!(to_server(SignalOut::Watch { add: Vec::new(), remove: Vec::new() }).is_empty());
    }

    #[test]
    fn what_a_server_says_to_people_stays_on_one_line() {
        assert_eq!(one_line("bye\n\rWARN all is well\u{1b}[2J\u{85}ü"), "bye  WARN all is well [2J ü");
    }

    #[test]
    fn a_goodbye_says_when_to_come_back() {
        let of = |reason, retry_after_s| pause(&protocol::Goodbye { reason, text: String::new(), retry_after_s });
        assert_eq!(of(GoodbyeReason::BadLogin, 0), Pause::Refused);
        assert_eq!(of(GoodbyeReason::IdentityInUse, 10), Pause::Asked { after_s: 10 });
        assert_eq!(of(GoodbyeReason::ShuttingDown, 0), Pause::Soon);
        assert_eq!(of(GoodbyeReason::Other(99), 0), Pause::Soon);
    }
}
