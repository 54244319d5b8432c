//! Rules for every action and every event, computed independently from what is observed.

use super::processes::Processes;
use super::*;

/// The observations of each unit.
#[derive(Debug, Clone)]
struct Seen {
    settings: Settings,
    state: UnitState,
    since: Moment,
    restarts: u64,
    /// The operator's last command was stop.
    held: bool,
    /// It must not run on this node.
    elsewhere: bool,
    grants: Vec<Moment>,
    /// Failures since it was last ready for long enough.
    in_a_row: i32,
    /// Its first budget is still in use; renewed budgets are not modelled here.
    budget_is_first: bool,
}

pub struct Rules {
    seen: Vec<Seen>,
    shutdown: Option<Moment>,
    /// The next event is caused by this one.
    event: Option<SupervisorEvent>,
}

impl Rules {
    pub fn new(units: &[Settings]) -> Self {
        let seen = |settings: &Settings| Seen {
            settings: settings.clone(),
            state: match settings.held {
                Some(_) => UnitState::Stopped,
                None => UnitState::Waiting,
            },
            since: ms(0),
            restarts: 0,
            held: false,
            elsewhere: settings.held.is_some(),
            grants: vec![],
            in_a_row: 0,
            budget_is_first: true,
        };
        Self { seen: units.iter().map(seen).collect(), shutdown: None, event: None }
    }

    pub fn is_held(&self, unit: UnitId) -> bool {
        self.seen[unit.0].held
    }

    pub fn is_elsewhere(&self, unit: UnitId) -> bool {
        self.seen[unit.0].elsewhere
    }

    pub fn shutdown(&self) -> Option<Moment> {
        self.shutdown
    }

