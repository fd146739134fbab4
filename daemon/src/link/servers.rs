//! STUN and TURN servers, made ready for the library.
//!
//! The library stops gathering altogether at the first URL that it cannot read, and its driver
//! stands still while a name is resolved. So URLs are read here, those it cannot use are left
//! out, and names become addresses before the connection is made.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use kith_engine::{Ice, IceServer};
use webrtc::peer_connection::RTCIceServer;

/// How many URLs are used. Each costs every link a request per address of this device; more than
/// two of each kind only repeat what the first ones give.
const URLS_MAX: usize = 4;

/// How long names may take to resolve. A link in a network without a name server must still find
/// its direct path, so this is far below the set-up timeout.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(1);

/// The default port (RFC 7064 §3.2, RFC 7065 §3.2).
const PORT_DEFAULT: u16 = 3478;

/// The usable servers.
#[derive(Default)]
pub(super) struct Servers {
    /// For the library; each entry has one URL with an address in it.
    pub(super) entries: Vec<RTCIceServer>,
    /// Whether a relay is among them.
    pub(super) relays: bool,
}

/// One URL that the library can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Url<'a> {
    relay: bool,
    host: &'a str,
    port: u16,
}

impl Servers {
    /// Leaves out what cannot be used and resolves the names of the rest, all at once.
    pub(super) async fn resolve(ice: &Ice) -> Servers {
        let usable = ice.servers.iter().flat_map(usable_urls).take(URLS_MAX);
        let resolved =
            join_all(usable.map(|(server, url)| async move { (server, url, addresses_of(url).await) })).await;

        let mut servers = Servers::default();
        for (server, url, addresses) in resolved {
            for address in one_of_each_family(addresses) {
                servers.relays |= url.relay;
                servers.entries.push(entry(server, url, address));
            }
        }
        servers
    }
}

fn entry(server: &IceServer, url: Url<'_>, address: SocketAddr) -> RTCIceServer {
    RTCIceServer {
        urls: vec![format!("{}:{address}", if url.relay { "turn" } else { "stun" })],
        username: server.username.clone(),
        credential: server.password.clone(),
    }
}

/// The entry of a server whose URL needs no name resolved.
pub(super) fn numeric(url: &str) -> Option<RTCIceServer> {
    let words = || "words".to_owned();
    let server = IceServer { urls: vec![url.to_owned()], username: words(), password: words() };
    let (server, url) = usable_urls(&server).next()?;
    Some(entry(server, url, SocketAddr::new(url.host.parse().ok()?, url.port)))
}

fn usable_urls(server: &IceServer) -> impl Iterator<Item = (&IceServer, Url<'_>)> {
    server.urls.iter().filter_map(move |raw| {
        let url =
            Url::parse(raw).filter(|url| !url.relay || !(server.username.is_empty() || server.password.is_empty()));
        if url.is_none() {
            tracing::debug!("an ICE server that cannot be used is left out");
        }
        Some((server, url?))
    })
}

impl Url<'_> {
    /// Reads `stun:host[:port]` and `turn:host[:port][?transport=udp]`; none for everything else,
    /// TLS and TCP among it.
    fn parse(raw: &str) -> Option<Url<'_>> {
        let (scheme, rest) = raw.split_once(':')?;
        let relay = match scheme {
            "stun" => false,
            "turn" => true,
            _ => return None,
        };
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        if relay && !matches!(query, "" | "transport=udp") {
            return None;
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']')?;
                (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = port.map_or(Some(PORT_DEFAULT), |port| port.parse().ok())?;
        let sound = !host.is_empty() && !host.contains(['/', '@', ' ', '[', ']']);
        sound.then_some(Url { relay, host, port })
    }
}

async fn addresses_of(url: Url<'_>) -> Vec<SocketAddr> {
    if let Ok(address) = url.host.parse::<IpAddr>() {
        return vec![SocketAddr::new(address, url.port)];
    }
    match tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((url.host, url.port))).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            tracing::warn!(host = url.host, %error, "the name of an ICE server does not resolve");
            Vec::new()
        }
        Err(_) => {
            tracing::warn!(host = url.host, "the name of an ICE server takes too long to resolve");
            Vec::new()
        }
    }
}

/// The library takes one address per family anyway.
fn one_of_each_family(addresses: Vec<SocketAddr>) -> impl Iterator<Item = SocketAddr> {
    let v4 = addresses.iter().copied().find(SocketAddr::is_ipv4);
    let v6 = addresses.iter().copied().find(SocketAddr::is_ipv6);
    v4.into_iter().chain(v6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(urls: &[&str], username: &str) -> IceServer {
        let urls = urls.iter().map(|&url| url.to_owned()).collect();
        IceServer { urls, username: username.to_owned(), password: username.to_owned() }
    }

    #[test]
    fn urls_are_read_as_the_rfcs_write_them() {
        let url = |relay, host, port| Some(Url { relay, host, port });
        for (raw, expected) in [
            ("stun:example.org", url(false, "example.org", 3478)),
            ("stun:192.0.2.1:19302?transport=udp", url(false, "192.0.2.1", 19302)),
            ("turn:example.org:3479", url(true, "example.org", 3479)),
            ("turn:[2001:db8::1]:3479?transport=udp", url(true, "2001:db8::1", 3479)),
            ("turn:[2001:db8::1]", url(true, "2001:db8::1", 3478)),
            ("turn:example.org?transport=tcp", None),
            ("turns:example.org", None),
            ("stuns:example.org", None),
            ("stun://example.org", None),
            ("stun:", None),
            ("stun:host:port", None),
            ("turn:user@example.org", None),
            ("example.org", None),
            ("", None),
        ] {
            assert_eq!(Url::parse(raw), expected, "{raw}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_left_out_and_the_rest_is_kept() {
        let ice = Ice {
            servers: vec![
                server(&["nonsense", "turns:192.0.2.1", "turn:192.0.2.1?transport=tcp", "turn:[2001:db8::1]"], "u"),
                server(&["turn:192.0.2.9"], ""),
                server(&["stun:192.0.2.2?x=y"], ""),
            ],
            lifetime_s: 60,
        };
        let servers = Servers::resolve(&ice).await;
        let urls: Vec<&str> = servers.entries.iter().flat_map(|entry| &entry.urls).map(String::as_str).collect();
        assert_eq!(urls, ["turn:[2001:db8::1]:3478", "stun:192.0.2.2:3478"]);
        assert!(servers.relays);
        assert!(servers.entries.iter().all(|entry| entry.urls().is_ok()));
    }

    #[tokio::test]
    async fn the_number_of_urls_is_bounded() {
        let urls: Vec<String> = (1..=20).map(|n| format!("stun:192.0.2.{n}")).collect();
        let ice =
            Ice { servers: vec![IceServer { urls, username: String::new(), password: String::new() }], lifetime_s: 0 };
        let servers = Servers::resolve(&ice).await;
        assert_eq!(servers.entries.len(), URLS_MAX);
        assert!(!servers.relays);
    }
}
