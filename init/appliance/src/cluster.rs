//! `[cluster]`, `[[board]]` and `[lan]`: the boards of the box, the router between them, and the
//! port of each.

mod check;
mod router;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::name::{RoleName, UnitName};
use crate::network::LinkName;
use crate::public_key::PublicKey;

pub use router::{RouterAddress, RouterContact, RouterKind};

/// The host number of a board in its segment; the router is host 1.
const BOARD_HOST: u8 = 2;

/// The host number of the router in each segment.
const ROUTER_HOST: u8 = 1;

/// The role of the board that is the coordinator if the router is not.
const MANAGER: &str = "manager";

/// `[cluster]`: the number of boards, and the router's devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct Cluster {
    /// The number of boards: 4, 8, 16 or 32.
    pub boards: u8,
    pub router: RouterKind,
    /// The router's uplink device.
    pub uplink: LinkName,
    /// The router's devices for the boards' ports, that of port 1 first.
    pub ports: Vec<LinkName>,
    /// The IPv4 network of the whole box.
    pub network: Network4,
    /// The IPv6 network of the whole box.
    pub network6: Network6,
    /// Which key is accepted for a board.
    pub enrol: Enrol,
}

/// Which key is accepted for a board that is plugged in. A key in `[[board]]` is binding in any
/// case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enrol {
    /// The first key that is seen at its port (trust on first use).
    #[default]
    FirstUse,
    /// A key that an owner approves.
    Approve,
    /// Only the key in `[[board]]`.
    Pinned,
}

/// A /16 network, of which each segment has a /24: `10.20.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network4(Ipv4Addr);

/// A /48 network, of which each segment has a /64: `fd6f:6374:6574::/48`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network6(Ipv6Addr);

/// `[[board]]`: the settings of one board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// 1 to the number of boards.
    pub number: u8,
    /// The router's port that it is plugged into; by default its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u8>,
    /// A name for policies, which several boards may share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// Units that run on it, and not on boards that do not name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<UnitName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// The key of its node, as `octetctl identity show` prints it there: no other key is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
}

/// `[lan]`: a port of the router for the owner's own devices.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lan {
    /// The router's device; by default the one after those of the boards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<LinkName>,
}

/// A unicast Ethernet address: `02:00:00:00:00:03`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

/// Invalid settings of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCluster {
    /// Not one of the four sizes of a box.
    #[error("there is no box of {0} boards: 4, 8, 16 or 32")]
    Boards(u8),
    /// Not a valid network of a whole box.
    #[error("`{0}` is not a network of {1} bits that a box can have inside, such as `{2}`")]
    Network(String, u8, &'static str),
    #[error(
        "`{0}` is not an address of a router, such as `192.168.1.1`; with `:PORT` if it is not 443"
    )]
    RouterAddress(String),
    /// Not a unicast Ethernet address.
    #[error("`{0}` is not an Ethernet address of a device, such as `02:00:00:00:00:03`")]
    Mac(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    boards: Boards,
    #[serde(default)]
    router: RouterKind,
    #[serde(default = "uplink")]
    uplink: LinkName,
    #[serde(default)]
    ports: Option<Vec<LinkName>>,
    #[serde(default)]
    network: Network4,
    #[serde(default)]
    network6: Network6,
    #[serde(default)]
    enrol: Enrol,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
struct Boards(u8);

impl TryFrom<u8> for Boards {
    type Error = InvalidCluster;

    fn try_from(boards: u8) -> Result<Self, InvalidCluster> {
        match boards {
            4 | 8 | 16 | 32 => Ok(Self(boards)),
            _ => Err(InvalidCluster::Boards(boards)),
        }
    }
}

impl From<Boards> for u8 {
    fn from(boards: Boards) -> u8 {
        boards.0
    }
}

/// The kernel's name for the Ethernet device `number`.
fn device(number: usize) -> LinkName {
    LinkName::ethernet(number)
}

fn uplink() -> LinkName {
    device(0)
}

impl TryFrom<Raw> for Cluster {
    type Error = InvalidCluster;

    fn try_from(raw: Raw) -> Result<Self, InvalidCluster> {
        let Raw { boards: Boards(boards), router, uplink, ports, network, network6, enrol } = raw;
        let ports = ports.unwrap_or_else(|| (1..=usize::from(boards)).map(device).collect());
        Ok(Self { boards, router, uplink, ports, network, network6, enrol })
    }
}

impl From<Cluster> for Raw {
    fn from(cluster: Cluster) -> Raw {
        let Cluster { boards, router, uplink, ports, network, network6, enrol } = cluster;
        Raw { boards: Boards(boards), router, uplink, ports: Some(ports), network, network6, enrol }
    }
}

impl Cluster {
    /// The device of `lan`.
    pub fn lan(&self, lan: &Lan) -> LinkName {
        lan.port.clone().unwrap_or_else(|| device(usize::from(self.boards) + 1))
    }

    /// The board that has `address`: the router's rules guarantee that no other node uses it.
    pub fn board_at(&self, address: IpAddr) -> Option<u8> {
        let number = match address.to_canonical() {
            IpAddr::V4(address) => self.network.board_at(address),
            IpAddr::V6(address) => self.network6.board_at(address),
        };
        number.filter(|number| (1..=self.boards).contains(number))
    }

    /// The addresses of board `number`.
    pub fn addresses(&self, number: u8) -> (Ipv4Addr, Ipv6Addr) {
        (self.network.host(number, BOARD_HOST), self.network6.host(number, BOARD_HOST.into()))
    }

    /// The addresses of the router in the segment `number`.
    pub fn gateways(&self, number: u8) -> (Ipv4Addr, Ipv6Addr) {
        (self.network.host(number, ROUTER_HOST), self.network6.host(number, ROUTER_HOST.into()))
    }

    /// The board of `boards` that is the coordinator; `None` if the router is.
    pub fn manager(&self, boards: &[Board]) -> Option<u8> {
        let manager = boards.iter().find(|board| board.is_manager());
        manager.map(|board| board.number).filter(|_| !self.router.is_octet())
    }

    /// The port that board `number` is plugged into, according to `boards`.
    pub fn port(&self, boards: &[Board], number: u8) -> u8 {
        let board = boards.iter().find(|board| board.number == number);
        board.and_then(|board| board.port).unwrap_or(number)
    }
}

impl Board {
    /// Whether it is the coordinator.
    fn is_manager(&self) -> bool {
        self.role.as_ref().is_some_and(|role| role.as_str() == MANAGER)
    }
}

impl Network4 {
    /// An address in the segment `number`: the segment's 24 bits, followed by `host`.
    pub fn host(self, number: u8, host: u8) -> Ipv4Addr {
        let [a, b, ..] = self.0.octets();
        Ipv4Addr::new(a, b, number, host)
    }

    /// The segment whose board has `address`, that of host 2.
    fn board_at(self, address: Ipv4Addr) -> Option<u8> {
        let [_, _, number, host] = address.octets();
        (self.contains(address) && host == BOARD_HOST).then_some(number)
    }

    /// Whether `address` is in the network.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        self.0.octets()[..2] == address.octets()[..2]
    }
}

