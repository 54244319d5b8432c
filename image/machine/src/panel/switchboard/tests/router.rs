//! A router that is made of a table: it passes on what stands there, and answers for itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::UPLINK;
use crate::panel::packet::{self, ReceivedPacket};
use crate::panel::port::Out;
use crate::panel::raw::transport::{self, TCP, UDP, flags};
use crate::panel::raw::{self, ethernet, icmp};
use crate::panel::switchboard::{Leg, Traffic};

/// What may go from a leg to a leg.
pub type Table = BTreeSet<(usize, usize, Traffic)>;

/// A router with a table.
pub struct Router {
    pub legs: Vec<Leg>,
    pub outs: Vec<Arc<Out>>,
    pub table: Table,
}

/// An IP packet, as a router sees it.
struct Packet<'a> {
    bytes: &'a [u8],
    ends: (IpAddr, IpAddr),
    protocol: u8,
    above: &'a [u8],
}

impl<'a> Packet<'a> {
    fn read(frame: &'a [u8]) -> Option<Self> {
        let bytes = &frame[14..];
        let four = |at: usize| {
            IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap()))
        };
        let sixteen = |at: usize| {
            IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap()))
        };
        Some(match frame[12..14] {
            [8, 0] => {
                Self { bytes, ends: (four(12), four(16)), protocol: bytes[9], above: &bytes[20..] }
            }
            [0x86, 0xdd] => {
                let ends = (sixteen(8), sixteen(24));
                Self { bytes, ends, protocol: bytes[6], above: &bytes[40..] }
            }
            _ => return None,
        })
    }

    fn ports(&self) -> (u16, u16) {
        let port = |at: usize| u16::from_be_bytes([self.above[at], self.above[at + 1]]);
        (port(0), port(2))
    }

    fn traffic(&self) -> Traffic {
        match self.protocol {
            TCP => Traffic::Tcp(self.ports().1),
            UDP => Traffic::Udp(self.ports().1),
            icmp::ICMP | icmp::ICMPV6 => Traffic::Ping,
            number => Traffic::Protocol(number),
        }
    }

    /// What a router says that is asked itself.
    fn answer(&self) -> Option<Vec<u8>> {
        let back = (self.ends.1, self.ends.0);
        let ports = || (self.ports().1, self.ports().0);
        let mut number = [0; 4];
        number.copy_from_slice(&self.above[4..8]);
        let number = u32::from_be_bytes(number);
        let above = match self.traffic() {
            Traffic::Tcp(4040) if self.above[13] == flags::SYN => {
                transport::tcp(back, ports(), flags::SYN | flags::ACK, (77, number + 1), &[])
            }
            Traffic::Tcp(_) if self.above[13] == flags::SYN => {
                transport::tcp(back, ports(), flags::RST | flags::ACK, (0, number + 1), &[])
            }
            Traffic::Tcp(_) => return None,
            // An echo, of the test's own words.
            Traffic::Udp(7) => transport::udp(back, ports(), &self.above[8..]),
            Traffic::Udp(53) => transport::udp(back, ports(), b"an answer"),
            Traffic::Udp(123) => return None,
            Traffic::Ping => {
                icmp::echo(back, false, ((number >> 16) as u16, number as u16), &self.above[8..])
            }
            _ => return Some(self.unreachable(back)),
        };
        Some(raw::packet(back, self.protocol, &above))
    }

    fn unreachable(&self, back: (IpAddr, IpAddr)) -> Vec<u8> {
        let quoted = [&[0; 4], self.bytes].concat();
        match back {
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                raw::packet(back, icmp::ICMPV6, &icmp::v6((from, to), 1, 4, &quoted))
            }
            _ => raw::packet(back, icmp::ICMP, &icmp::v4(3, 3, &quoted)),
        }
    }
}

impl Router {
    /// Deals with a frame that came in on a leg.
    pub fn take(&self, from: usize, frame: &[u8]) {
        let leg = &self.legs[from];
        let own = |address: IpAddr| {
            self.legs
                .iter()
                .any(|leg| [leg.router.ipv4.into(), leg.router.ipv6.into()].contains(&address))
        };
        if let Some((_, ReceivedPacket::WhoHas { target, asker, asker_mac })) = packet::parse(frame)
        {
            if own(target) {
                let macs = (leg.router.mac, asker_mac);
                self.send(from, &packet::neighbour(macs, target, asker, target, false));
            }
            return;
        }
        let Some(packet) = Packet::read(frame) else { return };
        if own(packet.ends.1) {
            if let Some(answer) = packet.answer() {
                self.deliver(packet.ends.0, &answer);
            }
            return;
        }
        let to = self.leads_to(packet.ends.1);
        if self.table.contains(&(from, to, packet.traffic())) {
            self.deliver(packet.ends.1, packet.bytes);
        }
    }

    fn leads_to(&self, address: IpAddr) -> usize {
        self.legs.iter().position(|leg| leg.answers_for(address)).unwrap_or(UPLINK)
    }

    fn deliver(&self, to: IpAddr, packet: &[u8]) {
        let index = self.leads_to(to);
        let leg = &self.legs[index];
        self.send(index, &ethernet::ip((leg.router.mac, leg.test.mac), packet));
    }

    fn send(&self, leg: usize, frame: &[u8]) {
        let _ = self.outs[leg].send(frame);
    }
}
