//! Runs config as PID 1 does, and simulates PID 1, identity, and a unit that reads `[operator]`.

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use octet_appliance::{Appliance, UnitSource};
use octet_as_pid_1::{MemoryFile, TIMEOUT, wait_until};
use octet_node::Peer;
use octet_node::command::{Command as Signed, CommandBody};
use octet_node::control::file::Source;
use octet_node::control::settings::{APPLY, CHECK};
use octet_node::control::{By, CallError, Client, Failure, FailureCode, PublicKey, Request};
use octet_node::digest::sha256;
use octet_node::key::PrivateKey;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// The image's configuration.
pub const IMAGE: &str = "[appliance]\nname = \"image\"\n[image]\npackages = [\"musl\"]\n\
                         drivers = []\nmodules = []\nservices = []\n";

/// How the unit reacts to calls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mood {
    Accepts,
    /// It refuses the next configuration.
    Refuses,
    /// It cannot apply the active configuration.
    Breaks,
    /// It does not answer this verb, and signals that to the test.
    Hangs(&'static str),
}

#[derive(Clone)]
pub struct Unit {
    pub mood: Arc<Mutex<Mood>>,
    /// The called verbs, each with the section that the unit read then.
    pub log: Arc<Mutex<Vec<(String, Value)>>>,
    socket: PathBuf,
    hangs: Sender<()>,
}

impl Unit {
    fn answer(&self, request: &Request) -> Result<Value, Failure> {
        // Takes the reaction now: reading the log could change it.
        let mood = *self.mood.lock().unwrap();
        let read = self.read(request.verb == CHECK);
        self.log.lock().unwrap().push((request.verb.clone(), read));
        match (mood, request.verb.as_str()) {
            (Mood::Refuses, CHECK) => Err(Failure::new(FailureCode::Failed, "too many", "fewer")),
            (Mood::Breaks, APPLY) => {
                // It fails only once: it can apply the old configuration.
                *self.mood.lock().unwrap() = Mood::Accepts;
                Err(Failure::new(FailureCode::Failed, "out of paint", "buy some"))
            }
            (Mood::Hangs(at), verb) if at == verb => {
                self.hangs.send(()).unwrap();
                std::thread::sleep(TIMEOUT);
                Ok(Value::Null)
            }
            (_, CHECK | APPLY) => Ok(Value::Null),
            (_, other) => panic!("the unit is asked {other}"),
        }
    }

    fn read(&self, next: bool) -> Value {
        let mut client = Client::connect(&self.socket).unwrap();
        client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
        let sections = client.call("sections", object(json!({ "next": next }))).unwrap();
        sections["operator"].clone()
    }

    /// The active section that the unit has read last, if any.
    pub fn has(&self) -> Option<Value> {
        let log = self.log.lock().unwrap();
        log.iter().rev().find(|(verb, _)| verb == APPLY).map(|(_, read)| read.clone())
    }

    /// The verbs that were called since the last call of this function.
    pub fn take_verbs(&self) -> Vec<String> {
        self.log.lock().unwrap().drain(..).map(|(verb, _)| verb).collect()
    }
}

pub struct Host {
    pub folder: TempDir,
    pub node: PrivateKey,
    pub unit: Unit,
    notify: UnixDatagram,
    /// The state of the unit that PID 1 reports.
    pub state: Arc<Mutex<&'static str>>,
    hanging: Mutex<Receiver<()>>,
}

impl Host {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        let notify = UnixDatagram::bind(path("notify")).unwrap();
        notify.set_read_timeout(Some(TIMEOUT)).unwrap();
        fs::create_dir(path("state")).unwrap();
        fs::write(path("appliance.toml"), IMAGE).unwrap();
        let settings = json!(Appliance::parse("appliance.toml", IMAGE).unwrap());
        fs::write(path("settings.json"), settings.to_string()).unwrap();
        let unit = "name = \"gate\"\nexec = \"/x\"\nconfig = [\"operator\"]\n\
                    sockets.control = { path = \"/run/octet/gate.sock\", open = true }\n";
        let unit = UnitSource::parse("unit.toml".into(), unit.into()).unwrap().unit;
        fs::write(path("units.json"), json!([unit]).to_string()).unwrap();

