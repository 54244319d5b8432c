//! ICMP errors about each kind of flow.

use octet_evaluator::Zone;

use crate::segments::errors::{Much, Wanted, only_by_those_on_the_way, only_so_many};
use crate::segments::site::Site;

/// Flows between boards, to the router, to its uplink address, to the outside, and from outside to
/// a published port.
const FLOWS: [Wanted; 5] = [
    (Zone::Board(1), Zone::Board(2), false, 7000),
    (Zone::Board(1), Zone::Router, false, 123),
    (Zone::Board(1), Zone::Router, true, 123),
    (Zone::Board(1), Zone::Uplink, false, 7000),
    (Zone::Uplink, Zone::Board(2), true, 7443),
];

/// The policies for these flows, in addition to those of other tests.
pub const LINES: &str = r#"
[[policy]]
from = "boards"
to = "uplink"
protocol = "udp"
ports = [7000]

[[publish]]
port = "udp/7443"
to = "board-2"
at = "udp/7443"
"#;

pub fn as_many_as_nobody_needs(site: &mut Site) {
    only_so_many(site, FLOWS[0]);
}

/// Sends all kinds of errors. Returns the unexpected results.
pub fn about_every_kind_of_flow(site: &mut Site) -> Vec<String> {
    only_by_those_on_the_way(site, &FLOWS, Much::All)
}
