//! Properties of the core, in a world that behaves as badly as it may.

use std::collections::BTreeMap;

use octet_appliance::{Readiness, RestartPolicy, UnitType};
use proptest::prelude::*;

use super::*;

fn settings(name: &str, needs: &[usize]) -> Settings {
    Settings {
        name: name.into(),
        unit_type: UnitType::Daemon,
        base: true,
        needs: needs.iter().copied().map(UnitId).collect(),
        after: vec![],
        readiness: Readiness::Notify,
        start_timeout: Duration::from_secs(10),
        policy: RestartPolicy::Always,
        delay: Duration::from_millis(100),
        max_delay: Duration::from_secs(10),
        budget: 5,
        window: Duration::from_secs(30),
        stop_timeout: Duration::from_secs(5),
    }
}

fn refusal(may_pass: bool) -> Refusal {
    Refusal { reason: "no such file".into(), may_pass }
}

fn ms(ms: u64) -> Moment {
    Duration::from_millis(ms)
}

fn state_of(state: &State, unit: usize) -> UnitState {
    state.units[unit].status.state
}

#[test]
fn starts_in_order_and_becomes_ready() {
    let mut state = State::new(vec![settings("a", &[]), settings("b", &[0])]);
    assert_eq!(state.step(Event::Boot, ms(0)), [Action::Start(UnitId(0))]);
    assert_eq!(state.step(Event::Spawned(UnitId(0)), ms(1)), []);
    assert_eq!(state.step(Event::Ready(UnitId(0)), ms(2)), [Action::Start(UnitId(1))]);
    assert_eq!(state.box_state(), BoxState::Starting);
    state.step(Event::Ready(UnitId(1)), ms(3));
    assert_eq!((state.box_state(), state.ready_at()), (BoxState::Ready, Some(ms(3))));
}

#[test]
fn pauses_double_and_the_budget_ends() {
    let mut state = State::new(vec![settings("a", &[])]);
    state.step(Event::Boot, ms(0));
    let mut now = ms(0);
    let mut pauses = vec![];
    while !matches!(state_of(&state, 0), UnitState::Failed) {
        state.step(Event::Exited(UnitId(0), Exit::Signal(9)), now);
        if let UnitState::Backoff { until } = state_of(&state, 0) {
            pauses.push((until - now).as_millis());
            assert!(pauses.len() <= 5, "the budget does not end");
            now = until;
            assert_eq!(state.step(Event::Tick, now), [Action::Start(UnitId(0))]);
        }
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600]);
    let reason = state.units[0].status.reason.clone().unwrap();
    assert_eq!(reason, "was killed by SIGKILL before it was ready; more than 5 restarts in 30s");
    assert_eq!(state.box_state(), BoxState::Degraded);
}

#[test]
fn a_long_good_run_starts_the_pauses_anew() {
    let mut state = State::new(vec![settings("a", &[])]);
    let mut now = ms(0);
    for _ in 0..20 {
        state.step(Event::Tick, now);
        state.step(Event::Ready(UnitId(0)), now);
        now += Duration::from_secs(40);
        state.step(Event::Exited(UnitId(0), Exit::Status(1)), now);
        assert_eq!(state_of(&state, 0), UnitState::Backoff { until: now + ms(100) });
        now += ms(100);
    }
}

#[test]
fn never_ready_is_asked_then_killed_then_failed() {
    let mut state = State::new(vec![settings("a", &[])]);
    state.step(Event::Boot, ms(0));
    assert_eq!(state.next_deadline(), Some(ms(10_000)));
    assert_eq!(state.step(Event::Tick, ms(10_000)), [Action::Ask(UnitId(0))]);
    assert_eq!(state.step(Event::Tick, ms(15_000)), [Action::Kill(UnitId(0))]);
    assert_eq!(state.next_deadline(), None);
    state.step(Event::Exited(UnitId(0), Exit::Signal(9)), ms(15_001));
    assert!(matches!(state_of(&state, 0), UnitState::Backoff { .. }));
}

#[test]
fn a_missing_program_fails_at_once_and_says_who_waits() {
    let mut state = State::new(vec![settings("a", &[]), settings("b", &[0])]);
    state.step(Event::Boot, ms(0));
    state.step(Event::SpawnFailed(UnitId(0), refusal(false)), ms(1));
    assert_eq!(state_of(&state, 0), UnitState::Failed);
    assert_eq!(state.units[1].status.reason.as_deref(), Some("needs a, which failed"));
}

