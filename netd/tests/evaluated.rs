//! Compares the plan with an independent evaluator of the file, which shares no code with netd.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use octet_appliance::{
    Appliance, MASQUERADE_PORTS, MPLS_IN_IP, PeerDescriptor, Protocol, TrafficKind, Unit,
    UnitSource, Zone,
};
use octet_evaluator as evaluator;
use octet_netd::on_board::OnBoard;
use octet_netd::paths::{BoardAllows, PathDevices};
use octet_netd::router::firewall;
use octet_netd::router::kind::FlowKind;
use octet_netd::router::plan::{Decision, RouterPlan};
use proptest::prelude::*;

const RICH: &str = include_str!("../../tests/evaluator/testdata/rich.toml");
const UNITS: [&str; 3] = [
    include_str!("../../tests/evaluator/testdata/cache.toml"),
    include_str!("../../tests/evaluator/testdata/gate.toml"),
    include_str!("../../tests/evaluator/testdata/web.toml"),
];

/// A descriptor, from the fuzzing corpus of its parser.
const DESCRIPTOR: &[u8] = include_bytes!("../../tests/fuzz/corpus/certificate/card");

/// The unit that has links.
const FORWARD: &str =
    "name = \"forward\"\n[ports]\nlinks = \"udp/51820\"\ncontrol = \"udp/4042\"\n";

/// The unit that talks to a router with OpenWrt.
const ROUTER: &str = "name = \"router\"\n";

/// Sections that a build needs, and that have no effect here.
const IMAGE: &str = "[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n";

/// Units with the ports of these unit files.
fn units(texts: &[&str]) -> Vec<Unit> {
    let unit = |text: &str| {
        let table: toml::Table = text.parse().unwrap();
        let ports = table.get("ports").map(|ports| toml::to_string(ports).unwrap());
        let ports = ports.unwrap_or_default();
        let ports: String = ports.lines().map(|line| format!("ports.{line}\n")).collect();
        let text = format!(
            "name = {}\nexec = \"/a\"\nuser = \"extra-1\"\n{ports}sandbox.network = \"host\"\n",
            table["name"]
        );
        UnitSource::parse("unit.toml".into(), text).unwrap().unit
    };
    texts.iter().map(|text| unit(text)).collect()
}

