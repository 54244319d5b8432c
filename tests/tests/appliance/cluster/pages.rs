//! The pages of `octetctl web` in Chromium, of a box with four boards.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use octet_machine::Cluster;
use octet_tests::{
    Image, InTerminal, READY, RETRY_DELAY, SOON, builder, must, octetctl, workspace,
};
use rustix::process::Signal;
use serde_json::{Map, Value};

use crate::cluster::browser::{DEVTOOLS, Home, listens};
use crate::cluster::run::Person;

const BOARDS: u8 = 4;

#[test]
#[ignore = "long: Chromium; `services/web/tests` has the pages of a double of a box"]
fn every_page_of_a_box_is_read_and_used() {
    let home = Home::new();
    let key = must(&mut ctl(&home, &["keygen"])).stdout.trim().to_owned();
    let operator =
        format!("[operator]\nkeys = [{{ key = {key:?}, name = \"anna\", may = [\"own\"] }}]\n");
    let image = Image::with_services_and(&[], &operator);
    let out = image.folder.parent().unwrap();
    let mut command = Command::new(builder());
    command.arg("run").arg("--appliance").arg(out.with_file_name("appliance.toml"));
    command.arg("--out").arg(out).args(["--cluster", &BOARDS.to_string()]).stdin(Stdio::null());
    // No other test may run machines meanwhile.
    let _alone = Cluster::new(BOARDS, true).unwrap();
    let mut terminal = InTerminal::start(command);
    terminal.wait_for("machines are one box", 2 * READY);
    let person = Person::new(out, 1);
    // `octetctl web` runs on the host, as the browser does.
    let mut ports = InTerminal::start(person.in_clone(&["lan", "--forward", "0:10.20.250.1:4040"]));
    ports.wait_for("leads to", SOON);

    let node = asks(&person, &["identity", "show"])["node"].as_str().unwrap().to_owned();
    let address = format!("{node}@127.0.0.1:{}", listens(&ports, "forward"));
    for board in (1..=BOARDS).map(|board| board.to_string()) {
        let shown = asks(&person, &["--board", &board, "identity", "show"]);
        let board = format!("{board}={}", shown["node"].as_str().unwrap());
        must(&mut ctl(&home, &["--box", &address, "--board", &board, "status"]));
    }
    let mut web = InTerminal::start(ctl(&home, &["--box", &address, "web"]));
    web.wait_for("within 5 minutes", SOON);
    let link = web.text.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    in_a_browser(&person, &home, link);

    web.signal(Signal::INT);
    web.end();
    terminal.signal(Signal::INT);
    assert!(terminal.end().success(), "{}", terminal.text);
    assert!(ports.end().success(), "{}", ports.text);
}

/// `octetctl` of the owner. A command in a terminal has its variables from `env`.
fn ctl(home: &Home, arguments: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.arg(format!("XDG_CONFIG_HOME={}", home.at("config").display()));
    command.arg(octetctl()).args(arguments).stdin(Stdio::null());
    command
}

/// The answer of a machine's own control port, which neither the gate nor the pages are a part of.
fn asks(person: &Person, arguments: &[&str]) -> Value {
    let said = must(&mut person.owner(&[&["ctl", "--json"], arguments].concat())).stdout;
    serde_json::from_str(&said).unwrap()
}

/// What the router says of each node, by the node's name on the page.
fn conditions(person: &Person) -> Map<String, Value> {
    let shown = asks(person, &["face", "show"]);
    let named = |node: &Value| match node["number"].as_u64().unwrap() {
        0 => ("router".to_owned(), node["condition"].clone()),
        number => (format!("board {number}"), node["condition"].clone()),
    };
    shown["nodes"].as_array().unwrap().iter().map(named).collect()
}

/// The unit `cache` of board 2, as its PID 1 reports it.
fn cache(person: &Person) -> Value {
    let status = asks(person, &["--board", "2", "status"]);
    let units = status["units"].as_array().unwrap();
    units.iter().find(|unit| unit["name"] == "cache").unwrap().clone()
}

fn in_a_browser(person: &Person, home: &Home, link: &str) {
    let deadline = Instant::now() + SOON;
    let expected = loop {
        let shown = conditions(person);
        // The router and the boards that are on; nothing is plugged into the other ports.
        let count = |what: &str| shown.values().filter(|condition| *condition == what).count();
        let ready = count("ready");
        if ready == usize::from(BOARDS) + 1 && ready + count("empty") == shown.len() {
            break shown;
        }
        assert!(Instant::now() < deadline, "late: not all nodes are ready: {shown:?}");
        std::thread::sleep(RETRY_DELAY);
    };
    let before = cache(person);
    let pictures = home.at("pictures");
    fs::create_dir(&pictures).unwrap();
    home.give(&pictures);
    fs::write(home.at("devtools.py"), DEVTOOLS).unwrap();
    fs::write(home.at("pages.py"), include_str!("pages.py")).unwrap();
    let mut script = home.command("python3");
    script.arg(home.at("pages.py")).arg(link).arg(&pictures);
    script.arg(Value::from(expected).to_string()).stdout(Stdio::piped());
    let mut running = script.spawn().unwrap();
    let mut last = "nothing was said".to_owned();
    for line in BufReader::new(running.stdout.take().unwrap()).lines() {
        last = line.unwrap();
        println!("{last}");
        if last == "switch board 3 off" {
            must(&mut person.owner(&["box", "off", "3"]));
        }
    }
    let status = running.wait().unwrap();
    keep(&pictures);
    // The script prints `late: …` before it gives up.
    assert!(status.success(), "{last}: the script has ended with {status}");
    assert_eq!(conditions(person)["board 3"], "off");
    // The page says the same of the unit as the machine, before and after.
    let [old, new]: [Value; 2] = serde_json::from_str(&last).unwrap();
    let after = cache(person);
    assert_eq!((&old["pid"], &new["pid"]), (&text(&before["pid"]), &text(&after["pid"])));
    assert_ne!(before["pid"], after["pid"]);
    assert!(before["since"].as_u64() < after["since"].as_u64(), "{before} {after}");
}

fn text(value: &Value) -> Value {
    value.to_string().into()
}

/// Keeps the pictures for people, also those of a test that has failed.
fn keep(pictures: &Path) {
    let kept = workspace().join("target/pages");
    must(Command::new("rm").arg("-rf").arg(&kept));
    must(Command::new("cp").arg("-r").arg(pictures).arg(&kept));
    println!("the pictures are in {}", kept.display());
}
