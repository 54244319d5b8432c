//! Simulates PID 1 and identity: threads at sockets of the same names.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use octet_as_pid_1::wait_until;
use octet_node::Peer;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::file::{FileIntake, MAX_WANT, Want};
use octet_node::control::{
    ArgKind, Client, ClientMessage, Connection, Permission, PieceBody, PublicKey, Reply, ReplyBody,
    Request, Verb,
};
use octet_node::key::PrivateKey;
use octet_node::map::{CLUSTER, MAP, MapVersion, Member, SignedMap, Update};
use serde_json::json;

use crate::host::listen;

/// A file next to the sockets; while it exists, the slot is on trial.
pub const TRIAL: &str = "trial";

type Asked = Arc<Mutex<Vec<String>>>;

/// The simulated PID 1, and the units `cache`, `update` and `logd`.
pub struct Units {
    asked: Asked,
    /// The number of open connections.
    open: Arc<AtomicUsize>,
    /// Whether units continue to read after a call of `ahead`.
    reads: Arc<AtomicBool>,
}

impl Units {
    pub fn start(folder: &Path) -> Self {
        let (asked, open) = (Asked::default(), Arc::<AtomicUsize>::default());
        let reads = Arc::<AtomicBool>::default();
        for unit in ["init", "cache", "update", "logd"] {
            let listener = listen(&folder.join(format!("{unit}.sock")));
            let (trial, all, open) = (folder.join(TRIAL), Arc::clone(&asked), Arc::clone(&open));
            let reads = Arc::clone(&reads);
            thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let (trial, all, open) = (trial.clone(), Arc::clone(&all), Arc::clone(&open));
                    let reads = Arc::clone(&reads);
                    open.fetch_add(1, Ordering::SeqCst);
                    thread::spawn(move || {
                        // The client may have disconnected.
                        let _ =
                            Conversation { unit, stream, trial, all, reads, part: None }.go_on();
                        open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            });
        }
        Self { asked, open, reads }
    }

    /// Makes units read the data that has arrived since `ahead`.
    pub fn read_on(&self) {
        self.reads.store(true, Ordering::SeqCst);
    }

    /// Waits until all calls of a killed gate at `socket` are counted.
    pub fn settle(&self, socket: &Path) {
        // Once this call is answered, all earlier connections were accepted.
        Client::connect(socket).unwrap().describe().unwrap();
        wait_until("all have ended", || self.open.load(Ordering::SeqCst) == 0);
    }

