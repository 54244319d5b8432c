//! The frames that a compromised board may send, and a host at any other port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use octet_machine::panel::raw::ethernet::{self, BROADCAST};
use octet_machine::panel::raw::{
    Extension, Ipv4, Ipv6, arp, dhcp, icmp, mld, nd, source_route, transport,
};
use octet_machine::panel::switchboard::{self, Leg};
use octet_machine::panel::{Mac, raw};

pub struct Attack {
    pub name: &'static str,
    /// The reason under which it is counted at a board's port.
    pub reason: &'static str,
    /// The effect in a router without rules.
    pub bare: Bare,
    pub frame: Vec<u8>,
}

/// What a router without rules does with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bare {
    /// It is forwarded or answered.
    Out,
    /// It is accepted, without a visible effect on any wire.
    In,
}

/// A text by which a frame is recognised.
pub const MARK: &[u8] = b"octet attack";

/// A multicast group with a scope beyond one link (RFC 4291, 2.7).
const OF_A_SITE: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0x77);

/// An address of a node, which only devices of the unit `forward` lead to.
pub const NODE: Ipv6Addr = Ipv6Addr::new(0xfc01, 0, 0, 0, 0, 0, 0, 9);

/// The broadcast address of the network of `own` (RFC 919).
fn everybody(own: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = own.octets();
    Ipv4Addr::new(a, b, c, 255)
}

/// The subnet-router anycast address of the network of `own` (RFC 4291, 2.6.1).
fn any_router(own: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(own) >> 64 << 64)
}

