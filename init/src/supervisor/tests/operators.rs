//! Commands of operators, one example per rule.

use super::*;

#[test]
fn stop_takes_those_that_need_it_along_and_start_brings_them_back() {
    let mut state = chain();
    assert_eq!(state.step(SupervisorEvent::Stop(B), ms(1)), [EdgeAction::RequestStop(C)]);
    assert_eq!(reason(&state, B), "stops after c");
    assert_eq!(ends(&mut state, C, ProcessExit::Status(0), ms(2)), [EdgeAction::RequestStop(B)]);
    assert_eq!(reason(&state, C), "needs b, which is being stopped");
    assert_eq!(ends(&mut state, B, ProcessExit::Status(0), ms(3)), []);
    assert_eq!(state_of(&state, 1), UnitState::Stopped);
    assert_eq!(reason(&state, B), "stopped by the operator");
    assert_eq!(state_of(&state, 2), UnitState::Waiting);
    assert_eq!(reason(&state, C), "needs b, which was stopped");
    assert_eq!(state_of(&state, 0), UnitState::Ready);
    assert_eq!(state.box_state(), BoxState::Degraded);
    assert_eq!(state.step(SupervisorEvent::Start(B), ms(4)), [EdgeAction::Start(B)]);
    assert_eq!(state.step(SupervisorEvent::Ready(B), ms(5)), [EdgeAction::Start(C)]);
}

#[test]
fn stop_goes_through_targets() {
    let mut target = settings("b", &[0]);
    target.unit_type = UnitType::Target;
    let units = vec![settings("a", &[]), target, settings("c", &[1])];
    let mut state = State::new(units, 1);
    for event in [SupervisorEvent::Boot, SupervisorEvent::Ready(A), SupervisorEvent::Ready(C)] {
        state.step(event, ms(0));
    }
    assert_eq!(state.step(SupervisorEvent::Stop(A), ms(1)), [EdgeAction::RequestStop(C)]);
    assert_eq!(ends(&mut state, C, ProcessExit::Status(0), ms(2)), [EdgeAction::RequestStop(A)]);
    assert_eq!(state_of(&state, 1), UnitState::Waiting);
}

#[test]
fn restart_comes_back_by_itself_with_all_it_took_along() {
    let mut state = chain();
    assert_eq!(state.step(SupervisorEvent::Restart(B), ms(1)), [EdgeAction::RequestStop(C)]);
    assert_eq!(ends(&mut state, C, ProcessExit::Status(0), ms(2)), [EdgeAction::RequestStop(B)]);
    assert_eq!(ends(&mut state, B, ProcessExit::Status(0), ms(3)), [EdgeAction::Start(B)]);
    assert_eq!(state.step(SupervisorEvent::Ready(B), ms(5)), [EdgeAction::Start(C)]);
    assert_eq!(state.units[1].status.restarts, 0, "not by itself");
}

#[test]
fn restart_runs_a_one_shot_again() {
    let mut state = alone(|settings| {
        settings.unit_type = UnitType::OneShot;
        settings.readiness = Readiness::Exit;
    });
    ends(&mut state, A, ProcessExit::Status(0), ms(1));
    assert_eq!(state_of(&state, 0), UnitState::Exited);
    assert_eq!(state.step(SupervisorEvent::Start(A), ms(2)), []);
    assert_eq!(state.step(SupervisorEvent::Restart(A), ms(2)), [EdgeAction::Start(A)]);
}

#[test]
fn stop_leaves_alone_what_needs_only_finished_work() {
    let mut one_shot = settings("b", &[0]);
    (one_shot.unit_type, one_shot.readiness) = (UnitType::OneShot, Readiness::Exit);
    let units = vec![settings("a", &[]), one_shot, settings("c", &[1])];
    let mut state = State::new(units, 1);
    state.step(SupervisorEvent::Boot, ms(0));
    state.step(SupervisorEvent::Ready(A), ms(0));
    state.step(SupervisorEvent::Exited(B, ProcessExit::Status(0)), ms(1));
    let mut early = state.clone();
    assert_eq!(early.step(SupervisorEvent::Stop(A), ms(1)), [], "b is not gone yet");
    assert_eq!(
        early.step(SupervisorEvent::Emptied(B), ms(2)),
        [EdgeAction::RequestStop(A), EdgeAction::Start(C)]
    );
    assert_eq!(state.step(SupervisorEvent::Emptied(B), ms(2)), [EdgeAction::Start(C)]);
    state.step(SupervisorEvent::Ready(C), ms(3));
    assert_eq!(state.step(SupervisorEvent::Stop(A), ms(4)), [EdgeAction::RequestStop(A)]);
    assert_eq!(ends(&mut state, A, ProcessExit::Status(0), ms(5)), []);
    assert_eq!((state_of(&state, 1), state_of(&state, 2)), (UnitState::Exited, UnitState::Ready));
}

