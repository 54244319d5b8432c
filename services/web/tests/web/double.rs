//! A test double of a box: it answers calls over socket pairs with what a test has put there, and counts them.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use octet_control::file::FileIntake;
use octet_control::{
    Client, ClientMessage, Connection, DESCRIBE, Failure, FailureCode, PieceBody, Reply, ReplyBody,
    Request, Verb,
};
use octet_web::{Connect, ConnectionUse, NodeClient, NodeError};
use serde_json::{Value, json};

/// How long a test waits before it fails.
pub const HANG: Duration = Duration::from_secs(180);

/// The size of the parts of a file that the unit `update` asks for.
const PART: u32 = 8 << 10;

/// The answer of a verb: items, and then an end or a failure.
#[derive(Clone)]
pub struct Recorded {
    pub items: Vec<Value>,
    pub end: Result<Value, Failure>,
}

#[derive(Default)]
struct State {
    answers: HashMap<(u8, String, String), Recorded>,
    verbs: HashMap<String, Vec<Verb>>,
    /// Node, unit, verb and arguments of each call.
    calls: Vec<(u8, String, String, Value)>,
    /// Connections with a call of `watch`, and its id.
    watchers: Vec<(UnixStream, u64)>,
    /// The connections, for what they were made.
    connected: Vec<(u8, ConnectionUse)>,
    unreachable: Vec<u8>,
    /// What an upload has brought.
    uploaded: Vec<u8>,
    /// Whether uploads wait after their first part.
    uploads_wait: bool,
}

#[derive(Clone, Default)]
pub struct BoxDouble(Arc<(Mutex<State>, Condvar)>);

