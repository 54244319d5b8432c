//! What is inside of the box: its networks, and the names that nobody outside is ever asked for.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::rr::Name;

use super::prefix::{IpPrefix, bits};
use super::reverse::Reverse;
use super::way::UpstreamPath;

/// Names that stand for something on this very node or for nothing: not even another node of the box
/// is asked for them. Single labels are the same, without a list.
const NEVER: [&[&str]; 3] = [&["localhost"], &["onion"], &["invalid"]];

/// Names that mean something here, and something else or nothing elsewhere (`docs/names.md` says who
/// says so).
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

/// Addresses of this node alone, or of one link: reverse names about them mean nothing elsewhere.
const OF_THIS_NODE: [IpPrefix; 6] = [
    IpPrefix::v4([0; 4], 8),
    IpPrefix::v4([127, 0, 0, 0], 8),
    IpPrefix::v4([169, 254, 0, 0], 16),
    IpPrefix::v4([255; 4], 32),
    // `::`, `::1`, and what used to stand for IPv4.
    IpPrefix::v6([0; 4], 96),
    IpPrefix::v6([0xfe80, 0, 0, 0], 10),
];

/// Addresses that lead to nobody outside, wherever this node is: those that are reserved (RFC 1112, 4), and those of
/// nodes, by paths.
const NOBODY_OUTSIDE: [IpPrefix; 2] =
    [IpPrefix::v4([240, 0, 0, 0], 4), IpPrefix::v6([0xfc00, 0, 0, 0], 8)];

/// Addresses of private networks (RFC 1918, RFC 4193): of the box's, or of those around it.
const OF_PRIVATE_NETWORKS: [IpPrefix; 4] = [
    IpPrefix::v4([10, 0, 0, 0], 8),
    IpPrefix::v4([172, 16, 0, 0], 12),
    IpPrefix::v4([192, 168, 0, 0], 16),
    IpPrefix::v6([0xfc00, 0, 0, 0], 7),
];

/// Addresses in which there is one of IPv4 to which a translator (RFC 6052, 2.1) or a tunnel (RFC 3056, 2) sends what is
/// for them, and how many bits are behind that one.
const WITH_IPV4: [(IpPrefix, u32); 2] =
    [(IpPrefix::v6([0x64, 0xff9b, 0, 0], 96), 0), (IpPrefix::v6([0x2002, 0, 0, 0], 16), 80)];

/// Private addresses, and those of documents (RFC 6303, 4; RFC 7793).
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

/// The box's networks, and this node in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inside {
    /// Networks whose hosts may ask. Nobody outside has a say about their addresses.
    pub networks: Vec<IpPrefix>,
    /// All networks of the box, also those in which this node has no address.
    pub whole: Vec<IpPrefix>,
    /// Networks outside in which this node is, and which may be private: their machines may have names.
    pub around: Vec<IpPrefix>,
    /// The node's own addresses: an upstream there would be the node itself.
    pub node: Vec<IpAddr>,
    /// Of the networks, those whose hosts leave by another node.
    pub by_exit: Vec<IpPrefix>,
    /// Networks of nodes elsewhere that leave by this one.
    pub guests: Vec<IpPrefix>,
}

/// Whom a name may be asked of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamClass {
    Outside,
    /// The box; it is in this zone.
    Inside(Name),
    /// Nobody but this node; it is in this zone.
    Never(Name),
}

impl Inside {
    /// Whether who has `address` may ask.
    pub fn may_ask(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.networks.iter().any(|network| network.contains(address))
    }

    /// By which way who has `address` is answered; `None` if not at all.
    pub fn way(&self, address: IpAddr) -> Option<UpstreamPath> {
        let is_of = |networks: &[IpPrefix]| networks.iter().any(|it| it.contains(address));
        if is_of(&self.by_exit) {
            Some(UpstreamPath::Exit)
        } else if self.may_ask(address) {
            Some(UpstreamPath::Own)
        } else {
            is_of(&self.guests).then_some(UpstreamPath::Guest)
        }
    }

    /// Whether an answer from outside must not lead to `address`: a page from outside that can choose
    /// what its own name means could else talk to the box's machines, or to those of a network around it, in a
    /// visitor's name (DNS rebinding). One of IPv6 that leads to one of IPv4 leads where that one does.
    pub fn is_kept_from(&self, address: IpAddr) -> bool {
        let leads_to_kept = |(prefix, behind): &(IpPrefix, u32)| {
            let ipv4 = Ipv4Addr::from_bits((bits(address) >> behind) as u32);
            prefix.contains(address) && self.is_kept_from(ipv4.into())
        };
        let is_of = |networks: &[IpPrefix]| networks.iter().any(|it| it.contains(address));
        WITH_IPV4.iter().any(leads_to_kept)
            || is_of(&OF_THIS_NODE)
            || is_of(&NOBODY_OUTSIDE)
            || is_of(&self.networks)
            || is_of(&self.whole)
            || self.node.contains(&address.to_canonical())
            || is_of(&OF_PRIVATE_NETWORKS) && !is_of(&self.around)
    }

    /// Whom `name` may be asked of.
    pub fn place(&self, name: &Name) -> UpstreamClass {
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
        let Some(reverse) = Reverse::of(name) else { return UpstreamClass::Outside };
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

/// Whether `name` is the name that `zone` spells, or below it.
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
