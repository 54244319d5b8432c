//! Runs the gate in a process of its own, with simulated PID 1 and identity.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use octet_as_pid_1::{RETRY_DELAY, TIMEOUT};
use octet_gate::limits::GateLimits;
use octet_gate::{GateConfig, run};
use octet_node::control::operator::{Operator, OperatorKey};
use octet_node::control::{CallError, Client, PublicKey};
use octet_node::key::PrivateKey;
use octet_node::{Callers, notify_ready};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::operator::At;
use crate::stand_in::{Identity, Units, cluster};

/// The environment variable of the process that acts as the gate.
const ROLE: &str = "OCTET_TEST_ROLE";

pub struct Host {
    folder: TempDir,
    notify: UnixDatagram,
    /// The simulated units, which record their calls; PID 1 is one of them.
    pub units: Units,
    /// The simulated identity, which certifies the gate's key.
    pub identity: Identity,
    operators: Operator,
    gate: Option<Child>,
    pub port: u16,
    /// The port of the boards' gates.
    board_port: u16,
    /// The timeout that the test is about, and its milliseconds; all others are long.
    pub short: (&'static str, u64),
}

impl Host {
    /// A host with a gate for `operators`: name, key and capabilities.
    pub fn new(operators: &[(&str, &PrivateKey, &[&str])]) -> Self {
        let mut host = Self::idle(operators);
        host.start();
        host
    }

    /// A router with `boards`, as pairs of number and node; board N is at 127.0.0.N, and its gate
    /// listens at `port`.
    pub fn router(
        operators: &[(&str, &PrivateKey, &[&str])],
        boards: &[(u8, PublicKey)],
        port: u16,
    ) -> Self {
        Self::coordinator(0, operators, boards, port)
    }

    /// A coordinator with this `number`: 0 for a router, otherwise a board.
    pub fn coordinator(
        number: u8,
        operators: &[(&str, &PrivateKey, &[&str])],
        boards: &[(u8, PublicKey)],
        port: u16,
    ) -> Self {
        let mut host = Self::idle(operators);
        host.board_port = port;
        cluster(host.folder.path(), &host.identity, number, boards);
        host.start();
        host
    }

    fn idle(operators: &[(&str, &PrivateKey, &[&str])]) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        let notify = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(TIMEOUT)).unwrap();
        let units = Units::start(folder.path());
        let identity = Identity::start(folder.path());
        let (operators, short) = (named(operators), ("none", 0));
        let (gate, port, board_port) = (None, 0, 0);
        Self { folder, notify, units, identity, operators, gate, port, board_port, short }
    }

    /// Starts the gate, and waits until it is ready.
    pub fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "host::gate", "--nocapture"])
            .env(ROLE, serde_json::to_string(&self.operators).unwrap())
            .env("OCTET_TEST_SHORT", serde_json::to_string(&self.short).unwrap())
            .env("OCTET_TEST_FOLDER", self.folder.path())
            .env("OCTET_TEST_BOARD_PORT", self.board_port.to_string())
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .unwrap();
        self.gate = Some(child);
        let mut message = [0; 100];
        let count = self.notify.recv(&mut message).expect("the gate does not become ready");
        assert_eq!(&message[..count], b"READY=1");
        self.port =
            std::fs::read_to_string(self.folder.path().join("port")).unwrap().parse().unwrap();
    }

    pub fn kill(&mut self) {
        let mut gate = self.gate.take().unwrap();
        gate.kill().unwrap();
        gate.wait().unwrap();
    }

    /// Kills the gate without waiting for its end.
    pub fn kill_now(&self) {
        let pid = rustix::process::Pid::from_child(self.gate.as_ref().unwrap());
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    pub fn reap(&mut self) {
        self.gate.take().unwrap().wait().unwrap();
    }

    /// Restarts the gate with other operators.
    pub fn restart_for(&mut self, operators: &[(&str, &PrivateKey, &[&str])]) {
        self.kill();
        self.operators = named(operators);
        self.start();
    }

    /// The gate, from an operator's address.
    pub fn at(&self) -> At {
        self.from(1)
    }

    /// The gate, from the address 127.0.0.`number`.
    pub fn from(&self, number: u8) -> At {
        At {
            gate: SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)),
            from: Ipv4Addr::new(127, 0, 0, number),
            node: self.identity.node(),
        }
    }

    /// Calls one of the gate's own verbs, as a service of the box does.
    pub fn ask(&self, verb: &str, args: Value) -> Result<Value, CallError> {
        let mut client = Client::connect(&self.folder.path().join("gate.sock"))?;
        client.stream().set_read_timeout(Some(TIMEOUT))?;
        client.call(verb, args.as_object().unwrap().clone())
    }

    pub fn bring(&self, command: &octet_node::command::Command) -> Result<Value, String> {
        let args = json!({ "command": command });
        self.ask("run", args).map_err(|error| error.to_string())
    }

    /// Whether a line with all of `parts` is logged; the gate may log it after it has acted.
    pub fn has_logged(&self, parts: &[&str]) -> bool {
        let deadline = Instant::now() + TIMEOUT;
        let found = || self.log().lines().any(|line| parts.iter().all(|part| line.contains(part)));
        while !found() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(RETRY_DELAY);
        }
        true
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap()
    }

    /// The peak memory of the gate, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.gate.as_ref().unwrap().id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// The path of the socket of unit `name`.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.sock"))
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut gate) = self.gate.take() {
            let _ = gate.kill();
            let _ = gate.wait();
        }
    }
}

