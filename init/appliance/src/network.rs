//! `[network]`: the addresses of the box.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::one_or_more::OneOrMore;

/// `[network]`: the address of this box on the uplink. Without the section it is DHCP on the first
/// link.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct NetworkSettings {
    /// The uplink; by default the first Ethernet link of the kernel's list.
    pub link: Option<LinkName>,
    pub addressing: Addressing,
    /// DNS servers; by default those from DHCP or a router advertisement.
    pub dns: Vec<IpAddr>,
    /// NTP servers; by default those from DHCP.
    pub ntp: Vec<IpAddr>,
}

/// The source of the addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Addressing {
    /// `"dhcp"`: from a DHCP server (RFC 2131), IPv4 only.
    #[default]
    Dhcp,
    /// A list of fixed addresses.
    Fixed {
        /// Each with its prefix length.
        addresses: Vec<Cidr>,
        /// Default gateways, at most one for IPv4 and one for IPv6.
        gateways: Vec<IpAddr>,
    },
}

/// An address with its prefix length: `192.0.2.7/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// The name of a network device: 1 to 15 letters, digits, `-`, `_` and `.`, not all dots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkName(String);

/// An invalid setting of `[network]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// Not an address with a prefix length.
    #[error("`{0}` is not an address with the length of its prefix, such as `192.0.2.7/24`")]
    Cidr(String),
    /// An address that no box can have.
    #[error("{0} is an address that no box can have: {1}")]
    Address(Cidr, &'static str),
    /// Not a device name.
    #[error("`{0}` is not a name of a network device, such as `eth0`")]
    Link(String),
    /// A gateway outside of all networks of the addresses.
    #[error("`gateway`: {0} is in the network of none of the addresses")]
    Gateway(IpAddr),
    /// Two gateways of one IP version.
    #[error("`gateway` names two for {0}: a box has one default route per IP version")]
    Gateways(&'static str),
    #[error("`gateway` is only for a list of addresses: a DHCP server assigns its own")]
    GatewayOfDhcp,
    #[error("`{0}`: {1} is there twice")]
    Duplicate(&'static str, String),
    /// Not an address of a server.
    #[error("`{0}`: {1} is not an address of a server")]
    Server(&'static str, IpAddr),
    #[error("`{0}` names more than {MAX_SERVERS} servers")]
    Servers(&'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<LinkName>,
    #[serde(default)]
    address: RawAddress,
    #[serde(default, skip_serializing_if = "OneOrMore::is_empty")]
    gateway: OneOrMore<IpAddr>,
    #[serde(default, skip_serializing_if = "OneOrMore::is_empty")]
    dns: OneOrMore<IpAddr>,
    #[serde(default, skip_serializing_if = "OneOrMore::is_empty")]
    ntp: OneOrMore<IpAddr>,
}

/// `"dhcp"` or a list.
#[derive(Default)]
enum RawAddress {
    #[default]
    Dhcp,
    Fixed(Vec<Cidr>),
}

impl TryFrom<Raw> for NetworkSettings {
    type Error = InvalidNetwork;

    fn try_from(raw: Raw) -> Result<Self, InvalidNetwork> {
        let gateways = raw.gateway.0;
        let addressing = match raw.address {
            RawAddress::Dhcp if gateways.is_empty() => Addressing::Dhcp,
            RawAddress::Dhcp => return Err(InvalidNetwork::GatewayOfDhcp),
            RawAddress::Fixed(addresses) => {
                for (at, cidr) in addresses.iter().enumerate() {
                    if addresses[..at].iter().any(|other| other.address == cidr.address) {
                        return Err(InvalidNetwork::Duplicate("address", cidr.to_string()));
                    }
                }
                for gateway in &gateways {
                    if !addresses.iter().any(|cidr| cidr.is_on_link(*gateway)) {
                        return Err(InvalidNetwork::Gateway(*gateway));
                    }
                }
                let of = |four: bool| gateways.iter().filter(|it| it.is_ipv4() == four).count();
                if let Some((_, kind)) =
                    [(true, "IPv4"), (false, "IPv6")].iter().find(|(four, _)| of(*four) > 1)
                {
                    return Err(InvalidNetwork::Gateways(kind));
                }
                Addressing::Fixed { addresses, gateways }
            }
        };
        let (dns, ntp) = (servers("dns", raw.dns)?, servers("ntp", raw.ntp)?);
        Ok(Self { link: raw.link, addressing, dns, ntp })
    }
}

impl From<NetworkSettings> for Raw {
    fn from(settings: NetworkSettings) -> Raw {
        let (address, gateways) = match settings.addressing {
            Addressing::Dhcp => (RawAddress::Dhcp, vec![]),
            Addressing::Fixed { addresses, gateways } => (RawAddress::Fixed(addresses), gateways),
        };
        let (dns, ntp) = (OneOrMore(settings.dns), OneOrMore(settings.ntp));
        Raw { link: settings.link, address, gateway: OneOrMore(gateways), dns, ntp }
    }
}

/// Maximum number of servers of one kind.
const MAX_SERVERS: usize = 4;

fn servers(name: &'static str, servers: OneOrMore<IpAddr>) -> Result<Vec<IpAddr>, InvalidNetwork> {
    let servers = servers.0;
    if servers.len() > MAX_SERVERS {
        return Err(InvalidNetwork::Servers(name));
    }
    let is_none = |it: &&IpAddr| it.is_unspecified() || it.is_loopback() || it.is_multicast();
    if let Some(server) = servers.iter().find(is_none) {
        return Err(InvalidNetwork::Server(name, *server));
    }
    let twice = servers.iter().enumerate().find(|(at, it)| servers[..*at].contains(it));
    match twice {
        Some((_, server)) => Err(InvalidNetwork::Duplicate(name, server.to_string())),
        None => Ok(servers),
    }
}

impl Cidr {
    /// Checked: an address that one box can have.
    ///
    /// # Errors
    /// It is a network's own or its broadcast address, of a group, loopback or unspecified; or the
    /// prefix is longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, InvalidNetwork> {
        let cidr = Self { address, prefix };
        if u32::from(prefix) > cidr.bits() {
            return Err(InvalidNetwork::Cidr(cidr.to_string()));
        }
        let wrong = |why| Err(InvalidNetwork::Address(cidr, why));
        if address.is_unspecified() || matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 0) {
            return wrong("it stands for none");
        }
        if address.is_loopback() {
            return wrong("it never leaves a box");
        }
        if address.is_multicast() || matches!(address, IpAddr::V4(v4) if v4.octets()[0] >= 240) {
            return wrong("it belongs to a group");
        }
        if matches!(address, IpAddr::V6(v6) if v6.octets()[0] == 0xfc) {
            return wrong("fc00::/8 is for addresses of nodes, by paths");
        }
        // RFC 3021: a /31 network has neither.
        if let IpAddr::V4(v4) = address
            && prefix < 31
        {
            let host = v4.to_bits() & (u32::MAX >> prefix);
            if host == 0 {
                return wrong("it is the network's own");
            }
            if host == u32::MAX >> prefix {
                return wrong("it is the network's broadcast address");
            }
        }
        Ok(cidr)
    }

    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The prefix length: up to 32, or 128.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `other` can be reached without a gateway: it is in the same network, or link-local
    /// (IPv6).
    pub fn is_on_link(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                own != other && (own.to_bits() ^ other.to_bits()) & mask == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                let same = (own.to_bits() ^ other.to_bits()) & mask == 0;
                own != other && (same || other.is_unicast_link_local())
            }
            _ => false,
        }
    }

    /// Whether `router` can be the default gateway: it is on the link. Providers may assign a /32
    /// address, with a router outside of it: then that is on the link, too.
    pub fn is_valid_gateway(&self, router: Ipv4Addr) -> bool {
        let is_alone = self.address.is_ipv4() && self.prefix == 32;
        let is_one = Self::new(router.into(), 32).is_ok() && self.address != IpAddr::V4(router);
        self.is_on_link(router.into()) || is_alone && is_one
    }

    fn bits(&self) -> u32 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }
}

