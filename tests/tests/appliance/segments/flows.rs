//! Flows whose both ends the test simulates, frame by frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use octet_evaluator::{Probe as Asked, Traffic, Version, World};
use octet_machine::panel::raw::transport::{self, TCP, UDP, flags};
use octet_machine::panel::raw::{self, ethernet};
use octet_machine::panel::switchboard::{CapturedFrame, Leg, Sentinel, Switchboard};

use crate::segments::site::probe;

/// The first of the clients' ports, and their number: probes neither use them as sources nor as
/// destinations.
const FIRST_PORT: u16 = 12_000;
const PORTS: u16 = 7_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

#[derive(Debug)]
pub struct Flow {
    pub asked: Asked,
    number: u32,
    is_tcp: bool,
    client: End,
    server: End,
    said: u32,
}

/// One end of a flow.
#[derive(Debug, Clone, Copy)]
struct End {
    leg: usize,
    /// Its own address and the peer's, as it sees them.
    addresses: (IpAddr, IpAddr),
    ports: (u16, u16),
    /// Its next sequence number, and the expected one of the peer.
    next: u32,
    awaits: u32,
}

#[derive(Debug)]
pub struct Word {
    /// The leg on which it is sent.
    pub from: usize,
    pub frame: Vec<u8>,
    /// A unique mark in the packet, and the leg of its destination.
    mark: Vec<u8>,
    to: usize,
}

impl Word {
    /// Whether it has arrived at its destination.
    pub fn came(&self, seen: &[CapturedFrame]) -> bool {
        self.came_at(seen).any(|leg| leg == self.to)
    }

    /// The legs at which it has arrived.
    pub fn came_at(&self, seen: &[CapturedFrame]) -> impl Iterator<Item = usize> {
        let carrying = seen.iter().filter(|seen| seen.contains(&self.mark));
        carrying.map(|seen| seen.leg)
    }
}

impl Flow {
    /// A flow that `world` allows, with a unique number.
    pub fn new(panel: &Switchboard, world: &World, asked: Asked, number: u32) -> Self {
        let (from, to, traffic, version) = asked;
        let (is_tcp, port) = match traffic {
            Traffic::Tcp(port) => (true, port),
            Traffic::Udp(port) => (false, port),
            other => panic!("{other} has no ports"),
        };
        let zone = world.reaches(from, to, traffic, version).expect("it is let");
        let probe = probe(panel, asked);
        let own = panel.legs()[probe.from].test.source_address(probe.to);
        let client_port = FIRST_PORT + (number % u32::from(PORTS)) as u16;
        let client = End {
            leg: probe.from,
            addresses: (own, probe.to),
            ports: (client_port, port),
            // A sequence number that switchboards do not use.
            next: 0x5eed_0000_u32.wrapping_add(number << 8),
            awaits: 0,
        };
        let leg = panel.leg(&zone.to_string()).expect("it comes out at a leg");
        let server = End { leg, next: !client.next, ..client };
        Self { asked, number, is_tcp, client, server, said: 0 }
    }

    /// The next packet of `side`.
    pub fn word(&mut self, panel: &Switchboard, side: Side) -> Word {
        let word = self.again(panel, side);
        let count = word.mark.len() as u32;
        let own = if side == Side::Client { &mut self.client } else { &mut self.server };
        own.next = own.next.wrapping_add(count);
        word
    }

    /// The same, but for TCP the next packet repeats the sequence number: its delivery is not
    /// certain.
    pub fn again(&mut self, panel: &Switchboard, side: Side) -> Word {
        self.said += 1;
        let name: &[u8] = if side == Side::Client { b"flow client " } else { b"flow server " };
        let mark = [name, &self.number.to_be_bytes(), &self.said.to_be_bytes()].concat();
        self.segment(panel, side, flags::PSH | flags::ACK, mark.clone(), &mark)
    }

