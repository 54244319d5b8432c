//! Simulates the gate for the messenger. The tests of the real gate cover its checks; this one
//! counts commands, and runs none twice.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use octet_node::Peer;
use octet_node::command::Command;
use octet_node::control::{Failure, FailureCode, PublicKey};
use serde_json::json;

/// The gate, and the commands that it has received.
pub struct Gate {
    /// Receives the verb of each command when it starts. The verb `hang` is not answered.
    pub begun: Receiver<String>,
    /// The keys that are not operators'; all others are.
    pub strangers: Arc<Mutex<Vec<PublicKey>>>,
}

impl Gate {
    pub fn start(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let (tell, begun) = channel();
        let known = Arc::<Mutex<Vec<[u8; 16]>>>::default();
        let strangers = Arc::<Mutex<Vec<PublicKey>>>::default();
        let unknown = Arc::clone(&strangers);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (known, unknown) = (Arc::clone(&known), Arc::clone(&unknown));
                let tell = tell.clone();
                std::thread::spawn(move || serve(Peer::new(stream), &known, &unknown, &tell));
            }
        });
        Self { begun, strangers }
    }
}

fn serve(
    mut peer: Peer,
    known: &Mutex<Vec<[u8; 16]>>,
    strangers: &Mutex<Vec<PublicKey>>,
    tell: &Sender<String>,
) {
    while let Ok(Some(request)) = peer.next_request() {
        if request.verb == "check-key" {
            let key: PublicKey = serde_json::from_value(request.args["key"].clone()).unwrap();
            let is_unknown = strangers.lock().unwrap().contains(&key);
            let answer = if is_unknown { "unknown" } else { "operator" };
            if peer.end(request.id, Ok(json!(answer))).is_err() {
                return;
            }
            continue;
        }
        assert_eq!(request.verb, "run", "it may ask for nothing else");
        let command: Command = serde_json::from_value(request.args["command"].clone()).unwrap();
        let order = command.order();
        let refused = |message: &str| Failure::new(FailureCode::Denied, message, "sign a new one");
        let mut known = known.lock().unwrap();
        let answer = if known.contains(&order.id) {
            Err(refused("this command was run before"))
        } else {
            known.push(order.id);
            // The test may have ended.
            let _ = tell.send(order.verb.clone());
            Ok(json!({ "unit": order.unit, "verb": order.verb, "args": order.args }))
        };
        drop(known);
        let is_answered = match order.verb.as_str() {
            "hang" if answer.is_ok() => Ok(()),
            "long" => {
                let lines = ["ä".repeat(20_000), "x".repeat(20_000)];
                lines.into_iter().try_for_each(|line| peer.item(request.id, json!(line)))
            }
            _ => peer.end(request.id, answer),
        };
        if is_answered.is_err() {
            return;
        }
    }
}