    /// The number of calls of `unit verb`, except `describe`.
    pub fn count(&self, what: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == what).count()
    }

    pub fn total(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

struct Conversation {
    unit: &'static str,
    stream: UnixStream,
    trial: PathBuf,
    all: Asked,
    reads: Arc<AtomicBool>,
    /// The requested part of a file, and the number and sum of the bytes so far.
    part: Option<(FileIntake, u64, u64)>,
}

impl Conversation {
    fn go_on(mut self) -> io::Result<()> {
        let mut connection = Connection::default();
        let mut buffer = [0; 4096];
        while let count @ 1.. = self.stream.read(&mut buffer)? {
            for message in connection.received(&buffer[..count], true) {
                match message {
                    ClientMessage::Request(request) => self.answer(request)?,
                    ClientMessage::Piece(piece) => {
                        let PieceBody::Chunk(chunk) = piece.body else { continue };
                        let Some((mut part, count, sum)) = self.part.take() else { continue };
                        let Some(bytes) = part.take(&chunk).unwrap() else {
                            self.part = Some((part, count, sum));
                            continue;
                        };
                        let sum = sum + bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
                        let count = count + bytes.len() as u64;
                        if part.in_flight() > 0 {
                            self.part = Some((part, count, sum));
                            continue;
                        }
                        self.want(piece.id, count, sum, bytes.len())?;
                    }
                }
            }
        }
        Ok(())
    }

    fn want(&mut self, id: u64, count: u64, sum: u64, last: usize) -> io::Result<()> {
        if count > 0 && last < MAX_WANT as usize {
            return self.say(id, ReplyBody::End(json!([count, sum])));
        }
        let mut part = FileIntake::default();
        let want = ReplyBody::Want(part.want(count, MAX_WANT).unwrap());
        self.part = Some((part, count, sum));
        self.say(id, want)
    }

    fn answer(&mut self, request: Request) -> io::Result<()> {
        assert_eq!(request.unit, None);
        let (unit, id) = (self.unit, request.id);
        if request.verb != "describe" {
            self.all.lock().unwrap().push(format!("{unit} {}", request.verb));
        }
        match (unit, request.verb.as_str()) {
            (_, "describe") => {
                self.say(id, ReplyBody::End(json!(verbs(unit, self.trial.exists()))))
            }
            (_, "flood") => loop {
                self.say(id, ReplyBody::Item("x".repeat(100_000).into()))?;
            },
            ("init", "status") if request.by.is_none() => {
                let mut units =
                    ["gate", "cache", "update", "silent"].map(|name| json!({ "name": name }));
                units[3]["reason"] = json!("is for other boards");
                self.say(id, ReplyBody::End(json!({ "units": units })))
            }
            (_, "leave") => Err(io::ErrorKind::ConnectionAborted.into()),
            (_, "install") => self.want(id, 0, 0, 0),
            // Requests so many parts at once, and reads none of them until `read_on`.
            (_, "ahead") => {
                let (mut part, wants) = (FileIntake::default(), request.args["wants"].as_u64());
                for at in (0..).step_by(MAX_WANT as usize).take(wants.unwrap() as usize) {
                    // Parts beyond the limit are requested without recording them.
                    let want = part.want(at, MAX_WANT).unwrap_or(Want { at, length: MAX_WANT });
                    self.say(id, ReplyBody::Want(want))?;
                }
                self.part = Some((part, 0, 0));
                wait_until("it may read", || self.reads.load(Ordering::SeqCst));
                Ok(())
            }
            (_, "watch") => self.say(id, ReplyBody::Item("as it is".into())),
            (unit, verb) => {
                let (args, by) = (request.args.clone(), request.by);
                let end = json!({ "unit": unit, "verb": verb, "args": args, "by": by });
                self.say(id, ReplyBody::End(end))
            }
        }
    }

    fn say(&mut self, id: u64, body: ReplyBody) -> io::Result<()> {
        let mut frame = vec![];
        let json = serde_json::to_vec(&Reply { id, body }).unwrap();
        octet_node::control::encode(&json, &mut frame).unwrap();
        self.stream.write_all(&frame)
    }
}

fn verbs(unit: &str, on_trial: bool) -> Vec<Verb> {
    use Permission::{Operate, Own, Read, Update};

    let mut verbs = vec![Verb::new("describe", Read, "")];
    verbs.extend(match unit {
        "init" => vec![
            Verb::new("status", Read, "").optional("box", ArgKind::Flag, ""),
            Verb::new("watch", Read, ""),
            Verb::new("flood", Read, ""),
            Verb::new("logs", Read, ""),
            Verb::new("restart", if on_trial { Update } else { Operate }, "").required(
                "unit",
                ArgKind::Text,
                "",
            ),
        ],
        "cache" => vec![
            Verb::new("purge", Operate, ""),
            Verb::new("stats", Read, ""),
            Verb::new("watch", Read, ""),
            Verb::new("leave", Read, ""),
        ],
        "update" => vec![
            Verb::new("install", Update, "").required("file", ArgKind::File, ""),
            Verb::new("ahead", Update, "").internal().required("file", ArgKind::File, "").required(
                "wants",
                ArgKind::Integer,
                "",
            ),
            Verb::new("revoke", Own, ""),
        ],
        _ => vec![Verb::new("logs", Read, "")],
    });
    verbs
}

/// The simulated identity: one node, and the current key of the gate.
pub struct Identity {
    node: Arc<PrivateKey>,
    /// How often the gate's key was revoked.
    revoked: Arc<(Mutex<u64>, Condvar)>,
}

impl Identity {
    pub fn start(folder: &Path) -> Self {
        let (node, listener) =
            (PrivateKey::generate().unwrap(), listen(&folder.join("identity.sock")));
        let node = Arc::new(node);
        let shown = Arc::clone(&node);
        let revoked = Arc::<(Mutex<u64>, Condvar)>::default();
        let shared = Arc::clone(&revoked);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (node, revoked) = (Arc::clone(&node), Arc::clone(&shared));
                thread::spawn(move || certify(stream, &node, &revoked));
            }
        });
        Self { node: shown, revoked }
    }

    pub fn node(&self) -> PublicKey {
        self.node.public()
    }

    /// Revokes the gate's key, so that the gate generates another.
    pub fn revoke(&self) {
        *self.revoked.0.lock().unwrap() += 1;
        self.revoked.1.notify_all();
    }
}