/// The operators, as in `appliance.toml`.
pub fn named(operators: &[(&str, &PrivateKey, &[&str])]) -> Operator {
    let keys = operators.iter().map(|(name, key, may)| OperatorKey {
        key: key.public(),
        name: name.parse().unwrap(),
        may: may.iter().map(|grant| (*grant).to_owned().try_into().unwrap()).collect(),
    });
    Operator { keys: keys.collect() }
}

/// Acts as the gate if the process was started for that; otherwise it tests nothing.
#[test]
fn gate() {
    let Ok(operators) = std::env::var(ROLE) else { return };
    let folder = std::env::var_os("OCTET_TEST_FOLDER").map(PathBuf::from).unwrap();
    let short: (String, u64) =
        serde_json::from_str(&std::env::var("OCTET_TEST_SHORT").unwrap()).unwrap();
    let patience = |of| if short.0 == of { Duration::from_millis(short.1) } else { TIMEOUT };
    let limits = GateLimits {
        handshake_time: patience("handshake"),
        frame_time: patience("frame"),
        unread_time: patience("unread"),
        relay_idle: patience("relay"),
        // No test takes so long that an address may connect again.
        interval: Duration::from_secs(3600),
        ..GateLimits::default()
    };
    let port = TcpListener::bind("[::]:0").unwrap();
    std::fs::write(folder.join("port"), port.local_addr().unwrap().port().to_string()).unwrap();
    let own = rustix::process::geteuid().as_raw();
    // This is PID 1's format of callers.
    let callers = Callers::parse(&format!(
        "{own}=run,show,verbs,trust-time,relay,config-check,config-apply,*"
    ))
    .unwrap();
    let parts = GateConfig {
        operators: serde_json::from_str(&operators).unwrap(),
        limits,
        folder: Some(folder.join("state")),
        sockets: folder.clone(),
        port,
        board_port: std::env::var("OCTET_TEST_BOARD_PORT").unwrap().parse().unwrap(),
        control: listen(&folder.join("gate.sock")),
        callers,
    };
    run(parts, notify_ready).unwrap();
}

/// A socket at `path`, which is replaced if it exists.
pub fn listen(path: &Path) -> UnixListener {
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path).unwrap()
}
