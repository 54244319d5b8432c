//! Paths of a box of five boards, one of them over three relays that its source has chosen.

use std::time::Instant;

use octet_appliance::{Appliance, SETTINGS};
use octet_machine::Node;
use octet_tests::{Image, Remake, shipped};

use crate::cluster::failover::{self, Fault};
use crate::cluster::path::{self, Named};
use crate::cluster::site::{IMAGE, Site, text};
use crate::cluster::uplink::clock;
use crate::cluster::wires::Wires;

/// Boards may reach each other by WireGuard only, and packets from a path may reach one port of the
/// board at its end.
const LINES: &str = r#"
[[policy]]
from = "boards"
to = "boards"
protocol = "udp"
ports = [51820]

[[policy]]
from = "path"
to = "board-5"
protocol = "tcp"
ports = [7000]

[[policy]]
from = "path"
to = "board-5"
protocol = "udp"
ports = [7000]
"#;

/// The number of boards, and the path among them, from its source to its end.
pub const BOARDS: u8 = 5;
const PATH: [u8; 5] = [1, 2, 3, 4, 5];
const SOURCE: u8 = PATH[0];
const END: u8 = PATH[4];

fn image() -> Image {
    let appliance = format!(
        "{}\n{IMAGE}",
        text(
            8,
            &[
                LINES,
                crate::cluster::metering::LINES,
                crate::cluster::numbers::LINES,
                crate::cluster::private::LINES
            ]
            .concat()
        )
    );
    let appliance = Appliance::parse("appliance.toml", &appliance).unwrap();
    let settings = serde_json::to_vec(&appliance).unwrap();
    path::with_programs(Remake::of(&shipped()).file(SETTINGS, 0o644, settings)).image()
}

/// Starts a box whose boards know each other and have links to each other.
fn linked() -> (Site, Wires) {
    let site = Site::of(8, image());
    let began = Instant::now();
    let wires = Wires::record(&site.cluster);
    let nodes: Vec<_> = [Node::Router].into_iter().chain((1..=BOARDS).map(Node::Board)).collect();
    for node in &nodes {
        site.power_on(*node);
    }
    for node in &nodes {
        site.wait_ready(*node);
    }
    path::are_linked(&site, &PATH);
    println!("all links are up after {:?}", began.elapsed());

    println!("clocks: {:?}", nodes.iter().map(|node| clock(&site, *node)).collect::<Vec<_>>());
    (site, wires)
}

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn a_relay_dies_and_others_take_its_place() {
    let (site, wires) = linked();
    let faults = [Fault::Wire, Fault::Mute, Fault::Power];
    failover::passes(&site, &wires, &path::door(&Named::of(&site, END)), &faults);
}

/// `cluster::served` has a path over one relay. Without guests, `services/forward/tests/simulation`
/// and `services/forward/tests/engine` kill daemons, cut wires, and choose paths.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn a_path_over_three_relays() {
    let began = Instant::now();
    let (site, wires) = linked();
    let (path, named) = path::passes(&site, &wires, &PATH);
    println!("carried after {:?}, {} frames", began.elapsed(), wires.len());
    crate::cluster::adopted::passes(&site, &path, &PATH);
    crate::cluster::metering::passes(&site, &wires);
    crate::cluster::lossy::passes(&site, &wires);
    println!("metered after {:?}", began.elapsed());
    crate::cluster::numbers::passes(&site);
    crate::cluster::chosen::passes(&site);
    crate::cluster::rates::passes(&site);
    println!("chosen, and held to its rate, after {:?}", began.elapsed());
    crate::cluster::private::passes(&site, &PATH, named.each_ref().map(|it| it.address));
    println!("private after {:?}", began.elapsed());
    failover::passes(&site, &wires, &path::door(&named[1]), &[Fault::Wire]);
    crate::cluster::unasked::passes(&site, SOURCE, &path::door(&named[1]));
    println!("all of it: {:?}", began.elapsed());
}
