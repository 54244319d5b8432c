//! The plan against somebody who reads the file in another way, and shares nothing with netd.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use octet_appliance::{Appliance, Segments, Traffic, Unit, UnitSource, Zone};
use octet_evaluator as evaluator;
use octet_netd::router::explain::Answer;
use octet_netd::router::plan::Plan;
use proptest::prelude::*;

const RICH: &str = include_str!("../../tests/evaluator/testdata/rich.toml");
const UNITS: [&str; 3] = [
    include_str!("../../tests/evaluator/testdata/cache.toml"),
    include_str!("../../tests/evaluator/testdata/gate.toml"),
    include_str!("../../tests/evaluator/testdata/web.toml"),
];

/// What a build needs, and says nothing here.
const IMAGE: &str = "[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n";

/// The ports of the units, in the shape of units.
fn units() -> Vec<Unit> {
    let unit = |text: &str| {
        let table: toml::Table = text.parse().unwrap();
        let ports = toml::to_string(&table["ports"]).unwrap();
        let ports: String = ports.lines().map(|line| format!("ports.{line}\n")).collect();
        let text = format!(
            "name = {}\nexec = \"/a\"\nuser = \"extra-1\"\n{ports}sandbox.network = \"host\"\n",
            table["name"]
        );
        UnitSource::parse("unit.toml".into(), text).unwrap().unit
    };
    UNITS.iter().map(|text| unit(text)).collect()
}

fn plan(text: &str) -> Plan {
    let text = format!("{text}\n{IMAGE}");
    let appliance =
        Appliance::parse("appliance.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let settings = appliance.cluster_settings().unwrap();
    let units = units();
    let segments = Segments::of(&settings, &units, ("appliance.toml", &text));
    let (segments, _) = segments.unwrap_or_else(|error| panic!("{error}"));
    Plan::new(&settings, &segments, &units)
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

fn traffic(traffic: evaluator::Traffic) -> (Traffic, u16) {
    match traffic {
        evaluator::Traffic::Tcp(port) => (Traffic::Tcp, port),
        evaluator::Traffic::Udp(port) => (Traffic::Udp, port),
        evaluator::Traffic::Ping => (Traffic::Ping, 0),
        evaluator::Traffic::Protocol(number) => (Traffic::Number(number), 0),
    }
}

/// What the plan says of everything that the evaluator says something of.
fn table(plan: &Plan, expected: &evaluator::Table) -> evaluator::Table {
    let says = |(from, to, what, _): &evaluator::Probe| {
        let (kind, port) = traffic(*what);
        match plan.explain(zone(*from), zone(*to), kind, port) {
            Answer::Let { .. } => Some(*to),
            Answer::Published { board, .. } => Some(evaluator::Zone::Board(board)),
            Answer::Denied => None,
        }
    };
    expected.keys().map(|probe| (*probe, says(probe))).collect()
}

/// Of what is for DHCP clients the guard, and not the plan, decides.
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
    let found = table(&plan(RICH), &expected);
    let differences = evaluator::compare(&expected, &found);
    assert!(differences.is_empty(), "{differences:#?}");
    let arrive = expected.values().flatten().count();
    println!("{} probes, {arrive} arrive", expected.len());
    assert!(arrive > 100 && arrive * 2 < expected.len());

    // And a mistake in the plan would be seen.
    let mut caught = BTreeMap::new();
    for fault in evaluator::FAULTS {
        let faulty = fault.plant(&world, &found);
        caught.insert(fault.name, evaluator::compare(&expected, &faulty).len());
    }
    println!("{caught:#?}");
    assert!(caught.len() >= 20 && caught.values().all(|differences| *differences > 0));
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
    let mut text = format!("[[policy]]\nfrom = \"{from}\"\nto = [\"{to}\"]\n");
    let _ = match what % 6 {
        0 => writeln!(text, "protocol = \"icmp\""),
        1 => writeln!(text, "protocol = {}", 47 + first % 3),
        2 => writeln!(text, "service = \"web.http\""),
        3 => writeln!(text, "protocol = \"tcp\"\nports = [{first}]"),
        4 => writeln!(text, "protocol = \"udp\"\nports = [\"{first}-{}\"]", first + more),
        _ => writeln!(text, "protocol = \"tcp\"\nports = [\"{first}-{}\", 4040]", first + more),
    };
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn boxes_by_chance(
        boards in prop::sample::select(vec![4u8, 8]),
        lines in prop::collection::vec((0..9u8, 0..9u8, 0..6u8, 50..70u16, 0..9u16), 0..7),
    ) {
        let mut text = format!(
            "[appliance]\nname = \"octet\"\n[cluster]\nboards = {boards}\n[lan]\n\
             [[board]]\nnumber = 1\nrole = \"front\"\nport = 3\n[[board]]\nnumber = 3\nport = 1\nrole = \"front\"\n"
        );
        text.extend(lines.into_iter().map(policy));
        let world = evaluator::World::read(&text, &UNITS).unwrap();
        let expected = expected(&world);
        let found = table(&plan(&text), &expected);
        let differences = evaluator::compare(&expected, &found);
        prop_assert!(differences.is_empty(), "{}\n{:#?}", text, differences);
    }
}
