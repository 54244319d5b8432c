//! The box's networks, and the names that are never forwarded outside.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::rr::Name;

use super::prefix::{IpPrefix, bits};
use super::reverse::Reverse;
use super::upstream_path::UpstreamPath;

/// Names that are local to the node, or never exist: they are not even forwarded within the box.
/// Single labels are treated in the same way.
const NEVER: [&[&str]; 3] = [&["localhost"], &["onion"], &["invalid"]];

/// Names with a local meaning only (`docs/names.md` has the sources).
const INSIDE: [&[&str]; 8] = [
    &["internal"],
    &["octet"],
    &["local"],
    &["home", "arpa"],
    &["resolver", "arpa"],
    &["lan"],
    &["test"],
    &["alt"],
];

/// Addresses of the node or the link: their reverse names mean nothing elsewhere.
const OF_THIS_NODE: [IpPrefix; 6] = [
    IpPrefix::v4([0; 4], 8),
    IpPrefix::v4([127, 0, 0, 0], 8),
    IpPrefix::v4([169, 254, 0, 0], 16),
    IpPrefix::v4([255; 4], 32),
    // `::`, `::1`, and the deprecated IPv4-compatible addresses.
    IpPrefix::v6([0; 4], 96),
    IpPrefix::v6([0xfe80, 0, 0, 0], 10),
];

/// Addresses that are never outside: the reserved ones (RFC 1112, 4), and those of nodes, which are
/// reached over paths.
const NOBODY_OUTSIDE: [IpPrefix; 2] =
    [IpPrefix::v4([240, 0, 0, 0], 4), IpPrefix::v6([0xfc00, 0, 0, 0], 8)];

/// Addresses of private networks (RFC 1918, RFC 4193): the box's, or the surrounding networks'.
const OF_PRIVATE_NETWORKS: [IpPrefix; 4] = [
    IpPrefix::v4([10, 0, 0, 0], 8),
    IpPrefix::v4([172, 16, 0, 0], 12),
    IpPrefix::v4([192, 168, 0, 0], 16),
    IpPrefix::v6([0xfc00, 0, 0, 0], 7),
];

/// Networks whose addresses contain an IPv4 address to which a translator (RFC 6052, 2.1) or a
/// tunnel (RFC 3056, 2) forwards packets, and the number of bits after that address.
const WITH_IPV4: [(IpPrefix, u32); 2] =
    [(IpPrefix::v6([0x64, 0xff9b, 0, 0], 96), 0), (IpPrefix::v6([0x2002, 0, 0, 0], 16), 80)];

/// Private addresses, and those for documentation (RFC 6303, 4; RFC 7793).
const PRIVATE: [IpPrefix; 9] = [
    IpPrefix::v4([10, 0, 0, 0], 8),
    IpPrefix::v4([172, 16, 0, 0], 12),
    IpPrefix::v4([192, 168, 0, 0], 16),
    IpPrefix::v4([100, 64, 0, 0], 10),
    IpPrefix::v4([192, 0, 2, 0], 24),
    IpPrefix::v4([198, 51, 100, 0], 24),
    IpPrefix::v4([203, 0, 113, 0], 24),
    IpPrefix::v6([0xfc00, 0, 0, 0], 7),
    IpPrefix::v6([0x2001, 0xdb8, 0, 0], 32),
];

/// The box's networks, and this node's addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BoxNetworks {
    /// Networks of clients. Upstreams outside cannot define names with their addresses.
    pub networks: Vec<IpPrefix>,
    /// All networks of the box, including those without an address of this node.
    pub all_networks: Vec<IpPrefix>,
    /// The uplink's networks. They may be private, and their machines may have names.
    pub uplink_networks: Vec<IpPrefix>,
    /// The node's own addresses, which cannot be upstreams.
    pub own_addresses: Vec<IpAddr>,
    /// The client networks that use an exit node.
    pub exit_clients: Vec<IpPrefix>,
    /// Networks of remote nodes that use this node as their exit.
    pub guests: Vec<IpPrefix>,
}

/// Which upstreams can be asked about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamClass {
    Outside,
    /// Only nodes of the box; the value is the zone.
    Inside(Name),
    /// No upstream at all; the value is the zone.
    Never(Name),
}

impl BoxNetworks {
    /// Whether a client at `address` is served.
    pub fn is_client(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.networks.iter().any(|network| network.contains(address))
    }

    /// The upstream path for a client at `address`; `None` if it is not served.
    pub fn upstream_path(&self, address: IpAddr) -> Option<UpstreamPath> {
        let is_of = |networks: &[IpPrefix]| networks.iter().any(|it| it.contains(address));
        if is_of(&self.exit_clients) {
            Some(UpstreamPath::Exit)
        } else if self.is_client(address) {
            Some(UpstreamPath::Own)
        } else {
            is_of(&self.guests).then_some(UpstreamPath::Guest)
        }
    }

    /// Whether answers from outside must not contain `address`. Otherwise a website could point its
    /// own name at machines of the box or a surrounding network, and talk to them through a
    /// visitor's browser (DNS rebinding). An IPv6 address that embeds an IPv4 address is treated
    /// like that one.
    pub fn is_private(&self, address: IpAddr) -> bool {
        let leads_to_kept = |(prefix, behind): &(IpPrefix, u32)| {
            let ipv4 = Ipv4Addr::from_bits((bits(address) >> behind) as u32);
            prefix.contains(address) && self.is_private(ipv4.into())
        };
        let is_of = |networks: &[IpPrefix]| networks.iter().any(|it| it.contains(address));
        WITH_IPV4.iter().any(leads_to_kept)
            || is_of(&OF_THIS_NODE)
            || is_of(&NOBODY_OUTSIDE)
            || is_of(&self.networks)
            || is_of(&self.all_networks)
            || self.own_addresses.contains(&address.to_canonical())
            || is_of(&OF_PRIVATE_NETWORKS) && !is_of(&self.uplink_networks)
    }

    /// Which upstreams can be asked about `name`.
    pub fn classify(&self, name: &Name) -> UpstreamClass {
        let labels = name.iter().len();
        if labels == 0 {
            return UpstreamClass::Outside;
        }
        let zone = |zones: &[&[&str]]| {
            let zone = zones.iter().find(|zone| is_under(name, zone))?;
            Some(name.trim_to(zone.len()))
        };
        if let Some(zone) = zone(&NEVER) {
            return UpstreamClass::Never(zone);
        }
        match zone(&INSIDE) {
            Some(zone) if labels > 1 => return UpstreamClass::Inside(zone),
            Some(zone) => return UpstreamClass::Never(zone),
            None if labels == 1 => return UpstreamClass::Never(Name::root()),
            None => {}
        }
        let Some(reverse) = Reverse::parse(name) else { return UpstreamClass::Outside };
        let of = |list: &[IpPrefix]| list.iter().any(|network| reverse.prefix.is_within(network));
        if of(&OF_THIS_NODE) {
            UpstreamClass::Never(reverse.zone)
        } else if of(&PRIVATE) || of(&self.networks) {
            UpstreamClass::Inside(reverse.zone)
        } else {
            UpstreamClass::Outside
        }
    }
}

/// Whether `name` is `zone`, or below it.
fn is_under(name: &Name, zone: &[&str]) -> bool {
    name.iter().len() >= zone.len()
        && name
            .iter()
            .rev()
            .zip(zone.iter().rev())
            .all(|(label, of_zone)| label.eq_ignore_ascii_case(of_zone.as_bytes()))
}

#[cfg(test)]
mod tests;
