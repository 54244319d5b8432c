//! `[[policy]]` and `[[publish]]`: the allowed flows between zones, and published ports.

mod protocol;

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::name::{RoleName, UnitName};
use crate::one_or_more::OneOrMore;
use crate::unit::{Port, Protocol};

use protocol::ProtocolName;

/// `[[policy]]`: allows new flows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawPolicy", into = "RawPolicy")]
pub struct Policy {
    pub from: Vec<PolicyZone>,
    pub to: Vec<PolicyZone>,
    pub what: PolicyTraffic,
    /// Maximum number of new flows per second; unlimited by default.
    pub rate: Option<NonZeroU32>,
    /// A comment for people; it has no effect.
    pub comment: Option<String>,
}

/// A zone in a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PolicyZone {
    /// `board-3`
    Board(u8),
    /// `boards`: every board.
    Boards,
    /// `role:cache`: every board of this role.
    Role(RoleName),
    /// `uplink`: outside.
    Uplink,
    /// `router`: the router itself.
    Router,
    /// `lan`: the owner's devices.
    Lan,
    /// `path`: nodes that are reached by the paths of the unit `forward`.
    Path,
}

/// MPLS in IP (RFC 4023, section 8): a plain link between two boards, for the unit `forward`.
pub const MPLS_IN_IP: u8 = 137;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyTraffic {
    /// A port of a unit.
    Service(ServiceName),
    /// Ports of a protocol that has ports.
    Ports(Protocol, Vec<PortRange>),
    /// Echo requests of ICMP and ICMPv6.
    Ping,
    /// A protocol without ports, by its number (IANA, "Protocol Numbers"); [`MPLS_IN_IP`] has a
    /// name.
    Number(u8),
}

/// A port of a unit by its name in unit.toml: `gateway`, or `cache.gateway` where two units have
/// one of that name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName {
    /// The unit, if it is given.
    pub unit: Option<UnitName>,
    pub port: UnitName,
}

/// A port, or a range: `80` or `"8000-8010"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "RawRange", into = "RawRange")]
pub struct PortRange {
    /// The first one, 1 to 65535.
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    /// The range of this port alone.
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && self.last >= other.first
    }
}

/// `[[publish]]`: forwards a port of the router's uplink to a board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawPublish", into = "RawPublish")]
pub struct Publish {
    pub port: Port,
    pub board: u8,
    pub target: PublishTarget,
}

/// The destination of a published port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishTarget {
    /// A port of a unit.
    Service(ServiceName),
    Port(Port),
}

