//! Whoever leaves by another node than his own: the owner's devices by an exit (`[vpn]`), and nodes elsewhere by this
//! router, where lines from `path` to `uplink` let them. The unit `forward` makes the devices: one for the exit, and
//! one for each of those nodes. What holds whatever it does, and also when it does nothing, is said here.

use octet_appliance::places;

use super::super::chain::{NftRule, rules};
use super::super::plan::{RouterPlan, VPN};
use super::super::text::{over, quoted};
use super::forwarded::PATH;
use super::standing::NEW_FLOWS;
use crate::paths::NODES;

/// The devices of those who leave by this router.
pub(super) const PLACES: &str = "fx*";

/// IPv4 in IP (RFC 2473): what goes through a path between the two ends of such a tunnel.
const IP_IN_IP: u8 = 4;

/// The longest segment of TCP by it: 1500 bytes of a link less all that is around (docs/forwarding.md), less the
/// headers of IPv4 and TCP.
const LONGEST_SEGMENT: u32 = 1276;

/// Questions for names by paths in a second, of all together: they wait in one queue with those of the box.
const QUESTIONS: u32 = 1000;

/// What is asked first of all that is handed on, also of what belongs to a flow that was let.
///
/// - What comes out where labels end may have any source, and would be taken for an answer.
/// - With a VPN nothing passes between the owner's devices and the uplink's device, whatever there is of `forward`.
/// - Of what comes by the exit nobody but the owner's devices hears, and nobody inside has said it.
/// - Whoever leaves by this router does so by its own address, reaches the uplink alone, and nobody else reaches him.
pub(super) fn handed_on(plan: &RouterPlan, forwards: bool) -> Vec<NftRule> {
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
    others.extend(plan.is_exit().then_some(PLACES));
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
        let places = places();
        rules.extend(rules![
            "iifname \"{PLACES}\" oifname != {uplink} counter name denied_by_path drop",
            "iifname \"{PLACES}\" fib saddr . iif oif missing counter name denied_by_path drop",
            "oifname \"{PLACES}\" iifname != {uplink} counter name no_path drop",
            "iifname {uplink} ip saddr {places} counter name denied_by_path drop",
        ]);
    }
    rules
}

/// How many flows one who leaves by this router may begin: as many as a board.
pub(super) fn new(plan: &RouterPlan) -> Vec<NftRule> {
    if !plan.is_exit() {
        return vec![];
    }
    let limit = over(NEW_FLOWS);
    rules![
        "iifname \"{PLACES}\" update @new_flows {{ iifname {limit} }} goto too_many",
        "iifname \"{PLACES}\" jump next_hop",
    ]
}

/// Errors that come by paths, by the exit, and from those who leave by this router: about flows of theirs.
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
        rules.extend(from(PLACES, "original", &format!("ip saddr {}", places())));
    }
    rules
}

/// What the router itself sends, as errors are, about what the owner's devices and somebody outside say to each other:
/// with a VPN nothing of it by the uplink's device. The routes of the VPN are not those of the router itself, so it does
/// not leave at all.
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

/// The tunnels themselves, as they come and go by paths; and how much is asked for names.
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
