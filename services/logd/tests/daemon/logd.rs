//! Runs logd as PID 1 does: pipes, journal and kernel log outlive each logd.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use octet_as_pid_1::{TIMEOUT, pass_fds};
use octet_node::control::{CallError, Client};
use rustix::fs::{MemfdFlags, OFlags, fcntl_getfl, fcntl_setfl, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

pub struct Host {
    /// The folder that contains the state folder `state`.
    pub folder: TempDir,
    pipes: Vec<(&'static str, OwnedFd, OwnedFd)>,
    journal: OwnedFd,
    kmsg: (UnixDatagram, UnixDatagram),
    notify: UnixDatagram,
    control: UnixListener,
    pub has_state: bool,
    /// The permitted callers, in PID 1's format.
    pub callers: String,
    pub options: Vec<&'static str>,
}

impl Host {
    /// A host with a pipe for each of `units`.
    pub fn new(units: &[&'static str]) -> Self {
        // A busy disk could be slower than logd's timeout.
        let folder = TempDir::new_in("/dev/shm").unwrap();
        let notify = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(TIMEOUT)).unwrap();
        let pipes = units.iter().map(|unit| {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
            let flags = fcntl_getfl(&reader).unwrap();
            fcntl_setfl(&reader, flags | OFlags::NONBLOCK).unwrap();
            (*unit, reader, writer)
        });
        let pipes = pipes.collect();
        let journal = memfd_create("journal", MemfdFlags::CLOEXEC).unwrap();
        let kmsg = UnixDatagram::pair().unwrap();
        let control = UnixListener::bind(folder.path().join("logd.sock")).unwrap();
        let callers = format!("{}=logs,stats", rustix::process::geteuid().as_raw());
        let (has_state, options) = (true, vec![]);
        Self { folder, pipes, journal, kmsg, notify, control, has_state, callers, options }
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The write end of the pipe of `unit`.
    pub fn writer(&self, unit: &str) -> File {
        let pipe = self.pipes.iter().find(|(name, ..)| *name == unit).unwrap();
        pipe.2.try_clone().unwrap().into()
    }

    /// Writes `text` as `unit`.
    pub fn say(&self, unit: &str, text: &str) {
        self.writer(unit).write_all(text.as_bytes()).unwrap();
    }

    /// Writes a kernel record with the sequence number `number`.
    pub fn kernel_says(&self, number: u64, text: &str) {
        self.kmsg.1.send(format!("6,{number},1000000,-;{text}\n").as_bytes()).unwrap();
    }

    /// The memory in use by the journal, in bytes.
    pub fn journal_size(&self) -> i64 {
        rustix::fs::fstat(&self.journal).unwrap().st_blocks * 512
    }

    /// Starts logd, and waits until it is ready.
    pub fn start(&self) -> Logd {
        let mut command = Command::new(env!("CARGO_BIN_EXE_octet-logd"));
        command.args(&self.options);
        let mut names = vec!["journal".to_owned(), "kmsg".to_owned(), "control".to_owned()];
        names.extend(self.pipes.iter().map(|(name, ..)| format!("output/{name}")));
        let mut files: Vec<BorrowedFd<'_>> =
            vec![self.journal.as_fd(), self.kmsg.0.as_fd(), self.control.as_fd()];
        files.extend(self.pipes.iter().map(|(_, reader, _)| reader.as_fd()));
        command.env_clear().env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        if self.has_state {
            command.env("STATE_DIRECTORY", self.state());
        }
        command.env("OCTET_CALLERS", &self.callers);
        command.env("LISTEN_FDS", files.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        pass_fds(&mut command, &files).unwrap();
        let child = command.spawn().unwrap();
        let mut message = [0; 100];
        let count = self.notify.recv(&mut message).expect("logd does not become ready");
        assert_eq!(&message[..count], b"READY=1");
        Logd { child, socket: self.folder.path().join("logd.sock") }
    }
}

pub struct Logd {
    child: Child,
    socket: PathBuf,
}

impl Logd {
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM, and returns the exit status.
    pub fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn connect(&self) -> Client<UnixStream> {
        let client = Client::connect(&self.socket).unwrap();
        client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
        client
    }

    pub fn call(&self, verb: &str, args: Value) -> Result<Value, CallError> {
        self.connect().call(verb, object(args))
    }

    /// The texts in the answer to `logs` with `args`.
    pub fn logs(&self, args: Value) -> Vec<String> {
        let mut all = vec![];
        let each = |item: &Value| {
            all.extend(texts(item));
            true
        };
        self.connect().call_each("logs", with_fields(args), each).unwrap();
        all
    }

    /// Follows `unit` from its first line until the line `last`, and returns all of them.
    pub fn follow_until(&self, unit: &str, last: &str) -> Vec<String> {
        self.follow(unit, |text| text == last)
    }

    /// Follows `unit` from its first line until `last` is true for one, and returns all of them.
    pub fn follow(&self, unit: &str, last: impl Fn(&str) -> bool) -> Vec<String> {
        let args = json!({"unit": unit, "follow": true, "since": "1970-01-01"});
        let mut all: Vec<String> = vec![];
        let each = |item: &Value| {
            all.extend(texts(item));
            !all.iter().rev().take(2000).any(|text| last(text))
        };
        self.connect().call_each("logs", with_fields(args), each).unwrap();
        all
    }

    /// The counters of `unit`.
    pub fn unit_stats(&self, unit: &str) -> Value {
        let stats = self.call("stats", json!({})).unwrap();
        let units = stats["units"].as_array().unwrap();
        units.iter().find(|stats| stats["unit"] == unit).unwrap().clone()
    }
}

impl Drop for Logd {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn with_fields(args: Value) -> Map<String, Value> {
    let mut args = object(args);
    args.insert("fields".into(), true.into());
    args
}

/// The texts of an item; a gap is `-COUNT`.
pub fn texts(item: &Value) -> impl Iterator<Item = String> {
    item["lines"].as_array().unwrap().iter().map(|line| match line["text"].as_str() {
        Some(text) => text.to_owned(),
        None => format!("-{}", line["missing"]),
    })
}
