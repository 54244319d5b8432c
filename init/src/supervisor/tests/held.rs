//! Units that must not run on this node.

use super::*;

fn hold(unit: UnitId) -> SupervisorEvent {
    SupervisorEvent::Hold(unit, NOT_HERE.into())
}

/// `a`, and `b` that needs it; `b` is held from the beginning.
fn b_is_held() -> State {
    let mut b = settings("b", &[0]);
    (b.held, b.base) = (Some("waits for the board's number".into()), false);
    let mut state = State::new(vec![settings("a", &[]), b], 1);
    assert_eq!(state.step(SupervisorEvent::Boot, ms(0)), [EdgeAction::Start(A)]);
    assert_eq!(state.step(SupervisorEvent::Ready(A), ms(1)), []);
    state
}

#[test]
fn who_is_held_starts_when_it_is_released() {
    let mut state = b_is_held();
    assert_eq!(state_of(&state, 1), UnitState::Stopped);
    assert_eq!(reason(&state, B), "waits for the board's number");
    assert_eq!(state.box_state(), BoxState::Ready, "it is not a base unit");
    assert_eq!(state.step(hold(B), ms(2)), []);
    assert_eq!(reason(&state, B), NOT_HERE);
    assert_eq!(state.step(SupervisorEvent::Release(B), ms(3)), [EdgeAction::Start(B)]);
    assert_eq!(reason(&state, B), "");
}

#[test]
fn a_person_cannot_start_what_is_held() {
    let mut state = b_is_held();
    for event in [SupervisorEvent::Start(B), SupervisorEvent::Restart(B), SupervisorEvent::Stop(B)]
    {
        assert_eq!(state.step(event, ms(2)), []);
        assert_eq!(state_of(&state, 1), UnitState::Stopped);
        assert_eq!(reason(&state, B), "waits for the board's number");
    }
    assert_eq!(
        state.step(SupervisorEvent::Restart(A), ms(3)),
        [EdgeAction::RequestStop(A)],
        "nothing of b is in the way"
    );
    assert_eq!(ends(&mut state, A, ProcessExit::Status(0), ms(4)), [EdgeAction::Start(A)]);
    assert_eq!(state.step(SupervisorEvent::Ready(A), ms(5)), []);
    assert_eq!(state.step(SupervisorEvent::Release(B), ms(6)), [EdgeAction::Start(B)]);
}

#[test]
fn hold_stops_in_order_and_release_brings_all_back() {
    let mut state = chain();
    assert_eq!(state.step(hold(B), ms(1)), [EdgeAction::RequestStop(C)]);
    assert_eq!(ends(&mut state, C, ProcessExit::Status(0), ms(2)), [EdgeAction::RequestStop(B)]);
    assert_eq!(reason(&state, B), NOT_HERE);
    assert_eq!(ends(&mut state, B, ProcessExit::Status(0), ms(3)), []);
    assert_eq!(state_of(&state, 1), UnitState::Stopped);
    assert_eq!((reason(&state, B).as_str(), state_of(&state, 2)), (NOT_HERE, UnitState::Waiting));
    assert_eq!(reason(&state, C), "needs b, which is for board 3");
    assert_eq!(state.step(SupervisorEvent::Start(C), ms(4)), [], "b is not started for c either");
    assert_eq!(state_of(&state, 1), UnitState::Stopped);
    assert_eq!(state.step(SupervisorEvent::Release(B), ms(5)), [EdgeAction::Start(B)]);
    assert_eq!(state.step(SupervisorEvent::Ready(B), ms(6)), [EdgeAction::Start(C)]);
}

#[test]
fn who_is_released_while_it_stops_starts_again() {
    let mut state = chain();
    assert_eq!(state.step(hold(C), ms(1)), [EdgeAction::RequestStop(C)]);
    assert_eq!(state.step(SupervisorEvent::Release(C), ms(2)), []);
    assert_eq!(ends(&mut state, C, ProcessExit::Status(0), ms(3)), [EdgeAction::Start(C)]);
    // It is held while it waits to be restarted.
    state.step(SupervisorEvent::Ready(C), ms(4));
    assert_eq!(state.step(SupervisorEvent::Restart(C), ms(5)), [EdgeAction::RequestStop(C)]);
    assert_eq!(state.step(hold(C), ms(6)), []);
    assert_eq!(ends(&mut state, C, ProcessExit::Status(0), ms(7)), []);
    assert_eq!((state_of(&state, 2), reason(&state, C)), (UnitState::Stopped, NOT_HERE.into()));
}

#[test]
fn release_undoes_what_happened_to_it_before() {
    for before in [SupervisorEvent::Stop(A), SupervisorEvent::Exited(A, ProcessExit::Status(1))] {
        let mut state = alone(|settings| settings.budget = 0);
        state.step(before, ms(1));
        state.step(SupervisorEvent::Exited(A, ProcessExit::Status(0)), ms(1));
        state.step(SupervisorEvent::Emptied(A), ms(1));
        assert!(matches!(state_of(&state, 0), UnitState::Stopped | UnitState::Failed));
        assert_eq!(state.step(SupervisorEvent::Release(A), ms(2)), [], "it is not held");
        assert_eq!(state.step(hold(A), ms(2)), []);
        assert_eq!((state_of(&state, 0), reason(&state, A)), (UnitState::Stopped, NOT_HERE.into()));
        assert_eq!(state.step(SupervisorEvent::Release(A), ms(3)), [EdgeAction::Start(A)]);
    }
}

#[test]
fn a_one_shot_that_is_held_has_done_nothing() {
    let mut state = alone(|settings| {
        settings.unit_type = UnitType::OneShot;
        settings.readiness = Readiness::Exit;
    });
    ends(&mut state, A, ProcessExit::Status(0), ms(1));
    assert_eq!(state.step(hold(A), ms(2)), []);
    assert_eq!(state_of(&state, 0), UnitState::Stopped);
    assert_eq!(state.step(SupervisorEvent::Release(A), ms(3)), [EdgeAction::Start(A)]);
}

#[test]
fn nobody_is_released_on_the_way_down() {
    let mut state = b_is_held();
    assert_eq!(
        state.step(SupervisorEvent::Shutdown(ShutdownGoal::PowerOff), ms(2)),
        [EdgeAction::RequestStop(A)]
    );
    assert_eq!(state.step(SupervisorEvent::Release(B), ms(3)), []);
    assert_eq!(state.step(hold(A), ms(3)), []);
    let finish = ends(&mut state, A, ProcessExit::Status(0), ms(4));
    assert_eq!(finish, [EdgeAction::Finish(ShutdownGoal::PowerOff)]);
}
