//! The plan in the words of OpenWrt: what its network, firewall and DHCP server are to be told.
//!
//! The switch is a bridge with a VLAN for each port, untagged, and no port is in two (DSA). Each VLAN
//! has an interface of its own and a firewall zone of its own, between which nothing passes but by
//! a rule.

use std::net::IpAddr;

use octet_appliance::{TrafficKind, Zone};

use super::router::OpenwrtRouter;
use super::uci::UciSection;
use crate::plan::{PlannedAllow, RouterPlan, RouterSegment, RuleSource};

/// All sections that are ours begin with this: what an owner wrote under other names stays.
pub const PREFIX: &str = "octet_";

/// VLANs from this number on are ours; the number of the segment is added.
pub const VLANS: u16 = 1000;

/// The VLAN of the ports that are nobody's.
pub const OTHERS: u16 = 1;

/// For how long a device keeps its address.
const LEASE: &str = "1h";

/// What a host says to be found by IPv6 (RFC 4861), and what the router says.
const FINDS: [&str; 3] =
    ["router-solicitation", "neighbour-solicitation", "neighbour-advertisement"];
const IS_FOUND: [&str; 3] =
    ["router-advertisement", "neighbour-solicitation", "neighbour-advertisement"];

/// The sections that make `router` what `plan` says: those of `network`, of `dhcp`, of `firewall`.
pub fn sections(plan: &RouterPlan, router: &OpenwrtRouter) -> Vec<UciSection> {
    let mut sections = vec![];
    if !router.others.is_empty() {
        let vlan = UciSection::new("network", "bridge-vlan", format!("{PREFIX}vlan_others"));
        let ports = router.others.iter().map(|port| format!("{port}:u*"));
        let vlan = vlan.with("device", &router.bridge).with("vlan", OTHERS);
        // The owner's own VLANs say where these ports are, if there are any.
        if router.owners("network", "bridge-vlan").next().is_none() {
            sections.push(vlan.with_list("ports", ports));
        }
    }
    for segment in plan.segments() {
        let vlan = VLANS + u16::from(segment.number);
        let [(ip4, prefix4), (ip6, prefix6)] = segment.addresses();
        sections.push(
            UciSection::new("network", "bridge-vlan", format!("{PREFIX}vlan_{}", segment.number))
                .with("device", &router.bridge)
                .with("vlan", vlan)
                .with_list("ports", [format!("{}:u*", segment.device)]),
        );
        sections.push(
            UciSection::new("network", "interface", network(segment))
                .with("device", vlan_device(segment, router))
                .with("proto", "static")
                .with_list("ipaddr", [format!("{ip4}/{prefix4}")])
                .with_list("ip6addr", [format!("{ip6}/{prefix6}")]),
        );
    }
    sections.extend(plan.segments().flat_map(dhcp));
    for segment in plan.segments() {
        sections.push(
            UciSection::new("firewall", "zone", format!("{PREFIX}zone_{}", segment.number))
                .with("name", zone(segment.zone, router))
                .with_list("network", [network(segment)])
                .with("input", "DROP")
                .with("output", "DROP")
                .with("forward", "DROP"),
        );
    }
    for segment in plan.segments() {
        sections.extend(found(segment, router));
    }
    for ((from, to, traffic), lets) in &plan.lets {
        for it in lets {
            sections.extend(rule(plan, router, (*from, *to), *traffic, it));
        }
    }
    for it in &plan.published {
        let board = plan.boards.iter().find(|board| board.zone == Zone::Board(it.board));
        let Some((ip4, ip6)) = board.and_then(|board| board.board) else { continue };
        let (protocol, port) = (it.port.protocol.as_str(), it.port.number);
        for (family, at) in [("ipv4", IpAddr::V4(ip4)), ("ipv6", IpAddr::V6(ip6))] {
            let name = format!("{PREFIX}publish_{protocol}_{port}_{family}");
            sections.push(
                UciSection::new("firewall", "redirect", name)
                    .with("name", format!("publish {}", it.port))
                    .with("src", &router.outside)
                    .with("dest", zone(Zone::Board(it.board), router))
                    .with("family", family)
                    .with("proto", protocol)
                    .with("src_dport", port)
                    .with("dest_ip", at)
                    .with("dest_port", it.target.number)
                    .with("reflection", "0")
                    .with("target", "DNAT"),
            );
        }
    }
    sections
}