/// All attacks of the board at `leg`, on the router or through it on `other`, another board.
pub fn all(leg: &Leg, other: &Leg) -> Vec<Attack> {
    let (own, router) = (&leg.test, &leg.router);
    let macs = (own.mac, router.mac);
    let stranger = Mac::number(99);
    let udp = |from: IpAddr, to: IpAddr| {
        raw::packet((from, to), transport::UDP, &transport::udp((from, to), (5000, 5000), MARK))
    };
    let (own4, own6): (IpAddr, IpAddr) = (own.ipv4.into(), own.ipv6.into());
    let (to4, to6): (IpAddr, IpAddr) = (other.test.ipv4.into(), other.test.ipv6.into());
    let to_router = |from, to| ethernet::ip(macs, &udp(from, to));
    let datagram = transport::udp((own4, to4), (5000, 5000), MARK);
    let datagram6 = transport::udp((own6, to6), (5000, 5000), MARK);
    let v4 = Ipv4::new(own.ipv4, other.test.ipv4, transport::UDP);
    let v6 = Ipv6::new(own.ipv6, other.test.ipv6);
    let link_local = switchboard::link_local(own.mac);
    let chain = |extensions| {
        ethernet::ip(macs, &Ipv6 { extensions, ..v6.clone() }.packet(transport::UDP, &datagram6))
    };
    let attack = |name, reason, bare, frame| Attack { name, reason, bare, frame };
    let of_tcp = |flags| {
        let segment = transport::tcp((own4, to4), (5000, 80), flags, (1, 0), MARK);
        ethernet::ip(macs, &raw::packet((own4, to4), transport::TCP, &segment))
    };
    let ipv4_udp = raw::packet((own4, to4), transport::UDP, &datagram);
    let ipv6_udp = raw::packet((own6, to6), transport::UDP, &datagram6);
    vec![
        attack(
            "a tagged frame",
            "vlan",
            Bare::In,
            ethernet::tagged(macs, &[(ethernet::VLAN, 7)], ethernet::IPV4, &ipv4_udp),
        ),
        attack(
            "two tags",
            "vlan",
            Bare::In,
            ethernet::tagged(
                macs,
                &[(ethernet::SERVICE_VLAN, 7), (ethernet::VLAN, 8)],
                ethernet::IPV4,
                &ipv4_udp,
            ),
        ),
        attack(
            "another Ethernet address",
            "src-mac",
            Bare::Out,
            ethernet::ip((stranger, router.mac), &udp(own4, to4)),
        ),
        attack(
            "another board's Ethernet address",
            "src-mac",
            Bare::Out,
            ethernet::ip((other.test.mac, router.mac), &udp(own4, to4)),
        ),
        attack(
            "the right board on the wrong port",
            "src-mac",
            Bare::Out,
            ethernet::ip((other.test.mac, router.mac), &udp(to4, own4)),
        ),
        attack(
            "another board's IPv4 address",
            "src-ip4",
            Bare::Out,
            ethernet::ip(macs, &udp(to4, Ipv4Addr::new(192, 0, 2, 1).into())),
        ),
        attack(
            "the router's IPv4 address",
            "src-ip4",
            Bare::In,
            ethernet::ip(macs, &udp(router.ipv4.into(), to4)),
        ),
        attack(
            "another board's IPv6 address",
            "src-ip6",
            Bare::Out,
            ethernet::ip(macs, &udp(to6, own6)),
        ),
        attack(
            "the router's IPv6 address",
            "src-ip6",
            Bare::Out,
            ethernet::ip(macs, &udp(router.ipv6.into(), to6)),
        ),
        attack(
            "everybody's IPv4 address",
            "src-ip4",
            Bare::In,
            ethernet::ip(macs, &udp(everybody(own.ipv4).into(), to4)),
        ),
        attack(
            "any router's IPv6 address",
            "src-ip6",
            Bare::In,
            ethernet::ip(macs, &udp(any_router(own.ipv6).into(), to6)),
        ),
        attack(
            "the router's link-local address",
            "src-ip6",
            Bare::In,
            ethernet::ip(
                macs,
                &udp(switchboard::link_local(router.mac).into(), router.ipv6.into()),
            ),
        ),
        attack(
            "a node's address",
            "src-ip6",
            Bare::Out,
            ethernet::ip(macs, &udp(NODE.into(), to6)),
        ),
        attack("the loopback address", "dst-ip4", Bare::In, to_router(own4, [127, 0, 0, 1].into())),
        attack(
            "an address of this network",
            "dst-ip4",
            Bare::In,
            to_router(own4, [0, 1, 2, 3].into()),
        ),
        attack(
            "a group by the router's Ethernet address",
            "dst-ip6",
            Bare::In,
            to_router(own6, nd::ALL_NODES.into()),
        ),
        attack(
            "IPv6 in a frame for IPv4",
            "malformed",
            Bare::In,
            ethernet::frame(macs, ethernet::IPV4, &[&[0x65][..], &[0; 19], MARK].concat()),
        ),
        attack(
            "IPv4 that is cut off",
            "malformed",
            Bare::In,
            ethernet::ip(macs, &ipv4_udp[..ipv4_udp.len() - 4]),
        ),
        attack(
            "IPv6 that is cut off",
            "malformed",
            Bare::In,
            ethernet::ip(macs, &ipv6_udp[..ipv6_udp.len() - 4]),
        ),
        attack(
            "half a question where the router is",
            "nd",
            Bare::In,
            ethernet::ip(
                macs,
                &Ipv6 { hop_limit: nd::HOP_LIMIT, ..Ipv6::new(own.ipv6, router.ipv6) }
                    .packet(icmp::ICMPV6, &icmp::v6((own.ipv6, router.ipv6), 135, 0, MARK)),
            ),
        ),
        attack(
            "a question in a frame for a group",
            "dst-mac",
            Bare::In,
            ethernet::ip(
                (own.mac, ethernet::group(nd::ALL_NODES)),
                &nd::Message::Solicit { target: router.ipv6 }.packet(
                    (own.ipv6, router.ipv6),
                    nd::HOP_LIMIT,
                    &[nd::Link::Source(own.mac)],
                ),
            ),
        ),
        attack(
            "ARP in a frame for a group",
            "dst-mac",
            Bare::In,
            arp::Arp::request((own.mac, own.ipv4), router.ipv4)
                .frame((own.mac, ethernet::group(nd::ALL_NODES))),
        ),
        attack(
            "an error in a frame for a group",
            "dst-mac",
            Bare::In,
            ethernet::ip(
                (own.mac, ethernet::group(nd::ALL_NODES)),
                &raw::packet(
                    (own6, router.ipv6.into()),
                    icmp::ICMPV6,
                    &icmp::v6((own.ipv6, router.ipv6), 1, 0, MARK),
                ),
            ),
        ),
        attack(
            "an older report about groups",
            "mld",
            Bare::In,
            ethernet::ip(
                (own.mac, ethernet::group(OF_A_SITE)),
                &Ipv6 {
                    extensions: vec![Extension::HopByHop(vec![])],
                    ..Ipv6::new(link_local, OF_A_SITE)
                }
                .packet(icmp::ICMPV6, &icmp::v6((link_local, OF_A_SITE), 131, 0, MARK)),
            ),
        ),
        attack(
            "ARP for another board",
            "arp",
            Bare::Out,
            arp::Arp::request((own.mac, other.test.ipv4), router.ipv4).frame((own.mac, BROADCAST)),
        ),
        attack(
            "ARP for the gateway",
            "arp",
            Bare::In,
            arp::Arp::reply((own.mac, router.ipv4), (router.mac, router.ipv4)).frame(macs),
        ),
        attack(
            "gratuitous ARP",
            "garp",
            Bare::In,
            arp::Arp::gratuitous(arp::REQUEST, (own.mac, own.ipv4)).frame((own.mac, BROADCAST)),
        ),
        attack("spanning tree", "ethertype", Bare::In, ethernet::spanning_tree(own.mac)),
        attack("LLDP", "ethertype", Bare::In, ethernet::lldp(own.mac)),
        attack("an unknown EtherType", "ethertype", Bare::In, ethernet::frame(macs, 0x88b5, MARK)),
        attack(
            "a tiny fragment",
            "fragment",
            Bare::Out,
            ethernet::ip(macs, &v4.fragment(&datagram, 0..8)),
        ),
        attack(
            "a fragment over the first",
            "fragment",
            Bare::Out,
            ethernet::ip(macs, &v4.fragment(&datagram, 8..datagram.len())),
        ),
        attack(
            "a fragment of IPv6",
            "fragment",
            Bare::Out,
            ethernet::ip(macs, &v6.fragment(7, transport::UDP, &datagram6, 0..8)),
        ),
        attack("no flags of TCP", "tcp-flags", Bare::Out, of_tcp(0)),
        attack(
            "SYN and FIN",
            "tcp-flags",
            Bare::Out,
            of_tcp(transport::flags::SYN | transport::flags::FIN),
        ),
        attack("all flags of TCP", "tcp-flags", Bare::Out, of_tcp(0x3f)),
        attack(
            "a neighbour's place",
            "nd",
            Bare::In,
            ethernet::ip(
                macs,
                &nd::Message::Advert { flags: nd::OVERRIDE, target: other.test.ipv6 }.packet(
                    (own.ipv6, router.ipv6),
                    nd::HOP_LIMIT,
                    &[nd::Link::Target(own.mac)],
                ),
            ),
        ),
        attack(
            "rogue router advertisement",
            "ra",
            Bare::In,
            ethernet::ip(
                (own.mac, ethernet::group(nd::ALL_NODES)),
                &nd::Message::RouterAdvert { lifetime: 1800, prefix: None }.packet(
                    (link_local, nd::ALL_NODES),
                    nd::HOP_LIMIT,
                    &[],
                ),
            ),
        ),
        attack(
            "a redirect",
            "ra",
            Bare::In,
            ethernet::ip(
                macs,
                &nd::Message::Redirect { target: own.ipv6, destination: other.test.ipv6 }.packet(
                    (link_local, router.ipv6),
                    nd::HOP_LIMIT,
                    &[],
                ),
            ),
        ),
        attack(
            "rogue DHCP offer",
            "dhcp-server",
            Bare::Out,
            ethernet::ip(
                macs,
                &raw::packet(
                    (own4, to4),
                    transport::UDP,
                    &transport::udp(
                        (own4, to4),
                        (dhcp::SERVER, dhcp::CLIENT),
                        &dhcp::offer(other.test.mac, other.test.ipv4, own.ipv4),
                    ),
                ),
            ),
        ),
        attack(
            "rogue DHCPv6 advertisement",
            "dhcp-server",
            Bare::Out,
            ethernet::ip(
                macs,
                &raw::packet(
                    (own6, to6),
                    transport::UDP,
                    &transport::udp(
                        (own6, to6),
                        (dhcp::SERVER6, dhcp::CLIENT6),
                        &dhcp::v6(dhcp::v6_kind::ADVERTISE, other.test.mac, Some(own.mac)),
                    ),
                ),
            ),
        ),
        attack(
            "a source route",
            "ip-options",
            Bare::In,
            ethernet::ip(
                macs,
                &Ipv4 { options: source_route(&[other.test.ipv4]), ..v4.clone() }.packet(&datagram),
            ),
        ),
        attack(
            "a routing header",
            "ext-header",
            Bare::Out,
            chain(vec![Extension::Routing { left: 1, via: vec![other.test.ipv6] }]),
        ),
        attack(
            "hop-by-hop options",
            "ext-header",
            Bare::Out,
            chain(vec![Extension::HopByHop(vec![])]),
        ),
        attack(
            "a chain of headers",
            "ext-header",
            Bare::Out,
            chain(vec![
                Extension::Destination(vec![]),
                Extension::Destination(vec![]),
                Extension::Destination(vec![]),
            ]),
        ),
        attack(
            "a report about groups",
            "mld",
            Bare::In,
            ethernet::ip(
                (own.mac, ethernet::group(mld::LISTENERS)),
                &mld::report(link_local, &[nd::ALL_ROUTERS]),
            ),
        ),
        attack(
            "another ICMPv6",
            "icmp6",
            Bare::In,
            ethernet::ip(
                macs,
                &raw::packet(
                    (own6, router.ipv6.into()),
                    icmp::ICMPV6,
                    &icmp::v6((own.ipv6, router.ipv6), 139, 0, MARK),
                ),
            ),
        ),
    ]
}

/// A datagram of an invented sender, with another MAC, IPv4 or IPv6 address each time.
pub fn stranger(leg: &Leg, other: &Leg, number: usize) -> Vec<u8> {
    let (own, router) = (&leg.test, &leg.router);
    let bytes = (number as u32 + 1).to_be_bytes();
    let (mac, from): (Mac, IpAddr) = match number % 3 {
        0 => (Mac([2, 1, bytes[0], bytes[1], bytes[2], bytes[3]]), own.ipv4.into()),
        1 => (own.mac, Ipv4Addr::from(0x0a14_0000 | number as u32).into()),
        _ => (own.mac, Ipv6Addr::from(u128::from(other.test.ipv6) + number as u128 * 2).into()),
    };
    let to: IpAddr = if from.is_ipv4() { other.test.ipv4.into() } else { other.test.ipv6.into() };
    let datagram = transport::udp((from, to), (5000, 5000), MARK);
    ethernet::ip((mac, router.mac), &raw::packet((from, to), transport::UDP, &datagram))
}
