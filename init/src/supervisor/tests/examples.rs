//! One example per rule.

use super::super::shutdown::{KILL_LIMIT, SHUTDOWN_LIMIT};
use super::*;
use octet_appliance::Readiness;

#[test]
fn starts_in_order_and_becomes_ready() {
    let mut state = State::new(vec![settings("a", &[]), settings("b", &[0])], 1);
    assert_eq!(state.step(SupervisorEvent::Tick, ms(0)), [], "nothing before the boot");
    assert_eq!(state.step(SupervisorEvent::Boot, ms(0)), [EdgeAction::Start(A)]);
    assert_eq!(reason(&state, B), "waits for a");
    assert_eq!(state.step(SupervisorEvent::Spawned(A), ms(1)), []);
    assert_eq!(state.step(SupervisorEvent::Ready(A), ms(2)), [EdgeAction::Start(B)]);
    assert_eq!(state.box_state(), BoxState::Starting);
    assert_eq!(state.ready_at(), None);
    state.step(SupervisorEvent::Ready(B), ms(3));
    assert_eq!((state.box_state(), state.ready_at()), (BoxState::Ready, Some(ms(3))));
    let status = &state.units[1].status;
    assert_eq!((status.first_started, status.first_ready), (Some(ms(2)), Some(ms(3))));
}

#[test]
fn after_waits_for_the_outcome_whatever_it_is() {
    let mut b = settings("b", &[]);
    b.after = vec![A];
    let mut state = State::new(vec![settings("a", &[]), b], 1);
    assert_eq!(state.step(SupervisorEvent::Boot, ms(0)), [EdgeAction::Start(A)]);
    let failed = state.step(SupervisorEvent::SpawnFailed(A, refusal(false)), ms(1));
    assert_eq!((failed, state_of(&state, 0)), (vec![EdgeAction::Start(B)], UnitState::Failed));
}

#[test]
fn readiness_by_exec_or_socket_comes_with_the_program() {
    for readiness in [Readiness::Exec, Readiness::Socket] {
        let mut state = alone(|settings| settings.readiness = readiness);
        state.step(SupervisorEvent::Ready(A), ms(1));
        assert!(!state_of(&state, 0).is_ready(), "by {readiness:?}");
        state.step(SupervisorEvent::Spawned(A), ms(2));
        assert_eq!(state_of(&state, 0), UnitState::Ready);
    }
    let mut state = alone(|_| {});
    state.step(SupervisorEvent::Spawned(A), ms(2));
    assert!(!state_of(&state, 0).is_ready(), "by notify");
}

#[test]
fn pauses_double_with_jitter_and_the_budget_ends() {
    let mut state = alone(|_| {});
    let mut now = ms(0);
    let mut pauses = vec![];
    loop {
        ends(&mut state, A, ProcessExit::Signal(9), now);
        let UnitState::Backoff { until } = state_of(&state, 0) else { break };
        assert_eq!(state_of(&state, 0).next_try(), Some(until));
        pauses.push(until - now);
        assert!(pauses.len() <= 5, "the budget does not end");
        now = until;
        assert_eq!(state.next_deadline(), Some(until));
        assert_eq!(state.step(SupervisorEvent::Tick, now), [EdgeAction::Start(A)]);
    }
    for (pause, around) in pauses.iter().zip([100, 200, 400, 800, 1600]) {
        assert!(*pause >= ms(around * 3 / 4) && *pause <= ms(around * 5 / 4), "{pauses:?}");
        assert_ne!(*pause, ms(around), "no jitter");
    }
    assert_eq!((pauses.len(), state.units[0].status.restarts), (5, 5));
    let words = "was killed by SIGKILL before it was ready; more than 5 restarts in 30s";
    assert_eq!(reason(&state, A), words);
    assert_eq!(state.box_state(), BoxState::Degraded);
}

#[test]
fn a_pause_of_nothing_stays_nothing() {
    let mut state = alone(|settings| settings.delay = Duration::ZERO);
    assert_eq!(ends(&mut state, A, ProcessExit::Status(1), ms(1)), [EdgeAction::Start(A)]);
}

