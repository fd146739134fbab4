//! What the other side says of its end of a link: SDP and candidates.

use kithd::link::dry_run;

use crate::{Target, Verdict, bound};

/// What is let through has one form, and neither it nor what the library makes of it ends the program.
pub const DESCRIPTION: Target = Target { name: "description", run, seeds };

const OFFER: u8 = 0;
const ANSWER: u8 = 1;

/// A description is copied once without its candidates; these once more. All lines may be empty, or candidates.
const COST_MAX: usize = 16;
const COST_BYTES: usize = 4 * 1024;

fn run(input: &[u8]) -> Verdict {
    let Some((kind, text)) = input.split_first() else { return Verdict::Refused };
    let Ok(text) = core::str::from_utf8(text) else { return Verdict::Refused };
    // A candidate that comes by itself stands in the first line.
    let (candidate, sdp) = text.split_once('\n').unwrap_or((text, ""));
    if let Some(line) = bound::within(COST_BYTES, || dry_run::candidate(candidate)) {
        assert_eq!(dry_run::candidate(&line).as_ref(), Some(&line), "a candidate has one form");
    }
    let parsed = bound::within(COST_MAX * sdp.len() + COST_BYTES, || dry_run::description(sdp));
    let Some((rest, candidates)) = parsed else { return Verdict::Refused };
    assert_eq!(dry_run::description(&rest), Some((rest, Vec::new())), "what is left holds no candidates");
    for line in candidates {
        assert_eq!(dry_run::candidate(&line), Some(line));
    }
    match *kind % 2 {
        OFFER => drop(dry_run::answer(sdp, candidate)),
        _ => drop(dry_run::accept(sdp, candidate)),
    }
    Verdict::Read
}

fn seeds() -> Vec<Vec<u8>> {
    let candidates = [
        "candidate:1 1 udp 2130706431 198.51.100.7 50000 typ host",
        "candidate:2 1 udp 1694498815 203.0.113.9 50001 typ srflx raddr 0.0.0.0 rport 0 generation 0",
        "7 1 UDP 5 2001:db8::1 9 typ relay raddr 10.0.0.1 rport 5",
        "candidate:3 1 tcp 1518280447 198.51.100.7 9 typ host tcptype active",
        "candidate:4 1 udp 1 printer.local 5000 typ host",
        "",
    ];
    let sdp = |setup: &str, candidate: &str| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 {}:FF\r\na=group:BUNDLE 0\r\n\
             m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=setup:{setup}\r\na=mid:0\r\n\
             a=sendrecv\r\na=sctp-port:5000\r\na=max-message-size:16384\r\na=ice-ufrag:abcdefgh\r\n\
             a=ice-pwd:abcdefghijklmnopqrstuvwxyz\r\na={candidate}\r\na=end-of-candidates\r\n",
            vec!["0A"; 31].join(":")
        )
    };
    let mut seeds = Vec::new();
    for candidate in candidates {
        seeds.push([&[OFFER], format!("{candidate}\n{}", sdp("actpass", candidate)).as_bytes()].concat());
        seeds.push([&[ANSWER], format!("{candidate}\n{}", sdp("active", candidate)).as_bytes()].concat());
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_descriptions_that_a_link_takes() {
        for seed in seeds() {
            let text = core::str::from_utf8(&seed[1..]).unwrap();
            let (candidate, sdp) = text.split_once('\n').unwrap();
            match seed[0] {
                OFFER => assert!(dry_run::answer(sdp, candidate).unwrap().contains("m=application")),
                _ => assert!(dry_run::accept(sdp, candidate).is_some()),
            }
        }
    }
}