impl Network6 {
    /// An address in the segment `number`.
    pub fn host(self, number: u8, host: u16) -> Ipv6Addr {
        let [a, b, c, ..] = self.0.segments();
        Ipv6Addr::new(a, b, c, number.into(), 0, 0, 0, host)
    }

    /// The segment whose board has `address`, that of host 2.
    fn board_at(self, address: Ipv6Addr) -> Option<u8> {
        let number = u8::try_from(address.segments()[3]).ok()?;
        (address == self.host(number, BOARD_HOST.into())).then_some(number)
    }

    /// Whether `address` is in the network.
    pub fn contains(self, address: Ipv6Addr) -> bool {
        self.0.segments()[..3] == address.segments()[..3]
    }
}

impl Default for Network4 {
    fn default() -> Self {
        Self(Ipv4Addr::new(10, 20, 0, 0))
    }
}

impl Default for Network6 {
    /// The 40 bits that should be random (RFC 4193) are the letters of "octet": two boxes that are
    /// to reach each other's boards must configure different networks.
    fn default() -> Self {
        Self(Ipv6Addr::new(0xfd6f, 0x6374, 0x6574, 0, 0, 0, 0, 0))
    }
}

impl TryFrom<String> for Network4 {
    type Error = InvalidCluster;

    fn try_from(text: String) -> Result<Self, InvalidCluster> {
        let address = text.strip_suffix("/16").and_then(|text| text.parse::<Ipv4Addr>().ok());
        let fits = |address: &Ipv4Addr| {
            let [a, _, c, d] = address.octets();
            (c, d) == (0, 0) && (1..224).contains(&a) && a != 127 && !address.is_link_local()
        };
        let wrong = || InvalidCluster::Network(text.clone(), 16, "10.20.0.0/16");
        address.filter(fits).map(Self).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Network6 {
    type Error = InvalidCluster;

    fn try_from(text: String) -> Result<Self, InvalidCluster> {
        let address = text.strip_suffix("/48").and_then(|text| text.parse::<Ipv6Addr>().ok());
        let fits = |address: &Ipv6Addr| {
            let first = address.segments()[0];
            // fc00::/8 is reserved for addresses of nodes, which are reached by paths.
            let (global, local) = ((0x2000..0x4000).contains(&first), first >> 8 == 0xfd);
            address.segments()[3..].iter().all(|it| *it == 0) && (global || local)
        };
        let wrong = || InvalidCluster::Network(text.clone(), 48, "fd6f:6374:6574::/48");
        address.filter(fits).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Network4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/16", self.0)
    }
}

impl fmt::Display for Network6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/48", self.0)
    }
}

impl From<Network4> for String {
    fn from(network: Network4) -> String {
        network.to_string()
    }
}

impl From<Network6> for String {
    fn from(network: Network6) -> String {
        network.to_string()
    }
}

impl Mac {
    /// Its bytes in transmission order.
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// The address with these bytes, unless it is a multicast address or zero.
    pub fn new(bytes: [u8; 6]) -> Option<Self> {
        (bytes[0] & 1 == 0 && bytes != [0; 6]).then_some(Self(bytes))
    }

    /// The link-local IPv6 address derived from it (RFC 4291, appendix A).
    pub fn link_local(self) -> IpAddr {
        let [a, b, c, d, e, f] = self.0;
        let pair = |high, low| u16::from_be_bytes([high, low]);
        let own = [pair(a ^ 2, b), pair(c, 0xff), pair(0xfe, d), pair(e, f)];
        Ipv6Addr::new(0xfe80, 0, 0, 0, own[0], own[1], own[2], own[3]).into()
    }
}

impl TryFrom<String> for Mac {
    type Error = InvalidCluster;

    fn try_from(text: String) -> Result<Self, InvalidCluster> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        let mut read = || {
            for byte in &mut bytes {
                let part = parts.next().filter(|part| part.len() == 2)?;
                *byte = u8::from_str_radix(part, 16).ok().filter(|_| !part.starts_with('+'))?;
            }
            parts.next().is_none().then_some(())
        };
        let read = read().and_then(|()| Self::new(bytes));
        read.ok_or(InvalidCluster::Mac(text))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests;
