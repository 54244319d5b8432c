//! A board made by the test: it says single packets and hears what comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::packet::{self, Kind, ReceivedPacket, Segment};
use super::port::{Mac, Port};

/// How long an answer that must come may take; long, because the host may be busy.
const TIMEOUT: Duration = Duration::from_secs(180);

/// How often a question is asked again meanwhile: the first ones may come before the guest's link.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// The pause between two turns of knocking.
const TURN_DELAY: Duration = Duration::from_millis(5);

/// Probes that are under way at once: fewer than any card's ring has room for.
const MAX_IN_FLIGHT: usize = 64;

/// How often a program has to answer before another program had its time to.
const ROUNDS: usize = 3;

/// The first port that probes come from; each probe has the next one.
const FIRST_PORT: u16 = 20_000;

/// Probes' ports wrap around after so many.
const PORTS: u16 = 40_000;

/// What a probe of a port came back with. A port that says nothing is in no list of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    Open,
    /// It is said that nobody is there.
    Closed,
}

/// A board with one address of its own.
#[derive(Debug)]
pub struct Station {
    port: Port,
    mac: Mac,
    addresses: Vec<IpAddr>,
    next: u16,
}

impl Station {
    /// At `port`, with an Ethernet address and IP addresses.
    pub fn new(port: Port, mac: Mac, addresses: &[IpAddr]) -> Self {
        Self { port, mac, addresses: addresses.to_vec(), next: 0 }
    }

    pub fn into_port(self) -> Port {
        self.port
    }

    /// The Ethernet address of `target`, which is asked for until it is said.
    ///
    /// # Errors
    /// Nobody says it within three minutes, or the guest is gone.
    pub fn resolve(&mut self, target: IpAddr) -> io::Result<Mac> {
        let own = self.source_address(target)?;
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline {
            let (group, everybody) = packet::solicitation_target(target);
            let solicitation = packet::neighbour((self.mac, everybody), own, group, target, true);
            self.port.send(&solicitation)?;
            let again = deadline.min(Instant::now() + RETRY_DELAY);
            while let Some(heard) = self.receive(again)? {
                match heard {
                    ReceivedPacket::IsAt { address, mac, .. } if address == target => {
                        return Ok(mac);
                    }
                    _ => {}
                }
            }
        }
        Err(timed_out(format!("nobody says where {target} is")))
    }

    /// Probes TCP `ports` of `target`, and then `sentinel`, a TCP port that is known to answer: what
    /// has not come by then was refused in silence.
    ///
    /// # Errors
    /// The sentinel is not answered, or the guest is gone.
    pub fn scan_tcp(
        &mut self,
        target: IpAddr,
        ports: impl IntoIterator<Item = u16>,
        sentinel: u16,
    ) -> io::Result<BTreeMap<u16, Reply>> {
        self.scan(target, ports, sentinel, Kind::Syn)
    }

    /// The same with datagrams; the sentinel is a port that is known to send them back. That is done
    /// by a program, as with every other answer, so it is probed several times in turn.
    pub fn scan_udp(
        &mut self,
        target: IpAddr,
        ports: impl IntoIterator<Item = u16>,
        sentinel: u16,
    ) -> io::Result<BTreeMap<u16, Reply>> {
        self.scan(target, ports, sentinel, Kind::Udp)
    }

    /// Probes TCP `ports` of `target`, whose Ethernet address is `to`, over and over until its port
    /// `sentinel` answers, and once more after that: from before there is anybody on the wire, and
    /// through the moment in which somebody comes. Returns the ports that have said anything.
    ///
    /// # Errors
    /// The sentinel does not answer within `within`, or the guest is gone.
    pub fn probe_tcp(
        &mut self,
        to: Mac,
        (target, sentinel): (IpAddr, u16),
        ports: &[u16],
        within: Duration,
    ) -> io::Result<BTreeSet<u16>> {
        let own = self.source_address(target)?;
        let deadline = Instant::now() + within;
        let mut answered = BTreeSet::new();
        while !answered.contains(&sentinel) {
            if Instant::now() >= deadline {
                return Err(timed_out(format!(
                    "{target} port {sentinel} has not answered in time"
                )));
            }
            for port in ports.iter().chain([&sentinel]) {
                let from = (own, self.next_port());
                let probe = Segment { from, to: (target, *port), kind: Kind::Syn };
                match self.send_segment((self.mac, to), &probe) {
                    // Nobody takes it yet.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    sent => sent?,
                }
            }
            let turn = Instant::now() + TURN_DELAY;
            while let Some(heard) = self.receive(turn)? {
                if let ReceivedPacket::Segment(segment) = heard
                    && segment.from.0 == target
                {
                    answered.insert(segment.from.1);
                }
            }
        }
        answered.extend(self.scan_tcp(target, ports.iter().copied(), sentinel)?.keys());
        Ok(answered)
    }

    /// Sends `packets` to the Ethernet address `to`, then probes the `sentinel` until it answers, and
    /// returns every packet that was heard meanwhile, whoever it was for.
    ///
    /// # Errors
    /// The sentinel is not answered, or the guest is gone.
    pub fn exchange(
        &mut self,
        to: Mac,
        packets: &[Segment],
        sentinel: (IpAddr, u16),
    ) -> io::Result<Vec<Segment>> {
        for segment in packets {
            self.send_segment((self.mac, to), segment)?;
        }
        let mut received = vec![];
        self.sentinel(to, sentinel, Kind::Syn, |segment| received.push(segment))?;
        Ok(received)
    }