impl TryFrom<String> for Cidr {
    type Error = InvalidNetwork;

    fn try_from(text: String) -> Result<Self, InvalidNetwork> {
        let wrong = || InvalidNetwork::Cidr(text.clone());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = digits.then(|| prefix.parse().ok()).flatten().ok_or_else(wrong)?;
        Self::new(address.parse().map_err(|_| wrong())?, prefix)
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> String {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl LinkName {
    /// The kernel's name of the Ethernet device `number`, counted from 0.
    pub fn ethernet(number: usize) -> Self {
        Self(format!("eth{number}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for LinkName {
    type Error = InvalidNetwork;

    fn try_from(name: String) -> Result<Self, InvalidNetwork> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        // The kernel's limit (IFNAMSIZ) is 16 with a zero byte.
        let fits = (1..16).contains(&name.len()) && name.bytes().all(plain);
        if fits && name.bytes().any(|byte| byte != b'.') {
            Ok(Self(name))
        } else {
            Err(InvalidNetwork::Link(name))
        }
    }
}

impl From<LinkName> for String {
    fn from(name: LinkName) -> String {
        name.0
    }
}

impl Serialize for RawAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Dhcp => serializer.serialize_str("dhcp"),
            Self::Fixed(addresses) => addresses.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for RawAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawAddress;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"dhcp\" or a list such as [\"192.0.2.7/24\"]")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RawAddress, E> {
                if text == "dhcp" {
                    return Ok(RawAddress::Dhcp);
                }
                Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawAddress, A::Error> {
                let mut addresses = vec![];
                while let Some(address) = list.next_element()? {
                    addresses.push(address);
                }
                Ok(RawAddress::Fixed(addresses))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests;
