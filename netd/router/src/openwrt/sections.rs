//! The plan as UCI sections of OpenWrt's network, firewall and DHCP server.
//!
//! The switch is a bridge with an untagged VLAN for each port, and no port is in two (DSA). Each
//! VLAN has an interface and a firewall zone of its own, and zones reach each other only by rules.

use std::net::IpAddr;

use octet_appliance::{AllowRule, FlowKey, TrafficKind, Zone};

use super::router::OpenwrtRouter;
use super::uci::UciSection;
use crate::plan::{RouterPlan, RouterSegment, RuleSource};

/// Prefix of the names of all our sections: sections with other names belong to the owner and stay.
pub const PREFIX: &str = "octet_";

/// Our VLANs begin at this number; the number of the segment is added.
pub const VLANS: u16 = 1000;

/// The VLAN of ports that belong to no segment.
pub const OTHERS: u16 = 1;

/// Lease time of DHCP.
const LEASE: &str = "1h";

/// ICMPv6 types that a host sends for neighbour and router discovery (RFC 4861), and those that the
/// router sends.
const FINDS: [&str; 3] =
    ["router-solicitation", "neighbour-solicitation", "neighbour-advertisement"];
const IS_FOUND: [&str; 3] =
    ["router-advertisement", "neighbour-solicitation", "neighbour-advertisement"];

/// The sections of `network`, `dhcp` and `firewall` that configure `router` as `plan` says.
pub fn sections(plan: &RouterPlan, router: &OpenwrtRouter) -> Vec<UciSection> {
    let mut sections = vec![];
    if !router.others.is_empty() {
        let vlan = UciSection::new("network", "bridge-vlan", format!("{PREFIX}vlan_others"));
        let ports = router.others.iter().map(|port| format!("{port}:u*"));
        let vlan = vlan.with("device", &router.bridge).with("vlan", OTHERS);
        // If the owner has VLANs of his own, they configure these ports.
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
        sections.extend(addresses(segment, router));
    }
    sections.extend(plan.allowed.entries().filter_map(|(flow, it)| rule(plan, router, flow, it)));
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

/// One address for the board at a port, and a pool for the owner's devices.
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

/// Rules that the plan does not contain, because every network needs them: neighbour discovery and
/// DHCP.
fn addresses(segment: &RouterSegment, router: &OpenwrtRouter) -> [UciSection; 3] {
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

/// The rule that allows `traffic` from one zone to another. OpenWrt has no zone for paths.
fn rule(
    plan: &RouterPlan,
    router: &OpenwrtRouter,
    (from, to, traffic): FlowKey,
    it: AllowRule<RuleSource>,
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
    let mut rule = UciSection::new("firewall", "rule", name).with("name", it.rule);
    // A rule without `src` is about packets that the router sends, one without `dest` about those
    // it receives.
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
    if let RuleSource::Policy(index) = it.rule
        && let Some(rate) = plan.policies.get(index).and_then(|policy| policy.rate)
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

/// A zone's name within the names of sections, which have only letters, digits and `_`.
fn word(zone: Zone) -> String {
    zone.to_string().replace('-', "_")
}

/// The name of a firewall zone: 11 characters at most.
pub fn zone(zone: Zone, router: &OpenwrtRouter) -> String {
    match zone {
        Zone::Uplink => router.outside.clone(),
        Zone::Board(number) => format!("o_board{number}"),
        other => format!("o_{other}"),
    }
}