        let state = Arc::new(Mutex::new("ready"));
        let told = state.clone();
        stand_in(path("init.sock"), move |request, peer| {
            assert_eq!(request.verb, "watch");
            let unit = json!({ "name": "gate", "state": *told.lock().unwrap() });
            // The caller may have been killed.
            let _ = peer.item(request.id, json!({ "units": [unit] }));
            Ok(Value::Null)
        });
        let node = PrivateKey::generate().unwrap();
        let public = node.public();
        stand_in(path("identity.sock"), move |_, _| Ok(json!({ "node": public })));
        let (hangs, hanging) = channel();
        let (mood, log) = (Arc::new(Mutex::new(Mood::Accepts)), Arc::default());
        let unit = Unit { mood, log, socket: path("config.sock"), hangs };
        let answers = unit.clone();
        stand_in(path("gate.sock"), move |request, _| answers.answer(&request));
        Self { folder, node, unit, notify, state, hanging: Mutex::new(hanging) }
    }

    pub fn set(&self, mood: Mood) {
        *self.unit.mood.lock().unwrap() = mood;
    }

    /// Waits until the unit hangs.
    pub fn wait_until_it_hangs(&self) {
        self.hanging.lock().unwrap().recv_timeout(TIMEOUT).expect("the unit is asked");
    }

    pub fn state_folder(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The names of the copies on disk.
    pub fn copies(&self) -> Vec<String> {
        let names = fs::read_dir(self.state_folder()).unwrap();
        let mut names: Vec<String> =
            names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The arguments of `apply` as octetctl signs them for `target`.
    pub fn signed(&self, key: &PrivateKey, text: &str, sequence: u64, target: PublicKey) -> Value {
        let file = json!({ "sha256": sha256(text.as_bytes()) });
        let mut args = json!({ "file": file, "sequence": sequence });
        let order = CommandBody {
            target,
            operator: key.public(),
            id: [7; 16],
            expires: 0,
            unit: "config".parse().unwrap(),
            verb: "apply".into(),
            args: object(args.clone()),
        };
        args["signed"] = json!(String::from(Signed::sign(order, key).unwrap()));
        args
    }

    /// Starts config, and waits until it is ready.
    pub fn start(&self) -> Config<'_> {
        let own = rustix::process::geteuid().as_raw();
        let before = self.unit.log.lock().unwrap().len();
        let child = Command::new(env!("CARGO_BIN_EXE_octet-config"))
            .arg("--root")
            .arg(self.folder.path())
            .env_clear()
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .env("STATE_DIRECTORY", self.state_folder())
            .env(
                "OCTET_CALLERS",
                format!("{own}=show,diff,apply,confirm,history,rollback,sections"),
            )
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut message = [0; 100];
        let count = self.notify.recv(&mut message).expect("config does not become ready");
        assert_eq!(&message[..count], b"READY=1");
        let config = Config { child: Mutex::new(Some(child)), host: self };
        // Whatever the unit has applied before, it applies the active configuration.
        wait_until("the unit hears what is in force", || {
            *self.state.lock().unwrap() != "ready" || self.unit.log.lock().unwrap().len() > before
        });
        config
    }
}

/// Answers the connections to `path` until the test ends.
fn stand_in(
    path: PathBuf,
    answer: impl Fn(Request, &mut Peer) -> Result<Value, Failure> + Send + Sync + 'static,
) {
    let (listener, answer) = (UnixListener::bind(path).unwrap(), Arc::new(answer));
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut peer = Peer::new(stream);
                while let Ok(Some(request)) = peer.next_request() {
                    let id = request.id;
                    let answer = answer(request, &mut peer);
                    // The caller may have been killed.
                    let _ = peer.end(id, answer);
                }
            });
        }
    });
}

pub struct Config<'a> {
    child: Mutex<Option<Child>>,
    host: &'a Host,
}

impl Config<'_> {
    pub fn kill(self) {
        self.end();
    }

    /// Ends the process while references to it still exist.
    pub fn end(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn connect(&self) -> Client<std::os::unix::net::UnixStream> {
        let client = Client::connect(&self.host.folder.path().join("config.sock")).unwrap();
        client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
        client
    }

    pub fn call(&self, by: By, verb: &str, args: Value) -> Result<Value, CallError> {
        self.connect().on_behalf_of(by).call(verb, object(args))
    }

    pub fn text(&self) -> String {
        let shown = self.call(By::Port, "show", json!({})).unwrap();
        shown["text"].as_str().unwrap().to_owned()
    }

    /// Calls `verb` with `text` as its file.
    pub fn send(&self, by: By, verb: &str, text: &str, args: Value) -> Result<Value, CallError> {
        let mut args = object(args);
        let mut file = MemoryFile(text.as_bytes().to_vec());
        args.entry("file").or_insert_with(|| json!(file.describe()));
        self.connect().on_behalf_of(by).call_with(verb, args, Some(&mut file), |_| true)
    }

    pub fn apply(&self, by: By, text: &str, args: Value) -> Result<Value, CallError> {
        self.send(by, "apply", text, args)
    }

    /// Applies `text`, signed by `key` as configuration `sequence`.
    pub fn apply_signed(
        &self,
        key: &PrivateKey,
        text: &str,
        sequence: u64,
    ) -> Result<Value, CallError> {
        let args = self.host.signed(key, text, sequence, self.host.node.public());
        self.apply(By::Operator(key.public()), text, args)
    }
}

pub fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// The failure of a call.
pub fn failure(answer: Result<Value, CallError>) -> Failure {
    match answer {
        Err(CallError::Failure(failure)) => failure,
        other => panic!("it is refused, not {other:?}"),
    }
}

impl Drop for Config<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
