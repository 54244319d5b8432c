//! Boards with Octet at the ports of a router that is none of ours: they have their addresses from it, become one box
//! whose map one of them holds, and their owner reaches each of them by that one.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use octet_appliance::{Appliance, SETTINGS};
use octet_machine::panel::{Host, Mac};
use octet_machine::{Machine, State};
use octet_tests::{Image, Owner, PAUSE, Remake, SOON, shipped};
use serde_json::{Value, json};

use super::router::Router;

/// Their numbers. The settings say that the first one holds the map.
const BOARDS: [u8; 3] = [1, 2, 3];

/// The name of the owner's key.
const KEY: &str = "anna";

/// Where gates are (TCP).
const GATE: u16 = 4040;

/// MiB of each.
const MEMORY: u32 = 256;

/// As in `cluster::site`: a clock that the kernel measures while the host is busy runs too fast.
const CLOCK: &str = "clocksource=hpet";

/// The boards.
pub struct Boards {
    machines: [Machine; BOARDS.len()],
    _image: Image,
}

/// The section by which `owner` may do everything with the box.
pub fn operator(owner: &Owner) -> String {
    let key = owner.keygen(KEY);
    format!("[operator]\nkeys = [{{ key = {key:?}, name = {KEY:?}, may = [\"own\"] }}]\n")
}

/// Where board `number` is.
fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 20, number, 2)
}

impl Boards {
    /// Powers them on with the settings `text`. They have no cables yet. They are of the router's slot, which is there
    /// already: one for the whole box.
    pub fn start(text: &str) -> Self {
        let settings = Appliance::parse("appliance.toml", text).unwrap();
        let settings = serde_json::to_vec(&settings).unwrap();
        // As in `cluster::site`: forward has tests of its own, and is on a board that is not there.
        let image = Remake::of(&shipped()).file(SETTINGS, 0o644, settings).change_units(|unit| {
            if unit["name"] == "forward" {
                unit["boards"] = json!([32]);
            }
        });
        let image = image.image();
        let machines = BOARDS.map(|number| {
            let machine = image.machine().kernel_argument(CLOCK).memory(MEMORY).cpus(1);
            let machine = machine.nic(Mac::number(number)).unlimited().start().unwrap();
            carrier(&machine, false);
            machine
        });
        Self { machines, _image: image }
    }

    /// Plugs each into the port of its number, in the place of who was there.
    pub fn plug_into(&self, router: &Router) {
        for (number, machine) in BOARDS.into_iter().zip(&self.machines) {
            router.plug(&format!("lan{number}"), machine.port(0).unwrap());
            carrier(machine, true);
        }
    }

    /// Waits until each knows its number and all have the map of the first one. Returns their node keys.
    pub fn wait_whole(&self) -> [String; BOARDS.len()] {
        for (number, machine) in BOARDS.into_iter().zip(&self.machines) {
            let is_it = |status: &octet_machine::Status| {
                status.state == State::Ready && status.board == Some(number.into())
            };
            let status = machine.wait_status("ready, with its number", SOON, is_it);
            status.unwrap_or_else(|error| panic!("board {number}: {error}\n{}", self.told()));
        }
        let until = Instant::now() + SOON;
        loop {
            if let Some(keys) = self.keys() {
                return keys;
            }
            assert!(Instant::now() < until, "late: all have the manager's map\n{}", self.told());
            std::thread::sleep(PAUSE);
        }
    }

    /// The node keys of all, once all have the same map.
    fn keys(&self) -> Option<[String; BOARDS.len()]> {
        let [manager, others @ ..] = self.machines.each_ref().map(shown);
        let row = |number: u8| {
            let mut rows = manager["boards"].as_array().into_iter().flatten();
            rows.find(|row| row["board"] == number).cloned().unwrap_or_default()
        };
        let has_it = |(number, own): (u8, &Value)| {
            let row = row(number);
            row["state"] == "enrolled"
                && row["connected"] == true
                && row["has map"] == manager["sequence"]
                && own["state"] == "enrolled"
                && own["holder"] == manager["node"]
                && own["sequence"] == manager["sequence"]
        };
        let is_whole = row(BOARDS[0])["state"] == "holder"
            && BOARDS[1..].iter().copied().zip(&others).all(has_it);
        is_whole.then(|| BOARDS.map(|number| row(number)["node"].as_str().unwrap().to_owned()))
    }

    /// What they say of the box, for people.
    fn told(&self) -> String {
        let of = |machine: &Machine| {
            let lan = machine.call_unit("lan", "show", json!({})).unwrap_or_default();
            format!("{}\n{lan}\n{}\n", shown(machine), machine.tail(10))
        };
        self.machines.iter().map(of).collect()
    }
}

/// What a board shows of the box; nothing as long as nobody answers.
fn shown(machine: &Machine) -> Value {
    machine.call_unit("cluster", "show", json!({})).unwrap_or_default()
}

/// Has a board see whether there is somebody at the other end of its cable.
fn carrier(machine: &Machine, is_there: bool) {
    machine.qmp("set_link", json!({ "name": "wire0", "up": is_there })).unwrap();
}

/// `owner` at `device` asks each board how it is: the router lets him speak with the first one alone, and that one hands
/// on what he says. `keys` are the boards'.
pub fn answer(owner: &Owner, device: &Host, keys: &[String; BOARDS.len()]) {
    let [manager, ..] = BOARDS;
    let gate = device.forward(SocketAddr::from((address(manager), GATE))).unwrap();
    let named = format!("{}@{gate}", keys[0]);
    for (number, key) in BOARDS.into_iter().zip(keys) {
        let board = format!("{number}={key}");
        let by: &[&str] = if number == manager { &[] } else { &["--board", &board] };
        let asked = owner.ask(KEY, &[&["--box", &named], by, &["status", "--json"]].concat());
        assert_eq!(asked.status, Some(0), "board {number}: {}", asked.stderr);
        let status: Value = serde_json::from_str(&asked.stdout).unwrap();
        assert_eq!(
            (&status["board"], &status["state"]),
            (&json!(number), &json!("ready")),
            "{status}"
        );
        if number != manager {
            // Known from now on; and his network does not reach it otherwise.
            let again =
                owner.ask(KEY, &["--box", &named, "--board", &number.to_string(), "status"]);
            assert_eq!(again.status, Some(0), "board {number}: {}", again.stderr);
            assert!(device.connect((address(number), GATE).into()).is_err(), "board {number}");
        }
    }
}
