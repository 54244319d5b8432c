//! The unit as a whole, with a `cluster` that is a double: a thread at its socket.

#![cfg(test)]

use std::collections::BTreeMap;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use octet_as_pid_1::{TIMEOUT, wait_until};
use octet_face::settings::Settings;
use octet_face::{FaceConfig, run};
use octet_node::control::{CallError, Client, FailureCode, Verb};
use octet_node::{Callers, Peer};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// Answers each question with the next of `answers`, and closes the connection at a `None`. Each
/// verb that was asked for goes to `asked`.
fn cluster(folder: &Path, answers: Receiver<Option<Value>>, asked: Sender<String>) {
    let listener = UnixListener::bind(folder.join("cluster.sock")).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut peer = Peer::new(stream);
            while let Ok(Some(request)) = peer.next_request() {
                let _ = asked.send(request.verb);
                match answers.recv() {
                    Ok(Some(answer)) => peer.end(request.id, Ok(answer)).unwrap(),
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
        }
    });
}

/// A running unit, and what its `cluster` answers.
struct Face {
    folder: TempDir,
    answers: Sender<Option<Value>>,
    asked: Receiver<String>,
}

impl Face {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let (answers, next) = channel();
        let (sender, asked) = channel();
        cluster(folder.path(), next, sender);
        let control = UnixListener::bind(folder.path().join("face.sock")).unwrap();
        let user = rustix::process::getuid().as_raw();
        let config = FaceConfig {
            settings: Settings::default(),
            sockets: folder.path().into(),
            devices: folder.path().into(),
            control,
            callers: Callers::default().with_pid_1(user),
            interval: Duration::from_millis(1),
        };
        thread::spawn(move || run(config, || Ok(())));
        Self { folder, answers, asked }
    }

    fn connect(&self) -> Client<UnixStream> {
        let client = Client::connect(&self.folder.path().join("face.sock")).unwrap();
        client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
        client
    }

    /// Lets `cluster` answer once, and waits until the next question, so the answer has been taken.
    fn answer(&self, answer: Option<Value>) {
        self.asked.recv_timeout(TIMEOUT).unwrap();
        self.answers.send(answer).unwrap();
    }
}

fn status(cpu: u64) -> Value {
    let row = json!({ "number": 2, "state": "enrolled", "connected": true, "heard_seconds": 0, "box": "ready", "cpu_percent": cpu });
    json!({ "role": "coordinator", "number": 0, "nodes": [row] })
}

#[test]
fn what_cluster_answers_is_pushed() {
    let face = Face::start();
    let (mut client, mut shown) = (face.connect(), vec![]);
    client
        .call_each("watch", Map::new(), |item| {
            shown.push(item.clone());
            let at = |pointer: &str| item.pointer(pointer).cloned().unwrap_or_default();
            match (at("/nodes/0/cpu_percent").as_u64(), at("/trouble").as_str()) {
                (None, Some("`cluster` has not answered yet")) => face.answer(Some(status(7))),
                (Some(7), None) => face.answer(Some(status(8))),
                // A question without an answer, and one with something else.
                (Some(8), None) => face.answer(None),
                (Some(8), Some(trouble)) if trouble.contains("closed") => {
                    face.answer(Some(json!(7)));
                }
                (Some(8), Some(trouble)) if trouble.contains("something else") => {
                    face.answer(Some(status(9)));
                }
                (Some(9), None) => return false,
                other => panic!("{other:?} {item:#}"),
            }
            true
        })
        .unwrap();
    assert_eq!(shown.len(), 6, "{shown:#?}");
    assert_eq!(face.connect().call("show", Map::new()).unwrap(), shown[5]);

    let mut items = vec![];
    let args = json!({ "quantity": "cpu_percent" }).as_object().unwrap().clone();
    client = face.connect();
    client
        .call_each("history", args, |item| {
            items.push(item.clone());
            true
        })
        .unwrap();
    let wanted =
        json!({ "number": 2, "quantity": "cpu_percent", "seconds_each": 60, "values": [8] });
    assert_eq!(items, [wanted]);
    let args = json!({ "quantity": "coins" }).as_object().unwrap().clone();
    let Err(CallError::Failure(failure)) = client.call("history", args) else { panic!("no coins") };
    assert_eq!(failure.code, FailureCode::BadArgument);
    // It asks for nothing but the status.
    assert!(face.asked.try_iter().all(|verb| verb == "status"));
}

#[test]
fn all_its_verbs_only_read() {
    let face = Face::start();
    let verbs: Vec<Verb> = face.connect().describe().unwrap();
    let needs: BTreeMap<_, _> =
        verbs.iter().map(|verb| (&*verb.name, format!("{:?}", verb.capability))).collect();
    let all = [
        // `config` calls these two; they change nothing but what a display shows.
        ("config-apply", "Configure"),
        ("config-check", "Configure"),
        ("describe", "Read"),
        ("display", "Read"),
        ("history", "Read"),
        ("show", "Read"),
        ("watch", "Read"),
    ];
    assert_eq!(needs, BTreeMap::from(all.map(|(name, needs)| (name, needs.to_owned()))));
}

/// A `netd` that tells of an address whenever one is sent, and an `identity`.
fn own_node(folder: &Path, addresses: Receiver<&'static str>) {
    let [netd, identity] = ["netd", "identity"]
        .map(|unit| UnixListener::bind(folder.join(format!("{unit}.sock"))).unwrap());
    thread::spawn(move || {
        let mut peer = Peer::new(netd.accept().unwrap().0);
        let request = peer.next_request().unwrap().unwrap();
        assert_eq!(request.verb, "links");
        for address in addresses {
            let out = json!({ "out": { "asks": true, "addresses": [address], "gateways": [] } });
            let link = json!({ "index": 2, "name": "eth0", "mac": "02:00:00:00:00:01", "carrier": true, "downs": 0, "leads_to": out });
            peer.item(request.id, json!({ "is_board": false, "links": [link] })).unwrap();
        }
    });
    thread::spawn(move || {
        let mut peer = Peer::new(identity.accept().unwrap().0);
        let request = peer.next_request().unwrap().unwrap();
        assert_eq!(request.verb, "show");
        let node = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
        peer.end(request.id, Ok(json!({ "node": node }))).unwrap();
    });
}

#[test]
fn a_display_has_the_address_and_the_key_as_soon_as_they_are_known() {
    let face = Face::start();
    let mut client = face.connect();
    let mut identity = || {
        let shown = client.call("display", Map::new()).unwrap();
        shown["identity"].as_str().unwrap().to_owned()
    };
    let nothing = identity();
    assert_eq!(nothing.lines().count(), 32, "64 rows in half blocks");
    let (addresses, next) = channel();
    own_node(face.folder.path(), next);
    let mut shown = vec![nothing];
    let mut until_another = |what: &str| {
        let mut now = String::new();
        wait_until(what, || {
            now = identity();
            !shown.contains(&now)
        });
        shown.push(now);
    };
    // The code of the key, and then two addresses.
    until_another("the key is shown");
    addresses.send("192.0.2.7/24").unwrap();
    until_another("the address is shown");
    addresses.send("192.0.2.8/24").unwrap();
    until_another("the next address is shown");
    let args = json!({ "svg": true }).as_object().unwrap().clone();
    let drawn = face.connect().call("display", args).unwrap();
    assert!(drawn["load"].as_str().unwrap().starts_with("<svg"), "{drawn}");
    wait_until("the state is said", || {
        face.connect().call("display", Map::new()).unwrap()["state"]
            == "no [display] in the settings"
    });
}
