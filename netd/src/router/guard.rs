//! The table `octet_guard`: checks each frame before anything else processes it. It is attached to
//! each port (netdev family, hook ingress), so it sees frames as received, before defragmentation
//! and connection tracking.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use octet_appliance::Zone;

use super::chain::{Declared, Hook, NftChain, NftRule, rules};
use super::plan::{RouterPlan, RouterSegment};
use super::table::{NftTable, Set};
use super::text::{list, over, quoted};
use crate::paths::NODES;
use crate::port_bindings::PortBindings;

pub const TABLE: &str = "octet_guard";

/// The set of Ethernet addresses bound to each port.
pub const MAC: &str = "mac";

/// Reasons for which a frame is dropped. Each is a set in the table, with a counter for each port.
pub const REASONS: [&str; 22] = [
    "vlan",
    "src-mac",
    "dst-mac",
    "ethertype",
    "arp",
    "garp",
    "src-ip4",
    "src-ip6",
    "dst-ip4",
    "dst-ip6",
    "malformed",
    "fragment",
    "ip-options",
    "ext-header",
    "tcp-flags",
    "dhcp-server",
    "dhcp",
    "ra",
    "nd",
    "mld",
    "icmp6",
    "neighbours",
];

/// Destinations that a forwarded frame cannot have: this network, loopback, groups, and reserved
/// ranges (RFC 6890). Above the last range of IPv4 is the broadcast address.
const NOWHERE: ([&str; 3], [&str; 3]) =
    (["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"], ["::/127", "::ffff:0:0/96", "ff00::/8"]);

/// Neighbour solicitations (ARP, NDP) per second from one port with several devices, for each IP
/// version: the kernel adds every sender to one table for all ports, and keeps all entries of the
/// last five seconds (neighbour.c, `neigh_forced_gc`).
const QUESTIONS: u32 = 100;

/// The table for the port bindings `plugged`. `leased` says whether the uplink uses DHCP.
pub fn table(plan: &RouterPlan, plugged: &PortBindings, leased: bool) -> NftTable {
    let devices: Vec<_> = plan.devices().map(quoted).collect();
    let fixed = FIXED
        .map(|(name, rules)| (name, NftChain(rules.iter().copied().map(NftRule::from).collect())));
    let chains = fixed.into_iter().chain(chains(plan, leased));
    let mut chains: BTreeMap<_, _> = chains.map(|(name, chain)| (name.to_owned(), chain)).collect();
    let mut sets = vec![];
    for reason in REASONS {
        let name = reason.replace('-', "_");
        // The kernel also passes the router's own broadcasts here, without an Ethernet header
        // (`dev_loopback_xmit`): they are no frames of a port.
        let counted = format!("ether type >= 0 iifname @of_{name} drop");
        let counted = NftRule::from(counted).commented(reason);
        chains.insert(format!("x_{name}"), [counted, "drop".into()].into());
        sets.push(Set {
            name: format!("of_{name}"),
            keyword: "set",
            kind: "type ifname; counter".to_owned(),
            counts: true,
            elements: devices.clone(),
        });
    }
    sets.extend(Bound::of(plan, plugged).sets());
    let kind = "filter";
    let ingress = Hook { kind, hook: "ingress", devices, priority: "-500", policy: "drop" };
    let frame = vec![
        Declared::Set("questions", "type ifname . ether_type; size 64; flags dynamic"),
        Declared::Base("ingress", ingress),
    ];
    let chains = chains.into_iter().collect();
    NftTable { name: ("netdev", TABLE), frame, counters: BTreeSet::new(), sets, chains }
}

/// The addresses bound to ports.
#[derive(Default)]
struct Bound {
    unbound: Vec<String>,
    mac: Vec<String>,
    ip4: Vec<String>,
    ip6: Vec<String>,
    nd_target: Vec<String>,
    nd_option: Vec<String>,
    gateway: Vec<String>,
    lan4: Vec<String>,
    lan6: Vec<String>,
    inside4: Vec<String>,
    inside6: Vec<String>,
}

