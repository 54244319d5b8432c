//! The state of the kernel, as far as netd needs it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use octet_appliance::VPN_TABLE;

/// netd's number as the origin of routes (`rtm_protocol`; docs/ARCHITECTURE.md lists the others).
pub const PROTOCOL: u8 = 201;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkDevice {
    /// The kernel's interface index.
    pub index: u32,
    pub name: String,
    pub kind: LinkKind,
    /// Whether the link is administratively up.
    pub up: bool,
    /// Whether the link has a carrier.
    pub carrier: bool,
    /// How often the carrier was lost (`carrier_down_count`).
    pub carrier_downs: u32,
    pub traffic: LinkCounters,
}

/// Traffic counters of a link since it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkCounters {
    /// Received frames, including those that were dropped later.
    pub received: u64,
    /// Received bytes.
    pub received_bytes: u64,
    pub sent: u64,
    /// Sent bytes.
    pub sent_bytes: u64,
}

/// The kind of a network device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    Loopback,
    /// A port of the board, with its MAC address.
    Ethernet([u8; 6]),
    /// A device made by a program; netd leaves it alone.
    Other,
}

/// An address of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkAddress {
    pub link: u32,
    pub address: IpAddr,
    /// Prefix length of its network.
    pub prefix: u8,
    /// Seconds until the kernel removes the address; `None`: never.
    pub seconds: Option<u32>,
    /// Nobody else can have the address, so duplicate address detection is skipped (RFC 4862, 5.4).
    pub is_sole: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelRoute {
    /// The destination network and its prefix length; a default route has the length 0.
    pub to: (IpAddr, u8),
    /// The next hop.
    pub gateway: IpAddr,
    pub link: u32,
}

/// Selects the routing table for packets received on one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingRule {
    pub device: String,
    /// The destination network; prefix length 0 matches all.
    pub to: (IpAddr, u8),
    /// Rules with a lower number are evaluated first.
    pub priority: u32,
    pub table: u8,
}

impl KernelRoute {
    /// A default route.
    pub fn out(gateway: IpAddr, link: u32) -> Self {
        let any: IpAddr = match gateway {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self { to: (any, 0), gateway, link }
    }

    /// Whether this is a default route.
    pub fn is_out(&self) -> bool {
        self.to.1 == 0
    }
}

impl RoutingRule {
    /// Packets to the network `to` use the main routing table.
    pub fn inside(device: &str, to: (IpAddr, u8)) -> Self {
        Self { device: device.to_owned(), to, priority: 20_100, table: MAIN_TABLE }
    }

    /// All other packets of the IP version of `any`, the unspecified address, use the routing table
    /// of the VPN.
    pub fn outside(device: &str, any: IpAddr) -> Self {
        Self { device: device.to_owned(), to: (any, 0), priority: 20_101, table: VPN_TABLE }
    }
}

/// `RT_TABLE_MAIN` (linux/rtnetlink.h).
const MAIN_TABLE: u8 = 254;

/// A static neighbour entry, for which the kernel sends no solicitations.
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
    /// The IP versions, each as its unspecified address, for which the VPN's routing table ends in
    /// an unreachable route.
    pub dead_ends: Vec<IpAddr>,
    /// Static neighbour entries.
    pub neighbours: Vec<StaticNeighbour>,
    /// Whether forwarding is enabled for both IP versions.
    pub forwards: bool,
}

impl NetworkDevice {
    /// The MAC address, if the device is a port of the board.
    pub fn mac(&self) -> Option<[u8; 6]> {
        match self.kind {
            LinkKind::Ethernet(mac) => Some(mac),
            LinkKind::Loopback | LinkKind::Other => None,
        }
    }
}

impl Observed {
    /// The uplink: the link of this name, or else the first port of the board.
    pub fn uplink(&self, name: Option<&str>) -> Option<&NetworkDevice> {
        let mut ports = self.links.iter().filter(|link| link.mac().is_some());
        ports.find(|link| name.is_none_or(|name| link.name == name))
    }
}
