//! The narrow face of the WebRTC library: what a link needs of a connection, and nothing else.
//!
//! Its errors become [`Failure`]s; their text, which may hold addresses, goes to the debug log.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kith_engine::LinkPath;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::ice::network_type::NetworkType;
use rtc::peer_connection::certificate::CertificateParams;
use rtc::peer_connection::transport::{RTCDtlsTransportState, RTCIceCandidatePair};
use sha2::{Digest, Sha256};
use webrtc::data_channel::{DataChannel, RTCDataChannelInit};
use webrtc::peer_connection::crypto::{SignatureScheme, default_provider};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, RTCCertificate, RTCConfigurationBuilder, RTCIceCandidateInit,
    RTCIceCandidateType, RTCIceTransportPolicy, RTCSessionDescription, SettingEngine, SettingEngineBuilder,
};

use super::MESSAGE_BYTES_MAX;
use super::callbacks::Reporter;
use super::failure::Failure;
use super::remote::{Candidate, Description};
use super::runtime::{SettlingRuntime, Tasks, Traffic};
use super::servers::Servers;

/// The channel's label (`docs/protocol.md` §6).
const LABEL: &str = "kith";

/// Without a sign of life for so long, a path is "disconnected". Two keepalives; it is looked at with the third, so that
/// it is noticed within two seconds.
const DISCONNECTED_AFTER: Duration = Duration::from_millis(1_300);

/// "Disconnected" for so long, a path has failed. Short enough for a person to wait for, long
/// enough for a Wi-Fi handover.
const FAILED_AFTER: Duration = Duration::from_secs(5);

/// How often a path is probed: also keeps NAT bindings open. Each probe and its answer are a wake-up of both sides.
pub(super) const KEEPALIVE: Duration = Duration::from_millis(600);

/// How often every pair of candidates is tried while there is no path; the library's default.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// The same where all paths lead over a relay. There are few pairs then, usually one, and the first check is
/// usually lost: the other side's relay lets it in only after that side has sent one, too. RFC 8445 §14.2 forbids
/// less than 5 ms.
const RELAY_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// How often a pair is tried before it is given up. The default, 7, gives up after 1.4 s, which
/// a slow signaling server may take for the answer; this outlasts the 6.3 s after which ICE fails.
const CHECKS_MAX: u16 = 400;

/// How long a direct path may still win over a relayed one: a few rounds of checks through NAT.
/// The default is 2 s, which each link that does need the relay would wait.
const RELAY_WAIT: Duration = Duration::from_secs(1);

/// How much may be handed to the connection before the other side has acknowledged it, per link.
/// More overflows the system's default UDP buffers in bursts, and each loss costs 1 s.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// How much the other side may send ahead; as `SEND_BUFFER_BYTES`. The largest message fits.
const RECEIVE_BUFFER_BYTES: u32 = 64 * 1024;

/// How long closing may take: the library flushes, and releases what it holds at a relay.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// One WebRTC connection. Dropping it without [`close`](Connection::close) ends its tasks, too,
/// but the other side notices only when the path fails.
pub(super) struct Connection {
    peer: Arc<dyn PeerConnection>,
    own_fingerprint: [u8; 32],
    /// Where the other side's relayed candidates are: one of them may be selected under the type
    /// "peer reflexive", if its packet came before its candidate.
    remote_relays: BTreeSet<SocketAddr>,
    _guard: Guard,
}