impl Bound {
    fn of(plan: &RouterPlan, plugged: &PortBindings) -> Self {
        let mut bound = Self::default();
        for segment in plan.segments() {
            let device = quoted(&segment.device);
            bound.gateway.push(format!("{device} . {}", segment.router.0));
            let Some((ip4, ip6)) = segment.board else {
                let [lan4, lan6] = segment.devices();
                bound.lan4.push(lan4);
                bound.lan6.push(lan6);
                bound.lan6.push("fe80::/10".into());
                continue;
            };
            let Some(mac) = plugged.mac(segment) else {
                bound.unbound.push(device);
                continue;
            };
            // The comment of a reported binding holds the carrier-down count at that time, so a
            // restarted netd can tell whether the node may still be there.
            let held = plugged.at(&segment.device).filter(|_| segment.mac.is_none());
            let downs = held.map(|held| format!(" comment \"{}\"", held.downs));
            bound.mac.push(format!("{device} . {mac}{}", downs.unwrap_or_default()));
            bound.ip4.push(format!("{device} . {mac} . {ip4}"));
            bound.nd_option.push(format!("{device} . 0x{}", hex(&mac.bytes())));
            for address in [ip6.into(), mac.link_local()] {
                let IpAddr::V6(address) = address else { continue };
                bound.ip6.push(format!("{device} . {mac} . {address}"));
                bound.nd_target.push(format!("{device} . {mac} . 0x{}", hex(&address.octets())));
            }
        }
        // No source outside may be an address inside, a node's, a group's or a reserved one.
        let inside4 = [plan.network.to_string()].into_iter();
        bound.inside4 =
            inside4.chain(["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"].map(str::to_owned)).collect();
        let inside6 = [plan.network6.to_string()].into_iter();
        bound.inside6 = inside6
            .chain(["::/127", "::ffff:0:0/96", NODES, "ff00::/8"].map(str::to_owned))
            .collect();
        bound
    }

