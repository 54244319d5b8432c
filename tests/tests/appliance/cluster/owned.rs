//! The owner's view of a box: the placement of units, an operator at a board, and persistent
//! objects.

use std::collections::BTreeMap;

use octet_machine::Node;
use octet_tests::{Image, Owner, guest};
use serde_json::Value;

use crate::cluster::site::{Site, without_forward};
use crate::cluster::{objects, view};

/// The number of ports of the box, and the boards that are on.
const PORTS: u8 = 8;
pub const BOARDS: [u8; 3] = [1, 2, 3];

/// The router's card for the owner's devices.
pub const LAN: u8 = PORTS + 1;

/// Node keys of boards, by number.
pub type Keys = BTreeMap<u8, Value>;

/// `cluster::served` reaches a board as its owner, and has an object of a board that is off.
/// Without guests, `services/cluster/tests/daemon/drained.rs`, `services/face/tests` and
/// `services/cache/tests/node/scrub.rs` show the rest.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn an_owner_sees_it_reaches_it_and_finds_objects_of_a_board_that_is_off() {
    let owner = Owner::new();
    let lines = [&*view::lines(&owner.keygen("anna")), objects::LINES, objects::KEEP].concat();
    let image = Image::with_services_and(&[("named", guest("named"))], &lines);
    let site = Site::of(PORTS, without_forward(&image));
    let (seen, _outside) = objects::count(&site);
    let disks = site.start_with_disks(BOARDS);
    let keys = site.wait_whole(&BOARDS.map(|number| (Node::Board(number), number)));
    view::passes(&site);
    view::an_owner_reaches_a_board(&site, &owner, &keys, LAN);
    objects::passes(&site, &seen, &disks[0].1);
}
