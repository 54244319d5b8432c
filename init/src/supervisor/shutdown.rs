//! The shutdown: each unit stops only after all that depend on it, within a bounded time.

use std::time::Duration;

use super::{EdgeAction, Moment, Outcome, ShutdownGoal, State, UnitId, UnitState};

/// How long a shutdown may take before everything that is left is killed.
pub const SHUTDOWN_LIMIT: Duration = Duration::from_secs(15);

/// How long after that the machine goes down even if a process does not end: one that waits for a
/// broken disk cannot be killed (uninterruptible sleep).
pub const KILL_LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
pub struct Shutdown {
    goal: ShutdownGoal,
    /// Number of units that ran when the shutdown began.
    total: usize,
    stage: ShutdownStage,
}

#[derive(Debug, Clone, Copy)]
enum ShutdownStage {
    /// Units are stopped in order, until this time.
    StoppingUntil(Moment),
    /// Everything was killed; their ends are awaited until this time.
    KilledUntil(Moment),
    Over,
}

impl Shutdown {
    pub fn due(&self) -> Option<Moment> {
        match self.stage {
            ShutdownStage::StoppingUntil(until) | ShutdownStage::KilledUntil(until) => Some(until),
            ShutdownStage::Over => None,
        }
    }
}

impl State {
    pub(super) fn is_finished(&self) -> bool {
        self.shutdown.is_some_and(|down| matches!(down.stage, ShutdownStage::Over))
    }

    pub(super) fn begin_shutdown(&mut self, goal: ShutdownGoal, now: Moment) {
        if self.shutdown.is_some() {
            return;
        }
        let stage = ShutdownStage::StoppingUntil(now.saturating_add(SHUTDOWN_LIMIT));
        self.shutdown = Some(Shutdown { goal, total: self.counts.running, stage });
        for index in 0..self.units.len() {
            let slot = &mut self.units[index];
            let then = Outcome::Stop;
            match slot.state() {
                UnitState::Stopping { kill_at, .. } => {
                    slot.status.state = UnitState::Stopping { kill_at, then };
                }
                UnitState::Clearing { .. } => slot.status.state = UnitState::Clearing { then },
                _ => {}
            }
            slot.stop_pending = Some(then);
            self.enqueue_neighbours(UnitId(index));
        }
    }

    /// Ends the shutdown once nothing runs, or the time limit is exceeded.
    pub(super) fn finish(&mut self, now: Moment, actions: &mut Vec<EdgeAction>) {
        let Some(mut down) = self.shutdown else { return };
        if let ShutdownStage::StoppingUntil(until) = down.stage
            && until <= now
        {
            self.kill_all(now, actions);
            down.stage = ShutdownStage::KilledUntil(now.saturating_add(KILL_LIMIT));
        }
        let timed_out = matches!(down.stage, ShutdownStage::KilledUntil(until) if until <= now);
        if self.counts.running == 0 || timed_out {
            down.stage = ShutdownStage::Over;
            actions.push(EdgeAction::Finish(down.goal));
        }
        self.shutdown = Some(down);
    }

    fn kill_all(&mut self, now: Moment, actions: &mut Vec<EdgeAction>) {
        for unit in (0..self.units.len()).rev().map(UnitId) {
            let slot = &mut self.units[unit.0];
            let state = slot.state();
            slot.stop_pending = None;
            let then = Outcome::Stop;
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
        self.shutdown.map(|down| (down.total - self.counts.running, down.total))
    }

    /// The names of the units that still run, in start order.
    pub fn running(&self) -> impl Iterator<Item = &str> {
        let running = self.units.iter().filter(|slot| slot.state().is_running());
        running.map(|slot| slot.settings.name.as_str())
    }
}
