//! Two people with the command itself, and a mailbox, over QUIC on loopback: from the first line to an answer.

#![cfg(test)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use octet_messenger::boards::{Boards, Brought};
use octet_messenger::mailbox::{Limits, Mailbox};
use octet_messenger::quic::{self, Bounds, Served};
use octet_node::control::PublicKey;
use octet_node::durable::Existing;
use octet_node::key::{self, Key, random};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// A mailbox that serves as long as this lives.
struct Site {
    mailbox: Arc<Mutex<Mailbox>>,
    at: SocketAddr,
    runtime: Option<Runtime>,
}

impl Site {
    /// Serves what is in `file` at `at`, with the key of `seed`.
    fn start(file: &Path, seed: [u8; 32], at: SocketAddr) -> Self {
        let own = Key::from_seed(seed).unwrap().public();
        let mailbox = Mailbox::open(file, own, Limits::default()).unwrap();
        let mailbox = Arc::new(Mutex::new(mailbox));
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_io()
            .enable_time()
            .build()
            .unwrap();
        let endpoint = runtime.block_on(quic::open(&seed, &[at])).unwrap();
        let at = endpoint.bound_sockets()[0];
        // No board of a box brings anything here.
        let brought = Arc::new(Brought::new(Boards::default(), Path::new("")));
        let served = Served { mailbox: Arc::clone(&mailbox), brought };
        runtime.spawn(quic::serve(endpoint, served, Bounds::default()));
        Self { mailbox, at, runtime: Some(runtime) }
    }

    fn admit(&self, name: &str) {
        let name = PublicKey::try_from(name.to_owned()).unwrap();
        self.mailbox.lock().unwrap().admit(&name).unwrap();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Nobody is told.
        self.runtime.take().unwrap().shutdown_timeout(std::time::Duration::from_secs(5));
    }
}

/// A person with files of their own.
struct Person {
    folder: PathBuf,
    passphrase: PathBuf,
}

impl Person {
    fn new(at: &Path, name: &str) -> Self {
        let passphrase = at.join(format!("{name}.passphrase"));
        std::fs::write(&passphrase, format!("the passphrase of {name}\n")).unwrap();
        Self { folder: at.join(name), passphrase }
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_octet-msg"))
            .arg("--folder")
            .arg(&self.folder)
            .arg("--passphrase-file")
            .arg(&self.passphrase)
            .args(words)
            .output()
            .unwrap()
    }

    /// What it says, if it does what it is asked and complains of nothing.
    fn say(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8(output.stdout).unwrap();
        let complained = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && complained.is_empty(), "{words:?}: {complained}");
        said
    }

    /// What it complains of.
    fn complain(&self, words: &[&str]) -> String {
        String::from_utf8(self.run(words).stderr).unwrap()
    }
}

/// What stands behind the time of each line.
fn lines(said: &str) -> Vec<&str> {
    said.lines().map(|line| line.split_once(' ').unwrap().1).collect()
}

