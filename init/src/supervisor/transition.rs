//! What each event does to a unit.

use octet_appliance::{Readiness, RestartPolicy, UnitType};

use super::state::AfterStop;
use super::{Action, Exit, Moment, Refusal, State, UnitId, UnitState};

impl State {
    /// Starts every unit whose needs are ready.
    pub(super) fn start_in_order(&mut self, now: Moment, actions: &mut Vec<Action>) {
        for index in 0..self.units.len() {
            if self.units[index].status.state != UnitState::Waiting || !self.may_start(index) {
                continue;
            }
            let slot = &mut self.units[index];
            if slot.settings.unit_type == UnitType::Target {
                slot.status.enter(UnitState::Done, None, now);
            } else {
                let deadline = now + slot.settings.start_timeout;
                slot.status.enter(UnitState::Starting { deadline }, None, now);
                actions.push(Action::Start(UnitId(index)));
            }
        }
    }

    /// Whether all it waits for is there; if not, the unit's reason says what is missing.
    fn may_start(&mut self, index: usize) -> bool {
        let settings = &self.units[index].settings;
        let state = |id: &UnitId| self.units[id.0].status.state;
        let missing = settings
            .needs
            .iter()
            .find(|id| !state(id).is_ready())
            .or_else(|| settings.after.iter().find(|id| !state(id).is_settled()));
        let reason = missing.map(|id| {
            let name = &self.units[id.0].settings.name;
            match state(id) {
                UnitState::Failed => format!("needs {name}, which failed"),
                _ => format!("waits for {name}"),
            }
        });
        let may = reason.is_none();
        self.units[index].status.reason = reason;
        may
    }

    pub(super) fn spawned(&mut self, unit: UnitId, now: Moment) {
        let slot = &mut self.units[unit.0];
        if matches!(slot.status.state, UnitState::Starting { .. })
            && slot.settings.readiness == Readiness::Exec
        {
            slot.status.enter(UnitState::Ready, None, now);
        }
    }

    pub(super) fn spawn_failed(&mut self, unit: UnitId, refusal: Refusal, now: Moment) {
        let Refusal { reason, may_pass } = refusal;
        let status = &mut self.units[unit.0].status;
        match status.state {
            UnitState::Starting { .. } if may_pass => {
                self.failed(unit, reason, Moment::ZERO, now);
            }
            UnitState::Starting { .. } => status.enter(UnitState::Failed, Some(reason), now),
            UnitState::Stopping { .. } => status.enter(UnitState::Stopped, Some(reason), now),
            _ => {}
        }
    }

    pub(super) fn ready(&mut self, unit: UnitId, now: Moment) {
        let slot = &mut self.units[unit.0];
        if matches!(slot.status.state, UnitState::Starting { .. })
            && slot.settings.readiness == Readiness::Notify
        {
            slot.status.enter(UnitState::Ready, None, now);
        }
    }

    pub(super) fn exited(
        &mut self,
        unit: UnitId,
        exit: Exit,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let slot = &mut self.units[unit.0];
        if !slot.status.state.is_running() {
            return;
        }
        slot.status.last_exit = Some(exit);
        // Whatever it started does not outlive it: the next instance is never beside the last.
        actions.push(Action::Kill(unit));
        match slot.status.state {
            UnitState::Stopping { then: AfterStop::Rest, .. } => {
                slot.status.enter(UnitState::Stopped, None, now);
            }
            UnitState::Stopping { then: AfterStop::Fail, .. } => {
                let timeout = slot.settings.start_timeout;
                self.failed(unit, format!("was not ready within {timeout:?}"), Moment::ZERO, now);
            }
            _ if exit.success() && slot.settings.unit_type == UnitType::OneShot => {
                slot.status.enter(UnitState::Done, None, now);
            }
            UnitState::Ready => {
                let ready_for = now.saturating_sub(slot.status.since);
                self.ended(unit, exit, String::new(), ready_for, now);
            }
            _ => {
                let before = match slot.settings.unit_type {
                    UnitType::OneShot => "",
                    _ => " before it was ready",
                };
                self.ended(unit, exit, before.to_owned(), Moment::ZERO, now);
            }
        }
    }

    /// A process ended by itself: it is started again or not, as the policy says.
    fn ended(&mut self, unit: UnitId, exit: Exit, when: String, ready_for: Moment, now: Moment) {
        let slot = &mut self.units[unit.0];
        let reason = format!("{exit}{when}");
        if exit.success() && slot.settings.policy != RestartPolicy::Always {
            slot.status.enter(UnitState::Stopped, Some(reason), now);
        } else {
            self.failed(unit, reason, ready_for, now);
        }
    }

    fn failed(&mut self, unit: UnitId, reason: String, ready_for: Moment, now: Moment) {
        let slot = &mut self.units[unit.0];
        if slot.settings.policy == RestartPolicy::Never {
            slot.status.enter(UnitState::Failed, Some(reason), now);
            return;
        }
        match slot.backoff.failed(&slot.settings, ready_for, now) {
            Some(pause) => {
                slot.status.enter(UnitState::Backoff { until: now + pause }, Some(reason), now);
            }
            None => {
                let (budget, window) = (slot.settings.budget, slot.settings.window);
                let reason = format!("{reason}; more than {budget} restarts in {window:?}");
                slot.status.enter(UnitState::Failed, Some(reason), now);
            }
        }
    }

    /// Does what is due.
    pub(super) fn deadlines(&mut self, now: Moment, actions: &mut Vec<Action>) {
        for index in 0..self.units.len() {
            let unit = UnitId(index);
            let slot = &mut self.units[index];
            match slot.status.state {
                UnitState::Backoff { until } if until <= now => {
                    slot.status.restarts += 1;
                    let reason = slot.status.reason.take();
                    slot.status.enter(UnitState::Waiting, reason, now);
                }
                UnitState::Starting { deadline } if deadline <= now => {
                    self.ask_to_stop(unit, AfterStop::Fail, now, actions);
                }
                UnitState::Stopping { kill_at: Some(kill_at), then } if kill_at <= now => {
                    slot.status.state = UnitState::Stopping { kill_at: None, then };
                    actions.push(Action::Kill(unit));
                }
                _ => {}
            }
        }
    }

    pub(super) fn ask_to_stop(
        &mut self,
        unit: UnitId,
        then: AfterStop,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let slot = &mut self.units[unit.0];
        let kill_at = Some(now + slot.settings.stop_timeout);
        slot.status.enter(UnitState::Stopping { kill_at, then }, None, now);
        actions.push(Action::Ask(unit));
    }
}
