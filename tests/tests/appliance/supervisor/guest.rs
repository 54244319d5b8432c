//! A guest with units of tests, and what several of them ask of it.

use std::time::{Duration, Instant};

use octet_machine::{Machine, Status, UnitState, UnitStatus};
use octet_tests::{Image, READY, Remake, SOON, guest_for, shipped};
use serde_json::{Value, json};

/// How often something is asked for that only comes of itself.
const RETRY_DELAY: Duration = Duration::from_millis(100);

const ECHO: &str = r#"
    name = "echo"
    exec = "/usr/lib/octet/echo"
    user = "extra-1"
    sockets.control = { path = "/run/octet/echo.sock", open = true }
"#;

/// What ships, and `echo`.
pub fn with_echo() -> Remake {
    with_echo_in(&shipped())
}

/// `image`, and `echo`.
pub fn with_echo_in(image: &Image) -> Remake {
    Remake::of(image).program("echo", &guest_for(image.architecture, "echo")).unit(ECHO)
}

/// The unit file of a `bully` called `name`, with these lines besides. The user is the lines' to
/// say.
pub fn bully(name: &str, lines: &str) -> String {
    format!(
        "name = \"{name}\"\n\
         exec = \"/usr/lib/octet/bully\"\n\
         sockets.control = {{ path = \"/run/octet/{name}.sock\" }}\n\
         {lines}\n"
    )
}

/// Restarts at once and for as often as a test kills: the shipped pauses and budgets are for
/// people.
pub fn restart_fast(unit: &mut Value) {
    unit["restart"] = json!({
        "policy": unit["restart"]["policy"],
        "delay": "10ms",
        "max_delay": "100ms",
        "budget": 10_000,
        "window": "24h",
    });
}

/// Pings `echo`, one number after the other, and misses none.
#[derive(Default)]
pub struct Pings {
    /// To the `echo` that runs now.
    sent: u64,
    /// To each of those before it.
    before: Vec<u64>,
}

impl Pings {
    /// Sends the next ping. The answer has its number, and how many `echo` has had.
    pub fn one(&mut self, machine: &Machine) {
        self.sent += 1;
        let answer = machine.call_unit("echo", "ping", json!({ "n": self.sent })).unwrap();
        assert_eq!(answer, json!({ "n": self.sent, "count": self.sent }), "after {}", self.sent);
    }

    /// `echo` has been started again, and counts from one.
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
        // What is between the pings takes what it can of a guest that a busy host gives little.
        let (deadline, first) = (Instant::now() + READY * 3, self.sent);
        while !done(machine) || self.sent < first + least {
            assert!(Instant::now() < deadline, "late: {what}: {:?}", machine.tail(20));
            self.one(machine);
        }
        println!("{what}: {} pings answered in order meanwhile", self.sent - first);
    }

    /// Sees that every ping is in the log, in order.
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

/// Asks again and again until `done`.
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

/// How the unit `name` stands, with all that it uses.
pub fn unit(machine: &Machine, name: &str) -> UnitStatus {
    machine.status().unwrap().unit(name).unwrap().clone()
}

/// Has a `bully` be something.
pub fn be(machine: &Machine, name: &str, mode: &str, count: u64) -> Value {
    let answer = machine.call_unit(name, "be", json!({ "mode": mode, "count": count })).unwrap();
    assert_eq!(answer.get("error"), None, "{mode}");
    answer
}

/// Waits for a line of PID 1's own that has all these words, and returns it.
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
