//! Going down: each unit only after all that depend on it, and all of it bounded.

use super::state::AfterStop;
use super::{Action, Goal, GoingDown, Moment, SHUTDOWN_LIMIT, State, UnitId, UnitState};

impl State {
    pub(super) fn go_down(&mut self, goal: Goal, now: Moment) {
        if self.going_down.is_none() {
            self.going_down =
                Some(GoingDown { goal, deadline: Some(now + SHUTDOWN_LIMIT), finished: false });
        }
    }

    pub(super) fn stop_in_order(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(down) = self.going_down else { return };
        let out_of_time = down.deadline.is_none_or(|deadline| deadline <= now);
        for index in (0..self.units.len()).rev() {
            let unit = UnitId(index);
            let free = self.units[index]
                .dependents
                .iter()
                .all(|&UnitId(other)| !self.units[other].status.state.is_running());
            let status = &mut self.units[index].status;
            match status.state {
                UnitState::Waiting | UnitState::Backoff { .. } | UnitState::Done => {
                    status.enter(UnitState::Stopped, None, now);
                }
                UnitState::Starting { .. } | UnitState::Ready if out_of_time => {
                    let then = AfterStop::Rest;
                    status.enter(UnitState::Stopping { kill_at: None, then }, None, now);
                    actions.push(Action::Kill(unit));
                }
                UnitState::Starting { .. } | UnitState::Ready if free => {
                    self.ask_to_stop(unit, AfterStop::Rest, now, actions);
                }
                UnitState::Stopping { kill_at, .. } => {
                    let kill_now = kill_at.is_some() && out_of_time;
                    let kill_at = kill_at.filter(|_| !kill_now);
                    status.state = UnitState::Stopping { kill_at, then: AfterStop::Rest };
                    if kill_now {
                        actions.push(Action::Kill(unit));
                    }
                }
                _ => {}
            }
        }
        let at_rest = !self.units.iter().any(|slot| slot.status.state.is_running());
        if at_rest && !down.finished {
            actions.push(Action::Finish(down.goal));
        }
        let deadline = down.deadline.filter(|_| !out_of_time && !at_rest);
        self.going_down = Some(GoingDown { deadline, finished: at_rest || down.finished, ..down });
    }
}
