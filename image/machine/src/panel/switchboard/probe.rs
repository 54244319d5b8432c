//! A packet of which it can be told where it came out.

use std::net::IpAddr;

use super::leg::Leg;
use crate::panel::raw::transport::{self, TCP, UDP, flags};
use crate::panel::raw::{self, ethernet, icmp};

/// What stands before the tag in what a probe carries.
pub(super) const MARK: &[u8; 12] = b"octet probe ";

/// The first port that probes come from; each probe has the next one.
const FIRST_PORT: u16 = 20_000;

/// Probes' ports wrap around after so many.
const PORTS: u32 = 40_000;

/// A probe that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The leg that it is sent on, by its index.
    pub from: usize,
    /// Who says that it is the sender; `None` for the leg's own address.
    pub source: Option<IpAddr>,
    pub to: IpAddr,
    pub traffic: Traffic,
    /// What it carries. A datagram then carries nothing else, and is known by its source port; what
    /// is of another protocol has its tag behind it. TCP does not carry it.
    pub payload: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Traffic {
    /// A connection is asked for, at this port.
    Tcp(u16),
    /// A datagram for this port.
    Udp(u16),
    /// An echo request, of the version that the address has.
    Ping,
    /// A packet of the protocol with this number.
    Protocol(u8),
}

impl Probe {
    /// From the test's own address on a leg.
    pub fn new(from: usize, to: IpAddr, traffic: Traffic) -> Self {
        Self { from, source: None, to, traffic, payload: vec![] }
    }

    /// From an address that may be somebody else's.
    pub fn from_address(self, source: IpAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    pub fn with_payload(self, payload: &[u8]) -> Self {
        Self { payload: payload.to_vec(), ..self }
    }

    /// The frame that is sent on `leg`, with `tag` in it. All numbers that a connection is told apart
    /// by are made of the tag, so that no probe belongs to what an earlier one began.
    pub(super) fn frame(&self, leg: &Leg, tag: u32) -> Vec<u8> {
        let ends = (self.source.unwrap_or_else(|| leg.test.source_address(self.to)), self.to);
        let tagged = [&self.payload[..], MARK, &tag.to_be_bytes()].concat();
        let (protocol, above) = match self.traffic {
            Traffic::Tcp(port) => {
                (TCP, transport::tcp(ends, (own_port(tag), port), flags::SYN, (tag, 0), &[]))
            }
            Traffic::Udp(port) => {
                let says = if self.payload.is_empty() { &tagged } else { &self.payload };
                (UDP, transport::udp(ends, (own_port(tag), port), says))
            }
            Traffic::Ping => {
                let numbers = (tag as u16, (tag >> 16) as u16);
                let protocol = if self.to.is_ipv4() { icmp::ICMP } else { icmp::ICMPV6 };
                (protocol, icmp::echo(ends, true, numbers, &tagged))
            }
            Traffic::Protocol(number) => (number, tagged),
        };
        ethernet::ip((leg.test.mac, leg.router.mac), &raw::packet(ends, protocol, &above))
    }
}

/// The port that a probe comes from.
pub(super) fn own_port(tag: u32) -> u16 {
    FIRST_PORT + (tag % PORTS) as u16
}
