//! An unprivileged user of the host uses a box: a video in a browser, and messages.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use octet_machine::Cluster;
use octet_tests::{Image, InTerminal, READY, SOON, builder, must, octet_msg};
use rustix::process::{Signal, geteuid};
use serde_json::Value;

use crate::cluster::run::{NOBODY, Person};

/// The address of board 1 in the lan, and its name there.
const BOARD: &str = "10.20.1.2";
const NAME: &str = "board-1.octet.internal";

/// The browser's report on the video: it was played, and then played on from its last quarter.
const PLAYED: &str = "640x360, 30 s\n";

/// How scripts drive Chromium.
pub const DEVTOOLS: &str = include_str!("devtools.py");

#[test]
#[ignore = "long: Chromium, which the short tier does without"]
fn a_film_and_letters_from_a_machine_outside_the_box() {
    let image = Image::with_services(&[]);
    let out = image.folder.parent().unwrap();
    let mut command = Command::new(builder());
    command.arg("run").arg("--appliance").arg(out.with_file_name("appliance.toml"));
    command.arg("--out").arg(out).args(["--cluster", "1"]).stdin(Stdio::null());
    // No other test may run machines meanwhile.
    let _alone = Cluster::new(2, true).unwrap();
    let mut terminal = InTerminal::start(command);
    terminal.wait_for("machines are one box", 2 * READY);
    let person = Person::new(out, 1);
    let home = Home::new();
    // One proxy, and one port for messages; both end with the box.
    let mut ports = InTerminal::start(person.in_clone(&[
        "lan",
        "--listen",
        "0",
        "--forward",
        &format!("udp:0:{NAME}:4434"),
    ]));
    ports.wait_for("leads to", SOON);
    a_film_in_a_browser(&person, &home, listens(&ports, "socks"));
    letters(&person, &home, listens(&ports, "forward"));
    terminal.signal(Signal::INT);
    assert!(terminal.end().success(), "{}", terminal.text);
    assert!(ports.end().success(), "{}", ports.text);
}

/// The port in the output line that begins with `what`.
pub fn listens(ports: &InTerminal, what: &str) -> u16 {
    let row = ports.text.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    let (_, port) = row.split_once("127.0.0.1:").unwrap();
    port.split(' ').next().unwrap().parse().unwrap()
}

/// The folder of an unprivileged user.
pub struct Home(tempfile::TempDir);

impl Home {
    pub fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.give(home.0.path());
        home
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn give(&self, path: &Path) {
        if geteuid().is_root() {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    /// A command of this user on the host, outside the box's lan.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("env");
        if geteuid().is_root() {
            let nobody = NOBODY.to_string();
            command.args(["setpriv", "--reuid", &nobody, "--regid", &nobody, "--clear-groups"]);
        }
        // Programs in root's folders are not available to the user.
        command.env("PATH", "/usr/bin:/bin").env("HOME", self.0.path());
        command.arg(program).stdin(Stdio::null());
        command
    }
}

fn a_film_in_a_browser(person: &Person, home: &Home, proxy: u16) {
    let film = home.at("film.webm");
    let mut make = Command::new("ffmpeg");
    make.args([
        "-loglevel",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=duration=30:size=640x360:rate=10",
    ]);
    make.args(["-c:v", "libvpx", "-b:v", "2M", "-g", "10"]).arg(&film);
    must(&mut make);
    let add = ["ctl", "--board", "1", "--json", "cache", "add", film.to_str().unwrap()];
    let said: Value = serde_json::from_str(&must(&mut person.owner(&add)).stdout).unwrap();
    let path = format!("{}/film.webm", said["path"].as_str().unwrap());
    let player = home.at("play.py");
    fs::write(&player, include_str!("play.py")).unwrap();
    fs::write(home.at("devtools.py"), DEVTOOLS).unwrap();
    // In the lan itself.
    let url = format!("http://{BOARD}:8080{path}");
    let inside = must(&mut person.lan(&["python3", player.to_str().unwrap(), &url]));
    assert_eq!(inside.stdout, PLAYED, "{}", inside.stderr);
    // In a browser on the host, through the proxy, which resolves names.
    let (url, proxy) =
        (format!("http://{NAME}:8080{path}"), format!("--proxy-server=socks5://127.0.0.1:{proxy}"));
    let mut outside = home.command("python3");
    let outside = must(outside.arg(&player).args([&url, &proxy]));
    assert_eq!(outside.stdout, PLAYED, "{}", outside.stderr);
}

/// Anna is in the lan, and Ben reaches the mailbox through a port of the host.
fn letters(person: &Person, home: &Home, port: u16) {
    let status = must(&mut person.owner(&["ctl", "--board", "1", "--json", "messenger", "status"]));
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    let mailbox = status["mailbox"].as_str().unwrap();
    let (program, passphrase) = (home.at("octet-msg"), home.at("passphrase"));
    fs::copy(octet_msg(), &program).unwrap();
    fs::write(&passphrase, "correct horse battery staple\n").unwrap();
    let msg = |who: &str, arguments: &[&str]| {
        let folder = home.at(who);
        let options = ["--folder", folder.to_str().unwrap()];
        let options = [&options[..], &["--passphrase-file", passphrase.to_str().unwrap()]].concat();
        let mut command = match who {
            "anna" => person.lan(&[&[program.to_str().unwrap()], &options[..], arguments].concat()),
            _ => {
                let mut command = home.command(&program);
                command.args(options).args(arguments);
                command
            }
        };
        must(&mut command).stdout
    };
    // Each invite has addresses that reach the person; those of the lan are first.
    let places = [
        ("anna", format!("{mailbox}@{BOARD}:4434")),
        ("ben", format!("{mailbox}@{BOARD}:4434,127.0.0.1:{port}")),
    ];
    for (who, place) in &places {
        msg(who, &["init", "--mailbox", place]);
        let people = msg(who, &["people"]);
        let name = people.trim().strip_prefix("you: ").unwrap();
        must(&mut person.owner(&["ctl", "--board", "1", "messenger", "admit", name]));
        msg(who, &["receive"]);
    }
    let invite = |who| {
        let said = msg(who, &["invite"]);
        said.lines().find(|line| line.starts_with("OCTET-MSG:")).unwrap().to_owned()
    };
    msg("anna", &["add", "ben", &invite("ben")]);
    msg("anna", &["send", "ben", "are you there?"]);
    assert!(msg("ben", &["receive"]).contains("are you there?"));
}
