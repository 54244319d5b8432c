//! Events that the edge reports to the core.

use std::time::Duration;

use super::{ShutdownGoal, UnitId};

/// What happened. An event for a unit that does not exist is handled as a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(strum::EnumDiscriminants))]
#[cfg_attr(test, strum_discriminants(name(EventKind)))]
#[cfg_attr(test, strum_discriminants(derive(strum::EnumIter, PartialOrd, Ord)))]
pub enum SupervisorEvent {
    /// The boot phases are over: units may start.
    Boot,
    /// The program of a unit runs: its `exec` succeeded.
    Spawned(UnitId),
    /// The process of a unit could not be started; no process of it is left.
    SpawnFailed(UnitId, SpawnRefusal),
    /// A unit notifies that it is ready (`READY=1`).
    Ready(UnitId),
    /// A unit notifies that it is alive (`WATCHDOG=1`).
    Alive(UnitId),
    /// A starting unit asks for this much more time from now (`EXTEND_TIMEOUT_USEC`).
    Extended(UnitId, Duration),
    /// The main process of a unit ended and was reaped.
    Exited(UnitId, ProcessExit),
    /// No process of an ended unit is left.
    Emptied(UnitId),
    /// A deadline may have passed.
    Tick,
    /// The operator starts a unit.
    Start(UnitId),
    /// The operator stops a unit.
    Stop(UnitId),
    /// The operator restarts a unit.
    Restart(UnitId),
    /// A unit must not run on this node, or not yet; with the reason in words.
    Hold(UnitId, String),
    /// The unit may run on this node after all.
    Release(UnitId),
    /// The machine is to shut down.
    Shutdown(ShutdownGoal),
}

impl SupervisorEvent {
    /// The unit that the event is about.
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
    /// Whether a retry may help: memory may become available, a missing program does not.
    pub transient: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessExit {
    /// The process exited with this status.
    Status(i32),
    Signal(i32),
}

impl ProcessExit {
    /// Whether the process exited successfully.
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
