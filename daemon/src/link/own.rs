//! What this device says of itself: a description with the candidates that are there at once, then
//! the others, one by one.
//!
//! Each word costs both sides public-key work, milliseconds on a small board, and a way over the
//! server. A description with its candidates costs no more than one without.

use std::time::Duration;

use kith_engine::Negotiation;
use tokio::time::Instant;

use super::failure::Failure;
use super::servers::Servers;

/// How long a description waits for the candidates of this device's own addresses. They take a
/// millisecond; should one of them never come, the others must not wait for it.
const HOLD_MAX: Duration = Duration::from_millis(50);

/// This device's side of the negotiation.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Bound addresses that are to become candidates; none of them where only relays are used.
    addresses: usize,
    /// Whether servers will add candidates, a round trip later.
    servers_configured: bool,
    /// Whether a relay is among these servers.
    relay_configured: bool,
    /// Whether a relayed candidate has come.
    pub(super) relayed: bool,
    /// Whether there are no more candidates.
    pub(super) ended: bool,
    held: Option<Held>,
}

/// A description that waits for its candidates.
#[derive(Debug)]
struct Held {
    kind: fn(String) -> Negotiation,
    sdp: String,
    candidates: usize,
    until: Instant,
}

impl Own {
    /// Before anything is said: with the addresses that are bound, and the servers that are asked.
    pub(super) fn new(addresses: usize, servers: &Servers, relay_only: bool) -> Own {
        Own {
            addresses: if relay_only { 0 } else { addresses },
            servers_configured: !servers.entries.is_empty(),
            relay_configured: servers.relays,
            ..Own::default()
        }
    }

    /// Takes the own description. What comes back, here and below, is to be said now.
    pub(super) fn describe(&mut self, kind: fn(String) -> Negotiation, sdp: String) -> Option<Negotiation> {
        if self.addresses == 0 {
            return Some(kind(sdp));
        }
        self.held = Some(Held { kind, sdp, candidates: 0, until: Instant::now() + HOLD_MAX });
        None
    }

    /// Takes a candidate, as an SDP attribute value.
    pub(super) fn candidate(&mut self, line: String) -> Option<Negotiation> {
        let Some(held) = &mut self.held else { return Some(Negotiation::Candidate(line)) };
        held.add(&line);
        held.candidates += 1;
        // Without servers the end follows, and is said along with it.
        if held.candidates < self.addresses || !self.servers_configured { None } else { self.release() }
    }

    /// Takes the end of candidates.
    pub(super) fn end(&mut self) -> Option<Negotiation> {
        match &mut self.held {
            Some(held) => held.add("end-of-candidates"),
            None => return Some(Negotiation::Candidate(String::new())),
        }
        self.release()
    }

    /// The library reports a refused TURN login to nobody; what is missing at the end tells.
    pub(super) fn lack_relay(&self) -> bool {
        self.relay_configured && !self.relayed
    }

    /// Why no path was found.
    pub(super) fn no_path(&self, otherwise: Failure) -> Failure {
        if self.lack_relay() { Failure::NoPathNorRelay } else { otherwise }
    }

    /// Until when the description waits, if it does.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.until)
    }

    /// Ends the wait.
    pub(super) fn release(&mut self) -> Option<Negotiation> {
        self.held.take().map(|held| (held.kind)(held.sdp))
    }
}

impl Held {
    /// At the end, which belongs to the only media section.
    fn add(&mut self, attribute: &str) {
        self.sdp.push_str("a=");
        self.sdp.push_str(attribute);
        self.sdp.push_str("\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";
    const HOST: &str = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host";

    fn with(attributes: &[&str]) -> String {
        attributes.iter().fold(SDP.to_owned(), |sdp, attribute| format!("{sdp}a={attribute}\r\n"))
    }

    #[tokio::test]
    async fn without_servers_everything_is_said_in_one_word() {
        let mut own = Own { addresses: 2, ..Own::default() };
        assert_eq!(own.describe(Negotiation::Offer, SDP.to_owned()), None);
        assert_eq!(own.candidate(HOST.to_owned()), None);
        assert_eq!(own.candidate(HOST.to_owned()), None);
        assert_eq!(own.end(), Some(Negotiation::Offer(with(&[HOST, HOST, "end-of-candidates"]))));
        assert_eq!(own.held_until(), None);
    }

    #[tokio::test]
    async fn what_servers_add_is_not_waited_for() {
        let mut own = Own { addresses: 1, servers_configured: true, ..Own::default() };
        assert_eq!(own.describe(Negotiation::Answer, SDP.to_owned()), None);
        assert_eq!(own.candidate(HOST.to_owned()), Some(Negotiation::Answer(with(&[HOST]))));
        assert_eq!(own.candidate("later".to_owned()), Some(Negotiation::Candidate("later".to_owned())));
        assert_eq!(own.end(), Some(Negotiation::Candidate(String::new())));
    }

    #[tokio::test]
    async fn an_address_that_makes_no_candidate_is_waited_for_in_vain_and_not_for_long() {
        let mut own = Own { addresses: 2, servers_configured: true, ..Own::default() };
        assert_eq!(own.describe(Negotiation::Offer, SDP.to_owned()), None);
        assert_eq!(own.candidate(HOST.to_owned()), None);
        assert!(own.held_until().is_some_and(|until| until <= Instant::now() + HOLD_MAX));
        assert_eq!(own.release(), Some(Negotiation::Offer(with(&[HOST]))));
        assert_eq!(own.release(), None);
    }

    #[test]
    fn where_only_relays_are_used_nothing_is_waited_for() {
        let mut own = Own { servers_configured: true, ..Own::default() };
        assert_eq!(own.describe(Negotiation::Offer, SDP.to_owned()), Some(Negotiation::Offer(SDP.to_owned())));
    }
}
