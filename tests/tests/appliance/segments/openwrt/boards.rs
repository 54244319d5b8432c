//! Boards with Octet at the ports of a router that does not run Octet: they get their addresses
//! from it, form a box with one of them as the coordinator, and their owner reaches each of them
//! through that one.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use octet_appliance::{Appliance, SETTINGS};
use octet_machine::panel::{Host, Mac};
use octet_machine::{Machine, State};
use octet_tests::{Image, Output, Owner, RETRY_DELAY, Remake, SOON, shipped};
use serde_json::{Value, json};

use super::router::Router;

/// The numbers of the boards. The settings name the first one as the manager.
const BOARDS: [u8; 3] = [1, 2, 3];

/// The name of the owner's key.
pub const KEY: &str = "anna";

const GATE: u16 = 4040;

/// The memory of each board, in MiB.
const MEMORY: u32 = 256;

/// As in `cluster::site`: another clock, calibrated while the host is busy, would run too fast.
const CLOCK: &str = "clocksource=hpet";

pub struct Boards {
    machines: [Machine; BOARDS.len()],
    _image: Image,
}

/// The section that makes `owner` an owner of the box.
pub fn operator(owner: &Owner) -> String {
    let key = owner.keygen(KEY);
    format!("[operator]\nkeys = [{{ key = {key:?}, name = {KEY:?}, may = [\"own\"] }}]\n")
}

/// The address of board `number`.
fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 20, number, 2)
}

impl Boards {
    /// Powers them on with the settings `text`, without cables. They use the slot of the router's
    /// image, which is built already.
    pub fn start(text: &str) -> Self {
        let settings = Appliance::parse("appliance.toml", text).unwrap();
        let settings = serde_json::to_vec(&settings).unwrap();
        // As in `cluster::site`: forward has tests of its own, and is placed on a board that does
        // not exist.
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

    /// Connects each to the port of its number, in place of the previous host.
    pub fn plug_into(&self, router: &Router) {
        for (number, machine) in BOARDS.into_iter().zip(&self.machines) {
            router.plug(&format!("lan{number}"), machine.port(0).unwrap());
            carrier(machine, true);
        }
    }

    /// Waits until each knows its number and all have the map of the first one. Returns their node
    /// keys.
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
            std::thread::sleep(RETRY_DELAY);
        }
    }

    /// The node keys of all boards, once all have the same map.
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
                && row["has_map"] == manager["sequence"]
                && own["state"] == "enrolled"
                && own["coordinator"] == manager["node"]
                && own["sequence"] == manager["sequence"]
        };
        let is_whole = row(BOARDS[0])["state"] == "coordinator"
            && BOARDS[1..].iter().copied().zip(&others).all(has_it);
        is_whole.then(|| BOARDS.map(|number| row(number)["node"].as_str().unwrap().to_owned()))
    }

    /// The state of the boards, for the message of a failed test.
    fn told(&self) -> String {
        let of = |machine: &Machine| {
            let lan = machine.call_unit("lan", "show", json!({})).unwrap_or_default();
            format!("{}\n{lan}\n{}\n", shown(machine), machine.tail(10))
        };
        self.machines.iter().map(of).collect()
    }
}

/// A board's answer of `cluster show`; null while it does not answer.
fn shown(machine: &Machine) -> Value {
    machine.call_unit("cluster", "show", json!({})).unwrap_or_default()
}

/// Sets the carrier of a board's card.
fn carrier(machine: &Machine, is_there: bool) {
    machine.qmp("set_link", json!({ "name": "wire0", "up": is_there })).unwrap();
}

/// `owner` at `device` queries each board: the router allows access to the first one only, which
/// relays the others. `keys` are the boards' keys. Returns the name of the box for `octetctl`.
pub fn answer(owner: &Owner, device: &Host, keys: &[String; BOARDS.len()]) -> String {
    let [manager, ..] = BOARDS;
    let gate = device.forward_tcp(SocketAddr::from((address(manager), GATE))).unwrap();
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
            // The board is known from now on; it is not reachable directly.
            let again =
                owner.ask(KEY, &["--box", &named, "--board", &number.to_string(), "status"]);
            assert_eq!(again.status, Some(0), "board {number}: {}", again.stderr);
            assert!(device.connect((address(number), GATE).into()).is_err(), "board {number}");
        }
    }
    named
}

/// The boards send each other packets that the plan allows and denies, and the results match:
/// `verify` runs `octetctl openwrt verify` for the box. Then the switch is broken in three ways
/// that neither the router's configuration nor its daemons show.
pub fn prove(router: &Router, verify: impl Fn() -> Output) {
    let asked = verify();
    assert_eq!(asked.status, Some(0), "{}{}", asked.stdout, asked.stderr);
    println!("{}", asked.stdout);
    let lines: Vec<_> = asked.stdout.lines().collect();
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let begin = lines.iter().position(|it| it.trim_start().starts_with("board-1 ")).unwrap();
    assert_eq!(cells(lines[begin]), ["board-1", "board-2", "board-3", "router"]);
    // The results of all pairs.
    for (number, line) in BOARDS.into_iter().zip(&lines[begin + 1..]) {
        let cells = cells(line);
        assert_eq!(
            (cells[0].as_str(), cells[usize::from(number)].as_str()),
            (&*format!("board-{number}"), "-")
        );
        for cell in cells[1..].iter().filter(|it| *it != "-") {
            let (came, sent) = cell.split_once('/').unwrap();
            let (came, sent): (u32, u32) = (came.parse().unwrap(), sent.parse().unwrap());
            assert!(came < sent, "{cell}");
        }
    }
    assert!(asked.stdout.contains("board-4 has sent nothing"));
    assert!(asked.stdout.ends_with("The router is as the plan says\n"));

    router.paste(
        "nft insert rule inet fw4 forward iifname br-lan.1003 oifname br-lan.1001 tcp dport 22 accept\n\
         nft insert rule inet fw4 forward iifname br-lan.1001 oifname br-lan.1002 tcp dport 8080 drop",
    );
    let mut expected = vec![
        "board-1 does not reach board-2 by tcp/8080 (IPv4), which policy 1 lets",
        "board-3 reaches board-1 by tcp/22 (IPv4), which no policy allows",
    ];
    // A real router's switch cannot be broken on demand.
    if router.is_double {
        router.paste("leak lan1 lan2");
        let shout = "THE SWITCH DOES NOT KEEP BOARDS APART, whatever is configured: frames go past the router, where no \
                     rule is asked, from board-1 to board-2";
        expected.insert(0, shout);
    }
    let asked = verify();
    assert_eq!(asked.status, Some(1), "{}{}", asked.stdout, asked.stderr);
    println!("{}", asked.stdout);
    let found = asked.stdout.lines().skip_while(|it| !expected.contains(it));
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert!(asked.stderr.contains(&format!("{} differences from the plan", expected.len())));
}