fn plan(text: &str, units_of: &[&str]) -> RouterPlan {
    let text = format!("{text}\n{IMAGE}");
    let appliance =
        Appliance::parse("appliance.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let settings = appliance.cluster_settings().unwrap();
    let units = units(units_of);
    RouterPlan::new(&settings, &units).unwrap()
}

fn zone(zone: evaluator::Zone) -> Zone {
    match zone {
        evaluator::Zone::Board(number) => Zone::Board(number),
        evaluator::Zone::Router => Zone::Router,
        evaluator::Zone::Lan => Zone::Lan,
        evaluator::Zone::Uplink => Zone::Uplink,
        evaluator::Zone::Path => Zone::Path,
    }
}

fn traffic(traffic: evaluator::Traffic) -> (TrafficKind, u16) {
    match traffic {
        evaluator::Traffic::Tcp(port) => (TrafficKind::Tcp, port),
        evaluator::Traffic::Udp(port) => (TrafficKind::Udp, port),
        evaluator::Traffic::Ping => (TrafficKind::Ping, 0),
        evaluator::Traffic::Protocol(number) => (TrafficKind::Number(number), 0),
    }
}

/// The plan's decision about every probe of the evaluator.
fn table(plan: &RouterPlan, expected: &evaluator::Table) -> evaluator::Table {
    let says = |(from, to, what, _): &evaluator::Probe| {
        let (kind, port) = traffic(*what);
        match plan.decide((zone(*from), zone(*to), kind), port, None) {
            Decision::Allowed(_) | Decision::Neighbour(_) => Some(*to),
            Decision::Published { board, .. } => Some(evaluator::Zone::Board(board)),
            Decision::Denied => None,
        }
    };
    expected.keys().map(|probe| (*probe, says(probe))).collect()
}

/// Traffic to DHCP clients is decided by the guard, and not by the plan.
fn is_of_plan(probe: &evaluator::Probe) -> bool {
    !matches!(probe.2, evaluator::Traffic::Udp(68 | 546))
}

/// All zones of the box, and paths.
fn expected(world: &evaluator::World) -> evaluator::Table {
    let zones: Vec<_> = world.zones().into_iter().chain([evaluator::Zone::Path]).collect();
    let mut table = world.table_between(&zones, &world.worth_a_probe());
    table.retain(|probe, _| is_of_plan(probe));
    table
}

#[test]
fn a_box_with_every_kind_of_line() {
    let world = evaluator::World::read(RICH, &UNITS).unwrap();
    let expected = expected(&world);
    let found = table(&plan(RICH, &UNITS), &expected);
    let differences = evaluator::compare(&expected, &found);
    assert!(differences.is_empty(), "{differences:#?}");
    let arrive = expected.values().flatten().count();
    println!("{} probes, {arrive} arrive", expected.len());
    assert!(arrive > 100 && arrive * 2 < expected.len());

    // A mistake in the plan would be found.
    let mut caught = BTreeMap::new();
    for fault in evaluator::FAULTS {
        let faulty = fault.plant(&world, &found);
        caught.insert(fault.name, evaluator::compare(&expected, &faulty).len());
    }
    println!("{caught:#?}");
    assert!(caught.len() >= 20 && caught.values().all(|differences| *differences > 0));
}

/// The policy that is suggested for a denied flow really allows it; and every flow between existing
/// zones can be allowed, except what no policy accepts.
#[test]
fn a_denied_flow_is_let_by_the_lines_that_are_shown() {
    let world = evaluator::World::read(RICH, &UNITS).unwrap();
    let rich = plan(RICH, &UNITS);
    let mut shown = 0;
    let denied = expected(&world).into_iter().filter(|(_, to)| to.is_none());
    for (index, ((from, to, what, _), _)) in denied.enumerate() {
        let ((from, to), (traffic, port)) = ((zone(from), zone(to)), traffic(what));
        let Some(policy) = rich.policy(from, to, FlowKind { traffic, port }) else { continue };
        shown += 1;
        // Only some: each is a whole file.
        if index % 41 == 0 {
            let with = plan(&format!("{RICH}\n{policy}\n"), &UNITS);
            assert_ne!(with.decide((from, to, traffic), port, None), Decision::Denied, "{policy}");
        }
    }
    assert!(shown > 100, "{shown}");
    let (one, two) = (Zone::Board(1), Zone::Board(2));
    let mpls = FlowKind { traffic: TrafficKind::Number(MPLS_IN_IP), port: 0 };
    let kept = FlowKind::tcp(MASQUERADE_PORTS.first);
    for (from, to, kind) in [
        (one, one, FlowKind::PING),
        (one, Zone::Board(99), FlowKind::PING),
        (one, Zone::Router, mpls),
        (Zone::Uplink, Zone::Router, kept),
        (one, two, FlowKind::tcp(0)),
        (one, two, FlowKind { traffic: TrafficKind::Number(44), port: 0 }),
    ] {
        assert_eq!(rich.policy(from, to, kind), None, "{from} {to} {kind}");
    }
    let text = "[[policy]]\nfrom = \"board-1\"\nto = \"board-2\"\nprotocol = \"tcp\"\nports = 80";
    assert_eq!(rich.policy(one, two, FlowKind::tcp(80)).as_deref(), Some(text));
}

/// Only the coordinator reaches the router's web server, and only if its unit `router` exists and
/// has the address.
#[test]
fn the_manager_speaks_to_the_router() {
    let print = "07".repeat(32);
    let contact = |address: &str| {
        format!(
            "{{ kind = \"openwrt\", address = \"{address}\", fingerprint = \"sha256:{print}\" }}"
        )
    };
    let with_unit: Vec<_> = UNITS.into_iter().chain([ROUTER]).collect();
    for (router, units_of, port) in [
        (contact("192.168.1.1"), &with_unit[..], Some(443)),
        (contact("router.lan:8443"), &with_unit, Some(8443)),
        (contact("fd00::1"), &with_unit, Some(443)),
        (contact("[fd00::1]:444"), &with_unit, Some(444)),
        (contact("192.168.1.1:8443"), &UNITS, None),
        ("\"openwrt\"".to_owned(), &with_unit, None),
        ("\"octet\"".to_owned(), &with_unit, None),
    ] {
        let role = if router.contains("openwrt") { "manager" } else { "other" };
        let text = format!(
            "[appliance]\nname = \"octet\"\n[cluster]\nboards = 4\nrouter = {router}\n[lan]\n[[board]]\nnumber = 2\nrole = \"{role}\"\n"
        );
        let world = evaluator::World::read(&text, units_of).unwrap();
        let mut expected = expected(&world);
        // Adjacent ports are checked too, also where nothing is allowed.
        let versions = [evaluator::Version::V4, evaluator::Version::V6];
        for from in world.zones().into_iter().filter(|it| *it != evaluator::Zone::Router) {
            for what in [442, 443, 444, 445, 8442, 8443, 8444].map(evaluator::Traffic::Tcp) {
                for version in versions {
                    let to = evaluator::Zone::Router;
                    let reaches = world.reaches(from, to, what, version);
                    let is_let = from == evaluator::Zone::Board(2)
                        && port.map(evaluator::Traffic::Tcp) == Some(what);
                    assert_eq!(reaches.is_some(), is_let, "{router}: {from} by {what}");
                    expected.insert((from, to, what, version), reaches);
                }
            }
        }
        let plan = plan(&text, units_of);
        let differences = evaluator::compare(&expected, &table(&plan, &expected));
        assert!(differences.is_empty(), "{router}\n{differences:#?}");
        let said: Vec<_> = plan.report();
        let said = said.iter().find(|line| line.starts_with("manager-router"));
        let wanted = port.map(|port| format!("manager-router board-2 to router: tcp {port}"));
        assert_eq!(said, wanted.as_ref(), "{router}");
    }
}

/// The text of a policy.
fn policy((from, to, what, first, more): (u8, u8, u8, u16, u16)) -> String {
    let zones = [
        "board-1",
        "board-2",
        "board-4",
        "boards",
        "role:front",
        "lan",
        "uplink",
        "router",
        "path",
    ];
    let (from, to) = (zones[usize::from(from) % 9], zones[usize::from(to) % 9]);
    let (from, to) = if from == to { ("lan", "boards") } else { (from, to) };
    let is_link = [from, to].iter().all(|who| who.contains("board") || who.contains("role"));
    let mut text = format!("[[policy]]\nfrom = \"{from}\"\nto = [\"{to}\"]\n");
    let _ = match what % 7 {
        6 if is_link => writeln!(text, "protocol = \"mpls-in-ip\""),
        0 => writeln!(text, "protocol = \"icmp\""),
        1 => writeln!(text, "protocol = {}", 47 + first % 3),
        2 => writeln!(text, "service = \"web.http\""),
        3 => writeln!(text, "protocol = \"tcp\"\nports = [{first}]"),
        4 => writeln!(text, "protocol = \"udp\"\nports = [\"{first}-{}\"]", first + more),
        _ => writeln!(text, "protocol = \"tcp\"\nports = [\"{first}-{}\", 4040]", first + more),
    };
    text
}

/// In the rules for the kernel, no packet of the lan leaves by the uplink's device, and no packet
/// of nodes that use this router as exit reaches the inside, whatever the policies.
fn passes_nothing_by(plan: &RouterPlan, units: &[Unit]) {
    let forward = PathDevices::of(units, BoardAllows::default());
    let table = firewall::table(plan, &OnBoard::of(units), forward.as_ref(), false);
    let (lan, uplink) = ("\"eth5\"", "\"eth0\"");
    let maps = table.sets.iter().filter(|set| set.name.starts_with("forward_"));
    for element in maps.flat_map(|map| &map.elements) {
        let mut devices = element.split(" . ").map(|it| it.split(" : ").next().unwrap());
        let (from, to) = (devices.next().unwrap(), devices.next().unwrap());
        assert!((from, to) != (lan, uplink) && (from, to) != (uplink, lan), "{element}");
        assert!(to != "\"fvpn\"" || from == lan, "{element}");
        assert!(!from.starts_with("\"f") && !to.starts_with("\"fx"), "{element}");
    }
    let chain = table.chain("forward").unwrap().to_string();
    let at = |rule: &str| chain.find(rule).unwrap_or_else(|| panic!("{rule}: {chain}"));
    let flows = at("ct state vmap");
    for (from, to) in [(lan, uplink), (uplink, lan)] {
        assert!(at(&format!("iifname {from} oifname {to} goto refuse")) < flows);
    }
    assert!(
        at(&format!("oifname {uplink} ip6 daddr {{ {}, fc00::/8 }} goto refuse", plan.network6))
            < flows
    );
    let output = table.chain("output").unwrap().to_string();
    let own = output.find("ct original ip saddr 10.20.250.2-10.20.250.254 goto refuse_own");
    assert!(own.unwrap() < output.find("ct state vmap").unwrap(), "{output}");
    assert!(at(&format!("iifname \"fvpn\" oifname != {lan} counter")) < flows);
    assert!(at(&format!("oifname \"fvpn\" iifname != {lan} counter")) < flows);
    for rule in chain.lines().filter(|rule| rule.contains("\"fx*\"") && rule.contains("goto")) {
        assert!(rule.trim().starts_with(&format!("iifname \"fx*\" oifname {uplink} ")), "{rule}");
        assert!(at(&format!("iifname \"fx*\" oifname != {uplink} counter")) < flows);
        assert!(at(&format!("oifname \"fx*\" iifname != {uplink} counter")) < flows);
        assert!(at("iifname \"fx*\" fib saddr . iif oif missing counter") < flows);
    }
}

/// A port that accepts flows from outside is used as source port by nobody else, and the ports of
/// masquerading accept none.
fn ports_are_apart(world: &evaluator::World, plan: &RouterPlan) {
    let router = (evaluator::Zone::Uplink, evaluator::Zone::Router);
    let has = |protocol, port: u16| {
        let reserved = plan.reserved(protocol);
        assert!(reserved.windows(2).all(|two| two[0].last < two[1].first), "{reserved:?}");
        reserved.iter().any(|it| it.contains(port))
    };
    for what in world.worth_a_probe() {
        let (protocol, port) = match what {
            evaluator::Traffic::Tcp(port) => (Protocol::Tcp, port),
            evaluator::Traffic::Udp(port) => (Protocol::Udp, port),
            _ => continue,
        };
        let is_heard = world.reaches(router.0, router.1, what, evaluator::Version::V4).is_some();
        // The DHCP client receives there.
        let is_dhcp = (protocol, port) == (Protocol::Udp, 68);
        assert_eq!(has(protocol, port), is_heard || is_dhcp, "{what}");
    }
    for port in MASQUERADE_PORTS.first..=MASQUERADE_PORTS.last {
        assert!(!has(Protocol::Tcp, port) && !has(Protocol::Udp, port));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The lan leaves by another node, and others may use this router as exit.
    #[test]
    fn boxes_with_a_vpn(
        lines in prop::collection::vec((0..9u8, 0..9u8, 0..6u8, 50..70u16, 0..9u16), 0..7),
    ) {
        let descriptor = PeerDescriptor::from_bytes(DESCRIPTOR).unwrap();
        let mut text = String::from(
            "[appliance]\nname = \"octet\"\n[cluster]\nboards = 4\n[lan]\n[[board]]\nnumber = 1\nrole = \"front\"\n[[board]]\nnumber = 3\nrole = \"front\"\n"
        );
        text.extend(lines.into_iter().map(policy));
        let _ = writeln!(text, "[vpn]\nexit = \"hill\"\n[[neighbour]]\nname = \"hill\"\ndescriptor = \"{descriptor}\"");
        let units_of: Vec<_> = UNITS.into_iter().chain([FORWARD]).collect();
        let world = evaluator::World::read(&text, &units_of).unwrap();
        let mut expected = expected(&world);
        // The plan does not distinguish IP versions: IPv6 of the lan has no route outside.
        let (lan, outside) = (evaluator::Zone::Lan, evaluator::Zone::Uplink);
        let has_route = |(from, to, _, version): &evaluator::Probe| {
            (*from, *to, *version) != (lan, outside, evaluator::Version::V6)
        };
        prop_assert!(expected.iter().all(|(probe, to)| has_route(probe) || to.is_none()));
        expected.retain(|probe, _| has_route(probe));
        let plan = plan(&text, &units_of);
        let found = table(&plan, &expected);
        let differences = evaluator::compare(&expected, &found);
        prop_assert!(differences.is_empty(), "{}\n{:#?}", text, differences);
        let zones = world.zones();
        for (from, to) in zones.iter().flat_map(|from| zones.iter().map(move |to| (*from, *to))) {
            prop_assert_eq!(plan.outgoing_device(zone(from), zone(to)), world.leaves_by(from, to));
        }
        passes_nothing_by(&plan, &units(&units_of));
    }

    #[test]
    fn boxes_by_chance(
        boards in prop::sample::select(vec![4u8, 8]),
        manager in prop::option::of(prop::sample::select(vec![2u8, 4])),
        lines in prop::collection::vec((0..9u8, 0..9u8, 0..7u8, 50..70u16, 0..9u16), 0..7),
    ) {
        let mut text = format!(
            "[appliance]\nname = \"octet\"\n[cluster]\nboards = {boards}\n$router[lan]\n\
             [[board]]\nnumber = 1\nrole = \"front\"\nport = 3\n[[board]]\nnumber = 3\nport = 1\nrole = \"front\"\n"
        );
        let router = if manager.is_some() { "router = \"openwrt\"\n" } else { "" };
        text = text.replace("$router", router);
        text.extend(manager.map(|number| format!("[[board]]\nnumber = {number}\nrole = \"manager\"\n")));
        text.extend(lines.into_iter().map(policy));
        let world = evaluator::World::read(&text, &UNITS).unwrap();
        let expected = expected(&world);
        let found = table(&plan(&text, &UNITS), &expected);
        let differences = evaluator::compare(&expected, &found);
        prop_assert!(differences.is_empty(), "{}\n{:#?}", text, differences);
    }

    /// A link of the router's own to another box, or of a board's, beside other policies.
    #[test]
    fn boxes_with_neighbours(
        port in prop::option::of(prop::sample::select(vec![51820u16, 53, 55, 4500])),
        board in prop::option::of(1..=2u8),
        forwards: bool,
        lines in prop::collection::vec((0..9u8, 0..9u8, 0..6u8, 50..70u16, 0..9u16), 0..4),
    ) {
        let descriptor = PeerDescriptor::from_bytes(DESCRIPTOR).unwrap();
        let mut text = String::from(
            "[appliance]\nname = \"octet\"\n[cluster]\nboards = 4\n[lan]\n[[board]]\nnumber = 1\nrole = \"front\"\n[[board]]\nnumber = 3\nrole = \"front\"\n"
        );
        text.extend(lines.into_iter().map(policy));
        text += "[[publish]]\nport = \"udp/51821\"\nto = \"board-1\"\nat = \"udp/51820\"\n\
                 [[publish]]\nport = \"udp/51822\"\nto = \"board-2\"\nat = \"udp/51820\"\n";
        let _ = writeln!(text, "[[neighbour]]\nname = \"hill\"\ndescriptor = \"{descriptor}\"");
        text.extend(port.map(|port| format!("at = \"203.0.113.7:{port}\"\n")));
        text.extend(board.map(|board| format!("board = {board}\n")));
        let units: Vec<_> = UNITS.into_iter().chain(forwards.then_some(FORWARD)).collect();
        let world = evaluator::World::read(&text, &units).unwrap();
        let mut expected = expected(&world);
        // Ports adjacent to that of links are checked too, also where nothing is allowed.
        for port in [51819, 51820, 51821] {
            for (from, to) in [(evaluator::Zone::Uplink, evaluator::Zone::Router), (evaluator::Zone::Router, evaluator::Zone::Uplink)] {
                let (what, version) = (evaluator::Traffic::Udp(port), evaluator::Version::V4);
                expected.insert((from, to, what, version), world.reaches(from, to, what, version));
            }
        }
        let found = table(&plan(&text, &units), &expected);
        let differences = evaluator::compare(&expected, &found);
        prop_assert!(differences.is_empty(), "{}\n{:#?}", text, differences);
        ports_are_apart(&world, &plan(&text, &units));
    }
}