#[test]
fn start_gives_a_new_budget_only_to_what_does_not_run() {
    let mut state = alone(|settings| {
        settings.delay = Duration::ZERO;
        settings.budget = 2;
    });
    for _ in 0..2 {
        assert_eq!(state.step(SupervisorEvent::Start(A), ms(1)), []);
        assert_eq!(ends(&mut state, A, ProcessExit::Status(1), ms(1)), [EdgeAction::Start(A)]);
    }
    assert_eq!(ends(&mut state, A, ProcessExit::Status(1), ms(1)), []);
    assert_eq!(state_of(&state, 0), UnitState::Failed);
    assert_eq!(state.step(SupervisorEvent::Start(A), ms(1)), [EdgeAction::Start(A)]);
    assert_eq!(ends(&mut state, A, ProcessExit::Status(1), ms(1)), [EdgeAction::Start(A)]);
}

#[test]
fn who_waits_for_a_stop_says_so() {
    let mut state = chain();
    ends(&mut state, B, ProcessExit::Status(1), ms(1));
    assert_eq!(state.step(SupervisorEvent::Restart(B), ms(2)), [EdgeAction::RequestStop(C)]);
    assert_eq!(reason(&state, B), "starts after c stops");
    assert_eq!(ends(&mut state, C, ProcessExit::Status(0), ms(3)), [EdgeAction::Start(B)]);
    assert_eq!(reason(&state, B), "");
}

#[test]
fn the_last_word_counts_while_a_unit_stops() {
    let mut state = chain();
    state.step(SupervisorEvent::Stop(C), ms(1));
    state.step(SupervisorEvent::Start(C), ms(2));
    assert_eq!(ends(&mut state, C, ProcessExit::Status(0), ms(3)), [EdgeAction::Start(C)]);
    state.step(SupervisorEvent::Ready(C), ms(4));
    state.step(SupervisorEvent::Restart(C), ms(5));
    state.step(SupervisorEvent::Stop(C), ms(6));
    assert_eq!(ends(&mut state, C, ProcessExit::Status(0), ms(7)), []);
    assert_eq!(state_of(&state, 2), UnitState::Stopped);
}

#[test]
fn start_revives_what_a_unit_needs() {
    let mut state = chain();
    state.step(SupervisorEvent::Stop(A), ms(1));
    for unit in [C, B, A] {
        ends(&mut state, unit, ProcessExit::Status(0), ms(2));
    }
    assert_eq!(state_of(&state, 0), UnitState::Stopped);
    assert_eq!(state.step(SupervisorEvent::Start(C), ms(3)), [EdgeAction::Start(A)]);
}

#[test]
fn a_stop_before_the_program_runs_is_not_lost() {
    let mut state = alone(|_| {});
    assert_eq!(state.step(SupervisorEvent::Stop(A), ms(1)), [EdgeAction::RequestStop(A)]);
    assert_eq!(state.step(SupervisorEvent::Spawned(A), ms(2)), [EdgeAction::RequestStop(A)]);
    assert_eq!(state.step(SupervisorEvent::Tick, ms(5_001)), [EdgeAction::Kill(A)]);
    assert_eq!(state.step(SupervisorEvent::Spawned(A), ms(5_002)), [EdgeAction::Kill(A)]);
}

#[test]
fn who_is_to_be_stopped_need_not_get_ready_in_time() {
    let mut state = chain();
    ends(&mut state, A, ProcessExit::Status(1), ms(0));
    assert_eq!(state.step(SupervisorEvent::Tick, ms(200)), [EdgeAction::Start(A)]);
    assert_eq!(state.step(SupervisorEvent::Stop(A), ms(10_000)), [EdgeAction::RequestStop(C)]);
    assert_eq!(state.step(SupervisorEvent::Tick, ms(10_200)), [], "c and b are first");
    assert_eq!(
        ends(&mut state, C, ProcessExit::Status(0), ms(10_300)),
        [EdgeAction::RequestStop(B)]
    );
    assert_eq!(
        ends(&mut state, B, ProcessExit::Status(0), ms(10_300)),
        [EdgeAction::RequestStop(A)]
    );
}
