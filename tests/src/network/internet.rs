//! A public network with a server and a relay in it, and sites behind routers.
//!
//! ```text
//! public 198.51.100.0/24 ──┬── .10 signaling server, .20 relay (one host; the server has an IPv6 address, too)
//!                          ├── .31 router of site 0 ── LAN 203.0.113.0/27  ── devices .2, .3 …
//!                          ├── .32 router of site 1 ── LAN 203.0.113.32/27 ── devices .34, .35 …
//!                          └── .40 a device without a router, with an IPv6 address
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::Host;

/// What a router does with the addresses of its site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// A port stays the same towards everybody, so that two such sites can reach each other once
    /// both have sent something (RFC 4787: endpoint-independent mapping).
    Cone,
    /// Each destination sees another port, so that only a relay helps.
    Symmetric,
}

impl Nat {
    fn masquerade(self) -> &'static str {
        match self {
            Self::Cone => "masquerade",
            Self::Symmetric => "masquerade fully-random",
        }
    }
}

/// The public network.
#[derive(Debug)]
pub struct Internet {
    public: Host,
    sites: u8,
}

/// A router and the hosts behind it.
#[derive(Debug)]
pub struct Site {
    number: u8,
    router: Host,
    devices: u8,
}

/// A gateway that does not exist.
const NOWHERE: &str = "198.51.100.1";
const SWITCH: &str = "switch";
/// The port of the device that has no router.
const NEIGHBOUR: &str = "neighbour";
/// A device's interface.
const DEVICE: &str = "eth0";
/// A router's interface towards the public network.
const WAN: &str = "wan";

impl Internet {
    /// Where the signaling server listens.
    pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
    /// Where the signaling server listens, too.
    pub const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x5100, 0xbeef, 0, 0, 0, 0x10);
    /// Where the relay listens, and where it relays.
    pub const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 20);
    /// Where the [`neighbour`](Self::neighbour) is.
    pub const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 40);
    /// Where it is, too.
    pub const NEIGHBOUR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x5100, 0xbeef, 0, 0, 0, 0x40);

    /// A public network without sites.
    pub fn new() -> Result<Self> {
        let public = Host::new("public")?;
        public.switch(SWITCH)?;
        public.address(SWITCH, &format!("{}/24", Self::SERVER))?;
        public.address(SWITCH, &format!("{}/24", Self::RELAY))?;
        public.address_v6(SWITCH, &format!("{}/64", Self::SERVER_V6))?;
        // The way to the rest of the world, where packets for addresses that do not exist vanish. coturn
        // gives up an allocation when the system refuses to send at all.
        public.ip(&["neighbor", "add", NOWHERE, "lladdr", "02:00:00:00:00:01", "dev", SWITCH])?;
        public.default_route(NOWHERE)?;
        Ok(Self { public, sites: 0 })
    }

    /// The host of server and relay.
    pub fn public(&self) -> &Host {
        &self.public
    }

    /// A device in the public network itself.
    pub fn neighbour(&self, role: &str) -> Result<Host> {
        let device = Host::new(role)?;
        device.connect(DEVICE, &self.public, NEIGHBOUR)?;
        self.public.plug(NEIGHBOUR, SWITCH)?;
        device.address(DEVICE, &format!("{}/24", Self::NEIGHBOUR))?;
        device.address_v6(DEVICE, &format!("{}/64", Self::NEIGHBOUR_V6))?;
        Ok(device)
    }

    /// A site whose router lets in only what answers something that went out.
    pub fn site(&mut self, nat: Nat) -> Result<Site> {
        let number = self.sites;
        self.sites += 1;
        let router = Host::new(&format!("router{number}"))?;
        let port = format!("site{number}");
        router.connect(WAN, &self.public, &port)?;
        self.public.plug(&port, SWITCH)?;
        router.address(WAN, &format!("198.51.100.{}/24", 31 + number))?;
        router.switch(SWITCH)?;
        router.address(SWITCH, &format!("{}/27", lan_address(number, 1)))?;
        router.set("net.ipv4.ip_forward", "1")?;
        let masquerade = nat.masquerade();
        router.filter(&format!(
            "table ip site {{
                chain translate {{
                    type nat hook postrouting priority srcnat;
                    oifname \"{WAN}\" {masquerade}
                }}
                chain forward {{
                    type filter hook forward priority filter; policy drop;
                    iifname \"{SWITCH}\" accept
                    ct state established,related accept
                }}
                chain input {{
                    type filter hook input priority filter; policy drop;
                    iifname \"{SWITCH}\" accept
                    ct state established,related accept
                }}
            }}"
        ))?;
        Ok(Site { number, router, devices: 0 })
    }
}

impl Site {
    /// One more host at this site.
    pub fn device(&mut self, role: &str) -> Result<Host> {
        let port = format!("device{}", self.devices);
        let address = self.next_address();
        let device = Host::new(role)?;
        device.connect(DEVICE, &self.router, &port)?;
        self.router.plug(&port, SWITCH)?;
        device.address(DEVICE, &format!("{address}/27"))?;
        device.default_route(&lan_address(self.number, 1))?;
        Ok(device)
    }

    /// Takes a device's interface down: nothing comes or goes, and its routes are forgotten.
    pub fn cut_off(&self, device: &Host) -> Result<()> {
        device.ip(&["link", "set", DEVICE, "down"])
    }

    /// Brings it up again, with the address that it had.
    pub fn rejoin(&self, device: &Host) -> Result<()> {
        device.ip(&["link", "set", DEVICE, "up"])?;
        device.default_route(&lan_address(self.number, 1))
    }

    /// Takes a device's address from it.
    pub fn take_address(&self, device: &Host) -> Result<()> {
        device.ip(&["address", "flush", "dev", DEVICE])
    }

    /// Gives a device that has none another address.
    pub fn readdress(&mut self, device: &Host) -> Result<()> {
        let address = self.next_address();
        device.address(DEVICE, &format!("{address}/27"))?;
        device.default_route(&lan_address(self.number, 1))
    }

    fn next_address(&mut self) -> String {
        let last = 2 + self.devices;
        self.devices += 1;
        lan_address(self.number, last)
    }

    /// From now on the router loses so many of a hundred packets that pass it, each way.
    pub fn lose(&self, percent: u8) -> Result<()> {
        self.router.filter(&format!(
            "table ip weather {{
                chain forward {{
                    type filter hook forward priority filter - 1;
                    numgen random mod 100 < {percent} drop
                }}
            }}"
        ))
    }
}

fn lan_address(site: u8, last: u8) -> String {
    format!("203.0.113.{}", site * 32 + last)
}
