//! Tests of the core: readable examples, properties of every world, and the table of all states and
//! events.

mod examples;
mod from_units;
mod held;
mod operators;
mod pauses;
mod processes;
mod properties;
mod rules;
mod scale;
mod script;
mod table;
mod world;

use octet_appliance::{Readiness, RestartPolicy, UnitType};

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
        watchdog: None,
        stops_last: false,
        held: None,
    }
}

fn refusal(transient: bool) -> SpawnRefusal {
    SpawnRefusal { reason: "no such file".into(), transient }
}

fn ms(ms: u64) -> Moment {
    Duration::from_millis(ms)
}

fn state_of(state: &State, unit: usize) -> UnitState {
    state.units[unit].status.state
}

/// The reason why a unit of a test is held.
const NOT_HERE: &str = "is for board 3";

const A: UnitId = UnitId(0);
const B: UnitId = UnitId(1);
const C: UnitId = UnitId(2);

/// `a`, `b` that needs it, `c` that needs `b`: all ready at 0 ms.
fn chain() -> State {
    let units = vec![settings("a", &[]), settings("b", &[0]), settings("c", &[1])];
    let mut state = State::new(units, 1);
    for event in [
        SupervisorEvent::Boot,
        SupervisorEvent::Ready(A),
        SupervisorEvent::Ready(B),
        SupervisorEvent::Ready(C),
    ] {
        state.step(event, ms(0));
    }
    assert_eq!(state.box_state(), BoxState::Ready);
    state
}

/// One unit whose start was requested at 0 ms.
fn alone(change: impl FnOnce(&mut Settings)) -> State {
    let mut settings = settings("a", &[]);
    change(&mut settings);
    let mut state = State::new(vec![settings], 1);
    assert_eq!(state.step(SupervisorEvent::Boot, ms(0)), [EdgeAction::Start(A)]);
    state
}

/// The main process of `unit` ends and leaves nothing behind.
fn ends(state: &mut State, unit: UnitId, exit: ProcessExit, now: Moment) -> Vec<EdgeAction> {
    assert_eq!(state.step(SupervisorEvent::Exited(unit, exit), now)[0], EdgeAction::Kill(unit));
    state.step(SupervisorEvent::Emptied(unit), now)
}

fn reason(state: &State, unit: UnitId) -> String {
    state.reason(unit).unwrap_or_default()
}
