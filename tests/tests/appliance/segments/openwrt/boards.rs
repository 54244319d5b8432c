//! Boards with Octet at the ports of a router that is none of ours: they have their addresses from it, become one box
//! whose map one of them holds, and their owner reaches each of them by that one.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use octet_appliance::{Appliance, SETTINGS};
use octet_machine::panel::{Host, Mac};
use octet_machine::{Machine, State};
use octet_tests::{Image, Output, Owner, RETRY_DELAY, Remake, SOON, shipped};
use serde_json::{Value, json};

use super::router::Router;

/// Their numbers. The settings say that the first one holds the map.
const BOARDS: [u8; 3] = [1, 2, 3];

/// The name of the owner's key.
pub const KEY: &str = "anna";

const GATE: u16 = 4040;

/// MiB of each.
const MEMORY: u32 = 256;

/// As in `cluster::site`: a clock that the kernel measures while the host is busy runs too fast.
const CLOCK: &str = "clocksource=hpet";

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
            std::thread::sleep(RETRY_DELAY);
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
                && row["has_map"] == manager["sequence"]
                && own["state"] == "enrolled"
                && own["coordinator"] == manager["node"]
                && own["sequence"] == manager["sequence"]
        };
        let is_whole = row(BOARDS[0])["state"] == "coordinator"
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
/// on what he says. `keys` are the boards'. Returns the box, as he names it.
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
            // Known from now on; and his network does not reach it otherwise.
            let again =
                owner.ask(KEY, &["--box", &named, "--board", &number.to_string(), "status"]);
            assert_eq!(again.status, Some(0), "board {number}: {}", again.stderr);
            assert!(device.connect((address(number), GATE).into()).is_err(), "board {number}");
        }
    }
    named
}

/// Boards send each other what the plan lets and denies, and what comes is as it says: `verify` has `octetctl openwrt verify`
/// with these words for the box asked. Then it is not, in three ways of which the router's configuration and what its
/// daemons say of themselves have nothing.
pub fn prove(router: &Router, verify: impl Fn() -> Output) {
    let asked = verify();
    assert_eq!(asked.status, Some(0), "{}{}", asked.stdout, asked.stderr);
    println!("{}", asked.stdout);
    let lines: Vec<_> = asked.stdout.lines().collect();
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let begin = lines.iter().position(|it| it.trim_start().starts_with("board-1 ")).unwrap();
    assert_eq!(cells(lines[begin]), ["board-1", "board-2", "board-3", "router"]);
    // What has come, and what has not, from each to each.
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
    // Nobody can have a real one's switch do that.
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
    assert!(asked.stderr.contains(&format!("{} of what the plan says is not so", expected.len())));
}
