//! The devices of the unit `forward` on a router: what comes by them is asked as on a board (`crate::paths`), and
//! what leaves needs a rule, as everything of a router's own does. Between its ports and them only paths
//! themselves count: who comes by another one has shown nobody who he is.

use octet_appliance::{MPLS_IN_IP, Traffic, Zone};

use super::super::plan::Plan;
use super::super::text::{list, quoted};
use super::standing::NEW_FLOWS;
use super::{chain, leaving};
use crate::paths::{self, END_PORTS, ENDS, Paths};

/// The insides of paths (docs/ARCHITECTURE.md lists who has which devices).
pub(super) const PATH: &str = "fp*";

/// By it leaves what is for a node to which there is no path yet: the unit hears of it.
const OUT: &str = "fout";

/// A direction of travel that a chain is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chain {
    /// To the router itself, from a path.
    Input,
    /// From one port to another.
    Forward,
    /// From the router itself.
    Output,
}

/// Fills the places in `rules` that are the unit's: with nothing, if the image does not have it.
pub(super) fn fill(rules: &str, plan: &Plan, forward: Option<&Paths>) -> String {
    let with = |rule: &dyn Fn(&Paths) -> String| forward.map(rule).unwrap_or_default();
    rules
        .replace("    $by_forward\n", &with(&|_| paths::input()))
        .replace("    $handed_on\n", &leaving::handed_on(plan, forward.is_some()))
        .replace("    $new_of_places\n", &with(&|_| leaving::new(plan)))
        .replace(
            "    $error_of_links\n",
            &with(&|_| ERROR_OF_LINKS.replace("$links", paths::LINKS)),
        )
        .replace("    $error_by_path\n", &with(&|_| leaving::errors(plan)))
        .replace("    $as_one\n", &with(&|_| leaving::masquerade(plan)))
        .replace("    $no_path\n", &with(&|_| paths::output()))
        .replace("    $to_forward\n", &with(&|_| TO_DEVICES.to_owned()))
        .replace("    $links_in\n", &with(&|forward| links_in(plan, forward)))
        .replace("    $links_out\n", &with(&|forward| links_out(plan, forward)))
        .replace("    $path_forward\n", &lines(plan, Chain::Forward))
}

/// The chains behind these.
pub(super) fn chains(plan: &Plan, forward: &Paths) -> String {
    let out = |rule: &str, port: Option<u16>| {
        port.map_or_else(String::new, |port| format!("    {rule} udp dport {port} accept\n"))
    };
    let [tunnels_in, tunnels_out] = leaving::tunnels(plan);
    let to_forward = TO_FORWARD
        .replace("    @control\n", &out("oifname fwg", forward.control))
        .replace("    @path\n", &out("oifname \"fp*\"", forward.path))
        .replace("    @lines\n", &(tunnels_out + &lines(plan, Chain::Output)))
        .replace("$mpls", &MPLS_IN_IP.to_string())
        .replace("$ends", ENDS)
        .replace("$end_ports", &END_PORTS.to_string());
    forward.chains(&(tunnels_in + &lines(plan, Chain::Input))) + &to_forward
}

/// What lines let between paths and the zones of `way`: devices of paths come and go, so these are rules.
fn lines(plan: &Plan, way: Chain) -> String {
    let mut rules = String::new();
    for ((from, to, traffic), lets) in &plan.lets {
        let devices: Vec<String> = match (way, from, to) {
            // Who asks has seen to the device.
            (Chain::Input, Zone::Path, Zone::Router) => vec![String::new()],
            (Chain::Output, Zone::Router, Zone::Path) => {
                [quoted(PATH), OUT.into()].map(|device| format!("oifname {device} ")).into()
            }
            (Chain::Forward, Zone::Path, to) if *to != Zone::Router => {
                // Whoever leaves by this router comes by a tunnel within paths.
                let by = if *to == Zone::Uplink { leaving::PLACES } else { PATH };
                let to = plan.device(*to).map(quoted);
                to.map(|to| format!("iifname \"{by}\" oifname {to} ")).into_iter().collect()
            }
            (Chain::Forward, from, Zone::Path) if *from != Zone::Router => {
                let from = plan.device(*from).map(quoted);
                from.map(|from| format!("iifname {from} oifname \"{PATH}\" ")).into_iter().collect()
            }
            _ => continue,
        };
        for it in lets {
            let kinds = match traffic {
                Traffic::Tcp | Traffic::Udp => vec![format!("{traffic} dport {}", it.ports)],
                Traffic::Ping => {
                    vec!["icmp type echo-request".into(), "icmpv6 type echo-request".into()]
                }
                Traffic::Number(number) => vec![format!("meta l4proto {number}")],
            };
            for kind in kinds {
                for devices in &devices {
                    rules += &format!("    {devices}{kind} goto {}\n", chain(plan, it.by));
                }
            }
        }
    }
    rules
}