/// An invalid policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    #[error("unknown zone `{0}`: write board-N, boards, role:NAME, uplink, router, lan or path")]
    Zone(String),
    #[error("`{0}` names no zone")]
    EmptyZones(&'static str),
    /// Not the name of a port.
    #[error("`{0}` is not a name of a unit's port, such as `gateway` or `cache.gateway`")]
    Service(String),
    #[error("`{0}` is neither a port nor a range of ports, such as 80 or \"8000-8010\"")]
    Range(String),
    #[error("`{0}` is not a protocol: write tcp, udp, icmp, mpls-in-ip or a number from 0 to 255")]
    Protocol(String),
    /// A protocol number that has a name.
    #[error("protocol {0} is written as \"{1}\"")]
    HasName(u8, &'static str),
    /// The number of an IPv6 extension header, not of a protocol.
    #[error("{0} is a header of IPv6 itself, which no policy can allow")]
    Extension(u8),
    #[error("say either `service` or `protocol`")]
    Traffic,
    #[error("`protocol = \"{0}\"` needs `ports`, such as `ports = [80, \"8000-8010\"]`")]
    NoPorts(&'static str),
    /// Invalid ports.
    #[error("`ports` is only for `protocol = \"tcp\"` or \"udp\"")]
    Ports,
    /// A published port must lead to one board.
    #[error("a published port leads to one board, such as `to = \"board-3\"`")]
    Publish,
    #[error("say either `service` or `at`")]
    Target,
    #[error("`at` is of {1}, the router's `port` of {0}")]
    Protocols(&'static str, &'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    from: OneOrMore<PolicyZone>,
    to: OneOrMore<PolicyZone>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<ServiceName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protocol: Option<ProtocolName>,
    #[serde(default, skip_serializing_if = "OneOrMore::is_empty")]
    ports: OneOrMore<PortRange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum RawRange {
    One(i64),
    Range(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPublish {
    port: Port,
    to: PolicyZone,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<ServiceName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Port>,
}

impl TryFrom<RawPolicy> for Policy {
    type Error = InvalidPolicy;

    fn try_from(raw: RawPolicy) -> Result<Self, InvalidPolicy> {
        let RawPolicy { from, to, service, protocol, ports, rate, comment } = raw;
        for (list, key) in [(&from, "from"), (&to, "to")] {
            if list.is_empty() {
                return Err(InvalidPolicy::EmptyZones(key));
            }
        }
        let what = match (service, protocol) {
            (Some(service), None) if ports.is_empty() => PolicyTraffic::Service(service),
            (Some(_), None) => return Err(InvalidPolicy::Ports),
            (None, Some(protocol)) => PolicyTraffic::from_protocol(protocol, ports.0)?,
            _ => return Err(InvalidPolicy::Traffic),
        };
        Ok(Self { from: from.0, to: to.0, what, rate, comment })
    }
}

impl PolicyTraffic {
    fn from_protocol(protocol: ProtocolName, ports: Vec<PortRange>) -> Result<Self, InvalidPolicy> {
        match protocol {
            ProtocolName::Transport(protocol) if ports.is_empty() => {
                Err(InvalidPolicy::NoPorts(protocol.as_str()))
            }
            ProtocolName::Transport(protocol) => Ok(Self::Ports(protocol, ports)),
            _ if !ports.is_empty() => Err(InvalidPolicy::Ports),
            ProtocolName::Ping => Ok(Self::Ping),
            ProtocolName::Number(number) => Ok(Self::Number(number)),
        }
    }
}

impl From<Policy> for RawPolicy {
    fn from(policy: Policy) -> RawPolicy {
        let Policy { from, to, what, rate, comment } = policy;
        let (service, protocol, ports) = match what {
            PolicyTraffic::Service(service) => (Some(service), None, vec![]),
            PolicyTraffic::Ports(protocol, ports) => {
                (None, Some(ProtocolName::Transport(protocol)), ports)
            }
            PolicyTraffic::Ping => (None, Some(ProtocolName::Ping), vec![]),
            PolicyTraffic::Number(number) => (None, Some(ProtocolName::Number(number)), vec![]),
        };
        let (from, to) = (OneOrMore(from), OneOrMore(to));
        RawPolicy { from, to, service, protocol, ports: OneOrMore(ports), rate, comment }
    }
}

impl TryFrom<RawPublish> for Publish {
    type Error = InvalidPolicy;

    fn try_from(raw: RawPublish) -> Result<Self, InvalidPolicy> {
        let PolicyZone::Board(board) = raw.to else { return Err(InvalidPolicy::Publish) };
        let target = match (raw.service, raw.at) {
            (Some(service), None) => PublishTarget::Service(service),
            (None, Some(at)) if at.protocol == raw.port.protocol => PublishTarget::Port(at),
            (None, Some(at)) => {
                let (outside, inside) = (raw.port.protocol.as_str(), at.protocol.as_str());
                return Err(InvalidPolicy::Protocols(outside, inside));
            }
            _ => return Err(InvalidPolicy::Target),
        };
        Ok(Self { port: raw.port, board, target })
    }
}

impl From<Publish> for RawPublish {
    fn from(publish: Publish) -> RawPublish {
        let Publish { port, board, target } = publish;
        let (service, at) = match target {
            PublishTarget::Service(service) => (Some(service), None),
            PublishTarget::Port(port) => (None, Some(port)),
        };
        RawPublish { port, to: PolicyZone::Board(board), service, at }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |list: &[PolicyZone]| {
            list.iter().map(PolicyZone::to_string).collect::<Vec<_>>().join(", ")
        };
        write!(f, "{} to {}: {}", list(&self.from), list(&self.to), self.what)?;
        self.rate.iter().try_for_each(|rate| write!(f, ", {rate} in a second"))
    }
}

impl fmt::Display for PolicyTraffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "service {name}"),
            Self::Ports(protocol, ports) => {
                let ports: Vec<_> = ports.iter().map(PortRange::to_string).collect();
                write!(f, "{} {}", protocol.as_str(), ports.join(", "))
            }
            Self::Ping => f.write_str("icmp"),
            Self::Number(MPLS_IN_IP) => f.write_str(protocol::MPLS_IN_IP),
            Self::Number(number) => write!(f, "protocol {number}"),
        }
    }
}

impl TryFrom<String> for PolicyZone {
    type Error = InvalidPolicy;

    fn try_from(text: String) -> Result<Self, InvalidPolicy> {
        let who = match text.as_str() {
            "boards" => Some(Self::Boards),
            "uplink" => Some(Self::Uplink),
            "router" => Some(Self::Router),
            "lan" => Some(Self::Lan),
            "path" => Some(Self::Path),
            other => match (other.strip_prefix("board-"), other.strip_prefix("role:")) {
                (Some(number), _) => {
                    let plain = number.starts_with(|c: char| ('1'..='9').contains(&c));
                    number.parse().ok().filter(|_| plain).map(Self::Board)
                }
                (None, Some(role)) => role.parse().ok().map(Self::Role),
                (None, None) => None,
            },
        };
        who.ok_or(InvalidPolicy::Zone(text))
    }
}

impl fmt::Display for PolicyZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Board(number) => write!(f, "board-{number}"),
            Self::Boards => f.write_str("boards"),
            Self::Role(role) => write!(f, "role:{role}"),
            Self::Uplink => f.write_str("uplink"),
            Self::Router => f.write_str("router"),
            Self::Lan => f.write_str("lan"),
            Self::Path => f.write_str("path"),
        }
    }
}

