//! The links of a node, as `netd` reports them (verb `links`) to the units that use them, and what those units
//! report to netd.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use octet_appliance::{Cidr, LinkName, Mac};
use serde::{Deserialize, Serialize};

/// The verb of `netd` that returns [`Links`], now and at each change.
pub const LINKS: &str = "links";

/// The verb of `netd` that takes a [`LinkLease`], or its end.
pub const LEASED: &str = "leased";

/// The verb of `netd` that takes the first client that requested an address at a port.
pub const PLUGGED: &str = "plugged";

/// The verb of `netd` that takes a [`RouterAdvertised`], or its end.
pub const ADVERTISED: &str = "advertised";

/// The verb of `netd` that returns a list of [`LinkTraffic`], one per link.
pub const TRAFFIC: &str = "traffic";

/// The traffic of a link since it exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkTraffic {
    pub link: String,
    /// The board at the other end, on a router.
    pub board: Option<u8>,
    /// Whether it is the uplink; for a board of a box, the link to its router.
    pub uplink: bool,
    /// Whether the link has a carrier.
    pub carrier: bool,
    /// Received frames, including those that were dropped.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
}

/// All links of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Links {
    /// Whether this node is a board of a box with a router.
    pub is_board: bool,
    /// The links with a configured purpose.
    pub links: Vec<Link>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The kernel's interface index.
    pub index: u32,
    pub name: LinkName,
    pub mac: Mac,
    /// Whether the link has a carrier.
    pub carrier: bool,
    /// The number of carrier losses.
    pub downs: u32,
    /// What is at the other end.
    pub leads_to: LeadsTo,
}

/// What is at the other end of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeadsTo {
    /// The uplink; for a board of a box, the link to its router.
    Out {
        /// Whether the address is dynamic, by DHCP and router advertisements.
        asks: bool,
        /// The addresses, without the link-local one.
        addresses: Vec<Cidr>,
        /// The default gateways.
        gateways: Vec<IpAddr>,
    },
    Board(PlannedSegment),
    Lan(PlannedSegment),
}

/// A segment of a router, as planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedSegment {
    /// The number of its networks; for a board also the board's number.
    pub number: u8,
    pub router: (Ipv4Addr, Ipv6Addr),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<(Ipv4Addr, Ipv6Addr)>,
    /// The Ethernet address, if the file sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
}

/// A DHCP lease (RFC 2131).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkLease {
    /// The address with its prefix length.
    pub address: Cidr,
    /// The default gateway.
    pub gateway: Option<Ipv4Addr>,
    pub server: Ipv4Addr,
    /// The lease time in seconds; `None` for infinite.
    pub seconds: Option<u32>,
    /// The board number that the server has assigned.
    pub board: Option<u8>,
}

/// A router advertisement (RFC 4861, 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterAdvertised {
    /// This node's address in the advertised network, if autonomous configuration applies.
    pub address: Option<Cidr>,
    /// The valid lifetime of the address, in seconds.
    pub address_seconds: Option<u32>,
    /// The router, if it is a default router.
    pub gateway: Option<Ipv6Addr>,
    /// The router lifetime, in seconds.
    pub gateway_seconds: u32,
    /// The box's networks behind this router, whether or not it is a default router.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<AdvertisedRoute>,
}

/// A route information option (RFC 4191, 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdvertisedRoute {
    pub to: Cidr,
    pub gateway: Ipv6Addr,
    /// The route lifetime in seconds; `None` for infinite.
    pub seconds: Option<u32>,
}
