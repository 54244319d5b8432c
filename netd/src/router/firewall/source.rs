//! Whose address and port is seen outside (masquerading), of what is handed on.
//!
//! A flow keeps its own port, as far as the kernel has it free: it says so to whom it speaks. But some ports of the
//! uplink's addresses are somebody's ([`Plan::reserved`]): what comes for one of them from where a flow by it has gone
//! to would be taken for an answer, and never ask who it is for. So nobody but their own board leaves by them.

use octet_appliance::{MASQUERADE_PORTS, Protocol, Zone, places};

use super::super::chain::{NftRule, rules};
use super::super::plan::{RouterPlan, VPN};
use super::super::text::{list, quoted};

/// Who leaves by the uplink with its address: those inside, and nodes that leave by this router.
fn senders(plan: &RouterPlan, forwards: bool) -> Vec<String> {
    let nodes = (forwards && plan.is_exit()).then(places);
    [plan.network.to_string()].into_iter().chain(nodes).collect()
}

/// The boards' own ports, of a protocol: each with its board's address.
fn own(plan: &RouterPlan, protocol: Protocol) -> Vec<(String, u16)> {
    let published = plan.published.iter().filter(|it| it.port.protocol == protocol);
    let own = published.filter_map(|it| {
        let board = plan.boards.iter().find(|board| board.zone == Zone::Board(it.board))?;
        Some((board.board?.0.to_string(), it.port.number))
    });
    own.collect()
}

/// What addresses and ports become, if the image has the unit `forward` or not.
pub(super) fn chain(plan: &RouterPlan, forwards: bool) -> Vec<NftRule> {
    let uplink = quoted(&plan.uplink);
    let senders = senders(plan, forwards);
    // The router's own question for an address, which goes out from nobody's: it is no flow of those inside, whose address
    // the kernel may take for it, and servers answer at this port alone (RFC 2131, 4.1).
    let mut rules =
        rules!["oifname {uplink} ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept"];
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let (reserved, protocol_name) = (plan.reserved(protocol), protocol.as_str());
        if reserved.is_empty() {
            continue;
        }
        for (board, port) in own(plan, protocol) {
            rules.extend(rules![
                "oifname {uplink} ip saddr {board} {protocol_name} sport {port} masquerade"
            ]);
        }
        let reserved = list(reserved);
        for sender in &senders {
            rules.extend(rules![
                "oifname {uplink} ip saddr {sender} {protocol_name} sport {{ {reserved} }} masquerade to :{MASQUERADE_PORTS}"
            ]);
        }
    }
    for sender in &senders {
        rules.extend(rules!["oifname {uplink} ip saddr {sender} masquerade"]);
    }
    if forwards && plan.vpn {
        rules.extend(rules!["oifname \"{VPN}\" masquerade"]);
    }
    rules
}

/// What is asked behind that: where two flows would be one outside the kernel gives the later one any port, and may
/// take one that is somebody's. That one begins anew, as whatever is lost does, with another.
pub(super) fn behind(plan: &RouterPlan, forwards: bool) -> Vec<NftRule> {
    let uplink = quoted(&plan.uplink);
    let mut rules = vec![];
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let (reserved, protocol_name) = (plan.reserved(protocol), protocol.as_str());
        if reserved.is_empty() {
            continue;
        }
        let begins = format!("oifname {uplink} ct state new");
        for (board, port) in own(plan, protocol) {
            rules.extend(rules![
                "{begins} ct original ip saddr {board} {protocol_name} sport {port} accept"
            ]);
        }
        let reserved = list(reserved);
        for sender in senders(plan, forwards) {
            rules.extend(rules![
                "{begins} ct original ip saddr {sender} {protocol_name} sport {{ {reserved} }} drop"
            ]);
        }
    }
    rules
}

#[cfg(test)]
mod tests;