#[test]
fn pauses_end_at_the_longest() {
    let mut state = alone(|settings| {
        settings.max_delay = ms(300);
        settings.budget = 100;
    });
    let mut now = ms(0);
    for turn in 0..50 {
        ends(&mut state, A, ProcessExit::Status(1), now);
        let UnitState::Backoff { until } = state_of(&state, 0) else { panic!("gave up") };
        assert!(until - now <= ms(300) && (turn < 2 || until - now >= ms(225)), "{turn}");
        now = until;
        state.step(SupervisorEvent::Tick, now);
    }
}

#[test]
fn a_long_good_run_starts_the_pauses_anew() {
    let mut state = alone(|_| {});
    let mut now = ms(0);
    for _ in 0..20 {
        state.step(SupervisorEvent::Ready(A), now);
        now += Duration::from_secs(40);
        ends(&mut state, A, ProcessExit::Status(1), now);
        let UnitState::Backoff { until } = state_of(&state, 0) else { panic!("gave up") };
        assert!(until - now <= ms(125));
        now = until;
        state.step(SupervisorEvent::Tick, now);
    }
}

#[test]
fn never_ready_is_asked_then_killed_then_failed() {
    let mut state = alone(|_| {});
    assert_eq!(state.next_deadline(), Some(ms(10_000)));
    assert_eq!(state.step(SupervisorEvent::Tick, ms(10_000)), [EdgeAction::RequestStop(A)]);
    assert_eq!(state.step(SupervisorEvent::Tick, ms(15_000)), [EdgeAction::Kill(A)]);
    assert_eq!(state.next_deadline(), None);
    ends(&mut state, A, ProcessExit::Signal(9), ms(15_001));
    assert!(matches!(state_of(&state, 0), UnitState::Backoff { .. }));
    // A program that does not send READY=1 is the usual case.
    let told = reason(&state, A);
    assert!(told.starts_with("was not ready within 10s: it did not send READY=1"), "{told}");
    assert!(told.contains("readiness = \"exec\""), "{told}");
    let mut state = alone(|settings| settings.readiness = Readiness::Exit);
    state.step(SupervisorEvent::Tick, ms(10_000));
    assert_eq!(reason(&state, A), "was not ready within 10s");
}

/// A daemon that checks its files may ask for more time; one that asks for ever is not waited for.
#[test]
fn who_says_that_it_takes_longer_is_given_time() {
    let mut state = alone(|_| {});
    assert_eq!(state.next_deadline(), Some(ms(10_000)));
    state.step(SupervisorEvent::Extended(A, ms(30_000)), ms(9_000));
    assert_eq!(state.next_deadline(), Some(ms(39_000)));
    // The deadline is not shortened.
    state.step(SupervisorEvent::Extended(A, ms(1)), ms(10_000));
    assert_eq!(
        (state.step(SupervisorEvent::Tick, ms(10_001)), state.next_deadline()),
        (vec![], Some(ms(39_000)))
    );
    for now in (20_000..190_000).step_by(10_000) {
        state.step(SupervisorEvent::Extended(A, ms(30_000)), ms(now));
        assert_eq!(state.next_deadline(), Some(ms((now + 30_000).min(200_000))));
    }
    assert_eq!(state.step(SupervisorEvent::Tick, ms(200_000)), [EdgeAction::RequestStop(A)]);
    // A unit that is ready, or is being stopped, has no start timeout to extend.
    state.step(SupervisorEvent::Extended(A, ms(30_000)), ms(200_001));
    assert_eq!(state.next_deadline(), Some(ms(205_000)));
}

#[test]
fn a_missing_program_fails_at_once_and_says_who_waits() {
    let units = vec![settings("a", &[]), settings("b", &[0]), settings("c", &[1])];
    let mut state = State::new(units, 1);
    state.step(SupervisorEvent::Boot, ms(0));
    state.step(SupervisorEvent::SpawnFailed(A, refusal(false)), ms(1));
    assert_eq!(
        (state_of(&state, 0), reason(&state, A)),
        (UnitState::Failed, "no such file".into())
    );
    assert_eq!(reason(&state, B), "needs a, which failed");
    assert_eq!(reason(&state, C), "needs a, which failed", "the root, not the next");
}

