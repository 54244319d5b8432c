//! Path MTU discovery: a TCP transfer with packets that are too long for an external link completes
//! only with the ICMP errors of a router there (RFC 1191, RFC 8201).

use std::net::IpAddr;

use octet_evaluator::Zone;
use octet_machine::panel::raw::transport::{self, TCP, flags};
use octet_machine::panel::raw::{self, Ipv4, ethernet, icmp};
use octet_machine::panel::switchboard::CapturedFrame;

use crate::segments::errors::ON_THE_WAY;
use crate::segments::site::Site;

/// The policy for connections of a board to the outside.
pub const LINES: &str = r#"
[[policy]]
from = "boards"
to = "uplink"
protocol = "tcp"
ports = [7001]
"#;

/// The ports of the two ends.
const PORTS: (u16, u16) = (9001, 7001);

/// The MTU of the external link.
const MTU: u16 = 1280;

/// The MTU of the test's links.
const OWN_MTU: usize = 1500;

/// The initial sequence numbers of both ends.
const FIRST: (u32, u32) = (0x5eed_0001, 0x0dd5_0001);

const BYTES: usize = 6000;

/// A sender on board 1 that evaluates ICMP errors, and the external hosts.
struct Transfer<'a> {
    site: &'a mut Site,
    /// The addresses of the sender and its peer, as the sender sees them.
    ends: (IpAddr, IpAddr),
    outside: (IpAddr, u16),
}

/// The offset of the transport header in a frame.
fn above(frame: &[u8]) -> usize {
    if frame[12..14] == ethernet::IPV4.to_be_bytes() { 34 } else { 54 }
}

/// The source address and port of a TCP packet.
fn sender(packet: &[u8]) -> (IpAddr, u16) {
    let (address, ports): (IpAddr, usize) = match packet[0] >> 4 {
        4 => (<[u8; 4]>::try_from(&packet[12..16]).unwrap().into(), 20),
        _ => (<[u8; 16]>::try_from(&packet[8..24]).unwrap().into(), 40),
    };
    (address, u16::from_be_bytes([packet[ports], packet[ports + 1]]))
}

