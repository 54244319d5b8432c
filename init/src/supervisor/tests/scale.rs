//! Five hundred units start and stop.
use super::*;

const COUNT: usize = 500;

/// Each needs the one before.
fn chain() -> Vec<Settings> {
    (0..COUNT)
        .map(|index| settings("unit", &index.checked_sub(1).map_or(vec![], |it| vec![it])))
        .collect()
}

/// All need the first, and the last needs all.
fn star() -> Vec<Settings> {
    let mut units: Vec<Settings> =
        (0..COUNT - 1).map(|index| settings("unit", if index == 0 { &[] } else { &[0] })).collect();
    units.push(settings("last", &(0..COUNT - 1).collect::<Vec<_>>()));
    units
}

/// Executes the core's actions like a machine whose processes behave well. Returns the number of
/// events.
fn run(state: &mut State, first: SupervisorEvent) -> usize {
    let mut events = std::collections::VecDeque::from([first]);
    let mut count = 0;
    while let Some(event) = events.pop_front() {
        count += 1;
        for action in state.step(event, ms(count)) {
            match action {
                EdgeAction::Start(unit) => {
                    events.extend([SupervisorEvent::Spawned(unit), SupervisorEvent::Ready(unit)]);
                }
                EdgeAction::RequestStop(unit) => {
                    events.extend([
                        SupervisorEvent::Exited(unit, ProcessExit::Status(0)),
                        SupervisorEvent::Emptied(unit),
                    ]);
                }
                EdgeAction::Kill(_) | EdgeAction::Finish(_) => {}
            }
        }
    }
    count as usize
}

#[test]
fn five_hundred_come_and_go() {
    for units in [chain(), star()] {
        let mut state = State::new(units, 0);
        assert_eq!(run(&mut state, SupervisorEvent::Boot), 1 + 2 * COUNT);
        assert_eq!(state.box_state(), BoxState::Ready);
        run(&mut state, SupervisorEvent::Shutdown(ShutdownGoal::PowerOff));
        assert_eq!(state.shutdown_progress(), Some((COUNT, COUNT)));
    }
}
