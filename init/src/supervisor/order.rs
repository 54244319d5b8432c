//! Decides which units may start or stop now.
//!
//! A change of one unit affects only its neighbours in the graph. They are put on a worklist and
//! examined in the same step, so the cost of a step depends on what it changes and not on the
//! number of units.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use octet_appliance::UnitType;

use super::reason::UnitReason;
use super::{EdgeAction, Moment, Outcome, Slot, State, UnitId, UnitState};

/// Units to examine before the step ends. A unit that is listed twice is examined twice, which is
/// harmless.
#[derive(Debug, Clone, Default)]
pub struct Worklist {
    /// Units that may be able to start, the first in start order first.
    start: BinaryHeap<Reverse<UnitId>>,
    /// Units that may be able to stop, the last in start order first.
    stop: BinaryHeap<UnitId>,
}

impl State {
    pub(super) fn enqueue_all(&mut self) {
        self.worklist.start.extend((0..self.units.len()).map(|index| Reverse(UnitId(index))));
    }

    /// A unit has changed: it and its neighbours may now be able to start or stop.
    pub(super) fn enqueue_neighbours(&mut self, unit: UnitId) {
        let slot = &self.units[unit.0];
        let waits = |id: &UnitId| self.units[id.0].state() == UnitState::Waiting;
        let leaves = |id: &UnitId| self.units[id.0].stop_pending.is_some();
        let Worklist { start, stop } = &mut self.worklist;
        let later = slot.followers();
        let earlier = slot.settings.needs.iter().chain(&slot.settings.after).copied();
        let earlier = earlier.chain(self.stops_last);
        start.extend(later.chain([unit]).filter(waits).map(Reverse));
        stop.extend(earlier.chain([unit]).filter(leaves));
    }

    /// Starts and stops the units that can.
    pub(super) fn run_worklist(&mut self, now: Moment, actions: &mut Vec<EdgeAction>) {
        loop {
            if let Some(unit) = self.worklist.stop.pop() {
                self.stop_if_unblocked(unit, now, actions);
            } else if let Some(Reverse(unit)) = self.worklist.start.pop() {
                self.start_if_unblocked(unit, now, actions);
            } else {
                return;
            }
        }
    }

    fn start_if_unblocked(&mut self, unit: UnitId, now: Moment, actions: &mut Vec<EdgeAction>) {
        let slot = &self.units[unit.0];
        let free = slot.state() == UnitState::Waiting && slot.stop_pending.is_none();
        if !free || self.unmet_dependency(unit).is_some() {
            return;
        }
        if slot.settings.unit_type == UnitType::Target {
            self.enter(unit, UnitState::Exited, None, now);
        } else {
            let deadline = now.saturating_add(slot.settings.start_timeout);
            self.enter(unit, UnitState::Starting { deadline }, None, now);
            actions.push(EdgeAction::Start(unit));
        }
    }

    /// The first unit that `unit` has to wait for before it may start.
    pub(super) fn unmet_dependency(&self, unit: UnitId) -> Option<UnitId> {
        let slot = |id: &UnitId| &self.units[id.0];
        let Slot { settings, .. } = slot(&unit);
        let needed = |id: &&UnitId| !slot(id).state().is_ready() || slot(id).stop_pending.is_some();
        let unsettled = |id: &&UnitId| !slot(id).state().is_settled();
        let first = settings.needs.iter().find(needed);
        first.or_else(|| settings.after.iter().find(unsettled)).copied()
    }

    fn stop_if_unblocked(&mut self, unit: UnitId, now: Moment, actions: &mut Vec<EdgeAction>) {
        if self.units[unit.0].state().is_ending() || self.blocker(unit).is_some() {
            return;
        }
        let slot = &mut self.units[unit.0];
        let Some(then) = slot.stop_pending.take() else { return };
        let why = slot.reason.take();
        match (slot.state(), then) {
            (UnitState::Starting { .. } | UnitState::Ready, _) => {
                self.request_stop(unit, then, why, now, actions);
            }
            // A target waits again when its needs do; a one-shot that has exited stays exited.
            (UnitState::Exited, Outcome::Wait) => self.enter(unit, UnitState::Waiting, why, now),
            (UnitState::Failed | UnitState::Stopped, _) | (_, Outcome::Wait) => {
                slot.reason = why;
                self.enqueue_neighbours(unit);
            }
            _ => self.enter(unit, UnitState::Stopped, why, now),
        }
    }

    /// A unit that has to be stopped before `unit` may be stopped.
    pub(super) fn blocker(&self, unit: UnitId) -> Option<UnitId> {
        self.units[unit.0].followers().find(|id| {
            let slot = &self.units[id.0];
            slot.stop_pending.is_some() || slot.state().is_ending()
        })
    }

    pub(super) fn request_stop(
        &mut self,
        unit: UnitId,
        then: Outcome,
        why: Option<UnitReason>,
        now: Moment,
        actions: &mut Vec<EdgeAction>,
    ) {
        let kill_at = Some(now.saturating_add(self.units[unit.0].settings.stop_timeout));
        self.enter(unit, UnitState::Stopping { kill_at, then }, why, now);
        actions.push(EdgeAction::RequestStop(unit));
    }
}

/// The units that `unit` does not wait for, directly or through others.
pub(super) fn not_waited_for(slots: &[Slot], unit: UnitId) -> Vec<UnitId> {
    let mut waited = vec![false; slots.len()];
    let mut open = vec![unit];
    while let Some(UnitId(index)) = open.pop() {
        if !std::mem::replace(&mut waited[index], true) {
            let settings = &slots[index].settings;
            open.extend(settings.needs.iter().chain(&settings.after));
        }
    }
    (0..slots.len()).filter(|&index| !waited[index]).map(UnitId).collect()
}

impl Slot {
    /// Units that start after it and are stopped before it.
    fn followers(&self) -> impl Iterator<Item = UnitId> {
        self.needed_by.iter().chain(&self.followed_by).copied()
    }
}
