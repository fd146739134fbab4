//! The other side's words, taken as a link takes them, but without sockets and tasks: only by what parses them here and by
//! the library's core. The fuzz targets call it; it is no API.

use std::time::Instant;

use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::sansio::Protocol;
use webrtc::error::Error;
use webrtc::peer_connection::{RTCConfigurationBuilder, RTCSessionDescription};

use super::connection::{certificate, init_of, settings};
use super::remote::{Candidate, Description};
use super::servers;

/// A description without its candidates, and those of them that this device would try.
pub fn description(sdp: &str) -> Option<(String, Vec<String>)> {
    let Description { sdp, candidates } = Description::parse(sdp)?;
    Some((sdp, candidates.into_iter().map(|candidate| candidate.line).collect()))
}

/// A candidate that this device would try.
pub fn candidate(line: &str) -> Option<String> {
    Candidate::parse(line).map(|candidate| candidate.line)
}

/// Whether the library can read the URL of an ICE server as it is handed to it; none for a URL that is left out, and for
/// one whose name would have to be resolved.
pub fn server(url: &str) -> Option<bool> {
    let entry = servers::numeric(url)?;
    Some(entry.urls().is_ok())
}

/// Answers an offer; then comes a candidate.
pub fn answer(offer: &str, candidate: &str) -> Option<String> {
    let now = Instant::now();
    let mut core = core(now)?;
    take(&mut core, offer, RTCSessionDescription::offer, now)?;
    let answer = core.create_answer(None).ok()?;
    let sdp = answer.sdp.clone();
    core.set_local_description(now, answer).ok()?;
    go_on(&mut core, candidate, now);
    Some(sdp)
}

/// Offers, and takes an answer; then comes a candidate.
pub fn accept(answer: &str, candidate: &str) -> Option<()> {
    let now = Instant::now();
    let mut core = core(now)?;
    core.create_data_channel("kith", None).ok()?;
    let offer = core.create_offer(None).ok()?;
    core.set_local_description(now, offer).ok()?;
    take(&mut core, answer, RTCSessionDescription::answer, now)?;
    go_on(&mut core, candidate, now);
    Some(())
}

fn core(now: Instant) -> Option<RTCPeerConnection> {
    let (certificate, _) = certificate().ok()?;
    let configuration = RTCConfigurationBuilder::new().with_certificates(vec![certificate]).build();
    let builder = RTCPeerConnectionBuilder::new().with_configuration(configuration);
    builder.with_setting_engine(settings(false)).build(now).ok()
}

fn take(
    core: &mut RTCPeerConnection,
    sdp: &str,
    read: fn(String) -> Result<RTCSessionDescription, Error>,
    now: Instant,
) -> Option<()> {
    let Description { sdp, candidates } = Description::parse(sdp)?;
    core.set_remote_description(now, read(sdp).ok()?).ok()?;
    for candidate in candidates {
        // As in a link: one that the library does not take is dropped.
        let _ = core.add_remote_candidate(init_of(candidate));
    }
    Some(())
}

/// Takes one more candidate, and begins to look for a path.
fn go_on(core: &mut RTCPeerConnection, candidate: &str, now: Instant) {
    if let Some(candidate) = Candidate::parse(candidate) {
        let _ = core.add_remote_candidate(init_of(candidate));
    }
    let _ = core.handle_timeout(now);
    while core.poll_write().is_some() {}
    while core.poll_event().is_some() {}
}