impl From<PolicyZone> for String {
    fn from(who: PolicyZone) -> String {
        who.to_string()
    }
}

impl TryFrom<String> for ServiceName {
    type Error = InvalidPolicy;

    fn try_from(text: String) -> Result<Self, InvalidPolicy> {
        let wrong = |_| InvalidPolicy::Service(text.clone());
        let (unit, port) = match text.split_once('.') {
            Some((unit, port)) => (Some(unit.parse().map_err(wrong)?), port),
            None => (None, text.as_str()),
        };
        Ok(Self { unit, port: port.parse().map_err(wrong)? })
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.unit.iter().try_for_each(|unit| write!(f, "{unit}."))?;
        write!(f, "{}", self.port)
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> String {
        name.to_string()
    }
}

impl TryFrom<RawRange> for PortRange {
    type Error = InvalidPolicy;

    fn try_from(raw: RawRange) -> Result<Self, InvalidPolicy> {
        let (text, ends) = match raw {
            RawRange::One(number) => {
                let port = u16::try_from(number).ok();
                (number.to_string(), port.map(|port| (port, port)))
            }
            RawRange::Range(text) => {
                let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
                let port = |text: &str| text.parse().ok().filter(|_| digits(text));
                let ends = text.split_once('-').and_then(|(a, b)| Some((port(a)?, port(b)?)));
                (text, ends)
            }
        };
        let range = ends.filter(|(first, last)| *first > 0 && first <= last);
        range.map(|(first, last)| Self { first, last }).ok_or(InvalidPolicy::Range(text))
    }
}

impl From<PortRange> for RawRange {
    fn from(range: PortRange) -> RawRange {
        match range.first == range.last {
            true => RawRange::One(range.first.into()),
            false => RawRange::Range(range.to_string()),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

#[cfg(test)]
mod tests;
