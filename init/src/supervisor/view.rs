//! The state of all units, as clients see it.

use super::{Moment, Settings, State, UnitId, UnitState, UnitStatus};

/// The state of the whole box, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxState {
    /// Base units are still starting.
    Starting,
    /// Every base unit is ready.
    Ready,
    /// A base unit failed, or has stopped.
    Degraded,
    Stopping,
}

impl BoxState {
    /// The name of the state in `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Stopping => "stopping",
        }
    }
}

/// The number of units in each kind of state, so that nobody has to iterate over all of them.
#[derive(Debug, Clone, Copy)]
pub struct UnitCounts {
    /// Units that have a process, or may have one.
    pub running: usize,
    base: usize,
    base_ready: usize,
    base_lost: usize,
}

impl UnitCounts {
    /// The counts before any unit was started.
    pub fn new(units: &[Settings]) -> Self {
        let base = || units.iter().filter(|settings| settings.base);
        let base_lost = base().filter(|settings| settings.held.is_some()).count();
        Self { running: 0, base: base().count(), base_ready: 0, base_lost }
    }

    /// Updates the counts when a unit changes its state.
    pub fn record_transition(&mut self, base: bool, before: UnitState, after: UnitState) {
        let count = |counter: &mut usize, is: fn(UnitState) -> bool| {
            *counter = *counter + usize::from(is(after)) - usize::from(is(before));
        };
        count(&mut self.running, UnitState::is_running);
        if base {
            count(&mut self.base_ready, UnitState::is_ready);
            count(&mut self.base_lost, is_lost);
        }
    }
}

/// Whether only an operator can start it again.
fn is_lost(state: UnitState) -> bool {
    matches!(state, UnitState::Failed | UnitState::Stopped)
}

impl State {
    /// All units with their status, in start order.
    pub fn units(&self) -> impl Iterator<Item = (UnitId, &Settings, &UnitStatus)> {
        self.units
            .iter()
            .enumerate()
            .map(|(index, slot)| (UnitId(index), &slot.settings, &slot.status))
    }

    pub fn status(&self, unit: UnitId) -> &UnitStatus {
        &self.units[unit.0].status
    }

    /// The state of the box.
    pub fn box_state(&self) -> BoxState {
        if self.shutdown.is_some() {
            BoxState::Stopping
        } else if self.counts.base == 0 || self.counts.base_lost > 0 {
            // An image has base units; without any known base unit the box is degraded.
            BoxState::Degraded
        } else if self.counts.base_ready == self.counts.base {
            BoxState::Ready
        } else {
            BoxState::Starting
        }
    }

    /// When every base unit was ready for the first time.
    pub fn ready_at(&self) -> Option<Moment> {
        self.ready_at
    }
}
