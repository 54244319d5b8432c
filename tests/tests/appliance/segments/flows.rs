//! Flows of which the test is both ends, frame by frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use octet_evaluator::{Probe as Asked, Traffic, Version, World};
use octet_machine::panel::raw::transport::{self, TCP, UDP, flags};
use octet_machine::panel::raw::{self, ethernet};
use octet_machine::panel::switchboard::{CapturedFrame, Leg, Sentinel, Switchboard};

use crate::segments::site::probe;

/// The ports of clients begin here: no probe comes from these, nor is for them.
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

/// One end: where it is, and how it speaks.
#[derive(Debug, Clone, Copy)]
struct End {
    leg: usize,
    /// Its own address and the other one's, as it knows them.
    addresses: (IpAddr, IpAddr),
    ports: (u16, u16),
    /// The number of its next byte, and that of the other one's which it waits for.
    next: u32,
    awaits: u32,
}

#[derive(Debug)]
pub struct Word {
    /// The leg that it is sent on.
    pub from: usize,
    pub frame: Vec<u8>,
    /// Bytes that nothing else carries, and the leg that they are for.
    mark: Vec<u8>,
    to: usize,
}

impl Word {
    /// Whether it is among what came out where it is for.
    pub fn came(&self, seen: &[CapturedFrame]) -> bool {
        self.came_at(seen).any(|leg| leg == self.to)
    }

    /// The legs at which it came out, wherever it was for.
    pub fn came_at(&self, seen: &[CapturedFrame]) -> impl Iterator<Item = usize> {
        let carrying = seen.iter().filter(|seen| seen.contains(&self.mark));
        carrying.map(|seen| seen.leg)
    }
}

impl Flow {
    /// One that `world` lets, with a number that no other has.
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
            // Nothing that switchboards know.
            next: 0x5eed_0000_u32.wrapping_add(number << 8),
            awaits: 0,
        };
        let leg = panel.leg(&zone.to_string()).expect("it comes out at a leg");
        let server = End { leg, next: !client.next, ..client };
        Self { asked, number, is_tcp, client, server, said: 0 }
    }

    /// The next thing that `side` says.
    pub fn word(&mut self, panel: &Switchboard, side: Side) -> Word {
        let word = self.again(panel, side);
        let count = word.mark.len() as u32;
        let own = if side == Side::Client { &mut self.client } else { &mut self.server };
        own.next = own.next.wrapping_add(count);
        word
    }

    /// The same, but of TCP the next one comes in its place: it is not known to be delivered.
    pub fn again(&mut self, panel: &Switchboard, side: Side) -> Word {
        self.said += 1;
        let name: &[u8] = if side == Side::Client { b"flow client " } else { b"flow server " };
        let mark = [name, &self.number.to_be_bytes(), &self.said.to_be_bytes()].concat();
        self.segment(panel, side, flags::PSH | flags::ACK, mark.clone(), &mark)
    }

    /// Takes note that all is there that `side` has said: from now on the other one says so.
    pub fn is_there(&mut self, side: Side) {
        match side {
            Side::Client => self.server.awaits = self.client.next,
            Side::Server => self.client.awaits = self.server.next,
        }
    }

    /// A segment, or a datagram, which has no `flags`; it is known by `mark`.
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
        // Numbers are known on the way: nobody changes them.
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

    /// The server answers as it was asked: the router may have changed addresses and ports.
    fn learn(&mut self, seen: &[CapturedFrame], word: &Word) {
        let mut came = seen.iter().filter(|seen| seen.leg == word.to && seen.contains(&word.mark));
        let seen = came.next().unwrap_or_else(|| panic!("{self:?} does not begin"));
        let (addresses, ports) = ends(&seen.frame, self.asked.3);
        self.server.addresses = (addresses.1, addresses.0);
        self.server.ports = (ports.1, ports.0);
    }
}

/// Begins all of `flows`: each has an answer, and TCP says that it has it.
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

/// From whom a frame is and to whom, with their ports. It has no options.
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
