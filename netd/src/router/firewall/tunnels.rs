//! Rules for the devices of the unit `forward` on a router. What is received on them is checked as
//! on a board (`crate::paths`), and what is sent needs a rule, like everything that a router sends.
//! Between the router's ports and these devices only paths (`fp*`) are forwarded: a sender on
//! another device is not authenticated.

use octet_appliance::{MPLS_IN_IP, TrafficKind, Zone};

use super::super::chain::{NftChain, NftRule, rules};
use super::super::plan::RouterPlan;
use super::super::text::{list, over, quoted};
use super::fixed::NEW_FLOWS;
use super::rule_chain::ChainName;
use super::{Direction, exit};
use crate::paths::{END_PORTS, ENDS, LINKS, PathDevices};

/// The WireGuard devices inside paths (docs/ARCHITECTURE.md lists the devices and their owners).
pub(super) const PATH: &str = "fp*";

/// The device for packets to nodes without a path yet: the unit is notified of them.
const OUT: &str = "fout";

pub(super) fn chains(plan: &RouterPlan, forward: &PathDevices) -> Vec<(&'static str, NftChain)> {
    let [mut tunnels_in, tunnels_out] = exit::tunnels(plan);
    tunnels_in.extend(policies(plan, Direction::Input));
    let mut chains: Vec<_> = forward.chains(tunnels_in).into();
    chains.push(("to_forward", NftChain(to_forward(plan, forward, tunnels_out))));
    chains
}

/// What the unit itself sends, and what policies allow to paths. Packets that leave a tunnel pass
/// these rules once more, as those of the device that carries it.
fn to_forward(plan: &RouterPlan, forward: &PathDevices, tunnels: Vec<NftRule>) -> Vec<NftRule> {
    let out = |devices: &str, port: Option<u16>| {
        port.map(|port| rules!["oifname {devices} udp dport {port} accept"]).unwrap_or_default()
    };
    [
        rules![
            "ct state vmap {{ established : accept, related : goto error }}",
            "oifname fwg ip protocol {MPLS_IN_IP} accept",
        ],
        out("fwg", forward.control),
        rules!["oifname \"fl*\" ip daddr {ENDS} udp dport {END_PORTS} accept"],
        out("\"fp*\"", forward.path),
        tunnels,
        policies(plan, Direction::Output),
        rules!["goto refuse_own"],
    ]
    .concat()
}

/// What policies allow between paths and the zones of `way`. The devices of paths are created and
/// removed at run time, so these are rules and not map elements.
pub(super) fn policies(plan: &RouterPlan, way: Direction) -> Vec<NftRule> {
    let mut rules = vec![];
    for ((from, to, traffic), it) in plan.allowed.entries() {
        let devices: Vec<String> = match (way, from, to) {
            // The calling chain has matched the device.
            (Direction::Input, Zone::Path, Zone::Router) => vec![String::new()],
            (Direction::Output, Zone::Router, Zone::Path) => {
                [quoted(PATH), OUT.into()].map(|device| format!("oifname {device} ")).into()
            }
            (Direction::Forward, Zone::Path, to) if to != Zone::Router => {
                // Nodes that use this router as exit come by a tunnel within paths.
                let by = if to == Zone::Uplink { exit::EXIT_TUNNELS } else { PATH };
                let to = plan.device(to).map(quoted);
                to.map(|to| format!("iifname \"{by}\" oifname {to} ")).into_iter().collect()
            }
            (Direction::Forward, from, Zone::Path) if from != Zone::Router => {
                let from = plan.device(from).map(quoted);
                from.map(|from| format!("iifname {from} oifname \"{PATH}\" ")).into_iter().collect()
            }
            _ => continue,
        };
        let kinds = match traffic {
            TrafficKind::Tcp | TrafficKind::Udp => {
                vec![format!("{traffic} dport {}", it.ports)]
            }
            TrafficKind::Ping => {
                vec!["icmp type echo-request".into(), "icmpv6 type echo-request".into()]
            }
            TrafficKind::Number(number) => vec![format!("meta l4proto {number}")],
        };
        let chain = ChainName::of(plan, it.rule);
        for kind in kinds {
            for devices in &devices {
                rules.extend(rules!["{devices}{kind} goto {chain}"]);
            }
        }
    }
    rules
}

