//! What the other side says of itself, parsed at the edge.
//!
//! The other side is authenticated only inside the channel, so this is what a stranger may have
//! written. The library parses more of SDP than is needed here: what is let through to it is one
//! data section, and candidates that are UDP addresses.

use std::net::{IpAddr, SocketAddr};

/// The longest description, in bytes. The library's own take 500, a browser's 2,000.
const DESCRIPTION_BYTES_MAX: usize = 16_384;

/// The longest candidate, in bytes. An IPv6 candidate with all its extensions takes 200.
const CANDIDATE_BYTES_MAX: usize = 512;

/// How many candidates of the other side are tried, of those in its description and again of those
/// that follow: a device with ten addresses, each at a STUN server and at a relay, has thirty. Each
/// costs checks on every own address.
pub(super) const CANDIDATES_MAX: usize = 32;

/// A description, without the candidates in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Description {
    /// SDP (RFC 8866).
    pub(super) sdp: String,
    /// The candidates that were in it, the first ones.
    pub(super) candidates: Vec<Candidate>,
}

/// A candidate that this device may try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// As an SDP attribute value (RFC 8839 §5.1), up to its type.
    pub(super) line: String,
    /// Where it is.
    pub(super) address: SocketAddr,
    /// Whether that is an address at a relay.
    pub(super) relayed: bool,
}

impl Description {
    /// Reads a description; none if it is not one of a single data section.
    pub(super) fn parse(sdp: &str) -> Option<Description> {
        if sdp.len() > DESCRIPTION_BYTES_MAX {
            return None;
        }
        let mut rest = String::with_capacity(sdp.len());
        let mut candidates = Vec::new();
        let mut sections = 0;
        for line in sdp.lines() {
            if let Some(candidate) = line.strip_prefix("a=candidate:") {
                if candidates.len() < CANDIDATES_MAX {
                    candidates.extend(Candidate::parse(candidate));
                }
                continue;
            }
            if let Some(media) = line.strip_prefix("m=") {
                sections += 1;
                if !media.starts_with("application ") {
                    return None;
                }
            }
            rest.push_str(line);
            rest.push_str("\r\n");
        }
        (sections == 1).then_some(Description { sdp: rest, candidates })
    }
}

impl Candidate {
    /// Reads a candidate; none if it is malformed or not for this device: TCP, a name instead of
    /// an address, or an address that no peer can have.
    pub(super) fn parse(line: &str) -> Option<Candidate> {
        if line.len() > CANDIDATE_BYTES_MAX {
            return None;
        }
        let line = line.strip_prefix("candidate:").unwrap_or(line);
        let mut words = line.split_ascii_whitespace();
        let mut word = || words.next();
        let (foundation, component, transport) = (word()?, word()?, word()?);
        let (priority, address, port): (u32, IpAddr, u16) =
            (word()?.parse().ok()?, word()?.parse().ok()?, word()?.parse().ok()?);
        let (keyword, kind) = (word()?, word()?);

        let relayed = match kind {
            "relay" => true,
            "host" | "srflx" | "prflx" => false,
            _ => return None,
        };
        let usable = component == "1" && transport.eq_ignore_ascii_case("udp") && keyword == "typ" && port != 0;
        if !usable || address.is_unspecified() || address.is_multicast() {
            return None;
        }
        let line = format!("candidate:{foundation} 1 udp {priority} {address} {port} typ {kind}");
        Some(Candidate { line, address: SocketAddr::new(address, port), relayed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host";

    #[test]
    fn candidates_are_read_with_and_without_what_follows_the_type() {
        let candidate = Candidate::parse(HOST).unwrap();
        assert_eq!(candidate.line, HOST);
        assert_eq!(candidate.address.to_string(), "192.0.2.1:5000");
        assert!(!candidate.relayed);

        let relayed =
            Candidate::parse("7 1 UDP 5 2001:db8::1 9 typ relay raddr 10.0.0.1 rport 5 generation 0 ufrag x").unwrap();
        assert_eq!(relayed.line, "candidate:7 1 udp 5 2001:db8::1 9 typ relay");
        assert!(relayed.relayed);
    }

    #[test]
    fn candidates_that_are_not_udp_addresses_are_ignored() {
        for line in [
            "",
            "candidate:",
            "candidate:1 1 udp 1 192.0.2.1 5000 typ",
            "candidate:1 1 udp 1 192.0.2.1 5000 host",
            "candidate:1 1 tcp 1 192.0.2.1 22 typ host tcptype passive",
            "candidate:1 2 udp 1 192.0.2.1 5000 typ host",
            "candidate:1 1 udp x 192.0.2.1 5000 typ host",
            "candidate:1 1 udp 1 printer.local 5000 typ host",
            "candidate:1 1 udp 1 example.org 5000 typ host",
            "candidate:1 1 udp 1 0.0.0.0 5000 typ host",
            "candidate:1 1 udp 1 224.0.0.251 5353 typ host",
            "candidate:1 1 udp 1 192.0.2.1 0 typ host",
            "candidate:1 1 udp 1 192.0.2.1 70000 typ host",
            "candidate:1 1 udp 1 192.0.2.1 5000 typ new",
        ] {
            assert_eq!(Candidate::parse(line), None, "{line}");
        }
        assert_eq!(Candidate::parse(&format!("{HOST} {}", "x".repeat(CANDIDATE_BYTES_MAX))), None);
    }

    #[test]
    fn a_description_has_one_data_section_and_gives_up_its_candidates() {
        let sdp = format!(
            "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na={HOST}\r\na=candidate:x\r\na=mid:0\r\n"
        );
        let description = Description::parse(&sdp).unwrap();
        assert_eq!(description.candidates, [Candidate::parse(HOST).unwrap()]);
        assert_eq!(description.sdp, "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n");

        let many = format!("{sdp}{}", format!("a={HOST}\r\n").repeat(2 * CANDIDATES_MAX));
        assert_eq!(Description::parse(&many).unwrap().candidates.len(), CANDIDATES_MAX);

        let data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";
        for bad in
            ["", "garbage", "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n", &data.repeat(2), &format!("{data}m=video 9 x 0\r\n")]
        {
            assert_eq!(Description::parse(bad), None, "{bad}");
        }
        assert_eq!(Description::parse(&format!("{data}a={}\r\n", "x".repeat(DESCRIPTION_BYTES_MAX))), None);
    }
}
