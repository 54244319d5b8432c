//! Properties that hold in every world.

use std::io::Write;

use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestError, TestRunner};

use super::script::Script;
use super::world::World;
use super::*;

/// Cases of each property; `OCTET_CASES` sets another number.
const CASES: u32 = 10_000;
const CASES_SOAK: u32 = 40_000;

/// Runs a property in this many worlds, and prints their number.
fn in_every_world(name: &'static str, length: usize, holds: impl Fn(Script)) {
    let cases = std::env::var("OCTET_CASES").ok().and_then(|text| text.parse().ok());
    let is_long = std::env::var_os("OCTET_SOAK").is_some();
    let cases = cases.unwrap_or(if is_long { CASES_SOAK } else { CASES });
    // A failing seed is useless once the interpretation of scripts has changed.
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    let mut runner = TestRunner::new(config);
    let scripts = prop::collection::vec(any::<u16>(), 0..length);
    let result = runner.run(&scripts, |numbers| {
        holds(Script::new(numbers));
        Ok::<(), TestCaseError>(())
    });
    if let Err(TestError::Fail(reason, numbers)) = result {
        panic!("{reason}; Script::new(vec!{numbers:?})");
    }
    // Bypasses the capture of the test's output: the number must be visible.
    let _ = writeln!(std::io::stderr(), "{name}: {cases} cases");
}

/// Runs the world until nothing happens any more.
fn until_quiet(world: &mut World) {
    let mut turns = 0;
    while world.finished.is_none() && world.turn() {
        turns += 1;
        assert!(turns < 2_000, "never quiet: {:?}", world.state);
    }
}

/// Needs start first, never two instances, stop order reversed, all processes reaped, and
/// everything bounded.
#[test]
fn whatever_was_started_is_stopped_in_order() {
    in_every_world("whatever_was_started_is_stopped_in_order", 400, |script| {
        let mut world = World::new(script, true);
        world.event(SupervisorEvent::Boot);
        let turns = world.script.draw(100);
        for _ in 0..turns {
            world.wild_turn();
        }
        world.event(SupervisorEvent::Shutdown(ShutdownGoal::PowerOff));
        while !world.script.is_over() && world.finished.is_none() {
            world.wild_turn();
        }
        until_quiet(&mut world);
        let began = world.rules.shutdown().expect("it was asked to");
        let finished = world.finished.expect("the machine stays up");
        // Time passes in jumps of at most 11 s here; after that, ticks are on time.
        assert!(finished - began <= Duration::from_secs(17 + 2 * 11), "{:?}", finished - began);
        let given_up = finished - began >= Duration::from_secs(17);
        assert!(given_up || world.processes.iter().all(|it| !it.any()));
        assert_eq!(world.state.step(SupervisorEvent::Tick, world.now + ms(60_000)), []);
        assert_eq!(world.state.next_deadline(), None);
    });
}

/// Without operators every unit reaches its goal, or there is a reason why not.
#[test]
fn quiet_means_goal_or_reason() {
    in_every_world("quiet_means_goal_or_reason", 400, |script| {
        let mut world = World::new(script, false);
        world.event(SupervisorEvent::Boot);
        while !world.script.is_over() {
            world.wild_turn();
        }
        until_quiet(&mut world);
        for (id, settings, status) in world.state.units() {
            let reason = world.state.reason(id).unwrap_or_default();
            let context = format!("{} is {:?}: {reason}", settings.name, status.state);
            let lives = world.processes[id.0].any();
            let held = world.rules.is_held(id);
            let elsewhere = world.rules.is_elsewhere(id);
            assert_eq!(lives, status.state == UnitState::Ready, "{context}");
            assert_eq!(held, reason == "stopped by the operator", "{context}");
            assert_eq!(elsewhere, reason == NOT_HERE, "{context}");
            match status.state {
                UnitState::Ready => {
                    assert!(settings.watchdog.is_none() || world.lives(id), "{context}");
                }
                UnitState::Exited => assert_ne!(settings.unit_type, UnitType::Daemon, "{context}"),
                UnitState::Failed => assert!(!reason.is_empty(), "{context}"),
                UnitState::Stopped => {
                    let wanted = settings.policy != RestartPolicy::Always;
                    let by_itself = wanted && reason.starts_with("ended with status 0");
                    assert!(held || elsewhere || by_itself, "{context}");
                }
                UnitState::Waiting => assert!(reason.starts_with("needs "), "{context}"),
                _ => panic!("{context}"),
            }
        }
    });
}

