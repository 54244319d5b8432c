//! Actions that the core requests from the edge.

use super::UnitId;

/// An action for the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdgeAction {
    /// Start the unit's process; answer, now or later, with [`SupervisorEvent::Spawned`] or
    /// [`SupervisorEvent::SpawnFailed`].
    ///
    /// [`SupervisorEvent::Spawned`]: super::SupervisorEvent::Spawned
    /// [`SupervisorEvent::SpawnFailed`]: super::SupervisorEvent::SpawnFailed
    Start(UnitId),
    /// Send the unit's process the stop signal of its unit file.
    RequestStop(UnitId),
    /// Kill all of the unit's processes.
    Kill(UnitId),
    /// Every unit is stopped, or cannot be stopped: power the machine off or restart it.
    Finish(ShutdownGoal),
}

/// What the machine does after the shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownGoal {
    PowerOff,
    Reboot,
}
