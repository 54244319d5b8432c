//! Simulates PID 1, identity and config for cluster: threads that listen on sockets of the same
//! names.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use octet_as_pid_1::TIMEOUT;
use octet_node::Peer;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::{Failure, FailureCode, PublicKey};
use octet_node::key::PrivateKey;
use octet_node::links::{LinkTraffic, TRAFFIC};
use serde_json::{Map, Value, json};

use crate::host::listen;

fn serve(path: &Path, answer: impl Fn(UnixStream) -> io::Result<()> + Send + Sync + 'static) {
    let (listener, answer) = (listen(path), Arc::new(answer));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            // The client may have disconnected.
            thread::spawn(move || answer(stream));
        }
    });
}

/// PID 1 of a board whose number never changes.
#[derive(Clone)]
pub struct Init(Arc<(Mutex<Inits>, Condvar)>);

#[derive(Default)]
struct Inits {
    /// The units of each call of `place`.
    placed: Vec<String>,
    refuses: Option<FailureCode>,
}

impl Init {
    pub fn start(folder: &Path, number: u8) -> Self {
        let init = Self(Arc::default());
        let shared = init.clone();
        serve(&folder.join("init.sock"), move |stream| {
            let mut peer = Peer::new(stream);
            while let Some(request) = peer.next_request()? {
                let id = request.id;
                match request.verb.as_str() {
                    "watch" => peer.item(id, json!({"board": number, "state": "ready"}))?,
                    "status" => {
                        let units = json!([
                            {"name": "cluster", "state": "ready"}, {"name": "cache", "state": "failed"},
                        ]);
                        let memory = json!({"available": 5, "total": 9});
                        let hardware = json!({"temperature_celsius": 45.25});
                        let status = json!({"state": "ready", "uptime": 70, "memory": memory, "hardware": hardware, "units": units});
                        peer.end(id, Ok(status))?;
                    }
                    verb => {
                        assert_eq!(verb, "place");
                        let units = request.args["units"].as_str().unwrap().to_owned();
                        let mut inits = shared.0.0.lock().unwrap();
                        inits.placed.push(units);
                        let refused =
                            inits.refuses.map(|code| Failure::new(code, "not here", "go"));
                        drop(inits);
                        shared.0.1.notify_all();
                        peer.end(id, refused.map_or(Ok(Value::Null), Err))?;
                    }
                }
            }
            Ok(())
        });
        init
    }

    /// Makes it refuse the placement, or accept it again.
    pub fn refuse(&self, code: Option<FailureCode>) {
        self.0.0.lock().unwrap().refuses = code;
    }

    /// The units of all calls of `place`, once there were `times`.
    pub fn placed(&self, times: usize) -> Vec<String> {
        let inits = self.0.0.lock().unwrap();
        let fewer = |inits: &mut Inits| inits.placed.len() < times;
        let (inits, late) = self.0.1.wait_timeout_while(inits, TIMEOUT, fewer).unwrap();
        assert!(!late.timed_out(), "{:?}", inits.placed);
        inits.placed.clone()
    }
}

/// netd of the router: a port for each of four boards, of which the last one is not connected, and the uplink.
pub fn netd(folder: &Path) {
    serve(&folder.join("netd.sock"), |stream| {
        let mut peer = Peer::new(stream);
        while let Some(request) = peer.next_request()? {
            assert_eq!(request.verb, TRAFFIC);
            let port = |board: u8| LinkTraffic {
                link: format!("eth{board}"),
                board: Some(board),
                uplink: false,
                carrier: board < 4,
                received: 1,
                received_bytes: 100 * u64::from(board),
                sent: 2,
                sent_bytes: 200 * u64::from(board),
            };
            let uplink = LinkTraffic { board: None, uplink: true, ..port(9) };
            let ports: Vec<_> = (1..=4).map(port).chain([uplink]).collect();
            peer.end(request.id, Ok(json!(ports)))?;
        }
        Ok(())
    });
}

/// config, with the active sections.
#[derive(Clone)]
pub struct Config(pub Arc<Mutex<Map<String, Value>>>);

impl Config {
    pub fn start(folder: &Path, sections: Value) -> Self {
        let sections = Arc::new(Mutex::new(sections.as_object().unwrap().clone()));
        let shared = Arc::clone(&sections);
        serve(&folder.join("config.sock"), move |stream| {
            let mut peer = Peer::new(stream);
            while let Some(request) = peer.next_request()? {
                assert_eq!(request.verb, "sections");
                let all = shared.lock().unwrap().clone();
                let section = |name: &str| (name.to_owned(), all.get(name).cloned().into());
                let sections = ["cluster", "board", "operator"].map(section);
                peer.end(request.id, Ok(Map::from_iter(sections).into()))?;
            }
            Ok(())
        });
        Self(sections)
    }
}

/// identity: a node, its current key of `cluster`, and a key of `gate`.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    node: PrivateKey,
    gate: PublicKey,
    /// The current key of `cluster`, and its epoch.
    state: Mutex<(Option<PublicKey>, u64)>,
    turned: Condvar,
}

impl Identity {
    pub fn start(folder: &Path) -> Self {
        let (node, gate) =
            (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap().public());
        let (state, turned) = Default::default();
        let identity = Self(Arc::new(Inner { node, gate, state, turned }));
        let shared = identity.clone();
        serve(&folder.join("identity.sock"), move |stream| shared.answer(stream));
        identity
    }

    pub fn node(&self) -> PublicKey {
        self.0.node.public()
    }

    /// Makes cluster generate another key.
    pub fn rotate(&self) {
        self.0.state.lock().unwrap().0 = None;
        self.0.turned.notify_all();
    }

    pub fn certify(&self, unit: &str, key: PublicKey, epoch: u64) -> Certificate {
        let unit = unit.parse().unwrap();
        let statement = KeyStatement { node: self.node(), unit, key, epoch, issued: 1 };
        Certificate::sign(statement, &self.0.node).unwrap()
    }

    fn answer(&self, stream: UnixStream) -> io::Result<()> {
        let mut peer = Peer::new(stream);
        while let Some(request) = peer.next_request()? {
            let id = request.id;
            let mut state = self.0.state.lock().unwrap();
            if request.verb == "certify" {
                let key: PublicKey = request.args["key"].as_str().unwrap().parse().unwrap();
                if state.0 != Some(key) {
                    *state = (Some(key), state.1 + 1);
                    self.0.turned.notify_all();
                }
                peer.item(id, json!(self.certify("cluster", key, state.1)))?;
                while state.0 == Some(key) {
                    state = self.0.turned.wait(state).unwrap();
                }
                drop(state);
                peer.end(id, Ok(json!({"renew": true})))?;
                continue;
            }
            assert_eq!(request.verb, "certificates");
            loop {
                let cluster = state.0.map(|key| self.certify("cluster", key, state.1));
                let gate = self.certify("gate", self.0.gate, 1);
                let all: Vec<_> = cluster.into_iter().chain([gate]).collect();
                peer.item(id, json!(all))?;
                let before = *state;
                while *state == before {
                    state = self.0.turned.wait(state).unwrap();
                }
            }
        }
        Ok(())
    }
}
