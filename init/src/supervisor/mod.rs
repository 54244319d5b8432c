//! The core of the supervisor: a pure function from events to actions.
//!
//! No clock, file or process in here: time comes in as an argument, what is to be done goes out as
//! a list, and the [edge](crate::edge) does it. So every sequence of events can be tested.

mod backoff;
mod settings;
mod shutdown;
mod state;
#[cfg(test)]
mod tests;
mod transition;

use std::time::Duration;

pub use settings::Settings;
pub use state::{Status, UnitState};

use backoff::Backoff;

/// Time since the kernel started.
pub type Moment = Duration;

/// A unit, by its place in the start order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(pub usize);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The phases are over: start what can start.
    Boot,
    /// The process of a unit runs.
    Spawned(UnitId),
    /// The process of a unit could not be started.
    SpawnFailed(UnitId, Refusal),
    /// A unit says that it is ready.
    Ready(UnitId),
    /// The process of a unit ended.
    Exited(UnitId, Exit),
    /// A deadline may have passed.
    Tick,
    /// The machine is to go down.
    Shutdown(Goal),
}

/// Why a process could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In words.
    pub reason: String,
    /// Whether another try may help: memory may come back, a missing program does not.
    pub may_pass: bool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// Whether it ended as it should.
    pub fn success(self) -> bool {
        self == Self::Status(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "ended with status {status}"),
            Self::Signal(signal) => match signal_hook::low_level::signal_name(*signal) {
                Some(name) => write!(f, "was killed by {name}"),
                None => write!(f, "was killed by signal {signal}"),
            },
        }
    }
}

/// What the machine does once all is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Off.
    PowerOff,
    /// Start again.
    Reboot,
}

/// What the edge is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start the unit's process; answer with [`Event::Spawned`] or [`Event::SpawnFailed`].
    Start(UnitId),
    /// Ask the unit's process to end, with the signal of its unit file.
    Ask(UnitId),
    /// Kill all of the unit's processes.
    Kill(UnitId),
    /// Every unit is stopped: take the machine down.
    Finish(Goal),
}

/// The state of the whole box, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxState {
    /// Base units are still starting.
    Starting,
    /// Every base unit is ready.
    Ready,
    /// A base unit failed.
    Degraded,
    /// Going down.
    Stopping,
}

impl BoxState {
    /// As `status` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Stopping => "stopping",
        }
    }
}

/// Everything the core knows.
#[derive(Debug, Clone)]
pub struct State {
    units: Vec<Slot>,
    going_down: Option<GoingDown>,
    ready_at: Option<Moment>,
}

#[derive(Debug, Clone)]
struct Slot {
    settings: Settings,
    /// Units that need this one, or come after it: they are stopped first.
    dependents: Vec<UnitId>,
    status: Status,
    backoff: Backoff,
}

#[derive(Debug, Clone, Copy)]
struct GoingDown {
    goal: Goal,
    /// When patience ends and everything is killed; `None` once it has ended.
    deadline: Option<Moment>,
    finished: bool,
}

/// How long a shutdown may take in all before everything is killed.
pub const SHUTDOWN_LIMIT: Duration = Duration::from_secs(20);

impl State {
    /// The state before anything was started. `units` are in start order, as
    /// [`octet_appliance::start_order`] gives it, so that every unit's needs come before it.
    pub fn new(units: Vec<Settings>) -> Self {
        let mut slots: Vec<Slot> = units
            .into_iter()
            .map(|settings| Slot {
                settings,
                dependents: vec![],
                status: Status::new(),
                backoff: Backoff::default(),
            })
            .collect();
        for index in 0..slots.len() {
            let settings = &slots[index].settings;
            for UnitId(before) in [&settings.needs[..], &settings.after].concat() {
                slots[before].dependents.push(UnitId(index));
            }
        }
        Self { units: slots, going_down: None, ready_at: None }
    }

    /// Takes one event and returns what is to be done about it.
    pub fn step(&mut self, event: Event, now: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Boot | Event::Tick => {}
            Event::Spawned(unit) => self.spawned(unit, now),
            Event::SpawnFailed(unit, refusal) => self.spawn_failed(unit, refusal, now),
            Event::Ready(unit) => self.ready(unit, now),
            Event::Exited(unit, exit) => self.exited(unit, exit, now, &mut actions),
            Event::Shutdown(goal) => self.go_down(goal, now),
        }
        self.deadlines(now, &mut actions);
        if self.going_down.is_some() {
            self.stop_in_order(now, &mut actions);
        } else {
            self.start_in_order(now, &mut actions);
        }
        if self.ready_at.is_none() && self.box_state() == BoxState::Ready {
            self.ready_at = Some(now);
        }
        actions
    }

    /// When the next [`Event::Tick`] is due, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Moment> {
        let units = self.units.iter().filter_map(|slot| slot.status.state.deadline());
        units.chain(self.going_down.and_then(|down| down.deadline)).min()
    }

    /// All units with their status, in start order.
    pub fn units(&self) -> impl Iterator<Item = (UnitId, &Settings, &Status)> {
        self.units
            .iter()
            .enumerate()
            .map(|(index, slot)| (UnitId(index), &slot.settings, &slot.status))
    }

    /// The box in one word.
    pub fn box_state(&self) -> BoxState {
        if self.going_down.is_some() {
            return BoxState::Stopping;
        }
        let base = || self.units.iter().filter(|slot| slot.settings.base);
        // An image has base units; a box that knows of none has lost them.
        let lost = base().next().is_none();
        if lost || base().any(|slot| matches!(slot.status.state, UnitState::Failed)) {
            BoxState::Degraded
        } else if base().all(|slot| slot.status.state.is_ready()) {
            BoxState::Ready
        } else {
            BoxState::Starting
        }
    }

    /// When every base unit was ready for the first time.
    pub fn ready_at(&self) -> Option<Moment> {
        self.ready_at
    }
}
