//! Two people with mailboxes on two boards exchange messages, and one of the boards loses its
//! power. In the long tier it returns, and one of them operates a board by messages.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

use memchr::memmem;
use octet_control::PublicKey;
use octet_machine::panel::{Host, Mac};
use octet_machine::{Node, Socket};
use octet_node::durable::ExistingFile;
use octet_node::durable::StoredFile;
use octet_node::key::{self, PrivateKey};
use octet_node::words::Words;
use octet_tests::{DiskFile, octet_msg, soak};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::served::PORTS;
use crate::cluster::site::{Site, address};
use crate::cluster::uplink::kill;

/// The relevant policies of `appliance.toml`: devices in the lan reach mailboxes.
pub const LINES: &str = r#"
[[policy]]
from = ["boards", "lan"]
to = ["boards", "uplink"]
protocol = "udp"
ports = [4434]
"#;

/// The port of mailboxes.
const LETTERS: u16 = 4434;

/// The boards with mailboxes.
pub const BOARDS: [u8; 2] = [1, 2];

/// The router's card for the owner's devices, the address of a device, and the router's address
/// there.
pub const LAN: u8 = PORTS + 1;
const DEVICE: Ipv4Addr = Ipv4Addr::new(10, 20, 250, 77);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 20, 250, 1);

/// The number of polls for new messages before undelivered ones are retried.
const LOOKS: u32 = 20;

/// Long enough to be searched for on a disk.
const FIRST: &str = "are you there? I am at the old mill";

/// A user of `octet-msg` with a folder: each command is a new process.
struct Person {
    folder: TempDir,
    name: String,
}

impl Person {
    /// A new person, whose mailboxes do not exist yet.
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

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(octet_msg());
        command.arg("--folder").arg(self.folder.path().join("letters"));
        command.arg("--passphrase-file").arg(self.passphrase()).args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        let output = self.command(words).output().unwrap();
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

    /// Sends `text`, and retries until `is_left` is true for the output.
    fn writes(&self, site: &Site, to: &str, text: &str, is_left: impl Fn(&Output) -> bool) {
        let mut said = self.run(&["send", to, text]);
        site.wait("it lies there", || {
            is_left(&said) || {
                said = self.run(&["receive"]);
                false
            }
        });
    }

    /// Receives until as many messages as `texts` were shown: they must be these.
    fn is_shown(&self, site: &Site, texts: &[&str]) {
        let mut shown = vec![];
        site.wait("letters are shown", || {
            // A mailbox may be temporarily unreachable.
            shown.extend(lines(&self.run(&["receive"]).stdout));
            shown.len() >= texts.len()
        });
        assert_eq!(shown, texts);
    }

    /// Follows while `written` runs, and until one message is shown: it must be this text.
    fn is_shown_as_it_arrives(&self, site: &Site, text: &str, written: impl FnOnce()) {
        let mut follower = self.command(&["receive", "--follow"]).stdout(Stdio::piped()).spawn();
        let follower = follower.as_mut().unwrap();
        let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
        let (sender, shown) = channel();
        std::thread::spawn(move || sender.send(lines.next()));
        written();
        let mut line = None;
        site.wait("it is shown as it arrives", || {
            line = shown.try_recv().ok();
            line.is_some()
        });
        follower.kill().unwrap();
        follower.wait().unwrap();
        let line = line.unwrap().expect("it ended").unwrap();
        assert_eq!(self::lines(line.as_bytes()), [text]);
    }

    /// Receives until all mailboxes have answered: no message may be shown.
    fn is_shown_nothing(&self, site: &Site) {
        site.wait("all mailboxes are reached", || {
            let output = self.run(&["receive"]);
            assert_eq!(lines(&output.stdout), [""; 0]);
            output.stderr.is_empty()
        });
    }
}

/// Receives until the box has answered, and returns the answer.
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
        // Each attempt derives a key from the passphrase, which is deliberately slow; but it is
        // also the only retry of undelivered messages.
        if !something_lies_there() && looks % LOOKS != 0 {
            return false;
        }
        said = String::from_utf8(person.run(&["receive"]).stdout).unwrap();
        said.contains(" box: ")
    });
    said
}

/// The key files of an operator with `read`, of one with `operate` for the messenger, and of an
/// unknown person.
pub struct Keys(TempDir);

