//! A board at every port of a router at once, and everybody else: which packets come out where.

mod barrage;
mod classify;
mod leg;
mod probe;
mod sentinel;
mod storm;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Instant;

pub use barrage::Barrage;
pub use leg::{End, Leg, link_local};
pub use probe::{Probe, Traffic};
pub use sentinel::Sentinel;
pub use storm::Storm;
pub use watch::ProbeOutcome;

use super::packet::{self, ReceivedPacket};
use super::port::{Out, Port};
use classify::Match;
use watch::Watch;

/// Frames that are under way at once: fewer than any card's ring has room for.
const MAX_IN_FLIGHT: usize = 128;

/// How often a sentinel is sent before it is an error that none was delivered: for three minutes, because the host may
/// be busy.
const MAX_TRIES: u32 = 360;

/// A tag is none of the small numbers that others use, too.
const FIRST_TAG: u32 = 0x0c7e_7000;

/// All networks of a router, with the test in each of them.
///
/// On each leg it says where its addresses are when it is asked. All else that comes out is recorded.
/// It says nothing to it, but that it does not want the connections that its probes are granted.
#[derive(Debug)]
pub struct Switchboard {
    legs: Vec<Leg>,
    outs: Vec<Arc<Out>>,
    captured: Receiver<CapturedFrame>,
    recorded: Vec<CapturedFrame>,
    quiet: BTreeSet<usize>,
    next_tag: u32,
    tries: u32,
}

/// A frame that came out of the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedFrame {
    /// The leg at which it did, by its index.
    pub leg: usize,
    /// Its bytes.
    pub frame: Vec<u8>,
}

impl CapturedFrame {
    /// Whether `bytes` are anywhere in it.
    pub fn contains(&self, bytes: &[u8]) -> bool {
        self.frame.windows(bytes.len().max(1)).any(|window| window == bytes)
    }
}

impl Switchboard {
    /// With these legs, which are spoken of by their index, each at its port.
    pub fn new(legs: Vec<(Port, Leg)>) -> Self {
        let (sender, captured) = channel();
        let (mut outs, mut all) = (vec![], vec![]);
        for (index, (port, leg)) in legs.into_iter().enumerate() {
            let (out, frames) = port.split();
            // The way out is the switchboard's: when it goes, the port is shut, and the thread ends.
            let (answers, it, sender) = (Arc::downgrade(&out), leg.clone(), sender.clone());
            thread::spawn(move || serve_leg(index, &it, &frames, &answers, &sender));
            outs.push(out);
            all.push(leg);
        }
        let (recorded, quiet, next_tag) = (vec![], BTreeSet::new(), FIRST_TAG);
        Self { legs: all, outs, captured, recorded, quiet, next_tag, tries: MAX_TRIES }
    }

    /// From now on the router says nothing on these legs, because it has no business there. What is sent
    /// there needs no sentinel; that nothing comes of it is then as sure as all other legs' sentinels are
    /// late.
    pub fn quiet(&mut self, legs: BTreeSet<usize>) {
        self.quiet = legs;
    }

    /// With another number of tries that a sentinel has, half a second each.
    pub fn tries(self, tries: u32) -> Self {
        Self { tries, ..self }
    }

    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// The index of the leg of a zone.
    pub fn leg(&self, zone: &str) -> Option<usize> {
        self.legs.iter().position(|leg| leg.zone == zone)
    }

    /// Sends a frame on a leg.
    ///
    /// # Errors
    /// The guest is gone, or reads nothing for 20 s.
    pub fn send(&self, leg: usize, frame: &[u8]) -> io::Result<()> {
        self.outs[leg].send(frame)
    }

    /// Sends `probes`, in their order, and says of each what became of it. Those of one leg are
    /// followed by its sentinel, each time before so many are under way that one could get lost.
    ///
    /// # Errors
    /// A leg that probes come from has no sentinel, or one is not delivered, so that nothing can be
    /// said about the probes; or the guest is gone.
    pub fn sweep(
        &mut self,
        probes: &[Probe],
        sentinels: &[Sentinel],
    ) -> io::Result<Vec<ProbeOutcome>> {
        self.check(probes.iter().map(|probe| probe.from), sentinels)?;
        let mut watch = Watch::default();
        for some in probes.chunks(MAX_IN_FLIGHT) {
            for probe in some {
                self.probe(probe, &mut watch)?;
            }
            let sources = some.iter().map(|probe| probe.from).collect();
            self.drain(&sources, sentinels, &mut watch)?;
        }
        Ok(watch.outcomes().collect())
    }

