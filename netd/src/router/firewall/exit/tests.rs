use std::collections::BTreeMap;

use octet_appliance::{Appliance, ExitNode, Unit, UnitSource, Vpn};

use super::super::super::plan::RouterPlan;
use super::super::super::table::NftTable;
use super::super::table;
use crate::on_board::OnBoard;
use crate::paths::{BoardAllows, PathDevices};

const BEGINS: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n[cluster]\nboards = 4\n[lan]\n";

/// Policies between the owner's devices and the outside.
const LAN: &str = "[[policy]]\nfrom = [\"lan\", \"board-1\"]\nto = \"uplink\"\nprotocol = \"tcp\"\nports = [80]\n\
                   [[policy]]\nfrom = \"lan\"\nto = \"uplink\"\nprotocol = \"icmp\"\n\
                   [[policy]]\nfrom = \"uplink\"\nto = \"lan\"\nprotocol = \"tcp\"\nports = [22]\n";

/// Policies for nodes that use this router as exit.
const OUT: &str = "[[policy]]\nfrom = \"path\"\nto = \"uplink\"\nprotocol = \"udp\"\nports = [\"50-60\"]\nrate = 9\n";

fn forward() -> Unit {
    let text = "name = \"forward\"\nexec = \"/a\"\nuser = \"extra-1\"\nports.path = \"udp/4043\"\nsandbox.network = \"host\"\n";
    UnitSource::parse("unit.toml".into(), text.into()).unwrap().unit
}

fn plan(lines: &str, vpn: bool, units: &[Unit]) -> RouterPlan {
    let text = format!("{BEGINS}{lines}");
    let appliance = Appliance::parse("appliance.toml", &text).unwrap();
    let mut settings = appliance.cluster_settings().unwrap();
    settings.vpn = vpn.then(|| Vpn { exit: ExitNode::Node("fc00::1".parse().unwrap()) });
    RouterPlan::new(&settings, units).unwrap()
}

fn made(lines: &str, vpn: bool, units: &[Unit]) -> NftTable {
    let forward = PathDevices::of(units, BoardAllows::default());
    table(&plan(lines, vpn, units), &OnBoard::of(units), forward.as_ref(), false)
}

/// The rules of a chain, as text.
fn chain(table: &NftTable, name: &str) -> String {
    table.chain(name).unwrap().to_string()
}

fn positions<'a>(chain: &str, rules: impl IntoIterator<Item = &'a str>) -> Vec<usize> {
    let at = |rule| chain.find(rule).unwrap_or_else(|| panic!("{rule}\n{chain}"));
    rules.into_iter().map(at).collect()
}

/// The elements of a map, each with its key.
fn elements(table: &NftTable, name: &str) -> BTreeMap<String, String> {
    let set = table.sets.iter().find(|set| set.name == name).unwrap();
    let pairs = set.elements.iter().map(|it| it.split_once(" : ").unwrap());
    pairs.map(|(key, verdict)| (key.to_owned(), verdict.to_owned())).collect()
}

/// Policies from the lan to the outside apply to the VPN's device, and nothing is forwarded between
/// the lan and the uplink's device, not even within established flows. This holds without the unit,
/// too.
#[test]
fn the_lan_leaves_by_the_vpn_alone() {
    for units in [&[forward()][..], &[]] {
        let with = made(LAN, true, units);
        let without = made(LAN, false, units);
        let keys =
            |table: &NftTable, map: &str| elements(table, map).into_keys().collect::<Vec<_>>();
        assert_eq!(
            keys(&with, "forward_port"),
            ["\"eth1\" . \"eth0\" . tcp . 80", "\"eth5\" . \"fvpn\" . tcp . 80"]
        );
        assert_eq!(keys(&with, "forward_ping"), ["\"eth5\" . \"fvpn\""]);
        assert_eq!(keys(&without, "forward_ping"), ["\"eth5\" . \"eth0\""]);
        assert!(keys(&without, "forward_port").contains(&"\"eth0\" . \"eth5\" . tcp . 22".into()));
        let refused = [
            "iifname \"eth5\" oifname \"eth0\" goto refuse",
            "iifname \"eth0\" oifname \"eth5\" goto refuse",
            "ct state vmap",
        ];
        assert!(positions(&chain(&with, "forward"), refused).is_sorted());
        assert!(!chain(&without, "forward").contains("iifname \"eth5\""));
        assert_eq!(
            chain(&with, "source").contains("oifname \"fvpn\" masquerade"),
            !units.is_empty()
        );
        assert!(!chain(&without, "source").contains("fvpn"));
    }
}

/// The router itself sends nothing by the uplink's device about that traffic, such as ICMP errors:
/// this is checked before established flows are accepted. About other traffic it does.
#[test]
fn the_router_says_nothing_of_the_lan_by_the_uplink() {
    let about =
        ["10.20.250.2-10.20.250.254", "fd6f:6374:6574:fa::2-fd6f:6374:6574:fa:ffff:ffff:ffff:ffff"];
    for units in [&[forward()][..], &[]] {
        let output = chain(&made(LAN, true, units), "output");
        for direction in ["original", "reply"] {
            for (version, about) in ["ip", "ip6"].iter().zip(about) {
                let rule = format!(
                    "oifname \"eth0\" ct {direction} {version} saddr {about} goto refuse_own"
                );
                let rules = [&rule, "ct direction reply jump answer", "ct state vmap"];
                assert!(positions(&output, rules).is_sorted(), "{output}");
            }
        }
        for without in [made(LAN, false, units), made("", false, units)] {
            assert!(!chain(&without, "output").contains("saddr"));
        }
    }
}

