//! Whoever leaves by another node than his own: the owner's devices by an exit (`[vpn]`), and nodes elsewhere by this
//! router, where lines from `path` to `uplink` let them. The unit `forward` makes the devices: one for the exit, and
//! one for each of those nodes. What holds whatever it does, and also when it does nothing, is said here.

use octet_appliance::places;

use super::super::plan::{Plan, VPN};
use super::super::text::quoted;
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
pub(super) fn handed_on(plan: &Plan, forwards: bool) -> String {
    let (uplink, lan) = (quoted(&plan.uplink), plan.lan.as_ref().map(|lan| quoted(&lan.device)));
    let lan = lan.filter(|_| plan.vpn);
    let mut rules = lan.as_ref().map_or_else(String::new, |lan| {
        format!(
            "    iifname {lan} oifname {uplink} goto refuse\n    iifname {uplink} oifname {lan} goto refuse\n"
        )
    });
    if !forwards {
        return rules;
    }
    let mut others = vec![PATH];
    others.extend(plan.vpn.then_some(VPN));
    others.extend(plan.is_exit().then_some(PLACES));
    for (way, counter) in [("iifname", "denied_by_path"), ("oifname", "no_path")] {
        let others: String = others.iter().map(|it| format!(" {way} != \"{it}\"")).collect();
        rules += &format!("    {way} \"f*\"{others} counter name {counter} drop\n");
    }
    if let Some(lan) = lan {
        rules += &BY_EXIT
            .replace("$vpn", &quoted(VPN))
            .replace("$lan", &lan)
            .replace("$inside", &plan.network.to_string())
            .replace("$longest", &LONGEST_SEGMENT.to_string());
    }
    if plan.is_exit() {
        rules += &AS_EXIT
            .replace("$fx", &quoted(PLACES))
            .replace("$uplink", &uplink)
            .replace("$places", &places());
    }
    rules
}

/// How many flows one who leaves by this router may begin: as many as a board.
pub(super) fn new(plan: &Plan) -> String {
    let limit = format!("limit rate over {NEW_FLOWS}/second burst {NEW_FLOWS} packets");
    let rule = format!(
        "    iifname \"{PLACES}\" update @new_flows {{ iifname {limit} }} goto too_many
    iifname \"{PLACES}\" jump next_hop\n"
    );
    if plan.is_exit() { rule } else { String::new() }
}

/// Errors that come by paths, by the exit, and from those who leave by this router: about flows of theirs.
pub(super) fn errors(plan: &Plan) -> String {
    let mut rules = String::new();
    let mut from = |device: &str, direction: &str, end: &str| {
        rules += &format!(
            "    iifname \"{device}\" ct direction {direction} ct {direction} {end} goto known_error\n"
        );
    };
    for direction in ["reply", "original"] {
        from(PATH, direction, &format!("ip6 saddr {NODES}"));
    }
    if plan.vpn {
        from(VPN, "reply", &format!("ip saddr != {} ct reply ip saddr != @own4", plan.network));
    }
    if plan.is_exit() {
        from(PLACES, "original", &format!("ip saddr {}", places()));
    }
    rules
}

/// Whose address is seen outside.
pub(super) fn masquerade(plan: &Plan) -> String {
    let mut rules = String::new();
    if plan.vpn {
        rules += &format!("    oifname \"{VPN}\" masquerade\n");
    }
    if plan.is_exit() {
        rules +=
            &format!("    oifname {} ip saddr {} masquerade\n", quoted(&plan.uplink), places());
    }
    rules
}

/// The tunnels themselves, as they come and go by paths; and how much is asked for names.
pub(super) fn tunnels(plan: &Plan) -> [String; 2] {
    if !plan.vpn && !plan.is_exit() {
        return Default::default();
    }
    let mut come = format!("    meta l4proto {IP_IN_IP} counter name paths accept\n");
    if plan.is_exit() {
        let limit = format!("limit rate over {QUESTIONS}/second burst {QUESTIONS} packets");
        come += &format!("    udp dport 53 {limit} goto too_many\n");
    }
    [come, format!("    oifname \"{PATH}\" meta l4proto {IP_IN_IP} accept\n")]
}

const BY_EXIT: &str = "    iifname $vpn oifname != $lan counter name denied_by_path drop
    iifname $vpn ip saddr $inside counter name denied_by_path drop
    oifname $vpn iifname != $lan counter name no_path drop
    iifname $vpn tcp flags syn tcp option maxseg size set $longest
    oifname $vpn tcp flags syn tcp option maxseg size set $longest
";

const AS_EXIT: &str = "    iifname $fx oifname != $uplink counter name denied_by_path drop
    iifname $fx fib saddr . iif oif missing counter name denied_by_path drop
    oifname $fx iifname != $uplink counter name no_path drop
    iifname $uplink ip saddr $places counter name denied_by_path drop
";

#[cfg(test)]
mod tests;
