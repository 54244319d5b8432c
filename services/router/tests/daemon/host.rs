//! A board with the unit `router` in a process of its own, with simulated PID 1, config and OpenWrt
//! router.

use std::fs::File;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use octet_appliance::{Unit, UnitSource};
use octet_as_pid_1::MemoryFile;
use octet_node::control::file::Source;
use octet_node::control::{CallError, Client, Failure};
use octet_node::{Callers, notify_ready};
use octet_openwrt::adopt;
use octet_openwrt_double::{Router, Server};
use octet_router_unit::{RouterServiceConfig, run};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::stand_in::{Config, Init};

/// A timeout that only a hanging test reaches.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The environment variable with the folder, in the process that acts as `router`.
const FOLDER: &str = "OCTET_TEST_FOLDER";

/// The password of the router's login.
pub const PASSWORD: &str = "correct horse";

pub fn unit() -> Unit {
    let text = include_str!("../../unit.toml").to_owned();
    UnitSource::parse("unit.toml".into(), text).unwrap().unit
}

/// A board of a box with four, and the router.
pub struct Host {
    folder: TempDir,
    notify: UnixDatagram,
    pub init: Init,
    pub config: Config,
    pub server: Server,
    child: Option<Child>,
}

impl Host {
    /// Starts board `number` of a box whose manager is board 2, with the unit `router`.
    pub fn start(number: Option<u8>) -> Self {
        let server = Server::start(router()).unwrap();
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        let notify = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(TIMEOUT)).unwrap();
        let init = Init::start(folder.path(), number);
        let sections = json!({
            "cluster": cluster(&contact(&server)),
            "board": [{ "number": 2, "role": "manager" }],
            "lan": { "port": "lan5" },
            "policy": [{ "from": "lan", "to": "boards", "protocol": "tcp", "ports": [8080] }],
        });
        let config = Config::start(folder.path(), &sections);
        let mut host = Self { folder, notify, init, config, server, child: None };
        host.start_again();
        host
    }

    /// Starts the unit `router`, and waits until it is ready.
    pub fn start_again(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "host::router_unit", "--nocapture"])
            .env(FOLDER, self.folder.path())
            .env("NOTIFY_SOCKET", self.path("notify"))
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn();
        self.child = Some(child.unwrap());
        let mut message = [0; 100];
        let count = self.notify.recv(&mut message).expect("late: router does not become ready");
        assert_eq!(&message[..count], b"READY=1");
    }

    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn ask(&self, verb: &str) -> Result<Value, Failure> {
        self.ask_with(verb, json!({}), None)
    }

    /// Calls a verb in a thread; the service is killed before it answers.
    pub fn begin(&self, verb: &'static str) -> JoinHandle<()> {
        let mut client = Client::connect(&self.path("router.sock")).unwrap();
        client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
        thread::spawn(move || {
            let error = client.call(verb, Map::new()).unwrap_err();
            assert!(!matches!(error, CallError::Failure(_)), "{error}");
        })
    }

    /// Uploads this file as the one with the password.
    pub fn log_in(&self, text: &str) -> Result<Value, Failure> {
        self.log_in_to(&self.server, text)
    }

    /// The same, by an owner who names this router.
    pub fn log_in_to(&self, router: &Server, text: &str) -> Result<Value, Failure> {
        let file = Some(MemoryFile(text.as_bytes().to_vec()));
        let args = json!({ "fingerprint": contact(router)["fingerprint"] });
        self.ask_with("login", args, file)
    }

    fn ask_with(
        &self,
        verb: &str,
        args: Value,
        mut file: Option<MemoryFile>,
    ) -> Result<Value, Failure> {
        let mut client = Client::connect(&self.path("router.sock")).unwrap();
        client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
        let Value::Object(mut args) = args else { panic!("{args}") };
        args.extend(file.iter().map(|file| ("password".to_owned(), json!(file.describe()))));
        let source = file.as_mut().map(|file| file as &mut dyn Source);
        match client.call_with(verb, args, source, |_| true) {
            Ok(answer) => {
                assert!(!answer.to_string().contains(PASSWORD), "{answer}");
                Ok(answer)
            }
            Err(CallError::Failure(failure)) => {
                let said = format!("{} {}", failure.message, failure.help);
                assert!(!said.contains(PASSWORD) && !failure.help.is_empty(), "{said}");
                Err(failure)
            }
            Err(error) => panic!("late: no answer to `{verb}`: {error}\n{}", self.log()),
        }
    }

    /// The lines of a report.
    pub fn report(&self, verb: &str) -> Vec<String> {
        let mut answer = self.ask(verb).unwrap_or_else(|failure| panic!("{failure}"));
        serde_json::from_value(answer["report"].take()).unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    /// The path of a file in the data folder.
    pub fn kept(&self, name: &str) -> PathBuf {
        self.path("state").join(name)
    }

    /// The names of all files in the data folder.
    pub fn all_kept(&self) -> Vec<String> {
        let folder = std::fs::read_dir(self.path("state")).unwrap();
        let mut names: Vec<_> =
            folder.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The router's configuration `network`.
    pub fn network(&self) -> String {
        self.server.with(|router| router.file("network"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The section `[cluster]` of a box with such a router.
pub fn cluster(router: &Value) -> Value {
    json!({ "boards": 4, "router": router, "uplink": "wan", "ports": ["lan1", "lan2", "lan3", "lan4"] })
}

pub fn contact(server: &Server) -> Value {
    let fingerprint = server.fingerprint().map(|byte| format!("{byte:02x}")).concat();
    let fingerprint = format!("sha256:{fingerprint}");
    json!({ "kind": "openwrt", "address": server.address().to_string(), "fingerprint": fingerprint })
}

/// A router whose owner is connected by a separate port, and has run the commands of `adopt`.
fn router() -> Router {
    let network = Router::default()
        .file("network")
        .replace("'br-lan'\n\toption proto", "'br-lan.1'\n\toption proto")
        + "config bridge-vlan 'mine'\n\toption device 'br-lan'\n\toption vlan '1'\n\tlist ports 'lan8:u*'\n\n";
    let mut router = Router::with(&[("network", &network)]);
    // No delay: the service uses the real clock.
    router.delay = 0;
    router.add_login(adopt::LOGIN, PASSWORD, adopt::acl());
    router
}

/// Acts as the unit `router` if the process was started for that; otherwise it tests nothing.
#[test]
fn router_unit() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let socket = folder.join("router.sock");
    // A killed process has left its socket.
    let _ = std::fs::remove_file(&socket);
    let own = rustix::process::geteuid().as_raw();
    let verbs = "login,logout,diff,apply,verify,release,config-check,config-apply";
    let parts = RouterServiceConfig {
        control: UnixListener::bind(&socket).unwrap(),
        callers: Callers::parse(&format!("{own}={verbs}")).unwrap(),
        folder: Some(folder.join("state")),
        sockets: folder.clone(),
        units: vec![unit()],
    };
    match run(parts, notify_ready) {
        Ok(never) => match never {},
        Err(error) => panic!("{error}"),
    }
}
