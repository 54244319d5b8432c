//! Which established flows may continue after a change of the policies.

use std::collections::BTreeSet;
use std::net::IpAddr;

use octet_appliance::{Port, Protocol, TrafficKind, Zone, is_exit_address};

use super::plan::{Decision, RouterPlan, RouterSegment};
use crate::conntrack::{FlowEnds, TrackedFlow};

/// Whether some rule allows `flow` to begin now, on a router with the addresses `own`. An address
/// that is neither inside nor the router's own may be outside or on a path: then both zones are
/// checked. With a VPN, flows of the owner's devices to the outside must have an address that the
/// exit has assigned; otherwise they do not use the exit, and are not allowed.
pub fn is_still_allowed(plan: &RouterPlan, flow: &TrackedFlow, own: &BTreeSet<IpAddr>) -> bool {
    let TrackedFlow { protocol, original, reply, .. } = flow;
    let (from, to) = (zones_of(plan, original.from, own), zones_of(plan, reply.from, own));
    // The router does not filter within one zone, nor its traffic with itself.
    if !from.is_empty() && from == to {
        return true;
    }
    // Link-local traffic of the router is no forwarded flow.
    if from == [Zone::Router] && is_link_scoped(original.to) {
        return true;
    }
    // The flow's destination was translated.
    if original.to != reply.from {
        return is_published(plan, original, reply);
    }
    if uses_reserved_port(plan, flow, own) {
        return false;
    }
    let traffic = match protocol {
        6 => TrafficKind::Tcp,
        17 => TrafficKind::Udp,
        1 | 58 => TrafficKind::Ping,
        number => TrafficKind::Number(*number),
    };
    let port = original.port.unwrap_or(0);
    let mut pairs = from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to)));
    pairs.any(|(from, to)| {
        let outside = if to == Zone::Router { original.from } else { original.to };
        if plan.vpn && (from, to) == (Zone::Lan, Zone::Uplink) && !is_exit_address(reply.to) {
            return false;
        }
        let decision = plan.decide((from, to, traffic), port, Some(outside));
        // The destination of a published flow is translated, and this one's is not.
        matches!(decision, Decision::Allowed(_) | Decision::Neighbour(_))
    })
}

/// Whether a flow was masqueraded to a port of the uplink that is reserved for somebody else by
/// now.
fn uses_reserved_port(plan: &RouterPlan, flow: &TrackedFlow, own: &BTreeSet<IpAddr>) -> bool {
    let TrackedFlow { protocol, original, reply, .. } = flow;
    let protocol = match protocol {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        _ => return false,
    };
    // Nobody outside can begin a flow by the VPN, so addresses of the exit have no reserved ports.
    let is_masqueraded = original.from != reply.to && own.contains(&reply.to);
    let Some(port) = reply.port.filter(|_| is_masqueraded && !is_exit_address(reply.to)) else {
        return false;
    };
    let mut published =
        plan.published.iter().filter(|it| it.port == Port { protocol, number: port });
    let is_own = published.any(|it| {
        let board = plan.boards.iter().find(|board| board.zone == Zone::Board(it.board));
        board.is_some_and(|board| has(board, original.from))
    });
    !is_own && plan.reserved(protocol).iter().any(|it| it.contains(port))
}

fn is_published(plan: &RouterPlan, original: &FlowEnds, reply: &FlowEnds) -> bool {
    plan.published.iter().any(|it| {
        let board = plan.boards.iter().find(|board| board.zone == Zone::Board(it.board));
        let is_board = board.is_some_and(|board| has(board, reply.from));
        is_board && original.to != reply.from && original.port == Some(it.port.number)
    })
}

