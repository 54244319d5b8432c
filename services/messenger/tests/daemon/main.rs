//! The service in a process of its own, with simulated PID 1 and identity, over QUIC on loopback.

#![cfg(test)]

mod alerts;
mod bot;
mod carried;
mod full;
mod gate;
mod reached;
mod waiting;

use std::net::SocketAddr;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use octet_appliance::UnitSource;
use octet_as_pid_1::{TIMEOUT, wait_until};
use octet_messages::courier::Courier;
use octet_messages::mailbox_address::MailboxAddress;
use octet_messages::person::{NewIdentity, Person, PersonEvent};
use octet_messages::quic::{MailboxClient, PORT, now};
use octet_messages::store::PersonStore;
use octet_messenger::{MessengerConfig, run};
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::{self, PublicKey};
use octet_node::key::{PrivateKey, random};
use octet_node::{Callers, Peer, notify_ready};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The variable of the process that runs the service: the address at which it listens.
const AT: &str = "OCTET_TEST_AT";

/// The variable with its memory limit: `memory_max` in its unit file.
const MEMORY: &str = "OCTET_TEST_MEMORY";

/// The number of messages that are sent while the service is killed repeatedly.
const LETTERS: usize = 12;

/// A box with the service.
struct Host {
    folder: TempDir,
    notify: UnixDatagram,
    node: Arc<PrivateKey>,
    child: Option<Child>,
    /// The memory limit of the service in bytes; `None` for no limit.
    memory: Option<u64>,
}

impl Host {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        let notify = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(TIMEOUT)).unwrap();
        let node = Arc::new(PrivateKey::generate().unwrap());
        identity(&folder.path().join("identity.sock"), Arc::clone(&node));
        Self { folder, notify, node, child: None, memory: None }
    }

    /// Starts the service at `at`. Returns its mailbox address once it is reachable.
    fn start(&mut self, at: &str) -> MailboxAddress {
        self.started(at).0
    }

    /// Starts the service at `at`. Returns, too, whether it has asked for more time before it was
    /// ready.
    fn started(&mut self, at: &str) -> (MailboxAddress, bool) {
        let _ = std::fs::remove_file(self.folder.path().join("messenger.sock"));
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "service"])
            .env(AT, at)
            .env("OCTET_TEST_FOLDER", self.folder.path())
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .envs(self.memory.map(|bytes| (MEMORY, bytes.to_string())))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let (mut message, mut takes_longer) = ([0; 100], false);
        loop {
            let count = self.notify.recv(&mut message).expect("late: it does not become ready");
            match &message[..count] {
                b"READY=1" => break,
                other => takes_longer |= other == b"EXTEND_TIMEOUT_USEC=60000000",
            }
        }
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let status = self.ask("status", json!({}));
            if !status["mailbox"].is_null() {
                let mailbox = serde_json::from_value(status["mailbox"].clone()).unwrap();
                let addresses = serde_json::from_value(status["at"].clone()).unwrap();
                return (MailboxAddress { mailbox, addresses }, takes_longer);
            }
            assert!(Instant::now() < deadline, "{status:#}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops the service with SIGTERM.
    fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn ask(&self, verb: &str, args: Value) -> Value {
        self.try_ask(verb, args).unwrap()
    }

    fn try_ask(&self, verb: &str, args: Value) -> Result<Value, control::CallError> {
        let mut client =
            control::Client::connect(&self.folder.path().join("messenger.sock")).unwrap();
        client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
        client.call(verb, args.as_object().unwrap().clone())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

/// Simulates identity: it certifies any requested key.
fn identity(socket: &Path, node: Arc<PrivateKey>) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut peer = Peer::new(stream);
            let Ok(Some(request)) = peer.next_request() else { continue };
            assert_eq!(request.verb, "certify");
            let key: PublicKey = request.args["key"].as_str().unwrap().parse().unwrap();
            let certificate = certificate(&node, key);
            if peer.item(request.id, json!(certificate)).is_ok() {
                // The connection stays open until the service is killed.
                let _ = peer.next_request();
            }
        }
    });
}

/// The certificate by `node` of the `key` of its messenger.
fn certificate(node: &PrivateKey, key: PublicKey) -> Certificate {
    let unit = "messenger".parse().unwrap();
    let statement = KeyStatement { node: node.public(), unit, key, epoch: 1, issued: 1 };
    Certificate::sign(statement, node).unwrap()
}

