//! Probes that are sent over and over, whether or not the router takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use super::probe::Probe;
use super::sentinel::Sentinel;
use super::watch::{ProbeOutcome, Watch};
use super::{CapturedFrame, Switchboard};
use crate::panel::port::Out;

/// Between two frames on one leg: a router without a processor of its own is to have time left for what
/// else it does. Its kernel deals with frames before anything else, so more than it can take stops all that
/// is no frame, and how much that is depends on how busy the host is.
const PACE: Duration = Duration::from_millis(10);

/// Probes under way without a pause, until [`Switchboard::stop_barrage`].
#[derive(Debug)]
pub struct Barrage {
    /// Of each probe, with the leg that it is sent on.
    tags: Vec<(usize, u32)>,
    sources: BTreeSet<usize>,
    senders: Vec<Sending>,
    ended: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Sending {
    /// How often all of its probes have been sent.
    rounds: Arc<AtomicUsize>,
    thread: JoinHandle<io::Result<()>>,
}

impl Barrage {
    /// How often all probes have been sent.
    pub fn rounds(&self) -> usize {
        let rounds = self.senders.iter().map(|sending| sending.rounds.load(Ordering::SeqCst));
        rounds.min().unwrap_or(0)
    }

    /// Of each probe, in their order, what `captured` says became of it.
    pub fn outcomes(&self, captured: &[CapturedFrame]) -> Vec<ProbeOutcome> {
        let mut watch = Watch::default();
        for (from, tag) in &self.tags {
            watch.add(*from, *tag);
        }
        for seen in captured {
            watch.record(seen);
        }
        watch.outcomes().collect()
    }
}

impl Switchboard {
    /// Sends `probes` over and over, on each leg one after the other; each is the same packet every time.
    /// A router that takes nothing yet gets the rest as soon as it does.
    pub fn barrage(&mut self, probes: &[Probe]) -> Barrage {
        let (mut tags, mut frames) = (vec![], vec![]);
        for probe in probes {
            let tag = self.next_tag;
            self.next_tag += 1;
            tags.push((probe.from, tag));
            frames.push((probe.from, probe.frame(&self.legs[probe.from], tag)));
        }
        let mut barrage = self.repeat(frames);
        barrage.tags = tags;
        barrage
    }

    /// The same with frames, each for the leg that is said.
    pub fn repeat(&self, frames: Vec<(usize, Vec<u8>)>) -> Barrage {
        let mut of_legs: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
        for (leg, frame) in frames {
            of_legs.entry(leg).or_default().push(frame);
        }
        let (sources, ended) = (of_legs.keys().copied().collect(), Arc::default());
        let start = |(leg, frames): (usize, Vec<Vec<u8>>)| {
            let (out, rounds) = (Arc::clone(&self.outs[leg]), Arc::default());
            let (count, end) = (Arc::clone(&rounds), Arc::clone(&ended));
            let thread = thread::spawn(move || send(&out, &frames, &count, &end));
            Sending { rounds, thread }
        };
        let senders = of_legs.into_iter().map(start).collect();
        Barrage { tags: vec![], sources, senders, ended }
    }

    /// Ends a barrage, and returns when everything of it has come out, if it does at all.
    pub fn stop_barrage(
        &mut self,
        barrage: &mut Barrage,
        sentinels: &[Sentinel],
    ) -> io::Result<()> {
        barrage.ended.store(true, Ordering::SeqCst);
        for sending in barrage.senders.drain(..) {
            sending.thread.join().map_err(|_| io::Error::other("a sender has panicked"))??;
        }
        self.check(barrage.sources.iter().copied(), sentinels)?;
        self.drain(&barrage.sources, sentinels, &mut Watch::default())
    }
}

/// Sends `frames` until it is ended. What a router does not take for long is tried again.
fn send(out: &Out, frames: &[Vec<u8>], rounds: &AtomicUsize, ended: &AtomicBool) -> io::Result<()> {
    loop {
        for frame in frames {
            loop {
                if ended.load(Ordering::SeqCst) {
                    return Ok(());
                }
                match out.send(frame) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            sleep(PACE);
        }
        rounds.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Barrage {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}
