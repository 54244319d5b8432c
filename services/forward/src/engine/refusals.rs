//! Counters of refused set-ups, for metrics.

use std::collections::BTreeMap;

use crate::onion::Reason;

/// Why a set-up was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetupRefusal {
    /// The reason was reported to the source.
    Told(Reason),
    /// The set-up was for another node or was altered; the neighbour was notified.
    NotForUs,
    /// The neighbour exceeded its rate, or reused an identifier; nobody was notified.
    Unheard,
}

impl SetupRefusal {
    const ALL: [Self; 9] = [
        Self::Told(Reason::Full),
        Self::Told(Reason::Policy),
        Self::Told(Reason::Clock),
        Self::Told(Reason::Replay),
        Self::Told(Reason::NoLink),
        Self::Told(Reason::Silent),
        Self::Told(Reason::Unreadable),
        Self::NotForUs,
        Self::Unheard,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Told(Reason::Full) => "full",
            Self::Told(Reason::Policy) => "policy",
            Self::Told(Reason::Clock) => "clock",
            Self::Told(Reason::Replay) => "replay",
            Self::Told(Reason::NoLink) => "no link",
            Self::Told(Reason::Silent) => "silent",
            Self::Told(Reason::Unreadable) => "unreadable",
            Self::Told(Reason::Unpaid) => "unpaid",
            Self::Told(Reason::Other(_)) => "other",
            Self::NotForUs => "not for us",
            Self::Unheard => "unheard",
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
