//! The states of a unit.

use super::{Moment, ProcessExit};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(strum::EnumDiscriminants))]
#[cfg_attr(test, strum_discriminants(name(StateKind)))]
#[cfg_attr(test, strum_discriminants(derive(strum::EnumIter, PartialOrd, Ord)))]
pub enum UnitState {
    /// It waits for the units it needs.
    Waiting,
    /// Its process is being started, or runs and is not ready; it must be ready by `deadline`.
    Starting {
        deadline: Moment,
    },
    /// Its process runs and is ready.
    Ready,
    /// It exited successfully; or it is a target whose needs are ready.
    Exited,
    /// It failed and is restarted at `until`.
    Backoff {
        until: Moment,
    },
    Failed,
    /// Its process was sent the stop signal; it is killed at `kill_at`, unless that was done
    /// already.
    Stopping {
        kill_at: Option<Moment>,
        /// What follows once it has ended.
        then: Outcome,
    },
    /// Its main process has ended and the remaining ones were killed, but are not all gone yet.
    Clearing {
        /// What follows once they are gone.
        then: Outcome,
    },
    /// It does not run and is not meant to.
    Stopped,
}

/// What follows once no process of a unit runs any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(test, derive(strum::EnumIter))]
pub enum Outcome {
    /// It has exited successfully.
    Done,
    /// It failed: it is restarted if its budget allows it.
    Fail,
    /// It stays stopped.
    Stop,
    /// It starts again once what it needs is ready.
    Wait,
}

impl UnitState {
    /// Whether units that need it may start.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Exited)
    }

    /// Whether units that are ordered after it may start.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Ready | Self::Exited | Self::Failed | Self::Stopped)
    }

    /// Whether it is being stopped or cleared.
    pub fn is_ending(self) -> bool {
        matches!(self, Self::Stopping { .. } | Self::Clearing { .. })
    }

    /// Whether it has, or may have, a process.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Ready) || self.is_ending()
    }

    /// When a unit that failed is restarted.
    pub fn next_try(self) -> Option<Moment> {
        match self {
            Self::Backoff { until } => Some(until),
            _ => None,
        }
    }

    /// The name of the state in `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting { .. } => "starting",
            Self::Ready => "ready",
            Self::Exited => "exited",
            Self::Backoff { .. } => "backoff",
            Self::Failed => "failed",
            Self::Stopping { .. } => "stopping",
            Self::Clearing { .. } => "clearing",
            Self::Stopped => "stopped",
        }
    }
}

/// A unit's state and history; [`State::reason`](super::State::reason) explains the state.
#[derive(Debug, Clone)]
pub struct UnitStatus {
    pub state: UnitState,
    pub since: Moment,
    /// How often it was restarted after a failure.
    pub restarts: u64,
    /// How its process ended last.
    pub last_exit: Option<ProcessExit>,
    /// When it was started for the first time.
    pub first_started: Option<Moment>,
    /// When it was ready, or had exited successfully, for the first time.
    pub first_ready: Option<Moment>,
}

impl UnitStatus {
    pub(super) fn new(state: UnitState) -> Self {
        Self {
            state,
            since: Moment::ZERO,
            restarts: 0,
            last_exit: None,
            first_started: None,
            first_ready: None,
        }
    }

    pub(super) fn enter(&mut self, state: UnitState, now: Moment) {
        self.state = state;
        self.since = now;
        if matches!(state, UnitState::Starting { .. }) {
            self.first_started.get_or_insert(now);
        } else if state.is_ready() {
            self.first_ready.get_or_insert(now);
        }
    }
}