fn certify(
    mut stream: UnixStream,
    node: &PrivateKey,
    revoked: &(Mutex<u64>, Condvar),
) -> io::Result<()> {
    let mut connection = Connection::default();
    let mut buffer = [0; 4096];
    let request = loop {
        let count = stream.read(&mut buffer)?;
        let mut messages = connection.received(&buffer[..count], true);
        if let Some(ClientMessage::Request(request)) = messages.pop() {
            break request;
        }
    };
    assert_eq!(request.verb, "certify");
    let key: PublicKey = request.args["key"].as_str().unwrap().parse().unwrap();
    let mut say = |body| {
        let json = serde_json::to_vec(&Reply { id: request.id, body }).unwrap();
        let mut frame = vec![];
        octet_node::control::encode(&json, &mut frame).unwrap();
        stream.write_all(&frame)
    };
    let mut times = revoked.0.lock().unwrap();
    let (unit, epoch) = ("gate".parse().unwrap(), *times + 1);
    let statement = KeyStatement { node: node.public(), unit, key, epoch, issued: 1 };
    let certificate = Certificate::sign(statement, node).unwrap();
    say(ReplyBody::Item(json!(certificate)))?;
    while *times < epoch {
        times = revoked.1.wait(times).unwrap();
    }
    say(ReplyBody::End(json!({ "renew": true })))
}

/// Simulates `cluster` of the coordinator with this `number`. `boards` are pairs of number and
/// node; board N is at 127.0.0.N. The router has the number 0, and no address.
pub fn cluster(folder: &Path, coordinator: &Identity, number: u8, boards: &[(u8, PublicKey)]) {
    let member = |number, node, addresses| {
        let (certificates, record) = (vec![], None);
        Member { number, node, addresses, certificates, record, drained: false }
    };
    let address = |number| Some(IpAddr::from([127, 0, 0, number])).filter(|_| number > 0);
    let all = std::iter::once((number, coordinator.node())).chain(boards.iter().copied());
    let mut members: Vec<_> = all
        .map(|(number, node)| member(number, node, address(number).into_iter().collect()))
        .collect();
    members.sort_by_key(|member| member.number);
    let map = octet_node::map::Map::new(
        coordinator.node(),
        MapVersion { epoch: 1, sequence: 1 },
        members,
        vec![],
    );
    let key = PrivateKey::generate().unwrap();
    let (node, unit) = (coordinator.node(), CLUSTER.parse().unwrap());
    let statement = KeyStatement { node, unit, key: key.public(), epoch: 1, issued: 1 };
    let certificate = Certificate::sign(statement, &coordinator.node).unwrap();
    let map = SignedMap::sign(map, certificate, &key).unwrap();
    let update = json!(Update { number: Some(number), map: Some(map) });
    let listener = listen(&folder.join("cluster.sock"));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut peer = Peer::new(stream);
            let update = update.clone();
            thread::spawn(move || {
                while let Ok(Some(request)) = peer.next_request() {
                    assert_eq!(request.verb, MAP);
                    peer.item(request.id, update.clone()).unwrap();
                }
            });
        }
    });
}
