//! What the core is told.

use std::time::Duration;

use super::{ShutdownGoal, UnitId};

/// What happened. An event for a unit that does not exist counts as a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(strum::EnumDiscriminants))]
#[cfg_attr(test, strum_discriminants(name(EventKind)))]
#[cfg_attr(test, strum_discriminants(derive(strum::EnumIter, PartialOrd, Ord)))]
pub enum SupervisorEvent {
    /// The phases are over: start what can start.
    Boot,
    /// The program of a unit runs: its `exec` succeeded.
    Spawned(UnitId),
    /// The process of a unit could not be started. Nothing of it is left.
    SpawnFailed(UnitId, SpawnRefusal),
    /// A unit says that it is ready.
    Ready(UnitId),
    /// A unit says that it lives (`WATCHDOG=1`).
    Alive(UnitId),
    /// A unit that starts says that it takes so much longer from now (`EXTEND_TIMEOUT_USEC`).
    Extended(UnitId, Duration),
    /// The main process of a unit ended and was collected.
    Exited(UnitId, ProcessExit),
    /// No process of a unit that has ended is left.
    Emptied(UnitId),
    /// A deadline may have passed.
    Tick,
    /// The operator wants a unit to run.
    Start(UnitId),
    /// The operator wants a unit not to run.
    Stop(UnitId),
    /// The operator wants a unit to stop and to start again.
    Restart(UnitId),
    /// A unit is not to run on this node, or not yet; in words why.
    Hold(UnitId, String),
    /// It is to run on this node after all.
    Release(UnitId),
    /// The machine is to go down.
    Shutdown(ShutdownGoal),
}

impl SupervisorEvent {
    /// The unit it is about.
    pub fn unit(&self) -> Option<UnitId> {
        match *self {
            Self::Spawned(unit)
            | Self::SpawnFailed(unit, _)
            | Self::Ready(unit)
            | Self::Alive(unit)
            | Self::Extended(unit, _)
            | Self::Exited(unit, _)
            | Self::Emptied(unit)
            | Self::Start(unit)
            | Self::Stop(unit)
            | Self::Restart(unit)
            | Self::Hold(unit, _)
            | Self::Release(unit) => Some(unit),
            Self::Boot | Self::Tick | Self::Shutdown(_) => None,
        }
    }
}

/// Why a process could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnRefusal {
    pub reason: String,
    /// Whether another try may help: memory may come back, a missing program does not.
    pub may_pass: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessExit {
    /// By itself, with this status.
    Status(i32),
    Signal(i32),
}

impl ProcessExit {
    /// Whether it ended as it should.
    pub fn success(self) -> bool {
        self == Self::Status(0)
    }
}

impl std::fmt::Display for ProcessExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "ended with status {status}"),
            Self::Signal(signal) => match signal_hook::low_level::signal_name(*signal) {
                Some(name) => write!(f, "was killed by {name}"),
                None => write!(f, "was killed by signal {signal}"),
            },
        }
    }
}