struct Guard(Tasks);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Binds sockets and makes a connection with a certificate of its own, which wakes up less while there is no
    /// traffic. No packet leaves yet.
    pub(super) async fn build(
        addresses: &[IpAddr],
        servers: Servers,
        relay_only: bool,
        traffic: Traffic,
        reporter: Reporter,
    ) -> Result<Connection, Failure> {
        let (certificate, own_fingerprint) = certificate()?;
        let policy = if relay_only { RTCIceTransportPolicy::Relay } else { RTCIceTransportPolicy::All };
        let configuration = RTCConfigurationBuilder::new()
            .with_ice_servers(servers.entries)
            .with_ice_transport_policy(policy)
            .with_certificates(vec![certificate])
            .build();

        let runtime = SettlingRuntime::new(traffic, reporter.clone());
        let guard = Guard(runtime.tasks());
        let peer = PeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_setting_engine(settings(relay_only))
            .with_data_channel_send_buffer_limit(SEND_BUFFER_BYTES)
            .with_udp_addrs(addresses.iter().map(|&address| SocketAddr::new(address, 0)).collect())
            .with_runtime(Arc::new(runtime))
            .with_handler(Arc::new(reporter))
            .build()
            .await
            .map_err(or(Failure::Preparation))?;
        Ok(Connection { peer: Arc::new(peer), own_fingerprint, remote_relays: BTreeSet::new(), _guard: guard })
    }

    /// Makes the channel: reliable, ordered, announced in-band.
    pub(super) async fn open_channel(&self) -> Result<Arc<dyn DataChannel>, Failure> {
        let init = RTCDataChannelInit { ordered: true, ..RTCDataChannelInit::default() };
        self.peer.create_data_channel(LABEL, Some(init)).await.map_err(or(Failure::Preparation))
    }

    /// The own offer. Candidates start to come.
    pub(super) async fn offer(&self) -> Result<String, Failure> {
        let offer = self.peer.create_offer(None).await.map_err(or(Failure::Preparation))?;
        let sdp = offer.sdp.clone();
        self.peer.set_local_description(offer).await.map_err(or(Failure::Preparation))?;
        Ok(sdp)
    }

    /// The own answer to an offer. Candidates start to come.
    pub(super) async fn answer(&mut self, offer: &str) -> Result<String, Failure> {
        self.apply(offer, RTCSessionDescription::offer).await?;
        let answer = self.peer.create_answer(None).await.map_err(or(Failure::BadDescription))?;
        let sdp = answer.sdp.clone();
        self.peer.set_local_description(answer).await.map_err(or(Failure::BadDescription))?;
        Ok(sdp)
    }

    /// Takes the other side's answer.
    pub(super) async fn accept(&mut self, answer: &str) -> Result<(), Failure> {
        self.apply(answer, RTCSessionDescription::answer).await
    }

    /// Tries a candidate of the other side, whose description must have come before. One that the
    /// library does not take is dropped.
    pub(super) async fn add(&mut self, candidate: Candidate) {
        if candidate.relayed {
            self.remote_relays.insert(candidate.address);
        }
        if let Err(error) = self.peer.add_ice_candidate(init_of(candidate)).await {
            tracing::debug!(%error, "a candidate of the other side is dropped");
        }
    }

    /// SHA-256 of the own certificate.
    pub(super) fn own_fingerprint(&self) -> [u8; 32] {
        self.own_fingerprint
    }

    /// SHA-256 of the certificate that the other side proved to hold in the DTLS handshake: the
    /// leaf of what the completed handshake verified, whatever the description said.
    pub(super) async fn remote_fingerprint(&self) -> Result<[u8; 32], Failure> {
        let sctp = self.peer.sctp().await.ok_or(Failure::NoCertificate)?;
        let certificates = sctp.transport().get_remote_certificates().await.map_err(or(Failure::NoCertificate))?;
        certificates.first().map(Sha256::digest).map(Into::into).ok_or(Failure::NoCertificate)
    }

    /// Whether it was DTLS that failed.
    pub(super) async fn encryption_failed(&self) -> bool {
        match self.peer.sctp().await {
            Some(sctp) => matches!(sctp.transport().state().await, Ok(RTCDtlsTransportState::Failed)),
            None => false,
        }
    }

    /// Whether the other side takes the largest message. What it announced also limits what the
    /// library accepts here; larger messages would be lost without a word.
    pub(super) async fn takes_every_message(&self) -> bool {
        match self.peer.sctp().await {
            Some(sctp) => sctp.max_message_size().await.is_ok_and(|size| size as usize >= MESSAGE_BYTES_MAX),
            None => false,
        }
    }

    /// The path in use; none while there is none.
    pub(super) async fn path(&self) -> Option<LinkPath> {
        let ice = self.peer.sctp().await?.transport().ice_transport();
        let pair = ice.get_selected_candidate_pair().await.ok()??;
        Some(path_of(&pair, &self.remote_relays))
    }

    /// Closes; the other side notices at once, unless the path is relayed: then the library drops
    /// its farewell together with the relay, and the channel has to be closed before.
    pub(super) async fn close(&self) {
        match tokio::time::timeout(CLOSE_TIMEOUT, self.peer.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the connection did not close cleanly"),
            Err(_) => tracing::debug!("the connection did not close in time"),
        }
    }

    async fn apply(
        &mut self,
        sdp: &str,
        read: fn(String) -> Result<RTCSessionDescription, webrtc::error::Error>,
    ) -> Result<(), Failure> {
        let description = Description::parse(sdp).ok_or(Failure::BadDescription)?;
        let read = read(description.sdp).map_err(or(Failure::BadDescription))?;
        self.peer.set_remote_description(read).await.map_err(or(Failure::BadDescription))?;
        for candidate in description.candidates {
            self.add(candidate).await;
        }
        Ok(())
    }
}

