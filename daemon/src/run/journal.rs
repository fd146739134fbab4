//! What an operator reads in the journal: states, never content, addresses or secrets.

use kith_crypto::identity::ClientId;
use kith_engine::{Dropped, Event, LoggingMode, SignalingState};
use tracing::{debug, info, warn};

/// Says what an event means for the operator, if it means something.
pub(super) fn tell(event: &Event) {
    match event {
        Event::Signaling(SignalingState::Connecting) => info!("waiting for the signaling server"),
        Event::Signaling(SignalingState::Online) => info!("logged in to the signaling server"),
        Event::Signaling(SignalingState::Refused(why)) => warn!(?why, "the signaling server refuses this device"),
        Event::Notice(notice) if notice.mode == LoggingMode::Debug => {
            warn!("the signaling server logs full addresses (debug mode)");
        }
        Event::Notice(notice) => info!(mode = ?notice.mode, "the signaling server's logging mode"),
        Event::Intruder => warn!("another device tried to use this identity"),
        Event::Dropped(dropped) => tell_dropped(dropped),
        Event::Trouble { peer, text } => warn!(peer = %shortened(*peer), "{text}"),
        Event::Peer(_)
        | Event::PeerRemoved(_)
        | Event::Room(_)
        | Event::RoomRemoved(_)
        | Event::Pairing(_)
        | Event::MessageState { .. }
        | Event::Received { .. }
        | Event::Disappeared { .. }
        | Event::Read { .. }
        | Event::SendsReceipts(_)
        | Event::RelayOnly(_)
        | Event::DisplayName(_) => {}
    }
}

/// Of payloads that were dropped. Late ones and those of attempts that crossed are in the nature of
/// things.
fn tell_dropped(dropped: &Dropped) {
    let Dropped { not_opened, repeated, unasked, too_many } = *dropped;
    if not_opened > 0 {
        warn!(
            not_opened,
            "what the signaling server relayed did not open: it was changed on its way, or somebody sends in another's \
             name; if it goes on, use another server"
        );
    }
    if too_many > 0 {
        warn!(too_many, "more came over the signaling server than this device looks at; some was dropped");
    }
    if repeated > 0 || unasked > 0 {
        debug!(repeated, unasked, "what the signaling server relayed was late, repeated or for nobody here");
    }
}

/// Enough of a client id to tell the contacts of one device apart.
fn shortened(peer: ClientId) -> String {
    peer.to_string().chars().take(9).collect()
}
