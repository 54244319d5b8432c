//! The states of one unit.

use super::{Exit, Moment};

/// Where a unit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitState {
    /// For the units it needs.
    Waiting,
    /// Its process was asked for, or runs and is not ready; it must be by `deadline`.
    Starting {
        /// See above.
        deadline: Moment,
    },
    /// Its process runs and is ready.
    Ready,
    /// It ran to its end, successfully; a target whose needs are ready.
    Done,
    /// It failed and is started again at `until`.
    Backoff {
        /// See above.
        until: Moment,
    },
    /// It failed for good.
    Failed,
    /// Its process was asked to end; it is killed at `kill_at`, unless that was done already.
    Stopping {
        /// See above.
        kill_at: Option<Moment>,
        /// What follows once it has ended.
        then: AfterStop,
    },
    /// It does not run and is not meant to.
    Stopped,
}

/// What follows once a process that was asked to end has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterStop {
    /// It took too long to get ready: that counts as a failure.
    Fail,
    /// Nothing: the machine goes down.
    Rest,
}

impl UnitState {
    /// Whether units that need it may start.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Done)
    }

    /// Whether units that come after it may start.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Ready | Self::Done | Self::Failed | Self::Stopped)
    }

    /// Whether it has, or may have, a process.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Ready | Self::Stopping { .. })
    }

    /// When something is to be done about it, if nothing happens before.
    pub fn deadline(self) -> Option<Moment> {
        match self {
            Self::Starting { deadline } => Some(deadline),
            Self::Backoff { until } => Some(until),
            Self::Stopping { kill_at, .. } => kill_at,
            _ => None,
        }
    }

    /// As `status` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting { .. } => "starting",
            Self::Ready => "ready",
            Self::Done => "done",
            Self::Backoff { .. } => "backoff",
            Self::Failed => "failed",
            Self::Stopping { .. } => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// A unit's state with what people want to know about it.
#[derive(Debug, Clone)]
pub struct Status {
    /// Where it stands.
    pub state: UnitState,
    /// Since when.
    pub since: Moment,
    /// How often it was started again.
    pub restarts: u64,
    /// Why it stands there, in words.
    pub reason: Option<String>,
    /// How its process ended last.
    pub last_exit: Option<Exit>,
}

impl Status {
    pub(super) fn new() -> Self {
        Self {
            state: UnitState::Waiting,
            since: Moment::ZERO,
            restarts: 0,
            reason: None,
            last_exit: None,
        }
    }

    pub(super) fn enter(&mut self, state: UnitState, reason: Option<String>, now: Moment) {
        self.state = state;
        self.reason = reason;
        self.since = now;
    }
}
