//! Simulates PID 1, identity and config of a node for cluster: threads that listen on sockets of
//! the same names.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use octet_node::Peer;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::{PublicKey, Request};
use octet_node::key::PrivateKey;
use octet_node::map::CLUSTER;
use serde_json::{Value, json};

use super::Failed;

/// Simulates all three in `folder`, for board `number` of a box of `boards`.
pub fn start(folder: &Path, number: u8, boards: u8) -> Result<(), Failed> {
    serve(&folder.join("init.sock"), move |peer, request| init(peer, request, number))?;
    let settings = json!({"boards": boards, "enrol": "first-use"});
    let sections = json!({ CLUSTER: settings, "board": null, "operator": null });
    serve(&folder.join("config.sock"), move |peer, Request { id, .. }| {
        peer.end(id, Ok(sections.clone()))
    })?;
    let identity =
        Identity { node: PrivateKey::generate()?, state: Mutex::default(), turned: Condvar::new() };
    serve(&folder.join("identity.sock"), move |peer, request| identity.answer(peer, &request))
}

/// Answers each connection with `answer`.
fn serve(
    path: &Path,
    answer: impl Fn(&mut Peer, Request) -> io::Result<()> + Send + Sync + 'static,
) -> Result<(), Failed> {
    let (listener, answer) = (UnixListener::bind(path)?, Arc::new(answer));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            // The client may have disconnected.
            thread::spawn(move || requests(stream, &*answer));
        }
    });
    Ok(())
}

fn requests(
    stream: UnixStream,
    answer: &(dyn Fn(&mut Peer, Request) -> io::Result<()> + Send + Sync),
) -> io::Result<()> {
    let mut peer = Peer::new(stream);
    while let Some(request) = peer.next_request()? {
        answer(&mut peer, request)?;
    }
    Ok(())
}

/// Simulates PID 1 of a board whose number never changes, and which accepts all scheduled units.
fn init(peer: &mut Peer, Request { id, verb, .. }: Request, number: u8) -> io::Result<()> {
    match verb.as_str() {
        "watch" => peer.item(id, json!({"board": number, "state": "ready"})),
        "status" => {
            let units = json!([{"name": "cluster", "state": "ready"}]);
            let memory = json!({"available": 1, "total": 2});
            let status = json!({"state": "ready", "uptime": 1, "memory": memory, "units": units});
            peer.end(id, Ok(status))
        }
        _ => peer.end(id, Ok(Value::Null)),
    }
}

/// A node, and its key of `cluster`.
struct Identity {
    node: PrivateKey,
    state: Mutex<Option<PublicKey>>,
    turned: Condvar,
}

impl Identity {
    fn certify(&self, key: PublicKey) -> io::Result<Certificate> {
        let unit = CLUSTER.parse().map_err(io::Error::other)?;
        let statement = KeyStatement { node: self.node.public(), unit, key, epoch: 1, issued: 1 };
        Certificate::sign(statement, &self.node).map_err(io::Error::other)
    }

    /// The answer never changes, so the call never ends.
    fn answer(&self, peer: &mut Peer, request: &Request) -> io::Result<()> {
        let mut key = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if request.verb == "certify" {
            let given = request.args["key"].as_str().unwrap_or_default();
            let given = given.parse::<PublicKey>().map_err(io::Error::other)?;
            *key = Some(given);
            self.turned.notify_all();
            return peer.item(request.id, json!(self.certify(given)?));
        }
        while key.is_none() {
            key = self.turned.wait(key).unwrap_or_else(PoisonError::into_inner);
        }
        let all = key.iter().map(|key| self.certify(*key)).collect::<io::Result<Vec<_>>>()?;
        peer.item(request.id, json!(all))
    }
}
