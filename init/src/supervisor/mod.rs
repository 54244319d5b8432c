//! The core of the supervisor: a pure function from events to actions.
//!
//! It uses no clock, file or process: the time is an argument, actions are returned as a list, and
//! the [edge](crate::edge) executes them. So every sequence of events can be tested.
//!
//! | File | What |
//! |---|---|
//! | `event`, `action` | input and output of the core |
//! | `settings`, `state` | a unit's configuration and its state |
//! | `process` | handles what the edge reports of processes |
//! | `operator` | handles commands of operators |
//! | `held` | units that must not run on this node |
//! | `order` | which units may start or stop now |
//! | `deadlines`, `backoff`, `jitter` | timeouts and restart delays |
//! | `shutdown` | the bounded shutdown |
//! | `reason`, `view` | the state as others see it |

mod action;
mod backoff;
mod deadlines;
mod event;
mod hold;
mod jitter;
mod operator;
mod order;
mod process;
mod reason;
mod settings;
mod shutdown;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::time::Duration;

pub use action::{EdgeAction, ShutdownGoal};
pub use event::{ProcessExit, SpawnRefusal, SupervisorEvent};
pub use settings::Settings;
pub use state::{Outcome, UnitState, UnitStatus};
pub use view::BoxState;

use backoff::Backoff;
use deadlines::Deadlines;
use jitter::Jitter;
use order::Worklist;
use reason::UnitReason;
use shutdown::Shutdown;
use view::UnitCounts;

/// Time since the kernel started.
pub type Moment = Duration;

/// A unit, by its index in the start order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(pub usize);

#[derive(Debug, Clone)]
pub struct State {
    units: Vec<Slot>,
    deadlines: Deadlines,
    worklist: Worklist,
    counts: UnitCounts,
    jitter: Jitter,
    shutdown: Option<Shutdown>,
    /// The unit that stops after all others.
    stops_last: Option<UnitId>,
    ready_at: Option<Moment>,
}

#[derive(Debug, Clone)]
struct Slot {
    settings: Settings,
    /// Units that need this one: they start after it and are stopped before it, whatever the
    /// reason.
    needed_by: Vec<UnitId>,
    /// Units that are only ordered after this one: they are stopped before it if both are stopped.
    followed_by: Vec<UnitId>,
    status: UnitStatus,
    reason: Option<UnitReason>,
    backoff: Backoff,
    /// The unit must not run on this node, and cannot be started.
    held: bool,
    /// The unit is to be stopped as soon as all units that stop before it have stopped; then this
    /// follows. A unit that ends before its turn keeps it: those after it in the order still wait
    /// for those before it.
    stop_pending: Option<Outcome>,
    /// The unit's entry among the deadlines.
    due: Option<Moment>,
}

impl State {
    /// The state before any unit was started. `units` are in start order, as
    /// [`octet_appliance::start_order`] gives it, so that every unit's needs come before it; `seed`
    /// determines the jitter of delays.
    pub fn new(mut units: Vec<Settings>, seed: u64) -> Self {
        let count = units.len();
        for settings in &mut units {
            settings.needs.retain(|id| id.0 < count);
            settings.after.retain(|id| id.0 < count);
        }
        let counts = UnitCounts::new(&units);
        let mut slots: Vec<Slot> = units.into_iter().map(Slot::new).collect();
        for index in 0..count {
            let Settings { needs, after, .. } = slots[index].settings.clone();
            for UnitId(need) in needs {
                slots[need].needed_by.push(UnitId(index));
            }
            for UnitId(before) in after {
                slots[before].followed_by.push(UnitId(index));
            }
        }
        let stops_last = slots.iter().position(|slot| slot.settings.stops_last).map(UnitId);
        if let Some(last) = stops_last {
            let before = order::not_waited_for(&slots, last);
            slots[last.0].followed_by.extend(before);
        }
        Self {
            stops_last,
            units: slots,
            deadlines: Deadlines::default(),
            worklist: Worklist::default(),
            counts,
            jitter: Jitter::new(seed),
            shutdown: None,
            ready_at: None,
        }
    }

