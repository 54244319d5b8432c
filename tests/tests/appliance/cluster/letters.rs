//! Two people whose mailboxes are on two boards write to each other, and one of the boards loses its power; then one
//! of them runs a board by letter.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use memchr::memmem;
use octet_control::PublicKey;
use octet_machine::panel::{Host, Mac};
use octet_machine::{Node, Socket};
use octet_node::durable::ExistingFile;
use octet_node::durable::StoredFile;
use octet_node::key::{self, PrivateKey};
use octet_node::words::Words;
use octet_tests::{DiskFile, octet_msg};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::served::PORTS;
use crate::cluster::site::{Site, address};
use crate::cluster::uplink::kill;

/// The line of `appliance.toml`, as far as it counts here: devices in the lan reach mailboxes.
pub const LINES: &str = r#"
[[policy]]
from = ["boards", "lan"]
to = ["boards", "uplink"]
protocol = "udp"
ports = [4434]
"#;

/// Where a mailbox is reached.
const LETTERS: u16 = 4434;

/// The boards that have the mailboxes.
pub const BOARDS: [u8; 2] = [1, 2];

/// The router's card for the owner's devices, one of these, and the router as it knows it.
const LAN: u8 = PORTS + 1;
const DEVICE: Ipv4Addr = Ipv4Addr::new(10, 20, 250, 77);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 20, 250, 1);

/// How often it is looked whether something lies there, before what was not left is tried again.
const LOOKS: u32 = 20;

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
    let something_lies_there = || {
        BOARDS.iter().any(|board| {
            let shown = ask(site, *board, "mailboxes", json!({}));
            let mut rows = shown.as_array().unwrap().iter();
            rows.any(|row| row["name"] == person.name && row["messages"] != 0)
        })
    };
    let (mut said, mut looks) = (String::new(), 0);
    site.wait("the box answers", || {
        looks += 1;
        // Each try makes a key of the passphrase, which is meant to take long; but what no mailbox has taken in time is
        // tried again by nothing else.
        if !something_lies_there() && looks % LOOKS != 0 {
            return false;
        }
        said = String::from_utf8(person.run(&["receive"]).stdout).unwrap();
        said.contains(" box: ")
    });
    said
}

/// Files of keys: of an operator who may read, of one who may operate the messenger, and of nobody.
pub struct Keys(TempDir);

