//! Neighbours, from the membership map and the `[[neighbour]]` sections, and the parameters of their links.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use octet_appliance::LINKS_PORT;
use octet_node::control::PublicKey;
use octet_node::map::{Map, Member};
use sha2::{Digest, Sha256};

use crate::engine::LinkNumber;
use crate::exchange::exchange_key;
use crate::settings::Settings;
use octet_node::address::NodeAddress;

/// The unit whose certificates are used.
pub const UNIT: &str = "forward";

/// The UDP port of WireGuard.
pub const PORT: u16 = LINKS_PORT;

/// The network of link addresses: 100.64.0.0/10 (RFC 6598), which no network of the box uses.
const NETWORK: u32 = 0x6440_0000;

/// The bits that distinguish links; the last bit distinguishes the two ends.
const BITS: u32 = 0x001f_ffff;

/// The prefix of the two nodes in the hash that gives the addresses of their link.
const PREFIX: &[u8] = b"octet link 1\0";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkNeighbour {
    pub link: LinkNumber,
    pub node: PublicKey,
    /// The X25519 key of the neighbour's `forward`.
    pub key: [u8; 32],
    /// The WireGuard endpoint; if `None`, the neighbour connects first and WireGuard learns its endpoint.
    pub at: Option<SocketAddr>,
    /// The addresses of the link: this node's, and the neighbour's.
    pub ends: (Ipv4Addr, Ipv4Addr),
    /// For a plain link, the addresses of the tunnel: this board's own, and the neighbour's.
    pub plain: Option<(Ipv4Addr, Ipv4Addr)>,
}

impl LinkNeighbour {
    /// All parameters of the link, for comparison.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (near, far) = self.ends;
        let at = self.at.map(|at| at.to_string()).unwrap_or_default();
        let plain = self.plain.map(|(near, far)| [near.octets(), far.octets()].concat());
        let parts: [&[u8]; 6] = [
            self.node.as_bytes(),
            &self.key,
            &near.octets(),
            &far.octets(),
            &plain.unwrap_or_default(),
            at.as_bytes(),
        ];
        parts.concat()
    }

    pub fn address(&self) -> NodeAddress {
        NodeAddress::of(&self.node)
    }
}

/// The address of the neighbour of which these bytes were made ([`LinkNeighbour::to_bytes`]).
pub fn decode_address(bytes: &[u8]) -> Option<NodeAddress> {
    bytes.first_chunk().map(|node| NodeAddress::of(&PublicKey::new(*node)))
}

/// The X25519 key of the neighbour's `forward` in these bytes.
pub fn decode_key(bytes: &[u8]) -> Option<[u8; 32]> {
    bytes.get(32..)?.first_chunk().copied()
}

/// The addresses of the link between two nodes: that of `own`, and that of `other`. Both sides derive the same
/// ones. On a node with 32 links, one in 4 000 has a collision, and the second link is left out.
fn ends(own: NodeAddress, other: NodeAddress) -> (Ipv4Addr, Ipv4Addr) {
    let (low, high) = if own < other { (own, other) } else { (other, own) };
    let digest = Sha256::new().chain_update(PREFIX);
    let digest = digest.chain_update(low.octets()).chain_update(high.octets()).finalize();
    let drawn = digest.first_chunk().copied().map_or(0, u32::from_be_bytes);
    let of = |node: NodeAddress| {
        Ipv4Addr::from_bits(NETWORK | (drawn & BITS) << 1 | u32::from(node == high))
    };
    (of(own), of(other))
}

/// The IPv4 address of a member.
fn ipv4(member: &Member) -> Option<Ipv4Addr> {
    member.addresses.iter().find_map(|address| match address {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    })
}

