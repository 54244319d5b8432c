//! The links of a node, as `netd` tells the units that speak with those at the other end (verb `links`),
//! and what they tell it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use octet_appliance::{Cidr, LinkName, Mac};
use serde::{Deserialize, Serialize};

/// The verb of `netd` that answers with [`Links`], and again whenever they change.
pub const LINKS: &str = "links";

/// The verb of `netd` that takes a [`Lease`], or that there is none.
pub const LEASED: &str = "leased";

/// The verb of `netd` that takes who has first asked for an address at a port.
pub const PLUGGED: &str = "plugged";

/// The verb of `netd` that takes an [`Advertised`], or that there is none.
pub const ADVERTISED: &str = "advertised";

/// The verb of `netd` that answers with a list of [`Passed`], one for each link.
pub const TRAFFIC: &str = "traffic";

/// What has passed a link since it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    pub link: String,
    /// The board at the other end, on a router.
    pub board: Option<u8>,
    /// Whether something is at the other end.
    pub carrier: bool,
    /// Frames that came in, also those that were dropped then.
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
    /// Each link that is for something.
    pub links: Vec<Link>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    pub name: LinkName,
    pub mac: Mac,
    /// Whether something is at the other end.
    pub carrier: bool,
    /// How often there was nothing any more at the other end.
    pub downs: u32,
    /// What is at the other end.
    pub leads_to: LeadsTo,
}

/// What is at the other end of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeadsTo {
    /// Whoever leads out; of a board in a box that is its router.
    Out {
        /// Whether the address is asked for, by DHCP and router advertisements.
        asks: bool,
        /// The addresses that it has, without that of the link itself.
        addresses: Vec<Cidr>,
        /// Where packets to other networks go.
        gateways: Vec<IpAddr>,
    },
    Board(PlannedSegment),
    Lan(PlannedSegment),
}

/// A segment of a router, as it was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedSegment {
    /// The number of its networks; of a board also the board's.
    pub number: u8,
    pub router: (Ipv4Addr, Ipv6Addr),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<(Ipv4Addr, Ipv6Addr)>,
    /// Whose Ethernet address the file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
}

/// What a DHCP server has given (RFC 2131).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkLease {
    /// The address, and the network that it is in.
    pub address: Cidr,
    /// Where packets to other networks go.
    pub gateway: Option<Ipv4Addr>,
    pub server: Ipv4Addr,
    /// For how many seconds from now on; `None` for ever.
    pub seconds: Option<u32>,
    /// Which board of the box the server says this is.
    pub board: Option<u8>,
}

/// What a router has advertised (RFC 4861, 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterAdvertised {
    /// The address for this node in the network that is advertised; none if it is to have none.
    pub address: Option<Cidr>,
    /// For how many seconds from now on.
    pub address_seconds: Option<u32>,
    /// The router, if packets to other networks may go by it.
    pub gateway: Option<Ipv6Addr>,
    /// For how many seconds from now on.
    pub gateway_seconds: u32,
    /// The networks of the box to which packets go by its router, whether or not that leads out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<AdvertisedRoute>,
}

/// A network to which a router leads (RFC 4191, 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdvertisedRoute {
    pub to: Cidr,
    pub gateway: Ipv6Addr,
    /// For how many seconds from now on; `None` for ever.
    pub seconds: Option<u32>,
}
