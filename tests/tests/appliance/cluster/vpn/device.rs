//! A device in the lan of the first box, which the test simulates.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use octet_machine::panel::Mac;
use octet_machine::panel::peer::{Datagram, OwnAddresses, Peer, PeerBehaviour};
use octet_machine::panel::raw::{self, transport};
use octet_machine::{Socket, router_card};

use super::begun::{Begun, SAID};
use super::{BOARDS, NAME, NAMES, WORD};
use crate::cluster::question;
use crate::cluster::site::Site;

/// A device that has disappeared.
const GONE: Ipv4Addr = Ipv4Addr::new(10, 20, 250, 6);

/// Its address, and the router's address in its network.
const OWN: Ipv4Addr = Ipv4Addr::new(10, 20, 250, 5);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 20, 250, 1);

/// Its card, its cable, and the router's card at the other end.
const MAC: Mac = Mac::number(77);
const CABLE: u8 = 77;
const CARD: u8 = BOARDS + 1;

pub struct Device<'a> {
    home: &'a Site,
    peer: Peer,
    /// The connections that were accepted.
    taken_up: Receiver<Begun>,
    /// The number of messages that it has sent.
    count: AtomicU16,
}

impl<'a> Device<'a> {
    pub fn new(home: &'a Site) -> Self {
        let port = home.cluster.attach(CABLE, Socket::Router(CARD)).unwrap();
        let (hears, taken_up) = channel();
        let on_frame = move |frame: &[u8]| {
            if let Some(begun) = Begun::read(frame).filter(|it| it.answers) {
                let _ = hears.send(begun);
            }
            None
        };
        let does = PeerBehaviour {
            own: OwnAddresses::One(OWN),
            on_frame: Box::new(on_frame),
            answer: Box::new(|_| vec![]),
        };
        let peer = Peer::start(port, MAC, router_card(CARD), does);
        Self { home, peer, taken_up, count: AtomicU16::new(0) }
    }

    fn next(&self) -> u16 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a text to some port. Returns the text, and whether it was echoed.
    pub fn says(&self, from: u16, to: (Ipv4Addr, u16), patience: Duration) -> (String, bool) {
        self.says_of(from, to, patience, 0)
    }

    /// The same with a text of this length at least.
    pub fn says_of(
        &self,
        from: u16,
        to: (Ipv4Addr, u16),
        patience: Duration,
        length: usize,
    ) -> (String, bool) {
        let word = format!("{:.<length$}", format!("{WORD} {}.", self.next()));
        let said = Datagram { from: (OWN, from), to, payload: word.clone().into_bytes() };
        self.peer.send(&said).unwrap();
        let is_it = |it: &Datagram| it.from == said.to && it.payload == said.payload;
        (word, self.peer.receive(Instant::now() + patience, is_it).is_some())
    }

    /// Resolves a new name at the router. Returns the name, and the result.
    pub fn asks(&self, patience: Duration) -> (String, Option<(u8, Option<Ipv4Addr>)>) {
        let number = self.next();
        let name = format!("{NAME}-{number:05}");
        let payload = question::question(number, &format!("{name}.example"));
        let asked = Datagram { from: (OWN, 5353), to: (ROUTER, NAMES), payload };
        self.peer.send(&asked).unwrap();
        let is_it = |it: &Datagram| it.from == asked.to && it.payload[..2] == asked.payload[..2];
        let said = self.peer.receive(Instant::now() + patience, is_it);
        (name, said.and_then(|said| question::told(&said.payload)))
    }

    /// A device sends a text, and disappears before the answer.
    pub fn says_and_goes(&self, from: u16, to: (Ipv4Addr, u16)) {
        let ends = (GONE.into(), to.0.into());
        let says = format!("{WORD} {}.", self.next());
        let datagram = transport::udp(ends, (from, to.1), says.as_bytes());
        let packet = raw::packet(ends, transport::UDP, &datagram);
        let frame = raw::ethernet::ip((MAC, router_card(CARD)), &packet);
        self.home.cluster.inject(Socket::Other(CABLE), &frame);
    }

    /// Opens a connection from a port of its own. Returns the MSS, if it is accepted.
    pub fn begins(&self, to: (Ipv4Addr, u16), patience: Duration) -> Option<u16> {
        let from = (OWN, 20_000 + self.next());
        let asked = Begun { from, to, answers: false, longest: SAID };
        self.home.cluster.inject(Socket::Other(CABLE), &asked.frame((MAC, router_card(CARD))));
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let said = self.taken_up.recv_timeout(left).ok()?;
            if (said.from, said.to) == (to, from) {
                return Some(said.longest);
            }
        }
    }
}