    fn sets(self) -> Vec<Set> {
        [
            ("unbound", "type ifname", self.unbound),
            (MAC, "type ifname . ether_addr", self.mac),
            ("bound4", "type ifname . ether_addr . ipv4_addr", self.ip4),
            ("bound6", "type ifname . ether_addr . ipv6_addr", self.ip6),
            ("nd_target", "typeof iifname . ether saddr . @th,64,128", self.nd_target),
            ("nd_option", "typeof iifname . @th,208,48", self.nd_option),
            ("gateway", "type ifname . ipv4_addr", self.gateway),
            ("lan4", "type ipv4_addr; flags interval", self.lan4),
            ("lan6", "type ipv6_addr; flags interval", self.lan6),
            ("inside4", "type ipv4_addr; flags interval", self.inside4),
            ("inside6", "type ipv6_addr; flags interval", self.inside6),
        ]
        .map(|(name, kind, elements)| Set {
            name: name.to_owned(),
            keyword: "set",
            kind: kind.to_owned(),
            counts: false,
            elements,
        })
        .into()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Answers to the uplink's own DHCP client.
const LEASED: &str = "udp sport 67 udp dport 68 accept";

/// Router advertisements on the uplink.
const ADVERTISED: &str =
    "icmpv6 type nd-router-advert icmpv6 code 0 ip6 hoplimit 255 ip6 saddr fe80::/10 accept";

/// The chains that depend on the configuration.
fn chains(plan: &RouterPlan, leased: bool) -> [(&'static str, NftChain); 9] {
    let first = list([6, 17, 58].into_iter().chain(plan.numbers()));
    let from = |zone: &RouterSegment| match zone.zone {
        Zone::Lan => "lan",
        _ => "board",
    };
    let ways = plan.segments().map(|it| format!("{} : goto {}", quoted(&it.device), from(it)));
    let ways = list(ways.chain([format!("{} : goto uplink", quoted(&plan.uplink))]));
    let [nowhere4, nowhere6] = [NOWHERE.0, NOWHERE.1].map(list);
    let questions = over(QUESTIONS);
    let if_leased = |rule: &'static str| if leased { vec![rule.into()] } else { vec![] };
    [
        (
            "host4",
            NftChain(rules![
                "meta l4proto udp goto host4_udp",
                "meta pkttype != host goto x_dst_mac",
                "ip daddr {{ {nowhere4} }} goto x_dst_ip4",
                "meta l4proto tcp jump tcp_flags",
                "meta l4proto != udp accept",
                "goto x_malformed",
            ]),
        ),
        (
            "host4_udp",
            NftChain(rules![
                "th sport 67 goto x_dhcp_server",
                "th dport 68 goto x_dhcp_server",
                "meta pkttype != host goto x_dst_mac",
                "ip daddr {{ {nowhere4} }} goto x_dst_ip4",
                "accept",
            ]),
        ),
        (
            "plain6",
            NftChain(rules![
                "ip6 nexthdr 0 ip6 daddr ff00::/8 goto x_mld",
                "ip6 nexthdr 44 goto x_fragment",
                "ip6 nexthdr != {{ {first} }} goto x_ext_header",
                "icmpv6 type {{ nd-router-advert, nd-redirect }} goto x_ra",
                "ip6 version 6 return",
                "goto x_malformed",
            ]),
        ),
        (
            "host6_udp",
            NftChain(rules![
                "th sport 546 th dport 547 ip6 daddr ff02::1:2 accept",
                "th sport 547 goto x_dhcp_server",
                "th dport 546 goto x_dhcp_server",
                "meta pkttype != host goto x_dst_mac",
                "ip6 daddr {{ {nowhere6} }} goto x_dst_ip6",
                "accept",
            ]),
        ),
        (
            "host6",
            NftChain(rules![
                "meta l4proto udp goto host6_udp",
                "icmpv6 type nd-router-solicit ip6 daddr ff02::2 accept",
                "meta pkttype != host goto x_dst_mac",
                "ip6 daddr {{ {nowhere6} }} goto x_dst_ip6",
                "icmpv6 type {{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, echo-reply }} accept",
                "meta l4proto icmpv6 goto x_icmp6",
                "meta l4proto tcp jump tcp_flags",
                "meta l4proto != udp accept",
                "goto x_malformed",
            ]),
        ),
        (
            "question",
            NftChain(rules![
                "update @questions {{ iifname . meta protocol {questions} }} goto x_neighbours",
                "accept",
            ]),
        ),
        (
            "uplink4",
            NftChain(
                [
                    rules![
                        "jump plain4",
                        "ip saddr @inside4 goto x_src_ip4",
                        "fib saddr type {{ local, broadcast, anycast }} goto x_src_ip4",
                    ],
                    if_leased(LEASED),
                    rules!["goto host4",],
                ]
                .concat(),
            ),
        ),
        (
            "uplink6",
            NftChain(
                [
                    rules![],
                    if_leased(ADVERTISED),
                    rules![
                        "jump plain6",
                        "icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} goto uplink_nd",
                        "ip6 saddr @inside6 goto x_src_ip6",
                        "fib saddr type {{ local, anycast }} goto x_src_ip6",
                        "icmpv6 type nd-router-solicit ip6 daddr ff02::2 goto question",
                        "goto host6",
                    ],
                ]
                .concat(),
            ),
        ),
        ("ingress", NftChain(rules!["iifname vmap {{ {ways} }}", "drop",])),
    ]
}

/// Every chain ends with a drop, and accepted frames are matched completely: a comparison that
/// reads past the end of a frame is no match, so `!=` would let the frame pass.
///
/// - Neighbour discovery comes from the link itself: hop limit 255 (RFC 4861, 7.1). Its target is at
///   bit 64 of the message, the option behind it at bit 192 (type and length), its address at 208.
/// - TCP: combinations of SYN, FIN, RST, ACK and URG that RFC 9293 knows.
/// - BOOTP: the first byte is the operation, 1 for a client (RFC 2131, figure 1).
/// - The most common packets of boards come first: IPv4 without options (version 4 and a header of five
///   words: 0x45) that is not a fragment, and TCP or UDP of IPv6, from the right source. The rules behind
///   would find nothing wrong with such a packet; they find the reason for dropping any other.
/// - The kernel knows which addresses are the router's own, or a broadcast address: outside they change.
///   The check excludes neighbour discovery: a node that detects a duplicate address sends from the
///   address itself (RFC 4862, 5.4.3).
/// - For a truncated packet the kernel reports no protocol above IP: `meta l4proto` is then no match,
///   whatever it is compared with.
/// - The EtherType of the frame itself is compared, and not `meta protocol`, which looks behind a tag.
const FIXED: [(&str, &[&str]); 21] = [
    (
        "tcp_flags",
        &[
            "tcp flags & (fin|syn|rst|ack|urg) == { syn, syn|ack, ack, fin|ack, rst, rst|ack, ack|urg, fin|ack|urg } return",
            "goto x_tcp_flags",
        ],
    ),
    (
        "dhcp_request",
        &["ip daddr 255.255.255.255 meta pkttype broadcast @th,64,8 1 accept", "goto x_dhcp"],
    ),
    (
        "plain4",
        &[
            "@nh,0,8 0x45 ip frag-off & 0x3fff == 0 return",
            "ip hdrlength != 5 goto x_ip_options",
            "ip frag-off & 0x3fff != 0 goto x_fragment",
            "goto x_malformed",
        ],
    ),
    (
        "stranger",
        &[
            "iifname @unbound ip hdrlength 5 ip frag-off & 0x3fff == 0 ip saddr 0.0.0.0 udp sport 68 udp dport 67 goto dhcp_request",
            "goto x_src_mac",
        ],
    ),
    (
        "board_arp",
        &[
            "meta pkttype multicast goto x_dst_mac",
            "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation { request, reply } iifname . arp saddr ether . arp saddr ip @bound4 goto arp_to",
            "goto x_arp",
        ],
    ),
    ("arp_to", &["iifname . arp daddr ip @gateway accept", "goto x_garp"]),
    (
        "board4",
        &[
            "jump plain4",
            "ip saddr 0.0.0.0 udp sport 68 udp dport 67 goto dhcp_request",
            "iifname . ether saddr . ip saddr @bound4 ip daddr 255.255.255.255 udp sport 68 udp dport 67 goto dhcp_request",
            "iifname . ether saddr . ip saddr @bound4 goto host4",
            "goto x_src_ip4",
        ],
    ),
    ("next_door", &["meta pkttype host return", "ip6 daddr ff02::/16 return", "goto x_dst_mac"]),
    (
        "board_nd",
        &[
            "jump next_door",
            "ip6 hoplimit 255 icmpv6 code 0 icmpv6 type nd-neighbor-advert iifname . ether saddr . @th,64,128 @nd_target goto board_nd_option",
            "ip6 hoplimit 255 icmpv6 code 0 icmpv6 type nd-neighbor-solicit ip6 saddr :: iifname . ether saddr . @th,64,128 @nd_target accept",
            "ip6 hoplimit 255 icmpv6 code 0 icmpv6 type nd-neighbor-solicit iifname . ether saddr . ip6 saddr @bound6 goto board_nd_option",
            "goto x_nd",
        ],
    ),
    (
        "board_nd_option",
        &[
            "iifname . ether saddr . ip6 saddr @bound6 ip6 length 24 accept",
            "iifname . ether saddr . ip6 saddr @bound6 ip6 length 32 @th,192,16 { 0x0101, 0x0201 } iifname . @th,208,48 @nd_option accept",
            "goto x_nd",
        ],
    ),
    (
        "board6",
        &[
            "jump plain6",
            "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } goto board_nd",
            "iifname . ether saddr . ip6 saddr @bound6 goto host6",
            "goto x_src_ip6",
        ],
    ),
    (
        "board",
        &[
            "ether type ip @nh,0,8 0x45 ip frag-off & 0x3fff == 0 meta pkttype host iifname . ether saddr . ip saddr @bound4 goto host4",
            "ether type ip6 ip6 version 6 ip6 nexthdr { tcp, udp } iifname . ether saddr . ip6 saddr @bound6 goto host6",
            "ether type { 8021q, 8021ad, 0x9100 } goto x_vlan",
            "iifname . ether saddr @mac goto board_known",
            "goto stranger",
        ],
    ),
    (
        "board_known",
        &[
            "meta pkttype other goto x_dst_mac",
            "meta protocol vmap { ip : goto board4, ip6 : goto board6, arp : goto board_arp }",
            "goto x_ethertype",
        ],
    ),
    (
        "lan4",
        &[
            "jump plain4",
            "ip saddr 0.0.0.0 udp sport 68 udp dport 67 goto dhcp_request",
            "ip saddr @lan4 ip daddr 255.255.255.255 udp sport 68 udp dport 67 goto dhcp_request",
            "ip saddr @lan4 goto host4",
            "goto x_src_ip4",
        ],
    ),
    (
        "lan_arp",
        &[
            "meta pkttype multicast goto x_dst_mac",
            "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation request arp saddr ip 0.0.0.0 iifname . arp daddr ip @gateway goto question",
            "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation request arp saddr ip @lan4 iifname . arp daddr ip @gateway goto question",
            "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation { request, reply } arp saddr ip @lan4 goto arp_to",
            "goto x_arp",
        ],
    ),
    (
        "lan6",
        &[
            "jump plain6",
            "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } goto lan_nd",
            "fib saddr type { local, anycast } goto x_src_ip6",
            "icmpv6 type nd-router-solicit ip6 daddr ff02::2 ip6 saddr @lan6 goto question",
            "ip6 saddr @lan6 goto host6",
            "goto x_src_ip6",
        ],
    ),
    (
        "lan_nd",
        &[
            "jump next_door",
            "ip6 length < 24 goto x_nd",
            "ip6 hoplimit 255 icmpv6 code 0 icmpv6 type nd-neighbor-solicit ip6 saddr :: accept",
            "ip6 hoplimit 255 icmpv6 code 0 icmpv6 type nd-neighbor-solicit ip6 saddr @lan6 goto question",
            "ip6 hoplimit 255 icmpv6 code 0 ip6 saddr @lan6 accept",
            "goto x_nd",
        ],
    ),
    (
        "lan",
        &[
            "ether type { 8021q, 8021ad, 0x9100 } goto x_vlan",
            "ether saddr & 01:00:00:00:00:00 != 00:00:00:00:00:00 goto x_src_mac",
            "meta pkttype other goto x_dst_mac",
            "meta protocol vmap { ip : goto lan4, ip6 : goto lan6, arp : goto lan_arp }",
            "goto x_ethertype",
        ],
    ),
    (
        "uplink_arp",
        &[
            "meta pkttype multicast goto x_dst_mac",
            "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp daddr ip @inside4 goto x_garp",
            "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation request arp saddr ip != @inside4 goto question",
            "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation reply arp saddr ip != @inside4 accept",
            "goto x_arp",
        ],
    ),
    (
        "uplink_nd",
        &[
            "jump next_door",
            "ip6 length < 24 goto x_nd",
            "ip6 hoplimit 255 icmpv6 code 0 icmpv6 type nd-neighbor-solicit ip6 saddr :: accept",
            "ip6 hoplimit 255 icmpv6 code 0 icmpv6 type nd-neighbor-solicit ip6 saddr != @inside6 goto question",
            "ip6 hoplimit 255 icmpv6 code 0 ip6 saddr != @inside6 accept",
            "goto x_nd",
        ],
    ),
    (
        "uplink",
        &[
            "ether type { 8021q, 8021ad, 0x9100 } goto x_vlan",
            "ether saddr & 01:00:00:00:00:00 != 00:00:00:00:00:00 goto x_src_mac",
            "meta pkttype other goto x_dst_mac",
            "meta protocol vmap { ip : goto uplink4, ip6 : goto uplink6, arp : goto uplink_arp }",
            "goto x_ethertype",
        ],
    ),
];
