//! The rate limit of announcements per neighbour: each costs the verification of two signatures before its
//! origin is known.

use super::NODES;

/// The burst: all nodes that can exist, for a neighbour that comes up.
const BURST: u32 = NODES as u32;

/// The sustained rate per second.
const EACH_SECOND: u32 = 64;

/// The remaining budget of a neighbour.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadPace {
    budget: u32,
    /// The time of the last update, in seconds since 1970.
    at: u64,
}

impl ReadPace {
    /// The full budget of a new neighbour.
    pub fn new(now: u64) -> Self {
        Self { budget: BURST, at: now }
    }

    /// Whether another announcement is processed.
    pub fn allow(&mut self, now: u64) -> bool {
        // A clock that was set back adds no budget.
        let passed = u32::try_from(now.saturating_sub(self.at)).unwrap_or(u32::MAX);
        self.at = now;
        self.budget = self.budget.saturating_add(passed.saturating_mul(EACH_SECOND)).min(BURST);
        let may = self.budget > 0;
        self.budget -= u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_at_once_and_then_some_each_second() {
        let mut pace = ReadPace::new(1000);
        let mut may = |now| (0..10_000).filter(|_| pace.allow(now)).count();
        assert_eq!(may(1000), NODES);
        assert_eq!(may(1001), 64);
        assert_eq!(may(1003), 128);
        // The clock goes back and on from there.
        assert_eq!(may(900), 0);
        assert_eq!(may(901), 64);
        assert_eq!(may(u64::MAX), NODES);
    }
}