    /// Handles one event and returns the actions for it.
    pub fn step(&mut self, event: SupervisorEvent, now: Moment) -> Vec<EdgeAction> {
        let mut actions = Vec::new();
        if self.is_finished() {
            return actions;
        }
        let known = event.unit().is_none_or(|unit| unit.0 < self.units.len());
        if known {
            self.handle(event, now, &mut actions);
        }
        self.pass_deadlines(now, &mut actions);
        self.run_worklist(now, &mut actions);
        self.finish(now, &mut actions);
        if self.ready_at.is_none() && self.box_state() == BoxState::Ready {
            self.ready_at = Some(now);
        }
        actions
    }

    fn handle(&mut self, event: SupervisorEvent, now: Moment, actions: &mut Vec<EdgeAction>) {
        match event {
            SupervisorEvent::Boot => self.enqueue_all(),
            SupervisorEvent::Spawned(unit) => self.spawned(unit, now, actions),
            SupervisorEvent::SpawnFailed(unit, refusal) => self.spawn_failed(unit, refusal, now),
            SupervisorEvent::Ready(unit) => self.ready(unit, now),
            SupervisorEvent::Alive(unit) => self.alive(unit, now),
            SupervisorEvent::Extended(unit, by) => self.extended(unit, by, now),
            SupervisorEvent::Exited(unit, exit) => self.exited(unit, exit, now, actions),
            SupervisorEvent::Emptied(unit) => self.emptied(unit, now),
            SupervisorEvent::Tick => {}
            SupervisorEvent::Shutdown(goal) => self.begin_shutdown(goal, now),
            // Start and stop commands are ignored during a shutdown.
            SupervisorEvent::Start(_)
            | SupervisorEvent::Stop(_)
            | SupervisorEvent::Restart(_)
            | SupervisorEvent::Hold(..)
            | SupervisorEvent::Release(_)
                if self.shutdown.is_some() => {}
            SupervisorEvent::Hold(unit, reason) => self.hold(unit, reason, now),
            SupervisorEvent::Release(unit) => self.release(unit, now),
            // An operator cannot start a held unit, and it does not run, so it cannot be stopped.
            SupervisorEvent::Start(unit)
            | SupervisorEvent::Stop(unit)
            | SupervisorEvent::Restart(unit)
                if self.units[unit.0].held => {}
            SupervisorEvent::Start(unit) => self.start(unit, now),
            SupervisorEvent::Stop(unit) => self.stop(unit, now),
            SupervisorEvent::Restart(unit) => self.restart(unit, now),
        }
    }

    /// The only function that changes a unit's state: it keeps everything derived from the state
    /// consistent.
    fn enter(&mut self, unit: UnitId, state: UnitState, why: Option<UnitReason>, now: Moment) {
        let slot = &mut self.units[unit.0];
        let before = slot.status.state;
        if before == UnitState::Ready {
            slot.backoff.record_ready(now.saturating_sub(slot.status.since), &slot.settings);
        }
        slot.status.enter(state, now);
        slot.reason = why;
        self.counts.record_transition(slot.settings.base, before, state);
        let due = match state {
            UnitState::Starting { deadline } => Some(deadline),
            UnitState::Ready => slot.settings.watchdog.map(|limit| now.saturating_add(limit)),
            UnitState::Backoff { until } => Some(until),
            UnitState::Stopping { kill_at, .. } => kill_at,
            _ => None,
        };
        self.set_due(unit, due);
        self.enqueue_neighbours(unit);
    }
}

impl Slot {
    fn new(mut settings: Settings) -> Self {
        let reason = settings.held.take().map(UnitReason::Held);
        let state = if reason.is_some() { UnitState::Stopped } else { UnitState::Waiting };
        Self {
            settings,
            needed_by: vec![],
            followed_by: vec![],
            status: UnitStatus::new(state),
            held: reason.is_some(),
            reason,
            backoff: Backoff::default(),
            stop_pending: None,
            due: None,
        }
    }

    fn state(&self) -> UnitState {
        self.status.state
    }
}
