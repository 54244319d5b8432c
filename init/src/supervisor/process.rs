//! Handles what the edge reports of a unit's processes.

use std::time::Duration;

use octet_appliance::{Readiness, RestartPolicy, UnitType};

use super::reason::UnitReason;
use super::{
    EdgeAction, Moment, Outcome, ProcessExit, Slot, SpawnRefusal, State, UnitId, UnitState,
};

/// Maximum start time of a unit that keeps asking for more, in multiples of its `start.timeout`:
/// for a timeout of three minutes that is an hour.
const MAX_EXTENSION: u32 = 20;

impl State {
    pub(super) fn spawned(&mut self, unit: UnitId, now: Moment, actions: &mut Vec<EdgeAction>) {
        let slot = &mut self.units[unit.0];
        match (slot.state(), slot.settings.readiness) {
            (UnitState::Starting { .. }, Readiness::Exec | Readiness::Socket) => {
                let why = slot.reason.take();
                self.enter(unit, UnitState::Ready, why, now);
            }
            // The signal may have arrived before the program was executed: send it again.
            (UnitState::Stopping { kill_at: Some(_), .. }, _) => {
                actions.push(EdgeAction::RequestStop(unit));
            }
            (UnitState::Stopping { kill_at: None, .. }, _) => actions.push(EdgeAction::Kill(unit)),
            _ => {}
        }
    }

    pub(super) fn spawn_failed(&mut self, unit: UnitId, refusal: SpawnRefusal, now: Moment) {
        let slot = &mut self.units[unit.0];
        if !slot.has_main() {
            return;
        }
        let refused = Some(UnitReason::SpawnFailed(refusal.reason));
        match slot.intended_outcome() {
            None | Some((Outcome::Fail, _)) if refusal.transient => self.failed(unit, refused, now),
            None | Some((Outcome::Fail, _)) => self.enter(unit, UnitState::Failed, refused, now),
            Some((then, why)) => self.apply_outcome(unit, then, why, now),
        }
    }

    pub(super) fn ready(&mut self, unit: UnitId, now: Moment) {
        let slot = &mut self.units[unit.0];
        if matches!(slot.state(), UnitState::Starting { .. })
            && slot.settings.readiness == Readiness::Notify
        {
            let why = slot.reason.take();
            self.enter(unit, UnitState::Ready, why, now);
        } else {
            // A repeated `READY=1` counts as a sign of life.
            self.alive(unit, now);
        }
    }

    pub(super) fn alive(&mut self, unit: UnitId, now: Moment) {
        let slot = &self.units[unit.0];
        if slot.state() == UnitState::Ready {
            self.set_due(unit, slot.settings.watchdog.map(|limit| now.saturating_add(limit)));
        }
    }

    /// The unit takes longer to become ready than its unit file says. The deadline is never
    /// shortened, and has an upper limit.
    pub(super) fn extended(&mut self, unit: UnitId, by: Duration, now: Moment) {
        let slot = &mut self.units[unit.0];
        let UnitState::Starting { deadline } = slot.state() else { return };
        let longest = slot.settings.start_timeout.saturating_mul(MAX_EXTENSION);
        let latest = slot.status.since.saturating_add(longest);
        let deadline = deadline.max(now.saturating_add(by).min(latest));
        slot.status.state = UnitState::Starting { deadline };
        self.set_due(unit, Some(deadline));
    }

    pub(super) fn exited(
        &mut self,
        unit: UnitId,
        exit: ProcessExit,
        now: Moment,
        actions: &mut Vec<EdgeAction>,
    ) {
        let slot = &mut self.units[unit.0];
        if !slot.has_main() {
            return;
        }
        slot.status.last_exit = Some(exit);
        let (then, why) = slot.intended_outcome().unwrap_or_else(|| slot.exit_outcome(exit));
        self.enter(unit, UnitState::Clearing { then }, why, now);
        // Remaining processes are killed: two instances of a unit never run side by side.
        actions.push(EdgeAction::Kill(unit));
    }

    pub(super) fn emptied(&mut self, unit: UnitId, now: Moment) {
        let slot = &mut self.units[unit.0];
        if let UnitState::Clearing { then } = slot.state() {
            let why = slot.reason.take();
            self.apply_outcome(unit, then, why, now);
        }
    }

    /// No process of the unit runs any more.
    fn apply_outcome(&mut self, unit: UnitId, then: Outcome, why: Option<UnitReason>, now: Moment) {
        match then {
            Outcome::Done => self.enter(unit, UnitState::Exited, why, now),
            Outcome::Fail => self.failed(unit, why, now),
            Outcome::Stop => self.enter(unit, UnitState::Stopped, why, now),
            Outcome::Wait => self.enter(unit, UnitState::Waiting, why, now),
        }
    }

    /// The unit is restarted after a delay, if its policy and budget allow it.
    fn failed(&mut self, unit: UnitId, why: Option<UnitReason>, now: Moment) {
        let slot = &mut self.units[unit.0];
        if slot.settings.policy == RestartPolicy::Never {
            self.enter(unit, UnitState::Failed, why, now);
            return;
        }
        match slot.backoff.next_delay(&slot.settings, self.jitter.draw(), now) {
            Some(pause) => {
                let until = now.saturating_add(pause);
                self.enter(unit, UnitState::Backoff { until }, why, now);
            }
            None => {
                let why = why.map(|why| UnitReason::OverBudget(Box::new(why)));
                self.enter(unit, UnitState::Failed, why, now);
            }
        }
    }
}

impl Slot {
    /// Whether its main process runs, as far as is known.
    fn has_main(&self) -> bool {
        self.state().is_running() && !matches!(self.state(), UnitState::Clearing { .. })
    }

    /// What was to follow its end, if the end was intended.
    pub(super) fn intended_outcome(&mut self) -> Option<(Outcome, Option<UnitReason>)> {
        let then = match self.state() {
            UnitState::Stopping { then, .. } => then,
            _ => self.stop_pending?,
        };
        Some((then, self.reason.take()))
    }

    /// What follows when the process ended by itself, according to the unit's restart policy.
    fn exit_outcome(&self, exit: ProcessExit) -> (Outcome, Option<UnitReason>) {
        let one_shot = self.settings.unit_type == UnitType::OneShot;
        if exit.success() && one_shot {
            return (Outcome::Done, None);
        }
        let early = !one_shot && self.state() != UnitState::Ready;
        let why = if early { UnitReason::ExitedEarly(exit) } else { UnitReason::Exited(exit) };
        let expected = exit.success() && self.settings.policy != RestartPolicy::Always;
        (if expected { Outcome::Stop } else { Outcome::Fail }, Some(why))
    }
}
