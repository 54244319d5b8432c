//! Traffic that leaves by another node's uplink: the owner's devices by an exit (`[vpn]`), and
//! other nodes by this router, where policies from `path` to `uplink` allow it. The unit `forward`
//! makes the devices: one for the exit, and one for each of those nodes. The rules here hold
//! whatever the unit does, and also while it does not run.

use octet_appliance::exit_addresses;

use super::super::chain::{NftRule, rules};
use super::super::plan::{RouterPlan, VPN};
use super::super::text::{over, quoted};
use super::fixed::NEW_FLOWS;
use super::tunnels::PATH;
use crate::paths::NODES;

/// The devices of nodes that use this router as exit.
pub(super) const EXIT_TUNNELS: &str = "fx*";

/// IPv4 in IP (RFC 2473): the protocol of such a tunnel within a path.
const IP_IN_IP: u8 = 4;

/// Maximum TCP segment size in bytes: 1500 bytes of a link without all outer headers
/// (docs/forwarding.md), and without the headers of IPv4 and TCP.
const LONGEST_SEGMENT: u32 = 1276;

/// DNS queries per second by paths, in total: they share one queue with those of the box.
const QUESTIONS: u32 = 1000;

/// Checked before everything else that is forwarded, including established flows.
///
/// - Packets that arrive where labels end may have any source, and could be taken for answers.
/// - With a VPN nothing is forwarded between the owner's devices and the uplink's device, whatever
///   `forward` does.
/// - Packets from the exit go only to the owner's devices, and must not have a source inside the box.
/// - A node that uses this router as exit sends from its own address, reaches only the uplink, and
///   cannot be reached by anybody else.
pub(super) fn forward(plan: &RouterPlan, forwards: bool) -> Vec<NftRule> {
    let (uplink, lan) = (quoted(&plan.uplink), plan.lan.as_ref().map(|lan| quoted(&lan.device)));
    let lan = lan.filter(|_| plan.vpn);
    let mut rules = vec![];
    if let Some(lan) = &lan {
        rules = rules![
            "iifname {lan} oifname {uplink} goto refuse",
            "iifname {uplink} oifname {lan} goto refuse",
        ];
    }
    if !forwards {
        return rules;
    }
    let mut others = vec![PATH];
    others.extend(plan.vpn.then_some(VPN));
    others.extend(plan.is_exit().then_some(EXIT_TUNNELS));
    for (way, counter) in [("iifname", "denied_by_path"), ("oifname", "no_path")] {
        let others: String = others.iter().map(|it| format!(" {way} != \"{it}\"")).collect();
        rules.extend(rules!["{way} \"f*\"{others} counter name {counter} drop"]);
    }
    if let Some(lan) = lan {
        let inside = plan.network;
        rules.extend(rules![
            "iifname \"{VPN}\" oifname != {lan} counter name denied_by_path drop",
            "iifname \"{VPN}\" ip saddr {inside} counter name denied_by_path drop",
            "oifname \"{VPN}\" iifname != {lan} counter name no_path drop",
            "iifname \"{VPN}\" tcp flags syn tcp option maxseg size set {LONGEST_SEGMENT}",
            "oifname \"{VPN}\" tcp flags syn tcp option maxseg size set {LONGEST_SEGMENT}",
        ]);
    }
    if plan.is_exit() {
        let places = exit_addresses();
        rules.extend(rules![
            "iifname \"{EXIT_TUNNELS}\" oifname != {uplink} counter name denied_by_path drop",
            "iifname \"{EXIT_TUNNELS}\" fib saddr . iif oif missing counter name denied_by_path drop",
            "oifname \"{EXIT_TUNNELS}\" iifname != {uplink} counter name no_path drop",
            "iifname {uplink} ip saddr {places} counter name denied_by_path drop",
        ]);
    }
    rules
}

/// Limit of new flows for a node that uses this router as exit: the same as for a board.
pub(super) fn new(plan: &RouterPlan) -> Vec<NftRule> {
    if !plan.is_exit() {
        return vec![];
    }
    let limit = over(NEW_FLOWS);
    rules![
        "iifname \"{EXIT_TUNNELS}\" update @new_flows {{ iifname {limit} }} goto too_many",
        "iifname \"{EXIT_TUNNELS}\" jump next_hop",
    ]
}

/// ICMP errors from paths, from the exit and from nodes that use this router as exit: accepted
/// about their own flows.
pub(super) fn errors(plan: &RouterPlan) -> Vec<NftRule> {
    let from = |device: &str, direction: &str, end: &str| {
        rules![
            "iifname \"{device}\" ct direction {direction} ct {direction} {end} goto known_error"
        ]
    };
    let mut rules = vec![];
    for direction in ["reply", "original"] {
        rules.extend(from(PATH, direction, &format!("ip6 saddr {NODES}")));
    }
    if plan.vpn {
        let end = format!("ip saddr != {} ct reply ip saddr != @own4", plan.network);
        rules.extend(from(VPN, "reply", &end));
    }
    if plan.is_exit() {
        rules.extend(from(EXIT_TUNNELS, "original", &format!("ip saddr {}", exit_addresses())));
    }
    rules
}

/// Packets that the router itself sends, such as ICMP errors, about traffic between the owner's
/// devices and the outside: with a VPN none of them leaves by the uplink's device. The router
/// itself does not use the VPN's routes, so they are dropped.
pub(super) fn own_errors(plan: &RouterPlan) -> Vec<NftRule> {
    let Some(lan) = plan.lan.as_ref().filter(|_| plan.vpn) else { return vec![] };
    let (uplink, [ip4, ip6]) = (quoted(&plan.uplink), lan.devices());
    let about = |direction: &str| {
        rules![
            "oifname {uplink} ct {direction} ip saddr {ip4} goto refuse_own",
            "oifname {uplink} ct {direction} ip6 saddr {ip6} goto refuse_own",
        ]
    };
    ["original", "reply"].into_iter().flat_map(about).collect()
}

/// The tunnels themselves, in both directions within paths, and the limit of DNS queries.
pub(super) fn tunnels(plan: &RouterPlan) -> [Vec<NftRule>; 2] {
    if !plan.vpn && !plan.is_exit() {
        return Default::default();
    }
    let mut come = rules!["meta l4proto {IP_IN_IP} counter name paths accept"];
    if plan.is_exit() {
        let limit = over(QUESTIONS);
        come.extend(rules!["udp dport 53 {limit} goto too_many"]);
    }
    [come, rules!["oifname \"{PATH}\" meta l4proto {IP_IN_IP} accept"]]
}

#[cfg(test)]
mod tests;