#[test]
fn two_people_who_are_never_there_at_the_same_time() {
    let folder = TempDir::new().unwrap();
    let (file, seed) = (folder.path().join("letters"), random().unwrap());
    let site = Site::start(&file, seed, ([127, 0, 0, 1], 0).into());
    let at = site.at;
    let mailbox = format!("{}@{at}", Key::from_seed(seed).unwrap().public());
    let (anna, ben) = (Person::new(folder.path(), "anna"), Person::new(folder.path(), "ben"));

    // Both make their keys; the mailbox takes them when its owner has said so, and not before.
    let mut names = vec![];
    for person in [&anna, &ben] {
        let complaint = person.complain(&["init", "--mailbox", &mailbox]);
        assert!(complaint.contains("octetctl messenger admit"), "{complaint}");
        let said = person.say(&["people"]);
        let name = said.trim().strip_prefix("you: ").unwrap().to_owned();
        site.admit(&name);
        assert_eq!(person.say(&["receive"]), "");
        names.push(name);
    }
    assert!(ben.complain(&["init", "--mailbox", &mailbox]).contains("already"));
    let invite = ben.say(&["invite", "--line"]);
    assert!(invite.starts_with("OCTET-MSG:") && invite.lines().count() == 1);
    let with_code = ben.say(&["invite"]);
    assert!(with_code.starts_with(&invite) && with_code.lines().count() > 15, "{with_code}");

    // Ben is away. What Anna writes outlives the mailbox's process, and hers.
    let number = anna.say(&["add", "ben", &invite]);
    assert_eq!(anna.say(&["send", "ben", "are you there?"]), "left at the mailbox of ben\n");
    drop(site);
    let said = anna.run(&["send", "ben", "it is me"]);
    assert!(said.status.success());
    assert!(String::from_utf8_lossy(&said.stderr).contains("does not answer"));
    assert!(String::from_utf8_lossy(&said.stdout).contains("kept here: 1"));
    let site = Site::start(&file, seed, at);
    assert_eq!(anna.say(&["receive"]), "");
    assert_eq!(anna.say(&["send", "ben", "anna"]), "left at the mailbox of ben\n");

    // Ben comes, and knows her by her key alone until he names her.
    let said = ben.say(&["receive"]);
    let from = |text: &str| format!("{}: {text}", names[0]);
    assert_eq!(lines(&said), ["are you there?", "it is me", "anna"].map(from));
    assert_eq!(ben.say(&["receive"]), "", "each is shown once");
    let invite = anna.say(&["invite", "--line"]);
    let same_number = ben.say(&["add", "anna", &invite]);
    let digits = |said: &str| said.trim().rsplit_once(": ").unwrap().1.to_owned();
    assert_eq!(digits(&number), digits(&same_number));
    assert_eq!(ben.say(&["send", "anna", "yes, I am"]), "left at the mailbox of anna\n");
    assert_eq!(lines(&anna.say(&["receive"])), ["ben: yes, I am"]);

    // A command is a letter whose text is signed with another key: that of an operator.
    let path = folder.path().join("key");
    let key = path.to_str().unwrap();
    let complaint = anna.complain(&["command", "--key", key, "ben", "status"]);
    assert!(complaint.contains("no key of an operator"), "{complaint}");
    let operator = key::make(&path, Existing::Keep, |_| Ok(())).unwrap();
    for words in [&["status"][..], &["boards"], &["init", "logs", "lines=3", "unit=cache"]] {
        let line = [&["command", "--key", key, "ben"], words].concat();
        assert_eq!(anna.say(&line), "left at the mailbox of ben\n");
    }
    let complaint = anna.complain(&["command", "--key", key, "ben", "init", "logs", "lines"]);
    assert!(complaint.contains("NAME=VALUE"), "{complaint}");
    let said = ben.say(&["receive"]);
    let orders = lines(&said).into_iter().map(|line| {
        let text = line.strip_prefix("anna: ").unwrap().to_owned();
        let command = octet_node::command::Command::try_from(text).unwrap();
        let order = command.order();
        assert_eq!(
            (order.target.to_string(), order.operator),
            (names[1].clone(), operator.public())
        );
        let args = serde_json::Value::Object(order.args.clone());
        format!("{} {} {args}", order.unit, order.verb)
    });
    let wanted = ["init status {}", "cluster show {}", r#"init logs {"lines":3,"unit":"cache"}"#];
    assert_eq!(orders.collect::<Vec<_>>(), wanted);

    let history = ["to ben: are you there?", "to ben: it is me", "to ben: anna", "ben: yes, I am"];
    assert_eq!(lines(&anna.say(&["history", "ben"]))[..history.len()], history);
    let stranger = Person { passphrase: ben.passphrase.clone(), folder: anna.folder.clone() };
    let complaint = stranger.complain(&["history"]);
    assert!(complaint.contains("passphrase is wrong"), "{complaint}");
    assert!(anna.complain(&["send", "carl", "hello"]).contains("you call nobody `carl`"));
    drop(site);
}