/// Links to other boxes by the uplink. From an unknown address the number of new flows per second
/// is limited as for a board; WireGuard authenticates the neighbour.
pub(super) fn links_in(plan: &RouterPlan, forward: &PathDevices) -> Vec<NftRule> {
    let (Some(port), false) = (forward.links, plan.neighbours.is_empty()) else { return vec![] };
    let uplink = quoted(&plan.uplink);
    let known: Option<Vec<_>> = plan.neighbours.iter().map(|it| it.at.map(|at| *at.ip())).collect();
    match known {
        Some(mut known) => {
            known.sort_unstable();
            known.dedup();
            let known = list(known);
            rules![
                "iifname {uplink} ip saddr {{ {known} }} udp dport {port} counter name links accept"
            ]
        }
        None => {
            let flows = format!("iifname {uplink} meta nfproto ipv4 udp dport {port}");
            let limit = over(NEW_FLOWS);
            rules![
                "{flows} update @new_flows {{ iifname {limit} }} goto too_many",
                "{flows} counter name links accept",
            ]
        }
    }
}

/// The other direction: links to neighbours with a known address.
pub(super) fn links_out(plan: &RouterPlan, forward: &PathDevices) -> Vec<NftRule> {
    let mut known: Vec<_> = plan.neighbours.iter().filter_map(|it| it.at).collect();
    known.sort_unstable();
    known.dedup();
    let (Some(port), false) = (forward.links, known.is_empty()) else { return vec![] };
    let places = list(known.iter().map(|at| format!("{} . {}", at.ip(), at.port())));
    let uplink = quoted(&plan.uplink);
    rules!["oifname {uplink} udp sport {port} ip daddr . udp dport {{ {places} }} accept"]
}