impl Transfer<'_> {
    /// Sends a packet from one leg, and returns the frame with `mark` on the other one.
    fn pass(&mut self, (from, to): (Zone, Zone), packet: &[u8], mark: &[u8]) -> Vec<u8> {
        let (leg, at) = (self.site.leg(from), self.site.leg(to));
        let ends = &self.site.panel.legs()[leg];
        let frame = ethernet::ip((ends.test.mac, ends.router.mac), packet);
        let sentinels = self.site.sentinels();
        let seen = self.site.panel.exchange(leg, &[frame], &sentinels).unwrap();
        let came = seen.into_iter().find(|seen| seen.leg == at && seen.contains(mark));
        let CapturedFrame { frame, .. } =
            came.unwrap_or_else(|| panic!("{from} to {to}: nothing came"));
        frame
    }

    /// Sends a segment with these flags and numbers, with fragmentation disabled (RFC 791, DF).
    fn says(&mut self, flags: u8, numbers: (u32, u32), payload: &[u8], mark: &[u8]) -> Vec<u8> {
        let segment = transport::tcp(self.ends, PORTS, flags, numbers, payload);
        let packet = match self.ends {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                Ipv4 { dont_fragment: true, ..Ipv4::new(from, to, TCP) }.packet(&segment)
            }
            ends => raw::packet(ends, TCP, &segment),
        };
        self.pass((Zone::Board(1), Zone::Uplink), &packet, mark)
    }

    /// Sends the answer of the other end.
    fn answers(&mut self, flags: u8, numbers: (u32, u32)) {
        let ((to, port), from) = (self.outside, self.ends.1);
        let segment = transport::tcp((from, to), (PORTS.1, port), flags, numbers, &[]);
        let packet = raw::packet((from, to), TCP, &segment);
        let mark = [numbers.0.to_be_bytes(), numbers.1.to_be_bytes()].concat();
        self.pass((Zone::Uplink, Zone::Board(1)), &packet, &mark);
    }

    fn begin(&mut self) {
        let first = FIRST.0 - 1;
        let came = self.says(flags::SYN, (first, 0), &[], &first.to_be_bytes());
        self.outside = sender(&came[14..]);
        self.answers(flags::SYN | flags::ACK, (FIRST.1 - 1, FIRST.0));
        self.says(flags::ACK, FIRST, &[], &FIRST.0.to_be_bytes());
    }

    /// An external router reports that `packet` is too long. Returns the MTU that the sender
    /// receives.
    fn is_too_long(&mut self, packet: &[u8]) -> u16 {
        // The quoted part (RFC 1812, RFC 4443), in an error of 576 or 1280 bytes.
        let packet = &packet[..if packet[0] >> 4 == 4 { 548 } else { 1232 }];
        let body = [&u32::from(MTU).to_be_bytes()[..], packet].concat();
        let (to, _) = self.outside;
        let error = match to {
            IpAddr::V4(_) => {
                let ends = (ON_THE_WAY.0.into(), to);
                raw::packet(ends, icmp::ICMP, &icmp::v4(3, 4, &body))
            }
            IpAddr::V6(to) => {
                let ends = (ON_THE_WAY.1, to);
                let message = icmp::v6(ends, 2, 0, &body);
                raw::packet((ends.0.into(), ends.1.into()), icmp::ICMPV6, &message)
            }
        };
        // The data after both headers is not changed in transit.
        let frame = self.pass((Zone::Uplink, Zone::Board(1)), &error, &packet[packet.len() - 32..]);
        let said = &frame[above(&frame)..];
        let kind = if to.is_ipv4() { [3, 4] } else { [2, 0] };
        assert_eq!(said[..2], kind);
        // It quotes the packet as the sender has sent it.
        assert_eq!(sender(&said[8..]), (self.ends.0, PORTS.0));
        u16::from_be_bytes([said[6], said[7]])
    }

    /// Sends `bytes`. Returns the data at the other end, and the number of errors that the sender
    /// has received.
    fn run(&mut self, bytes: &[u8]) -> (Vec<u8>, usize) {
        let headers = if self.ends.0.is_ipv4() { 40 } else { 60 };
        let (mut longest, mut received, mut told) = (OWN_MTU - headers, vec![], 0);
        self.begin();
        while received.len() < bytes.len() {
            let rest = &bytes[received.len()..];
            let some = &rest[..rest.len().min(longest)];
            let next = FIRST.0 + received.len() as u32;
            let numbers = (next, FIRST.1);
            let came = self.says(flags::PSH | flags::ACK, numbers, some, &some[..16]);
            let packet = &came[14..];
            if packet.len() > usize::from(MTU) {
                longest = usize::from(self.is_too_long(packet)) - headers;
                told += 1;
                continue;
            }
            received.extend(&packet[headers..]);
            self.answers(flags::ACK, (FIRST.1, next + some.len() as u32));
        }
        (received, told)
    }
}

/// Transfers data from board 1 to an external host, with both versions of IP.
pub fn is_discovered(site: &mut Site) {
    let legs = site.panel.legs();
    let (own, other) = (legs[site.leg(Zone::Board(1))].test, legs[site.leg(Zone::Uplink)].test);
    let mut chance = fastrand::Rng::with_seed(1);
    let bytes: Vec<u8> = (0..BYTES).map(|_| chance.u8(..)).collect();
    for ends in [(own.ipv4.into(), other.ipv4.into()), (own.ipv6.into(), other.ipv6.into())] {
        let mut transfer = Transfer { site: &mut *site, ends, outside: (ends.0, PORTS.0) };
        let (received, told) = transfer.run(&bytes);
        assert_eq!((received == bytes, told), (true, 1), "{ends:?}");
    }
}
