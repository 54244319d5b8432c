//! How many set-ups were refused here, and why: for whoever watches this node.

use std::collections::BTreeMap;

use crate::onion::Reason;

/// Why a set-up came to nothing at this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetupRefusal {
    /// As its source is told.
    Told(Reason),
    /// It is for somebody else, or was altered: the neighbour is told.
    NotForUs,
    /// The neighbour sends too many in a second, or calls two paths the same: nobody is told.
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

/// How many there were since the start.
#[derive(Debug, Default)]
pub struct Refusals(BTreeMap<SetupRefusal, u64>);

impl Refusals {
    pub fn add(&mut self, refusal: SetupRefusal) {
        *self.0.entry(refusal).or_default() += 1;
    }

    /// Of each kind, also of those that there were none of.
    pub fn counts(&self) -> impl Iterator<Item = (SetupRefusal, u64)> {
        SetupRefusal::ALL.into_iter().map(|it| (it, self.0.get(&it).copied().unwrap_or_default()))
    }
}
