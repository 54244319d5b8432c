//! Somebody at the end of a wire who speaks by datagrams (UDP, IPv4): answers who asks, and asks others.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use smoltcp::wire::{EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, UdpPacket};

use super::packet::{self, ReceivedPacket};
use super::port::{Mac, Out, Port};
use super::raw;

/// How soon a peer notices that it is to end.
const TICK: Duration = Duration::from_millis(100);

/// ICMP's question and answer (RFC 792).
const ECHO: u8 = 8;
const ECHO_REPLY: u8 = 0;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    pub from: (Ipv4Addr, u16),
    pub to: (Ipv4Addr, u16),
    pub payload: Vec<u8>,
}

/// Says what comes of a datagram: others, to be sent. What is not for this peer is shown, too.
type Answer = Box<dyn FnMut(&Datagram) -> Vec<Datagram> + Send>;

/// What is done with a frame before anything else.
type OnFrame = Box<dyn FnMut(&[u8]) -> Option<Vec<u8>> + Send>;

/// Which addresses a peer says are its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnAddresses {
    One(Ipv4Addr),
    /// All but this one: everybody else is behind it.
    AllBut(Ipv4Addr),
}

/// The peer. It ends with the value.
pub struct Peer {
    out: Arc<Out>,
    mac: Mac,
    /// Whom all frames go to.
    other: Mac,
    datagrams: Receiver<Datagram>,
    ended: Arc<Mutex<bool>>,
}

pub struct PeerBehaviour {
    /// Which addresses are its own.
    pub own: OwnAddresses,
    /// What it says to a whole frame.
    pub on_frame: OnFrame,
    /// What it says to a datagram.
    pub answer: Answer,
}

impl Peer {
    /// At `port`, as `mac`, with somebody at the other end whose card is `other`.
    pub fn start(port: Port, mac: Mac, other: Mac, does: PeerBehaviour) -> Self {
        let (out, frames) = port.split();
        let (sender, datagrams) = channel();
        let ended = Arc::new(Mutex::new(false));
        let (wire, end, mut does) = (Arc::clone(&out), Arc::clone(&ended), does);
        thread::spawn(move || {
            while !*end.lock().unwrap_or_else(PoisonError::into_inner) {
                let frame = match frames.recv_timeout(TICK) {
                    Ok(frame) => frame,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                let mut answers: Vec<Vec<u8>> = (does.on_frame)(&frame).into_iter().collect();
                answers.extend(neighbour(&frame, mac, does.own));
                answers.extend(echo(&frame, mac, does.own));
                if let Some(datagram) = datagram(&frame) {
                    let replies = (does.answer)(&datagram);
                    answers.extend(replies.iter().map(|it| build((mac, other), it)));
                    let _ = sender.send(datagram);
                }
                for answer in answers {
                    // A guest that is gone takes nothing.
                    let _ = wire.send(&answer);
                }
            }
        });
        Self { out, mac, other, datagrams, ended }
    }

    pub fn send(&self, datagram: &Datagram) -> std::io::Result<()> {
        self.out.send(&build((self.mac, self.other), datagram))
    }

    /// Says something that is not a datagram.
    pub fn send_frame(&self, frame: &[u8]) -> std::io::Result<()> {
        self.out.send(frame)
    }

    /// Says something, and waits for what is said to it in answer.
    pub fn exchange(&self, datagram: &Datagram, deadline: Instant) -> Option<Datagram> {
        self.send(datagram).ok()?;
        self.receive(deadline, |it| (it.from, it.to) == (datagram.to, datagram.from))
    }

    /// The next datagram that is `wanted`; others are passed over.
    pub fn receive(
        &self,
        deadline: Instant,
        wanted: impl Fn(&Datagram) -> bool,
    ) -> Option<Datagram> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let datagram = self.datagrams.recv_timeout(left).ok()?;
            if wanted(&datagram) {
                return Some(datagram);
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

fn build(macs: (Mac, Mac), datagram: &Datagram) -> Vec<u8> {
    let end = |(address, port): (Ipv4Addr, u16)| (IpAddr::V4(address), port);
    packet::udp(macs, end(datagram.from), end(datagram.to), &datagram.payload)
}

fn is_own(own: OwnAddresses, address: Ipv4Addr) -> bool {
    match own {
        OwnAddresses::One(one) => address == one,
        OwnAddresses::AllBut(other) => address != other,
    }
}

pub(super) fn neighbour(frame: &[u8], mac: Mac, own: OwnAddresses) -> Option<Vec<u8>> {
    let (_, ReceivedPacket::WhoHas { target: IpAddr::V4(target), asker, asker_mac }) =
        packet::parse(frame)?
    else {
        return None;
    };
    is_own(own, target)
        .then(|| packet::neighbour((mac, asker_mac), target.into(), asker, target.into(), false))
}

pub(super) fn echo(bytes: &[u8], mac: Mac, own: OwnAddresses) -> Option<Vec<u8>> {
    let frame = EthernetFrame::new_checked(bytes).ok()?;
    let ip = Ipv4Packet::new_checked(frame.payload()).ok()?;
    let is_echo = frame.ethertype() == EthernetProtocol::Ipv4
        && ip.next_header() == IpProtocol::Icmp
        && ip.payload().first() == Some(&ECHO);
    if !is_echo || !is_own(own, ip.dst_addr()) {
        return None;
    }
    let reply = raw::icmp::v4(ECHO_REPLY, 0, ip.payload().get(4..)?);
    let ends = (IpAddr::V4(ip.dst_addr()), IpAddr::V4(ip.src_addr()));
    let macs = (mac, Mac(frame.src_addr().0));
    Some(raw::ethernet::ip(macs, &raw::packet(ends, 1, &reply)))
}

/// The datagram in a frame, if there is one.
pub fn datagram(bytes: &[u8]) -> Option<Datagram> {
    let frame = EthernetFrame::new_checked(bytes).ok()?;
    if frame.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let ip = Ipv4Packet::new_checked(frame.payload()).ok()?;
    if ip.next_header() != IpProtocol::Udp {
        return None;
    }
    let udp = UdpPacket::new_checked(ip.payload()).ok()?;
    Some(Datagram {
        from: (ip.src_addr(), udp.src_port()),
        to: (ip.dst_addr(), udp.dst_port()),
        payload: udp.payload().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_speak_with_each_other() {
        let (one, other) = Port::pair().unwrap();
        let (macs, addresses) =
            ([1, 2].map(Mac::number), [1, 2].map(|it| Ipv4Addr::new(192, 0, 2, it)));
        let quiet =
            |own| PeerBehaviour { own, on_frame: Box::new(|_| None), answer: Box::new(|_| vec![]) };
        let one = Peer::start(one, macs[0], macs[1], quiet(OwnAddresses::One(addresses[0])));
        let answers = PeerBehaviour {
            answer: Box::new(|asked| {
                let payload = asked.payload.iter().rev().copied().collect();
                vec![Datagram { from: asked.to, to: asked.from, payload }]
            }),
            ..quiet(OwnAddresses::One(addresses[1]))
        };
        let _other = Peer::start(other, macs[1], macs[0], answers);
        let (from, to) = ((addresses[0], 5000), (addresses[1], 7));
        let soon = Instant::now() + Duration::from_secs(60);
        let said = one.exchange(&Datagram { from, to, payload: b"abc".to_vec() }, soon).unwrap();
        assert_eq!(said, Datagram { from: to, to: from, payload: b"cba".to_vec() });
    }
}