    /// Sends `datagram` to the Ethernet address `to`, again and again until it is answered: a program does
    /// that, in its own time.
    ///
    /// # Errors
    /// It is not answered within three minutes, or the guest is gone.
    pub fn request(&self, to: Mac, datagram: &Segment) -> io::Result<()> {
        let answer = Segment { from: datagram.to, to: datagram.from, kind: datagram.kind };
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline {
            self.send_segment((self.mac, to), datagram)?;
            let again = deadline.min(Instant::now() + RETRY_DELAY);
            while let Some(heard) = self.receive(again)? {
                if matches!(heard, ReceivedPacket::Segment(heard) if heard == answer) {
                    return Ok(());
                }
            }
        }
        Err(timed_out(format!(
            "{} port {} does not answer, though it should",
            datagram.to.0, datagram.to.1
        )))
    }

    /// Sends a frame as it is.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.port.send(frame)
    }

    fn scan(
        &mut self,
        target: IpAddr,
        ports: impl IntoIterator<Item = u16>,
        sentinel: u16,
        kind: Kind,
    ) -> io::Result<BTreeMap<u16, Reply>> {
        let (to, own) = (self.resolve(target)?, self.source_address(target)?);
        let ports: Vec<u16> = ports.into_iter().collect();
        let (mut probes, mut replies) = (BTreeMap::new(), BTreeMap::new());
        for some in ports.chunks(MAX_IN_FLIGHT) {
            for port in some {
                let from = self.next_port();
                probes.insert((from, *port), *port);
                let segment = Segment { from: (own, from), to: (target, *port), kind };
                self.send_segment((self.mac, to), &segment)?;
            }
            let rounds = if kind == Kind::Udp { ROUNDS } else { 1 };
            for _ in 0..rounds {
                let mut opened = vec![];
                // Answers to earlier probes count, too: a program may be slow.
                self.sentinel(to, (target, sentinel), kind, |segment| {
                    let (ends, reply) = match segment.kind {
                        Kind::SynAck | Kind::Udp => ((segment.to, segment.from), Reply::Open),
                        Kind::Rst => ((segment.to, segment.from), Reply::Closed),
                        Kind::Unreachable => ((segment.from, segment.to), Reply::Closed),
                        Kind::Syn | Kind::Tcp => return,
                    };
                    let ((address, from), (_, to)) = ends;
                    let Some(port) = probes.get(&(from, to)).filter(|_| address == own) else {
                        return;
                    };
                    replies.insert(*port, reply);
                    if segment.kind == Kind::SynAck {
                        opened.push(segment);
                    }
                })?;
                for segment in opened {
                    self.reset_connection(to, &segment)?;
                }
            }
        }
        Ok(replies)
    }

    fn send_segment(&self, macs: (Mac, Mac), segment: &Segment) -> io::Result<()> {
        self.port.send(&match segment.kind {
            Kind::Udp => packet::udp(macs, segment.from, segment.to, b"probe"),
            _ => packet::tcp(macs, segment),
        })
    }

    /// Probes a port that answers, again and again until it does, and hands everything else that is
    /// heard until then to `other`.
    fn sentinel(
        &mut self,
        to: Mac,
        target: (IpAddr, u16),
        kind: Kind,
        mut other: impl FnMut(Segment),
    ) -> io::Result<()> {
        let own = self.source_address(target.0)?;
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline {
            let from = (own, self.next_port());
            self.send_segment((self.mac, to), &Segment { from, to: target, kind })?;
            let answered = if kind == Kind::Udp { Kind::Udp } else { Kind::SynAck };
            let again = deadline.min(Instant::now() + RETRY_DELAY);
            while let Some(heard) = self.receive(again)? {
                let ReceivedPacket::Segment(segment) = heard else { continue };
                if segment == (Segment { from: target, to: from, kind: answered }) {
                    return match kind {
                        Kind::Udp => Ok(()),
                        _ => self.reset_connection(to, &segment),
                    };
                }
                other(segment);
            }
        }
        Err(timed_out(format!("{} port {} does not answer, though it should", target.0, target.1)))
    }

    /// Ends a connection that was only asked for to see whether it can be had.
    fn reset_connection(&self, to: Mac, agreed: &Segment) -> io::Result<()> {
        let reset = Segment { from: agreed.to, to: agreed.from, kind: Kind::Rst };
        self.port.send(&packet::tcp((self.mac, to), &reset))
    }

    /// What is heard next before `deadline`. Who asks for one of its addresses is answered.
    fn receive(&self, deadline: Instant) -> io::Result<Option<ReceivedPacket>> {
        while let Some(frame) = self.port.receive(deadline) {
            match packet::parse(&frame) {
                Some((_, ReceivedPacket::WhoHas { target, asker, asker_mac }))
                    if self.addresses.contains(&target) =>
                {
                    let macs = (self.mac, asker_mac);
                    self.port.send(&packet::neighbour(macs, target, asker, target, false))?;
                }
                Some((_, heard)) => return Ok(Some(heard)),
                None => {}
            }
        }
        Ok(None)
    }

    /// Its own address to speak to `target` from: the first one of the same kind, of the link alone
    /// if `target` is.
    pub fn source_address(&self, target: IpAddr) -> io::Result<IpAddr> {
        let kind = |address: &IpAddr| match address {
            IpAddr::V4(_) => (4, false),
            IpAddr::V6(address) => (6, address.is_unicast_link_local()),
        };
        let own = self.addresses.iter().find(|own| kind(own) == kind(&target));
        let none = || io::Error::other(format!("the station has no address for {target}"));
        own.copied().ok_or_else(none)
    }

    fn next_port(&mut self) -> u16 {
        self.next = (self.next + 1) % PORTS;
        FIRST_PORT + self.next
    }
}

fn timed_out(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("late: {message}"))
}
