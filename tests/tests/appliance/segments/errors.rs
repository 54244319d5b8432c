//! ICMP errors about allowed flows: from routers on the path, and from all others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use octet_evaluator::{LONGEST_ERROR, Zone};
use octet_machine::panel::raw::{self, ethernet, icmp, transport};
use serde_json::Value;

use crate::segments::site::Site;

/// The reason under which they are counted.
const REASON: &str = "icmp-error";

/// The reason for errors above the limit per second.
const TOO_MANY: &str = "too-many";

/// More than the limit per second, and few enough that a slow host does not stretch them over
/// several seconds.
const MANY: usize = 512;

/// The number of the flow that they concern.
const OF_MANY: usize = 99;

/// ICMP errors of IPv4 and of IPv6: type and code (RFC 792, RFC 4443). The second one of each
/// version has the MTU.
const KINDS: [[(u8, u8); 4]; 2] =
    [[(3, 3), (3, 4), (11, 0), (12, 0)], [(1, 4), (2, 0), (3, 0), (4, 0)]];

/// An external router, which is not an end of any flow.
pub const ON_THE_WAY: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(203, 0, 113, 9), Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 9));

/// A flow to start: its source, its destination, whether by the router's uplink address, and the
/// UDP port.
pub type Wanted = (Zone, Zone, bool, u16);

/// The number of errors about each flow to each of its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Much {
    /// One error from each zone.
    One,
    /// From the permitted zone all kinds, and one with the maximum size, and a longer one.
    All,
}

/// A flow with the addresses of its packets.
struct Flow {
    about: (Zone, Zone),
    /// Both ends, as its source and as its destination see them, with ports.
    here: [(IpAddr, u16); 2],
    there: [(IpAddr, u16); 2],
}

/// An error in transit.
struct Sent {
    by: Zone,
    told: Zone,
    is_let: bool,
    mark: Vec<u8>,
    frame: Vec<u8>,
    what: String,
}

fn address(site: &Site, zone: Zone, is_v4: bool) -> IpAddr {
    let end = site.panel.legs()[site.leg(zone)].test;
    if is_v4 { end.ipv4.into() } else { end.ipv6.into() }
}

fn datagram(ends: [(IpAddr, u16); 2], says: &[u8]) -> Vec<u8> {
    let ([(from, port), (to, at)], protocol) = (ends, transport::UDP);
    raw::packet((from, to), protocol, &transport::udp((from, to), (port, at), says))
}

fn frame(site: &Site, zone: Zone, packet: &[u8]) -> Vec<u8> {
    let leg = &site.panel.legs()[site.leg(zone)];
    ethernet::ip((leg.test.mac, leg.router.mac), packet)
}

/// The source address and port of a UDP packet.
fn sender(packet: &[u8], is_v4: bool) -> (IpAddr, u16) {
    let (at, ports) = if is_v4 { (12..16, 20) } else { (8..24, 40) };
    let address: IpAddr = match <[u8; 4]>::try_from(&packet[at.clone()]) {
        Ok(ipv4) => ipv4.into(),
        Err(_) => <[u8; 16]>::try_from(&packet[at]).unwrap().into(),
    };
    (address, u16::from_be_bytes([packet[ports], packet[ports + 1]]))
}

/// Starts a flow, and records its addresses at the destination.
fn begin(site: &mut Site, number: usize, wanted: Wanted, is_v4: bool) -> Flow {
    let (from, to, by_outside, port) = wanted;
    let leg = site.panel.legs()[site.leg(if by_outside { Zone::Uplink } else { from })].clone();
    let own = (address(site, from, is_v4), 5400 + number as u16);
    let router: IpAddr = if is_v4 { leg.router.ipv4.into() } else { leg.router.ipv6.into() };
    let other = match to {
        Zone::Router => router,
        _ if by_outside => router,
        to => address(site, to, is_v4),
    };
    let here = [own, (other, port)];
    let says = format!("octet flow {number} {is_v4}").into_bytes();
    let sentinels = site.sentinels();
    let sent = frame(site, from, &datagram(here, &says));
    let seen = site.panel.exchange(site.leg(from), &[sent], &sentinels).unwrap();
    let there = match to {
        Zone::Router => here,
        to => {
            let at = site.leg(to);
            let came = seen.iter().find(|seen| seen.leg == at && seen.contains(&says));
            let came = came.unwrap_or_else(|| panic!("{from} to {to}: nothing came of {says:?}"));
            [sender(&came.frame[14..], is_v4), (address(site, to, is_v4), port)]
        }
    };
    Flow { about: (from, to), here, there }
}

/// The error from `by` to `told` about `flow`, with `mark` after the quoted packet.
fn error(
    site: &Site,
    flow: &Flow,
    (by, told): (Zone, Zone),
    (kind, code): (u8, u8),
    mark: &[u8],
) -> Vec<u8> {
    // It quotes a packet of `told`, as it looks at the place of the error.
    let mut quoted = if told == flow.about.0 { flow.there } else { flow.here };
    if told != flow.about.0 {
        quoted.reverse();
    }
    let to = quoted[0].0;
    let from = match (by, to) {
        (Zone::Uplink, IpAddr::V4(_)) => ON_THE_WAY.0.into(),
        (Zone::Uplink, IpAddr::V6(_)) => ON_THE_WAY.1.into(),
        (by, to) => address(site, by, to.is_ipv4()),
    };
    let body = [&[0, 0, 5, 0][..], &datagram(quoted, b""), mark].concat();
    let packet = match (from, to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let message = icmp::v6((from, to), kind, code, &body);
            raw::packet((from.into(), to.into()), icmp::ICMPV6, &message)
        }
        ends => raw::packet(ends, icmp::ICMP, &icmp::v4(kind, code, &body)),
    };
    frame(site, by, &packet)
}