/// Not a test of its own: runs the service in a process that another test has started.
#[test]
fn service() {
    let Ok(at) = std::env::var(AT) else { return };
    if let Ok(bytes) = std::env::var(MEMORY) {
        let bytes = Some(bytes.parse().unwrap());
        setrlimit(Resource::Data, Rlimit { current: bytes, maximum: bytes }).unwrap();
    }
    let folder = std::env::var_os("OCTET_TEST_FOLDER").map(PathBuf::from).unwrap();
    let own = rustix::process::geteuid().as_raw();
    let parts = MessengerConfig {
        folder: Some(folder.join("state")),
        sockets: folder.clone(),
        control: UnixListener::bind(folder.join("messenger.sock")).unwrap(),
        callers: Callers::parse(&format!(
            "{own}=status,mailboxes,admit,remove,invite,forget,alerts,subscribe,unsubscribe"
        ))
        .unwrap(),
        addresses: vec![at.parse::<SocketAddr>().unwrap()],
        board_port: at.parse::<SocketAddr>().unwrap().port(),
    };
    run(parts, notify_ready).unwrap();
}

/// A person with a mailbox at `place`.
fn person(folder: &Path, place: &MailboxAddress) -> Courier<MailboxClient> {
    std::fs::create_dir(folder).unwrap();
    let fresh =
        NewIdentity { name: random().unwrap(), key: random().unwrap(), seal: random().unwrap() };
    let (_, rows) = Person::new(fresh, vec![place.clone()], now()).unwrap();
    let store = PersonStore::create(folder, [1; 32]).unwrap();
    store.write(&rows).unwrap();
    Courier::new(store, MailboxClient::new().unwrap()).unwrap()
}

/// Repeats `done` until it is true: an unreachable mailbox is not tried again for a minute.
fn go_on(
    who: &mut Courier<MailboxClient>,
    mut done: impl FnMut(&mut Courier<MailboxClient>) -> bool,
) {
    wait_until("the mailbox answers", || done(who));
}

#[test]
fn its_unit_file_is_one() {
    let text = include_str!("../../unit.toml").to_owned();
    let unit = UnitSource::parse("unit.toml".into(), text).unwrap().unit;
    assert_eq!(json!(unit)["ports"]["messages"], json!(format!("udp/{PORT}")));
    // An attacker who takes over the service can only have commands run that operators have signed.
    assert_eq!(
        json!(unit)["talks"],
        json!({"identity": ["certify"], "gate": ["check-key", "run"], "cluster": ["map"], "init": ["watch"]})
    );
}

#[test]
fn a_stop_closes_its_files() {
    let mut host = Host::new();
    let place = host.start("127.0.0.1:0");
    host.ask("invite", json!({"at": place.addresses[0].to_string()}));
    // The second bit of the byte after the magic number of redb's file format is set: opening the
    // file needs a repair.
    let is_open = |host: &Host| {
        ["letters", "bot/rows"].map(|file| {
            let bytes = std::fs::read(host.folder.path().join("state").join(file)).unwrap();
            assert!(bytes.starts_with(b"redb\x1a\x0a\xa9\x0d\x0a"), "{file}");
            bytes[9] & 2 != 0
        })
    };
    host.kill();
    assert_eq!(is_open(&host), [true; 2]);
    // During the repair the service asks PID 1 for more time.
    assert!(host.started("127.0.0.1:0").1);
    host.stop();
    assert_eq!(is_open(&host), [false; 2]);
    assert!(!host.started("127.0.0.1:0").1);
}

#[test]
fn what_was_answered_outlives_the_service() {
    let mut host = Host::new();
    let place = host.start("127.0.0.1:0");
    let at = place.addresses[0].to_string();
    let mut anna = person(&host.folder.path().join("anna"), &place);
    let mut ben = person(&host.folder.path().join("ben"), &place);
    for who in [&mut anna, &mut ben] {
        assert!(!who.deliver(now()).unwrap().is_empty(), "nobody has let them in");
        host.ask("admit", json!({"name": who.person().name()}));
        go_on(who, |it| it.deliver(now()).unwrap().is_empty());
    }
    let to = ben.person().name();
    anna.apply(PersonEvent::Add(ben.person().invite(), "ben".to_owned()), now()).unwrap();
    let mut wanted = vec![];
    for round in 0..LETTERS {
        wanted.push(format!("letter {round}"));
        anna.apply(PersonEvent::Write(to, wanted[round].clone()), now()).unwrap();
        // The connection may belong to a killed process.
        go_on(&mut anna, |it| it.deliver(now()).unwrap().is_empty());
        if [3, 8].contains(&round) {
            host.kill();
            // Its key and address stay the same.
            assert_eq!(host.start(&at), place);
        }
    }
    let rows = host.ask("mailboxes", json!({}));
    let own = rows.as_array().unwrap().iter().find(|row| row["name"] == json!(to)).unwrap();
    assert_eq!(own["messages"], json!(LETTERS));
    // Each text is shown once, however often he fetches.
    go_on(&mut ben, |it| {
        let _ = it.fetch(now());
        host.ask("status", json!({}))["messages"] == 0
    });
    let (end, _) = ben.person().history();
    let texts = ben.store().history(0, end).unwrap().into_iter().map(|line| line.text);
    assert_eq!(texts.collect::<Vec<_>>(), wanted);
}
