//! Rate limits of paths: requested by sources, granted by hops.

use super::relay::Transit;
use super::source::{self, PathState, SourcePath, SourceState};
use super::{Engine, EngineAction, PathNumber};
use crate::onion::{HopChange, HopGrant};

/// The maximum rate that is granted, in kbit/s. The kernel counts in nanoseconds and bytes; ten times this rate
/// would overflow.
pub const MAX: u32 = 100_000_000;

/// The rate that a hop grants for a request; 0 means unlimited.
pub(super) fn grant(asked: u32) -> u32 {
    asked.min(MAX)
}

/// The rate limit of a path: the minimum over all hops that set one.
pub(super) fn min_rate(grants: &[HopGrant]) -> u32 {
    grants.iter().map(|grant| grant.rate).filter(|rate| *rate > 0).min().unwrap_or(0)
}

impl Transit {
    /// Handles the source's request for another rate.
    pub(super) fn set_rate(&mut self, rate: u32) {
        self.grant.rate = grant(rate);
        self.is_rate_limited |= self.grant.rate > 0;
    }
}

impl SourcePath {
    /// The request for hops at a refresh.
    pub(super) fn refresh_change(&self) -> HopChange {
        HopChange::Refresh(HopGrant { lifetime: source::LIFETIME, rate: self.rate })
    }
}

impl Engine {
    /// Requests another rate from all hops of a path of this node, in kbit/s; 0 means unlimited. Hops do not
    /// answer. A pending path makes the request at its first refresh.
    pub fn set_rate(&mut self, number: PathNumber, rate: u32, now: u64) -> Vec<EngineAction> {
        let Some(path) = self.paths.get_mut(&number) else { return vec![] };
        path.rate = grant(rate);
        if path.state != PathState::Up {
            return vec![];
        }
        path.granted_rate = path.rate;
        path.deadline = now;
        self.refresh(now)
    }

    /// The rate limit of a path of this node in each direction, in kbit/s, if there is one.
    pub fn rate(&self, number: PathNumber) -> Option<u32> {
        let path = self.paths.get(&number)?;
        matches!(path.setup, SourceState::Up { .. })
            .then_some(path.granted_rate)
            .filter(|rate| *rate > 0)
    }
}
