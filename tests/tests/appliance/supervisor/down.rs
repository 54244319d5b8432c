//! Every kind of shutdown is the same: in order, shown on the screen, and within its time limit.

use std::time::Instant;

use octet_machine::{Exit, Machine, UnitState};
use octet_tests::{Image, READY, SOON, guest, soak};
use serde_json::{Value, json};

use crate::supervisor::guest::{be, bully, wait_state, with_echo};

/// Two units that ignore signals, and one that may send signals to all processes. All need `echo`,
/// so they are stopped before it.
fn image() -> Image {
    let image = with_echo().program("bully", &guest("bully"));
    let needs = "needs = [\"echo\"]";
    let deaf = format!("user = \"extra-2\"\n{needs}\nstop.timeout = \"1s\"");
    let deaf_for_long = format!("user = \"extra-3\"\n{needs}\nstop.timeout = \"1h\"");
    let mighty = format!("user = \"extra-4\"\n{needs}\nsandbox.capabilities = [\"KILL\"]");
    let image = image.unit(&bully("deaf", &deaf)).unit(&bully("deaf-for-long", &deaf_for_long));
    image.unit(&bully("mighty", &mighty)).image()
}

/// A kind of shutdown.
struct Way {
    name: &'static str,
    /// The unit that ignores signals then.
    deaf: &'static str,
    ask: fn(&Machine),
    /// The expected end of the machine.
    end: fn(&Exit) -> bool,
}

const fn way(name: &'static str, ask: fn(&Machine), end: fn(&Exit) -> bool) -> Way {
    Way { name, deaf: "deaf", ask, end }
}

/// The last one is in the short tier, too.
const WAYS: [Way; 5] = [
    way("the verb poweroff", |machine| call(machine, "poweroff"), Exit::is_power_off),
    way("the verb reboot", |machine| call(machine, "reboot"), Exit::is_reboot),
    way("a unit's SIGTERM", terminate, Exit::is_power_off),
    CTRL_ALT_DEL,
    Way {
        name: "the power button, and a unit that takes an hour",
        deaf: "deaf-for-long",
        ask: power_button,
        end: Exit::is_power_off,
    },
];

/// `supervisor::stubborn` ends with it.
const CTRL_ALT_DEL: Way = way("ctrl-alt-del", ctrl_alt_del, Exit::is_reboot);

fn call(machine: &Machine, verb: &str) {
    // The machine may have ended before it has sent the answer.
    let _ = machine.call(verb, Value::Null);
}

fn ctrl_alt_del(machine: &Machine) {
    let keys = ["ctrl", "alt", "delete"].map(|key| json!({ "type": "qcode", "data": key }));
    machine.qmp("send-key", json!({ "keys": keys })).unwrap();
}

fn power_button(machine: &Machine) {
    machine.qmp("system_powerdown", json!({})).unwrap();
}

/// Only the privileged unit can send PID 1 a signal.
fn terminate(machine: &Machine) {
    let ask = |unit| {
        machine
            .call_unit(unit, "be", json!({ "mode": "terminate-init" }))
            .map(|answer| answer["error"].as_str().map(str::to_owned))
    };
    let refused = ask("deaf").unwrap().expect("it may not");
    assert!(refused.contains("not permitted"), "{refused}");
    // The machine may have ended before it has sent this answer.
    assert_eq!(ask("mighty").unwrap_or_default(), None);
}

#[test]
fn every_way_down_is_in_order_and_bounded() {
    let image = image();
    for way in &WAYS[if soak() { 0 } else { 4 }..] {
        let machine = image.machine().cpus(1).start().unwrap();
        machine.wait_ready(READY).unwrap();
        for unit in ["echo", "deaf", "deaf-for-long", "mighty"] {
            wait_state(&machine, unit, UnitState::Ready);
        }
        // The module of the power button is among them.
        wait_state(&machine, "modules", UnitState::Exited);
        goes_down(&machine, way);
    }
}

/// A machine whose unit `deaf` needs `echo` and ignores signals.
pub fn by_ctrl_alt_del(machine: &Machine) {
    goes_down(machine, &CTRL_ALT_DEL);
}

fn goes_down(machine: &Machine, Way { name, deaf, ask, end }: &Way) {
    be(machine, deaf, "ignore-term", 1);
    let asked = Instant::now();
    ask(machine);
    let exit = machine.wait_exit(SOON).unwrap();
    let took = asked.elapsed();
    assert!(end(&exit), "{name}: {exit}\n{}", machine.tail(30));
    let text = machine.console().text();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("stopping ")).collect();
    println!("{name}: {exit} after {took:?}\n  {}", lines.join("\n  "));
    // Before, units were stopped one by one.
    let place = |unit: &str| {
        let told = format!("stopping {unit} (");
        lines.iter().rposition(|line| line.contains(&told))
    };
    let (first, echo) = (place(deaf), place("echo"));
    assert!(first.is_some(), "{name}: {lines:?}");
    if *deaf == "deaf" {
        assert!(first < echo, "{name}: {lines:?}");
    } else {
        // The overall time limit was reached first, so everything left is killed, and `echo` was
        // never stopped by a signal.
        assert!(echo.is_none(), "{name}: {lines:?}");
    }
}
