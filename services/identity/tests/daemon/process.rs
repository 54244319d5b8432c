//! Runs identity as PID 1 does. The shipped program maps the fixed users of services to units, and
//! a test has no such user; so most tests run the service in a process of this test program, which
//! maps the current user to the service `gate`.

use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use octet_as_pid_1::{TIMEOUT, pass_fds};
use octet_identity::service::IdentityService;
use octet_identity::store::IdentityStore;
use octet_node::control::{CallError, Client};
use octet_node::{inherited, notify_ready};
use serde_json::Value;
use tempfile::TempDir;

/// The environment variable of the process that acts as identity.
const ROLE: &str = "OCTET_TEST_ROLE";

pub struct Host {
    folder: TempDir,
    notify: UnixDatagram,
    listener: UnixListener,
}

impl Host {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let notify = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(TIMEOUT)).unwrap();
        let listener = UnixListener::bind(folder.path().join("identity.sock")).unwrap();
        for name in ["state", "service"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder, notify, listener }
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The folder of the service `gate`.
    pub fn service_folder(&self) -> PathBuf {
        self.folder.path().join("service")
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("identity.sock")
    }

    /// Starts identity, and waits until it is ready.
    pub fn start(&self) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "process::identity", "--nocapture"]).env(ROLE, "identity");
        self.run(command)
    }

    /// Starts the shipped program instead.
    pub fn start_shipped(&self) -> Process {
        self.run(Command::new(env!("CARGO_BIN_EXE_octet-identity")))
    }

    fn run(&self, mut command: Command) -> Process {
        let own = rustix::process::geteuid().as_raw();
        command
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .env("STATE_DIRECTORY", self.state())
            .env("OCTET_CALLERS", format!("{own}=show,certify,certificates,rotate,revoke"))
            .env("LISTEN_FDS", "1")
            .env("LISTEN_FDNAMES", "control")
            .stdout(Stdio::null());
        pass_fds(&mut command, &[self.listener.as_fd()]).unwrap();
        let child = command.spawn().unwrap();
        let mut message = [0; 100];
        let count = self.notify.recv(&mut message).expect("identity does not become ready");
        assert_eq!(&message[..count], b"READY=1");
        Process(child)
    }

    pub fn call(&self, verb: &str, args: Value) -> Result<Value, CallError> {
        self.call_each(verb, args, |_| true)
    }

    /// Calls a verb on a new connection.
    pub fn call_each(
        &self,
        verb: &str,
        args: Value,
        item: impl FnMut(&Value) -> bool,
    ) -> Result<Value, CallError> {
        let mut client = Client::connect(&self.socket())?;
        client.stream().set_read_timeout(Some(TIMEOUT))?;
        client.call_each(verb, args.as_object().unwrap().clone(), item)
    }

    pub fn show(&self) -> Value {
        self.call("show", serde_json::json!({})).unwrap()
    }
}

pub struct Process(Child);

impl Process {
    pub fn kill(&mut self) {
        // It may have exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Acts as identity if the process was started for that; otherwise it tests nothing.
#[test]
fn identity() {
    if std::env::var(ROLE).as_deref() != Ok("identity") {
        return;
    }
    let (_, socket) = inherited().into_iter().next().unwrap();
    let folder = std::env::var_os("STATE_DIRECTORY").map(PathBuf::from);
    let identity =
        IdentityService::new(IdentityStore::open(folder, |_| Ok(())), |_| "gate".parse().ok());
    let Err(error) = octet_identity::run(identity, UnixListener::from(socket), notify_ready);
    panic!("{error}");
}
