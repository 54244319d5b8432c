//! What a box does for people: letters between them, and the way out.

use crate::cluster::site::{Site, text};
use crate::cluster::{letters, uplink};

pub const PORTS: u8 = 4;

/// Two minutes and more, of which most are waits. It needs the kernels of three machines, the rules between them, a disk
/// that is cut, and units that are killed and come back: nothing in process has these.
#[test]
fn people_get_letters_names_and_the_time() {
    let (keys, operators) = letters::Keys::new();
    let lines = [letters::LINES, uplink::LINES, &operators].concat();
    let site = Site::new(PORTS, &text(PORTS, &lines));
    let disks = site.start_with_disks(letters::BOARDS);
    letters::passes(&site, &disks, &keys);
    // Nobody needs the other board any more, and the rest is cheaper without it.
    let [(board, _), (other, _)] = disks.each_ref();
    site.cluster.cut_power(*other).unwrap();
    uplink::passes(&site, *board);
}
