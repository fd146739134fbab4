//! What the WebRTC library calls. A callback only forwards, and never waits: it runs inside the
//! driver, which also keeps the connection alive.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use webrtc::data_channel::DataChannel;
use webrtc::peer_connection::{
    PeerConnectionEventHandler, RTCIceCandidate, RTCIceCandidateType, RTCIceConnectionState, RTCIceGatheringState,
    RTCPeerConnectionIceEvent, RTCPeerConnectionState,
};

/// How many happenings may wait for the task: one per candidate (16 addresses, two kinds, a
/// relayed one for each server), a dozen changes of state, and the channels that are refused.
const HAPPENINGS_MAX: usize = 256;

/// What happened in the connection.
pub(super) enum Happening {
    /// A candidate of this device, as an SDP attribute value.
    Candidate {
        /// For the other side.
        line: String,
        /// Whether it is an address at a relay.
        relayed: bool,
    },
    /// There are no more candidates.
    EndOfCandidates,
    /// ICE has a path (again); it may be another one.
    PathFound,
    /// Nothing comes over the path any more.
    PathSilent,
    /// The connection has failed: ICE, or DTLS on ICE's path.
    Failed,
    /// The other side opened a channel.
    Channel(Arc<dyn DataChannel>),
    /// Nothing will happen any more.
    DriverEnded,
}

/// Takes happenings from the library to the link's task.
#[derive(Clone, Debug)]
pub(super) struct Reporter(Arc<Mutex<Option<mpsc::Sender<Happening>>>>);

/// Makes the two ends.
pub(super) fn channel() -> (Reporter, mpsc::Receiver<Happening>) {
    let (sender, receiver) = mpsc::channel(HAPPENINGS_MAX);
    (Reporter(Arc::new(Mutex::new(Some(sender)))), receiver)
}

impl Reporter {
    /// Forwards. If the queue is full it is closed: a task that missed a happening must end, and
    /// learns of it by the end of the queue.
    pub(super) fn report(&self, happening: Happening) {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = sender.as_ref()
            && queue.try_send(happening).is_err()
        {
            *sender = None;
        }
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Reporter {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let relayed = event.candidate.typ == RTCIceCandidateType::Relay;
        if let Some(line) = line_of(event.candidate) {
            self.report(Happening::Candidate { line, relayed });
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.report(Happening::EndOfCandidates);
        }
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        match state {
            RTCIceConnectionState::Connected | RTCIceConnectionState::Completed => self.report(Happening::PathFound),
            // It comes back by itself, or fails.
            RTCIceConnectionState::Disconnected => self.report(Happening::PathSilent),
            // "Failed" makes the connection fail.
            _ => {}
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Failed {
            self.report(Happening::Failed);
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        self.report(Happening::Channel(channel));
    }
}

/// A candidate without its related address: the other side needs none, and for a relayed
/// candidate it is the very address that the relay hides (RFC 8839 §5.1 allows this value).
fn line_of(mut candidate: RTCIceCandidate) -> Option<String> {
    if !candidate.related_address.is_empty() {
        let v6 = candidate.address.contains(':');
        candidate.related_address = if v6 { "::" } else { "0.0.0.0" }.to_owned();
        candidate.related_port = 9;
    }
    candidate.to_json().ok().map(|init| init.candidate)
}

#[cfg(test)]
mod tests {
    use webrtc::peer_connection::RTCIceProtocol;

    use super::*;

    #[test]
    fn a_relayed_candidate_does_not_name_the_address_behind_it() {
        for (address, related, hidden) in
            [("203.0.113.5", "192.168.7.7", "raddr 0.0.0.0 rport 9"), ("2001:db8::5", "fd00::7", "raddr :: rport 9")]
        {
            let line = line_of(RTCIceCandidate {
                foundation: "1".to_owned(),
                priority: 1,
                address: address.to_owned(),
                protocol: RTCIceProtocol::Udp,
                port: 50_000,
                typ: RTCIceCandidateType::Relay,
                component: 1,
                related_address: related.to_owned(),
                related_port: 40_000,
                ..RTCIceCandidate::default()
            })
            .unwrap();
            assert!(line.starts_with("candidate:") && line.contains(address), "{line}");
            assert!(line.contains(hidden) && !line.contains(related) && !line.contains("40000"), "{line}");
        }
    }

    #[tokio::test]
    async fn a_task_that_cannot_follow_learns_of_it_by_the_end_of_the_queue() {
        let (reporter, mut happenings) = channel();
        for _ in 0..=HAPPENINGS_MAX {
            reporter.report(Happening::PathFound);
        }
        for _ in 0..HAPPENINGS_MAX {
            assert!(matches!(happenings.recv().await, Some(Happening::PathFound)));
        }
        assert!(happenings.recv().await.is_none());
    }
}
