//! Masquerading: the source address and port of forwarded flows on the uplink.
//!
//! A flow keeps its source port if the kernel has it free, and can so announce it to its peer. But
//! some ports of the uplink's addresses are reserved ([`RouterPlan::reserved`]): a packet to one of
//! them from a peer of a flow that uses it would be taken for an answer, and bypass the rules of
//! that port. Therefore only the board that owns a reserved port uses it as source port.

use octet_appliance::{MASQUERADE_PORTS, Protocol, Zone, exit_addresses};

use super::super::chain::{NftRule, rules};
use super::super::plan::{RouterPlan, VPN};
use super::super::text::{list, quoted};

/// Sources that are masqueraded on the uplink: those inside, and nodes that use this router as
/// exit.
fn senders(plan: &RouterPlan, forwards: bool) -> Vec<String> {
    let nodes = (forwards && plan.is_exit()).then(exit_addresses);
    [plan.network.to_string()].into_iter().chain(nodes).collect()
}

/// The boards' reserved ports of a protocol, each with its board's address.
fn own(plan: &RouterPlan, protocol: Protocol) -> Vec<(String, u16)> {
    let published = plan.published.iter().filter(|it| it.port.protocol == protocol);
    let own = published.filter_map(|it| {
        let board = plan.boards.iter().find(|board| board.zone == Zone::Board(it.board))?;
        Some((board.board?.0.to_string(), it.port.number))
    });
    own.collect()
}

/// The rules for source addresses and ports; `forwards` says whether the image has the unit
/// `forward`.
pub(super) fn chain(plan: &RouterPlan, forwards: bool) -> Vec<NftRule> {
    let uplink = quoted(&plan.uplink);
    let senders = senders(plan, forwards);
    // The router's own DHCP request is sent from the unspecified address, which the kernel may take
    // for one inside. It must keep its port, because servers answer only to that one (RFC 2131,
    // 4.1).
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

/// Rules behind the translation: where two flows would collide outside, the kernel gives the later
/// one any port, possibly a reserved one. Such a packet is dropped, and the sender retries with
/// another port.
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
