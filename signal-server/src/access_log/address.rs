//! Addresses of devices: one form that goes everywhere and cannot be printed, and those that can.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Leading bits of an IPv6 address that may be written: what a provider gives to one site (RFC 6177).
const IPV6_LOGGED_BITS: u32 = 48;

/// Leading bits of an IPv6 address that one host can choose freely below: one link's prefix (RFC 4291 §2.5.4).
const IPV6_HOST_BITS: u32 = 64;

/// The address of the other end of a connection.
///
/// It has no `Display` and no `Debug`, so that no log call can take it:
///
/// ```compile_fail
/// let address = kith_signal::access_log::PeerAddress::new([192, 0, 2, 1].into());
/// println!("{address}");
/// ```
///
/// ```compile_fail
/// let address = kith_signal::access_log::PeerAddress::new([192, 0, 2, 1].into());
/// println!("{address:?}");
/// ```
///
/// nor is an event with it a line:
///
/// ```compile_fail
/// let address = kith_signal::access_log::PeerAddress::new([192, 0, 2, 1].into());
/// println!("{}", kith_signal::access_log::Event::Connected(address));
/// ```
///
/// ```
/// let address = kith_signal::access_log::PeerAddress::new([192, 0, 2, 1].into());
/// assert_eq!(kith_signal::access_log::Event::Connected(address.anonymised()).to_string(), "connected 192.0.2.0");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(IpAddr);

impl PeerAddress {
    /// Takes an address; an IPv4 address inside an IPv6 one (`::ffff:0:0/96`) counts as IPv4.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// Without the part that names one household. IPv4: the last octet becomes 0. IPv6: all but the first
    /// 48 bits do.
    #[must_use]
    pub fn anonymised(self) -> Anonymised {
        Anonymised(match self.0 {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
            }
            IpAddr::V6(v6) => IpAddr::V6(leading(v6, IPV6_LOGGED_BITS)),
        })
    }

    /// What limits count by: an IPv4 address, or the /64 of an IPv6 one.
    pub(crate) fn network(self) -> Network {
        Network(match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(v6) => IpAddr::V6(leading(v6, IPV6_HOST_BITS)),
        })
    }

    /// The address itself, for the comparison with the configured proxies.
    pub(crate) fn is_within(self, contains: impl FnOnce(IpAddr) -> bool) -> bool {
        contains(self.0)
    }
}

fn leading(address: Ipv6Addr, bits: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (u128::BITS - bits)))
}

/// What limits count by. It cannot be printed either.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Network(IpAddr);

/// An address of which the part that names one household is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anonymised(IpAddr);

impl fmt::Display for Anonymised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A full address, which only mode `debug` makes.
#[derive(Clone, Copy)]
pub(super) struct Full(IpAddr);

impl Full {
    pub(super) fn of(address: PeerAddress) -> Self {
        Self(address.0)
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An address that may stand in a line. No other module can add to them.
pub trait Loggable: fmt::Display + sealed::Sealed {}

impl Loggable for Anonymised {}
impl Loggable for Full {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Anonymised {}
    impl Sealed for super::Full {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> PeerAddress {
        PeerAddress::new(text.parse().unwrap())
    }

    #[test]
    fn an_anonymised_address_names_no_household() {
        for (full, short) in [
            ("203.0.113.77", "203.0.113.0"),
            ("::ffff:203.0.113.77", "203.0.113.0"),
            ("2001:db8:1234:5678:9abc:def0:1234:5678", "2001:db8:1234::"),
            ("::1", "::"),
        ] {
            assert_eq!(address(full).anonymised().to_string(), short);
        }
    }

    #[test]
    fn limits_count_an_ipv4_address_and_the_link_of_an_ipv6_one() {
        let is_same = |a, b| address(a).network() == address(b).network();
        assert!(is_same("203.0.113.77", "::ffff:203.0.113.77"));
        assert!(!is_same("203.0.113.77", "203.0.113.78"));
        assert!(is_same("2001:db8:1:2::1", "2001:db8:1:2:ffff::2"));
        assert!(!is_same("2001:db8:1:2::1", "2001:db8:1:3::1"));
    }
}