/// Packets to addresses that cannot be outside never leave by the uplink's device, not even within
/// established flows, and whether there is a unit `forward` or not.
#[test]
fn nothing_leaves_for_those_who_are_not_outside() {
    let places = "oifname \"eth0\" ip daddr 100.127.255.0/24 goto ";
    for units in [&[forward()][..], &[]] {
        for (lines, is_exit) in [(LAN.to_owned(), false), (format!("{LAN}{OUT}"), true)] {
            let table = made(&lines, false, units);
            for (name, refuse) in [("forward", "refuse\n"), ("output", "refuse_own\n")] {
                let rules = &chain(&table, name);
                for addresses in [
                    "ip daddr { 10.20.0.0/16, 240.0.0.0-255.255.255.254 }",
                    "ip6 daddr { fd6f:6374:6574::/48, fc00::/8 }",
                ] {
                    let rule = format!("oifname \"eth0\" {addresses} goto {refuse}");
                    assert!(positions(rules, [&rule, "ct state vmap"]).is_sorted(), "{rules}");
                }
                assert_eq!(rules.contains(&format!("{places}{refuse}")), is_exit, "{rules}");
            }
        }
    }
}

/// The device and the source are checked before established flows are accepted.
#[test]
fn what_comes_by_tunnels_reaches_one_place() {
    let table = made(&format!("{LAN}{OUT}"), true, &[forward()]);
    let forward = &chain(&table, "forward");
    let asked = [
        "iifname \"f*\" iifname != \"fp*\" iifname != \"fvpn\" iifname != \"fx*\" counter name denied_by_path drop",
        "oifname \"f*\" oifname != \"fp*\" oifname != \"fvpn\" oifname != \"fx*\" counter name no_path drop",
        "iifname \"fvpn\" oifname != \"eth5\" counter name denied_by_path drop",
        "iifname \"fvpn\" ip saddr 10.20.0.0/16 counter name denied_by_path drop",
        "oifname \"fvpn\" iifname != \"eth5\" counter name no_path drop",
        "iifname \"fvpn\" tcp flags syn tcp option maxseg size set 1276",
        "oifname \"fvpn\" tcp flags syn tcp option maxseg size set 1276",
        "iifname \"fx*\" oifname != \"eth0\" counter name denied_by_path drop",
        "iifname \"fx*\" fib saddr . iif oif missing counter name denied_by_path drop",
        "oifname \"fx*\" iifname != \"eth0\" counter name no_path drop",
        "iifname \"eth0\" ip saddr 100.127.255.0/24 counter name denied_by_path drop",
        "ct state vmap",
        "iifname \"fx*\" oifname \"eth0\" udp dport 50-60 goto policy_",
    ];
    assert!(positions(forward, asked).is_sorted(), "{forward}");
    // No other rule is about these devices.
    let lets = forward.lines().filter(|rule| rule.contains("goto policy_") && rule.contains("\"f"));
    assert_eq!(lets.count(), 1, "{forward}");
    assert!(
        chain(&table, "source").contains("oifname \"eth0\" ip saddr 100.127.255.0/24 masquerade")
    );
    assert!(chain(&table, "new").contains("iifname \"fx*\" update @new_flows"));
}

/// The tunnel uses paths, and so do DNS queries; at the exit, the policy that allows the outside
/// applies to them.
#[test]
fn tunnels_and_names_by_paths() {
    let chains = |lines, vpn| {
        let chains = made(lines, vpn, &[forward()]).chains;
        let texts = chains.into_iter().map(|(name, chain)| (name, chain.to_string()));
        texts.collect::<BTreeMap<_, _>>()
    };
    let nobody = chains(LAN, false);
    assert!(!nobody["by_path"].contains("dport 53") && !nobody["by_path"].contains("l4proto 4 "));
    assert!(
        !nobody["to_forward"].contains("dport 53") && !nobody["to_forward"].contains("l4proto")
    );
    let source = chains(LAN, true);
    assert!(source["by_path"].contains("    meta l4proto 4 counter name paths accept\n"));
    assert!(!source["by_path"].contains("dport 53"));
    for rule in [
        "meta l4proto 4 accept",
        "udp dport 53 goto built_in_ask",
        "tcp dport 53 goto built_in_ask",
    ] {
        assert!(source["to_forward"].contains(&format!("    oifname \"fp*\" {rule}\n")), "{rule}");
    }
    let exit = chains(OUT, false);
    let asked = [
        "meta l4proto 4 counter",
        "udp dport 53 limit rate over 1000/second",
        "udp dport 53 goto policy_",
    ];
    assert!(positions(&exit["by_path"], asked).is_sorted());
    assert!(!exit["by_path"].contains("tcp dport 53"));
    assert!(exit["to_forward"].contains("    oifname \"fp*\" meta l4proto 4 accept\n"));
    assert!(!exit["to_forward"].contains("dport 53"));
    // A policy that allows DNS queries to the router itself takes precedence.
    let own = "[[policy]]\nfrom = \"path\"\nto = \"router\"\nprotocol = \"udp\"\nports = [53]\n";
    let plan = plan(&format!("{own}{OUT}"), false, &[forward()]);
    let rules = plan.allowed.rules((
        octet_appliance::Zone::Path,
        octet_appliance::Zone::Router,
        octet_appliance::TrafficKind::Udp,
    ));
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].rule, crate::router::plan::RuleSource::Policy(0));
}
