//! Reserved ports of the router's uplink address: no other flow is translated to one of them, so
//! its answers cannot be confused with packets for the port's owner.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use octet_appliance::PeerDescriptor;
use octet_evaluator::Zone;
use octet_machine::panel::raw::{self, ethernet, icmp, transport};
use octet_machine::panel::switchboard::CapturedFrame;

use crate::segments::site::Site;

/// A peer descriptor, from the fuzzing corpus.
const CARD: &[u8] = include_bytes!("../../../../fuzz/corpus/certificate/card");

/// The port that all may reach outside (`errors::LINES`), and two servers.
const OUT: u16 = 7000;
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

/// A published port of a board (`errors::LINES`), the port of the router's links, and a port that a
/// policy opens.
const PUBLISHED: (u16, Zone) = (7443, Zone::Board(2));
const LINKS: u16 = 51820;
const OPENED: u16 = 25_000;

/// The ports that the policy opens: nearly half of those from which the kernel chooses.
const OPEN: std::ops::Range<u16> = 20_000..50_000;

/// The ports to which a flow from a reserved port is translated.
const MOVED: std::ops::Range<u16> = 61_000..62_000;

/// The boards that send from the same ports, the ports, and the maximum number of attempts.
const BOARDS: [u8; 3] = [1, 3, 4];
const SAME: std::ops::Range<u16> = 6000..6016;
const TRIES: usize = 64;

/// The policy for the router's own ports, and a neighbour.
pub fn lines() -> String {
    let card = PeerDescriptor::from_bytes(CARD).unwrap();
    let (first, last) = (OPEN.start, OPEN.end - 1);
    format!(
        "[[policy]]\nfrom = \"uplink\"\nto = \"router\"\nprotocol = \"udp\"\nports = [\"{first}-{last}\"]\n\
         [[neighbour]]\nname = \"hill\"\ndescriptor = \"{card}\"\n"
    )
}

/// A datagram of `from`, with the leg on which it is sent.
fn said(site: &Site, from: Zone, ends: [(Ipv4Addr, u16); 2], says: &[u8]) -> (usize, Vec<u8>) {
    let at = site.leg(from);
    let leg = &site.panel.legs()[at];
    let addresses: (IpAddr, IpAddr) = (ends[0].0.into(), ends[1].0.into());
    let datagram = transport::udp(addresses, (ends[0].1, ends[1].1), says);
    let packet = raw::packet(addresses, transport::UDP, &datagram);
    (at, ethernet::ip((leg.test.mac, leg.router.mac), &packet))
}

fn own(site: &Site, zone: Zone) -> Ipv4Addr {
    site.panel.legs()[site.leg(zone)].test.ipv4
}

fn all(site: &mut Site, frames: &[(usize, Vec<u8>)]) -> Vec<CapturedFrame> {
    let sentinels = site.sentinels();
    site.panel.exchange_all(frames, &sentinels).unwrap()
}

/// The source port with which the packet with `says` has left by the uplink.
fn left_by(site: &Site, seen: &[CapturedFrame], says: &[u8]) -> Option<u16> {
    let uplink = site.leg(Zone::Uplink);
    let it = seen.iter().find(|it| it.leg == uplink && it.contains(says))?;
    Some(u16::from_be_bytes([it.frame[34], it.frame[35]]))
}

/// The source port with which a datagram of a board from `port` to `server` leaves.
fn leaves_by(site: &mut Site, board: u8, port: u16, server: Ipv4Addr) -> Option<u16> {
    let zone = Zone::Board(board);
    let says = format!("octet by {port} of {zone} to {server}").into_bytes();
    let ends = [(own(site, zone), port), (server, OUT)];
    let sent = said(site, zone, ends, &says);
    let seen = all(site, &[sent]);
    left_by(site, &seen, &says)
}

