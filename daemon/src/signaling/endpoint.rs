//! The configured URL, taken apart once.

use std::collections::VecDeque;
use std::net::IpAddr;

use kith_signal_protocol::PATH;
use tokio_tungstenite::tungstenite::http::Uri;

/// Why a URL cannot be used; each says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Not a URL of the right form.
    #[error(
        "\"{0}\" is not the URL of a signaling server; write wss://host, wss://host:port or either \
         with a path, without user name, query and fragment"
    )]
    Form(String),
    /// Clear text on a network.
    #[error(
        "\"{0}\" would carry signaling unencrypted over the network; write wss:// instead of ws://, \
         or set allow_plain if the network itself is protected"
    )]
    Plain(String),
}

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// As it was configured, for messages.
    url: String,
    /// Whether to speak TLS.
    pub(super) is_tls: bool,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// What the login is signed over: host, and port if the URL names one, in lower case.
    pub(super) server_name: String,
    /// What the WebSocket request is for.
    pub(super) request: String,
}

/// The servers of the configuration, of which one has its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoints {
    current: Endpoint,
    others: VecDeque<Endpoint>,
}

impl Endpoints {
    pub(super) fn parse(urls: &[String]) -> Result<Self, EndpointError> {
        let mut others = urls.iter().map(|url| Endpoint::parse(url)).collect::<Result<VecDeque<_>, _>>()?;
        let current = others.pop_front().ok_or_else(|| EndpointError::Form(String::new()))?;
        Ok(Self { current, others })
    }

    /// Refuses clear text on a network.
    pub(super) fn permit(&self, allow_plain: bool) -> Result<(), EndpointError> {
        self.others.iter().chain([&self.current]).try_for_each(|endpoint| endpoint.permit(allow_plain))
    }

    /// The one that has its turn.
    pub(super) fn current(&self) -> &Endpoint {
        &self.current
    }

    /// The next one's turn has come.
    pub(super) fn advance(&mut self) {
        if let Some(next) = self.others.pop_front() {
            self.others.push_back(std::mem::replace(&mut self.current, next));
        }
    }
}

/// The server name that a login signs (docs/protocol.md §3.2): host, and `:port` if the URL names one, in
/// lower case.
///
/// # Errors
/// The URL is not one of a signaling server.
pub fn server_name(url: &str) -> Result<String, EndpointError> {
    Endpoint::parse(url).map(|endpoint| endpoint.server_name)
}

impl Endpoint {
    pub(super) fn parse(url: &str) -> Result<Self, EndpointError> {
        let form = || EndpointError::Form(url.to_owned());
        if url.contains(['?', '#', '@']) {
            return Err(form());
        }
        let uri: Uri = url.parse().map_err(|_| form())?;
        let scheme = uri.scheme_str().map(str::to_ascii_lowercase);
        let (is_tls, standard_port) = match scheme.as_deref() {
            Some("wss") => (true, 443),
            Some("ws") => (false, 80),
            _ => return Err(form()),
        };
        let authority = uri.authority().ok_or_else(form)?.as_str().to_ascii_lowercase();
        let bracketed = uri.host().filter(|host| !host.is_empty()).ok_or_else(form)?;
        // A port that is empty or not a number parses as none.
        let port = match (uri.port_u16(), authority.len() > bracketed.len()) {
            (Some(port), _) if port != 0 => port,
            (None, false) => standard_port,
            _ => return Err(form()),
        };
        let host = bracketed.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let scheme = if is_tls { "wss" } else { "ws" };
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            url: url.to_owned(),
            is_tls,
            host,
            port,
            request: format!("{scheme}://{authority}{path}{PATH}"),
            server_name: authority,
        })
    }

    fn permit(&self, allow_plain: bool) -> Result<(), EndpointError> {
        if self.is_tls || allow_plain || self.names_loopback() {
            Ok(())
        } else {
            Err(EndpointError::Plain(self.url.clone()))
        }
    }

    /// Whether the host is this device by its name (RFC 6761 §6.3) or its address.
    pub(super) fn names_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_name_is_host_and_named_port_in_lower_case() {
        for (url, name) in [
            ("wss://Signal.Example.org", "signal.example.org"),
            ("wss://Signal.Example.org/", "signal.example.org"),
            ("WSS://signal.example.org:443/kith", "signal.example.org:443"),
            ("ws://127.0.0.1:8080", "127.0.0.1:8080"),
            ("ws://[::1]:8080/", "[::1]:8080"),
        ] {
            assert_eq!(server_name(url).as_deref(), Ok(name), "{url}");
        }
    }

    #[test]
    fn the_path_goes_before_the_protocols_own() {
        let endpoint = Endpoint::parse("wss://signal.example.org/kith/").unwrap();
        assert_eq!(endpoint.request, "wss://signal.example.org/kith/v1/device");
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("signal.example.org", 443));
        let endpoint = Endpoint::parse("ws://[::1]:8080").unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("::1", 8080));
    }

    #[test]
    fn another_url_is_refused_with_what_to_write() {
        for url in [
            "",
            "signal.example.org",
            "https://signal.example.org",
            "wss://",
            "wss://user@signal.example.org",
            "wss://signal.example.org?x",
            "wss://signal.example.org#x",
            "wss://signal.example.org:0",
            "wss://signal.example.org:99999",
            "wss://signal.example.org:",
        ] {
            let error = server_name(url).unwrap_err();
            assert!(error.to_string().contains("write wss://host"), "{url}");
        }
    }

    #[test]
    fn clear_text_stays_on_this_device_unless_allowed() {
        let permit = |url, allow| Endpoint::parse(url).unwrap().permit(allow);
        for url in ["ws://127.0.0.1:1", "ws://[::1]:1", "ws://localhost:1", "wss://signal.example"] {
            assert_eq!(permit(url, false), Ok(()), "{url}");
        }
        for url in ["ws://signal.example", "ws://192.0.2.1", "ws://localhost.example"] {
            assert!(permit(url, false).unwrap_err().to_string().contains("wss://"), "{url}");
            assert_eq!(permit(url, true), Ok(()), "{url}");
        }
    }
}