    /// Records that all data of `side` has arrived: the peer acknowledges it from now on.
    pub fn is_there(&mut self, side: Side) {
        match side {
            Side::Client => self.server.awaits = self.client.next,
            Side::Server => self.client.awaits = self.server.next,
        }
    }

    /// A segment, or a datagram, which ignores `flags`; it is recognised by `mark`.
    fn segment(
        &self,
        panel: &Switchboard,
        side: Side,
        flags: u8,
        mark: Vec<u8>,
        says: &[u8],
    ) -> Word {
        let (own, other) = match side {
            Side::Client => (&self.client, &self.server),
            Side::Server => (&self.server, &self.client),
        };
        let (protocol, above) = match self.is_tcp {
            true => {
                let numbers = (own.next, own.awaits);
                (TCP, transport::tcp(own.addresses, own.ports, flags, numbers, says))
            }
            false => (UDP, transport::udp(own.addresses, own.ports, says)),
        };
        let Leg { test, router, .. } = &panel.legs()[own.leg];
        let packet = raw::packet(own.addresses, protocol, &above);
        let frame = ethernet::ip((test.mac, router.mac), &packet);
        Word { from: own.leg, frame, mark, to: other.leg }
    }

    fn hello(&mut self, panel: &Switchboard, side: Side) -> Word {
        if !self.is_tcp {
            return self.word(panel, side);
        }
        // The sequence numbers are not changed in transit.
        let (own, flags) = match side {
            Side::Client => (&self.client, flags::SYN),
            Side::Server => (&self.server, flags::SYN | flags::ACK),
        };
        let mark = own.next.to_be_bytes().to_vec();
        let word = self.segment(panel, side, flags, mark, &[]);
        let own = if side == Side::Client { &mut self.client } else { &mut self.server };
        own.next = own.next.wrapping_add(1);
        word
    }

    /// The server answers to the source address and port that it sees, which the router may have
    /// translated.
    fn learn(&mut self, seen: &[CapturedFrame], word: &Word) {
        let mut came = seen.iter().filter(|seen| seen.leg == word.to && seen.contains(&word.mark));
        let seen = came.next().unwrap_or_else(|| panic!("{self:?} does not begin"));
        let (addresses, ports) = ends(&seen.frame, self.asked.3);
        self.server.addresses = (addresses.1, addresses.0);
        self.server.ports = (ports.1, ports.0);
    }
}

/// Starts all of `flows`: each is answered, and TCP handshakes are completed.
pub fn begin(panel: &mut Switchboard, flows: &mut [Flow], sentinels: &[Sentinel]) {
    for (side, is_hello) in [(Side::Client, true), (Side::Server, true), (Side::Client, false)] {
        let word = |flow: &mut Flow| match is_hello {
            true => flow.hello(panel, side),
            false => flow.word(panel, side),
        };
        let words: Vec<_> = flows.iter_mut().map(word).collect();
        let frames: Vec<_> = words.iter().map(|word| (word.from, word.frame.clone())).collect();
        let seen = panel.exchange_all(&frames, sentinels).unwrap();
        for (flow, word) in flows.iter_mut().zip(&words) {
            assert!(word.came(&seen), "{flow:?} does not begin");
            if side == Side::Client && is_hello {
                flow.learn(&seen, word);
            }
            flow.is_there(side);
        }
    }
}

/// The addresses and ports of a frame without IP options.
fn ends(frame: &[u8], version: Version) -> ((IpAddr, IpAddr), (u16, u16)) {
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    match version {
        Version::V4 => {
            let address = |at: usize| {
                let bytes: [u8; 4] = frame[at..at + 4].try_into().unwrap();
                Ipv4Addr::from(bytes).into()
            };
            ((address(26), address(30)), (port(34), port(36)))
        }
        Version::V6 => {
            let address = |at: usize| {
                let bytes: [u8; 16] = frame[at..at + 16].try_into().unwrap();
                Ipv6Addr::from(bytes).into()
            };
            ((address(22), address(38)), (port(54), port(56)))
        }
    }
}
