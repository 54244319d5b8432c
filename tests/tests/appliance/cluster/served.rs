//! The services of a box for people: messages, and the uplink.

use crate::cluster::site::{Site, text};
use crate::cluster::{letters, uplink};

pub const PORTS: u8 = 4;

/// It takes more than two minutes, mostly waits. It needs the kernels of three machines, the rules
/// between them, a disk with a power cut, and units that are killed and restarted, which no
/// in-process test has.
#[test]
fn people_get_letters_names_and_the_time() {
    let (keys, operators) = letters::Keys::new();
    let lines = [letters::LINES, uplink::LINES, &operators].concat();
    let site = Site::new(PORTS, &text(PORTS, &lines));
    let disks = site.start_with_disks(letters::BOARDS);
    letters::passes(&site, &disks, &keys);
    // The other board is not needed any more, and the rest is faster without it.
    let [(board, _), (other, _)] = disks.each_ref();
    site.cluster.cut_power(*other).unwrap();
    uplink::passes(&site, *board);
}
