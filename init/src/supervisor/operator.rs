//! Commands of operators: start, stop, restart.

use octet_appliance::UnitType;

use super::backoff::Backoff;
use super::reason::UnitReason;
use super::{Moment, Outcome, State, UnitId, UnitState};

impl State {
    /// Starts a unit and what it needs, whatever state they are in. Running units are not touched;
    /// a unit that is being stopped starts again after that, and a held unit stays held.
    pub(super) fn start(&mut self, unit: UnitId, now: Moment) {
        for unit in self.with_dependencies(unit) {
            if !self.units[unit.0].held {
                self.revive(unit, now);
            }
        }
    }

    /// Stops a unit, after those that need it. They start again when it does.
    pub(super) fn stop(&mut self, unit: UnitId, now: Moment) {
        self.schedule_stop_of_dependents(unit);
        self.schedule_stop(unit, Outcome::Stop, Some(UnitReason::Operator), now);
    }

    /// Restarts a unit: it is stopped after those that need it, and then all of them start again.
    pub(super) fn restart(&mut self, unit: UnitId, now: Moment) {
        self.schedule_stop_of_dependents(unit);
        self.schedule_stop(unit, Outcome::Wait, None, now);
        self.units[unit.0].backoff = Backoff::default();
        self.start(unit, now);
    }

    /// Lets a unit that is stopped, or is being stopped, run again.
    pub(super) fn revive(&mut self, unit: UnitId, now: Moment) {
        let slot = &mut self.units[unit.0];
        let then = Outcome::Wait;
        match slot.state() {
            UnitState::Failed | UnitState::Stopped | UnitState::Backoff { .. } => {
                self.enter(unit, UnitState::Waiting, None, now);
            }
            UnitState::Stopping { kill_at, then: Outcome::Stop | Outcome::Fail } => {
                slot.status.state = UnitState::Stopping { kill_at, then };
            }
            UnitState::Clearing { then: Outcome::Stop | Outcome::Fail } => {
                slot.status.state = UnitState::Clearing { then };
            }
            _ if slot.stop_pending == Some(Outcome::Stop) => {}
            _ => return,
        }
        let slot = &mut self.units[unit.0];
        slot.stop_pending = slot.stop_pending.map(|_| then);
        slot.reason = None;
        slot.backoff = Backoff::default();
    }

    /// Schedules `unit` to be stopped as soon as possible; at once if it does not run.
    pub(super) fn schedule_stop(
        &mut self,
        unit: UnitId,
        then: Outcome,
        why: Option<UnitReason>,
        now: Moment,
    ) {
        let slot = &mut self.units[unit.0];
        match slot.state() {
            UnitState::Stopping { kill_at, .. } => {
                slot.status.state = UnitState::Stopping { kill_at, then };
            }
            UnitState::Clearing { .. } => slot.status.state = UnitState::Clearing { then },
            UnitState::Starting { .. } | UnitState::Ready | UnitState::Exited => {}
            UnitState::Waiting
            | UnitState::Backoff { .. }
            | UnitState::Failed
            | UnitState::Stopped => self.enter(unit, UnitState::Stopped, None, now),
        }
        let slot = &mut self.units[unit.0];
        slot.stop_pending = Some(then);
        slot.reason = why;
        self.enqueue_neighbours(unit);
    }

    /// Schedules all units that need `unit` to be stopped before it, and to wait until it is ready
    /// again.
    ///
    /// A one-shot that has exited has done its work: units that need it keep running.
    pub(super) fn schedule_stop_of_dependents(&mut self, unit: UnitId) {
        let mut seen = vec![false; self.units.len()];
        let mut open = vec![unit];
        while let Some(next) = open.pop() {
            for &id in &self.units[next.0].needed_by {
                let slot = &self.units[id.0];
                let done = slot.state() == UnitState::Exited
                    || slot.state() == UnitState::Clearing { then: Outcome::Done };
                let has_done_its_work = slot.settings.unit_type == UnitType::OneShot && done;
                if !has_done_its_work && !std::mem::replace(&mut seen[id.0], true) {
                    open.push(id);
                }
            }
        }
        seen[unit.0] = false;
        for index in (0..seen.len()).filter(|&index| seen[index]) {
            let slot = &mut self.units[index];
            slot.stop_pending.get_or_insert(Outcome::Wait);
            self.enqueue_neighbours(UnitId(index));
        }
    }

    /// `unit` and all that it needs, in start order.
    fn with_dependencies(&self, unit: UnitId) -> Vec<UnitId> {
        let mut seen = vec![false; self.units.len()];
        seen[unit.0] = true;
        let mut open = vec![unit];
        while let Some(next) = open.pop() {
            for &id in &self.units[next.0].settings.needs {
                if !std::mem::replace(&mut seen[id.0], true) {
                    open.push(id);
                }
            }
        }
        (0..seen.len()).filter(|&index| seen[index]).map(UnitId).collect()
    }
}
