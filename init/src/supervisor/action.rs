//! What the core wants done.

use super::UnitId;

/// What the edge is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdgeAction {
    /// Start the unit's process; answer, now or later, with [`Event::Spawned`] or
    /// [`Event::SpawnFailed`].
    ///
    /// [`Event::Spawned`]: super::Event::Spawned
    /// [`Event::SpawnFailed`]: super::Event::SpawnFailed
    Start(UnitId),
    /// Ask the unit's process to end, with the signal of its unit file.
    Ask(UnitId),
    /// Kill all of the unit's processes.
    Kill(UnitId),
    /// Every unit is stopped, or cannot be: take the machine down.
    Finish(ShutdownGoal),
}

/// What the machine does once all is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownGoal {
    PowerOff,
    Reboot,
}
