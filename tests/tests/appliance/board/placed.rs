//! Units that boards name run on these boards, and nowhere else.

use std::time::Instant;

use octet_machine::{Machine, State, Status, UnitState};
use octet_tests::{Image, READY, Remake, SOON, guest};
use serde_json::json;

/// The boards of two of three additional services.
const BOARDS: &str = "
[[board]]
number = 3
services = [\"store\", \"fetcher\"]

[[board]]
number = 4
services = [\"store\"]
";

/// `store` is for boards 3 and 4; `fetcher`, which needs it, for board 3; `local` for every node.
fn image() -> Image {
    let own = ["store", "fetcher", "local"].map(|name| (name, guest("hello")));
    // `cluster` may not place units here, so that only the test does.
    let quiet = Remake::of(&Image::with_services_and(&own, BOARDS)).change_units(|unit| {
        if unit["name"] == "cluster" {
            unit["talks"]["init"] = json!(["watch"]);
        }
    });
    quiet.image()
}

/// Starts a machine with these words on the kernel command line, and waits until it and `local` are
/// ready.
fn ready(words: &[&str]) -> Machine {
    let image = image();
    let builder = words.iter().fold(image.machine(), |it, word| it.kernel_argument(word));
    let machine = builder.start().unwrap();
    let status = machine.wait_ready(READY).unwrap();
    assert_eq!(status.state, State::Ready);
    wait(&machine, "local", UnitState::Ready);
    machine
}

fn wait(machine: &Machine, name: &str, state: UnitState) -> Status {
    let is = |status: &Status| status.unit(name).unwrap().state == state;
    machine.wait_status(&format!("{name} {state:?}"), SOON, is).unwrap()
}

/// The state of a unit, with its reason.
fn told(status: &Status, name: &str) -> (UnitState, String) {
    let unit = status.unit(name).unwrap();
    (unit.state, unit.reason.clone().unwrap_or_default())
}

fn stopped(reason: &str) -> (UnitState, String) {
    (UnitState::Stopped, reason.to_owned())
}

/// The message of a refused call.
fn refused(result: Result<serde_json::Value, impl std::fmt::Display>) -> String {
    match result {
        Ok(value) => panic!("it is not refused: {value}"),
        Err(error) => error.to_string(),
    }
}

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn all_that_is_for_a_board_runs_there() {
    let machine = ready(&["octet.board=3"]);
    wait(&machine, "fetcher", UnitState::Ready);
    let status = machine.status().unwrap();
    assert_eq!(status.board, Some(3));
    assert_eq!(told(&status, "store"), (UnitState::Ready, String::new()));
}

/// In the short tier `cluster::run` has units on named boards, and `init/src/supervisor/tests` the
/// logic of placement.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn units_follow_the_number_that_the_port_has() {
    let machine = ready(&[]);
    let status = machine.status().unwrap();
    assert_eq!(status.board, None);
    for name in ["store", "fetcher"] {
        assert_eq!(told(&status, name), stopped("waits for the board's number"));
        let said = refused(machine.call("start", json!({"unit": name})));
        assert!(said.contains("waits for the board's number"), "{said}");
    }
    // A unit that is not placed here cannot be called.
    machine.call_unit("clock", "describe", json!({})).unwrap();
    let said = refused(machine.call_unit("store", "describe", json!({})));
    assert!(said.contains("waits for the board's number"), "{said}");

    let plug = |number: u8| machine.call("board", json!({"number": number})).unwrap();
    plug(4);
    what_is_for_another_board_does_not_run(&machine);
    plug(3);
    let status = wait(&machine, "fetcher", UnitState::Ready);
    assert_eq!(status.board, Some(3));
    let store = status.unit("store").unwrap().pid;
    assert!(store.is_some());

    // On another board that is for one of them, only that one keeps running.
    plug(4);
    let status = wait(&machine, "fetcher", UnitState::Stopped);
    assert_eq!(told(&status, "fetcher"), stopped("is for board 3"));
    assert_eq!(status.unit("store").unwrap().pid, store, "it was disturbed");
    plug(5);
    let status = wait(&machine, "store", UnitState::Stopped);
    assert_eq!(told(&status, "store"), stopped("is for boards 3, 4"));
    assert_eq!(status.unit("store").unwrap().restarts, 0);

    // Both start in order; and again after a change.
    plug(3);
    wait(&machine, "fetcher", UnitState::Ready);
    plug(5);
    wait(&machine, "store", UnitState::Stopped);
    let log = machine.logs("init").unwrap();
    let ended = |name: &str| {
        let line = |line: &String| line.contains(&format!("unit {name} was killed by"));
        log.iter().rposition(line).unwrap_or_else(|| panic!("{name}: {log:#?}"))
    };
    assert!(ended("fetcher") < ended("store"), "{log:#?}");
    for shown in ["waits for the board's number", "is for boards 3, 4"] {
        let seen = machine.console().wait_for(shown, Instant::now() + SOON);
        assert!(seen.is_some(), "late: {shown}\n{}", machine.tail(40));
    }
    assert_eq!(machine.status().unwrap().state, State::Ready);
    plug(4);
    wait(&machine, "store", UnitState::Ready);
    who_knows_that_the_settings_are_others_says_so(&machine);
}

fn what_is_for_another_board_does_not_run(machine: &Machine) {
    let status = wait(machine, "store", UnitState::Ready);
    assert_eq!(told(&status, "fetcher"), stopped("is for board 3"));
    assert_eq!(status.unit("fetcher").unwrap().pid, None);
    assert_eq!(machine.logs("fetcher").unwrap().len(), 0, "it has never said a word");

    // It cannot be started here, although a running unit can be restarted.
    machine.call("restart", json!({"unit": "store"})).unwrap();
    wait(machine, "store", UnitState::Ready);
    for verb in ["start", "restart"] {
        let said = refused(machine.call(verb, json!({"unit": "fetcher"})));
        assert!(said.contains("`fetcher` is for board 3"), "{said}");
    }
    assert_eq!(told(&machine.status().unwrap(), "fetcher"), stopped("is for board 3"));
}

fn who_knows_that_the_settings_are_others_says_so(machine: &Machine) {
    machine.call("place", json!({"units": "store,fetcher"})).unwrap();
    wait(machine, "fetcher", UnitState::Ready);
    for wrong in ["local", "console", "gone"] {
        let said = refused(machine.call("place", json!({"units": wrong})));
        assert!(said.contains(&format!("`{wrong}`")), "{said}");
    }
    assert_eq!(told(&machine.status().unwrap(), "fetcher").0, UnitState::Ready);
    machine.call("place", json!({"units": ""})).unwrap();
    let status = wait(machine, "store", UnitState::Stopped);
    assert_eq!(told(&status, "store"), stopped("is for other boards"));
    assert_eq!(told(&status, "fetcher"), stopped("is for board 3"));
    // A list that does not contain a unit stops it, and it is started again.
    machine.call("place", json!({"units": "store", "of": "store,local"})).unwrap();
    let status = wait(machine, "local", UnitState::Stopped);
    assert_eq!(told(&status, "local"), stopped("is for other boards"));
    wait(machine, "fetcher", UnitState::Ready);
    machine.call("place", json!({"units": "store"})).unwrap();
    wait(machine, "local", UnitState::Ready);
    wait(machine, "fetcher", UnitState::Stopped);
    assert_eq!(machine.status().unwrap().state, State::Ready);
}