/// The neighbours of `own`: all nodes of the box that run `forward`, if this node is reachable there, and those
/// of the `[[neighbour]]` sections.
pub fn list(map: Option<&Map>, own: &PublicKey, settings: &Settings) -> Vec<LinkNeighbour> {
    let here = map.and_then(|map| map.member_by_key(own));
    // A box with boards has a map; a node that is not in it has no sections.
    if settings.has_boards && here.is_none() {
        return vec![];
    }
    let number = here.map(|here| here.number);
    let mut found = map.zip(here).map_or_else(Vec::new, |(map, here)| in_box(map, here, settings));
    for (link, line) in settings.lines.numbered(number) {
        let node = line.descriptor.node();
        let Some(key) = exchange_key(&line.descriptor.key()) else { continue };
        let ends = ends(NodeAddress::of(own), NodeAddress::of(&node));
        let at = line.at.map(|at| SocketAddr::V4(at.socket()));
        if node != *own {
            add(&mut found, LinkNeighbour { link, node, key, at, ends, plain: None });
        }
    }
    found
}

/// The neighbours within the box.
fn in_box(map: &Map, here: &Member, settings: &Settings) -> Vec<LinkNeighbour> {
    let mut found = vec![];
    // A member without addresses, such as the router, has one per board network instead.
    if here.addresses.is_empty() {
        return found;
    }
    for member in map.members.iter().filter(|member| member.node != here.node) {
        let Some(certificate) = member.certificate(UNIT) else { continue };
        let Some(key) = exchange_key(&certificate.body().key) else { continue };
        let Some(ip) = ipv4(member) else { continue };
        let ends = ends(NodeAddress::of(&here.node), NodeAddress::of(&member.node));
        let is_plain = settings.plain.is_plain(here.number, member.number);
        let plain = ipv4(here).filter(|_| is_plain).map(|near| (near, ip));
        let (link, at) = (LinkNumber(member.number.into()), Some(SocketAddr::from((ip, PORT))));
        add(&mut found, LinkNeighbour { link, node: member.node, key, at, ends, plain });
    }
    found
}

