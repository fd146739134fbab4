//! The addresses that this device can bind.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

/// How many addresses a link binds: each costs a socket, and as many candidates for
/// the other side to try. A device with container bridges has about ten.
const ADDRESSES_MAX: usize = 16;

/// Every address of every interface that is up, has its cable or its radio, and is not loopback. Link-local addresses are left
/// out: without their interface, which a candidate does not name, they mean nothing to a peer.
pub(crate) fn all() -> Vec<IpAddr> {
    let interfaces = match getifaddrs() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            tracing::warn!(%error, "the network interfaces cannot be listed");
            return Vec::new();
        }
    };
    let mut addresses: Vec<IpAddr> = interfaces
        .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING))
        .filter(|interface| !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK))
        .filter_map(|interface| interface.address.as_ref().and_then(ip_of))
        .filter(reachable)
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.len() > ADDRESSES_MAX {
        tracing::warn!(found = addresses.len(), used = ADDRESSES_MAX, "this device has more addresses than links use");
        addresses.truncate(ADDRESSES_MAX);
    }
    addresses
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

fn reachable(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !link_local && !address.is_loopback() && !address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_link_local_addresses_are_left_out() {
        for address in ["127.0.0.1", "::1", "169.254.7.7", "fe80::1", "0.0.0.0"] {
            assert!(!reachable(&address.parse().unwrap()), "{address}");
        }
        for address in ["192.0.2.1", "10.0.0.1", "2001:db8::1", "fd00::1"] {
            assert!(reachable(&address.parse().unwrap()), "{address}");
        }
        assert!(all().iter().all(reachable));
    }
}
