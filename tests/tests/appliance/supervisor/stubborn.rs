//! Units that do not stop or start as they should, or leave something behind.

use octet_machine::{Machine, UnitState};
use octet_tests::{READY, guest};
use serde_json::json;

use crate::supervisor::guest::{be, bully, unit, wait_init_says, wait_state, with_echo};
use crate::supervisor::{down, misfits, trouble};

/// The stop timeout of `deaf`, in milliseconds.
const TIMEOUT: u64 = 1500;

#[test]
fn who_does_not_listen_is_killed_who_lies_is_not_believed_and_misfits_fail() {
    let needs = "user = \"extra-2\"\nneeds = [\"echo\"]\n";
    let deaf = bully("deaf", &format!("{needs}stop.timeout = \"{TIMEOUT}ms\""));
    let shy = bully("shy", "user = \"extra-3\"\nargs = [\"quiet\"]\nstart.timeout = \"10m\"");
    let late = "args = [\"quiet\"]\nstart.timeout = \"500ms\"\n\
                restart = { budget = 1, delay = \"10ms\" }";
    let late = bully("late", &format!("user = \"extra-4\"\n{late}"));
    let image = with_echo().program("bully", &guest("bully"));
    let image = misfits::with(image.unit(&deaf).unit(&shy).unit(&late));
    let image = image.unit(&trouble::attacker());
    let machine = image.image().machine().cpus(1).start().unwrap();
    machine.wait_ready(READY).unwrap();
    deaf_to_sigterm(&machine);
    notified_by_a_stranger(&machine);
    never_ready(&machine);
    misfits::fail(&machine);
    trouble::in_the_short_tier(&machine);
    machine.call("start", json!({ "unit": "deaf" })).unwrap();
    wait_state(&machine, "deaf", UnitState::Ready);
    down::by_ctrl_alt_del(&machine);
}

/// Stops `deaf`. Returns the maximum duration in milliseconds, and how it ended.
fn stop(machine: &Machine) -> (u64, String) {
    let before = machine.status().unwrap().uptime;
    machine.call("stop", json!({ "unit": "deaf" })).unwrap();
    let stopped = wait_state(machine, "deaf", UnitState::Stopped);
    (stopped.since - before, unit(machine, "deaf").last_exit.unwrap_or_default())
}

fn deaf_to_sigterm(machine: &Machine) {
    wait_state(machine, "deaf", UnitState::Ready);
    let (took, how) = stop(machine);
    assert!(how.contains("SIGTERM"), "{took} ms: {how}");
    machine.call("start", json!({ "unit": "deaf" })).unwrap();
    wait_state(machine, "deaf", UnitState::Ready);
    be(machine, "deaf", "ignore-term", 1);
    let (took, how) = stop(machine);
    println!("deaf: {took} ms: {how}");
    assert!(took >= TIMEOUT && how.contains("SIGKILL"), "{took} ms: {how}");
}

fn notified_by_a_stranger(machine: &Machine) {
    wait_state(machine, "shy", UnitState::Starting);
    be(machine, "shy", "notify-as-stranger", 1);
    println!("init: {}", wait_init_says(machine, &["not the main process", "not believed"]));
    let shy = unit(machine, "shy");
    assert_eq!((shy.state, shy.restarts), (UnitState::Starting, 0), "{shy:?}");
    assert!(!shy.reason.unwrap_or_default().contains("hijacked"));
    // The same notification by the unit itself is accepted.
    be(machine, "shy", "ready", 1);
    wait_state(machine, "shy", UnitState::Ready);
}

/// The same program becomes ready above, once it notifies PID 1.
fn never_ready(machine: &Machine) {
    let late = wait_state(machine, "late", UnitState::Failed);
    let reason = late.reason.unwrap_or_default();
    println!("late: {reason}");
    assert!(reason.contains("ready"), "{reason}");
    assert_eq!(late.restarts, 1);
}