/// WireGuard identifies a peer by its key and its address, so a neighbour that shares one of them with another
/// is left out.
fn add(found: &mut Vec<LinkNeighbour>, one: LinkNeighbour) {
    let is_like = |other: &LinkNeighbour| {
        other.key == one.key || other.ends.0 == one.ends.0 || other.ends.1 == one.ends.1
    };
    if !found.iter().any(is_like) {
        found.push(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbour_sections::NeighbourSections;
    use crate::neighbour_sections::tests::{descriptor, section};
    use crate::plain::Plain;
    use octet_node::certificate::{Certificate, KeyStatement};
    use octet_node::key::PrivateKey;
    use octet_node::map::MapVersion;
    use proptest::prelude::*;

    /// A member whose `unit` has this key.
    fn member(number: u8, unit: &str, key: PublicKey, addresses: &[&str]) -> Member {
        let node = PrivateKey::generate().unwrap();
        let unit = unit.parse().unwrap();
        let statement = KeyStatement { node: node.public(), unit, key, epoch: 1, issued: 0 };
        let certificates = vec![Certificate::sign(statement, &node).unwrap()];
        let addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
        let (node, record, drained) = (node.public(), None, false);
        Member { number, node, addresses, certificates, record, drained }
    }

    fn map(members: Vec<Member>) -> Map {
        Map::new(members[0].node, MapVersion::default(), members, vec![])
    }

    #[test]
    fn whoever_runs_forward_and_can_be_reached() {
        let key = || PrivateKey::generate().unwrap().public();
        // The neutral point gives the same result with every secret.
        let mut small = [0; 32];
        small[0] = 1;
        let whole = member(3, UNIT, key(), &["fd00::3", "10.20.3.2", "10.20.3.9"]);
        let members = vec![
            member(0, UNIT, key(), &[]),
            member(1, UNIT, key(), &["10.20.1.2"]),
            member(2, "cache", key(), &["10.20.2.2"]),
            whole.clone(),
            member(4, UNIT, key(), &["fd00::4"]),
            member(5, UNIT, PublicKey::new(small), &["10.20.5.2"]),
        ];
        let (router, own, map) = (members[0].node, members[1].node, map(members));
        let none = Settings { has_boards: true, ..Settings::default() };
        assert_eq!(list(Some(&map), &router, &none), [], "nobody finds it");
        let found = list(Some(&map), &own, &none);
        let [neighbour] = &found[..] else { panic!("{found:?}") };
        assert_eq!((neighbour.link, neighbour.node), (LinkNumber(3), whole.node));
        assert_eq!(neighbour.at, Some("10.20.3.2:51820".parse().unwrap()));
        let certified = whole.certificate(UNIT).unwrap().body().key;
        assert_eq!(Some(neighbour.key), exchange_key(&certified));
        // The other node finds this one, with the same two addresses.
        let back = list(Some(&map), &whole.node, &none);
        let [back] = &back[..] else { panic!("{back:?}") };
        assert_eq!((back.node, back.ends), (own, (neighbour.ends.1, neighbour.ends.0)));
        // Only rules between the two boards make the link plain, and they change nothing else.
        for lines in [&[][..], &[(1, 3)], &[(3, 1)], &[(1, 2), (2, 1), (2, 3), (3, 2)]] {
            let plain = Plain::with_links(lines);
            let settings = Settings { plain, ..none.clone() };
            assert_eq!(list(Some(&map), &own, &settings), found, "{lines:?}");
        }
        let settings = Settings { plain: Plain::with_links(&[(1, 3), (3, 1)]), ..none };
        let ends = |near: &str, far: &str| Some((near.parse().unwrap(), far.parse().unwrap()));
        let plain = ends("10.20.1.2", "10.20.3.2");
        assert_eq!(
            list(Some(&map), &own, &settings),
            [LinkNeighbour { plain, ..neighbour.clone() }]
        );
        let plain = ends("10.20.3.2", "10.20.1.2");
        let found = list(Some(&map), &whole.node, &settings);
        assert_eq!(found, [LinkNeighbour { plain, ..back.clone() }]);
    }

    /// Sections add neighbours to those of the map; a router has only those of its own sections.
    #[test]
    fn lines_add_neighbours_to_those_of_the_map() {
        let key = || PrivateKey::generate().unwrap().public();
        let members = vec![
            member(0, UNIT, key(), &[]),
            member(1, UNIT, key(), &["10.20.1.2"]),
            member(3, UNIT, key(), &["10.20.3.2"]),
        ];
        let [router, one, three] = [0, 1, 2].map(|it: usize| members[it].node);
        let map = map(members);
        let hill = section("hill", None, Some("203.0.113.7:4500"));
        let lake = section("lake", Some(3), None);
        let lines = NeighbourSections::new(vec![hill.clone(), lake.clone()]);
        let settings = Settings { has_boards: true, lines, ..Settings::default() };
        let none = Settings { has_boards: true, ..Settings::default() };
        let [at_router] = &list(Some(&map), &router, &settings)[..] else { panic!() };
        assert_eq!(at_router.node, hill.descriptor.node());
        assert_eq!(at_router.at, Some("203.0.113.7:4500".parse().unwrap()));
        assert_eq!(Some(at_router.key), exchange_key(&hill.descriptor.key()));
        assert!(at_router.link.0 >= 100 && at_router.plain.is_none());
        assert_eq!(list(Some(&map), &one, &settings), list(Some(&map), &one, &none));
        let found = list(Some(&map), &three, &settings);
        assert_eq!(found[..1], list(Some(&map), &three, &none));
        let [_, at_three] = &found[..] else { panic!("{found:?}") };
        assert_eq!((at_three.node, at_three.at), (lake.descriptor.node(), None));
        // Both ends derive the same addresses: the other box has a section for this node.
        let (near, far) = at_three.ends;
        assert_eq!(
            ends(NodeAddress::of(&lake.descriptor.node()), NodeAddress::of(&three)),
            (far, near)
        );
        // Without a map the board is unknown, and a node outside the map has no sections.
        assert_eq!(list(None, &three, &settings), []);
        assert_eq!(list(Some(&map), &hill.descriptor.node(), &settings), []);
        // A box without boards has its sections, and no map.
        let alone = Settings { has_boards: false, ..settings };
        assert_eq!(
            list(None, &three, &alone),
            [at_router.clone()].map(|it| {
                let ends = ends(NodeAddress::of(&three), it.address());
                LinkNeighbour { ends, ..it }
            })
        );
    }

    #[test]
    fn who_is_there_already_has_no_second_link() {
        let key = PrivateKey::generate().unwrap().public();
        let members =
            vec![member(1, UNIT, key, &["10.20.1.2"]), member(2, UNIT, key, &["10.20.2.2"])];
        let (own, own_line) = (members[0].node, section("self", Some(1), None));
        let map = map(members.clone());
        // Invalid sections: a board of this box, this node itself, and a descriptor that uses a board's key.
        let board =
            octet_appliance::PeerDescriptor::from_bytes(&members[1].certificates[0].to_bytes())
                .unwrap();
        let [board, thief] = [board, descriptor(key)]
            .map(|descriptor| octet_appliance::Neighbour { descriptor, ..own_line.clone() });
        let own_descriptor =
            octet_appliance::PeerDescriptor::from_bytes(&members[0].certificates[0].to_bytes())
                .unwrap();
        let own_line = octet_appliance::Neighbour { descriptor: own_descriptor, ..own_line };
        for line in [board, thief, own_line] {
            let settings = Settings {
                has_boards: true,
                lines: NeighbourSections::new(vec![line]),
                ..Settings::default()
            };
            let [neighbour] = &list(Some(&map), &own, &settings)[..] else { panic!() };
            assert_eq!(neighbour.link, LinkNumber(2));
        }
    }

    #[test]
    fn no_two_links_have_one_address() {
        let key = || PrivateKey::generate().unwrap().public();
        let member = |number| member(number, UNIT, key(), &["10.20.0.2"]);
        let settings = Settings { has_boards: true, ..Settings::default() };
        for _ in 0..20 {
            let map = map((1..=32).map(member).collect());
            for own in &map.members {
                let found = list(Some(&map), &own.node, &settings);
                assert!(found.len() >= 29, "{}", found.len());
                for (at, one) in found.iter().enumerate() {
                    let others = || found[at + 1..].iter();
                    assert!(others().all(|it| it.ends.0 != one.ends.0 && it.ends.1 != one.ends.1));
                }
            }
        }
    }

    /// A change of any parameter makes another link.
    #[test]
    fn a_link_is_compared_whole() {
        let node = PublicKey::new([1; 32]);
        let ends = ("100.64.0.2".parse().unwrap(), "100.64.0.3".parse().unwrap());
        let at = Some("10.20.3.2:51820".parse().unwrap());
        let link = LinkNeighbour { link: LinkNumber(3), node, key: [2; 32], at, ends, plain: None };
        let others = [
            LinkNeighbour { node: PublicKey::new([3; 32]), ..link.clone() },
            LinkNeighbour { key: [4; 32], ..link.clone() },
            LinkNeighbour { at: Some("10.20.3.3:51820".parse().unwrap()), ..link.clone() },
            LinkNeighbour { at: None, ..link.clone() },
            LinkNeighbour { ends: (ends.1, ends.0), ..link.clone() },
            LinkNeighbour { plain: Some(ends), ..link.clone() },
        ];
        assert_eq!(link.to_bytes(), link.clone().to_bytes());
        assert_eq!(decode_address(&link.to_bytes()), Some(link.address()));
        assert_eq!(decode_key(&link.to_bytes()), Some(link.key));
        assert_eq!((decode_address(&[]), decode_key(&[7; 63])), (None, None));
        for other in others {
            assert_ne!(other.to_bytes(), link.to_bytes(), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn both_sides_agree(one: [u8; 32], other: [u8; 32]) {
            prop_assume!(one != other);
            let (one, other) = (PublicKey::new(one), PublicKey::new(other));
            let (one, other) = (NodeAddress::of(&one), NodeAddress::of(&other));
            let (near, far) = ends(one, other);
            prop_assert_eq!(ends(other, one), (far, near));
            prop_assert_ne!(near, far);
            prop_assert!([near, far].iter().all(|it| it.to_bits() >> 22 == NETWORK >> 22));
        }
    }
}