/// The drops for this reason, by device.
fn counted(shown: &Value, reason: &str) -> BTreeMap<String, u64> {
    let drops = shown["drops"].as_object().unwrap().iter();
    let counted = drops.filter_map(|(device, all)| Some((device.clone(), all[reason].as_u64()?)));
    counted.collect()
}

/// The differences of the counters: frames that links have received, and drops for other reasons.
fn changed(before: &Value, after: &Value) -> String {
    let lines = |shown: &Value| -> Vec<String> {
        let listed = ["links", "rules"].iter().flat_map(|it| shown[it].as_array().unwrap());
        let one = ["alarms", "drops"].map(|it| &shown[it]);
        listed.chain(one).map(Value::to_string).collect()
    };
    let before: BTreeSet<_> = lines(before).into_iter().collect();
    let after = lines(after).into_iter().filter(|line| !before.contains(line));
    after.collect::<Vec<_>>().join("\n")
}

/// Permitted errors about one flow, from its other end: some pass, and those above the limit per
/// second are counted.
pub fn only_so_many(site: &mut Site, wanted: Wanted) {
    let flow = begin(site, OF_MANY, wanted, true);
    let (told, by) = flow.about;
    let says = b"octet error of many";
    let frame = error(site, &flow, (by, told), KINDS[0][0], says);
    let (from, at, sentinels) = (site.leg(by), site.leg(told), site.sentinels());
    let before = counted(&site.shown(), TOO_MANY);
    let seen = site.panel.exchange(from, &vec![frame; MANY], &sentinels).unwrap();
    let after = counted(&site.shown(), TOO_MANY);
    let came = seen.iter().filter(|seen| seen.leg == at && seen.contains(says)).count();
    let device = site.world.device(by).unwrap();
    let dropped = after.get(device).unwrap_or(&0) - before.get(device).unwrap_or(&0);
    println!("of {MANY} errors {came} come, and {dropped} are {TOO_MANY}");
    assert!(came > 0 && came < MANY, "{came}");
    assert_eq!(dropped, (MANY - came) as u64);
}

/// Errors about each flow, to each of its ends, from every zone: those from the zone of the other
/// end pass unchanged, and all others are counted. Errors above the maximum size are, too.
///
/// Returns the unexpected results.
pub fn only_by_those_on_the_way(site: &mut Site, flows: &[Wanted], much: Much) -> Vec<String> {
    let zones: Vec<_> = site.world.zones().into_iter().filter(|it| *it != Zone::Router).collect();
    let mut all = vec![];
    for (version, is_v4) in [true, false].into_iter().enumerate() {
        for (number, wanted) in flows.iter().enumerate() {
            let flow = begin(site, number, *wanted, is_v4);
            for (told, by) in [flow.about.0, flow.about.1]
                .into_iter()
                .flat_map(|told| zones.iter().map(move |by| (told, *by)))
            {
                let is_let = site.world.lets_error(by, flow.about, told);
                let turn = all.len();
                let mut add = |kind, is_let, fill: usize| {
                    let mut mark = format!("octet error {:05}", all.len()).into_bytes();
                    let frame = error(site, &flow, (by, told), kind, &mark);
                    mark.resize(mark.len() + fill.saturating_sub(frame.len() - 14), b'.');
                    let frame = error(site, &flow, (by, told), kind, &mark);
                    let what = format!("{kind:?} by {by} to {told} about {:?}", flow.here);
                    all.push(Sent { by, told, is_let, mark, frame, what });
                };
                let kinds = KINDS[version];
                if is_let && much == Much::All {
                    kinds.into_iter().for_each(|kind| add(kind, true, 0));
                    add(kinds[0], true, LONGEST_ERROR[version]);
                    add(kinds[0], false, LONGEST_ERROR[version] + 1);
                } else {
                    add(kinds[turn % kinds.len()], is_let, 0);
                }
            }
        }
    }
    let sentinels = site.sentinels();
    let shown_before = site.shown();
    let frames: Vec<_> = all.iter().map(|it| (site.leg(it.by), it.frame.clone())).collect();
    let seen = site.panel.exchange_all(&frames, &sentinels).unwrap();
    let shown_after = site.shown();
    let [before, after] = [&shown_before, &shown_after].map(|shown| counted(shown, REASON));
    let mut wrong = vec![];
    let mut meant: BTreeMap<String, u64> = BTreeMap::new();
    for it in &all {
        let came: Vec<_> = seen.iter().filter(|seen| seen.contains(&it.mark)).collect();
        let at = (it.is_let && it.told != Zone::Router).then(|| site.leg(it.told));
        if came.iter().map(|seen| seen.leg).ne(at) {
            wrong.push(format!("{}: meant for leg {at:?}, came {came:?}", it.what));
        }
        let device = site.world.device(it.by).unwrap().to_owned();
        *meant.entry(device).or_default() += u64::from(!it.is_let);
    }
    for (device, meant) in meant {
        let counted = after.get(&device).unwrap_or(&0) - before.get(&device).unwrap_or(&0);
        if counted != meant {
            wrong.push(format!("{device}: {counted} of {meant} errors are counted"));
        }
    }
    if !wrong.is_empty() {
        println!("{}\n{}", shown_before["links"], changed(&shown_before, &shown_after));
    }
    let arrived = all.iter().filter(|it| it.is_let).count();
    println!("{} errors, of which {arrived} are let", all.len());
    wrong
}
