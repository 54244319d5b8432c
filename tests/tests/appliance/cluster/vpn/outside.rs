//! The external network with both boxes' uplinks and a server: the test carries and monitors its
//! frames.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use octet_machine::Socket;
use octet_machine::panel::Port;
use octet_machine::panel::peer::{Datagram, OwnAddresses, Peer, PeerBehaviour};

use super::begun::{Begun, SAID};
use super::{
    ELSEWHERE, HILL, HILL_MAC, HOME, HOME_MAC, LET, NAME, NAMES, NOT_LET, SERVER, SERVER_MAC, WORD,
};
use crate::cluster::question;
use crate::cluster::site::Site;

/// The maximum delay of a waiting frame.
const TICK: Duration = Duration::from_millis(1);

/// A sender, and the data that the server has received.
type Heard = (Ipv4Addr, Vec<u8>);

pub struct Outside {
    /// All frames of the first box.
    said: Arc<Mutex<Vec<Vec<u8>>>>,
    heard: Arc<Mutex<Vec<Heard>>>,
    /// The connections to the server.
    begun: Arc<Mutex<Vec<Begun>>>,
    /// Whether the second box is disconnected.
    is_cut: Arc<AtomicBool>,
    /// Whether the server's answers through the second box reach the first one with an expiring
    /// TTL.
    is_short: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    server: Peer,
}

