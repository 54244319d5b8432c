//! The shutdown: each unit stops only after all that depend on it, within a bounded time.

use std::time::Duration;

use super::{EdgeAction, Moment, ShutdownGoal, State, Then, UnitId, UnitState};

/// How long a shutdown may take before everything that is left is killed.
pub const SHUTDOWN_LIMIT: Duration = Duration::from_secs(15);

/// How long after that the machine goes down even if a process does not end: one that waits for a
/// broken disk cannot be killed (uninterruptible sleep).
pub const KILL_LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
pub struct GoingDown {
    goal: ShutdownGoal,
    /// Number of units that ran when the shutdown began.
    total: usize,
    patience: Patience,
}

#[derive(Debug, Clone, Copy)]
enum Patience {
    /// Units are stopped in order, until this time.
    AskUntil(Moment),
    /// Everything was killed; their ends are awaited until this time.
    KilledUntil(Moment),
    Over,
}

impl GoingDown {
    pub fn due(&self) -> Option<Moment> {
        match self.patience {
            Patience::AskUntil(until) | Patience::KilledUntil(until) => Some(until),
            Patience::Over => None,
        }
    }
}

impl State {
    pub(super) fn is_finished(&self) -> bool {
        self.going_down.is_some_and(|down| matches!(down.patience, Patience::Over))
    }

    pub(super) fn go_down(&mut self, goal: ShutdownGoal, now: Moment) {
        if self.going_down.is_some() {
            return;
        }
        let patience = Patience::AskUntil(now.saturating_add(SHUTDOWN_LIMIT));
        self.going_down = Some(GoingDown { goal, total: self.counts.running, patience });
        for index in 0..self.units.len() {
            let slot = &mut self.units[index];
            let then = Then::Stop;
            match slot.state() {
                UnitState::Stopping { kill_at, .. } => {
                    slot.status.state = UnitState::Stopping { kill_at, then };
                }
                UnitState::Clearing { .. } => slot.status.state = UnitState::Clearing { then },
                _ => {}
            }
            slot.leaving = Some(then);
            self.look_around(UnitId(index));
        }
    }

    /// Ends the shutdown once nothing runs, or the time limit is exceeded.
    pub(super) fn finish(&mut self, now: Moment, actions: &mut Vec<EdgeAction>) {
        let Some(mut down) = self.going_down else { return };
        if let Patience::AskUntil(until) = down.patience
            && until <= now
        {
            self.kill_all(now, actions);
            down.patience = Patience::KilledUntil(now.saturating_add(KILL_LIMIT));
        }
        let given_up = matches!(down.patience, Patience::KilledUntil(until) if until <= now);
        if self.counts.running == 0 || given_up {
            down.patience = Patience::Over;
            actions.push(EdgeAction::Finish(down.goal));
        }
        self.going_down = Some(down);
    }

    fn kill_all(&mut self, now: Moment, actions: &mut Vec<EdgeAction>) {
        for unit in (0..self.units.len()).rev().map(UnitId) {
            let slot = &mut self.units[unit.0];
            let state = slot.state();
            slot.leaving = None;
            let then = Then::Stop;
            if state.is_running() {
                actions.push(EdgeAction::Kill(unit));
            }
            match state {
                UnitState::Starting { .. } | UnitState::Ready | UnitState::Stopping { .. } => {
                    self.enter(unit, UnitState::Stopping { kill_at: None, then }, None, now);
                }
                UnitState::Clearing { .. } | UnitState::Failed | UnitState::Stopped => {}
                _ => self.enter(unit, UnitState::Stopped, None, now),
            }
        }
    }

    /// During a shutdown: how many of the units that ran have stopped, and how many those are.
    pub fn shutdown_progress(&self) -> Option<(usize, usize)> {
        self.going_down.map(|down| (down.total - self.counts.running, down.total))
    }

    /// The names of the units that still run, in start order.
    pub fn running(&self) -> impl Iterator<Item = &str> {
        let running = self.units.iter().filter(|slot| slot.state().is_running());
        running.map(|slot| slot.settings.name.as_str())
    }
}