#[test]
fn an_end_is_told_in_words() {
    let mut state = alone(|_| {});
    state.step(SupervisorEvent::Ready(A), ms(1));
    ends(&mut state, A, ProcessExit::Status(1), ms(2));
    assert_eq!(reason(&state, A), "ended with status 1");
    assert_eq!(state.units[0].status.last_exit, Some(ProcessExit::Status(1)));
    let mut state = alone(|settings| {
        (settings.unit_type, settings.readiness) = (UnitType::OneShot, Readiness::Exit);
    });
    ends(&mut state, A, ProcessExit::Signal(64), ms(2));
    assert_eq!(reason(&state, A), "was killed by signal 64");
}

#[test]
fn who_ends_well_may_rest_and_who_needs_it_waits() {
    let mut a = settings("a", &[]);
    a.policy = RestartPolicy::OnFailure;
    let mut state = State::new(vec![a, settings("b", &[0])], 1);
    state.step(SupervisorEvent::Boot, ms(0));
    ends(&mut state, A, ProcessExit::Status(0), ms(1));
    assert_eq!(state_of(&state, 0), UnitState::Stopped);
    assert_eq!(reason(&state, A), "ended with status 0 before it was ready");
    assert_eq!(reason(&state, B), "needs a, which has ended");
}

#[test]
fn a_passing_refusal_is_tried_again() {
    let mut state = alone(|_| {});
    state.step(SupervisorEvent::SpawnFailed(A, refusal(true)), ms(1));
    assert!(matches!(state_of(&state, 0), UnitState::Backoff { .. }));
    assert_eq!(reason(&state, A), "no such file");
}

#[test]
fn the_next_instance_waits_for_the_last_ones_children() {
    let mut state = alone(|settings| settings.delay = Duration::ZERO);
    assert_eq!(
        state.step(SupervisorEvent::Exited(A, ProcessExit::Status(1)), ms(1)),
        [EdgeAction::Kill(A)]
    );
    assert_eq!(state_of(&state, 0), UnitState::Clearing { then: Outcome::Fail });
    assert!(state_of(&state, 0).is_running());
    assert_eq!(state.step(SupervisorEvent::Tick, ms(60_000)), []);
    assert_eq!(state.step(SupervisorEvent::Emptied(A), ms(60_001)), [EdgeAction::Start(A)]);
}

#[test]
fn silence_is_death_where_a_watchdog_is_set() {
    let mut state = alone(|settings| settings.watchdog = Some(ms(10_000)));
    state.step(SupervisorEvent::Ready(A), ms(0));
    assert_eq!(state.next_deadline(), Some(ms(10_000)), "from the first moment on");
    state.step(SupervisorEvent::Alive(A), ms(9_000));
    assert_eq!(state.next_deadline(), Some(ms(19_000)));
    state.step(SupervisorEvent::Ready(A), ms(10_000));
    assert_eq!(state.step(SupervisorEvent::Tick, ms(19_999)), []);
    assert_eq!(state.step(SupervisorEvent::Tick, ms(20_000)), [EdgeAction::Kill(A)]);
    ends(&mut state, A, ProcessExit::Signal(9), ms(20_001));
    assert!(matches!(state_of(&state, 0), UnitState::Backoff { .. }));
    assert_eq!(reason(&state, A), "did not send WATCHDOG=1 within 10s");
}

#[test]
fn shutdown_reverses_and_is_bounded() {
    let mut state = chain();
    assert_eq!(
        state.step(SupervisorEvent::Shutdown(ShutdownGoal::PowerOff), ms(0)),
        [EdgeAction::RequestStop(C)]
    );
    assert_eq!(state.shutdown_progress(), Some((0, 3)));
    assert_eq!(ends(&mut state, C, ProcessExit::Status(0), ms(10)), [EdgeAction::RequestStop(B)]);
    assert_eq!(state.shutdown_progress(), Some((1, 3)));
    assert_eq!(state.running().collect::<Vec<_>>(), ["a", "b"]);
    for event in [SupervisorEvent::Start(C), SupervisorEvent::Stop(A), SupervisorEvent::Restart(B)]
    {
        assert_eq!(state.step(event, ms(20)), [], "the operator comes too late");
    }
    assert_eq!(state.step(SupervisorEvent::Tick, ms(5_010)), [EdgeAction::Kill(B)]);
    let late = state.step(SupervisorEvent::Tick, SHUTDOWN_LIMIT);
    assert_eq!(late, [EdgeAction::Kill(B), EdgeAction::Kill(A)]);
    assert_eq!(state.next_deadline(), Some(SHUTDOWN_LIMIT + KILL_LIMIT));
    assert_eq!(ends(&mut state, A, ProcessExit::Signal(9), ms(15_001)), []);
    let end = state.step(SupervisorEvent::Tick, SHUTDOWN_LIMIT + KILL_LIMIT);
    assert_eq!(end, [EdgeAction::Finish(ShutdownGoal::PowerOff)], "b cannot die");
    assert_eq!(state.next_deadline(), None, "the edge must not spin");
    assert_eq!(state.step(SupervisorEvent::Exited(B, ProcessExit::Signal(9)), ms(30_000)), []);
}