/// One address for the board at a port, and many for the owner's devices.
fn dhcp(segment: &RouterSegment) -> Vec<UciSection> {
    let (start, limit) = if segment.board.is_some() { (2, 1) } else { (100, 150) };
    let name = network(segment);
    let mut sections = vec![
        UciSection::new("dhcp", "dhcp", &name)
            .with("interface", &name)
            .with("start", start)
            .with("limit", limit)
            .with("leasetime", LEASE)
            .with("dhcpv4", "server")
            .with("dhcpv6", "server")
            .with("ra", "server"),
    ];
    if let (Some(mac), Some((ip4, _))) = (segment.mac, segment.board) {
        sections.push(
            UciSection::new("dhcp", "host", format!("{PREFIX}host_{}", segment.number))
                .with_list("mac", [mac])
                .with("ip", ip4),
        );
    }
    sections
}

/// What the plan does not say, since it is so on every network: neighbours find each other, and who
/// asks for an address is answered.
fn found(segment: &RouterSegment, router: &OpenwrtRouter) -> [UciSection; 3] {
    let rule = |what: &str| {
        UciSection::new("firewall", "rule", format!("{PREFIX}{what}_{}", segment.number))
            .with("name", format!("built-in {what}"))
    };
    let zone = zone(segment.zone, router);
    let icmp = |rule: UciSection, types: [&str; 3]| {
        rule.with("family", "ipv6")
            .with("proto", "icmp")
            .with_list("icmp_type", types)
            .with("target", "ACCEPT")
    };
    [
        icmp(rule("find").with("src", &zone), FINDS),
        icmp(rule("found").with("dest", &zone), IS_FOUND),
        rule("lease")
            .with("dest", &zone)
            .with("proto", "udp")
            .with("dest_port", "68 546")
            .with("target", "ACCEPT"),
    ]
}

/// What lets `traffic` from one zone to another. What concerns paths has no zone there.
fn rule(
    plan: &RouterPlan,
    router: &OpenwrtRouter,
    (from, to): (Zone, Zone),
    traffic: TrafficKind,
    it: &PlannedAllow,
) -> Option<UciSection> {
    if from == Zone::Path || to == Zone::Path {
        return None;
    }
    let what = match traffic {
        TrafficKind::Tcp | TrafficKind::Udp => format!("{traffic}_{}", it.ports.first),
        TrafficKind::Ping => "ping".to_owned(),
        TrafficKind::Number(number) => number.to_string(),
    };
    let name = format!("{PREFIX}{}_{}_{what}", word(from), word(to));
    let mut rule = UciSection::new("firewall", "rule", name).with("name", it.by);
    // A rule without `src` is about what the router sends, one without `dest` about what it takes.
    if from != Zone::Router {
        rule = rule.with("src", zone(from, router));
    }
    if to != Zone::Router {
        rule = rule.with("dest", zone(to, router));
    }
    rule = match traffic {
        TrafficKind::Tcp | TrafficKind::Udp => {
            rule.with("proto", traffic).with("dest_port", it.ports)
        }
        TrafficKind::Ping => rule.with("proto", "icmp").with_list("icmp_type", ["echo-request"]),
        TrafficKind::Number(number) => rule.with("proto", number),
    };
    if let RuleSource::Policy(index) = it.by
        && let Some(rate) = plan.lines.get(index).and_then(|line| line.rate)
    {
        rule = rule.with("limit", format!("{rate}/second")).with("limit_burst", rate);
    }
    Some(rule.with("target", "ACCEPT"))
}

/// The name of a segment's interface.
pub fn network(segment: &RouterSegment) -> String {
    format!("{PREFIX}{}", word(segment.zone))
}

/// The device of a segment's VLAN.
pub fn vlan_device(segment: &RouterSegment, router: &OpenwrtRouter) -> String {
    format!("{}.{}", router.bridge, VLANS + u16::from(segment.number))
}

/// A zone in names of sections, which have letters, digits and `_` only.
fn word(zone: Zone) -> String {
    zone.to_string().replace('-', "_")
}

/// A zone's name there has 11 characters at most.
pub fn zone(zone: Zone, router: &OpenwrtRouter) -> String {
    match zone {
        Zone::Uplink => router.outside.clone(),
        Zone::Board(number) => format!("o_board{number}"),
        other => format!("o_{other}"),
    }
}
