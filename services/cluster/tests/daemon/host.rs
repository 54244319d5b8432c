//! Nodes that run cluster in processes of their own, with simulated PID 1, identity and config.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use octet_as_pid_1::{RETRY_DELAY, TIMEOUT, pass_fds};
use octet_cluster::limits::ClusterLimits;
use octet_cluster::position::BoxAddressing;
use octet_cluster::settings::Settings;
use octet_cluster::{ClusterConfig, run};
use octet_node::control::{CallError, Client, PublicKey};
use octet_node::follow::follow;
use octet_node::key::PrivateKey;
use octet_node::map::{MAP, SignedMap, Update};
use octet_node::settings::Which;
use octet_node::{Callers, inherited, notify_ready};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stand_in::{Config, Identity, Init};

/// The variable of the process that runs cluster.
const ROLE: &str = "OCTET_TEST_ROLE";

pub struct Host {
    folder: TempDir,
    /// The listener of the router, which is the coordinator unless a board is.
    router: Arc<TcpListener>,
    /// The listener of this node: as with PID 1, it outlives the process.
    pub own: Arc<TcpListener>,
    /// The listeners of boards that may be the coordinator.
    pub managers: Vec<(u8, u16)>,
    notify: UnixDatagram,
    pub init: Init,
    pub identity: Identity,
    pub config: Config,
    pub number: u8,
    /// The timeout for silent peers, in milliseconds.
    pub silence: u64,
    /// The timeout of the handshake, in milliseconds.
    pub handshake: u64,
    /// The interval at which a number may change its keys again, in milliseconds.
    pub change_interval: u64,
    child: Option<Child>,
}

/// The settings of a box.
pub fn settings(enrol: &str, boards: Value, owner: &PrivateKey) -> Value {
    let key = json!({"key": owner.public(), "name": "anna", "may": ["own"]});
    json!({
        "cluster": {"boards": 4, "enrol": enrol},
        "board": boards,
        "operator": {"keys": [key]},
    })
}

impl Host {
    /// Creates node `number` of the box whose router listens at `router`. It does not run yet.
    pub fn new(router: &Arc<TcpListener>, number: u8, settings: &Value) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        let notify = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(TIMEOUT)).unwrap();
        let init = Init::start(folder.path(), number);
        let identity = Identity::start(folder.path());
        let config = Config::start(folder.path(), settings.clone());
        let router = Arc::clone(router);
        let own = || Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let own = if number == 0 { Arc::clone(&router) } else { own() };
        Self {
            folder,
            router,
            own,
            managers: vec![],
            notify,
            init,
            identity,
            config,
            number,
            silence: 180_000,
            handshake: 180_000,
            change_interval: 10_000,
            child: None,
        }
    }

    /// Starts cluster, and waits until it can be called.
    pub fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "host::cluster", "--nocapture"])
            .env(ROLE, self.number.to_string())
            .env("OCTET_TEST_FOLDER", self.folder.path())
            .env("OCTET_TEST_PORT", self.router.local_addr().unwrap().port().to_string())
            .env("OCTET_TEST_MANAGERS", json!(self.managers).to_string())
            .env("OCTET_TEST_SILENCE", self.silence.to_string())
            .env("OCTET_TEST_HANDSHAKE", self.handshake.to_string())
            .env("OCTET_TEST_CHANGES", self.change_interval.to_string())
            .env("LISTEN_FDS", "1")
            .env("LISTEN_FDNAMES", "enrolment")
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .stderr(log.try_clone().unwrap())
            .stdout(log);
        pass_fds(&mut command, &[self.own.as_fd()]).unwrap();
        self.child = Some(command.spawn().unwrap());
        let mut message = [0; 100];
        let count = self.notify.recv(&mut message).expect("cluster does not become ready");
        assert_eq!(&message[..count], b"READY=1");
    }

    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Kills the process without waiting for its end.
    pub fn kill_now(&self) {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    pub fn reap(&mut self) {
        self.child.take().unwrap().wait().unwrap();
    }

    pub fn node(&self) -> PublicKey {
        self.identity.node()
    }

    pub fn ask(&self, verb: &str, args: Value) -> Result<Value, CallError> {
        let mut client = Client::connect(&self.socket())?;
        client.stream().set_read_timeout(Some(TIMEOUT))?;
        client.call(verb, args.as_object().unwrap().clone())
    }

    pub fn show(&self) -> Value {
        self.ask("show", json!({})).unwrap()
    }

    /// Waits until `wanted` holds for the answer of `show`.
    pub fn show_until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let shown = self.show();
            if wanted(&shown) {
                return shown;
            }
            assert!(Instant::now() < deadline, "{shown:#}\n{}", self.log());
            std::thread::sleep(RETRY_DELAY);
        }
    }

    /// Waits until it is the coordinator.
    pub fn holds(&self) {
        self.show_until(|shown| shown["role"] == "coordinator");
    }

    /// Waits until `wanted` holds for the coordinator's row of a board, with the waiting and
    /// refused nodes at its port.
    pub fn row_until(&self, number: u8, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let mut row = self.ask("show", json!({"number": number.to_string()})).unwrap();
            let others = row["others"].take();
            for other in others.as_array().unwrap() {
                row[other["is"].as_str().unwrap()] = other.clone();
            }
            if wanted(&row) {
                return row;
            }
            assert!(Instant::now() < deadline, "{row:#}\n{}", self.log());
            std::thread::sleep(RETRY_DELAY);
        }
    }

    /// Waits until `wanted` holds for the map.
    pub fn map_until(&self, wanted: impl Fn(&SignedMap) -> bool) -> SignedMap {
        let mut found = None;
        follow(&self.socket(), MAP, |Update { map, .. }| {
            found = map.filter(&wanted);
            found.is_none()
        })
        .unwrap();
        found.unwrap()
    }

    /// Waits for a line in the log with all of `parts`. Returns whether there was one.
    pub fn has_logged(&self, parts: &[&str]) -> bool {
        self.has_logged_often(parts, 1)
    }

    /// Waits for `times` such lines in the log, which is that of all its processes.
    pub fn has_logged_often(&self, parts: &[&str], times: usize) -> bool {
        let deadline = Instant::now() + TIMEOUT;
        let has_all = |line: &&str| parts.iter().all(|part| line.contains(part));
        while self.log().lines().filter(has_all).count() < times {
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

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("cluster.sock")
    }

    /// The folder of the units' sockets.
    pub fn sockets(&self) -> &Path {
        self.folder.path()
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
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The address of board `number`.
pub fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, number)
}

