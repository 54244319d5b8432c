//! A flow of datagrams from one board to another, through a router whose ports end here.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use octet_machine::{Mac, Machine, Port};

use super::text::FLOW;
use crate::frame::{FlowEnd, datagram};

/// The boards at the flow's ends.
const FROM: u8 = 1;
const TO: u8 = 2;

/// The port that datagrams come from.
const OWN: u16 = 5000;

/// What each carries: little, so that what is done once for each packet counts most.
const PAYLOAD: [u8; 64] = [b'o'; 64];

/// Datagrams under way at once: fewer than any card's ring has room for.
const AT_ONCE: usize = 128;

/// As hosts send it, and behind one router.
const HOPS: [u8; 2] = [64, 63];

/// No packet is under way this long, however busy the host.
const LONGEST: Duration = Duration::from_secs(60);

/// The router's card `number`: 0 leads out, the others are of the boards of their number.
pub fn card(number: u8) -> Mac {
    Mac::number(100 + number)
}

/// How many cards the router needs.
pub const CARDS: u8 = 3;

pub struct BenchFlow {
    from: Port,
    to: Port,
}

impl BenchFlow {
    /// At the ports of `machine`, if nobody else has them.
    pub fn of(machine: &Machine) -> Option<Self> {
        let port = |number: u8| machine.port(number.into());
        Some(Self { from: port(FROM)?, to: port(TO)? })
    }

    /// Has the router know the flow, in both directions.
    ///
    /// # Errors
    /// What is to pass does not.
    pub fn open(&self) -> io::Result<()> {
        self.from.send(&frames(FROM, TO, FLOW)[0])?;
        wait(&self.to, &frames(FROM, TO, FLOW)[1])?;
        let [sent, comes] = answers();
        self.to.send(&sent)?;
        wait(&self.from, &comes)
    }

    /// Whether a datagram passes that no line of the box lets. Behind it goes one that passes.
    pub fn is_open_to_all(&self) -> io::Result<bool> {
        let [stray, stray_comes] = frames(FROM, TO, FLOW + 1);
        let [sent, comes] = frames(FROM, TO, FLOW);
        self.from.send(&stray)?;
        self.from.send(&sent)?;
        let deadline = Instant::now() + LONGEST;
        let mut came = false;
        while let Some(frame) = self.to.receive(deadline) {
            came |= frame == stray_comes;
            if frame == comes {
                return Ok(came);
            }
        }
        Err(lost())
    }

    /// Sends so many datagrams, some at a time, and returns when all have come out.
    pub fn send(&self, count: usize) -> io::Result<()> {
        let [sent, comes] = frames(FROM, TO, FLOW);
        let mut left = count;
        while left > 0 {
            let some = left.min(AT_ONCE);
            for _ in 0..some {
                self.from.send(&sent)?;
            }
            for _ in 0..some {
                wait(&self.to, &comes)?;
            }
            left -= some;
        }
        Ok(())
    }
}

/// A datagram to a port of `to`: as it is sent, and as it comes out.
fn frames(from: u8, to: u8, port: u16) -> [Vec<u8>; 2] {
    let ends =
        (FlowEnd { address: address(from), port: OWN }, FlowEnd { address: address(to), port });
    both((from, to), ends)
}

/// An answer to the flow's datagrams.
fn answers() -> [Vec<u8>; 2] {
    let ends = (
        FlowEnd { address: address(TO), port: FLOW },
        FlowEnd { address: address(FROM), port: OWN },
    );
    both((TO, FROM), ends)
}

fn both((from, to): (u8, u8), ends: (FlowEnd, FlowEnd)) -> [Vec<u8>; 2] {
    let macs = [(Mac::number(from), card(from)), (card(to), Mac::number(to))];
    [0, 1].map(|at| datagram(macs[at], ends, HOPS[at], &PAYLOAD))
}

fn address(board: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 20, board, 2)
}

/// Waits until `frame` comes; what else the router says there does not matter.
fn wait(port: &Port, frame: &[u8]) -> io::Result<()> {
    let deadline = Instant::now() + LONGEST;
    while let Some(came) = port.receive(deadline) {
        if came == frame {
            return Ok(());
        }
    }
    Err(lost())
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "a packet that is to pass the router got lost")
}
