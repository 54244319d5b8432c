//! Operators that change while the gate runs, reported by `config`.

use std::sync::{Arc, Mutex};

use octet_node::Peer;
use octet_node::control::operator::Operator;
use octet_node::control::{By, CallError};
use serde_json::{Map, Value, json};

use crate::host::{Host, listen, named};
use crate::key;
use crate::operator::{denied, object};

/// Simulates `config` with the section that the gate reads.
pub struct Config(pub Arc<Mutex<Operator>>);

impl Config {
    pub fn start(host: &Host) -> Self {
        let operators = Arc::<Mutex<Operator>>::default();
        let (listener, shared) = (listen(&host.socket("config")), operators.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut peer = Peer::new(stream);
                while let Ok(Some(request)) = peer.next_request() {
                    assert_eq!(request.verb, "sections");
                    let sections = json!({ "operator": *shared.lock().unwrap() });
                    peer.end(request.id, Ok(sections)).unwrap();
                }
            }
        });
        Self(operators)
    }
}

#[test]
fn who_may_come_in_changes_while_it_runs() {
    let (anna, ben, carl) = (key(), key(), key());
    let host = Host::new(&[("anna", &anna, &["own"]), ("ben", &ben, &["read"])]);
    let config = Config::start(&host);
    let at = host.at();
    let mut anna_stays = at.client(&anna).unwrap();
    let mut ben_watches = at.client(&ben).unwrap();
    anna_stays.call("status", Map::new()).unwrap();
    ben_watches.call("status", Map::new()).unwrap();
    denied(at.ask(&carl, "status", json!({})), "is not an operator");

    *config.0.lock().unwrap() = named(&[("anna", &anna, &["own"]), ("carl", &carl, &["read"])]);
    // `config-check` changes nothing.
    host.ask("config-check", json!({})).unwrap();
    denied(at.ask(&carl, "status", json!({})), "is not an operator");
    let mut seen = 0;
    let watched = ben_watches.call_each("watch", Map::new(), |_| {
        seen += 1;
        host.ask("config-apply", json!({})).unwrap();
        true
    });
    // Ben was still permitted when his call started; it is interrupted.
    assert!(matches!(watched, Err(CallError::Closed | CallError::Io(_))), "{watched:?}");
    assert_eq!(seen, 1);
    assert!(host.has_logged(&["ben", "disconnected"]), "{}", host.log());
    denied(at.ask(&ben, "status", json!({})), "is not an operator");
    at.ask(&carl, "status", json!({})).unwrap();
    anna_stays.call("status", Map::new()).unwrap();

    // Applying the same list changes nothing; an empty list disconnects everybody.
    host.ask("config-apply", json!({})).unwrap();
    anna_stays.call("status", Map::new()).unwrap();
    config.0.lock().unwrap().keys.clear();
    host.ask("config-apply", json!({})).unwrap();
    assert!(anna_stays.call("status", Map::new()).is_err());
    denied(at.ask(&anna, "status", json!({})), "is not an operator");
}

/// Units receive the operator's key, which the operator cannot replace by another identity.
#[test]
fn units_are_told_who_asks() {
    let anna = key();
    let host = Host::new(&[("anna", &anna, &["own"])]);
    let public = json!({ "operator": anna.public() });
    let asked: Value = host.at().ask(&anna, "restart", json!({ "unit": "cache" })).unwrap();
    assert_eq!(asked["by"], public);
    let client = host.at().client(&anna).unwrap();
    let args = object(json!({ "unit": "cache" }));
    let asked = client.on_behalf_of(By::Root).call("restart", args).unwrap();
    assert_eq!(asked["by"], public);
}
