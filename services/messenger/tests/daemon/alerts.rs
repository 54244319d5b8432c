//! Alerts about failures of the board, sent as messages.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use octet_node::Peer;
use octet_node::control::{Client, Failure};
use serde_json::{Value, json};

use crate::bot::Operator;
use crate::gate::Gate;
use crate::{Host, TIMEOUT};

/// Simulates PID 1: its state, and the number of its changes.
struct Init(Arc<(Mutex<(u64, Value)>, Condvar)>);

impl Init {
    fn start(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let state = Arc::new((Mutex::new((1, of("ready"))), Condvar::new()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (state, mut peer) = (Arc::clone(&shared), Peer::new(stream));
                std::thread::spawn(move || {
                    let Ok(Some(request)) = peer.next_request() else { return };
                    assert_eq!(request.verb, "watch");
                    let mut seen = 0;
                    loop {
                        let now = state.0.lock().unwrap();
                        let now = state.1.wait_while(now, |now| now.0 == seen).unwrap().clone();
                        seen = now.0;
                        if peer.item(request.id, now.1).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self(state)
    }

    fn becomes(&self, state: Value) {
        let mut now = self.0.0.lock().unwrap();
        *now = (now.0 + 1, state);
        self.0.1.notify_all();
    }
}

/// The state of a board whose unit `lan` has this state.
fn of(lan: &str) -> Value {
    json!({ "state": "ready", "units": [{ "name": "lan", "state": lan, "reason": "no room" }] })
}

fn ask(host: &Host, verb: &str, name: &str) -> Result<Value, Failure> {
    let mut client = Client::connect(&host.folder.path().join("messenger.sock")).unwrap();
    client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
    let args = json!({ "name": name }).as_object().unwrap().clone();
    client.call(verb, args).map_err(|error| match error {
        octet_node::control::CallError::Failure(failure) => failure,
        error => panic!("{error}"),
    })
}

#[test]
fn who_has_asked_is_told_what_is_wrong() {
    let mut host = Host::new();
    let _gate = Gate::start(&host.folder.path().join("gate.sock"));
    let init = Init::start(&host.folder.path().join("init.sock"));
    let place = host.start("127.0.0.1:0");
    let at = place.addresses[0].to_string();
    let (mut anna, mut ben) =
        (Operator::new(&host, &place, "anna"), Operator::new(&host, &place, "ben"));
    assert!(ask(&host, "subscribe", &anna.name()).unwrap_err().message.contains("has not written"));
    for (one, count) in [(&mut anna, 1), (&mut ben, 1)] {
        one.write(&one.sign("stats"));
        one.answers(count);
    }
    assert_eq!(ask(&host, "subscribe", &anna.name()).unwrap(), json!({ "wrong": [] }));

    init.becomes(of("failed"));
    assert_eq!(anna.answers(2).pop().unwrap(), "wrong: lan has failed: no room");

    // After a kill the alert is not repeated. The end of the failure is reported to those who are
    // still subscribed.
    host.kill();
    assert_eq!(host.start(&at), place);
    ben.write(&ben.sign("show"));
    ben.answers(2);
    assert_eq!(
        ask(&host, "subscribe", &ben.name()).unwrap()["wrong"][0],
        "lan has failed: no room"
    );
    ask(&host, "unsubscribe", &anna.name()).unwrap();
    init.becomes(of("ready"));
    assert_eq!(ben.answers(3).pop().unwrap(), "over: lan has failed: no room");
    anna.write(&anna.sign("show"));
    assert!(anna.answers(3).pop().unwrap().contains("show"), "nothing else has come before");
    ask(&host, "unsubscribe", &anna.name()).unwrap_err();
}