/// There is no router between the ends of a link, so ICMP errors about its traffic are dropped.
pub(super) fn error_of_links() -> Vec<NftRule> {
    rules!["ct original ip saddr {LINKS} ct reply ip saddr {LINKS} goto stray_error"]
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_appliance::{Appliance, Unit, UnitSource};

    use crate::on_board::OnBoard;
    use crate::paths::BoardAllows;
    use crate::router::firewall::table;
    use crate::router::plan::RouterNeighbour;

    const LINES: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n[cluster]\nboards = 4\n\
        [[policy]]\nfrom = \"path\"\nto = [\"board-2\", \"router\"]\nprotocol = \"tcp\"\nports = [80]\n\
        [[policy]]\nfrom = [\"board-2\", \"router\"]\nto = \"path\"\nprotocol = \"udp\"\nports = [53]\n";

    fn unit(name: &str, ports: &str) -> Unit {
        let text = format!(
            "name = \"{name}\"\nexec = \"/a\"\nuser = \"extra-1\"\nports = {{ {ports} }}\nsandbox.network = \"host\"\n"
        );
        UnitSource::parse("unit.toml".into(), text).unwrap().unit
    }

    fn chains(units: &[Unit], at: &[Option<&str>]) -> std::collections::BTreeMap<String, String> {
        let appliance = Appliance::parse("appliance.toml", LINES).unwrap();
        let settings = appliance.cluster_settings().unwrap();
        let mut plan = RouterPlan::new(&settings, units).unwrap();
        let neighbour = |at: &Option<&str>| RouterNeighbour {
            name: "hill".into(),
            at: at.map(|at| at.parse().unwrap()),
        };
        plan.neighbours = at.iter().map(neighbour).collect();
        let forward = PathDevices::of(units, BoardAllows::default());
        let chains = table(&plan, &OnBoard::of(units), forward.as_ref(), false).chains;
        chains.into_iter().map(|(name, chain)| (name, chain.to_string())).collect()
    }

    fn forward() -> Vec<Unit> {
        vec![unit("forward", "links = \"udp/51820\", control = \"udp/4042\", path = \"udp/4043\"")]
    }

    fn positions<'a>(chain: &str, rules: impl IntoIterator<Item = &'a str>) -> Vec<usize> {
        let at = |rule| chain.find(rule).unwrap_or_else(|| panic!("{rule}\n{chain}"));
        rules.into_iter().map(at).collect()
    }

    /// The device is checked before established flows are accepted.
    #[test]
    fn devices_are_asked_before_flows() {
        let chains = chains(&forward(), &[Some("203.0.113.7:51820")]);
        let input = [
            "iifname \"f*\" goto by_forward",
            "ip6 daddr fc00::/8",
            "ct state vmap",
            "goto refuse",
        ];
        assert!(positions(&chains["input"], input).is_sorted());
        let handed_on = [
            "iifname \"f*\" iifname != \"fp*\" counter name denied_by_path drop",
            "oifname \"f*\" oifname != \"fp*\" counter name no_path drop",
            "ct state vmap",
            "iifname \"eth2\" oifname \"fp*\" udp dport 53 goto policy_",
            "iifname \"fp*\" oifname \"eth2\" tcp dport 80 goto policy_",
        ];
        assert!(positions(&chains["forward"], handed_on).is_sorted());
        let output = [
            "oifname != \"fl*\" oifname != fin",
            "oifname lo goto on_board",
            "oifname \"f*\" goto to_forward",
            "ct state vmap",
        ];
        assert!(positions(&chains["output"], output).is_sorted());
        assert!(chains["by_path"].contains("    tcp dport 80 goto policy_"));
        for device in ["\"fp*\"", "fout"] {
            assert!(
                chains["to_forward"]
                    .contains(&format!("oifname {device} udp dport 53 goto policy_"))
            );
        }
        // No rule is about other devices than those of paths.
        let all: String = chains.values().cloned().collect();
        assert!(
            all.lines()
                .filter(|rule| rule.contains("goto policy_"))
                .all(|rule| !rule.contains("\"f*\""))
        );
    }

    /// Except within the node itself.
    #[test]
    fn no_error_is_taken_unasked() {
        let chains = chains(&forward(), &[Some("203.0.113.7:51820")]);
        for (name, rules) in chains.iter().filter(|(name, _)| *name != "on_board") {
            let takes = ["established,related accept", "related accept", "related : accept"];
            assert!(!takes.iter().any(|rule| rules.contains(rule)), "{name}: {rules}");
        }
        let asked = ["ct original ip saddr 100.64.0.0/10", "iifname . ct reply ip saddr @boards4"];
        assert!(positions(&chains["error_in"], asked).is_sorted());
        assert!(chains["by_link"].contains("related } counter name denied_by_path drop"));
        assert!(chains["by_path"].contains("ct reply ip6 saddr fc00::/8 goto known_error"));
        assert!(chains["to_forward"].contains("related : goto error "));
    }

    #[test]
    fn without_the_unit_there_is_nothing_of_it() {
        let chains = chains(&[], &[Some("203.0.113.7:51820"), None]);
        assert!(!chains.contains_key("by_forward") && !chains.contains_key("to_forward"));
        assert!(["input", "output"].iter().all(|chain| !chains[*chain].contains("\"f*\"")));
        assert!(!chains["input"].contains("51820") && !chains["error_in"].contains("100.64"));
    }

    #[test]
    fn from_where_neighbours_are_and_from_nowhere_else() {
        let input = |at: &[Option<&str>]| {
            let all = chains(&forward(), at);
            let of = |chain: &str| -> Vec<String> {
                let rules = all[chain].lines().filter(|rule| rule.contains("51820"));
                rules.map(|rule| rule.trim().to_owned()).collect()
            };
            (of("input"), of("output"))
        };
        assert_eq!(input(&[]), (vec![], vec![]));
        let known = |places: &str| {
            format!(
                "iifname \"eth0\" ip saddr {{ {places} }} udp dport 51820 counter name links accept"
            )
        };
        let out = |places: &str| {
            format!("oifname \"eth0\" udp sport 51820 ip daddr . udp dport {{ {places} }} accept")
        };
        assert_eq!(
            input(&[
                Some("203.0.113.7:4500"),
                Some("198.51.100.1:51820"),
                Some("203.0.113.7:4501")
            ]),
            (
                vec![known("198.51.100.1, 203.0.113.7")],
                vec![out("198.51.100.1 . 51820, 203.0.113.7 . 4500, 203.0.113.7 . 4501")]
            )
        );
        let (anybody, to) = input(&[Some("203.0.113.7:4500"), None]);
        assert_eq!(to, [out("203.0.113.7 . 4500")]);
        assert!(
            anybody[0].contains("limit rate over 1000/second")
                && anybody[0].ends_with("goto too_many")
        );
        assert_eq!(
            anybody[1],
            "iifname \"eth0\" meta nfproto ipv4 udp dport 51820 counter name links accept"
        );
        assert_eq!(anybody.len(), 2);
    }
}
