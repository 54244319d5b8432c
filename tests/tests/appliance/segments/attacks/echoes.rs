//! Broadcasts of the router itself: its kernel passes a copy of each to the guard of the port,
//! which must not count it.

use std::net::{IpAddr, Ipv4Addr};
use std::thread::sleep;
use std::time::Instant;

use octet_evaluator::Zone;
use octet_machine::panel::raw::{self, dhcp, ethernet, transport};
use octet_tests::{READY, RETRY_DELAY};

use super::{Drops, device, drops};
use crate::segments::site::Site;

/// The reasons under which such copies would be counted.
const REASONS: [&str; 2] = ["src-mac", "src-ip4"];

/// A board and a device of the owner's request addresses, and are answered by broadcast.
pub fn are_not_counted(site: &mut Site) -> Vec<String> {
    let (sentinels, before) = (site.sentinels(), drops(site));
    let mut wrong = vec![];
    for zone in [Zone::Board(1), Zone::Lan] {
        let from = site.leg(zone);
        let mac = site.panel.legs()[from].test.mac;
        let ends: (IpAddr, IpAddr) = (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into());
        let ports = (dhcp::CLIENT, dhcp::SERVER);
        let datagram = transport::udp(ends, ports, &dhcp::discover(mac));
        let packet = raw::packet(ends, transport::UDP, &datagram);
        let frame = ethernet::ip((mac, ethernet::BROADCAST), &packet);
        site.panel.take_recorded();
        site.panel.exchange(from, &[frame], &sentinels).unwrap();
        let is_answer = |frame: &[u8]| {
            frame.starts_with(&ethernet::BROADCAST.0) && frame.get(34..38) == Some(&[0, 67, 0, 68])
        };
        let until = Instant::now() + READY;
        while !site.panel.recorded().iter().any(|it| it.leg == from && is_answer(&it.frame)) {
            assert!(Instant::now() < until, "late: {zone} has no answer");
            sleep(RETRY_DELAY);
        }
        let of = |drops: &Drops, reason| {
            drops.get(&device(site, zone)).and_then(|all| all.get(reason)).copied().unwrap_or(0)
        };
        let after = drops(site);
        let counted = REASONS.map(|reason| of(&after, reason) - of(&before, reason));
        if counted != [0, 0] {
            wrong.push(format!(
                "{zone}: the router's own answer is counted: {REASONS:?} {counted:?}"
            ));
        }
    }
    wrong
}
