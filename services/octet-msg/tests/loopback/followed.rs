//! `receive --follow` prints messages when they arrive, and other commands run meanwhile.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use octet_node::key::random;

use crate::world::{Person, Site, lines, new_folder};

/// Only a test that hangs reaches it.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The pause before something is looked at again.
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// A process that follows, with each line that it prints.
struct Follower {
    child: Child,
    lines: Receiver<String>,
    warnings: Receiver<String>,
}

impl Follower {
    fn start(person: &Person) -> Self {
        let mut command = person.command(&["receive", "--follow"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        let warnings = lines_of(child.stderr.take().unwrap());
        Self { child, lines, warnings }
    }

    /// The next line that it prints, without the time.
    fn next(&self) -> String {
        let line = self.lines.recv_timeout(TIMEOUT).expect("late: no message is shown");
        lines(&line)[0].to_owned()
    }

    /// Ends it as Ctrl-C does: at any moment, without a word.
    fn end(mut self) -> (Vec<String>, Vec<String>) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.lines.iter().collect(), self.warnings.iter().collect())
    }
}

fn lines_of(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Waits until the mailbox has no messages.
fn wait_empty(site: &Site) {
    let deadline = Instant::now() + TIMEOUT;
    while site.messages() > 0 {
        assert!(Instant::now() < deadline, "late: {} messages are left", site.messages());
        std::thread::sleep(RETRY_DELAY);
    }
}

#[test]
fn messages_are_shown_as_they_arrive() {
    let folder = new_folder();
    let (file, seed) = (folder.path().join("letters"), random().unwrap());
    let site = Site::start(&file, seed, ([127, 0, 0, 1], 0).into());
    let at = site.at;
    let (anna, ben) = (Person::new(folder.path(), "anna"), Person::new(folder.path(), "ben"));
    for person in [&anna, &ben] {
        person.join(&site);
    }
    for (person, other, name) in [(&anna, &ben, "ben"), (&ben, &anna, "anna")] {
        person.say(&["add", name, other.say(&["invite", "--line"]).trim()]);
    }
    let sends = |person: &Person, to: &str, text: &str| {
        assert_eq!(person.say(&["send", to, text]), format!("left at the mailbox of {to}\n"));
    };

    // One message was there before, one comes while he waits.
    sends(&anna, "ben", "are you there?");
    let follower = Follower::start(&ben);
    assert_eq!(follower.next(), "anna: are you there?");
    sends(&anna, "ben", "it is me");
    assert_eq!(follower.next(), "anna: it is me");

    // Both follow, and both can send meanwhile: the folder is not taken.
    let other = Follower::start(&anna);
    for round in 0..3 {
        sends(&ben, "anna", &format!("yes {round}"));
        assert_eq!(other.next(), format!("ben: yes {round}"));
        sends(&anna, "ben", &format!("no {round}"));
        assert_eq!(follower.next(), format!("anna: no {round}"));
    }
    // What was shown is deleted in the mailbox.
    wait_empty(&site);
    assert_eq!(ben.say(&["receive"]), "");

    // The mailbox is off for a while: followers come back.
    drop(site);
    let site = Site::start(&file, seed, at);
    sends(&anna, "ben", "still there?");
    assert_eq!(follower.next(), "anna: still there?");

    // Each was shown once, and nothing was wrong. What the mailbox has deleted is recorded as shown.
    wait_empty(&site);
    let (more, warnings) = follower.end();
    assert!(more.is_empty() && warnings.is_empty(), "{more:?} {warnings:?}");
    assert_eq!(other.end(), (vec![], vec![]));
    // Without a follower a message waits.
    sends(&anna, "ben", "good night");
    assert_eq!(lines(&ben.say(&["receive"])), ["anna: good night"]);
    drop(site);
}

#[test]
fn what_is_wrong_is_said_once() {
    let folder = new_folder();
    let site =
        Site::start(&folder.path().join("letters"), random().unwrap(), ([127, 0, 0, 1], 0).into());
    let ben = Person::new(folder.path(), "ben");
    let said = ben.run(&["init", "--mailbox", &site.name()]);
    assert!(said.status.success());
    // Nobody has admitted him. `deliver` and the wait are refused for the same reason.
    let follower = Follower::start(&ben);
    let warning = follower.warnings.recv_timeout(TIMEOUT).expect("late: no warning");
    assert!(warning.contains("octetctl messenger admit"), "{warning}");
    // This waits until the follower has closed the folder, and said all that it has to say.
    ben.say(&["people"]);
    let (shown, warnings) = follower.end();
    assert!(shown.is_empty(), "{shown:?}");
    assert!(warnings.iter().all(|it| *it != warning), "{warnings:?}");
    drop(site);
}
