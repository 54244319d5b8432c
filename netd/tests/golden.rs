//! Boxes of every size, and the complete rules of their routers. Renewed by `OCTET_WRITE_GOLDEN=1
//! cargo test -p octet-netd --test golden`, and must then be reviewed.

#![cfg(test)]

use std::fs;
use std::path::Path;

use octet_appliance::{Appliance, ExitNode, Segments, Unit, UnitSource, Vpn};
use octet_netd::on_board::OnBoard;
use octet_netd::paths::{BoardAllows, PathDevices};
use octet_netd::port_bindings::PortBindings;
use octet_netd::router::firewall;
use octet_netd::router::guard;
use octet_netd::router::plan::{RouterNeighbour, RouterPlan};

const LINES: &str = include_str!("testdata/lines.toml");

fn units() -> Vec<Unit> {
    let unit = |name: &str, ports: &str| {
        let text = format!(
            "name = \"{name}\"\nexec = \"/a\"\nuser = \"extra-1\"\nports = {ports}\nsandbox.network = \"host\"\n"
        );
        UnitSource::parse("unit.toml".into(), text).unwrap().unit
    };
    vec![unit("gate", "{ gate = \"tcp/4040\" }"), unit("cache", "{ gateway = \"tcp/8080\" }")]
}

fn is_as_looked_at(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata").join(name);
    if std::env::var_os("OCTET_WRITE_GOLDEN").is_some() {
        fs::write(&file, text).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap_or_default();
    let differs = golden.lines().zip(text.lines()).position(|(golden, now)| golden != now);
    assert!(
        golden == text,
        "{name} is not what it was, first at line {:?}",
        differs.map(|at| at + 1)
    );
}

#[test]
fn boxes_of_every_size() {
    for boards in [4, 8, 16, 32] {
        let text = LINES.replace("@boards", &boards.to_string());
        let appliance =
            Appliance::parse("lines.toml", &text).unwrap_or_else(|error| panic!("{error}"));
        let settings = appliance.cluster_settings().unwrap();
        let (_, warnings) = Segments::evaluate(&settings, &units(), ("lines.toml", &text)).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let plan = RouterPlan::new(&settings, &units()).unwrap();
        is_as_looked_at(&format!("{boards}.plan"), &(plan.report().join("\n") + "\n"));
        is_as_looked_at(
            &format!("{boards}.guard.nft"),
            &guard::table(&plan, &PortBindings::default(), false).whole([].into_iter()),
        );
        is_as_looked_at(
            &format!("{boards}.fw.nft"),
            &firewall::table(&plan, &OnBoard::of(&units()), None, true).whole([].into_iter()),
        );
    }
}

/// The same box of four with a router that runs OpenWrt.
#[test]
fn a_box_with_a_manager() {
    let text = LINES.replace("boards = @boards", "boards = 4\nrouter = \"openwrt\"");
    let text = text.replace("[lan]", "[[board]]\nnumber = 3\nrole = \"manager\"\n\n[lan]");
    let appliance = Appliance::parse("lines.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let settings = appliance.cluster_settings().unwrap();
    let plan = RouterPlan::new(&settings, &units()).unwrap();
    is_as_looked_at("manager.plan", &(plan.report().join("\n") + "\n"));
    is_as_looked_at(
        "manager.fw.nft",
        &firewall::table(&plan, &OnBoard::of(&units()), None, true).whole([].into_iter()),
    );
}

/// These units and the unit `forward`.
fn with_forward() -> Vec<Unit> {
    let ports =
        "ports.links = \"udp/51820\"\nports.control = \"udp/4042\"\nports.path = \"udp/4043\"";
    let forward = format!(
        "name = \"forward\"\nexec = \"/a\"\nuser = \"extra-2\"\n{ports}\nsandbox.network = \"host\"\n"
    );
    let forward = UnitSource::parse("unit.toml".into(), forward).unwrap().unit;
    [units(), vec![forward]].concat()
}

/// The same box whose lan leaves by another node; its policies let others use it as exit, too.
#[test]
fn a_router_with_a_vpn() {
    let text = LINES.replace("@boards", "4");
    let appliance = Appliance::parse("lines.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let mut settings = appliance.cluster_settings().unwrap();
    settings.vpn = Some(Vpn { exit: ExitNode::Node("fc00::1".parse().unwrap()) });
    let units = with_forward();
    let plan = RouterPlan::new(&settings, &units).unwrap();
    let forward = PathDevices::of(&units, BoardAllows::default());
    let table = firewall::table(&plan, &OnBoard::of(&units), forward.as_ref(), false);
    is_as_looked_at("vpn.fw.nft", &table.whole([].into_iter()));
    is_as_looked_at("vpn.plan", &(plan.report().join("\n") + "\n"));
}

/// The same box with the unit `forward`, whose router has links to other boxes.
#[test]
fn a_router_with_neighbours() {
    let text = LINES.replace("@boards", "4");
    let appliance = Appliance::parse("lines.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let settings = appliance.cluster_settings().unwrap();
    let units = with_forward();
    let mut plan = RouterPlan::new(&settings, &units).unwrap();
    let neighbour = |(name, at): (&str, Option<&str>)| RouterNeighbour {
        name: name.to_owned(),
        at: at.map(|at| at.parse().unwrap()),
    };
    let known = [("hill", Some("203.0.113.7:51820")), ("lake", Some("198.51.100.9:4500"))];
    let forward = PathDevices::of(&units, BoardAllows::default());
    for (file, neighbours) in [("neighbours", &known[..]), ("anybody", &[known[0], ("wood", None)])]
    {
        plan.neighbours = neighbours.iter().copied().map(neighbour).collect();
        let on_board = OnBoard::of(&units);
        let table = firewall::table(&plan, &on_board, forward.as_ref(), false);
        is_as_looked_at(&format!("{file}.fw.nft"), &table.whole([].into_iter()));
        is_as_looked_at(&format!("{file}.plan"), &(plan.report().join("\n") + "\n"));
    }
}
