//! Which probes are under way, and where each has been seen.

use std::collections::{BTreeSet, HashMap};

use super::CapturedFrame;
use super::classify::{Match, classify};
use super::probe::own_port;

/// What became of a probe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeOutcome {
    /// It came out at the leg with this index, and nowhere else.
    Out(usize),
    /// The router itself said something to it: that somebody is there, or that nobody is.
    Answered,
    /// It did not come out, and nobody said anything.
    Dropped,
    /// It was seen more than once, as no probe should be.
    Several {
        /// The legs at which it, or an answer that is not for its sender, came out.
        out: Vec<usize>,
        /// Whether the sender got an answer.
        answered: bool,
    },
}

/// Probes that have been sent, each with the leg that it was sent on.
#[derive(Debug, Default)]
pub struct Watch {
    sent: Vec<Sent>,
    by_tag: HashMap<u32, usize>,
    by_port: HashMap<u16, usize>,
}

#[derive(Debug)]
struct Sent {
    from: usize,
    tag: u32,
    out: BTreeSet<usize>,
    answered: bool,
}

impl Watch {
    /// Has to do with one more probe, which was sent on leg `from`.
    pub fn add(&mut self, from: usize, tag: u32) {
        let index = self.sent.len();
        self.by_tag.insert(tag, index);
        self.by_port.insert(own_port(tag), index);
        self.sent.push(Sent { from, tag, out: BTreeSet::new(), answered: false });
    }

    /// Notes what is seen, if it has to do with any of them.
    pub fn record(&mut self, seen: &CapturedFrame) {
        let Some((index, answers)) =
            classify(&seen.frame).and_then(|sight| self.find(sight, seen.leg))
        else {
            return;
        };
        let sent = &mut self.sent[index];
        match answers && seen.leg == sent.from {
            true => sent.answered = true,
            // Also an answer that somebody else gets: it is as good as the probe itself.
            false => drop(sent.out.insert(seen.leg)),
        }
    }

    /// The probe that it is about, and whether it is an answer.
    fn find(&self, sight: Match, leg: usize) -> Option<(usize, bool)> {
        let tagged = |tag: u32| self.by_tag.get(&tag).copied();
        match sight {
            Match::Itself(tag) => Some((tagged(tag)?, false)),
            Match::Answer(tag) => Some((tagged(tag)?, true)),
            Match::Datagram { tag: Some(tag), to, .. } => {
                let index = tagged(tag)?;
                Some((index, self.comes_from(index, to)))
            }
            Match::Datagram { tag: None, from, to } => {
                let answered = self.by_port.get(&to).filter(|index| self.sent[**index].from == leg);
                match answered {
                    Some(index) => Some((*index, true)),
                    None => Some((*self.by_port.get(&from)?, false)),
                }
            }
        }
    }

    fn comes_from(&self, index: usize, port: u16) -> bool {
        own_port(self.sent[index].tag) == port
    }

    /// What became of each, in the order in which they were added.
    pub fn outcomes(&self) -> impl Iterator<Item = ProbeOutcome> {
        self.sent.iter().map(|sent| {
            let mut out = sent.out.iter().copied();
            match (out.next(), out.next(), sent.answered) {
                (None, _, true) => ProbeOutcome::Answered,
                (None, _, false) => ProbeOutcome::Dropped,
                (Some(leg), None, false) => ProbeOutcome::Out(leg),
                _ => ProbeOutcome::Several {
                    out: sent.out.iter().copied().collect(),
                    answered: sent.answered,
                },
            }
        })
    }
}
