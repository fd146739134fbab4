//! The URL of the signaling server: where to connect, and the name that a login signs.

use std::net::IpAddr;

use tokio_tungstenite::tungstenite::http::Uri;

/// A DNS name of 253 bytes, a colon, a port.
const SERVER_NAME_BYTES_MAX: usize = 259;
const PLAIN_PORT: u16 = 80;
const TLS_PORT: u16 = 443;

/// Why a URL is not one to connect to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a URL with a scheme and a host.
    #[error("signaling.url is not a URL such as wss://signal.example/")]
    NotAUrl,
    /// Neither ws nor wss.
    #[error("signaling.url begins with {0}://; it must begin with wss:// (or ws:// on this machine)")]
    Scheme(String),
    /// A user name, a query or a fragment.
    #[error("signaling.url must not hold a user name or a query")]
    Extra,
    /// Too long for a login.
    #[error("the host in signaling.url is too long")]
    Long,
    /// Unencrypted to another machine.
    #[error("signaling.url is unencrypted and names another machine; use wss://, or set signaling.allow_plain = true")]
    Plain,
}

/// A checked address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// What the login signs and the Host header says.
    pub(super) name: String,
    /// The path of the WebSocket.
    pub(super) path: String,
}

/// The name of the server that a login signs: the host of the URL, and `:port` if the URL names
/// one, in lower case.
///
/// # Errors
/// A URL that is not one of a signaling server; the sentence says what to change.
pub fn server_name(url: &str) -> Result<String, AddressError> {
    Ok(parse(url)?.name)
}

pub(super) fn parse(url: &str) -> Result<Address, AddressError> {
    let uri: Uri = url.trim().parse().map_err(|_| AddressError::NotAUrl)?;
    let tls = match uri.scheme_str() {
        Some("wss") => true,
        Some("ws") => false,
        Some(other) => return Err(AddressError::Scheme(other.to_owned())),
        None => return Err(AddressError::NotAUrl),
    };
    let authority = uri.authority().ok_or(AddressError::NotAUrl)?;
    if authority.as_str().contains('@') || uri.query().is_some() {
        return Err(AddressError::Extra);
    }
    let name = authority.as_str().to_ascii_lowercase();
    if name.len() > SERVER_NAME_BYTES_MAX {
        return Err(AddressError::Long);
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    if host.is_empty() {
        return Err(AddressError::NotAUrl);
    }
    let port = authority.port_u16().unwrap_or(if tls { TLS_PORT } else { PLAIN_PORT });
    let base = uri.path().trim_end_matches('/');
    Ok(Address { tls, host, port, name, path: format!("{base}{}", kith_signal_protocol::PATH) })
}

impl Address {
    /// Refuses an unencrypted connection to another machine, unless it is allowed.
    pub(super) fn checked(self, allow_plain: bool) -> Result<Self, AddressError> {
        let loopback = self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if self.tls || loopback || allow_plain { Ok(self) } else { Err(AddressError::Plain) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_has_a_port_only_where_the_url_has_one() {
        assert_eq!(server_name("wss://Signal.Example/"), Ok("signal.example".to_owned()));
        assert_eq!(server_name("wss://signal.example:8443"), Ok("signal.example:8443".to_owned()));
        assert_eq!(server_name("ws://127.0.0.1:9/x/"), Ok("127.0.0.1:9".to_owned()));
        assert_eq!(server_name("ws://[::1]:9/"), Ok("[::1]:9".to_owned()));
    }

    #[test]
    fn the_path_of_the_url_comes_before_the_path_of_the_protocol() {
        let address = parse("wss://signal.example/kith/").unwrap();
        assert_eq!((address.path.as_str(), address.port, address.tls), ("/kith/v1/device", 443, true));
        assert_eq!(parse("ws://[::1]:9/").unwrap().host, "::1");
    }

    #[test]
    fn unencrypted_connections_stay_on_this_machine_unless_allowed() {
        let checked = |url: &str, allow| parse(url).unwrap().checked(allow).map(|_| ());
        assert_eq!(checked("ws://127.0.0.1:1/", false), Ok(()));
        assert_eq!(checked("ws://localhost/", false), Ok(()));
        assert_eq!(checked("ws://[::1]/", false), Ok(()));
        assert_eq!(checked("ws://192.0.2.1/", false), Err(AddressError::Plain));
        assert_eq!(checked("ws://192.0.2.1/", true), Ok(()));
    }

    #[test]
    fn what_is_no_signaling_url_says_what_to_change() {
        assert_eq!(server_name("https://x/"), Err(AddressError::Scheme("https".to_owned())));
        assert_eq!(server_name("signal.example"), Err(AddressError::NotAUrl));
        assert_eq!(server_name("wss://me@x/"), Err(AddressError::Extra));
        assert_eq!(server_name(""), Err(AddressError::NotAUrl));
    }
}