    /// Sends `frames` on the leg `from`, and returns everything that came out on any leg until its
    /// sentinel was delivered behind them, but what the switchboard itself asked for.
    pub fn exchange(
        &mut self,
        from: usize,
        frames: &[Vec<u8>],
        sentinels: &[Sentinel],
    ) -> io::Result<Vec<CapturedFrame>> {
        let frames: Vec<_> = frames.iter().map(|frame| (from, frame.clone())).collect();
        self.exchange_all(&frames, sentinels)
    }

    /// The same with frames for several legs.
    pub fn exchange_all(
        &mut self,
        frames: &[(usize, Vec<u8>)],
        sentinels: &[Sentinel],
    ) -> io::Result<Vec<CapturedFrame>> {
        self.check(frames.iter().map(|(from, _)| *from), sentinels)?;
        let before = self.recorded().len();
        for some in frames.chunks(MAX_IN_FLIGHT) {
            for (from, frame) in some {
                self.send(*from, frame)?;
            }
            let sources = some.iter().map(|(from, _)| *from).collect();
            self.drain(&sources, sentinels, &mut Watch::default())?;
        }
        Ok(self.recorded[before..].to_vec())
    }

    /// Forgets what has come out until now, and returns it.
    pub fn take_recorded(&mut self) -> Vec<CapturedFrame> {
        self.recorded();
        std::mem::take(&mut self.recorded)
    }

    /// Everything that has come out until now, but questions for the test's addresses and what answered
    /// sentinels.
    pub fn recorded(&mut self) -> &[CapturedFrame] {
        while let Ok(seen) = self.captured.try_recv() {
            if !self.is_late_answer(&seen) {
                self.recorded.push(seen);
            }
        }
        &self.recorded
    }

    /// Sends one probe, which `watch` will know.
    fn probe(&mut self, probe: &Probe, watch: &mut Watch) -> io::Result<()> {
        let tag = self.next_tag;
        self.next_tag += 1;
        watch.add(probe.from, tag);
        self.send(probe.from, &probe.frame(&self.legs[probe.from], tag))
    }

    /// What comes next before `deadline`. A connection that a probe was granted is refused.
    fn next(&self, deadline: Instant) -> io::Result<Option<CapturedFrame>> {
        let rest = deadline.saturating_duration_since(Instant::now());
        let Ok(seen) = self.captured.recv_timeout(rest) else { return Ok(None) };
        if let Some(Match::Answer(tag)) = classify::classify(&seen.frame)
            && (FIRST_TAG..self.next_tag).contains(&tag)
            && let Some(reset) = classify::refusal(&seen.frame)
        {
            self.send(seen.leg, &reset)?;
        }
        Ok(Some(seen))
    }

    /// Each leg that something is sent on has a sentinel that can tell something.
    fn check(
        &self,
        sources: impl IntoIterator<Item = usize>,
        sentinels: &[Sentinel],
    ) -> io::Result<()> {
        let wrong = |message| Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        if let Some(Sentinel::Probe(probe, comes)) = sentinels.iter().find(|sentinel| {
            matches!(
                sentinel,
                Sentinel::Probe(_, ProbeOutcome::Dropped | ProbeOutcome::Several { .. })
            )
        }) {
            return wrong(format!("that {probe:?} comes {comes:?} shows nothing"));
        }
        let named: BTreeSet<_> = sentinels.iter().map(Sentinel::from).collect();
        let is_shown = |source: &usize| named.contains(source) || self.quiet.contains(source);
        match sources.into_iter().find(|source| !is_shown(source)) {
            Some(source) => wrong(format!("{} has no sentinel", self.legs[source].zone)),
            None => Ok(()),
        }
    }
}

/// Answers who asks for the addresses of a leg, and hands on all else, until the switchboard is gone.
fn serve_leg(
    index: usize,
    leg: &Leg,
    frames: &Receiver<Vec<u8>>,
    answers: &Weak<Out>,
    others: &Sender<CapturedFrame>,
) {
    while let Ok(frame) = frames.recv() {
        match packet::parse(&frame) {
            // Who has no address yet asks whether it may have this one, and is not told where it is.
            Some((_, ReceivedPacket::WhoHas { target, asker, asker_mac }))
                if leg.answers_for(target) && !asker.is_unspecified() =>
            {
                let macs = (leg.test.mac, asker_mac);
                let advertisement = packet::neighbour(macs, target, asker, target, false);
                let Some(out) = answers.upgrade() else { return };
                // A guest that is gone asks no more.
                let _ = out.send(&advertisement);
            }
            _ => {
                if others.send(CapturedFrame { leg: index, frame }).is_err() {
                    return;
                }
            }
        }
    }
}