#[test]
fn the_one_that_hears_the_others_stops_after_them() {
    // It needs a, nothing needs it, and b and c are started before it.
    let mut logger = settings("logger", &[0]);
    logger.stops_last = true;
    let units = vec![settings("a", &[]), settings("b", &[]), settings("c", &[1]), logger];
    let mut state = State::new(units, 0);
    state.step(SupervisorEvent::Boot, ms(0));
    for unit in [A, B, C, UnitId(3)] {
        state.step(SupervisorEvent::Spawned(unit), ms(0));
        state.step(SupervisorEvent::Ready(unit), ms(0));
    }
    assert_eq!(
        state.step(SupervisorEvent::Shutdown(ShutdownGoal::PowerOff), ms(1)),
        [EdgeAction::RequestStop(C)]
    );
    assert_eq!(ends(&mut state, C, ProcessExit::Status(0), ms(2)), [EdgeAction::RequestStop(B)]);
    assert_eq!(
        ends(&mut state, B, ProcessExit::Status(0), ms(3)),
        [EdgeAction::RequestStop(UnitId(3))]
    );
    assert_eq!(
        ends(&mut state, UnitId(3), ProcessExit::Status(0), ms(4)),
        [EdgeAction::RequestStop(A)]
    );
    assert_eq!(
        ends(&mut state, A, ProcessExit::Status(0), ms(5)),
        [EdgeAction::Finish(ShutdownGoal::PowerOff)]
    );
}

#[test]
fn shutdown_ends_early_when_all_is_gone() {
    let mut state = chain();
    state.step(SupervisorEvent::Shutdown(ShutdownGoal::Reboot), ms(0));
    state.step(SupervisorEvent::Shutdown(ShutdownGoal::PowerOff), ms(1));
    for unit in [C, B] {
        ends(&mut state, unit, ProcessExit::Status(0), ms(2));
    }
    assert_eq!(
        ends(&mut state, A, ProcessExit::Status(0), ms(2)),
        [EdgeAction::Finish(ShutdownGoal::Reboot)]
    );
}

#[test]
fn states_have_names() {
    let (then, deadline) = (Outcome::Done, ms(0));
    let states = [
        (UnitState::Waiting, "waiting"),
        (UnitState::Starting { deadline }, "starting"),
        (UnitState::Ready, "ready"),
        (UnitState::Exited, "exited"),
        (UnitState::Backoff { until: deadline }, "backoff"),
        (UnitState::Failed, "failed"),
        (UnitState::Stopping { kill_at: None, then }, "stopping"),
        (UnitState::Clearing { then }, "clearing"),
        (UnitState::Stopped, "stopped"),
    ];
    for (state, name) in states {
        assert_eq!(state.as_str(), name);
    }
    let boxes = [BoxState::Starting, BoxState::Ready, BoxState::Degraded, BoxState::Stopping];
    assert_eq!(boxes.map(BoxState::as_str), ["starting", "ready", "degraded", "stopping"]);
}

#[test]
fn units_that_do_not_exist_are_ignored() {
    let mut state = chain();
    let unknown = UnitId(3);
    for event in [
        SupervisorEvent::Spawned(unknown),
        SupervisorEvent::SpawnFailed(unknown, refusal(true)),
        SupervisorEvent::Ready(unknown),
        SupervisorEvent::Alive(unknown),
        SupervisorEvent::Exited(unknown, ProcessExit::Status(0)),
        SupervisorEvent::Emptied(unknown),
        SupervisorEvent::Start(unknown),
        SupervisorEvent::Stop(unknown),
        SupervisorEvent::Restart(unknown),
    ] {
        assert_eq!(state.step(event, ms(1)), []);
    }
    assert_eq!(state.reason(unknown), None);
}
