//! One unit does its worst within its sandbox and limits; PID 1, the log and another unit are not
//! affected.

use octet_machine::{Machine, UnitState};
use octet_tests::{DiskFile, READY, SOON, guest, shipped};
use serde_json::{Value, json};

use crate::supervisor::guest::{
    Pings, be, bully, restart_fast, unit, wait, wait_init_says, wait_state, with_echo,
};

/// The maximum growth of PID 1 after all attacks, in bytes.
const GROWTH: u64 = 1 << 20;

/// The minimum number of pings during each attack.
const PINGS: u64 = 30;

const TASKS: u64 = 64;
const FILES: u64 = 64;

/// The size of the medium, in MiB.
const MEDIUM: u64 = 320;

/// A unit with a watchdog, which is otherwise left alone. A busy host may pause a guest with one
/// processor for up to the interval, while the guest's clock runs on.
const HOUND: &str = r#"
    user = "extra-3"
    watchdog = "10s"
"#;

/// More than two intervals, in milliseconds.
const FED: u64 = 25_000;

/// The number of processes that connect: more than the threads of a normal unit.
const CONNECTING: u64 = 16;

/// The number of orphaned processes: more than such threads, too.
const MORE: u64 = 10;

const BULLY: &str = r#"
    user = "extra-2"
    stop.timeout = "1s"
    limits = { memory_max = "24M", pids_max = 64, nofile = 64 }
"#;

/// How often each unit is killed.
const ROUNDS: u32 = 100;

/// A name, and the attack.
type Attack = (&'static str, fn(&Machine, &mut Pings));

const ATTACKS: [Attack; 9] = [
    ("a fork bomb", fork_bomb),
    ("a memory hog", memory_hog),
    ("a descriptor hog", descriptor_hog),
    ("connections without end", connect_hog),
    ("processes left behind", double_fork),
    ("a flood of the log", log_flood),
    ("a watchdog that is not fed", watchdog),
    ("an end that is no good", bad_ends),
    ("SIGKILL to every unit", kill_all),
];

/// The unit file of the attacker.
pub fn attacker() -> String {
    bully("bully", BULLY)
}

/// The attacks of the short tier, which needs a kernel for them: those that hold what PID 1 has.
pub fn in_the_short_tier(machine: &Machine) {
    let mut pings = Pings::default();
    wait_state(machine, "bully", UnitState::Ready);
    connect_hog(machine, &mut pings);
    double_fork(machine, &mut pings);
    is_well(machine);
}

/// In the short tier `supervisor::stubborn` has [`in_the_short_tier`], `supervisor::sandbox` the
/// limits of memory, processes and files, `services/logd/tests/daemon` a flood, and
/// `init/src/supervisor/tests` the rest.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn one_unit_does_its_worst_and_nobody_notices() {
    let image = with_echo().program("bully", &guest("bully"));
    let image = image.unit(&attacker()).unit(&bully("hound", HOUND));
    let image = image.change_units(restart_fast).image();
    // With a disk, the log stores more than the flood of one unit.
    let disk = DiskFile::flashed(&shipped(), MEDIUM);
    let machine = image.machine_as_shipped().disk(disk.disk()).cpus(1).start().unwrap();
    machine.wait_ready(READY).unwrap();
    let mut pings = Pings::default();
    for name in ["echo", "bully", "hound"] {
        wait_state(&machine, name, UnitState::Ready);
    }
    pings.until(&machine, "nothing", PINGS, |_| true);
    is_well(&machine);
    let before = machine.status().unwrap().memory.init_rss;

    for (name, attack) in &ATTACKS {
        println!("{name}:");
        attack(&machine, &mut pings);
        let now = machine.status().unwrap().memory.init_rss;
        println!("  PID 1: {before} bytes before all attacks, {now} now");
        assert!(now < before + GROWTH, "{name}: PID 1 grew from {before} to {now} bytes");
        is_well(&machine);
    }
    pings.are_logged(&machine);
    assert_eq!(unit(&machine, "console").reason, None);
}

fn is_well(machine: &Machine) {
    wait_state(machine, "bully", UnitState::Ready);
    let answer = machine.call_unit("bully", "ping", json!({ "n": 7 })).unwrap();
    assert_eq!(answer, 7);
}