/// Unexpected events do no harm: no panic, no second instance, no wrong count.
#[test]
fn any_sequence_is_survived() {
    in_every_world("any_sequence_is_survived", 300, |mut script| {
        let units = script.units();
        let count = units.len();
        let mut state = State::new(units, 0);
        let mut mains = vec![Trace::None; count];
        let mut now = ms(0);
        while !script.is_over() {
            now += script.pick(&[ms(0), ms(1), ms(100), ms(3_000), ms(20_000)]);
            let event = any_event(&mut script, count);
            if let Some(trace) = event.unit().and_then(|unit| mains.get_mut(unit.0)) {
                trace.take(&event);
            }
            for action in state.step(event, now) {
                if let EdgeAction::Start(unit) = action {
                    let before = std::mem::replace(&mut mains[unit.0], Trace::Main);
                    assert_eq!(before, Trace::None, "two instances");
                }
            }
            assert_kept_in_step(&state);
        }
    });
}

/// The processes that a unit may have, from the events alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trace {
    None,
    Main,
    Leftovers,
}

impl Trace {
    fn take(&mut self, event: &SupervisorEvent) {
        *self = match (*self, event) {
            (Self::Main, SupervisorEvent::SpawnFailed(..))
            | (Self::Leftovers, SupervisorEvent::Emptied(_)) => Self::None,
            (Self::Main, SupervisorEvent::Exited(..)) => Self::Leftovers,
            (trace, _) => trace,
        }
    }
}

/// Data derived from the states is consistent with them.
fn assert_kept_in_step(state: &State) {
    let slots = || state.units.iter();
    let count = |is: fn(UnitState) -> bool| slots().filter(|slot| is(slot.state())).count();
    assert_eq!(state.running().count(), count(UnitState::is_running));
    let base = || slots().filter(|slot| slot.settings.base);
    if state.shutdown.is_none() {
        let lost = |slot: &Slot| matches!(slot.state(), UnitState::Failed | UnitState::Stopped);
        let expected = match () {
            () if base().next().is_none() || base().any(lost) => BoxState::Degraded,
            () if base().all(|slot| slot.state().is_ready()) => BoxState::Ready,
            () => BoxState::Starting,
        };
        assert_eq!(state.box_state(), expected);
        assert_eq!(state.next_deadline(), slots().filter_map(|slot| slot.due).min());
    }
}

/// Any event, also for units that do not exist.
pub fn any_event(script: &mut Script, count: usize) -> SupervisorEvent {
    let unit = UnitId(script.draw(count + 1));
    match script.draw(28) {
        27 => SupervisorEvent::Extended(unit, ms(7_000)),
        0 | 1 => SupervisorEvent::Boot,
        2 | 3 => SupervisorEvent::Spawned(unit),
        4 => SupervisorEvent::SpawnFailed(unit, refusal(true)),
        5 => SupervisorEvent::SpawnFailed(unit, refusal(false)),
        6..9 => SupervisorEvent::Ready(unit),
        9 => SupervisorEvent::Alive(unit),
        10 | 11 => SupervisorEvent::Exited(unit, ProcessExit::Status(0)),
        12 => SupervisorEvent::Exited(unit, ProcessExit::Signal(11)),
        13..16 => SupervisorEvent::Emptied(unit),
        16 | 17 => SupervisorEvent::Tick,
        18 | 19 => SupervisorEvent::Start(unit),
        20 | 21 => SupervisorEvent::Stop(unit),
        22 => SupervisorEvent::Restart(unit),
        23 | 24 => SupervisorEvent::Hold(unit, NOT_HERE.into()),
        25 => SupervisorEvent::Release(unit),
        _ if script.draw(8) == 1 => SupervisorEvent::Shutdown(ShutdownGoal::Reboot),
        _ => SupervisorEvent::Tick,
    }
}
