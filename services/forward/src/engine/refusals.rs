//! Counters of refused set-ups, for metrics.

use std::collections::BTreeMap;

use crate::onion::Reason;

/// Why a set-up was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetupRefusal {
    /// The reason was reported to the source.
    Refused(Reason),
    /// The set-up was for another node or was altered; the neighbour was notified.
    NotForUs,
    /// The neighbour exceeded its rate, or reused an identifier; nobody was notified.
    Dropped,
}

impl SetupRefusal {
    const ALL: [Self; 9] = [
        Self::Refused(Reason::Full),
        Self::Refused(Reason::Policy),
        Self::Refused(Reason::Clock),
        Self::Refused(Reason::Replay),
        Self::Refused(Reason::NoLink),
        Self::Refused(Reason::Silent),
        Self::Refused(Reason::Unreadable),
        Self::NotForUs,
        Self::Dropped,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Refused(Reason::Full) => "full",
            Self::Refused(Reason::Policy) => "policy",
            Self::Refused(Reason::Clock) => "clock",
            Self::Refused(Reason::Replay) => "replay",
            Self::Refused(Reason::NoLink) => "no link",
            Self::Refused(Reason::Silent) => "silent",
            Self::Refused(Reason::Unreadable) => "unreadable",
            Self::Refused(Reason::Unpaid) => "unpaid",
            Self::Refused(Reason::Other(_)) => "other",
            Self::NotForUs => "not for us",
            Self::Dropped => "unheard",
        }
    }
}

/// The number of refusals since the start.
#[derive(Debug, Default)]
pub struct Refusals(BTreeMap<SetupRefusal, u64>);

impl Refusals {
    pub fn add(&mut self, refusal: SetupRefusal) {
        *self.0.entry(refusal).or_default() += 1;
    }

    /// The counts by reason, zeros included.
    pub fn counts(&self) -> impl Iterator<Item = (SetupRefusal, u64)> {
        SetupRefusal::ALL.into_iter().map(|it| (it, self.0.get(&it).copied().unwrap_or_default()))
    }
}