/// Not a test of its own: runs cluster in a process that another test has started.
#[test]
fn cluster() {
    if std::env::var(ROLE).is_err() {
        return;
    }
    let folder = std::env::var_os("OCTET_TEST_FOLDER").map(PathBuf::from).unwrap();
    let (_, port) = inherited().into_iter().next().unwrap();
    let router: u16 = std::env::var("OCTET_TEST_PORT").unwrap().parse().unwrap();
    let managers = std::env::var("OCTET_TEST_MANAGERS").unwrap();
    let managers: Vec<(u8, u16)> = serde_json::from_str(&managers).unwrap();
    let patience = |name| Duration::from_millis(std::env::var(name).unwrap().parse().unwrap());
    let limits = ClusterLimits {
        idle_timeout: patience("OCTET_TEST_SILENCE"),
        handshake_timeout: patience("OCTET_TEST_HANDSHAKE"),
        retry_delay: Duration::from_millis(20),
        max_retry_delay: Duration::from_millis(200),
        // The limits are high, because the attackers in the tests connect often.
        burst: 100_000,
        change_interval: patience("OCTET_TEST_CHANGES"),
        ..ClusterLimits::default()
    };
    let wiring = BoxAddressing {
        number_of: Box::new(|_, address| match address {
            IpAddr::V4(v4) if v4.octets()[..3] == [127, 0, 1] => Some(v4.octets()[3]),
            _ => None,
        }),
        coordinator_of: Box::new(move |_, manager, _| {
            let port = |number| managers.iter().find(|(it, _)| *it == number).unwrap().1;
            SocketAddr::from((Ipv4Addr::LOCALHOST, manager.map_or(router, port)))
        }),
        source_of: Box::new(|number| Some(address(number).into())),
    };
    let own = rustix::process::geteuid().as_raw();
    let verbs = "show,map,approve,replace,record,revoke,drain,undrain,status,adopt,config-check,config-apply";
    let parts = ClusterConfig {
        settings: Settings::read(&folder, Which::InForce).unwrap(),
        limits,
        addressing: wiring,
        folder: Some(folder.join("state")),
        sockets: folder.clone(),
        port: TcpListener::from(port),
        control: listen(&folder.join("cluster.sock")),
        callers: Callers::parse(&format!("{own}={verbs}")).unwrap(),
    };
    run(parts, notify_ready).unwrap();
}

/// A socket at `path`, which replaces an existing one.
pub fn listen(path: &Path) -> UnixListener {
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path).unwrap()
}
