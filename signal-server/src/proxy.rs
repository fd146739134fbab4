//! Proxies that say for whom they connect, and are believed only if the configuration names them.

mod header;

use std::net::IpAddr;

use axum::http::HeaderMap;

use crate::access_log::PeerAddress;

pub(crate) use header::{NoHeader, read as read_header};

/// How a proxy says whose connection it brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// By the HTTP header `X-Forwarded-For`, whose last entry a proxy adds itself.
    ForwardedFor,
    /// By a PROXY header before everything else, in version 1 or 2 (haproxy's proxy-protocol.txt).
    Header,
}

/// Addresses that share their leading bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    base: IpAddr,
    bits: u32,
}

impl Range {
    /// Reads `ADDRESS` or `ADDRESS/BITS`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base.parse::<IpAddr>().ok()?, Some(bits.parse().ok()?)),
            None => (text.parse::<IpAddr>().ok()?, None),
        };
        let width = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Self { base, bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let differing = base.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= self.bits
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let differing = base.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

/// The proxies that are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxies {
    /// Where they connect from.
    pub addresses: Vec<Range>,
    /// What they speak.
    pub speech: Speech,
}

impl Proxies {
    /// What the connection from `address` says about itself; `None` if it is nobody's but its own.
    pub(crate) fn speech_of(&self, address: PeerAddress) -> Option<Speech> {
        self.believes(address).then_some(self.speech)
    }

    /// The device's address behind a proxy, from the request's headers: the last one that is not a proxy.
    /// Everything further left was written by somebody else.
    pub(crate) fn forwarded_for(&self, headers: &HeaderMap) -> Option<PeerAddress> {
        let lists: Vec<&str> =
            headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
        for entry in lists.iter().flat_map(|list| list.split(',')).rev() {
            let address = PeerAddress::new(entry.trim().parse().ok()?);
            if !self.believes(address) {
                return Some(address);
            }
        }
        None
    }

    fn believes(&self, address: PeerAddress) -> bool {
        address.is_within(|address| self.addresses.iter().any(|range| range.contains(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(addresses: &[&str]) -> Proxies {
        let addresses = addresses.iter().map(|text| Range::parse(text).unwrap()).collect();
        Proxies { addresses, speech: Speech::ForwardedFor }
    }

    fn address(text: &str) -> PeerAddress {
        PeerAddress::new(text.parse().unwrap())
    }

    fn forwarded(proxies: &Proxies, lists: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append("x-forwarded-for", list.parse().unwrap());
        }
        // Only a shortened one can be looked at.
        proxies.forwarded_for(&headers).map(|address| address.anonymised().to_string())
    }

    #[test]
    fn a_range_holds_the_addresses_that_share_its_bits() {
        let of = |range: &str| Range::parse(range).unwrap();
        for (range, address, inside) in [
            ("10.1.0.0/16", "10.1.255.255", true),
            ("10.1.0.0/16", "10.2.0.0", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            assert_eq!(of(range).contains(address.parse().unwrap()), inside, "{range} {address}");
        }
        for wrong in ["", "10.1.0.0/33", "::/129", "proxy.example", "10.1.0.0/", "10.1.0.0/-1"] {
            assert_eq!(Range::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_configured_addresses_are_believed_also_inside_ipv6() {
        let proxies = proxies(&["127.0.0.1", "2001:db8::/64"]);
        assert_eq!(proxies.speech_of(address("::ffff:127.0.0.1")), Some(Speech::ForwardedFor));
        assert_eq!(proxies.speech_of(address("2001:db8::9")), Some(Speech::ForwardedFor));
        assert_eq!(proxies.speech_of(address("127.0.0.2")), None);
    }

    #[test]
    fn the_last_entry_that_is_no_proxy_is_the_device() {
        let proxies = proxies(&["10.0.0.0/8"]);
        // A device may write what it likes; the proxy adds what it saw.
        let of = |lists: &[&str]| forwarded(&proxies, lists);
        assert_eq!(of(&["198.51.100.7, 203.0.113.9"]).as_deref(), Some("203.0.113.0"));
        assert_eq!(of(&["198.51.100.7", "203.0.113.9, 10.0.0.2"]).as_deref(), Some("203.0.113.0"));
        assert_eq!(of(&["garbage, 203.0.113.9"]).as_deref(), Some("203.0.113.0"));
        assert_eq!(of(&["203.0.113.9, garbage"]), None);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["10.0.0.1"]), None);
    }
}
