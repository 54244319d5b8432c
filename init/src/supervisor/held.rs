//! Units that are not for this node: they are stopped, and nobody can start them until the node is
//! told that they are.

use super::reason::UnitReason;
use super::{Moment, State, Then, UnitId};

impl State {
    /// Stops a unit, after those that need it, and keeps it from being started. One that is held
    /// already only gets the new `reason`.
    pub(super) fn hold(&mut self, unit: UnitId, reason: String, now: Moment) {
        let slot = &mut self.units[unit.0];
        let why = Some(UnitReason::Held(reason));
        if std::mem::replace(&mut slot.held, true) {
            slot.why = why;
            return;
        }
        self.dismiss_those_that_need(unit);
        self.dismiss(unit, Then::Stop, why, now);
    }

    /// Lets a unit that is held start, as at boot: whatever a person wanted of it before. Those that
    /// wait for it come back by themselves.
    pub(super) fn release(&mut self, unit: UnitId, now: Moment) {
        if std::mem::replace(&mut self.units[unit.0].held, false) {
            self.revive(unit, now);
        }
    }
}