/// Stops the unit with all its processes, and starts it again.
fn restart(machine: &Machine) {
    let pid = unit(machine, "bully").pid;
    machine.call("restart", json!({ "unit": "bully" })).unwrap();
    let again = |status: &octet_machine::Status| {
        let unit = status.unit("bully").unwrap();
        unit.state == UnitState::Ready && unit.pid != pid
    };
    machine.wait_status("bully again", READY, again).unwrap();
}

fn fork_bomb(machine: &Machine, pings: &mut Pings) {
    let few = unit(machine, "bully").tasks.unwrap();
    assert!(few < 10, "{few} tasks already");
    be(machine, "bully", "fork-bomb", 1);
    let full = |machine: &Machine| unit(machine, "bully").tasks == Some(TASKS);
    pings.until(machine, "bully has all the processes that it may have", PINGS, full);
    restart(machine);
    let tasks = unit(machine, "bully").tasks.unwrap();
    assert!(tasks < 10, "{tasks} tasks after the restart");
}

fn memory_hog(machine: &Machine, pings: &mut Pings) {
    let restarts = unit(machine, "bully").restarts;
    be(machine, "bully", "memory-hog", 1);
    let killed = |machine: &Machine| unit(machine, "bully").restarts > restarts;
    pings.until(machine, "bully was killed for its memory", PINGS, killed);
    let last = unit(machine, "bully").last_exit.unwrap_or_default();
    assert!(last.contains("SIGKILL"), "{last}");
}

fn descriptor_hog(machine: &Machine, pings: &mut Pings) {
    assert_eq!(be(machine, "bully", "descriptor-hog", 10), json!({ "held": 10 }));
    let held = be(machine, "bully", "descriptor-hog", 1 << 20)["held"].as_u64().unwrap();
    assert!((1..FILES).contains(&held), "{held}");
    pings.until(machine, "bully has all the files that it may have", PINGS, |_| true);
    restart(machine);
}

/// So many processes connect to PID 1's socket and disconnect that its queue is never empty.
fn connect_hog(machine: &Machine, pings: &mut Pings) {
    be(machine, "bully", "connect-hog", CONNECTING);
    let there = |machine: &Machine| unit(machine, "bully").tasks > Some(CONNECTING);
    pings.until(machine, "PID 1 answers those who come behind them", PINGS, there);
    restart(machine);
}

/// The number of dropped lines is reported, and other units lose no lines.
fn log_flood(machine: &Machine, pings: &mut Pings) {
    be(machine, "bully", "log-flood", 1);
    let mut told = vec![];
    pings.until(machine, "bully's lines are dropped, which is told", PINGS, |machine| {
        told = machine.logs("logd").unwrap();
        told.retain(|line| line.contains("dropped") && line.contains("of bully"));
        told.len() >= 2
    });
    told.iter().for_each(|line| println!("  logd: {line}"));
    let wrote = machine.call_unit("bully", "wrote", json!({})).unwrap();
    println!("  bully has written {wrote}");
    restart(machine);
    pings.are_logged(machine);
}

/// A process that has left its session and ignores signals is killed nevertheless, and PID 1 logs
/// it.
fn double_fork(machine: &Machine, pings: &mut Pings) {
    for (how, verb) in [("stopped", "stop"), ("killed", "signal")] {
        be(machine, "bully", "double-fork", MORE);
        wait(machine, "more processes", |machine| unit(machine, "bully").tasks > Some(MORE));
        let restarts = unit(machine, "bully").restarts;
        if verb == "stop" {
            machine.call("stop", json!({ "unit": "bully" })).unwrap();
            let stopped = wait_state(machine, "bully", UnitState::Stopped);
            assert_eq!(stopped.pid, None);
            let tasks = unit(machine, "bully").tasks;
            assert!(matches!(tasks, None | Some(0)), "{tasks:?} tasks of a stopped unit");
            machine.call("start", json!({ "unit": "bully" })).unwrap();
        } else {
            machine.call("signal", json!({ "unit": "bully", "signal": "KILL" })).unwrap();
            wait(machine, "bully again", |machine| unit(machine, "bully").restarts > restarts);
        }
        wait_state(machine, "bully", UnitState::Ready);
        wait(machine, &format!("only its own processes, {how}"), |machine| {
            unit(machine, "bully").tasks < Some(MORE)
        });
        pings.one(machine);
    }
    let said = wait_init_says(machine, &["(bully)", "left behind by unit bully", "SIGKILL"]);
    println!("  init: {said}");
    let lines = machine.logs("init").unwrap();
    let named = lines.iter().filter(|line| line.contains("left behind by unit bully"));
    let named = named.filter(|line| line.contains("SIGKILL")).count();
    assert!(named as u64 >= 2 * MORE, "only {named} are named");
}

