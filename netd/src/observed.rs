//! What the kernel has, as far as netd cares.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use octet_appliance::VPN_TABLE;

/// netd's number as the origin of routes (`rtm_protocol`; docs/ARCHITECTURE.md lists the others).
pub const PROTOCOL: u8 = 201;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkDevice {
    /// The kernel's number for it.
    pub index: u32,
    pub name: String,
    pub kind: LinkKind,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether something is at the other end.
    pub carrier: bool,
    /// How often there was nothing any more at the other end.
    pub carrier_downs: u32,
    pub traffic: LinkCounters,
}

/// What has passed a link since it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkCounters {
    /// Frames that came in, also those that were dropped then.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
}

/// What a network device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    Loopback,
    /// A port of the board, with its MAC address.
    Ethernet([u8; 6]),
    /// Made by a program: whose it is, is not for netd to touch.
    Other,
}

/// An address of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkAddress {
    pub link: u32,
    pub address: IpAddr,
    /// Bits of its network's prefix.
    pub prefix: u8,
    /// Seconds until the kernel removes it; `None` for ever.
    pub seconds: Option<u32>,
    /// Nobody else can have it, so nobody is asked before it is used (RFC 4862, 5.4).
    pub is_sole: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelRoute {
    /// The network to which it leads, and the bits of its prefix; all others, with a prefix of 0.
    pub to: (IpAddr, u8),
    /// Where packets for it go.
    pub gateway: IpAddr,
    pub link: u32,
}

/// In which table the kernel looks for a route for what comes by one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingRule {
    pub device: String,
    /// The network that it goes to; all, with a prefix of 0.
    pub to: (IpAddr, u8),
    /// Rules of a lower number come before it.
    pub priority: u32,
    pub table: u8,
}

impl KernelRoute {
    /// To all networks that have no other.
    pub fn out(gateway: IpAddr, link: u32) -> Self {
        let any: IpAddr = match gateway {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self { to: (any, 0), gateway, link }
    }

    /// Whether it is such a one.
    pub fn is_out(&self) -> bool {
        self.to.1 == 0
    }
}

impl RoutingRule {
    /// What goes to the network `to` has the routes that everybody has.
    pub fn inside(device: &str, to: (IpAddr, u8)) -> Self {
        Self { device: device.to_owned(), to, priority: 20_100, table: MAIN_TABLE }
    }

    /// All else of the version of `any`, which is nobody's address, has the routes of the VPN.
    pub fn outside(device: &str, any: IpAddr) -> Self {
        Self { device: device.to_owned(), to: (any, 0), priority: 20_101, table: VPN_TABLE }
    }
}

/// `RT_TABLE_MAIN` (linux/rtnetlink.h).
const MAIN_TABLE: u8 = 254;

/// A neighbour that the kernel does not ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaticNeighbour {
    pub link: u32,
    pub address: IpAddr,
    pub mac: [u8; 6],
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Links, in the kernel's order.
    pub links: Vec<NetworkDevice>,
    pub addresses: Vec<LinkAddress>,
    /// Routes with [`PROTOCOL`], netd's own.
    pub routes: Vec<KernelRoute>,
    /// Rules with [`PROTOCOL`], netd's own.
    pub rules: Vec<RoutingRule>,
    /// The versions of IP, by nobody's address, of which whoever finds no other route in the table of the VPN is
    /// told that there is none.
    pub dead_ends: Vec<IpAddr>,
    /// Neighbours that were set by a program.
    pub neighbours: Vec<StaticNeighbour>,
    /// Whether packets for others are handed on, of both versions of IP.
    pub forwards: bool,
}

impl NetworkDevice {
    /// Its MAC address, if it is a port of the board.
    pub fn mac(&self) -> Option<[u8; 6]> {
        match self.kind {
            LinkKind::Ethernet(mac) => Some(mac),
            LinkKind::Loopback | LinkKind::Other => None,
        }
    }
}

impl Observed {
    /// The link that leads out: the one of this name, else the first port of the board.
    pub fn uplink(&self, name: Option<&str>) -> Option<&NetworkDevice> {
        let mut ports = self.links.iter().filter(|link| link.mac().is_some());
        ports.find(|link| name.is_none_or(|name| link.name == name))
    }
}