/// The zones that `address` may belong to; none if its segment does not exist (any more).
fn zones_of(plan: &RouterPlan, address: IpAddr, own: &BTreeSet<IpAddr>) -> Vec<Zone> {
    if own.contains(&address) {
        return vec![Zone::Router];
    }
    if let Some(segment) = plan.segments().find(|it| has(it, address)) {
        return vec![segment.zone];
    }
    let is_inside = match address {
        IpAddr::V4(address) => plan.network.contains(address),
        IpAddr::V6(address) => plan.network6.contains(address),
    };
    if is_inside {
        vec![]
    } else if is_exit_address(address) || is_node(address) {
        // Nodes, and those that use this router as exit, are reached only by paths.
        vec![Zone::Path]
    } else {
        vec![Zone::Uplink, Zone::Path]
    }
}

/// Whether `address` is a node's (fc00::/8).
fn is_node(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(six) if six.octets()[0] == 0xfc)
}

/// Whether `address` is in the networks of `segment`.
fn has(segment: &RouterSegment, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..3] == segment.router.0.octets()[..3],
        IpAddr::V6(address) => address.segments()[..4] == segment.router.1.segments()[..4],
    }
}

/// Whether `address` is never forwarded: broadcast, multicast or link-local.
fn is_link_scoped(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_broadcast() || address.is_multicast() || address.is_link_local()
        }
        IpAddr::V6(address) => address.is_multicast() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::plan::RouterNeighbour;
    use octet_appliance::Appliance;

    const LINES: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n[network]\naddress = \"dhcp\"\n[cluster]\nboards = 4\n\
        [[policy]]\nfrom = \"board-1\"\nto = \"board-2\"\nprotocol = \"tcp\"\nports = [80]\n\
        [[policy]]\nfrom = \"board-1\"\nto = \"uplink\"\nprotocol = \"tcp\"\nports = [443]\n\
        [[policy]]\nfrom = \"uplink\"\nto = \"router\"\nprotocol = \"tcp\"\nports = [4040]\n\
        [[publish]]\nport = \"tcp/8443\"\nto = \"board-3\"\nat = \"tcp/80\"\n";

    fn flow(protocol: u8, original: (&str, &str, u16), reply_from: &str) -> TrackedFlow {
        let ip = |text: &str| text.parse().unwrap();
        let (from, to, port) = original;
        let original = FlowEnds { from: ip(from), to: ip(to), port: Some(port) };
        let reply = FlowEnds { from: ip(reply_from), to: ip(from), port: None };
        TrackedFlow::new(protocol, original, reply)
    }

    /// The router's own links to other boxes, as long as the configuration names them.
    #[test]
    fn links_to_neighbours_go_on() {
        let appliance = Appliance::parse("appliance.toml", LINES).unwrap();
        let settings = appliance.cluster_settings().unwrap();
        let own = ["192.0.2.7"].map(|text| text.parse().unwrap()).into();
        let lets = |at: &[Option<&str>]| {
            let mut plan = RouterPlan::new(&settings, &[]).unwrap();
            plan.neighbours = at
                .iter()
                .map(|at| RouterNeighbour {
                    name: "hill".into(),
                    at: at.map(|at| at.parse().unwrap()),
                })
                .collect();
            [
                ("203.0.113.9", "192.0.2.7", 51820),
                ("203.0.113.8", "192.0.2.7", 51820),
                ("203.0.113.9", "192.0.2.7", 51821),
                ("192.0.2.7", "203.0.113.9", 4500),
                ("192.0.2.7", "203.0.113.9", 51820),
                ("192.0.2.7", "203.0.113.8", 4500),
                ("10.20.1.2", "203.0.113.9", 4500),
                ("203.0.113.9", "10.20.1.2", 51820),
            ]
            .map(|way| is_still_allowed(&plan, &flow(17, way, way.1), &own))
        };
        let none = [false; 8];
        assert_eq!(lets(&[]), none);
        let one = [true, false, false, true, false, false, false, false];
        assert_eq!(lets(&[Some("203.0.113.9:4500")]), one);
        assert_eq!(lets(&[None]), [true, true, false, false, false, false, false, false]);
        let both = [true, true, false, true, false, false, false, false];
        assert_eq!(lets(&[Some("203.0.113.9:4500"), None]), both);
    }

    #[test]
    fn what_the_router_says_at_a_link_goes_on() {
        let appliance = Appliance::parse("appliance.toml", LINES).unwrap();
        let settings = appliance.cluster_settings().unwrap();
        let plan = RouterPlan::new(&settings, &[]).unwrap();
        let own = ["10.20.1.1", "fe80::1"].map(|text| text.parse().unwrap()).into();
        let lets = |way: (&str, &str, u16)| is_still_allowed(&plan, &flow(17, way, way.1), &own);
        for way in [
            ("10.20.1.1", "255.255.255.255", 68),
            ("fe80::1", "fe80::2", 546),
            ("fe80::1", "ff02::1", 546),
        ] {
            assert!(lets(way), "{way:?}");
        }
        assert!(!lets(("10.20.1.1", "10.20.2.2", 68)));
        assert!(!lets(("fe80::2", "fe80::1", 4040)), "nobody may ask the router at a link");
    }

    /// Flows that use a port which is now published or opened end, except those of its own board.
    #[test]
    fn ports_of_others_are_given_up() {
        let lines = LINES.replace("[443]", "[443]\n[[policy]]\nfrom = \"boards\"\nto = \"uplink\"\nprotocol = \"tcp\"\nports = [443]\n[[policy]]\nfrom = \"boards\"\nto = \"uplink\"\nprotocol = 47\n");
        let appliance = Appliance::parse("appliance.toml", &lines).unwrap();
        let settings = appliance.cluster_settings().unwrap();
        let plan = RouterPlan::new(&settings, &[]).unwrap();
        let own = ["192.0.2.7", "10.20.1.1"].map(|text| text.parse().unwrap()).into();
        let left_by = |protocol, from: &str, seen: &str, port| {
            let mut flow = flow(protocol, (from, "203.0.113.9", 443), "203.0.113.9");
            (flow.reply.to, flow.reply.port) = (seen.parse().unwrap(), port);
            is_still_allowed(&plan, &flow, &own)
        };
        for (goes_on, board, seen, port) in [
            (true, 1, "192.0.2.7", 8442),
            (false, 1, "192.0.2.7", 8443),
            (true, 3, "192.0.2.7", 8443),
            (false, 3, "192.0.2.7", 4040),
            (true, 1, "192.0.2.7", 61000),
            // The router's own address, as usual with IPv6.
            (true, 1, "10.20.1.2", 8443),
        ] {
            let from = format!("10.20.{board}.2");
            assert_eq!(left_by(6, &from, seen, Some(port)), goes_on, "{from} by {port}");
        }
        assert!(left_by(47, "10.20.1.2", "192.0.2.7", None));
    }

    /// Nodes are reached only by paths: a rule for the outside does not concern them.
    #[test]
    fn nodes_are_not_outside() {
        let lets = |to: &str| {
            let lines = LINES.replace("to = \"uplink\"", &format!("to = \"{to}\""));
            let appliance = Appliance::parse("appliance.toml", &lines).unwrap();
            let settings = appliance.cluster_settings().unwrap();
            let plan = RouterPlan::new(&settings, &[]).unwrap();
            ["fc00::9", "fd00::9"].map(|other| {
                let ends = ("fd6f:6374:6574:1::2", other, 443);
                is_still_allowed(&plan, &flow(6, ends, other), &BTreeSet::new())
            })
        };
        assert_eq!(lets("uplink"), [false, true]);
        assert_eq!(lets("path"), [true, true]);
    }

    /// With a VPN, flows of the owner's devices by the uplink end, and those by the exit continue.
    /// Nodes use this router as exit only as long as a rule allows it.
    #[test]
    fn whoever_leaves_by_another_node() {
        let lines = LINES
            .replace(
                "from = \"board-1\"\nto = \"uplink\"",
                "from = [\"lan\", \"path\"]\nto = \"uplink\"",
            )
            .replace("boards = 4\n", "boards = 4\n[lan]\n");
        let own = ["192.0.2.7", "100.127.255.3"].map(|text| text.parse().unwrap()).into();
        let lets = |lines: &str, vpn| {
            let appliance = Appliance::parse("appliance.toml", lines).unwrap();
            let settings = appliance.cluster_settings().unwrap();
            let plan = RouterPlan { vpn, ..RouterPlan::new(&settings, &[]).unwrap() };
            let left_as = |from: &str, to: &str, port, seen: &str| {
                let mut flow = flow(6, (from, to, port), to);
                flow.reply.to = seen.parse().unwrap();
                is_still_allowed(&plan, &flow, &own)
            };
            let (lan, outside) = ("10.20.250.5", "203.0.113.9");
            [
                left_as(lan, outside, 443, "192.0.2.7"),
                left_as(lan, outside, 443, "100.127.255.3"),
                left_as(lan, outside, 80, "100.127.255.3"),
                left_as("fd6f:6374:6574:fa::5", "2001:db8::9", 443, "fd6f:6374:6574:fa::5"),
                left_as("100.127.255.9", outside, 443, "192.0.2.7"),
                left_as("100.127.255.9", outside, 80, "192.0.2.7"),
            ]
        };
        assert_eq!(lets(&lines, false), [true, true, false, true, true, false]);
        assert_eq!(lets(&lines, true), [false, true, false, false, true, false]);
        assert_eq!(lets(LINES, false), [false; 6]);
    }

    #[test]
    fn a_flow_goes_on_as_long_as_a_line_lets_it() {
        let appliance = Appliance::parse("appliance.toml", LINES).unwrap();
        let settings = appliance.cluster_settings().unwrap();
        let plan = RouterPlan::new(&settings, &[]).unwrap();
        let own = ["192.0.2.7", "10.20.1.1", "fd6f:6374:6574:1::1"];
        let own: BTreeSet<IpAddr> = own.iter().map(|text| text.parse().unwrap()).collect();
        let straight = |protocol, from, to, port| flow(protocol, (from, to, port), to);
        for (lets, flow) in [
            (true, straight(6, "10.20.1.2", "10.20.2.2", 80)),
            (true, straight(6, "fd6f:6374:6574:1::2", "fd6f:6374:6574:2::2", 80)),
            (false, straight(6, "10.20.1.2", "10.20.2.2", 81)),
            (false, straight(17, "10.20.1.2", "10.20.2.2", 80)),
            (false, straight(6, "10.20.2.2", "10.20.1.2", 80)),
            (true, straight(6, "10.20.1.2", "203.0.113.9", 443)),
            (true, straight(6, "203.0.113.9", "192.0.2.7", 4040)),
            (false, straight(6, "203.0.113.9", "10.20.1.2", 4040)),
            (false, straight(6, "203.0.113.9", "192.0.2.7", 4041)),
            // `relay` is a rule for the router, not for addresses outside.
            (true, straight(1, "192.0.2.7", "10.20.1.2", 0)),
            (false, straight(1, "203.0.113.9", "10.20.1.2", 0)),
            // The owner's devices are not a segment any more.
            (false, straight(1, "10.20.250.2", "10.20.1.2", 0)),
            (false, straight(1, "10.20.250.2", "10.20.250.3", 0)),
            (true, flow(6, ("203.0.113.9", "192.0.2.7", 8443), "10.20.3.2")),
            (false, flow(6, ("203.0.113.9", "192.0.2.7", 8444), "10.20.3.2")),
            (false, flow(6, ("203.0.113.9", "192.0.2.7", 8443), "10.20.2.2")),
        ] {
            assert_eq!(is_still_allowed(&plan, &flow, &own), lets, "{flow:?}");
        }
    }
}