/// Whether a channel that the other side opened is the one of the protocol.
///
/// Deviation from `docs/protocol.md` §6: that the channel is reliable cannot be told, because this
/// release of the library forgets what the other side announced. Nothing is believed for it: what
/// is sent from here is reliable in any case, and of what comes, a lost record ends the session.
pub(super) async fn is_the_channel(channel: &dyn DataChannel) -> bool {
    let right = async { Ok::<_, webrtc::error::Error>(channel.label().await? == LABEL && channel.ordered().await?) };
    right.await.unwrap_or(false)
}

/// A candidate of the only data section, as the library takes it.
pub(super) fn init_of(candidate: Candidate) -> RTCIceCandidateInit {
    RTCIceCandidateInit {
        candidate: candidate.line,
        sdp_mid: Some(String::new()),
        sdp_mline_index: Some(0),
        ..RTCIceCandidateInit::default()
    }
}

/// A fresh ECDSA P-256 certificate and its fingerprint. Its validity and its name say nothing.
pub(super) fn certificate() -> Result<(RTCCertificate, [u8; 32]), Failure> {
    let provider = default_provider().map_err(or(Failure::Preparation))?;
    let scheme = SignatureScheme::EcdsaP256Sha256;
    let certificate = RTCCertificate::generate(provider.crypto(), scheme, CertificateParams::default())
        .map_err(or(Failure::Preparation))?;
    let leaf = certificate.dtls_certificate.certificate.first().ok_or(Failure::Preparation)?;
    let fingerprint = Sha256::digest(leaf).into();
    Ok((certificate, fingerprint))
}

pub(super) fn settings(relay_only: bool) -> SettingEngine {
    let settings = SettingEngineBuilder::new()
        // The default fails where no multicast route exists: at boot, in a namespace.
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_network_types(vec![NetworkType::Udp4, NetworkType::Udp6])
        .with_ice_timeouts(Some(DISCONNECTED_AFTER), Some(FAILED_AFTER), Some(KEEPALIVE))
        .with_sctp_max_receive_buffer_size(RECEIVE_BUFFER_BYTES);
    let settings = if relay_only {
        // Every path is relayed: there is nothing to wait for.
        settings
            .with_ice_connection_attempts(Some(RELAY_CHECK_INTERVAL), Some(CHECKS_MAX))
            .with_relay_acceptance_min_wait(Some(Duration::ZERO))
            .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
    } else {
        settings
            .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(CHECKS_MAX))
            .with_relay_acceptance_min_wait(Some(RELAY_WAIT))
    };
    settings.build()
}

fn path_of(pair: &RTCIceCandidatePair, remote_relays: &BTreeSet<SocketAddr>) -> LinkPath {
    let relay = RTCIceCandidateType::Relay;
    let remote = pair.remote();
    let known_relay = || {
        let address = remote.address.parse().map(|ip: IpAddr| SocketAddr::new(ip, remote.port));
        address.is_ok_and(|address| remote_relays.contains(&address))
    };
    if pair.local().typ == relay || remote.typ == relay || known_relay() { LinkPath::Relayed } else { LinkPath::Direct }
}

/// Turns an error of the library into a failure; its text goes to the debug log.
fn or<E: std::fmt::Display>(failure: Failure) -> impl FnOnce(E) -> Failure {
    move |error| {
        tracing::debug!(%error, %failure, "the connection");
        failure
    }
}

#[cfg(test)]
mod tests {
    use webrtc::peer_connection::RTCIceCandidate;

    use super::*;

    #[test]
    fn a_path_is_relayed_if_either_end_of_it_is_at_a_relay() {
        let candidate =
            |typ, port| RTCIceCandidate { typ, address: "192.0.2.1".to_owned(), port, ..RTCIceCandidate::default() };
        let relays = BTreeSet::from(["192.0.2.1:7".parse().unwrap()]);
        let path = |local, remote| path_of(&RTCIceCandidatePair::new(local, remote), &relays);
        use RTCIceCandidateType::{Host, Prflx, Relay, Srflx};

        assert_eq!(path(candidate(Host, 1), candidate(Srflx, 2)), LinkPath::Direct);
        assert_eq!(path(candidate(Host, 1), candidate(Prflx, 2)), LinkPath::Direct);
        assert_eq!(path(candidate(Relay, 1), candidate(Host, 2)), LinkPath::Relayed);
        assert_eq!(path(candidate(Srflx, 1), candidate(Relay, 2)), LinkPath::Relayed);
        assert_eq!(path(candidate(Host, 1), candidate(Prflx, 7)), LinkPath::Relayed);
    }

    #[test]
    fn each_certificate_is_fresh() {
        assert_ne!(certificate().unwrap().1, certificate().unwrap().1);
    }
}