#[test]
fn a_passing_refusal_is_tried_again() {
    let mut state = State::new(vec![settings("a", &[])]);
    state.step(Event::Boot, ms(0));
    state.step(Event::SpawnFailed(UnitId(0), refusal(true)), ms(1));
    assert_eq!(state_of(&state, 0), UnitState::Backoff { until: ms(101) });
}

#[test]
fn shutdown_reverses_and_is_bounded() {
    let mut state = State::new(vec![settings("a", &[]), settings("b", &[0])]);
    for event in [Event::Boot, Event::Ready(UnitId(0)), Event::Ready(UnitId(1))] {
        state.step(event, ms(0));
    }
    let asked = state.step(Event::Shutdown(Goal::PowerOff), ms(0));
    assert_eq!(asked, [Action::Ask(UnitId(1))]);
    let next = state.step(Event::Exited(UnitId(1), Exit::Status(0)), ms(10));
    assert_eq!(next, [Action::Kill(UnitId(1)), Action::Ask(UnitId(0))]);
    let late = state.step(Event::Tick, ms(20_000));
    assert_eq!(late, [Action::Kill(UnitId(0))]);
    assert_eq!(state.next_deadline(), None, "the edge must not spin");
    let end = state.step(Event::Exited(UnitId(0), Exit::Signal(9)), ms(20_001));
    assert_eq!(end, [Action::Kill(UnitId(0)), Action::Finish(Goal::PowerOff)]);
    assert_eq!(state.step(Event::Tick, ms(30_000)), []);
}

/// What a process in the world does, decided by the test.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Ready,
    Dies(i32),
    Ignores,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![4 => Just(Fate::Ready), 1 => (0..2i32).prop_map(Fate::Dies), 1 => Just(Fate::Ignores)]
}

fn any_settings(index: usize) -> impl Strategy<Value = Settings> {
    let policy = prop_oneof![
        Just(RestartPolicy::Always),
        Just(RestartPolicy::OnFailure),
        Just(RestartPolicy::Never)
    ];
    (prop::collection::vec(any::<prop::sample::Index>(), 0..3), policy, 0..3, any::<bool>())
        .prop_map(move |(needs, policy, kind, base)| {
            let mut needs: Vec<usize> =
                needs.into_iter().filter(|_| index > 0).map(|need| need.index(index)).collect();
            needs.sort_unstable();
            needs.dedup();
            let mut settings = settings(&format!("u{index}"), &needs);
            settings.policy = policy;
            settings.base = base;
            (settings.unit_type, settings.readiness) = match kind {
                0 => (UnitType::OneShot, Readiness::Exit),
                1 => (UnitType::Daemon, Readiness::Exec),
                _ => (UnitType::Daemon, Readiness::Notify),
            };
            settings
        })
}

fn any_units() -> impl Strategy<Value = Vec<Settings>> {
    (1usize..7).prop_flat_map(|count| (0..count).map(any_settings).collect::<Vec<_>>())
}

/// The processes that exist, kept from the actions alone, with every rule checked on the way.
struct World {
    state: State,
    running: BTreeMap<UnitId, Fate>,
    fates: std::vec::IntoIter<Fate>,
    now: Moment,
    finished: Option<Goal>,
    starts: BTreeMap<UnitId, u32>,
}

impl World {
    fn new(units: Vec<Settings>, fates: Vec<Fate>) -> Self {
        Self {
            state: State::new(units),
            running: BTreeMap::new(),
            fates: fates.into_iter(),
            now: ms(0),
            finished: None,
            starts: BTreeMap::new(),
        }
    }

