//! The deadlines of units, and what happens when one passes.

use std::collections::BTreeSet;

use super::reason::UnitReason;
use super::{EdgeAction, Moment, Outcome, State, UnitId, UnitState};

/// At most one deadline per unit, the earliest first.
#[derive(Debug, Clone, Default)]
pub struct Deadlines(BTreeSet<(Moment, UnitId)>);

impl State {
    /// When the next [`SupervisorEvent::Tick`](super::SupervisorEvent::Tick) is due, if no other
    /// event occurs before.
    pub fn next_deadline(&self) -> Option<Moment> {
        let unit = self.deadlines.0.first().map(|&(due, _)| due);
        let end = self.shutdown.and_then(|down| down.due());
        unit.into_iter().chain(end).min()
    }

    pub(super) fn set_due(&mut self, unit: UnitId, due: Option<Moment>) {
        let slot = &mut self.units[unit.0];
        if let Some(old) = std::mem::replace(&mut slot.due, due) {
            self.deadlines.0.remove(&(old, unit));
        }
        if let Some(due) = due {
            self.deadlines.0.insert((due, unit));
        }
    }

    pub(super) fn pass_deadlines(&mut self, now: Moment, actions: &mut Vec<EdgeAction>) {
        while let Some(&(due, unit)) = self.deadlines.0.first()
            && due <= now
        {
            self.set_due(unit, None);
            self.pass_deadline(unit, now, actions);
        }
    }

    fn pass_deadline(&mut self, unit: UnitId, now: Moment, actions: &mut Vec<EdgeAction>) {
        let slot = &mut self.units[unit.0];
        match slot.state() {
            UnitState::Backoff { .. } => {
                slot.status.restarts += 1;
                self.enter(unit, UnitState::Waiting, None, now);
            }
            // A unit that is to be stopped need not become ready; it keeps its turn in the stop
            // order.
            UnitState::Starting { .. } if slot.stop_pending.is_none() => {
                self.request_stop(
                    unit,
                    Outcome::Fail,
                    Some(UnitReason::StartTimeout),
                    now,
                    actions,
                );
            }
            // The process hangs, so it would not handle a signal either.
            UnitState::Ready => {
                let (then, why) = slot
                    .intended_outcome()
                    .unwrap_or((Outcome::Fail, Some(UnitReason::WatchdogTimeout)));
                self.enter(unit, UnitState::Stopping { kill_at: None, then }, why, now);
                actions.push(EdgeAction::Kill(unit));
            }
            UnitState::Stopping { then, .. } => {
                slot.status.state = UnitState::Stopping { kill_at: None, then };
                actions.push(EdgeAction::Kill(unit));
            }
            _ => {}
        }
    }
}
