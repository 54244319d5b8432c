//! Packets to nodes, for which no device of the unit `forward` exists: they must not leave by the
//! uplink.

use std::net::{IpAddr, Ipv6Addr};

use octet_evaluator::Zone;
use octet_machine::panel::raw::{self, ethernet, transport};
use octet_machine::panel::switchboard::Sentinel;

use super::frames::NODE;
use super::{Drops, drops};
use crate::segments::site::Site;

/// The policies for the outside.
pub const LINES: &str = r#"
[[policy]]
from = ["boards", "lan"]
to = "uplink"
protocol = "udp"
ports = [7002]
"#;

const OUTSIDE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2);

const SENDERS: [Zone; 2] = [Zone::Board(1), Zone::Lan];

/// Whether the packets of each sender to `to` leave by the uplink.
fn leaves(site: &mut Site, to: Ipv6Addr, sentinels: &[Sentinel]) -> [bool; 2] {
    SENDERS.map(|zone| {
        let leg = site.panel.legs()[site.leg(zone)].clone();
        let ends: (IpAddr, IpAddr) = (leg.test.ipv6.into(), to.into());
        let says = format!("octet for {to} from {zone}").into_bytes();
        let datagram = transport::udp(ends, (5700, 7002), &says);
        let packet = raw::packet(ends, transport::UDP, &datagram);
        let frame = ethernet::ip((leg.test.mac, leg.router.mac), &packet);
        let (from, uplink) = (site.leg(zone), site.leg(Zone::Uplink));
        let seen = site.panel.exchange(from, &[frame], sentinels).unwrap();
        seen.iter().any(|seen| seen.leg == uplink && seen.contains(&says))
    })
}

/// Without rules they leave by the uplink, like all others.
pub fn leave_by_the_uplink(site: &mut Site) -> Vec<String> {
    let asks = site.who_is_there();
    let found = [OUTSIDE, NODE].map(|to| leaves(site, to, &asks));
    if found == [[true; 2]; 2] { vec![] } else { vec![format!("without rules: {found:?}")] }
}

/// With rules only the others leave, and these are counted as drops.
pub fn never_leave_by_the_uplink(site: &mut Site) -> Vec<String> {
    // A counter of zero is not listed.
    let of = |drops: &Drops, device| drops.get(device)?.get("denied").copied();
    let denied = |drops: &Drops| ["eth1", "eth5"].map(|device| of(drops, device).unwrap_or(0));
    let (sentinels, before) = (site.sentinels(), denied(&drops(site)));
    let found = [OUTSIDE, NODE].map(|to| leaves(site, to, &sentinels));
    let after = denied(&drops(site));
    let counted: Vec<_> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    if (found, &counted[..]) == ([[true; 2], [false; 2]], &[1, 1]) {
        return vec![];
    }
    vec![format!("{SENDERS:?} leave for outside, and for a node: {found:?}; {counted:?} counted")]
}
