//! How much paths carry at most: what their sources have asked for, and hops have granted.

use super::relay::{NextHop, Transit};
use super::source::{self, PathState, SourcePath, SourceState};
use super::{Engine, EngineAction, LinkNumber, PathNumber};
use crate::control::Id;
use crate::label::Label;
use crate::onion::{HopChange, HopGrant};

/// The highest rate that is granted, in kbit/s: the kernel counts in nanoseconds and bytes, and for ten times
/// this its numbers are too short.
pub const HIGHEST: u32 = 100_000_000;

/// What a hop grants to who asks for this much; 0 is no bound.
pub(super) fn granted(asked: u32) -> u32 {
    asked.min(HIGHEST)
}

/// What all hops of a path come to: the least of those that set a bound.
pub(super) fn least(grants: &[HopGrant]) -> u32 {
    grants.iter().map(|grant| grant.rate).filter(|rate| *rate > 0).min().unwrap_or(0)
}

impl Transit {
    /// Has what comes with this label be no more than was granted.
    pub(super) fn bound(&self, link: LinkNumber, label: Label) -> Option<EngineAction> {
        self.is_bounded.then_some(EngineAction::Bound(link, label, self.grant.rate))
    }

    /// The labels of this path that may come, and from whom.
    fn coming(&self, (before, _): (LinkNumber, Id)) -> Vec<(LinkNumber, Label)> {
        let there = (before, self.there);
        match &self.to {
            NextHop::Hop { key: (behind, _), back, onward: Some(_), .. } => {
                vec![there, (*behind, *back)]
            }
            NextHop::Hop { key: (behind, _), back, onward: None, .. } => vec![(*behind, *back)],
            NextHop::End(..) => vec![there],
        }
    }

    /// The source asks for another rate than before.
    pub(super) fn set_rate(&mut self, key: (LinkNumber, Id), rate: u32) -> Vec<EngineAction> {
        self.grant.rate = granted(rate);
        self.is_bounded |= self.grant.rate > 0;
        let coming = self.coming(key).into_iter();
        coming.filter_map(|(link, label)| self.bound(link, label)).collect()
    }
}

impl SourcePath {
    /// What the hops are asked for when they are to keep the path.
    pub(super) fn refreshed(&self) -> HopChange {
        HopChange::Refresh(HopGrant { lifetime: source::LIFETIME, rate: self.rate })
    }
}

impl Engine {
    /// Asks all hops of a path of this node's own for another rate, in kbit/s; 0 is no bound. Nobody answers to
    /// that. Those of a path that does not stand yet are asked when it is refreshed.
    pub fn set_rate(&mut self, number: PathNumber, rate: u32, now: u64) -> Vec<EngineAction> {
        let Some(path) = self.paths.get_mut(&number) else { return vec![] };
        path.rate = granted(rate);
        if path.state != PathState::Stands {
            return vec![];
        }
        path.granted = path.rate;
        path.next = now;
        self.refresh(now)
    }

    /// What paths of this node's own may carry at most each way, in kbit/s, if there is a bound.
    pub fn rate(&self, number: PathNumber) -> Option<u32> {
        let path = self.paths.get(&number)?;
        matches!(path.way, SourceState::Stands { .. })
            .then_some(path.granted)
            .filter(|rate| *rate > 0)
    }
}