fn watchdog(machine: &Machine, pings: &mut Pings) {
    let hound = || unit(machine, "hound");
    let long = |machine: &Machine| machine.status().unwrap().uptime > FED;
    pings.until(machine, "fed, hound lives", PINGS, long);
    let fed = hound();
    // If the host pauses the guest for longer than the interval, the watchdog expires: that is
    // reported as late, and the test is repeated alone. A watchdog that ignores its notifications
    // would kill the unit as well.
    assert!(fed.restarts == 0, "late: hound was not heard: {:?}", fed.last_exit);
    be(machine, "hound", "stop-notifying", 1);
    let told = |status: &octet_machine::Status| {
        let reason = &status.unit("hound").unwrap().reason;
        reason.as_ref().is_some_and(|reason| reason.contains("WATCHDOG=1"))
    };
    machine.wait_status("hound is killed", SOON, told).unwrap();
    pings.until(machine, "not fed, it is started again", PINGS, |_| hound().restarts > 0);
    wait_state(machine, "hound", UnitState::Ready);
}

fn bad_ends(machine: &Machine, _: &mut Pings) {
    for (mode, words) in [("exit", "status 7"), ("crash", "SIGSEGV")] {
        let restarts = unit(machine, "bully").restarts;
        // The unit may end before it has answered.
        let _ = machine.call_unit("bully", "be", json!({ "mode": mode, "count": 7 }));
        wait(machine, "bully again", |machine| unit(machine, "bully").restarts > restarts);
        let last = unit(machine, "bully").last_exit.unwrap_or_default();
        assert!(last.contains(words), "{mode}: {last}");
        wait_state(machine, "bully", UnitState::Ready);
    }
}

fn kill_all(machine: &Machine, pings: &mut Pings) {
    // Killing the port would end the test's connection (`board::units` kills it).
    let ready = |unit: &&octet_machine::UnitStatus| {
        unit.state == UnitState::Ready && unit.pid.is_some() && unit.name != "port"
    };
    let status = machine.status().unwrap();
    let names: Vec<String> =
        status.units.iter().filter(ready).map(|unit| unit.name.clone()).collect();
    for name in ["console", "logd", "clock", "bully", "echo"] {
        assert!(names.iter().any(|it| it == name), "{name} is not ready: {names:?}");
    }
    for _ in 0..ROUNDS {
        for name in &names {
            let before = unit(machine, name);
            let at = (name == "echo").then(|| address_of_echo(machine));
            machine.call("signal", json!({ "unit": name, "signal": "KILL" })).unwrap();
            let back = |status: &octet_machine::Status| {
                let unit = status.unit(name).unwrap();
                unit.state == UnitState::Ready && unit.restarts > before.restarts
            };
            machine.wait_status(&format!("{name} back"), READY, back).unwrap();
            let after = unit(machine, name);
            assert_eq!(after.restarts, before.restarts + 1, "{name}");
            assert_ne!(after.pid, before.pid, "{name}");
            if let Some(before) = at {
                assert_ne!(
                    address_of_echo(machine),
                    before,
                    "a program is where it was the last time"
                );
                pings.begin_again();
            }
            pings.one(machine);
        }
    }
    println!("  killed and back, {ROUNDS} times each: {}", names.join(", "));
}

/// The address of the code of `echo` in its memory.
fn address_of_echo(machine: &Machine) -> Value {
    machine.call_unit("echo", "where", json!({})).unwrap()
}
