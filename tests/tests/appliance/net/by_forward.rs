//! A board whose image has the unit `forward`: its port for links is open, and policies for this
//! board, and for no other, are rules of its kernel. The test covers the ICMP errors that it
//! accepts about its flows as well.

use std::net::IpAddr;

use octet_appliance::SETTINGS;
use octet_machine::Machine;
use octet_machine::panel::raw::{self, ethernet, icmp, transport};
use octet_machine::panel::{Kind, Reply, Segment, Station};
use octet_tests::READY;
use serde_json::json;

use crate::net::guest::{BOX, BOX_LINK, GATE, TEST, show, with_doors};
use crate::net::scan::station as open;

const LINKS: u16 = 51820;
const CONTROL: u16 = 4042;

/// The header of IPv6, and the maximum size of an error including it.
const IPV6: usize = 40;
const LONGEST: usize = 1280;

/// A program in its place, which echoes data.
const FORWARD: &str = r#"
    name = "forward"
    exec = "/usr/lib/octet/listener"
    user = "extra-2"
    readiness = "socket"
    ports = { links = "udp/51820", control = "udp/4042", path = "udp/4043" }
    sockets.links.port = "links"
    sockets.control.port = "control"
    sandbox.network = "host"
"#;

/// In the short tier `cluster::served` has a path to one port of a board, and `netd/tests`
/// the rules.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn the_door_of_its_links_and_lines_to_this_board() {
    let policy = |from: &[&str], to: &str, port: u16| json!({ "from": from, "to": to, "protocol": "tcp", "ports": [port, "8000-8010"], "rate": 50 });
    let settings = json!({
        "appliance": { "name": "octet" }, "cluster": { "boards": 4 },
        "policy": [
            policy(&["path"], "board-2", 80),
            policy(&["path"], "board-3", 81),
            { "from": ["board-1", "board-4"], "to": "board-2", "protocol": "mpls-in-ip" },
        ],
    });
    let remake = with_doors().file(SETTINGS, 0o644, settings.to_string().into_bytes());
    let image = remake.unit(FORWARD).image();
    let machine = image.machine().nic(BOX).kernel_argument("octet.board=2").start().unwrap();
    machine.wait_ready(READY).unwrap();
    let mut station = open(machine.port(0).unwrap());
    let target = BOX_LINK.parse().unwrap();
    // Listeners answer at both ports.
    assert_eq!(
        station.scan_udp(target, [CONTROL, LINKS], LINKS).unwrap(),
        [(LINKS, Reply::Open)].into()
    );

    let rules = show(&machine)["rules"].to_string();
    println!("{}", rules.replace("\",\"", "\n"));
    for wanted in
        ["{ 80, 8000-8010 } limit rate over 50/second", "ip saddr { 10.20.1.2, 10.20.4.2 }"]
    {
        assert!(rules.contains(wanted), "{wanted}: {rules}");
    }
    assert!(!rules.contains("{ 81, "), "{rules}");
    errors_that_are_taken(&machine, station);
}

/// The number of errors that the board's rules have dropped.
fn refused(machine: &Machine) -> u64 {
    let shown = show(machine);
    let mut rules = shown["rules"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    rules.find(|line| line.trim() == "counter icmp_error {").unwrap();
    let counted = rules.next().unwrap().split_whitespace().nth(1);
    counted.unwrap().parse().unwrap()
}

/// ICMP errors about a flow of the board: packet too big is accepted; types that no router sends
/// and errors above the maximum size are dropped.
fn errors_that_are_taken(machine: &Machine, mut station: Station) {
    let target: IpAddr = BOX_LINK.parse().unwrap();
    let own = station.source_address(target).unwrap();
    let (to, ports) = (station.resolve(target).unwrap(), (7000, LINKS));
    let asks = Segment { from: (own, ports.0), to: (target, ports.1), kind: Kind::Udp };
    station.request(to, &asks).unwrap();
    let said = transport::udp((target, own), (ports.1, ports.0), b"octet");
    let said = raw::packet((target, own), transport::UDP, &said);
    let error = |kind, length| {
        let (IpAddr::V6(from), IpAddr::V6(target)) = (own, target) else { unreachable!() };
        let mut body = [&1280_u32.to_be_bytes()[..], &said].concat();
        body.resize(length - IPV6 - 4, 0);
        let message = icmp::v6((from, target), kind, 0, &body);
        let packet = raw::packet((from.into(), target.into()), icmp::ICMPV6, &message);
        ethernet::ip((TEST, BOX), &packet)
    };
    let before = refused(machine);
    let mut counted = vec![];
    for (kind, length) in [(2, 200), (2, LONGEST), (2, LONGEST + 1), (100, 200)] {
        station.send(&error(kind, length)).unwrap();
        // A following probe that is answered.
        station.scan_udp(target, [GATE], GATE).unwrap();
        counted.push(refused(machine) - before);
    }
    assert_eq!(counted, [0, 0, 1, 2]);
}