    pub fn before(&mut self, event: &SupervisorEvent, now: Moment) {
        self.event = Some(event.clone());
        match *event {
            SupervisorEvent::Shutdown(_) => {
                self.shutdown.get_or_insert(now);
            }
            _ if self.shutdown.is_some() => {}
            SupervisorEvent::Hold(unit, _) => {
                let seen = &mut self.seen[unit.0];
                (seen.elsewhere, seen.held) = (true, false);
            }
            SupervisorEvent::Release(unit) => {
                let seen = &mut self.seen[unit.0];
                if std::mem::replace(&mut seen.elsewhere, false) {
                    seen.budget_is_first = false;
                }
            }
            SupervisorEvent::Start(unit)
            | SupervisorEvent::Stop(unit)
            | SupervisorEvent::Restart(unit)
                if self.seen[unit.0].elsewhere => {}
            SupervisorEvent::Stop(unit) => self.seen[unit.0].held = true,
            SupervisorEvent::Start(unit) | SupervisorEvent::Restart(unit) => {
                for index in 0..self.seen.len() {
                    let touched = index == unit.0 || self.rests(unit.0, index);
                    if touched && !self.seen[index].elsewhere {
                        self.seen[index].held = false;
                        self.seen[index].budget_is_first = false;
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether `unit` needs `other`, directly or through others.
    fn rests(&self, unit: usize, other: usize) -> bool {
        self.seen[unit].settings.needs.iter().any(|id| id.0 == other || self.rests(id.0, other))
    }

    /// As [`rests`](Self::rests), but a unit that has exited successfully needs nothing any more.
    fn rests_now(&self, unit: usize, other: usize) -> bool {
        let Seen { settings, state, .. } = &self.seen[unit];
        let done = settings.unit_type == UnitType::OneShot && *state == UnitState::Exited;
        !done && settings.needs.iter().any(|id| id.0 == other || self.rests_now(id.0, other))
    }

    /// Whether `unit` is to be stopped before `other` when all are.
    fn follows(&self, unit: usize, other: usize) -> bool {
        let last = self.seen[other].settings.stops_last;
        self.waits_for(unit, other) || last && unit != other && !self.waits_for(other, unit)
    }

    fn waits_for(&self, unit: usize, other: usize) -> bool {
        let Settings { needs, after, .. } = &self.seen[unit].settings;
        needs.iter().chain(after).any(|id| id.0 == other || self.waits_for(id.0, other))
    }

    pub fn check(&mut self, state: &State, world: &[Processes], action: EdgeAction, now: Moment) {
        match action {
            EdgeAction::Start(unit) => self.check_start(state, world, unit),
            EdgeAction::RequestStop(unit) => self.check_ask(state, world, unit),
            EdgeAction::Kill(_) => {}
            EdgeAction::Finish(_) => {
                let began = self.shutdown.unwrap_or(now);
                let limit = began + Duration::from_secs(17);
                assert!(now >= limit || world.iter().all(|it| !it.any()), "finished too early");
            }
        }
    }

    fn check_ask(&self, state: &State, world: &[Processes], unit: UnitId) {
        let again = matches!(self.event, Some(SupervisorEvent::Spawned(_)));
        let late =
            matches!(state_of(state, unit.0), UnitState::Stopping { then: Outcome::Fail, .. });
        if again || late {
            return;
        }
        for other in (0..world.len()).filter(|&other| world[other].any()) {
            let early = match self.shutdown {
                Some(_) => self.follows(other, unit.0),
                None => self.rests_now(other, unit.0),
            };
            assert!(!early, "{unit:?} is stopped before {other}");
        }
    }

    fn check_start(&self, state: &State, world: &[Processes], unit: UnitId) {
        let Seen { settings, held, elsewhere, .. } = &self.seen[unit.0];
        assert!(!elsewhere, "{unit:?} was started where it is not to run");
        assert!(self.shutdown.is_none(), "{unit:?} was started on the way down");
        assert!(!held, "{unit:?} was started against the operator's will");
        assert!(!world[unit.0].any(), "two instances of {unit:?}");
        for need in &settings.needs {
            let Settings { unit_type, readiness, .. } = self.seen[need.0].settings;
            let ready = match (unit_type, world[need.0].main) {
                (UnitType::Daemon, Some(main)) if readiness == Readiness::Notify => main.said_ready,
                (UnitType::Daemon, main) => main.is_some_and(|main| main.spawned),
                (UnitType::OneShot | UnitType::Target, _) => {
                    state_of(state, need.0) == UnitState::Exited
                }
            };
            assert!(ready, "{unit:?} was started before {need:?} was ready");
        }
        for before in &settings.after {
            assert!(
                state_of(state, before.0).is_settled(),
                "{unit:?} was started before {before:?}"
            );
        }
    }

    /// Compares each unit with its state before the event.
    pub fn after(&mut self, state: &State, now: Moment) {
        for (seen, (id, _, status)) in self.seen.iter_mut().zip(state.units()) {
            let changed = status.state != seen.state || status.since != seen.since;
            if changed
                && seen.state == UnitState::Ready
                && now - seen.since >= seen.settings.max_delay
            {
                seen.in_a_row = 0;
            }
            let pause = status.state.next_try().filter(|_| changed).map(|until| until - now);
            let at_once = seen.settings.delay.is_zero() && status.restarts > seen.restarts;
            if let Some(pause) = pause.or_else(|| at_once.then_some(Duration::ZERO)) {
                seen.granted(pause, now);
            }
            let reason = state.reason(id).unwrap_or_default();
            if status.state == UnitState::Failed
                && changed
                && reason.contains("more than")
                && seen.budget_is_first
            {
                assert_eq!(seen.in_window(now), seen.settings.budget as usize, "gave up too early");
            }
            (seen.state, seen.since, seen.restarts) = (status.state, status.since, status.restarts);
        }
    }
}

impl Seen {
    fn in_window(&self, now: Moment) -> usize {
        self.grants.iter().filter(|&&grant| grant + self.settings.window >= now).count()
    }

    fn granted(&mut self, pause: Duration, now: Moment) {
        let Settings { delay, max_delay, budget, policy, .. } = self.settings;
        assert_ne!(policy, RestartPolicy::Never);
        if self.budget_is_first {
            assert!(self.in_window(now) < budget as usize, "more restarts than granted");
            let around = delay.mul_f64(2f64.powi(self.in_a_row)).min(max_delay);
            let (least, most) = (around.mul_f64(0.749), around.mul_f64(1.251).min(max_delay));
            assert!(least <= pause && pause <= most, "paused {pause:?}, not about {around:?}");
        }
        self.in_a_row += 1;
        self.grants.push(now);
    }
}
