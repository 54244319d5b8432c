//! Two people whose mailboxes are on two boards write to each other, and one of the boards loses its power; then one
//! of them runs a board by letter. It needs
//! the kernels of three machines, the rules between them and a disk that is cut, so it cannot be in process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::SystemTime;

use memchr::memmem;
use octet_control::PublicKey;
use octet_machine::panel::{Host, Mac};
use octet_machine::{Node, Socket};
use octet_node::durable::Existing;
use octet_node::key;
use octet_tests::{DiskFile, USED, octet_msg, shipped};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::site::{Site, address, text};
use crate::cluster::uplink::kill;

/// The line of `appliance.toml`, as far as it counts here: devices in the lan reach mailboxes.
const LINES: &str = r#"
[[policy]]
from = ["boards", "lan"]
to = ["boards", "uplink"]
protocol = "udp"
ports = [4434]
"#;

/// Where a mailbox is reached.
const LETTERS: u16 = 4434;

/// Ports of the box, and the boards that are on.
const PORTS: u8 = 4;
const BOARDS: [u8; 2] = [1, 2];

/// The router's card for the owner's devices, one of these, and the router as it knows it.
const LAN: u8 = PORTS + 1;
const DEVICE: Ipv4Addr = Ipv4Addr::new(10, 20, 250, 77);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 20, 250, 1);

/// Long enough to be looked for on a disk.
const FIRST: &str = "are you there? I am at the old mill";

/// Somebody who has `octet-msg`, and a folder for it: each time it is another process.
struct Person {
    folder: TempDir,
    name: String,
}

impl Person {
    /// Somebody new, whose mailboxes do not know them yet.
    fn new(mailboxes: &[String]) -> Self {
        let mut person = Self { folder: tempfile::tempdir().unwrap(), name: String::new() };
        std::fs::write(person.passphrase(), "correct horse battery staple\n").unwrap();
        let mut words = vec!["init"];
        words.extend(mailboxes.iter().flat_map(|mailbox| ["--mailbox", mailbox.as_str()]));
        let said = person.run(&words);
        assert!(said.status.success(), "{said:?}");
        let people = person.say(&["people"]);
        person.name = people.trim().strip_prefix("you: ").unwrap().to_owned();
        person
    }

    fn passphrase(&self) -> PathBuf {
        self.folder.path().join("its passphrase")
    }

    /// The file of a key as operators have one.
    fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(octet_msg());
        command.arg("--folder").arg(self.folder.path().join("letters"));
        command.arg("--passphrase-file").arg(self.passphrase()).args(words);
        let output = command.output().unwrap();
        println!(
            "{words:?}: {}",
            String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat())
        );
        output
    }

    /// What it says.
    fn say(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn knows(&self, other: &Self, alias: &str) {
        let invite = other.say(&["invite", "--line"]);
        self.say(&["add", alias, invite.trim()]);
    }

    /// Writes `text`, and tries again until it `is_left`, by what was said last.
    fn writes(&self, site: &Site, to: &str, text: &str, is_left: impl Fn(&Output) -> bool) {
        let mut said = self.run(&["send", to, text]);
        site.wait("it lies there", || {
            is_left(&said) || {
                said = self.run(&["receive"]);
                false
            }
        });
    }

    /// Receives until so many letters were shown as there are `texts`: they are these.
    fn is_shown(&self, site: &Site, texts: &[&str]) {
        let mut shown = vec![];
        site.wait("letters are shown", || {
            // A mailbox is not always reached in time.
            shown.extend(lines(&self.run(&["receive"]).stdout));
            shown.len() >= texts.len()
        });
        assert_eq!(shown, texts);
    }

    /// Receives until all mailboxes have answered: nothing is shown.
    fn is_shown_nothing(&self, site: &Site) {
        site.wait("all mailboxes are reached", || {
            let output = self.run(&["receive"]);
            assert_eq!(lines(&output.stdout), [""; 0]);
            output.stderr.is_empty()
        });
    }
}

/// Receives until the box has answered, and returns that.
fn answer(site: &Site, person: &Person) -> String {
    let mut said = String::new();
    site.wait("the box answers", || {
        said = String::from_utf8(person.run(&["receive"]).stdout).unwrap();
        said.contains(" box: ")
    });
    said
}

/// The box is run by letter: by its operator, and once.
fn is_run_by_letter(site: &Site, at: &str, operator: &Person, stranger: &Person) {
    let invite = ask(site, 2, "invite", json!({ "at": at }))["invite"].clone();
    for person in [operator, stranger] {
        person.say(&["add", "box", invite.as_str().unwrap()]);
    }
    let command = |person: &Person| {
        let key = person.key().to_str().unwrap().to_owned();
        person.say(&["command", "--key", &key, "box", "status"]);
        answer(site, person)
    };
    let early = command(operator);
    assert!(early.contains("the time is not trusted"), "{early}");
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    site.ask(Node::Board(2), "gate", "trust-time", json!({ "time": time }));
    let status = command(operator);
    assert!(status.contains("\"board\": 2"), "{status}");

    // What an operator who may only read is told to be possible, and nothing else.
    let key = operator.key().to_str().unwrap().to_owned();
    operator.say(&["command", "--key", &key, "box", "help"]);
    let help = answer(site, operator);
    for verb in ["init status", "messenger mailboxes: ", "cache ls", "gate verbs "] {
        assert!(help.contains(verb), "{verb}: {help}");
    }
    for verb in ["messenger admit", "init reboot", "gate run", "gate trust-time"] {
        assert!(!help.contains(verb), "{verb}: {help}");
    }

    // The other board, by this one.
    let other = site.ask(Node::Board(1), "gate", "show", json!({}))["node"].clone();
    site.ask(Node::Board(1), "gate", "trust-time", json!({ "time": time }));
    operator.say(&["command", "--key", &key, "--board", other.as_str().unwrap(), "box", "status"]);
    let status = answer(site, operator);
    assert!(status.contains("\"board\": 1"), "{status}");

    // The same signed text again, and another's.
    let history = lines(operator.say(&["history", "box"]).as_bytes());
    let mut signed = history.iter().filter_map(|line| line.strip_prefix("to box: "));
    operator.say(&["send", "box", signed.next_back().unwrap()]);
    let again = answer(site, operator);
    assert!(again.contains("run before"), "{again}");
    let refused = command(stranger);
    assert!(refused.contains("is no operator of this box"), "{refused}");
}

