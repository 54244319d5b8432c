//! A board whose image has the unit `forward`: the door of its links is open, and lines to this board, and
//! to no other, are rules of its kernel.

use std::collections::BTreeSet;

use octet_appliance::SETTINGS;
use octet_machine::panel::Reply;
use octet_tests::READY;
use serde_json::json;

use crate::net::guest::{BOX, BOX_LINK, GATE, show, with_doors};
use crate::net::scan::station;

const LINKS: u16 = 51820;
const CONTROL: u16 = 4042;

/// Somebody in its place, who tells everybody that he is there.
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

#[test]
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
    let mut station = station(machine.port(0).unwrap());
    let target = BOX_LINK.parse().unwrap();
    // Somebody listens at both.
    let answers = station.scan_udp(target, [LINKS, CONTROL, GATE], GATE).unwrap();
    let answers: BTreeSet<_> = answers.into_iter().collect();
    assert_eq!(answers, [(LINKS, Reply::Open), (GATE, Reply::Open)].into());

    let rules = show(&machine)["rules"].to_string();
    println!("{}", rules.replace("\",\"", "\n"));
    for wanted in
        ["{ 80, 8000-8010 } limit rate over 50/second", "ip saddr { 10.20.1.2, 10.20.4.2 }"]
    {
        assert!(rules.contains(wanted), "{wanted}: {rules}");
    }
    assert!(!rules.contains("{ 81, "), "{rules}");
}
