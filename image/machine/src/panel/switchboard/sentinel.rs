//! What shows that everything before it has been dealt with.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::probe::Probe;
use super::watch::{ProbeOutcome, Watch};
use super::{CapturedFrame, Switchboard};
use crate::panel::packet::{self, ReceivedPacket};
use crate::panel::port::Mac;

/// How long a sentinel may be under way before the next one is sent.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// What is sent behind probes on the same leg, and is known to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sentinel {
    /// None besides the router's word where it is, which it gives on every leg: for the leg with this
    /// index, if nothing else is known to be delivered. It shows that the router takes frames in, not
    /// that it passes packets on.
    Neighbour(usize),
    /// A probe, and what becomes of it.
    Probe(Probe, ProbeOutcome),
}

impl Sentinel {
    /// The leg that it is sent on.
    pub fn from(&self) -> usize {
        match self {
            Self::Neighbour(from) => *from,
            Self::Probe(probe, _) => probe.from,
        }
    }
}

#[derive(Debug)]
enum Wait<'a> {
    Where { leg: usize, router: IpAddr, at: Mac, asker: IpAddr },
    Probe { probe: &'a Probe, comes: &'a ProbeOutcome, sent: Watch },
}

impl Switchboard {
    /// Returns when everything that was sent before has come out, if it does at all.
    ///
    /// The router first deals with what came in: behind the probes on each of the legs `sources` its
    /// sentinel is sent, and on every leg a question for the router's IPv4 address. Then what it put
    /// on other legs' wires may still lie there: so on every leg the question for its IPv6 address,
    /// whose answer comes out behind that. The two questions are different ones so that a late answer
    /// to the first is not taken for one to the second. They also tell the router where the test is,
    /// for which a packet may have waited. On legs that are [quiet](Self::quiet) nobody is asked.
    pub(super) fn drain(
        &mut self,
        sources: &BTreeSet<usize>,
        sentinels: &[Sentinel],
        watch: &mut Watch,
    ) -> io::Result<()> {
        let mut waits: Vec<_> = self.questions(|leg| leg.router.ipv4.into()).collect();
        let has_word = |from| sources.contains(&from) && !self.quiet.contains(&from);
        for sentinel in sentinels.iter().filter(|sentinel| has_word(sentinel.from())) {
            if let Sentinel::Probe(probe, comes) = sentinel {
                waits.push(Wait::Probe { probe, comes, sent: Watch::default() });
            }
        }
        self.wait(waits, watch)?;
        let waits = self.questions(|leg| leg.router.ipv6.into()).collect();
        self.wait(waits, watch)
    }

    fn questions(&self, of: impl Fn(&super::Leg) -> IpAddr) -> impl Iterator<Item = Wait<'static>> {
        let legs = self.legs.iter().enumerate().filter(|(leg, _)| !self.quiet.contains(leg));
        legs.map(move |(leg, it)| {
            let router = of(it);
            Wait::Where { leg, router, at: it.router.mac, asker: it.test.source_address(router) }
        })
    }

    /// Sends all of `waits`, those again that are not delivered, and so on.
    fn wait(&mut self, mut waits: Vec<Wait<'_>>, watch: &mut Watch) -> io::Result<()> {
        for _ in 0..self.tries {
            for wait in &mut waits {
                self.send_wait(wait)?;
            }
            let again = Instant::now() + RETRY_DELAY;
            while !waits.is_empty() {
                let Some(seen) = self.next(again)? else { break };
                watch.record(&seen);
                let before = waits.len();
                waits.retain_mut(|wait| !wait.delivered(&seen));
                // The rest is on record.
                if waits.len() == before && !self.is_late_answer(&seen) {
                    self.recorded.push(seen);
                }
            }
            if waits.is_empty() {
                return Ok(());
            }
        }
        let missing: Vec<_> = waits.iter().map(|wait| wait.name(self)).collect();
        let message =
            format!("late: not delivered, after {} tries: {}", self.tries, missing.join(", "));
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    }

    /// Whether it answers one of the questions: one of a slow router's, which was asked again meanwhile, so
    /// that it has nothing to do with what was sent since.
    pub(super) fn is_late_answer(&self, seen: &CapturedFrame) -> bool {
        let ipv4 = self.questions(|leg| leg.router.ipv4.into());
        let mut both = ipv4.chain(self.questions(|leg| leg.router.ipv6.into()));
        both.any(|mut question| question.delivered(seen))
    }

    fn send_wait(&mut self, wait: &mut Wait<'_>) -> io::Result<()> {
        match wait {
            Wait::Where { leg, router, asker, .. } => {
                let (group, everybody) = packet::solicitation_target(*router);
                let macs = (self.legs[*leg].test.mac, everybody);
                let asks = packet::neighbour(macs, *asker, group, *router, true);
                self.send(*leg, &asks)
            }
            Wait::Probe { probe, sent, .. } => self.probe(probe, sent),
        }
    }
}

impl Wait<'_> {
    fn delivered(&mut self, seen: &CapturedFrame) -> bool {
        match self {
            // Also that it is where probes are sent to: they would else get lost without a word.
            Self::Where { leg, router, at, asker } => {
                let is_at = ReceivedPacket::IsAt { address: *router, mac: *at, to: *asker };
                let said = || packet::parse(&seen.frame).map(|(_, heard)| heard);
                seen.leg == *leg && said() == Some(is_at)
            }
            Self::Probe { comes, sent, .. } => {
                sent.record(seen);
                sent.outcomes().any(|came| came == **comes)
            }
        }
    }

    fn name(&self, switchboard: &Switchboard) -> String {
        match self {
            Self::Where { leg, router, at, .. } => {
                let zone = &switchboard.legs[*leg].zone;
                format!("{router} does not say to {zone} that it is at {at}")
            }
            Self::Probe { probe, comes, sent } => {
                let zone = &switchboard.legs[probe.from].zone;
                let came: Vec<_> =
                    sent.outcomes().filter(|came| *came != ProbeOutcome::Dropped).collect();
                format!(
                    "{:?} from {zone} to {}: not {comes:?} but {came:?}",
                    probe.traffic, probe.to
                )
            }
        }
    }
}
