//! A guest with units of tests, and shared functions.

use std::time::{Duration, Instant};

use octet_machine::{Machine, Status, UnitState, UnitStatus};
use octet_tests::{Image, READY, Remake, SOON, guest_for, shipped};
use serde_json::{Value, json};

/// The interval of polling.
const RETRY_DELAY: Duration = Duration::from_millis(100);

const ECHO: &str = r#"
    name = "echo"
    exec = "/usr/lib/octet/echo"
    user = "extra-1"
    sockets.control = { path = "/run/octet/echo.sock", open = true }
"#;

/// The released image with `echo`.
pub fn with_echo() -> Remake {
    with_echo_in(&shipped())
}

/// `image` with `echo`.
pub fn with_echo_in(image: &Image) -> Remake {
    Remake::of(image).program("echo", &guest_for(image.architecture, "echo")).unit(ECHO)
}

/// The unit file of a `bully` named `name`, with these additional lines, which have to set the
/// user.
pub fn bully(name: &str, lines: &str) -> String {
    format!(
        "name = \"{name}\"\n\
         exec = \"/usr/lib/octet/bully\"\n\
         sockets.control = {{ path = \"/run/octet/{name}.sock\" }}\n\
         {lines}\n"
    )
}

/// Allows immediate and unlimited restarts, for tests that kill units: the released pauses and
/// budgets are for production.
pub fn restart_fast(unit: &mut Value) {
    unit["restart"] = json!({
        "policy": unit["restart"]["policy"],
        "delay": "10ms",
        "max_delay": "100ms",
        "budget": 10_000,
        "window": "24h",
    });
}

/// Pings `echo` with consecutive numbers, and expects all answers.
#[derive(Default)]
pub struct Pings {
    /// The number of pings to the current instance of `echo`.
    sent: u64,
    /// The number of pings to each of the earlier ones.
    before: Vec<u64>,
}

impl Pings {
    /// Sends the next ping. The answer has its number, and the count of `echo`.
    pub fn one(&mut self, machine: &Machine) {
        self.sent += 1;
        let answer = machine.call_unit("echo", "ping", json!({ "n": self.sent })).unwrap();
        assert_eq!(answer, json!({ "n": self.sent, "count": self.sent }), "after {}", self.sent);
    }

    /// `echo` was restarted, and counts from one.
    pub fn begin_again(&mut self) {
        self.before.push(std::mem::take(&mut self.sent));
    }

    /// Pings until `done`, and at least `least` times.
    pub fn until(
        &mut self,
        machine: &Machine,
        what: &str,
        least: u64,
        mut done: impl FnMut(&Machine) -> bool,
    ) {
        // The work between the pings uses CPU time, of which a guest on a busy host has little.
        let (deadline, first) = (Instant::now() + READY * 3, self.sent);
        while !done(machine) || self.sent < first + least {
            assert!(Instant::now() < deadline, "late: {what}: {:?}", machine.tail(20));
            self.one(machine);
        }
        println!("{what}: {} pings answered in order meanwhile", self.sent - first);
    }

    /// Checks that every ping is in the log, in order.
    pub fn are_logged(&self, machine: &Machine) {
        let sent = self.before.iter().chain([&self.sent]);
        let expected: Vec<String> =
            sent.flat_map(|&sent| (1..=sent).map(|number| format!("ping {number}"))).collect();
        wait(machine, "every ping in the log", |machine| {
            machine.logs("echo").unwrap().len() >= expected.len()
        });
        assert_eq!(machine.logs("echo").unwrap(), expected);
    }
}

/// Polls until `done`.
pub fn wait(machine: &Machine, what: &str, mut done: impl FnMut(&Machine) -> bool) {
    let deadline = Instant::now() + SOON;
    while !done(machine) {
        assert!(Instant::now() < deadline, "late: {what}\n{}", machine.tail(30));
        std::thread::sleep(RETRY_DELAY);
    }
}

/// Waits until the unit `name` is in `state`.
pub fn wait_state(machine: &Machine, name: &str, state: UnitState) -> UnitStatus {
    let there = |status: &Status| status.unit(name).unwrap().state == state;
    let what = format!("{name} {state:?}");
    let status = machine.wait_status(&what, SOON, there).unwrap_or_else(|error| {
        panic!("{error}: {:?}", unit(machine, name));
    });
    status.unit(name).unwrap().clone()
}

/// The state and the resource usage of the unit `name`.
pub fn unit(machine: &Machine, name: &str) -> UnitStatus {
    machine.status().unwrap().unit(name).unwrap().clone()
}

/// Makes a `bully` misbehave in this mode.
pub fn be(machine: &Machine, name: &str, mode: &str, count: u64) -> Value {
    let answer = machine.call_unit(name, "be", json!({ "mode": mode, "count": count })).unwrap();
    assert_eq!(answer.get("error"), None, "{mode}");
    answer
}

/// Waits for a log line of PID 1 with all these words, and returns it.
pub fn wait_init_says(machine: &Machine, words: &[&str]) -> String {
    let deadline = Instant::now() + SOON;
    loop {
        let lines = machine.logs("init").unwrap();
        let found = lines.iter().find(|line| words.iter().all(|word| line.contains(word)));
        if let Some(found) = found {
            return found.clone();
        }
        assert!(
            Instant::now() < deadline,
            "late: PID 1 does not say {words:?}:\n{}",
            lines.join("\n")
        );
        std::thread::sleep(RETRY_DELAY);
    }
}