impl BoxDouble {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
        changed
    }

    /// Waits until `wanted` is true for the state.
    fn wait(&self, what: &str, wanted: impl Fn(&State) -> bool) {
        let state = self.0.0.lock().unwrap();
        let (_state, timeout) =
            self.0.1.wait_timeout_while(state, HANG, |state| !wanted(state)).unwrap();
        assert!(!timeout.timed_out(), "late: {what}");
    }

    /// Describes the verbs of a unit, the same on all nodes.
    pub fn describe(&self, unit: &str, verbs: Vec<Verb>) {
        self.change(|state| state.verbs.insert(unit.to_owned(), verbs));
    }

    pub fn answer(&self, node: u8, unit: &str, verb: &str, end: Value) {
        self.record(node, unit, verb, Recorded { items: vec![], end: Ok(end) });
    }

    pub fn record(&self, node: u8, unit: &str, verb: &str, recorded: Recorded) {
        let key = (node, unit.to_owned(), verb.to_owned());
        self.change(|state| state.answers.insert(key, recorded));
    }

    pub fn set_unreachable(&self, node: u8) {
        self.change(|state| state.unreachable.push(node));
    }

    pub fn set_uploads_wait(&self, wait: bool) {
        self.change(|state| state.uploads_wait = wait);
    }

    /// The arguments of all calls of a verb.
    pub fn calls(&self, node: u8, unit: &str, verb: &str) -> Vec<Value> {
        let calls = self.change(|state| state.calls.clone());
        let of_verb = calls.into_iter().filter(|it| (it.0, &*it.1, &*it.2) == (node, unit, verb));
        of_verb.map(|it| it.3).collect()
    }

    pub fn connected(&self) -> Vec<(u8, ConnectionUse)> {
        self.change(|state| state.connected.clone())
    }

    pub fn uploaded(&self) -> Vec<u8> {
        self.change(|state| state.uploaded.clone())
    }

    pub fn wait_for_watchers(&self, count: usize) {
        self.wait("watchers", |state| state.watchers.len() == count);
    }

    pub fn wait_for_upload(&self) {
        self.wait("an upload", |state| !state.uploaded.is_empty());
    }

    /// Sends an item to all who watch.
    pub fn publish(&self, item: &Value) {
        self.change(|state| {
            state.watchers.retain_mut(|(stream, id)| {
                let reply = Reply { id: *id, body: ReplyBody::Item(item.clone()) };
                send(stream, &reply)
            });
        });
    }

    pub fn connect(&self) -> Connect {
        let double = self.clone();
        Box::new(move |node, used| double.connect_to(node, used))
    }

    fn connect_to(&self, node: u8, used: ConnectionUse) -> Result<NodeClient, NodeError> {
        self.change(|state| {
            state.connected.push((node, used));
            match state.unreachable.contains(&node) {
                true => Err(NodeError::NoAnswer {
                    message: format!("board {node} cannot be reached"),
                    help: "is it on?".to_owned(),
                }),
                false => Ok(()),
            }
        })?;
        let (ours, theirs) = UnixStream::pair().unwrap();
        let double = self.clone();
        thread::spawn(move || double.serve(node, theirs));
        Ok(Client::new(Box::new(ours)))
    }

    fn serve(&self, node: u8, mut stream: UnixStream) {
        let (mut connection, mut buffer) = (Connection::default(), [0; 65536]);
        // The request with a file, and how much of the file has come.
        let (mut upload, mut intake) = (None, FileIntake::default());
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            for message in connection.received(&buffer[..count], true) {
                match message {
                    ClientMessage::Request(request) => {
                        let (id, verb) = (request.id, request.verb.clone());
                        if verb == "install" {
                            self.note(node, &request);
                            intake = FileIntake::default();
                            upload = Some((id, 0));
                            let want = ReplyBody::Want(intake.want(0, PART).unwrap());
                            send(&mut stream, &Reply { id, body: want });
                            continue;
                        }
                        for body in self.replies(node, &request, &stream) {
                            send(&mut stream, &Reply { id, body });
                        }
                    }
                    ClientMessage::Piece(piece) => {
                        let (PieceBody::Chunk(chunk), Some((id, at))) = (piece.body, upload) else {
                            continue;
                        };
                        let Some(bytes) = intake.take(&chunk).unwrap() else { continue };
                        self.change(|state| state.uploaded.extend(&bytes));
                        self.wait("the upload may go on", |state| !state.uploads_wait);
                        let at = at + bytes.len() as u64;
                        upload = Some((id, at));
                        if bytes.len() < PART as usize {
                            for body in self.recorded(node, "update", "install") {
                                send(&mut stream, &Reply { id, body });
                            }
                        } else {
                            let want = ReplyBody::Want(intake.want(at, PART).unwrap());
                            send(&mut stream, &Reply { id, body: want });
                        }
                    }
                }
            }
        }
    }

    fn note(&self, node: u8, request: &Request) -> String {
        let unit = request.unit.as_ref().map_or_else(|| "init".to_owned(), ToString::to_string);
        let call = (node, unit.clone(), request.verb.clone(), request.args.clone().into());
        self.change(|state| state.calls.push(call));
        unit
    }

    fn replies(&self, node: u8, request: &Request, stream: &UnixStream) -> Vec<ReplyBody> {
        let unit = self.note(node, request);
        if !self.change(|state| state.verbs.contains_key(&unit)) {
            return vec![ReplyBody::Error(octet_control::connect_failure(
                &unit,
                &json!({ "units": [{ "name": "init" }] }),
                "",
            ))];
        }
        match request.verb.as_str() {
            DESCRIBE => {
                let verbs = self.change(|state| state.verbs[&unit].clone());
                vec![ReplyBody::End(serde_json::to_value(verbs).unwrap())]
            }
            "watch" => {
                let watcher = (stream.try_clone().unwrap(), request.id);
                self.change(|state| state.watchers.push(watcher));
                vec![]
            }
            "history" => {
                let verb = format!("history {}", request.args["quantity"].as_str().unwrap());
                self.recorded(node, &unit, &verb)
            }
            verb => self.recorded(node, &unit, verb),
        }
    }

    fn recorded(&self, node: u8, unit: &str, verb: &str) -> Vec<ReplyBody> {
        let key = (node, unit.to_owned(), verb.to_owned());
        match self.change(|state| state.answers.get(&key).cloned()) {
            Some(Recorded { items, end }) => {
                let end = end.map_or_else(ReplyBody::Error, ReplyBody::End);
                items.into_iter().map(ReplyBody::Item).chain([end]).collect()
            }
            None => vec![ReplyBody::Error(failure("nothing is recorded for this", "record it"))],
        }
    }
}

pub fn failure(message: &str, help: &str) -> Failure {
    Failure::new(FailureCode::Failed, message.to_owned(), help.to_owned())
}

/// Whether the reply was sent.
fn send(stream: &mut UnixStream, reply: &Reply) -> bool {
    let mut frame = Vec::new();
    octet_control::encode(&serde_json::to_vec(reply).unwrap(), &mut frame).unwrap();
    stream.write_all(&frame).is_ok()
}