impl Keys {
    /// Generates the keys. Returns, too, the lines of `appliance.toml` with the operators and with
    /// the key `owner`.
    pub fn new(owner: &str) -> (Self, String) {
        let keys = Self(tempfile::tempdir().unwrap());
        let make =
            |name| key::create(&keys.path(name), ExistingFile::Keep, |_| Ok(())).unwrap().public();
        let [reads, operates, _] = ["reads", "operates", "nobody"].map(make);
        let lines = format!(
            "[operator]\nkeys = [\n  {{ key = \"{reads}\", name = \"anna\", may = [\"read\"] }},\n  \
             {{ key = \"{operates}\", name = \"ben\", may = [\"operate:messenger\"] }},\n  \
             {{ key = \"{owner}\", name = \"owner\", may = [\"own\"] }},\n]\n"
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

/// Operators run commands on board 2 by messages: each as far as permitted, and each command once.
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
    // An acknowledgement for Ben may be there, and is not an answer.
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

    // Each operator may call the permitted verbs.
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

    // A command for the other board is relayed by this one; one for a node outside the box is
    // refused.
    let other = site.ask(Node::Board(1), "gate", "show", json!({}))["node"].clone();
    let to_board = |node: &str| {
        let mut said = String::new();
        // A board that is not reached in time may have run the command or not.
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

    // A command of an unknown key is not answered: the first answer belongs to the next command.
    // Nor is an expired one run.
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

/// The last text that `person` has sent to the box.
fn last_to_box(person: &Person) -> String {
    let history = lines(person.say(&["history", "box"]).as_bytes());
    let mut signed = history.iter().filter_map(|line| line.strip_prefix("to box: "));
    signed.next_back().unwrap().to_owned()
}

/// The gate of board 2 lists exactly the verbs that the operator with `key` may call: every verb of
/// every unit is tried, with an argument that no verb has.
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

/// The text of each line after its time.
fn lines(said: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(said)
        .lines()
        .map(|line| line.split_once(' ').unwrap().1.to_owned())
        .collect()
}

/// The answer of the messenger on a board.
fn ask(site: &Site, board: u8, verb: &str, args: Value) -> Value {
    site.ask(Node::Board(board), "messenger", verb, args)
}

/// The whole test: messages arrive once and in order even if a board is off. `disks` are the disks
/// of the boards [`BOARDS`]; `while_off` runs while board 1 is off, with a device in the lan.
pub fn passes(
    site: &Site,
    disks: &[(Node, DiskFile); 2],
    keys: &Keys,
    while_off: impl FnOnce(&Host),
) {
    let port = site.cluster.attach(9, Socket::Router(LAN)).unwrap();
    let device = Host::start_behind(port, Mac::number(77), (DEVICE, 24), ROUTER);
    let mailboxes = BOARDS.map(|board| {
        let mut shown = json!({});
        site.wait("a mailbox has its key", || {
            shown = ask(site, board, "status", json!({}));
            !shown["mailbox"].is_null()
        });
        let at = SocketAddr::new(IpAddr::V4(address(board)), LETTERS);
        let at = device.forward_udp(at).unwrap();
        format!("{}@{at}", shown["mailbox"].as_str().unwrap())
    });

    // Both generate keys, get mailboxes, and publish keys at each of them.
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

    // Ben is offline when Anna writes to him for the first time; then his first mailbox, which is
    // hers as well, loses its power.
    anna.knows(&ben, "ben");
    let everywhere = |said: &Output| said.stderr.is_empty();
    let at_board_2 =
        |letters: u64| move |_: &Output| ask(site, 2, "status", json!({}))["messages"] == letters;
    anna.writes(site, "ben", FIRST, everywhere);
    anna.writes(site, "ben", "it is me", everywhere);
    site.cluster.cut_power(Node::Board(1)).unwrap();
    anna.writes(site, "ben", "anna", at_board_2(3));
    // The process of the other mailbox is killed, which is less severe.
    kill(site, Node::Board(2), "messenger");
    site.wait("the other mailbox is there again", || {
        !ask(site, 2, "status", json!({}))["mailbox"].is_null()
    });

    // The disk of that mailbox shows its owners, but not the texts.
    let on_disk = std::fs::read(disks[0].1.path()).unwrap();
    let is_there = |bytes: &[u8]| memmem::find(&on_disk, bytes).is_some();
    let name = ben.name.parse::<PublicKey>().unwrap();
    assert!(is_there(name.as_bytes()), "the search finds what is there");
    assert!(!is_there(FIRST.as_bytes()));

    // He returns, and answers.
    let from = |text: &str| format!("{}: {text}", anna.name);
    ben.is_shown(site, &[FIRST, "it is me", "anna"].map(from).each_ref().map(String::as_str));
    ben.knows(&anna, "anna");
    ben.writes(site, "anna", "yes, I am", at_board_2(1));
    anna.is_shown(site, &["ben: yes, I am"]);

    while_off(&device);
    // In process: `services/messenger/tests/letters` (`restored.rs`, `cuts.rs`); commands by messages
    // `services/messenger/tests/daemon` (`bot.rs`, `gate.rs`) and `services/gate/tests/daemon/signed.rs`.
    if !soak() {
        return;
    }
    // The board returns with its data: no message is shown again.
    site.power_on_with(disks[0].0, &disks[0].1);
    site.wait_ready(disks[0].0);
    ben.is_shown_nothing(site);
    anna.is_shown_nothing(site);
    ben.is_shown_as_it_arrives(site, "anna: good", || {
        anna.writes(site, "ben", "good", everywhere);
    });
    let history = lines(ben.say(&["history"]).as_bytes());
    let all = ["anna: it is me", "anna: anna", "to anna: yes, I am", "anna: good"];
    assert_eq!(history, [&[format!("anna: {FIRST}")], &all.map(str::to_owned)[..]].concat());

    let (_, at) = mailboxes[1].split_once('@').unwrap();
    is_run_by_letter(site, at, keys, &anna, &ben);
}