/// The legs at which a packet of the server to a port of the router arrives; and whether the router
/// sends an ICMP error.
fn comes_out(site: &mut Site, port: u16) -> (Vec<String>, bool) {
    let says = format!("octet to {port}").into_bytes();
    let uplink = site.leg(Zone::Uplink);
    let router = site.panel.legs()[uplink].router.ipv4;
    let sent = said(site, Zone::Uplink, [(SERVER, OUT), (router, port)], &says);
    let seen = all(site, &[sent]);
    let (errors, came): (Vec<_>, Vec<_>) =
        seen.iter().filter(|it| it.contains(&says)).partition(|it| it.leg == uplink);
    let is_error = |it: &&CapturedFrame| it.frame[23] == icmp::ICMP && it.frame[34..36] == [3, 3];
    let legs = came.iter().map(|it| site.panel.legs()[it.leg].zone.clone()).collect();
    (legs, errors.iter().any(is_error))
}

/// A board sends from reserved ports. Packets to these ports arrive at their owners, and answers to
/// the translated port at the board. Returns the unexpected results.
pub fn nobody_takes_anothers(site: &mut Site) -> Vec<String> {
    let mut wrong = vec![];
    let mut must = |is_so: bool, what: String| wrong.extend((!is_so).then_some(what));
    for (port, owner) in
        [(PUBLISHED.0, Some(PUBLISHED.1)), (LINKS, None), (OPENED, None), (5750, None)]
    {
        let left = leaves_by(site, 1, port, SERVER);
        let is_free = port == 5750;
        let is_well = left.is_some_and(|it| if is_free { it == port } else { MOVED.contains(&it) });
        must(is_well, format!("board-1 leaves from {port} by {left:?}"));
        if let Some(left) = left.filter(|left| is_free || *left != port) {
            let came = comes_out(site, left);
            must(came == (vec!["board-1".into()], false), format!("its answer: {came:?}"));
        }
        if !is_free {
            let came = comes_out(site, port);
            let owner = (owner.iter().map(Zone::to_string).collect(), owner.is_none());
            must(came == owner, format!("for {port} of {owner:?}: {came:?}"));
        }
    }
    // The owner of a port leaves by it.
    let Zone::Board(board) = PUBLISHED.1 else { unreachable!() };
    let left = leaves_by(site, board, PUBLISHED.0, OTHER);
    must(left == Some(PUBLISHED.0), format!("{} leaves by {left:?}", PUBLISHED.1));
    wrong.extend(collisions(site));
    wrong
}

/// Several boards send from the same ports: the first one leaves by each port, and the others by
/// ports that are not reserved. The frames are repeated until all have left.
fn collisions(site: &mut Site) -> Vec<String> {
    let mut left = BTreeMap::new();
    let flows = || SAME.flat_map(|port| BOARDS.map(|board| (port, board)));
    let says = |(port, board)| format!("octet same {port} of {board}").into_bytes();
    for round in 1..=TRIES {
        let frames: Vec<_> = flows()
            .filter(|flow| !left.contains_key(flow))
            .map(|flow| {
                let zone = Zone::Board(flow.1);
                said(site, zone, [(own(site, zone), flow.0), (SERVER, OUT)], &says(flow))
            })
            .collect();
        if frames.is_empty() {
            println!("{} flows from the same ports, after {} rounds", left.len(), round - 1);
            break;
        }
        let seen = all(site, &frames);
        let new: Vec<_> = flows().filter(|flow| !left.contains_key(flow)).collect();
        left.extend(new.into_iter().filter_map(|it| Some((it, left_by(site, &seen, &says(it))?))));
    }
    let own = left.iter().filter(|((port, _), by)| port == *by).count();
    let taken: Vec<_> = left.values().filter(|by| OPEN.contains(*by)).collect();
    if (left.len(), own, taken.len()) == (SAME.len() * BOARDS.len(), SAME.len(), 0) {
        return vec![];
    }
    vec![format!("of {} flows {own} leave by their own port, and by others' {taken:?}", left.len())]
}