/// Links to other boxes, by the uplink: from there, if no more is known of who may be one, so many new flows in a
/// second, as from a board. WireGuard finds out who it is.
fn links_in(plan: &Plan, forward: &Paths) -> String {
    let (Some(port), false) = (forward.links, plan.neighbours.is_empty()) else {
        return String::new();
    };
    let uplink = quoted(&plan.uplink);
    let known: Option<Vec<_>> = plan.neighbours.iter().map(|it| it.at.map(|at| *at.ip())).collect();
    match known {
        Some(mut known) => {
            known.sort_unstable();
            known.dedup();
            format!(
                "    iifname {uplink} ip saddr {{ {} }} udp dport {port} counter name links accept\n",
                list(known)
            )
        }
        None => {
            let flows = format!("iifname {uplink} meta nfproto ipv4 udp dport {port}");
            let limit = format!("limit rate over {NEW_FLOWS}/second burst {NEW_FLOWS} packets");
            format!(
                "    {flows} update @new_flows {{ iifname {limit} }} goto too_many\n    {flows} counter name links accept\n"
            )
        }
    }
}

/// The other direction: to those of whom it is known where they are.
fn links_out(plan: &Plan, forward: &Paths) -> String {
    let mut known: Vec<_> = plan.neighbours.iter().filter_map(|it| it.at).collect();
    known.sort_unstable();
    known.dedup();
    let (Some(port), false) = (forward.links, known.is_empty()) else { return String::new() };
    let places = list(known.iter().map(|at| format!("{} . {}", at.ip(), at.port())));
    let uplink = quoted(&plan.uplink);
    format!("    oifname {uplink} udp sport {port} ip daddr . udp dport {{ {places} }} accept\n")
}

/// On a link nobody is on the way: an error about what is said there is about nothing.
const ERROR_OF_LINKS: &str =
    "    ct original ip saddr $links ct reply ip saddr $links goto stray_error\n";

/// What the router sends by these devices is asked by itself.
const TO_DEVICES: &str = "    oifname \"f*\" goto to_forward\n";

/// What the unit itself says, and what lines let to paths. Packets that leave a tunnel pass here once more, as
/// those of the device that carries it.
const TO_FORWARD: &str = "  chain to_forward {
    ct state vmap { established : accept, related : goto error }
    oifname fwg ip protocol $mpls accept
    @control
    oifname \"fl*\" ip daddr $ends udp dport $end_ports accept
    @path
    @lines
    goto refuse_own
  }
";

#[cfg(test)]
mod tests {
    use super::*;
    use octet_appliance::{Appliance, Segments, Unit, UnitSource};

    use crate::on_board::OnBoard;
    use crate::router::firewall::table;
    use crate::router::plan::Neighbour;

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
        let (segments, _) = Segments::of(&settings, &[], ("appliance.toml", LINES)).unwrap();
        let mut plan = Plan::new(&settings, &segments, units);
        let neighbour = |at: &Option<&str>| Neighbour {
            name: "hill".into(),
            at: at.map(|at| at.parse().unwrap()),
        };
        plan.neighbours = at.iter().map(neighbour).collect();
        let forward = Paths::of(units, paths::Lets::default());
        table(&plan, &OnBoard::of(units), forward.as_ref(), false).chains
    }

    fn forward() -> Vec<Unit> {
        vec![unit("forward", "links = \"udp/51820\", control = \"udp/4042\", path = \"udp/4043\"")]
    }

    fn positions<'a>(chain: &str, rules: impl IntoIterator<Item = &'a str>) -> Vec<usize> {
        let at = |rule| chain.find(rule).unwrap_or_else(|| panic!("{rule}\n{chain}"));
        rules.into_iter().map(at).collect()
    }

    /// Before anything that belongs to a flow is let, it is asked by which device it came.
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
        // Of other devices than those of paths no line speaks.
        let all: String = chains.values().cloned().collect();
        assert!(
            all.lines()
                .filter(|rule| rule.contains("goto policy_"))
                .all(|rule| !rule.contains("\"f*\""))
        );
    }

    /// But within the node itself.
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
