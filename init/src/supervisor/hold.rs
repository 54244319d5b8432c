//! Units that must not run on this node: they are stopped, and cannot be started until they are
//! released.

use super::reason::UnitReason;
use super::{Moment, Outcome, State, UnitId};

impl State {
    /// Stops a unit, after those that need it, and keeps it from being started. For a unit that is
    /// held already only the `reason` changes.
    pub(super) fn hold(&mut self, unit: UnitId, reason: String, now: Moment) {
        let slot = &mut self.units[unit.0];
        let why = Some(UnitReason::Held(reason));
        if std::mem::replace(&mut slot.held, true) {
            slot.reason = why;
            return;
        }
        self.schedule_stop_of_dependents(unit);
        self.schedule_stop(unit, Outcome::Stop, why, now);
    }

    /// Lets a held unit start as at boot, whatever an operator has requested for it before. Units
    /// that wait for it start again by themselves.
    pub(super) fn release(&mut self, unit: UnitId, now: Moment) {
        if std::mem::replace(&mut self.units[unit.0].held, false) {
            self.revive(unit, now);
        }
    }
}