impl Keys {
    /// New ones, and the lines of `appliance.toml` that name the operators.
    pub fn new() -> (Self, String) {
        let keys = Self(tempfile::tempdir().unwrap());
        let make =
            |name| key::make(&keys.path(name), ExistingFile::Keep, |_| Ok(())).unwrap().public();
        let [reads, operates, _] = ["reads", "operates", "nobody"].map(make);
        let lines = format!(
            "[operator]\nkeys = [\n  {{ key = \"{reads}\", name = \"anna\", may = [\"read\"] }},\n  \
             {{ key = \"{operates}\", name = \"ben\", may = [\"operate:messenger\"] }},\n]\n"
        );
        (keys, lines)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> PrivateKey {
        let StoredFile::Value(key) = key::read(&self.path(name)).unwrap() else { panic!("{name}") };
        key
    }
}

/// Board 2 is run by letter: by its operators, by each as far as they may, and once.
fn is_run_by_letter(site: &Site, at: &str, keys: &Keys, anna: &Person, ben: &Person) {
    let invite = ask(site, 2, "invite", json!({ "at": at }))["invite"].clone();
    for person in [anna, ben] {
        person.say(&["add", "box", invite.as_str().unwrap()]);
    }
    let command = |person: &Person, key: &str, words: &[&str]| {
        let key = keys.path(key).to_str().unwrap().to_owned();
        person.say(&[&["command", "--key", &key], words].concat());
        answer(site, person)
    };
    let trust = |board: u8, time: SystemTime| {
        let time = humantime::format_rfc3339_seconds(time).to_string();
        site.ask(Node::Board(board), "gate", "trust-time", json!({ "time": time }));
    };
    // A receipt of Ben's may lie there, and is taken for no answer.
    anna.is_shown_nothing(site);
    let early = command(anna, "reads", &["box", "status"]);
    assert!(early.contains("the time is not trusted"), "{early}");
    BOARDS.iter().for_each(|board| trust(*board, SystemTime::now()));
    let status = command(anna, "reads", &["box", "status"]);
    assert!(status.contains("\"board\": 2"), "{status}");
    // The same signed text again.
    anna.say(&["send", "box", &last_to_box(anna)]);
    let again = answer(site, anna);
    assert!(again.contains("run before"), "{again}");

    // Each may what it may.
    let help = command(anna, "reads", &["box", "help"]);
    for verb in ["init status", "messenger mailboxes: ", "cache ls", "gate verbs "] {
        assert!(help.contains(verb), "{verb}: {help}");
    }
    let admit = ["box", "messenger", "admit", &format!("name={}", anna.name)];
    let refused = command(anna, "reads", &admit);
    assert!(refused.contains("needs `operate`"), "{refused}");
    assert!(!command(ben, "operates", &admit).contains("not done"));
    let refused = command(ben, "operates", &["box", "status"]);
    assert!(refused.contains("needs `read`"), "{refused}");
    for key in ["reads", "operates"] {
        is_offered_what_it_may(site, &keys.read(key));
    }

    // The other board, by this one; and none of the box.
    let other = site.ask(Node::Board(1), "gate", "show", json!({}))["node"].clone();
    let to_board = |node: &str| {
        let mut said = String::new();
        // A board that is not reached in time may have done it or not.
        site.wait("what came of it is known", || {
            said = command(anna, "reads", &["--board", node, "box", "status"]);
            !said.contains("not known whether")
        });
        said
    };
    let status = to_board(other.as_str().unwrap());
    assert!(status.contains("\"board\": 1"), "{status}");
    let refused = to_board(&anna.name);
    assert!(refused.contains("not done"), "{refused}");

    // What nobody's key has signed is not answered: the first answer is that of the next command. And one whose time has
    // gone by.
    let nobody = keys.path("nobody");
    ben.say(&["command", "--key", nobody.to_str().unwrap(), "box", "status"]);
    let refused = command(ben, "operates", &["box", "status"]);
    assert!(refused.contains("needs `read`"), "{refused}");
    trust(2, SystemTime::now() + Duration::from_secs(3_600));
    let refused = command(anna, "reads", &["--for", "10m", "box", "status"]);
    assert!(refused.contains("has expired"), "{refused}");
    let status = command(anna, "reads", &["--for", "2h", "box", "status"]);
    assert!(status.contains("\"board\": 2"), "{status}");
}

/// What `person` has written to the box last.
fn last_to_box(person: &Person) -> String {
    let history = lines(person.say(&["history", "box"]).as_bytes());
    let mut signed = history.iter().filter_map(|line| line.strip_prefix("to box: "));
    signed.next_back().unwrap().to_owned()
}

/// The gate of board 2 lists to the operator with `key` what it does for it, and nothing else: every verb of every unit
/// is asked for, with an argument that none has.
fn is_offered_what_it_may(site: &Site, key: &PrivateKey) {
    let board = Node::Board(2);
    let node = site.ask(board, "gate", "show", json!({}))["node"].clone();
    let bring = |unit: &str, verb: &str, argument: &str| {
        let (target, unit) = (node.as_str().unwrap().parse().unwrap(), unit.parse().unwrap());
        let (args, good_for) = ([argument.to_owned()], Duration::from_secs(600));
        let words = Words { target, unit: &unit, verb, args: &args, good_for };
        let text = words.sign(key).unwrap();
        site.machine(board).call_unit("gate", "run", json!({ "command": text }))
    };
    let verbs = |text: &Value| -> BTreeSet<String> {
        let line = |line: &str| line.split([' ', ':']).take(2).collect::<Vec<_>>().join(" ");
        text.as_str().unwrap().lines().map(line).collect()
    };
    let told = verbs(&bring("gate", "verbs", "signed=true").unwrap());
    let all = verbs(&site.ask(board, "gate", "verbs", json!({ "signed": true })));
    println!("{} of {} verbs: {told:?}", told.len(), all.len());
    assert!(told.is_subset(&all) && told.len() < all.len());
    for name in &all {
        let (unit, verb) = name.split_once(' ').unwrap();
        let refused = format!("{:?}", bring(unit, verb, "other=1").unwrap_err());
        let why = if told.contains(name) { "takes no argument `other`" } else { "needs `" };
        assert!(refused.contains(why), "{name}: {refused}");
    }
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

/// All of it: they come once and in order when a board is off. The boards' `disks` are those of [`BOARDS`].
pub fn passes(site: &Site, disks: &[(Node, DiskFile); 2], keys: &Keys) {
    let port = site.cluster.be(9, Socket::Router(LAN)).unwrap();
    let device = Host::start_behind(port, Mac::number(77), (DEVICE, 24), ROUTER);
    let mailboxes = BOARDS.map(|board| {
        let mut shown = json!({});
        site.wait("a mailbox has its key", || {
            shown = ask(site, board, "status", json!({}));
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
            ask(site, board, "admit", json!({ "name": person.name }));
        }
        person.is_shown_nothing(site);
    }
    for board in BOARDS {
        let idle = site.machine(Node::Board(board)).status().unwrap();
        println!("board {board}: {:?} bytes", idle.unit("messenger").and_then(|unit| unit.memory));
    }

    // Ben is away when Anna writes to him for the first time, and then his first mailbox is gone, which is hers, too.
    anna.knows(&ben, "ben");
    let everywhere = |said: &Output| said.stderr.is_empty();
    let at_board_2 =
        |letters: u64| move |_: &Output| ask(site, 2, "status", json!({}))["messages"] == letters;
    anna.writes(site, "ben", FIRST, everywhere);
    anna.writes(site, "ben", "it is me", everywhere);
    site.cluster.cut_power(Node::Board(1)).unwrap();
    anna.writes(site, "ben", "anna", at_board_2(3));
    // The other's process is killed, which is less.
    kill(site, Node::Board(2), "messenger");
    site.wait("the other mailbox is there again", || {
        !ask(site, 2, "status", json!({}))["mailbox"].is_null()
    });

    // On the disk of that mailbox it is seen whose it is, and not what was written to him.
    let on_disk = std::fs::read(disks[0].1.path()).unwrap();
    let is_there = |bytes: &[u8]| memmem::find(&on_disk, bytes).is_some();
    let name = ben.name.parse::<PublicKey>().unwrap();
    assert!(is_there(name.as_bytes()), "the search finds what is there");
    assert!(!is_there(FIRST.as_bytes()));

    // He comes back, and answers.
    let from = |text: &str| format!("{}: {text}", anna.name);
    ben.is_shown(site, &[FIRST, "it is me", "anna"].map(from).each_ref().map(String::as_str));
    ben.knows(&anna, "anna");
    ben.writes(site, "anna", "yes, I am", at_board_2(1));
    anna.is_shown(site, &["ben: yes, I am"]);

    // The board is there again, with what it kept: it is shown to nobody a second time.
    site.power_on_with(disks[0].0, &disks[0].1);
    site.wait_ready(disks[0].0);
    ben.is_shown_nothing(site);
    anna.is_shown_nothing(site);
    anna.writes(site, "ben", "good", everywhere);
    ben.is_shown(site, &["anna: good"]);
    let history = lines(ben.say(&["history"]).as_bytes());
    let all = ["anna: it is me", "anna: anna", "to anna: yes, I am", "anna: good"];
    assert_eq!(history, [&[format!("anna: {FIRST}")], &all.map(str::to_owned)[..]].concat());

    let (_, at) = mailboxes[1].split_once('@').unwrap();
    is_run_by_letter(site, at, keys, &anna, &ben);
}
