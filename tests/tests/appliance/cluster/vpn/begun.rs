//! TCP handshakes, in which each side announces its maximum segment size.

use std::net::Ipv4Addr;

use octet_machine::panel::Mac;
use octet_machine::panel::raw::{self, transport};

/// The MSS that both sides announce: 1500 bytes less the headers of IPv4 and TCP.
pub const SAID: u16 = 1460;

/// The first segment of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    pub from: (Ipv4Addr, u16),
    pub to: (Ipv4Addr, u16),
    /// Whether it answers the other side's.
    pub answers: bool,
    /// The maximum segment size.
    pub longest: u16,
}

impl Begun {
    pub fn frame(&self, macs: (Mac, Mac)) -> Vec<u8> {
        let ends = (self.from.0.into(), self.to.0.into());
        let more = if self.answers { transport::flags::ACK } else { 0 };
        let segment = transport::syn(ends, (self.from.1, self.to.1), more, self.longest);
        raw::ethernet::ip(macs, &raw::packet(ends, transport::TCP, &segment))
    }

    /// Parses a frame with such a segment.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let (ip, tcp) = (frame.get(14..34)?, frame.get(34..58)?);
        let is_tcp = frame[12..14] == [8, 0] && ip[0] == 0x45 && ip[9] == transport::TCP;
        let [flags, 2, 4, high, low] = [tcp[13], tcp[20], tcp[21], tcp[22], tcp[23]] else {
            return None;
        };
        let begins = is_tcp && flags & transport::flags::SYN != 0;
        let address = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
        let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        begins.then(|| Self {
            from: (address(12), port(0)),
            to: (address(16), port(2)),
            answers: flags & transport::flags::ACK != 0,
            longest: u16::from_be_bytes([high, low]),
        })
    }
}
