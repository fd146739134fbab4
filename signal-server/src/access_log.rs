//! What the server writes about connections, and that it writes nothing else.
//!
//! Here stands the only place that may print an address. In mode `active` the only type that can be
//! printed is [`Anonymised`]. Client ids are not written in any mode: with a time they would be a diary.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kith_signal_protocol::LoggingMode;

/// Leading bits of an IPv6 address that stay: what a provider gives to one site (RFC 6177).
const IPV6_BITS: u32 = 48;

/// An address of which the part that names one household is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anonymised(IpAddr);

impl Anonymised {
    /// IPv4: the last octet becomes 0. IPv6: all but the first 48 bits do. An IPv4 address inside an
    /// IPv6 one (`::ffff:0:0/96`) counts as IPv4.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
            }
            IpAddr::V6(v6) => {
                let kept = u128::MAX << (u128::BITS - IPV6_BITS);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & kept))
            }
        })
    }
}

impl fmt::Display for Anonymised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A device has logged in.
    Online,
    /// It is gone.
    Offline,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Online => "online",
            Self::Offline => "offline",
        })
    }
}

/// One line of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Of mode `active`.
    Active(Change, Anonymised),
    /// Of mode `debug`.
    Debug(Change, IpAddr),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active(change, address) => write!(f, "{change} {address}"),
            Self::Debug(change, address) => write!(f, "{change} {address}"),
        }
    }
}

/// Writes lines as the mode allows, to the server's own log.
#[derive(Clone, Copy, Debug)]
pub struct AccessLog {
    mode: LoggingMode,
}

impl AccessLog {
    /// A log in this mode.
    #[must_use]
    pub const fn new(mode: LoggingMode) -> Self {
        Self { mode }
    }

    /// The line for a change, if this mode writes one.
    #[must_use]
    pub fn line(&self, change: Change, address: IpAddr) -> Option<Line> {
        match self.mode {
            LoggingMode::Active => Some(Line::Active(change, Anonymised::new(address))),
            LoggingMode::Disabled => None,
            LoggingMode::Debug => Some(Line::Debug(change, address.to_canonical())),
        }
    }

    /// Writes what [`line`](Self::line) gives.
    pub(crate) fn write(&self, change: Change, address: IpAddr) {
        if let Some(line) = self.line(change, address) {
            tracing::info!(target: "kith_signal::access", "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use kith_signal_protocol::LoggingMode;

    use super::{AccessLog, Anonymised, Change};

    fn line(mode: LoggingMode, address: &str) -> Option<String> {
        let address: IpAddr = address.parse().unwrap();
        AccessLog::new(mode).line(Change::Online, address).map(|line| line.to_string())
    }

    #[test]
    fn an_anonymised_address_names_no_household() {
        for (full, short) in [
            ("203.0.113.77", "203.0.113.0"),
            ("::ffff:203.0.113.77", "203.0.113.0"),
            ("2001:db8:1234:5678:9abc:def0:1234:5678", "2001:db8:1234::"),
            ("::1", "::"),
        ] {
            let address: IpAddr = full.parse().unwrap();
            assert_eq!(Anonymised::new(address).to_string(), short);
        }
    }

    #[test]
    fn each_mode_writes_what_it_says() {
        let address = "::ffff:198.51.100.9";
        assert_eq!(line(LoggingMode::Active, address).unwrap(), "online 198.51.100.0");
        assert_eq!(line(LoggingMode::Disabled, address), None);
        assert_eq!(line(LoggingMode::Debug, address).unwrap(), "online 198.51.100.9");
    }
}
