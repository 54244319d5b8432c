//! A box with every kind of rule, compared with results written by hand, and with planted faults.

#![cfg(test)]

use octet_evaluator::{
    By, FAULTS, Outcome, Table, Traffic, Verdict, Version, World, Zone, compare,
};

const PROBES: &str = include_str!("../testdata/rich.probes");

const UNITS: [&str; 3] = [
    include_str!("../testdata/gate.toml"),
    include_str!("../testdata/web.toml"),
    include_str!("../testdata/cache.toml"),
];

fn rich() -> World {
    World::read(include_str!("../testdata/rich.toml"), &UNITS).unwrap()
}

/// A row of the file; the result is `ZONE RULE` or `-`.
struct Expected {
    from: Zone,
    to: Zone,
    traffic: Traffic,
    version: Version,
    outcome: String,
}

fn expected() -> Vec<Expected> {
    let lines = PROBES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut all = Vec::new();
    for line in lines {
        let mut words = line.splitn(5, ' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("{line}"));
        let (from, to, traffic) = (word(), word(), word());
        let (versions, outcome) = (word(), word());
        let versions: &[Version] = match versions {
            "4" => &[Version::V4],
            "6" => &[Version::V6],
            "46" => &Version::BOTH,
            other => panic!("{line}: {other}"),
        };
        all.extend(versions.iter().map(|version| Expected {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            traffic: traffic.parse().unwrap(),
            version: *version,
            outcome: outcome.to_owned(),
        }));
    }
    all
}

#[test]
fn probes_come_out_as_written() {
    let world = rich();
    let expected = expected();
    let arriving = expected.iter().filter(|probe| probe.outcome != "-").count();
    println!("{} probes, {arriving} of them arrive", expected.len());
    let mut wrong = Vec::new();
    for Expected { from, to, traffic, version, outcome } in expected {
        let verdict = world.verdict(from, to, traffic, version);
        let found = match &verdict {
            Verdict::Arrives { at, by } => format!("{at} {by}"),
            Verdict::Dropped { .. } => "-".to_owned(),
        };
        if found != outcome {
            let explained = world.explain(from, to, traffic, version);
            wrong.push(format!("{outcome} is written, but {explained}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every rule, also the built-in ones, is the reason of at least one probe written by hand.
#[test]
fn every_line_is_probed() {
    let reasons: Vec<String> = expected().into_iter().map(|probe| probe.outcome).collect();
    let built_in = ["dhcp", "dns", "time", "enrolment", "gate", "ping", "relay", "reach", "ask"];
    // No board has the role of policy 9.
    let policies = (1..=14).filter(|number| *number != 9).map(By::Policy);
    let publishes = (1..=2).map(By::Publish);
    for by in policies.chain(publishes).chain(built_in.map(By::BuiltIn)) {
        assert!(reasons.iter().any(|reason| reason.ends_with(&format!(" {by}"))), "{by}");
    }
}

#[test]
fn what_is_published_does_not_arrive_at_the_router() {
    let world = rich();
    let https = Traffic::Tcp(443);
    assert_eq!(world.published(https), Some((Zone::Board(1), Traffic::Tcp(8443))));
    assert_eq!(world.published(Traffic::Udp(443)), None);
    let reaches = world.reaches(Zone::Uplink, Zone::Router, https, Version::V4);
    assert_eq!(reaches, Some(Zone::Board(1)));
    let arrives = world.arrives(Zone::Uplink, Zone::Router, https, Version::V4);
    assert_eq!(arrives.to_string(), "is dropped: publish 1 sends it to board-1");
}

#[test]
fn rates_are_those_of_the_line() {
    let world = rich();
    let rate = |from, to, traffic| world.rate(from, to, traffic, Version::V6);
    assert_eq!(rate(Zone::Board(1), Zone::Board(3), Traffic::Tcp(6379)), Some(100));
    assert_eq!(rate(Zone::Board(3), Zone::Board(1), Traffic::Tcp(6379)), None);
    assert_eq!(rate(Zone::Board(1), Zone::Router, Traffic::Ping), Some(20));
    assert_eq!(rate(Zone::Board(1), Zone::Uplink, Traffic::Tcp(80)), None);
}

#[test]
fn explained_with_the_lines_of_the_pair() {
    let text = rich().explain(Zone::Board(1), Zone::Board(2), Traffic::Udp(4790), Version::V6);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "udp/4790 of IPv6 from board-1 to board-2 is dropped: no policy allows it",
            "  policy 5: from board-1 to board-2: proto/47",
            "  policy 8: from boards to boards: udp/4789",
        ]
    );
}

/// The table of all traffic to probe.
fn table(world: &World) -> Table {
    world.table(&world.worth_a_probe())
}

#[test]
fn a_table_equals_itself() {
    let world = rich();
    let table = table(&world);
    assert!(table.values().any(Option::is_some) && table.values().any(Option::is_none));
    assert_eq!(compare(&table, &table.clone()), []);
}

#[test]
fn what_one_table_lacks_is_a_difference() {
    let world = rich();
    let table = table(&world);
    let mut less = table.clone();
    let (probe, at) = less.pop_last().unwrap();
    for (expected, found) in [(&table, &less), (&less, &table)] {
        let differences = compare(expected, found);
        assert_eq!(differences.len(), 1);
        assert_eq!(differences[0].probe, probe);
        let both = [differences[0].expected, differences[0].found];
        let said = at.map_or(Outcome::Dropped, Outcome::At);
        assert!(both.contains(&Outcome::NotAsked) && both.contains(&said));
    }
}

#[test]
fn every_fault_is_found() {
    let world = rich();
    let right = table(&world);
    assert!(FAULTS.len() >= 20);
    println!("{} probes", right.len());
    let mut seen: Vec<(&str, Table)> = Vec::new();
    for fault in FAULTS {
        let wrong = fault.plant(&world, &right);
        let found = compare(&right, &wrong);
        let Some(first) = found.first() else { panic!("{} is not found", fault.name) };
        println!("{}: {} differences, the first: {first}", fault.name, found.len());
        assert!(wrong.keys().eq(right.keys()), "{}", fault.name);
        let same = seen.iter().find(|(_, other)| *other == wrong);
        assert!(same.is_none(), "{} is {}", fault.name, same.unwrap().0);
        seen.push((fault.name, wrong));
    }
}

/// The probes written by hand find most faults: the generated ones do not only test this crate's
/// own bounds.
#[test]
fn planted_faults_are_also_wrong_by_hand() {
    let world = rich();
    let right = table(&world);
    let expected = expected();
    let unseen: Vec<&str> = FAULTS
        .iter()
        .filter(|fault| {
            let wrong = fault.plant(&world, &right);
            let mut probes = expected.iter();
            !probes.any(|probe| {
                let key = (probe.from, probe.to, probe.traffic, probe.version);
                let at = probe.outcome.split(' ').next().filter(|at| *at != "-");
                let at = at.map(|at| at.parse::<Zone>().unwrap());
                wrong.get(&key).is_some_and(|found| *found != at)
            })
        })
        .map(|fault| fault.name)
        .collect();
    assert_eq!(unseen, Vec::<&str>::new());
}