impl Outside {
    pub fn new(home: &Site, hill: &Site) -> Self {
        let end = |site: &Site| site.cluster.attach(0, Socket::Router(0)).unwrap();
        let (server, port) = Port::pair().unwrap();
        let (heard, begun) = (Arc::default(), Arc::default());
        let outside = Self {
            said: Arc::default(),
            heard: Arc::clone(&heard),
            begun: Arc::clone(&begun),
            is_cut: Arc::default(),
            is_short: Arc::default(),
            ended: Arc::default(),
            server: Peer::start(server, SERVER_MAC, HOME_MAC, serves(heard, begun)),
        };
        let (said, is_cut) = (Arc::clone(&outside.said), Arc::clone(&outside.is_cut));
        let is_short = Arc::clone(&outside.is_short);
        let (ended, ends) = (Arc::clone(&outside.ended), [end(home), end(hill), port]);
        thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                for from in 0..ends.len() {
                    let Some(mut frame) = ends[from].receive(Instant::now() + TICK) else {
                        continue;
                    };
                    if from == 0 {
                        said.lock().unwrap().push(frame.clone());
                    }
                    if from == 2 {
                        to_who_asked(&mut frame);
                        if is_short.load(Ordering::Relaxed) {
                            shorten(&mut frame);
                        }
                    }
                    let is_cut = is_cut.load(Ordering::Relaxed);
                    let others = (0..ends.len()).filter(|to| *to != from);
                    for to in others.filter(|to| !is_cut || (*to != 1 && from != 1)) {
                        // A guest that has ended receives nothing.
                        let _ = ends[to].send(&frame);
                    }
                }
            }
        });
        outside
    }

    /// Disconnects the second box, or connects it again.
    pub fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
    }

    /// Sets the TTL of the server's packets to two, or ends that.
    pub fn shorten(&self, is_short: bool) {
        self.is_short.store(is_short, Ordering::Relaxed);
    }

    /// The server sends a request to the first box itself.
    pub fn asks(&self, port: u16) {
        let asked = Datagram { from: (SERVER, LET), to: (HOME, port), payload: b"what".into() };
        self.server.send(&asked).unwrap();
    }

    /// The number of ICMP errors that the first box has sent to the server since then.
    pub fn errors(&self, since: usize) -> usize {
        let said = self.said.lock().unwrap();
        said[since..].iter().filter(|frame| is_error_to_server(frame)).count()
    }

    /// The number of frames that the first box has sent so far.
    pub fn now(&self) -> usize {
        self.said.lock().unwrap().len()
    }

    /// The number of frames since then with traffic of the device: readable on the wire, or
    /// addressed to the server, to which the box itself has no traffic.
    pub fn leaked(&self, since: usize) -> usize {
        let said = self.said.lock().unwrap();
        let is_of_device = |frame: &&Vec<u8>| {
            has(frame, WORD) || has(frame, NAME) || is_to_server(frame, &[6, 17])
        };
        said[since..].iter().filter(is_of_device).count()
    }

    /// The address from which the server has received data with this text.
    pub fn said_by(&self, mark: &str) -> Option<Ipv4Addr> {
        let heard = self.heard.lock().unwrap();
        heard.iter().rev().find(|(_, payload)| has(payload, mark)).map(|(from, _)| *from)
    }

    /// The sender of the last connection to the server, and its MSS.
    pub fn begun_by(&self) -> Option<(Ipv4Addr, u16)> {
        self.begun.lock().unwrap().last().map(|begun| (begun.from.0, begun.longest))
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// The case of letters in names may be random.
fn has(bytes: &[u8], mark: &str) -> bool {
    bytes.windows(mark.len()).any(|it| it.eq_ignore_ascii_case(mark.as_bytes()))
}

/// Whether a frame has a packet of one of these protocols for the server.
fn is_to_server(frame: &[u8], protocols: &[u8]) -> bool {
    frame.get(12..14) == Some(&[8, 0])
        && frame.get(23).is_some_and(|protocol| protocols.contains(protocol))
        && frame.get(30..34) == Some(&SERVER.octets())
}

/// Whether it is an ICMP error to the server: destination unreachable, or time exceeded (RFC 792).
fn is_error_to_server(frame: &[u8]) -> bool {
    is_to_server(frame, &[1]) && frame.get(34).is_some_and(|kind| [3, 11].contains(kind))
}

/// Sets the TTL of a packet to two.
fn shorten(frame: &mut [u8]) {
    if frame.get(12..15) != Some(&[8, 0, 0x45]) {
        return;
    }
    (frame[22], frame[24], frame[25]) = (2, 0, 0);
    let words =
        frame[14..34].chunks_exact(2).map(|it| u32::from(u16::from_be_bytes([it[0], it[1]])));
    let sum: u32 = words.sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// The server answers DNS queries, echoes datagrams, and accepts connections.
fn serves(heard: Arc<Mutex<Vec<Heard>>>, begun: Arc<Mutex<Vec<Begun>>>) -> PeerBehaviour {
    let answer = move |asked: &Datagram| {
        if asked.to.0 != SERVER {
            return vec![];
        }
        heard.lock().unwrap().push((asked.from.0, asked.payload.clone()));
        let payload = match asked.to.1 {
            NAMES => question::answer(&asked.payload, ELSEWHERE),
            LET | NOT_LET => Some(asked.payload.clone()),
            _ => None,
        };
        let said = |payload| Datagram { from: asked.to, to: asked.from, payload };
        payload.map(said).into_iter().collect()
    };
    let take_up = move |frame: &[u8]| {
        let asked = Begun::read(frame).filter(|it| it.to == (SERVER, LET))?;
        begun.lock().unwrap().push(asked);
        let said = Begun { from: asked.to, to: asked.from, answers: true, longest: SAID };
        Some(said.frame((SERVER_MAC, HOME_MAC)))
    };
    PeerBehaviour {
        own: OwnAddresses::One(SERVER),
        on_frame: Box::new(take_up),
        answer: Box::new(answer),
    }
}

/// The server sends all frames to one MAC address; this sets the one of the box with the IPv4
/// address.
fn to_who_asked(frame: &mut [u8]) {
    if frame.get(12..14) == Some(&[8, 0]) && frame.get(30..34) == Some(&HILL.octets()) {
        frame[..6].copy_from_slice(&HILL_MAC.0);
    }
}