/// What stands behind the time of each line.
fn lines(said: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(said)
        .lines()
        .map(|line| line.split_once(' ').unwrap().1.to_owned())
        .collect()
}

/// What the mailbox on a board answers.
fn ask(site: &Site, board: u8, verb: &str, args: Value) -> Value {
    site.ask(Node::Board(board), "messenger", verb, args)
}

#[test]
fn letters_come_once_and_in_order_when_a_board_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let key = key::make(&folder.path().join("key"), Existing::Keep, |_| Ok(())).unwrap();
    let operator = format!(
        "[operator]\nkeys = [{{ key = \"{}\", name = \"anna\", may = [\"read\"] }}]\n",
        key.public()
    );
    let site = Site::new(PORTS, &text(PORTS, &format!("{LINES}{operator}")));
    let disks = BOARDS.map(|board| (Node::Board(board), DiskFile::flashed(&shipped(), USED)));
    site.power_on(Node::Router);
    for (board, disk) in &disks {
        site.power_on_with(*board, disk);
    }
    site.wait_ready(Node::Router);
    for (board, _) in &disks {
        site.wait_ready(*board);
    }
    let port = site.cluster.be(9, Socket::Router(LAN)).unwrap();
    let device = Host::start_behind(port, Mac::number(77), (DEVICE, 24), ROUTER);
    let mailboxes = BOARDS.map(|board| {
        let mut shown = json!({});
        site.wait("a mailbox has its key", || {
            shown = ask(&site, board, "status", json!({}));
            !shown["mailbox"].is_null()
        });
        let at = SocketAddr::new(IpAddr::V4(address(board)), LETTERS);
        let at = device.hand_on(at).unwrap();
        format!("{}@{at}", shown["mailbox"].as_str().unwrap())
    });

    // Both make their keys, are let in, and leave some at each mailbox.
    let (anna, ben) = (Person::new(&mailboxes), Person::new(&mailboxes));
    for person in [&anna, &ben] {
        for board in BOARDS {
            ask(&site, board, "admit", json!({ "name": person.name }));
        }
        person.is_shown_nothing(&site);
    }
    for board in BOARDS {
        let idle = site.machine(Node::Board(board)).status().unwrap();
        println!("board {board}: {:?} bytes", idle.unit("messenger").and_then(|unit| unit.memory));
    }

    // Ben is away when Anna writes to him for the first time, and then his first mailbox is gone, which is hers, too.
    anna.knows(&ben, "ben");
    let everywhere = |said: &Output| said.stderr.is_empty();
    let at_board_2 = |letters: u64| {
        let site = &site;
        move |_: &Output| ask(site, 2, "status", json!({}))["letters"] == letters
    };
    anna.writes(&site, "ben", FIRST, everywhere);
    anna.writes(&site, "ben", "it is me", everywhere);
    site.cluster.cut_power(Node::Board(1)).unwrap();
    anna.writes(&site, "ben", "anna", at_board_2(3));
    // The other's process is killed, which is less.
    kill(&site, Node::Board(2), "messenger");
    site.wait("the other mailbox is there again", || {
        !ask(&site, 2, "status", json!({}))["mailbox"].is_null()
    });

    // On the disk of that mailbox it is seen whose it is, and not what was written to him.
    let on_disk = std::fs::read(disks[0].1.path()).unwrap();
    let is_there = |bytes: &[u8]| memmem::find(&on_disk, bytes).is_some();
    let name = ben.name.parse::<PublicKey>().unwrap();
    assert!(is_there(name.as_bytes()), "the search finds what is there");
    assert!(!is_there(FIRST.as_bytes()));

    // He comes back, and answers.
    let from = |text: &str| format!("{}: {text}", anna.name);
    ben.is_shown(&site, &[FIRST, "it is me", "anna"].map(from).each_ref().map(String::as_str));
    ben.knows(&anna, "anna");
    ben.writes(&site, "anna", "yes, I am", at_board_2(1));
    anna.is_shown(&site, &["ben: yes, I am"]);

    // The board is there again, with what it kept: it is shown to nobody a second time.
    site.power_on_with(disks[0].0, &disks[0].1);
    site.wait_ready(disks[0].0);
    ben.is_shown_nothing(&site);
    anna.is_shown_nothing(&site);
    anna.writes(&site, "ben", "good", everywhere);
    ben.is_shown(&site, &["anna: good"]);
    let history = lines(ben.say(&["history"]).as_bytes());
    let all = ["anna: it is me", "anna: anna", "to anna: yes, I am", "anna: good"];
    assert_eq!(history, [&[format!("anna: {FIRST}")], &all.map(str::to_owned)[..]].concat());

    std::fs::copy(folder.path().join("key"), anna.key()).unwrap();
    key::make(&ben.key(), Existing::Keep, |_| Ok(())).unwrap();
    let (_, at) = mailboxes[1].split_once('@').unwrap();
    is_run_by_letter(&site, at, &anna, &ben);
}
