//! The box, the computer at its link, and the people there.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::Instant;

use octet_appliance::{APPLIANCE, Appliance, SETTINGS};
use octet_machine::panel::Host;
use octet_machine::{Machine, Status, UnitState};
use octet_node::durable::StoredFile;
use octet_node::key::{self, PrivateKey};
use octet_tests::{
    DiskFile, Image, Output, Owner, READY, RETRY_DELAY, Remake, SOON, guest, shipped,
    text_of_one_board, workspace,
};
use serde_json::{Value, json};

use crate::net::guest::{BOX, GIVEN, OURS, TEST, gate};

/// All people with a key. Eve is not an operator of any box.
const ALL: [&str; 5] = ["anna", "ben", "carl", "dora", "eve"];

const NAMED: [&str; 3] = ["anna", "ben", "carl"];

/// The capabilities of each operator.
fn rights(who: &str) -> Value {
    match who {
        "anna" => json!(["own"]),
        "ben" => json!(["read", "configure"]),
        _ => json!(["read"]),
    }
}

/// The people at one computer.
pub struct People {
    pub owner: Owner,
    keys: BTreeMap<&'static str, String>,
}

impl People {
    pub fn new() -> Self {
        let owner = Owner::new();
        let keys = ALL.map(|who| (who, owner.keygen(who)));
        Self { keys: keys.into(), owner }
    }

    /// The public half of a person's key.
    pub fn key(&self, who: &str) -> &str {
        &self.keys[who]
    }

    pub fn secret(&self, who: &str) -> PrivateKey {
        match key::read(&self.owner.path(who)) {
            Ok(StoredFile::Value(key)) => key,
            _ => panic!("{who} has no key"),
        }
    }

    /// The released `appliance.toml` for a box without a router, with a fixed address, this name,
    /// these operators and more lines.
    pub fn text(&self, name: &str, operators: &[&str], more: &str) -> String {
        let mut text = text_of_one_board();
        for (shipped, ours) in [
            ("\nname = \"octet\"\n", format!("\nname = {name:?}\n")),
            ("\naddress = \"dhcp\"\n", format!("\naddress = [\"{GIVEN}/24\"]\n")),
        ] {
            assert!(text.contains(shipped));
            text = text.replace(shipped, &ours);
        }
        let line = |who: &&str| {
            let (key, may) = (self.key(who), rights(who));
            format!("    {{ key = {key:?}, name = {who:?}, may = {may} }},\n")
        };
        let lines: String = operators.iter().map(line).collect();
        text + &format!("\n[operator]\nkeys = [\n{lines}]\n{more}")
    }

    /// The image's configuration.
    pub fn first_text(&self) -> String {
        self.text("octet", &NAMED, "")
    }

    /// The released image, with that configuration as the builder would write it.
    pub fn image(&self) -> Image {
        let text = self.first_text();
        let settings = json!(Appliance::parse("appliance.toml", &text).unwrap());
        let remake = Remake::of(&shipped()).file(APPLIANCE, 0o644, text.into_bytes());
        let unit = fs::read_to_string(workspace().join("tests/services/mirror.toml")).unwrap();
        let remake = remake.program("mirror", &guest("mirror")).unit(&unit);
        remake.file(SETTINGS, 0o644, settings.to_string().into_bytes()).image()
    }
}

/// A running box with its link.
pub struct Site<'a> {
    pub people: &'a People,
    pub machine: Machine,
    pub host: Host,
    pub node: String,
    pub address: String,
    named: String,
}

impl<'a> Site<'a> {
    pub fn boot(image: &Image, disk: &DiskFile, people: &'a People) -> Self {
        let machine = image.machine().nic(BOX).disk(disk.disk()).cpus(1).start().unwrap();
        machine.wait_ready(READY).unwrap_or_else(|error| panic!("{error}"));
        let host = Host::start(machine.port(0).unwrap(), TEST, &[(IpAddr::V4(OURS), 24)]);
        let shown = machine.call_unit("identity", "show", json!({})).unwrap();
        let node = shown["node"].as_str().unwrap().to_owned();
        let address = host.forward_tcp(gate(GIVEN.into())).unwrap().to_string();
        let named = format!("{node}@{address}");
        Self { people, machine, host, node, address, named }
    }

    /// Cuts the power. Returns the box's node key.
    pub fn cut(self) -> String {
        self.machine.kill().unwrap();
        self.node
    }

    /// The arguments of `octetctl` that select this box.
    pub fn words<'w>(&'w self, words: &[&'w str]) -> Vec<&'w str> {
        [&["--box", &self.named][..], words].concat()
    }

    fn ask(&self, who: &str, words: &[&str]) -> Output {
        self.people.owner.ask(who, &self.words(words))
    }

    /// Runs a permitted command. Returns its output.
    pub fn may(&self, who: &str, words: &[&str]) -> String {
        let output = self.ask(who, words);
        assert_eq!(output.status, Some(0), "{who} {words:?}: {}", output.stderr);
        output.stdout
    }

    /// The same as JSON.
    pub fn json(&self, who: &str, words: &[&str]) -> Value {
        let printed = self.may(who, &[words, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    /// Runs a command that is refused with `why`; the gate's log has the reason, too.
    pub fn may_not(&self, who: &str, words: &[&str], why: &str) {
        self.logged(&[self.people.key(who), why], || {
            let output = self.ask(who, words);
            assert_eq!(output.status, Some(1), "{who} {words:?}: {}", output.stdout);
            assert!(output.stderr.contains(why), "{who} {words:?}: {}", output.stderr);
        });
    }

    /// Calls `what`, after which the gate's log must have one more line with all `words`.
    pub fn logged(&self, words: &[&str], what: impl FnOnce()) {
        let before = self.lines_with(words);
        what();
        self.wait_logged(words, before);
    }

    /// Waits until the gate's log has more than `before` lines with all `words`: a message takes a
    /// moment to arrive.
    pub fn wait_logged(&self, words: &[&str], before: usize) {
        let deadline = Instant::now() + SOON;
        while self.lines_with(words) <= before {
            let lines = || self.machine.logs("gate").unwrap();
            assert!(Instant::now() < deadline, "late: {words:?}: {:#?}", lines());
            sleep(RETRY_DELAY);
        }
    }

    fn lines_with(&self, words: &[&str]) -> usize {
        let lines = self.machine.logs("gate").unwrap().into_iter();
        lines.filter(|line| words.iter().all(|word| line.contains(word))).count()
    }

    pub fn console(&self) -> Option<u32> {
        self.machine.status().unwrap().unit("console").unwrap().pid
    }

    /// Calls `what`, after which the console must be another process.
    pub fn restarts_console(&self, what: impl FnOnce()) {
        let before = self.console();
        what();
        let again = |status: &Status| {
            let unit = status.unit("console").unwrap();
            unit.state == UnitState::Ready && unit.pid != before
        };
        self.machine.wait_status("another console", SOON, again).unwrap();
    }

    /// The gate's process id. It was not restarted, and the box is ready.
    pub fn gate(&self) -> u32 {
        let status = self.machine.wait_ready(SOON).unwrap();
        let gate = status.unit("gate").unwrap();
        assert_eq!(gate.restarts, 0, "{gate:?}");
        gate.pid.unwrap()
    }
}