    fn event(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for action in self.state.step(event, self.now) {
                match action {
                    Action::Start(unit) => {
                        assert!(self.finished.is_none(), "started after the end");
                        for need in &self.state.units[unit.0].settings.needs {
                            assert!(state_of(&self.state, need.0).is_ready(), "need not ready");
                        }
                        let fate = self.fates.next().unwrap_or(Fate::Ready);
                        let twice = self.running.insert(unit, fate);
                        assert!(twice.is_none(), "two instances of {unit:?}");
                        *self.starts.entry(unit).or_default() += 1;
                        events.push(Event::Spawned(unit));
                    }
                    Action::Ask(unit) => {
                        for other in &self.state.units[unit.0].dependents {
                            let down = self.state.box_state() == BoxState::Stopping;
                            assert!(!down || !self.running.contains_key(other), "stop order");
                        }
                        if !matches!(self.running.get(&unit), Some(Fate::Ignores) | None) {
                            self.running.insert(unit, Fate::Dies(0));
                        }
                    }
                    Action::Kill(unit) => {
                        if self.running.contains_key(&unit) {
                            self.running.insert(unit, Fate::Dies(0));
                        }
                    }
                    Action::Finish(goal) => {
                        assert!(self.finished.is_none(), "finished twice");
                        assert!(self.running.is_empty(), "finished with processes left");
                        self.finished = Some(goal);
                    }
                }
            }
        }
    }

    /// Lets one process do what it will, or time pass to the next deadline. False when quiet.
    fn turn(&mut self) -> bool {
        let next = self.running.iter().find_map(|(&unit, &fate)| match fate {
            Fate::Dies(status) => Some((unit, Event::Exited(unit, Exit::Status(status)))),
            Fate::Ready if matches!(state_of(&self.state, unit.0), UnitState::Starting { .. }) => {
                match self.state.units[unit.0].settings.unit_type {
                    UnitType::OneShot => Some((unit, Event::Exited(unit, Exit::Status(0)))),
                    _ => Some((unit, Event::Ready(unit))),
                }
            }
            _ => None,
        });
        if let Some((unit, event)) = next {
            if matches!(event, Event::Exited(..)) {
                self.running.remove(&unit);
            }
            self.event(event);
            return true;
        }
        if let Some(deadline) = self.state.next_deadline() {
            self.now = self.now.max(deadline);
            self.event(Event::Tick);
            return true;
        }
        false
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let unit = (0usize..6).prop_map(UnitId);
    prop_oneof![
        Just(Event::Boot),
        unit.clone().prop_map(Event::Spawned),
        (unit.clone(), any::<bool>())
            .prop_map(|(unit, may_pass)| Event::SpawnFailed(unit, refusal(may_pass))),
        unit.clone().prop_map(Event::Ready),
        (unit, 0..3i32).prop_map(|(unit, status)| Event::Exited(unit, Exit::Status(status))),
        Just(Event::Tick),
        Just(Event::Shutdown(Goal::Reboot)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Needs first, never two instances, stop order reversed, all reaped, and in the end quiet.
    #[test]
    fn rules_hold_in_any_world(
        units in any_units(),
        fates in prop::collection::vec(fate(), 0..40),
        shutdown_after in 0usize..60,
    ) {
        let count = units.len();
        let mut world = World::new(units, fates);
        world.event(Event::Boot);
        let mut turns = 0;
        while turns < shutdown_after && world.turn() {
            turns += 1;
        }
        world.event(Event::Shutdown(Goal::PowerOff));
        let mut turns = 0;
        while world.turn() {
            turns += 1;
            prop_assert!(turns < 1000, "never quiet");
        }
        prop_assert_eq!(world.finished, Some(Goal::PowerOff));
        prop_assert!(world.now < Duration::from_secs(3600));
        for unit in 0..count {
            prop_assert!(!state_of(&world.state, unit).is_running());
        }
    }

    /// Left alone, every unit reaches its goal or a failure that it names; restarts end.
    #[test]
    fn quiet_means_goal_or_reason(
        units in any_units(),
        fates in prop::collection::vec(fate(), 0..40),
    ) {
        let mut world = World::new(units, fates);
        world.event(Event::Boot);
        let mut turns = 0;
        while world.turn() {
            turns += 1;
            prop_assert!(turns < 2000, "never quiet");
        }
        for (_, settings, status) in world.state.units() {
            let at_goal = status.state.is_ready();
            prop_assert!(at_goal || status.reason.is_some(), "{} is {:?}", settings.name, status);
        }
        // The budget holds: in every world the fates end and all later starts succeed.
        prop_assert!(world.starts.values().all(|&starts| starts <= 60));
    }

    /// Events that make no sense change nothing for the worse: no panic, no second instance.
    #[test]
    fn any_sequence_is_survived(
        units in any_units(),
        events in prop::collection::vec((any_event(), 0u64..20_000), 0..60),
    ) {
        let count = units.len();
        let mut state = State::new(units);
        let mut now = ms(0);
        for (event, pause) in events {
            now += ms(pause);
            let known = match &event {
                Event::Spawned(UnitId(unit)) | Event::SpawnFailed(UnitId(unit), _)
                | Event::Ready(UnitId(unit)) | Event::Exited(UnitId(unit), _) => *unit < count,
                _ => true,
            };
            if known {
                state.step(event, now);
                prop_assert!(state.next_deadline().is_none_or(|deadline| deadline > now));
            }
        }
    }
}
