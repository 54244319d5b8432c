//! One box for people: messages, paths, objects of a board that is off, the owner's way to a board,
//! and the uplink.

use octet_appliance::{Appliance, SETTINGS};
use octet_machine::Node;
use octet_tests::{Image, Owner, Remake, shipped};

use crate::cluster::objects::{self, AddedObject};
use crate::cluster::site::{IMAGE, Site, text};
use crate::cluster::wires::Wires;
use crate::cluster::{adopted, letters, path, uplink, view};

pub const PORTS: u8 = 4;

/// The path over one relay, from its source to its end: all boards of the box. The test itself is
/// the board at port 3.
const PATH: [u8; 3] = [1, 2, 4];

/// Boards may reach each other by WireGuard, and packets from a path may reach one port of the
/// board at its end.
const LINES: &str = r#"
[[policy]]
from = "boards"
to = "boards"
protocol = "udp"
ports = [51820]

[[policy]]
from = "path"
to = "board-4"
protocol = "tcp"
ports = [7000]

[[policy]]
from = "path"
to = "board-4"
protocol = "udp"
ports = [7000]
"#;

fn image(lines: &str) -> Image {
    let appliance = Appliance::parse("appliance.toml", &format!("{}\n{IMAGE}", text(PORTS, lines)));
    let settings = serde_json::to_vec(&appliance.unwrap()).unwrap();
    path::with_programs(Remake::of(&shipped()).file(SETTINGS, 0o644, settings)).image()
}

/// It takes minutes. It needs the kernels of four machines, the rules between them, a disk with a
/// power cut, and units that are killed and restarted, which no in-process test has. It is the only
/// box of the short tier beside that of `cluster::run`: what needs one belongs here, or in the long
/// tier.
#[test]
fn people_get_letters_names_and_the_time() {
    let owner = Owner::new();
    let (keys, operators) = letters::Keys::new(&owner.keygen("anna"));
    let lines = [letters::LINES, uplink::LINES, objects::LINES, LINES, &operators].concat();
    let site = Site::of(PORTS, image(&lines));
    let [.., end] = PATH;
    site.power_on(Node::Board(end));
    let disks = site.start_with_disks(letters::BOARDS);
    site.wait_ready(Node::Board(end));
    let added = AddedObject::on_two_boards(&site);
    let nodes = site.wait_whole(&PATH.map(|number| (Node::Board(number), number)));
    view::an_owner_reaches_a_board(&site, &owner, &nodes, letters::LAN);

    path::are_linked(&site, &PATH);
    let wires = Wires::record(&site.cluster);
    let (path, _) = path::passes(&site, &wires, &PATH);
    adopted::passes(&site, &path, &PATH);

    // Board 1 is off at its end; in the long tier it is back.
    letters::passes(&site, &disks, &keys, |device| {
        added.is_had_while_board_1_is_off(&site, device, end);
    });
    // The board at the end of the path is not needed any more, and the rest is faster without it.
    site.cluster.cut_power(Node::Board(end)).unwrap();
    let [_, board] = letters::BOARDS;
    uplink::passes(&site, Node::Board(board));
}
